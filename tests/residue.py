# Derived keys: HKDF-SHA-256 (RFC 5869) as src/seal/envelope.rs and format.rs document it.
# Arguments: purpose, suite or alphabet in hex, class, how many blocks of 32 bytes; salt and data key as two halves in
# hex, to be XORed. Prints each block likewise, one half a line.
import hashlib, hmac, secrets, sys


def lp(part):
    return len(part).to_bytes(4, "big") + part


purpose, kind, label = sys.argv[1].encode(), bytes.fromhex(sys.argv[2]), sys.argv[3].encode()
salt, mask, masked = map(bytes.fromhex, sys.argv[5:8])
data_key = bytes(a ^ b for a, b in zip(mask, masked))
info = b"".join(map(lp, [b"sealgate/v1", purpose, kind, label]))
prk = hmac.new(salt or bytes(32), data_key, hashlib.sha256).digest()
block = b""
for number in range(int(sys.argv[4])):
    block = hmac.new(prk, block + info + bytes([number + 1]), hashlib.sha256).digest()
    mask = secrets.token_bytes(32)
    print(mask.hex(), bytes(a ^ b for a, b in zip(mask, block)).hex(), sep="\n")
