// An OpenID Connect provider (node oidc-provider) on a loopback port, over TLS. It gives JWT access tokens to clients that
// show their secret, signed by a key that it makes when it starts and that has the name KID. CLAIMS says which clients there
// are, and what their tokens claim besides. It prints `listening on PORT` and ends when its standard input does.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

const { ISSUER, AUDIENCE, KID, CLAIMS, CERTIFICATE_FILE, KEY_FILE, PORT = '0' } = process.env;
const claims = JSON.parse(CLAIMS);

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const key = { ...privateKey.export({ format: 'jwk' }), kid: KID, use: 'sig', alg: 'RS256' };

const provider = new Provider(ISSUER, {
  jwks: { keys: [key] },
  clients: Object.keys(claims).map((client_id) => ({
    client_id,
    client_secret: `secret of ${client_id}`,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: 'client_secret_post',
  })),
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => AUDIENCE,
      getResourceServerInfo: () => ({
        scope: '',
        audience: AUDIENCE,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 300,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
  extraTokenClaims: (_, token) => claims[token.clientId],
});

const server = createServer(
  { cert: readFileSync(CERTIFICATE_FILE), key: readFileSync(KEY_FILE) },
  provider.callback(),
);
server.listen(Number(PORT), '127.0.0.1', () => console.log(`listening on ${server.address().port}`));
process.stdin.resume().on('end', () => process.exit());
