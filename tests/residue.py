# The field key of a class: HKDF-SHA-256 (RFC 5869) as src/seal/envelope.rs documents it, for suite 1.
# Arguments: the class; the data key as two halves in hex, to be XORed. Prints the field key likewise.
import hashlib, hmac, secrets, sys


def lp(part):
    return len(part).to_bytes(4, "big") + part


label, mask, masked = sys.argv[1].encode(), *map(bytes.fromhex, sys.argv[2:4])
data_key = bytes(a ^ b for a, b in zip(mask, masked))
info = b"".join(map(lp, [b"sealgate/v1", b"field", b"\x01", label]))
prk = hmac.new(bytes(32), data_key, hashlib.sha256).digest()
field_key = hmac.new(prk, info + b"\x01", hashlib.sha256).digest()
mask = secrets.token_bytes(32)
print(mask.hex(), bytes(a ^ b for a, b in zip(mask, field_key)).hex(), sep="\n")
