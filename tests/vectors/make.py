"""Writes the published vectors: `python3 make.py` in this folder. Needs Python 3.10 and the package `cryptography`.

This is a second implementation of the format. It was written from the documentation of `sealgate::seal::envelope`,
`stream` and `format` and shares no code with the gateway, so that where both agree the documentation is right. All keys,
nonces and salts are made of labels: the files come out the same every time. They are for tests and protect nothing.
"""

import base64
import datetime
import hashlib
import json
import pathlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

RANDOM, DETERMINISTIC, STREAM = 1, 2, 3
INLINE, STORED = 1, 2
PURPOSE = {RANDOM: b"field", DETERMINISTIC: b"lookup", STREAM: b"stream"}
SEGMENT = 65536


# ---- The format ----


def b64(data):
    return base64.b64encode(data).decode()


def bytes_of(label, length):
    """Bytes that look random and are the same every time."""
    blocks = (hashlib.sha256(f"sealgate test bytes: {label} {i}".encode()).digest() for i in range(length // 32 + 1))
    return b"".join(blocks)[:length]


def data_key(label):
    return hashlib.sha256(b"sealgate test key: " + label.encode()).digest()


def lp(*parts):
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def hkdf(key, salt, info, length):
    return HKDF(algorithm=hashes.SHA256(), length=length, salt=salt or None, info=info).derive(key)


def commitment(key):
    return hkdf(key, b"", lp(b"sealgate/v1", b"commitment"), 32)


def field_key(key, suite, label, salt=b"", purpose=None):
    info = lp(b"sealgate/v1", purpose or PURPOSE[suite], bytes([suite]), label)
    return hkdf(key, salt, info, 64 if suite == DETERMINISTIC else 32)


def aad(start, bind=()):
    """What it begins with, then names and values of what it is bound to."""
    return start + lp(*(part for pair in bind for part in pair))


def edk(label, length=184):
    tag = hashlib.sha256(lp(b"sealgate/v1/kek", b"test kek " + label.encode())).digest()[:8]
    return tag, bytes_of("edk " + label, length)


def inline_part(committed, edks):
    wrapped = b"".join(tag + len(blob).to_bytes(2, "big") + blob for tag, blob in edks)
    return committed + bytes([len(edks)]) + wrapped


def head(suite, placement, label, scope, key_part, version=1):
    lengths = (len(label) - 1 & 15) << 4 | (len(scope) - 1 & 15)
    return bytes([version, suite << 4 | placement, lengths]) + label + scope + key_part


def pad(plaintext, multiple):
    plaintext += b"\x80"
    return plaintext + bytes(-len(plaintext) % multiple)


ONE, TWO = data_key("one"), data_key("two")
VALUE = b"999-12-3456"


class Sealed:
    """An envelope in parts, so that each can be changed before it is put together."""

    def __init__(self, suite=RANDOM, placement=INLINE, key=ONE, label=b"ssn", scope=b"clinic", plain=b"\0" + VALUE,
                 bind=(), edks=None, nonce="nonce", **unusual):
        if suite == DETERMINISTIC:
            placement = STORED
        self.suite, self.placement, self.key = suite, placement, key
        self.label, self.scope, self.plain, self.bind = label, scope, plain, bind
        self.commitment = commitment(key)
        self.edks = [edk("main")] if edks is None else edks
        self.salt = b"" if placement == INLINE or suite == DETERMINISTIC else bytes_of("process salt", 8)
        bound = unusual.get("aad") or aad(self.head(), bind)
        field = unusual.get("field_key") or field_key(key, suite, label, self.salt)
        if suite == DETERMINISTIC:
            self.nonce, self.body = b"", AESSIV(field).encrypt(plain, [bound])
        else:
            self.nonce = nonce if isinstance(nonce, bytes) else bytes_of(nonce, 12)
            self.body = AESGCM(field).encrypt(self.nonce, plain, bound)

    def key_part(self):
        if self.placement == INLINE:
            return inline_part(self.commitment, self.edks)
        return self.commitment[:16] + self.salt

    def head(self):
        return head(self.suite, self.placement, self.label, self.scope, self.key_part())

    def bytes(self):
        return self.head() + self.nonce + self.body

    def but(self, **changed):
        other = object.__new__(Sealed)
        other.__dict__ = {**self.__dict__, **changed}
        return other


def token(envelope, version="1"):
    data = envelope if isinstance(envelope, bytes) else envelope.bytes()
    return f"sgv{version}." + base64.urlsafe_b64encode(data).decode().rstrip("=")


def flip(data, at, bit=0):
    changed = bytearray(data)
    changed[at] ^= 1 << bit
    return bytes(changed)


# ---- GCM with two keys: the attack that the commitment stops ----


def gf_mul(x, y):
    """The product of SP 800-38D 6.3, on integers whose highest bit is the first."""
    product = 0
    for i in range(127, -1, -1):
        if x >> i & 1:
            product ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return product


def gf_inverse(x):
    result, power = 1 << 127, x
    for i in range(128):
        if i:  # The inverse is x to the power of 2^128 - 2.
            result = gf_mul(result, power)
        power = gf_mul(power, power)
    return result


def aes_block(key, block):
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


def ghash(h, bound, ciphertext):
    data = bound + bytes(-len(bound) % 16) + ciphertext + bytes(-len(ciphertext) % 16)
    data += (len(bound) * 8).to_bytes(8, "big") + (len(ciphertext) * 8).to_bytes(8, "big")
    y = 0
    for at in range(0, len(data), 16):
        y = gf_mul(y ^ int.from_bytes(data[at:at + 16], "big"), h)
    return y


def two_key_body(first, second, bound, value):
    """A nonce, ciphertext and tag that GCM opens under both keys, with kind byte 0 or 1 under each."""
    for number in range(4096):
        nonce = bytes_of(f"two keys {number}", 12)
        counter = [nonce + (n + 2).to_bytes(4, "big") for n in range(3)]
        streams = [b"".join(aes_block(key, block) for block in counter) for key in (first, second)]
        if streams[0][0] ^ streams[1][0] <= 1:
            break
    plain = (b"\0" + value).ljust(32)
    ciphertext = bytes(p ^ k for p, k in zip(plain, streams[0])) + bytes(16)
    # The tags of both keys differ by the same amount until the last block makes up for it: its factor is H squared.
    h = [int.from_bytes(aes_block(key, bytes(16)), "big") for key in (first, second)]
    mask = [int.from_bytes(aes_block(key, nonce + b"\0\0\0\1"), "big") for key in (first, second)]
    tags = [ghash(h[i], bound, ciphertext) ^ mask[i] for i in (0, 1)]
    factor = gf_mul(h[0], h[0]) ^ gf_mul(h[1], h[1])
    last = gf_mul(tags[0] ^ tags[1], gf_inverse(factor))
    ciphertext = ciphertext[:32] + last.to_bytes(16, "big")
    body = ciphertext + (ghash(h[0], bound, ciphertext) ^ mask[0]).to_bytes(16, "big")
    opened = [AESGCM(key).decrypt(nonce, body, bound) for key in (first, second)]
    assert opened[0] != opened[1] and opened[0][1:32] == plain[1:] and all(text[0] <= 1 for text in opened)
    return nonce, body


# ---- FF1 (SP 800-38G r1, algorithms 7 and 8) ----


def number_of(numerals, radix):
    total = 0
    for numeral in numerals:
        total = total * radix + numeral
    return total


def numerals_of(number, radix, count):
    numerals = []
    for _ in range(count):
        number, numeral = divmod(number, radix)
        numerals.append(numeral)
    return numerals[::-1]


def ff1(key, radix, tweak, numerals):
    n, t = len(numerals), len(tweak)
    u = n // 2
    v = n - u
    a, b = numerals[:u], numerals[u:]
    bits = (radix**v - 1).bit_length()
    width = (bits + 7) // 8
    d = 4 * ((width + 3) // 4) + 4
    p = bytes([1, 2, 1]) + radix.to_bytes(3, "big") + bytes([10, u % 256]) + n.to_bytes(4, "big") + t.to_bytes(4, "big")
    for i in range(10):
        q = tweak + bytes((-t - width - 1) % 16) + bytes([i]) + number_of(b, radix).to_bytes(width, "big")
        chained = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).encryptor().update(p + q)
        r = chained[-16:]
        s = r
        for j in range(1, (d + 15) // 16):
            s += aes_block(key, bytes(x ^ y for x, y in zip(r, j.to_bytes(16, "big"))))
        m = u if i % 2 == 0 else v
        c = (number_of(a, radix) + int.from_bytes(s[:d], "big")) % radix**m
        a, b = b, numerals_of(c, radix, m)
    return a + b


# SP 800-38G, FF1 samples 7 to 9 (AES-256).
SAMPLE_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f7f036d6f04fc6a94")
BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"
for radix, tweak, plain, sealed in [
    (10, "", "0123456789", "6657667009"),
    (10, "39383736353433323130", "0123456789", "1001623463"),
    (36, "3737373770717273373737", "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"),
]:
    got = ff1(SAMPLE_KEY, radix, bytes.fromhex(tweak), [BASE36.index(c) for c in plain])
    assert "".join(BASE36[n] for n in got) == sealed, sealed

DIGITS = "0123456789"
UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CHARACTERS = {"digits": DIGITS, "uppercase": DIGITS + UPPER, "alphanumeric": DIGITS + UPPER + UPPER.lower()}
LAYOUTS = {"date": "ymd", "date_month_first": "mdy", "date_day_first": "dmy"}
FIRST_DAY = datetime.date(1900, 1, 1)
DAYS = (datetime.date(2100, 1, 1) - FIRST_DAY).days


def format_value(key, alphabet, label, scope, text):
    name = alphabet.encode()
    bound = hkdf(key, b"", lp(b"sealgate/v1", b"format", name, label), 32)
    tweak = lp(b"sealgate/v1/format", name, label, scope)
    if alphabet in CHARACTERS:
        characters = CHARACTERS[alphabet]
        sealed = iter(ff1(bound, len(characters), tweak, [characters.index(c) for c in text if c in characters]))
        return "".join(characters[next(sealed)] if c in characters else c for c in text)
    separator = text[4] if LAYOUTS[alphabet][0] == "y" else text[2]
    separator = "" if separator.isdigit() else separator
    parts, rest = {}, text.replace(separator, "") if separator else text
    for part in LAYOUTS[alphabet]:
        width = 4 if part == "y" else 2
        parts[part], rest = int(rest[:width]), rest[width:]
    number = (datetime.date(parts["y"], parts["m"], parts["d"]) - FIRST_DAY).days
    while True:
        number = number_of(ff1(bound, 2, tweak, numerals_of(number, 2, 20)), 2)
        if number < DAYS:
            break
    day = FIRST_DAY + datetime.timedelta(days=number)
    written = {"y": f"{day.year:04}", "m": f"{day.month:02}", "d": f"{day.day:02}"}
    return separator.join(written[part] for part in LAYOUTS[alphabet])


# ---- The vectors ----

FILES = {}


def add(file, name, note, sealed, *, error=None, kind="text", value=None, key=ONE, row=None, at=None, bind=()):
    """One vector: what opening is given, and what it must give."""
    label, scope = at or (b"ssn", b"clinic")
    vector = {"name": name, "note": note, "data_key": key.hex()}
    if row is not None:
        vector["row_commitment"] = row.hex()
    vector["class"], vector["scope"] = label.decode(), scope.decode()
    vector["bind"] = {n.decode(): b64(v) for n, v in bind}
    vector["stream" if file == "stream" else "token"] = sealed
    if error:
        vector["error"] = error
    elif file == "stream":
        vector["value"] = value
    else:
        vector["kind"], vector["value"] = kind, b64(VALUE if value is None else value)
    FILES.setdefault(file, []).append(vector)


def random_vectors():
    def good(name, note, sealed, **how):
        how.setdefault("at", (sealed.label, sealed.scope))
        add("random", name, note, token(sealed), bind=how.pop("bind", sealed.bind), **how)

    def bad(name, note, sealed, error="unauthentic", **how):
        add("random", name, note, token(sealed), error=error, **how)

    row = commitment(ONE)
    inline, stored = Sealed(), Sealed(placement=STORED)
    good("inline_text", "The usual token.", inline)
    good("stored_text", "Its key is in a store.", stored, row=row)
    good("inline_literal_number", "A JSON number, byte for byte.", Sealed(plain=b"\1" + b"1.10"), kind="literal",
         value=b"1.10")
    literal = b'{"city":"Gr\\u00fcn", "zip": [1e3]}'
    good("inline_literal_object", "A JSON object, byte for byte.", Sealed(plain=b"\1" + literal), kind="literal",
         value=literal)
    good("inline_empty_text", "The empty string.", Sealed(plain=b"\0"), value=b"")
    text = "Müller 李 🩺".encode()
    good("inline_text_beyond_ascii", "UTF-8.", Sealed(plain=b"\0" + text), value=text)
    text = b"a\xed\xa0\xbdz"
    good("inline_lone_surrogate", "WTF-8: the lone surrogate U+D83D as three bytes.", Sealed(plain=b"\0" + text), value=text)
    text = bytes_of("long value", 5000)
    good("inline_long_value", "5000 bytes of every kind.", Sealed(plain=b"\1" + text), kind="literal", value=text)
    good("labels_of_one_character", "The shortest labels.", Sealed(label=b"x", scope=b"-"))
    good("labels_of_sixteen_characters", "The longest labels.", Sealed(label=b"Class_16-letters", scope=b"0123456789abcdef"))
    one, two = (b"id", b"42"), (b"visit", b"7")
    good("bind_one", "Bound to one value.", Sealed(bind=[one]))
    good("bind_two", "Bound to two values, in the order of their names.", Sealed(placement=STORED, bind=[one, two]), row=row)
    good("bind_empty_value", "Bound to an empty value, which is not the same as none.", Sealed(bind=[(b"id", b"")]))
    upper = (b"Visit", b"7")
    good("bind_order_is_that_of_bytes", "Upper case stands before lower case.", Sealed(bind=[upper, one]))
    good("padded", "Padded to 32 bytes.", Sealed(plain=pad(b"\2" + VALUE, 32)))
    good("padded_by_one_byte", "Kind, value and 0x80 are 16 bytes already.", Sealed(plain=pad(b"\2" + b"x" * 14, 16)),
         value=b"x" * 14)
    good("padded_empty", "Nothing but padding.", Sealed(plain=pad(b"\2", 16)), value=b"")
    ends = b"x\x80\0\0"
    good("padded_value_that_ends_like_padding", "Only the last 0x80 is padding.", Sealed(plain=pad(b"\3" + ends, 16)),
         kind="literal", value=ends)
    good("padded_with_much", "The padding is of no fixed length.", Sealed(plain=b"\2" + VALUE + b"\x80" + bytes(999)))
    good("two_encrypted_data_keys", "Wrapped under two KEKs.", Sealed(edks=[edk("main"), edk("second")]))
    good("four_encrypted_data_keys", "As many as there may be.",
         Sealed(edks=[edk("main"), edk("second"), edk("third", 1), edk("fourth", 384)]))
    good("longest_encrypted_data_key", "6144 bytes.", Sealed(edks=[edk("long", 6144)]))

    # Moved.
    elsewhere = (b"name", b"clinic")
    bad("moved_to_other_class", "The token says ssn, the field is a name.", inline, at=elsewhere)
    bad("class_rewritten", "The token was made to say name.", inline.but(label=b"name"), at=elsewhere)
    bad("class_of_same_length_rewritten", "The token was made to say dob.", inline.but(label=b"dob"), at=(b"dob", b"clinic"))
    elsewhere = (b"ssn", b"other")
    bad("moved_to_other_scope", "The token says clinic, the exchange is of another.", inline, at=elsewhere)
    bad("scope_rewritten", "The token was made to say other.", inline.but(scope=b"other"), at=elsewhere)
    bad("class_and_scope_shifted", "The same letters, cut at another place.", inline.but(label=b"ssnc", scope=b"linic"),
        at=(b"ssnc", b"linic"))
    bound = Sealed(bind=[one, two])
    bad("bind_missing", "One of two bound values is not given.", bound, bind=[one])
    bad("bind_missing_all", "None of them is given.", bound)
    bad("bind_extra", "One more is given.", bound, bind=[(b"a", b""), one, two])
    bad("bind_to_nothing_extra", "One is given, none was bound.", inline, bind=[one])
    bad("bind_renamed", "The same value by another name.", bound, bind=[(b"ie", b"42"), two])
    bad("bind_of_other_record", "Another record.", bound, bind=[(b"id", b"43"), two])
    bad("bind_values_swapped", "Each value by the other's name.", bound, bind=[(b"id", b"7"), (b"visit", b"42")])
    bad("bind_shifted", "The same letters, cut at another place.", Sealed(bind=[one]), bind=[(b"id4", b"2")])
    bad("bind_reordered", "Sealed in another order than that of the names.", Sealed(bind=[two, one]), bind=[one, two])

    # Another key.
    second = commitment(TWO)
    bad("other_data_key", "The KMS gave another key.", inline, "commitment", key=TWO)
    bad("other_data_key_stored", "The row held another key.", stored, "commitment", key=TWO, row=second)
    bad("key_id_of_other_key", "The id of another key was put in.", stored.but(commitment=second), "commitment", row=row)
    bad("key_id_and_key_of_other_key", "The other key matches, but it sealed nothing here.", stored.but(commitment=second),
        key=TWO, row=second)
    bad("commitment_of_other_key", "The commitment of another key was put in.", inline.but(commitment=second), "commitment")
    bad("commitment_and_key_of_other_key", "The other key matches, but it sealed nothing here.",
        inline.but(commitment=second), key=TWO)
    bad("commitment_changed_in_first_half", "One bit, in what is the key id.", inline.but(commitment=flip(row, 3)), "commitment")
    bad("commitment_changed_in_second_half", "One bit, beyond the key id.", inline.but(commitment=flip(row, 31, 7)),
        "commitment")
    bad("key_id_changed", "One bit.", stored.but(commitment=flip(row, 15)), "commitment", row=row)
    bad("row_commitment_differs_in_second_half", "The key id is right, the rest of the row's commitment is not.", stored,
        "commitment", row=flip(row, 20))
    field = [field_key(key, RANDOM, b"ssn") for key in (ONE, TWO)]
    bound = aad(inline.head())
    nonce, body = two_key_body(*field, bound, VALUE)
    crafted = inline.but(nonce=nonce, body=body)
    value = AESGCM(field[0]).decrypt(nonce, body, bound)[1:]
    good("two_keys_first", "Crafted so that GCM authenticates it under two keys; this is the one that it commits to.", crafted,
         value=value)
    bad("two_keys", "The other key, under which GCM would open it to another value.", crafted, "commitment", key=TWO)
    field = [field_key(key, RANDOM, b"ssn", stored.salt) for key in (ONE, TWO)]
    nonce, body = two_key_body(*field, aad(stored.head()), VALUE)
    bad("two_keys_stored", "The same with a stored key.", stored.but(nonce=nonce, body=body), "commitment", key=TWO)

    # The encrypted data keys: what opens a token on the day that the first one does not.
    main, second = edk("main"), edk("second")
    both = Sealed(edks=[main, second])
    bad("edk_replaced", "Another form of the same key was put in.", inline.but(edks=[second]))
    bad("edk_stripped", "The second of two was left out.", both.but(edks=[main]))
    bad("edk_added", "A second one was put in.", inline.but(edks=[main, second]))
    bad("edks_swapped", "The second stands first.", both.but(edks=[second, main]))
    bad("edk_repeated", "The first stands in the place of the second.", both.but(edks=[main, main]))
    bad("edk_changed", "One bit of the only one.", inline.but(edks=[(main[0], flip(main[1], 90))]))
    bad("second_edk_changed", "One bit of the second one.", both.but(edks=[main, (second[0], flip(second[1], -1, 7))]))
    bad("kek_tag_of_second_edk_changed", "One bit of the name of its KEK.",
        both.but(edks=[main, (flip(second[0], 0), second[1])]))

    # Placement and salt.
    bad("salt_of_other_process", "The salt of another process was put in.", stored.but(salt=bytes_of("other salt", 8)), row=row)
    bad("salt_changed", "One bit.", stored.but(salt=flip(stored.salt, 7, 7)), row=row)
    bad("inline_made_stored", "A process salt was put in.", inline.but(placement=STORED, salt=bytes_of("process salt", 8)),
        row=row)
    bad("stored_made_inline", "The salt was left out.", stored.but(placement=INLINE, salt=b""))
    bad("random_made_deterministic", "The suite was rewritten.",
        head(DETERMINISTIC, STORED, b"ssn", b"clinic", stored.key_part()) + stored.nonce + stored.body, row=row)
    bad("sealed_under_lookup_purpose", "The field key was derived for another purpose.",
        Sealed(field_key=field_key(ONE, RANDOM, b"ssn", purpose=b"lookup")))
    bad("sealed_under_stream_suite", "The field key was derived for another suite.",
        Sealed(field_key=field_key(ONE, STREAM, b"ssn", purpose=b"field")))
    bad("sealed_under_data_key", "The data key itself was used.", Sealed(field_key=ONE))
    bad("sealed_for_deterministic_suite", "The AAD names another suite.",
        Sealed(aad=aad(head(DETERMINISTIC, INLINE, b"ssn", b"clinic", inline.key_part()))))
    bad("sealed_for_stored_placement", "The AAD names another placement.",
        Sealed(aad=aad(head(RANDOM, STORED, b"ssn", b"clinic", inline.key_part()))))
    bad("sealed_for_head_without_edks", "The AAD ends with the commitment.", Sealed(aad=aad(inline.head()[:44])))
    bad("sealed_without_aad", "The AAD is a single zero byte.", Sealed(aad=b"\0"))

    # Changed.
    bad("nonce_changed", "One bit.", inline.but(nonce=flip(inline.nonce, 0)))
    bad("ciphertext_changed_in_kind", "One bit, in the kind byte.", inline.but(body=flip(inline.body, 0)))
    bad("ciphertext_changed", "One bit.", inline.but(body=flip(inline.body, 5, 3)))
    bad("tag_changed", "One bit.", inline.but(body=flip(inline.body, -1, 7)))
    bad("truncated_tag", "The last byte is missing.", inline.but(body=inline.body[:-1]))
    bad("truncated_tag_of_twelve_bytes", "A shorter tag that GCM knows.", inline.but(body=inline.body[:-4]))
    bad("extended", "One byte more.", inline.but(body=inline.body + b"\0"))
    bad("ciphertext_cut_out", "A byte of the ciphertext is missing.", inline.but(body=inline.body[:4] + inline.body[5:]))

    # Authentic, but nothing that a sealer writes.
    bad("kind_unknown_4", "Bit 2 of the kind byte.", Sealed(plain=b"\4" + VALUE))
    bad("kind_unknown_0x80", "Bit 7 of the kind byte.", Sealed(plain=b"\x80" + VALUE))
    bad("kind_unknown_0xff", "All bits of the kind byte.", Sealed(plain=b"\xff" + VALUE))
    bad("padding_without_mark", "Padded, but there is no 0x80.", Sealed(plain=b"\2" + VALUE + bytes(4)))
    bad("padding_missing", "Padded, but there is no padding.", Sealed(plain=b"\2" + VALUE))
    bad("padding_of_zeros_only", "Padded, nothing but zeros.", Sealed(plain=b"\2" + bytes(15)))
    bad("padding_all_missing", "Padded, nothing follows.", Sealed(plain=b"\2"))
    bad("padding_goes_on_after_zeros", "Something stands behind the zeros.", Sealed(plain=b"\2" + VALUE + b"\x80\0\1"))


def deterministic_vectors():
    row = commitment(ONE)

    def good(name, note, sealed, **how):
        add("deterministic", name, note, token(sealed), row=row, at=(sealed.label, sealed.scope), **how)

    def bad(name, note, sealed, error="unauthentic", **how):
        how.setdefault("row", row)
        add("deterministic", name, note, token(sealed), error=error, **how)

    usual = Sealed(DETERMINISTIC)
    good("det_text", "The usual token.", usual)
    good("det_literal", "A JSON number: another token than the text.", Sealed(DETERMINISTIC, plain=b"\1" + b"12345"),
         kind="literal", value=b"12345")
    good("det_text_of_digits", "A text: another token than the number.", Sealed(DETERMINISTIC, plain=b"\0" + b"12345"),
         value=b"12345")
    good("det_empty", "The empty string.", Sealed(DETERMINISTIC, plain=b"\0"), value=b"")
    text = "Jörg".encode()
    good("det_text_beyond_ascii", "UTF-8.", Sealed(DETERMINISTIC, plain=b"\0" + text), value=text)
    text = bytes_of("64", 48).hex().encode()[:64]
    longest = Sealed(DETERMINISTIC, plain=b"\0" + text, label=b"Class_16-letters", scope=b"0123456789abcdef")
    assert len(token(longest)) <= 200
    good("det_value_of_64_bytes", "Fits 200 characters with the longest labels.", longest, value=text)
    good("det_padded", "Padded to 16 bytes.", Sealed(DETERMINISTIC, plain=pad(b"\2" + VALUE, 16)))
    good("det_plaintext_of_one_block", "S2V without padding of its own.", Sealed(DETERMINISTIC, plain=b"\0" + b"x" * 15),
         value=b"x" * 15)

    bad("det_moved_to_other_class", "The field is another.", usual, at=(b"mrn", b"clinic"))
    bad("det_class_rewritten", "The token was made to say mrn.", usual.but(label=b"mrn"), at=(b"mrn", b"clinic"))
    bad("det_moved_to_other_scope", "The exchange is of another scope.", usual, at=(b"ssn", b"other"))
    bad("det_scope_rewritten", "The token was made to say other.", usual.but(scope=b"other"), at=(b"ssn", b"other"))
    bad("det_bind_given", "This suite has no bound values.", usual, bind=[(b"id", b"42")])
    bad("det_other_data_key", "The row held another key.", usual, "commitment", key=TWO)
    bad("det_key_id_of_other_key", "The id of another key was put in.", usual.but(commitment=commitment(TWO)), "commitment")
    bad("det_key_id_and_key_of_other_key", "The other key matches, but it sealed nothing here.",
        usual.but(commitment=commitment(TWO)), key=TWO, row=commitment(TWO))
    bad("det_row_commitment_differs_in_second_half", "The key id is right, the rest is not.", usual, "commitment",
        row=flip(row, 16))
    bad("det_iv_changed", "One bit.", usual.but(body=flip(usual.body, 0)))
    bad("det_ciphertext_changed", "One bit.", usual.but(body=flip(usual.body, -1)))
    bad("det_truncated_by_one", "The last byte is missing.", usual.but(body=usual.body[:-1]))
    bad("det_extended", "One byte more.", usual.but(body=usual.body + b"\0"))
    bad("det_nothing_but_iv", "There is no kind byte.", usual.but(body=usual.body[:16]), "truncated")
    bad("det_inline", "Keys that live long never ride in a token.",
        head(DETERMINISTIC, INLINE, b"ssn", b"clinic", inline_part(row, [edk("main")])) + usual.body, "unknown_placement")
    bad("det_made_random", "The suite was rewritten.",
        head(RANDOM, STORED, b"ssn", b"clinic", row[:16] + bytes(8)) + bytes(12) + usual.body)
    halves = field_key(ONE, DETERMINISTIC, b"ssn")
    bad("det_halves_of_key_swapped", "The key of S2V stands first.",
        Sealed(DETERMINISTIC, field_key=halves[32:] + halves[:32]))
    bad("det_salted", "The field key was derived with a salt.",
        Sealed(DETERMINISTIC, field_key=field_key(ONE, DETERMINISTIC, b"ssn", bytes_of("process salt", 8))))
    bad("det_kind_unknown", "Bit 2 of the kind byte.", Sealed(DETERMINISTIC, plain=b"\4" + VALUE))
    bad("det_padding_without_mark", "Padded, but there is no 0x80.", Sealed(DETERMINISTIC, plain=b"\2" + VALUE))


def stream_of(plaintext, placement=INLINE, key=ONE, label=b"scan", scope=b"clinic", bind=(), last=True, extra=None):
    salt = b"" if placement == INLINE else bytes_of("process salt", 8)
    own = bytes_of(f"stream salt {len(plaintext)}", 16)
    key_part = inline_part(commitment(key), [edk("main")]) if placement == INLINE else commitment(key)[:16] + salt
    own_head = head(STREAM, placement, label, scope, key_part)
    start = b"sgv1\0" + own_head + own
    gcm = AESGCM(field_key(key, STREAM, label, salt + own))
    bound = aad(own_head, bind)
    segments = [plaintext[at:at + SEGMENT] for at in range(0, len(plaintext), SEGMENT)] or [b""]
    segments += extra or []
    out = []
    for number, segment in enumerate(segments):
        ends = last and number == len(segments) - 1
        out.append(gcm.encrypt(number.to_bytes(11, "big") + bytes([ends]), segment, bound))
    return start, out


def stream_vectors():
    row, at = commitment(ONE), (b"scan", b"clinic")

    def good(name, note, parts, value, **how):
        add("stream", name, note, b64(parts[0] + b"".join(parts[1])), value=value, at=how.pop("at", at), **how)

    def bad(name, note, sealed, error="unauthentic", **how):
        add("stream", name, note, sealed if isinstance(sealed, list) else b64(sealed), error=error, at=how.pop("at", at), **how)

    def pattern(length):
        return bytes(i % 251 for i in range(length))

    small, stored = stream_of(pattern(100)), stream_of(pattern(100), STORED)
    full, two = stream_of(pattern(SEGMENT)), stream_of(pattern(SEGMENT + 10))
    good("stream_empty", "One empty segment.", stream_of(b""), {"pattern": 0})
    good("stream_of_one_byte", "One byte.", stream_of(b"\0"), {"pattern": 1})
    good("stream_small", "One segment.", small, {"pattern": 100})
    good("stream_stored", "Its key is in a store: two salts.", stored, {"pattern": 100}, row=row)
    bound = [(b"id", b"42"), (b"part", b"1")]
    good("stream_bound", "Bound to two values.", stream_of(pattern(10), bind=bound), {"pattern": 10}, bind=bound)
    good("stream_of_a_full_segment", "The last segment is a full one.", full, {"pattern": SEGMENT})
    good("stream_of_two_segments", "A full one and ten bytes.", two, {"pattern": SEGMENT + 10})

    start, [body] = small
    whole = start + body
    bad("stream_moved_to_other_class", "Another field.", whole, at=(b"photo", b"clinic"))
    bad("stream_moved_to_other_scope", "Another scope.", whole, at=(b"scan", b"other"))
    bad("stream_class_rewritten", "Made to say scam.", whole.replace(b"scan", b"scam", 1), at=(b"scam", b"clinic"))
    bad("stream_bind_missing", "Bound, but nothing is given.", b"".join([(s := stream_of(pattern(10), bind=bound))[0], *s[1]]))
    bad("stream_bind_extra", "Not bound, but something is given.", whole, bind=bound)
    bad("stream_other_data_key", "The KMS gave another key.", whole, "commitment", key=TWO)
    bad("stream_commitment_changed", "One bit.", flip(whole, 5 + 3 + 10 + 31), "commitment")
    bad("stream_row_commitment_differs", "The key id is right, the rest is not.", stored[0] + stored[1][0], "commitment",
        row=flip(row, 30))
    bad("stream_edk_changed", "One bit of its encrypted data key.", flip(whole, 5 + 3 + 10 + 33 + 10 + 5))
    bad("stream_kek_tag_changed", "One bit of the name of its KEK.", flip(whole, 5 + 3 + 10 + 33))
    bad("stream_salt_changed", "One bit of the salt of the stream.", start[:-1] + flip(start[-1:], 0) + body)
    bad("stream_process_salt_changed", "One bit of the salt of the process.",
        flip(stored[0], 5 + 3 + 10 + 16) + stored[1][0], row=row)
    bad("stream_ciphertext_changed", "One bit.", start + flip(body, 7))
    bad("stream_tag_changed", "One bit.", start + flip(body, -1))
    bad("stream_cut_within_last_segment", "The last byte is missing.", whole[:-1])
    bad("stream_extended", "One byte more.", whole + b"\0")
    bad("stream_without_segment", "It ends behind its head.", start, "stream_truncated")
    bad("stream_head_cut", "It ends within its salt.", start[:-1], "stream_truncated")
    bad("stream_head_cut_in_edk", "It ends within its encrypted data key.", start[:100], "stream_truncated")
    bad("stream_of_no_bytes", "There is nothing.", b"", "stream_truncated")
    bad("stream_magic_only", "There is nothing behind the magic.", b"sgv1\0", "stream_truncated")
    bad("stream_magic_of_other_version", "The magic of version 2.", b"sgv2\0" + whole[5:], "spelling")
    bad("stream_magic_missing", "A head without its magic.", whole[5:], "spelling")
    bad("stream_version_2", "The version in the head.", flip(flip(whole, 5), 5, 1), "unknown_version")
    bad("stream_of_random_suite", "The suite says random.", whole[:6] + b"\x11" + whole[7:], "unknown_suite")
    bad("stream_of_suite_9", "The suite is unknown.", whole[:6] + b"\x91" + whole[7:], "unknown_suite")
    bad("stream_placement_3", "The placement is unknown.", whole[:6] + b"\x33" + whole[7:], "unknown_placement")
    bad("stream_label_malformed", "A dot in the class.", whole.replace(b"scan", b"sc.n", 1), "malformed")
    bad("stream_not_ended", "No segment is the last one.", b"".join([(s := stream_of(pattern(100), last=False))[0], *s[1]]))
    bad("stream_with_empty_last_segment", "Only an empty stream ends with an empty segment.",
        [{"of": "stream_of_a_full_segment", "from": 0, "to": len(full[0])},
         {"of": "stream_not_ended_of_a_full_segment", "from": len(full[0])},
         {"bytes": b64(stream_of(pattern(SEGMENT), extra=[b""])[1][1])}])
    head_of, end = len(two[0]), len(two[0]) + SEGMENT + 16
    of = lambda a, b=None: {"of": "stream_of_two_segments", "from": a, **({} if b is None else {"to": b})}
    bad("stream_cut_between_segments", "The second of two segments is missing.", [of(0, end)], "stream_truncated")
    bad("stream_cut_in_first_segment", "Cut within the first of two.", [of(0, end - 1)])
    bad("stream_first_segment_missing", "The second of two stands alone.", [of(0, head_of), of(end)])
    bad("stream_segments_swapped", "The second stands first.", [of(0, head_of), of(end), of(head_of, end)])
    bad("stream_segment_repeated", "The first stands twice.", [of(0, end), of(head_of)])
    bad("stream_ends_twice", "The last stands twice.", [of(0), of(end)])
    other = stream_of(pattern(SEGMENT + 10), STORED)
    bad("stream_spliced", "The end is that of another stream of the same key.", [of(0, end), {"bytes": b64(other[1][1])}])
    bad("stream_in_first_segment_changed", "One bit, in the first of two.",
        [of(0, head_of + 9), {"bytes": b64(flip(two[1][0][9:10], 0))}, of(head_of + 10)])
    not_ended = stream_of(pattern(SEGMENT), last=False)
    bad("stream_not_ended_of_a_full_segment", "A full segment that is not the last one.", b"".join([not_ended[0], *not_ended[1]]),
        "stream_truncated")


def reading_vectors():
    usual = Sealed(DETERMINISTIC)
    data = usual.bytes()
    good = token(usual)

    def bad(name, note, text, error="spelling"):
        add("reading", name, note, text if isinstance(text, str) else token(text), error=error, row=commitment(ONE))

    def bent(name, note, at, byte, error="malformed"):
        bad(name, note, data[:at] + bytes([byte]) + data[at + 1:], error)

    add("reading", "reading_as_it_is", "What all others are made of.", good, row=commitment(ONE))
    bad("empty", "Nothing.", "")
    bad("no_prefix", "The base64 alone.", good[5:])
    bad("plain_text", "No token at all.", "999-12-3456")
    bad("upper_case_prefix", "Case matters.", "SGV1." + good[5:])
    bad("mixed_case_prefix", "Case matters.", "sgV1." + good[5:])
    bad("prefix_without_dot", "The dot is missing.", "sgv1" + good[5:])
    bad("prefix_without_version", "The digit is missing.", "sgv." + good[5:])
    bad("prefix_with_letter", "A letter for the digit.", "sgvx." + good[5:])
    bad("prefix_with_two_digits", "Versions have one digit.", "sgv10." + good[5:])
    bad("prefix_version_0", "Another version.", "sgv0." + good[5:], "unknown_version")
    bad("prefix_version_2", "Another version.", "sgv2." + good[5:], "unknown_version")
    bad("prefix_version_9", "Another version, whatever stands behind.", "sgv9.!", "unknown_version")
    bad("space_before", "White space.", " " + good)
    bad("space_after", "White space.", good + " " * (3 if len(good) % 4 == 1 else 1))
    bad("newline_after", "White space.", good + "\n" * (3 if len(good) % 4 == 1 else 1))
    bad("newline_within", "White space.", good[:20] + "\n" + good[20:])
    bad("zero_byte_within", "A zero byte in the place of a character.", good[:20] + "\0" + good[21:])
    bad("quoted", "In quotes.", f'"{good}"')
    bad("comma_after", "Another character.", good + ",")
    padded = token(data + b"\0" * ((1 - len(data)) % 3))
    bad("padding_characters", "Padding is not written.", padded + "==")
    one = token(data + b"\0" * ((2 - len(data)) % 3))
    bad("one_padding_character", "Padding is not written.", one + "=")
    bad("non_canonical_base64", "The last character has bits that are not zero (four unused bits).", padded[:-1] + chr(ord(padded[-1]) + 1))
    bad("non_canonical_base64_two_bits", "The last character has bits that are not zero (two unused bits).",
        one[:-1] + chr(ord(one[-1]) + 1))
    standard = b"\x01\x22\xff\xfb\xef\xbe"
    bad("standard_alphabet", "`+` and `/` are of the other alphabet.", "sgv1." + base64.b64encode(standard * 2).decode())
    bad("character_beyond_ascii", "A letter that looks the same.", good[:20] + "а" + good[21:])
    bad("two_tokens", "One behind the other.", good + good)
    bad("percent_encoded", "Written for a URL that did not need it.", good.replace(".", "%2E"))
    bad("length_4n_plus_1", "No base64 has this length: it was cut.", token(data + b"\0" * (-len(data) % 3))[:-3], "truncated")
    bad("empty_body", "Nothing behind the prefix.", "sgv1.", "truncated")

    for name, length in [("version", 1), ("suite", 2), ("lengths", 3), ("class", 5), ("scope", 11), ("key_id", 20),
                         ("iv", 35)]:
        bad(f"cut_after_{name}", "It ends too early.", data[:length], "truncated")
    stored = Sealed(placement=STORED).bytes()
    inline = Sealed().bytes()
    bad("cut_in_salt", "It ends too early.", stored[:30], "truncated")
    bad("cut_in_nonce", "It ends too early.", stored[:40], "truncated")
    bad("cut_in_tag", "There is not even a kind byte.", stored[:36 + 12 + 16], "truncated")
    bad("cut_in_commitment", "It ends too early.", inline[:30], "truncated")
    bad("cut_before_number_of_edks", "It ends too early.", inline[:44], "truncated")
    bad("cut_in_edk", "It ends too early.", inline[:100], "truncated")
    bent("version_byte_0", "Version 0.", 0, 0, "unknown_version")
    bent("version_byte_2", "Version 2.", 0, 2, "unknown_version")
    bent("suite_0", "No suite.", 1, 0x02, "unknown_suite")
    bent("suite_3_as_text", "A stream has no text form.", 1, 0x32, "unknown_suite")
    bent("suite_4", "An unknown suite.", 1, 0x42, "unknown_suite")
    bent("suite_15", "An unknown suite.", 1, 0xF2, "unknown_suite")
    bent("placement_0", "No placement.", 1, 0x20, "unknown_placement")
    bent("placement_3", "An unknown placement.", 1, 0x23, "unknown_placement")
    bent("placement_15", "An unknown placement.", 1, 0x2F, "unknown_placement")
    bent("class_with_dot", "Outside the alphabet.", 4, ord("."))
    bent("class_with_space", "Outside the alphabet.", 5, ord(" "))
    bent("class_beyond_ascii", "Outside the alphabet.", 5, 0xC3)
    bent("scope_with_slash", "Outside the alphabet.", 7, ord("/"))
    bent("scope_with_zero_byte", "Outside the alphabet.", 11, 0)
    seventeen = head(DETERMINISTIC, STORED, b"C" * 17, b"clinic", usual.key_part()) + usual.body
    bad("class_of_17_characters", "Four bits cannot say 17: they say 1, and the scope is read too early.", seventeen,
        "commitment")
    bad("no_edk", "An inline token without an encrypted data key.", Sealed(edks=[]), "malformed")
    bad("five_edks", "One more than there may be.", Sealed(edks=[edk(str(n)) for n in range(5)]), "malformed")
    bad("empty_edk", "An encrypted data key of no bytes.", Sealed(edks=[edk("none", 0)]), "malformed")
    bad("edk_too_long", "6145 bytes.", Sealed(edks=[edk("long", 6145)]), "malformed")
    bad("second_edk_missing", "Two are announced, one is there.", inline[:44] + b"\x02" + inline[45:], "malformed")


def format_vectors():
    def good(name, note, alphabet, text, key=ONE, label=b"ssn", scope=b"clinic"):
        sealed = format_value(key, alphabet, label, scope, text)
        FILES.setdefault("format", []).append({
            "name": name, "note": note, "data_key": key.hex(), "class": label.decode(), "scope": scope.decode(),
            "alphabet": alphabet, "value": text, "sealed": sealed})

    def bad(name, note, alphabet, text, error="mismatch"):
        FILES["format"].append({
            "name": name, "note": note, "data_key": ONE.hex(), "class": "ssn", "scope": "clinic", "alphabet": alphabet,
            "value": text, "error": error})

    good("format_digits", "Separators stay.", "digits", "999-12-3456")
    good("format_digits_of_other_key", "Another key.", "digits", "999-12-3456", key=TWO)
    good("format_digits_of_other_class", "Another class.", "digits", "999-12-3456", label=b"mrn")
    good("format_digits_of_other_scope", "Another scope.", "digits", "999-12-3456", scope=b"other")
    good("format_phone", "Every separator that such numbers have.", "digits", "+1 (555) 010-0123")
    good("format_all_separators", "All that may stand between.", "digits", "1 2-3.4/5(6)7+8:9_0,1#2")
    good("format_six_digits", "The fewest.", "digits", "000000")
    good("format_256_digits", "The most.", "digits", "0123456789" * 25 + "012345")
    good("format_uppercase", "Letters and digits.", "uppercase", "MRN-00A7")
    good("format_alphanumeric", "Both cases.", "alphanumeric", "aB3_x9Zz")
    good("format_four_letters", "The fewest.", "alphanumeric", "zzzz")
    good("format_date", "A day.", "date", "1970-01-31")
    good("format_date_compact", "A day without separators.", "date", "20000229")
    good("format_date_first", "The first day.", "date", "1900/01/01")
    good("format_date_last", "The last day.", "date", "2099.12.31")
    good("format_date_month_first", "Month, day, year.", "date_month_first", "07/04/1976")
    good("format_date_day_first", "Day, month, year.", "date_day_first", "31.12.1999")
    bad("format_five_digits", "Fewer than 10^6 values.", "digits", "12345", "domain_too_small")
    bad("format_five_digits_and_separators", "Separators do not count.", "digits", "1-2-3-4-5", "domain_too_small")
    bad("format_empty", "Nothing.", "digits", "", "domain_too_small")
    bad("format_separators_only", "Nothing but separators.", "digits", "---", "domain_too_small")
    bad("format_three_letters", "Fewer than 10^6 values.", "alphanumeric", "abc", "domain_too_small")
    bad("format_letters_among_digits", "Not of the alphabet.", "digits", "Smith 123456")
    bad("format_digits_beyond_ascii", "Full-width digits.", "digits", "１２３４５６")
    bad("format_257_digits", "Too long.", "digits", "1" * 257)
    bad("format_lower_case", "Not of the alphabet.", "uppercase", "mrn-00a7")
    bad("format_letters_beyond_ascii", "Not of the alphabet.", "alphanumeric", "Müller")
    bad("format_unknown_separator", "Not kept.", "digits", "123*456")
    bad("format_equals_sign", "Not of the alphabet.", "alphanumeric", "aB3x9Zz=")
    bad("format_day_that_is_not", "1970 was no leap year.", "date", "1970-02-29")
    bad("format_day_that_is_not_1900", "Nor was 1900.", "date", "1900-02-29")
    bad("format_day_too_early", "Before 1900.", "date", "1899-12-31")
    bad("format_day_too_late", "After 2099.", "date", "2100-01-01")
    bad("format_day_of_one_digit", "Every part has its width.", "date", "1970-1-31")
    bad("format_day_of_two_separators", "One separator, twice.", "date", "1970-01/31")
    bad("format_day_of_other_separator", "Of `-/.`.", "date", "1970 01 31")
    bad("format_year_alone", "Not a day.", "date", "1970")
    bad("format_day_with_time", "Not a day alone.", "date", "1970-01-31T00:00")
    bad("format_month_13", "Day and month in the other order.", "date_month_first", "31/01/1970")
    bad("format_day_0", "There is none.", "date_day_first", "00.01.1970")


random_vectors()
deterministic_vectors()
stream_vectors()
reading_vectors()
format_vectors()
names = [vector["name"] for vectors in FILES.values() for vector in vectors]
assert len(names) == len(set(names))
for file, vectors in FILES.items():
    text = json.dumps({"format": "sealgate-vectors-1", "vectors": vectors}, indent=1, ensure_ascii=False)
    (pathlib.Path(__file__).parent / f"{file}.json").write_text(text + "\n", encoding="utf-8")
    print(f"{file}.json: {len(vectors)} vectors, {sum('error' in v for v in vectors)} of them negative")
