#!/usr/bin/env python3
"""Opens what sealgate sealed, without sealgate: tokens from standard input, one a line, or one stream.

Needs Python 3.10, the package `cryptography`, and `boto3` where AWS KMS wrapped the keys:

    open_token.py --key-arn arn:aws:kms:eu-west-1:111122223333:key/... < tokens
    open_token.py --keyset keys.json --key-arn ... < tokens        stored keys, from `sealgate keys export`
    open_token.py --recovery-key recovery.pem < tokens             KMS is gone for good
    open_token.py --key-arn ... --stream sealed.bin > opened.bin

A token gives one line of JSON: class, scope, kind (`text`, or `literal`: a JSON value as it was written) and value. What
fails is named on standard error and ends the script with exit code 1; what was printed until then is right. The format is
described in src/seal/envelope.rs and stream.rs.
"""

import argparse
import base64
import hashlib
import hmac
import json
import pathlib
import re
import sys
from functools import partial
from types import SimpleNamespace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

RANDOM, DETERMINISTIC, STREAM = 1, 2, 3
PURPOSE = {RANDOM: "field", DETERMINISTIC: "lookup", STREAM: "stream"}
INLINE, STORED = 1, 2
SEALED_SEGMENT = 65536 + 16


class Refused(Exception):
    """The first argument is the name of the reason in the vectors (tests/vectors), the second says more."""

    def __str__(self):
        return ": ".join(self.args)


def lp(*parts):
    """Each part with its length before it, so that no two lists of parts give the same bytes."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def hkdf(key, salt, info, length):
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt or None, info=info).derive(key)


def read_head(data):
    """What stands before the sealed bytes, all of it public; `commitment` is None where the key is stored."""
    head = SimpleNamespace(commitment=None, edks=[], salt=b"", length=0)

    def take(count):
        head.length += count
        if head.length > len(data):
            raise Refused("truncated")
        return data[head.length - count:head.length]

    def number(size, reason, known):
        value = int.from_bytes(take(size), "big")
        if value not in known:
            raise Refused(*reason)
        return value

    number(1, ("unknown_version", "first byte"), [1])
    head.suite, placement = divmod(take(1)[0], 16)
    if head.suite not in PURPOSE:
        raise Refused("unknown_suite", str(head.suite))
    if placement not in (INLINE, STORED) or (head.suite, placement) == (DETERMINISTIC, INLINE):
        raise Refused("unknown_placement", str(placement))
    head.label, head.scope = [take(length + 1) for length in divmod(take(1)[0], 16)]
    if not all(re.fullmatch(rb"[A-Za-z0-9_-]+", text) for text in (head.label, head.scope)):
        raise Refused("malformed", "class or scope")
    if placement == STORED:
        head.key_id, head.salt = take(16), b"" if head.suite == DETERMINISTIC else take(8)
    else:
        head.commitment = take(32)
        head.key_id = head.commitment[:16]
        for _ in range(number(1, ("malformed", "number of encrypted data keys"), range(1, 5))):
            tag, size = take(8), number(2, ("malformed", "length of an encrypted data key"), range(1, 6145))
            head.edks.append((tag, take(size)))
    head.bytes = data[:head.length]
    return head


def read_token(text):
    """The head of a token, and its sealed bytes."""
    match = re.fullmatch(rb"sgv([0-9])\.(.*)", text, re.DOTALL)
    if not match:
        raise Refused("spelling", "not the start of a token")
    version, body = match.groups()
    if version != b"1":
        raise Refused("unknown_version", version.decode())
    if len(body) % 4 == 1:
        raise Refused("truncated")
    if not re.fullmatch(rb"[A-Za-z0-9_-]*", body):
        raise Refused("spelling", "not base64url")
    data = base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=") != body:
        raise Refused("spelling", "not the one spelling")
    head = read_head(data)
    if head.suite == STREAM:
        raise Refused("unknown_suite", "a stream is no text")
    if len(data) - head.length < (17 if head.suite == DETERMINISTIC else 29):
        raise Refused("truncated")
    return head, data[head.length:]


def check_key(head, key, row_commitment=None):
    """Nothing is derived of a data key before it is known to be the one that the head commits to."""
    commitment = hkdf(key, b"", lp(b"sealgate/v1", b"commitment"), 32)
    pairs = [(head.commitment, commitment), (head.key_id, commitment[:16]), (row_commitment, commitment)]
    if len(key) != 32 or not all(hmac.compare_digest(*pair) for pair in pairs if pair[0] is not None):
        raise Refused("commitment", "the data key is not the one that sealed it")


def field_key(head, key, salt):
    info = lp(b"sealgate/v1", PURPOSE[head.suite].encode(), bytes([head.suite]), head.label)
    return hkdf(key, salt, info, 64 if head.suite == DETERMINISTIC else 32)


def aad(head, bind):
    bound = [part for name in sorted(bind) for part in (name, bind[name])]
    return head.bytes + lp(*bound)


def open_value(head, sealed, key, bind):
    """Kind and value, with a key that was checked."""
    field, bound = field_key(head, key, head.salt), aad(head, bind)
    try:
        if head.suite == DETERMINISTIC:
            plain = AESSIV(field).decrypt(sealed, [bound])
        else:
            plain = AESGCM(field).decrypt(sealed[:12], sealed[12:], bound)
    except InvalidTag:
        raise Refused("unauthentic", "changed, or from another class, scope or record (--bind)") from None
    kind, value = plain[0], plain[1:]
    if kind > 3:
        raise Refused("unauthentic", f"unknown kind {kind}")
    if kind & 2:
        value = value.rstrip(b"\0")
        if not value.endswith(b"\x80"):
            raise Refused("unauthentic", "no padding where it is announced")
        value = value[:-1]
    return "literal" if kind & 1 else "text", value


def read_stream(file):
    """The head of a stream and the stream's own salt; the file stands at the first segment then."""
    start = file.read(65536)
    if start[:5] != b"sgv1\0"[:len(start)]:
        raise Refused("spelling", "not the start of a stream")
    try:
        head = read_head(start[5:])
    except Refused as refused:
        raise Refused("stream_truncated", "in its head") if refused.args[0] == "truncated" else refused
    if head.suite != STREAM:
        raise Refused("unknown_suite", str(head.suite))
    end = 5 + head.length + 16
    if len(start) < end:
        raise Refused("stream_truncated", "in its head")
    file.seek(end)
    return head, start[end - 16:end]


def open_stream(file, head, salt, key, bind):
    """Segment by segment, each authentic; that it was not cut off is known only when this ends without an error."""
    gcm, bound = AESGCM(field_key(head, key, head.salt + salt)), aad(head, bind)

    def opened(number, segment, last):
        try:
            return gcm.decrypt(number.to_bytes(11, "big") + bytes([last]), segment, bound)
        except InvalidTag:
            return None

    number, segment = 0, file.read(SEALED_SEGMENT)
    while True:
        following = file.read(SEALED_SEGMENT)
        plain = opened(number, segment, not following)
        if not segment or plain is None and len(segment) == SEALED_SEGMENT and opened(number, segment, False) is not None:
            raise Refused("stream_truncated", f"behind {number} segments")
        if plain is None or number > 0 and not plain:
            raise Refused("unauthentic", f"segment {number}")
        yield plain
        if not following:
            return
        number, segment = number + 1, following


def keks(options):
    """What unwraps, by the tag of its KEK."""
    def bound_to(what, context):
        return lp(what, *(part.encode() for pair in context.items() for part in pair))

    def kms(arn, blob, context):
        import boto3
        client = boto3.client("kms", region_name=arn.split(":")[3], endpoint_url=options.kms_endpoint)
        return client.decrypt(KeyId=arn, CiphertextBlob=blob, EncryptionContext=context)["Plaintext"]

    def local(kek, blob, context):
        return AESGCM(kek).decrypt(blob[:12], blob[12:], bound_to(b"sealgate/v1/local-wrap", context))

    def recovery(rsa, blob, context):
        sha256, label = hashes.SHA256(), bound_to(b"sealgate/v1/recovery-wrap", context)
        return rsa.decrypt(blob, padding.OAEP(mgf=padding.MGF1(sha256), algorithm=sha256, label=label))

    named = {arn: partial(kms, arn) for arn in options.key_arn}
    if options.local_kek:
        kek = base64.b64decode(pathlib.Path(options.local_kek).read_text().strip(), validate=True)
        named["local:" + hashlib.sha256(b"sealgate/v1/local-kek" + kek).hexdigest()[:16]] = partial(local, kek)
    if options.recovery_key:
        rsa = serialization.load_pem_private_key(pathlib.Path(options.recovery_key).read_bytes(), None)
        form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        public = rsa.public_key().public_bytes(*form)
        named["recovery:" + hashlib.sha256(public).hexdigest()[:16]] = partial(recovery, rsa)
    return {hashlib.sha256(lp(b"sealgate/v1/kek", name.encode())).digest()[:8]: named[name] for name in named}


def data_key(head, keks, rows, known):
    """The data key, checked: from the head or from the key's row, by any KEK that is at hand. `known` keeps it."""
    edks, row_commitment = head.edks, None
    if head.commitment is None:
        row = rows.get(head.key_id.hex())
        if row is None or row["state"] == "revoked" or not row["edks"]:
            raise Refused("no key", f"key {head.key_id.hex()} is {row['state'] if row else 'not in the keyset (--keyset)'}")
        edks = [(bytes.fromhex(edk["kek"]), base64.b64decode(edk["blob"])) for edk in row["edks"]]
        row_commitment = base64.b64decode(row["commitment"])
    context = {"app": "sealgate", "scope": head.scope.decode(), "purpose": PURPOSE[head.suite]}
    failed = [f"wrapped by KEK {tag.hex()}, which is not given" for tag, _ in edks if tag not in keks]
    for tag, blob in edks:
        if tag in keks:
            try:
                key = known[tag, blob, head.scope] = known.get((tag, blob, head.scope)) or keks[tag](blob, context)
            except Exception as error:  # Whatever it is, another KEK may be able to.
                failed.append(f"KEK {tag.hex()}: {error or type(error).__name__}")
                continue
            check_key(head, key, row_commitment)
            return key
    raise Refused("no key", "; ".join(failed))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--key-arn", action="append", default=[], help="a KMS key that wrapped; may be given again")
    parser.add_argument("--kms-endpoint", metavar="URL", help="where KMS answers, if not at its usual address")
    parser.add_argument("--local-kek", metavar="FILE", help="a KEK in a file, in base64")
    parser.add_argument("--recovery-key", metavar="FILE", help="the private RSA key in PEM")
    parser.add_argument("--keyset", metavar="FILE", help="exported rows of stored keys")
    parser.add_argument("--bind", action="append", default=[], metavar="NAME=VALUE", help="a bound value; may be given again")
    parser.add_argument("--stream", metavar="FILE", help="open this stream to standard output")
    options = parser.parse_args()
    what = "options"
    try:
        bind = dict(text.encode().split(b"=", 1) for text in options.bind)
        keyset = json.loads(pathlib.Path(options.keyset).read_text()) if options.keyset else {"keys": []}
        rows, by_tag, known = {row["id"]: row for row in keyset["keys"]}, keks(options), {}
        if options.stream:
            what = options.stream
            with open(what, "rb") as file:
                head, salt = read_stream(file)
                for plain in open_stream(file, head, salt, data_key(head, by_tag, rows, known), bind):
                    sys.stdout.buffer.write(plain)
            return 0
        for number, line in enumerate(sys.stdin.buffer, 1):
            what = f"line {number}"
            head, sealed = read_token(line.rstrip(b"\r\n"))
            kind, value = open_value(head, sealed, data_key(head, by_tag, rows, known), bind)
            said = {"class": head.label.decode(), "scope": head.scope.decode(), "kind": kind}
            print(json.dumps({**said, "value": value.decode("utf-8", "surrogatepass")}), flush=True)
        return 0
    except (Refused, OSError, ValueError, KeyError) as error:
        print(f"open_token: {what}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
