# SPDX-License-Identifier: Apache-2.0
"""Decrypts a stored result with nothing but the library cryptography, given the key that wraps its data key.

    python decrypt_record.py RECORD NAME OUT [PAYLOAD] < WRAPPING-KEY

NAME is what the record is called in its storage, such as runs/1f0c.../9a3e...; the key comes as hexadecimal digits.
PAYLOAD is the payload of RECORD with the codecs undone that stand before "encrypted" in its chain, if there are any.
"""

import base64
import json
import sys
from pathlib import Path

from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.exceptions import InvalidTag


def text(value: str) -> bytes:
    """*value* as MessagePack, which has three kinds of texts of this length."""
    data = value.encode()
    length = len(data).to_bytes(2)
    heads = {32: bytes([0xA0 | length[1] & 31]), 256: b"\xd9" + length[1:], 1 << 16: b"\xda" + length}
    return next(head for limit, head in heads.items() if len(data) < limit) + data


def opened(sealed: bytes, key: bytes, *parts: str) -> bytes:
    """What *key* has sealed, bound to the MessagePack of *parts*."""
    context = bytes([0x90 | len(parts)]) + b"".join(map(text, parts))
    decryptor = Cobblestone256Decryptor(key, context)
    return decryptor.update(sealed) + decryptor.finalize()


def main(path: str, name: str, out: str, payload: str = "") -> None:
    """Write to *out* what the record at *path*, which is called *name*, holds, decrypted."""
    line, _, rest = Path(path).read_bytes().partition(b"\n")
    header = json.loads(line.removeprefix(b"strongroom/1 "))
    if "wrapped" not in header:
        sys.exit(f"{path} is not encrypted: it is {header['chain']}")
    if not header["chain"].startswith("encrypted/") and not payload:
        sys.exit(f"{path} is {header['chain']}: give a PAYLOAD, with what stands before encrypted undone")
    sealed = Path(payload).read_bytes() if payload else rest[:-48]
    wrapped = base64.b64decode(header["wrapped"])[9:]  # a version and the id of the key come first
    try:
        data_key = opened(wrapped, bytes.fromhex(sys.stdin.read()), "wrap", name, header["object"])
        Path(out).write_bytes(opened(sealed, data_key, "codec", name, header["object"]))
    except InvalidTag:
        sys.exit(f"{path} does not open: the key or its NAME is another one, or it is damaged")


if not 4 <= len(sys.argv) <= 5:  # noqa: PLR2004
    sys.exit(__doc__)
try:
    main(*sys.argv[1:])
except (OSError, ValueError) as exc:
    sys.exit(f"{sys.argv[1]} was not decrypted: {exc}")
