"""Puts every published vector of a token or stream through the functions of open_token.py and says where they disagree.

FF1 is not in the `cryptography` package, so that format.json is left to make.py, which holds FF1 itself.
"""

import base64
import io
import json
import pathlib
import sys

import open_token

HERE = pathlib.Path(__file__).parent


def load(name):
    return {vector["name"]: vector for vector in json.loads((HERE / f"{name}.json").read_text())["vectors"]}


def stream_bytes(vector, streams):
    if isinstance(vector["stream"], str):
        return base64.b64decode(vector["stream"])
    whole = b""
    for part in vector["stream"]:
        of = stream_bytes(streams[part["of"]], streams) if "of" in part else base64.b64decode(part["bytes"])
        whole += of[part.get("from", 0):part.get("to", len(of))]
    return whole


def outcome(vector, streams):
    """What opening gives: `(kind, value)`, or the name of the reason."""
    key = bytes.fromhex(vector["data_key"])
    row = bytes.fromhex(vector["row_commitment"]) if "row_commitment" in vector else None
    bind = {name.encode(): base64.b64decode(value) for name, value in vector["bind"].items()}
    try:
        if "stream" in vector:
            file = io.BytesIO(stream_bytes(vector, streams))
            head, salt = open_token.read_stream(file)
        else:
            head, sealed = open_token.read_token(vector["token"].encode())
        open_token.check_key(head, key, row)
        if (head.label, head.scope) != (vector["class"].encode(), vector["scope"].encode()):
            raise open_token.Refused("unauthentic", "of another class or scope")
        if "stream" in vector:
            return None, b"".join(open_token.open_stream(file, head, salt, key, bind))
        return open_token.open_value(head, sealed, key, bind)
    except open_token.Refused as refused:
        return refused.args[0]


def expected(vector):
    if "error" in vector:
        return vector["error"]
    if isinstance(vector["value"], dict):
        return None, bytes(i % 251 for i in range(vector["value"]["pattern"]))
    return vector["kind"], base64.b64decode(vector["value"])


def main():
    wrong, counted = [], 0
    for name in ["random", "deterministic", "stream", "reading"]:
        vectors = load(name)
        for vector in vectors.values():
            counted += 1
            if outcome(vector, vectors) != expected(vector):
                wrong.append(vector["name"])
    print(f"{counted} vectors, {len(wrong)} disagree: {' '.join(wrong)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
