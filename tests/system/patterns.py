# SPDX-License-Identifier: Apache-2.0
"""In which ways may a secret be written, in clear or as a digest that anybody can compute?"""

from __future__ import annotations

import base64
import hashlib
import json
import pickle
import struct
import unicodedata
import zlib
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, quote_plus

import blake3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .canaries import Secret

__all__ = ["crc_tokens", "patterns_of"]

_ORDERS: tuple[Literal["big", "little"], ...] = ("big", "little")
# Whoever shortens a digest keeps its beginning, and hardly less than this.
_DIGEST = 16
_DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    **{
        name: (lambda data, name=name: hashlib.new(name, data, usedforsecurity=False).digest())
        for name in ("md5", "sha1", "sha256", "sha512", "blake2b", "blake2s")
    },
    "blake2b of 16": lambda data: hashlib.blake2b(data, digest_size=16).digest(),
    "blake2b of 32": lambda data: hashlib.blake2b(data, digest_size=32).digest(),
    "blake3": lambda data: blake3.blake3(data).digest(),
}
# Fewer digits could be a time, a count or the id of a process.
_FEWEST_DIGITS = 8


def patterns_of(secret: Secret) -> Iterator[tuple[str, bytes]]:
    """Each way to write *secret*: the name of the encoding, and the bytes that do not depend on what stands beside."""
    raw = _raw(secret)
    yield from _written("", raw)
    if isinstance(secret, int):
        for order in _ORDERS:
            yield f"{order}-endian", secret.to_bytes(8, order)
            yield from _as_text(f"{order}-endian as ", secret.to_bytes(8, order))
    elif isinstance(secret, float):
        for order, form in zip(_ORDERS, (">d", "<d"), strict=True):
            yield f"{order}-endian", struct.pack(form, secret)
            yield from _as_text(f"{order}-endian as ", struct.pack(form, secret))
    elif isinstance(secret, bytes):
        yield "repr", repr(secret)[2:-1].encode()
        yield "octal", "".join(f"\\{byte:03o}" if byte > 126 or byte < 32 else chr(byte) for byte in secret).encode()
    else:
        yield from _as_string(secret)
    for form, data in _forms(secret):
        for name, digest in _DIGESTS.items():
            found = digest(data)[:_DIGEST]
            yield f"{name} of {form}", found
            yield from _as_text(f"{name} of {form} as ", found)


def crc_tokens(secret: Secret) -> Iterator[tuple[str, bytes]]:
    """The ways to write a checksum of *secret* as a word of its own."""
    for form, data in _forms(secret):
        number = zlib.crc32(data)
        for order in _ORDERS:
            packed = number.to_bytes(4, order)
            yield f"crc32 of {form}, {order}-endian", packed
            yield f"crc32 of {form}, {order}-endian as base64", base64.b64encode(packed)
            yield f"crc32 of {form}, {order}-endian as hex", packed.hex().encode()
            yield f"crc32 of {form}, {order}-endian as HEX", packed.hex().upper().encode()
        for written in (number, number - (1 << 32)):
            if len(str(abs(written))) >= _FEWEST_DIGITS:
                yield f"crc32 of {form} as a number", str(written).encode()


def _raw(secret: Secret) -> bytes:
    return secret if isinstance(secret, bytes) else str(secret).encode()


def _written(prefix: str, raw: bytes) -> Iterator[tuple[str, bytes]]:
    yield f"{prefix}raw", raw
    yield f"{prefix}reversed", raw[::-1]
    yield from _as_text(prefix, raw)
    for kind, encode in (("percent", quote), ("percent, all of it", _all_percent)):
        yield f"{prefix}{kind}", encode(raw).encode()
    yield f"{prefix}percent in small letters", _all_percent(raw).lower().encode()


def _all_percent(raw: bytes) -> str:
    return "".join(f"%{byte:02X}" for byte in raw)


def _as_string(secret: str) -> Iterator[tuple[str, bytes]]:
    # Who stores text may change how its accents are written.
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, secret)
        if other != secret:
            yield from _written(f"{form}: ", other.encode())
    yield "reversed text", secret[::-1].encode()
    yield "UTF-16 LE", secret.encode("utf-16-le")
    yield "UTF-16 BE", secret.encode("utf-16-be")
    yield "UTF-32 LE", secret.encode("utf-32-le")
    yield "percent, with plus for spaces", quote_plus(secret).encode()
    yield "repr", repr(secret)[1:-1].encode()
    yield "repr in ASCII", ascii(secret)[1:-1].encode()
    yield "SQL", secret.replace("'", "''").encode()
    yield "SQL with backslashes", secret.replace("\\", "\\\\").replace("'", "''").encode()
    yield "octal", "".join(chr(byte) if 31 < byte < 127 else f"\\{byte:03o}" for byte in secret.encode()).encode()
    yield from _as_json(secret)


def _as_text(prefix: str, raw: bytes) -> Iterator[tuple[str, bytes]]:
    """The ways to write bytes as letters and digits."""
    yield f"{prefix}hex", raw.hex().encode()
    yield f"{prefix}HEX", raw.hex().upper().encode()
    for shift in range(3):
        for kind, encode in (("base64", base64.b64encode), ("base64 for URLs", base64.urlsafe_b64encode)):
            # The first letters also hold bits of what stands before, the last one of what stands after.
            start = -(-shift * 8 // 6)
            end = (shift + len(raw)) * 8 // 6
            yield f"{prefix}{kind} at {shift}", encode(bytes(shift) + raw)[start:end]


def _as_json(text: str) -> Iterator[tuple[str, bytes]]:
    plain = json.dumps(text, ensure_ascii=False)[1:-1]
    yield "JSON", plain.encode()
    yield "JSON in ASCII", json.dumps(text)[1:-1].encode()
    yield "JSON in JSON", json.dumps(plain, ensure_ascii=False)[1:-1].encode()
    units = [text.encode("utf-16-be")[at : at + 2].hex() for at in range(0, len(text.encode("utf-16-be")), 2)]
    yield "JSON escapes", "".join(rf"\u{unit}" for unit in units).encode()
    yield "JSON ESCAPES", "".join(rf"\u{unit.upper()}" for unit in units).encode()


def _forms(secret: Secret) -> Iterator[tuple[str, bytes]]:
    """What somebody may take a digest of."""
    yield "raw", _raw(secret)
    if not isinstance(secret, bytes):
        yield "JSON", json.dumps(secret).encode()
    if isinstance(secret, str) and not secret.isascii():
        yield "JSON in UTF-8", json.dumps(secret, ensure_ascii=False).encode()
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        yield f"pickle {protocol}", pickle.dumps(secret, protocol)
