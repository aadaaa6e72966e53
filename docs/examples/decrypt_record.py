# SPDX-License-Identifier: Apache-2.0
"""Decrypts a stored result with nothing but the library cryptography, given the key that wraps its data key.

    python decrypt_record.py RECORD NAME OUT < WRAPPING-KEY

NAME is what the record is called in its storage, such as runs/1f0c.../9a3e...; the key comes as hexadecimal digits.
"""

import base64
import json
import sys
from pathlib import Path

from cryptography.cobblestone import Cobblestone256Decryptor


def bind(*parts: str) -> bytes:
    """*parts* as MessagePack: an array of texts."""
    texts = [part.encode() for part in parts]
    heads = [bytes([0xA0 | len(text)] if len(text) < 32 else [0xD9, len(text)]) for text in texts]  # noqa: PLR2004
    return bytes([0x90 | len(texts)]) + b"".join(head + text for head, text in zip(heads, texts, strict=True))


def main(path: str, name: str, out: str) -> None:
    """Write to *out* what the record at *path*, which is called *name*, holds, decrypted."""
    record = Path(path).read_bytes()
    line, _, rest = record.partition(b"\n")
    header = json.loads(line.removeprefix(b"strongroom/1 "))
    wrapped = base64.b64decode(header["wrapped"])
    opened = Cobblestone256Decryptor(bytes.fromhex(sys.stdin.read()), bind("wrap", name, header["object"]))
    data_key = opened.update(wrapped[9:]) + opened.finalize()  # a version and the id of the key come first
    opened = Cobblestone256Decryptor(data_key, bind("codec", name, header["object"]))
    Path(out).write_bytes(opened.update(rest[:-48]) + opened.finalize())


main(*sys.argv[1:])
