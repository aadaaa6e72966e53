# SPDX-License-Identifier: Apache-2.0
"""Can anything of a secret be found in these bytes, in whatever way it may have been written?"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import secrets
import sqlite3
import subprocess
from collections import defaultdict
from contextlib import closing
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import quote

import blake3

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Canary", "Finding", "Scanner", "accented", "digits", "letters", "octets", "quoted", "snapshot"]

Canary = str | int | bytes
"""A value that occurs nowhere by chance: it has at least 60 random bits."""

_RANDOM = random.SystemRandom()
_HEAD = 8
"""Every pattern is at least this long; shorter ones would be found by chance."""

_ORDERS: tuple[Literal["big", "little"], ...] = ("big", "little")
_DIGESTS = ("md5", "sha1", "sha256", "sha512", "blake2b")


def letters() -> str:
    """A secret that every encoding of text has room for, and that may be a name."""
    return "".join(_RANDOM.choices("abcdefghijklmnopqrstuvwxyz", k=24))


def accented() -> str:
    """A secret outside of ASCII, with characters of two, three and four bytes in UTF-8."""
    return "".join(_RANDOM.choices("äöüéèñçøåœžšđłżΩλЖщあ漢𝔘🜁", k=20))


def quoted() -> str:
    """A secret that JSON has to escape."""
    return '"'.join("\\".join(_RANDOM.choices("abcdefghijkl", k=4)) + "\n" for _ in range(5))


def digits() -> int:
    """A secret number of 19 digits that fits into 64 bits."""
    return _RANDOM.randrange(10**18, 9 * 10**18)


def octets() -> bytes:
    """Secret bytes that are no text."""
    return b"\xff\xfe" + secrets.token_bytes(24)


class Finding(NamedTuple):
    """One place where a secret shows."""

    canary: str
    """The name of the secret, not itself: a report is read by many."""
    encoding: str
    where: str
    offset: int


class Scanner:
    """Looks for secrets, by name, in every encoding that we could think of."""

    def __init__(self, canaries: Mapping[str, Canary]) -> None:
        # By their first bytes, so that one pass over the data finds all of them.
        self._patterns: dict[bytes, list[tuple[bytes, str, str]]] = defaultdict(list)
        for name, canary in canaries.items():
            for encoding, pattern in _patterns(canary):
                if len(pattern) < _HEAD:
                    raise ValueError(f"{name} as {encoding} is too short to be told from chance")
                self._patterns[pattern[:_HEAD]].append((pattern, name, encoding))

    def scan(self, sources: Mapping[str, bytes]) -> list[Finding]:
        """Everything that shows in *sources*, name -> bytes."""
        return [finding for where, data in sources.items() for finding in self._scan_one(where, data)]

    def _scan_one(self, where: str, data: bytes) -> Iterator[Finding]:
        patterns = self._patterns
        for offset in range(len(data) - _HEAD + 1):
            for pattern, name, encoding in patterns.get(data[offset : offset + _HEAD], ()):
                if data.startswith(pattern, offset):
                    yield Finding(name, encoding, where, offset)


def snapshot(home: Path, into: Path) -> dict[str, bytes]:
    """What the backend under *home* has on disk now: each of its files, and each cell of its database.

    The files show what is left over in free space and in logs. The cells show what is cut in two by the end of a page.
    """
    # By another process: to open and close a database here would take away the locks that SQLite has in this one.
    into.mkdir()
    subprocess.run(["cp", "--", *map(str, home.glob("strongroom.db*")), str(into)], check=True)
    sources = {path.name: path.read_bytes() for path in into.iterdir()}
    return {**sources, **dict(_cells(into / "strongroom.db"))}


def _cells(database: Path) -> Iterator[tuple[str, bytes]]:
    with closing(sqlite3.connect(database)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in tables:
            rows = connection.execute(f'SELECT * FROM "{table}"')  # the database's own name for it
            columns = [column[0] for column in rows.description]
            for number, row in enumerate(rows):
                for column, cell in zip(columns, row, strict=True):
                    yield f"{table}[{number}].{column}", cell if isinstance(cell, bytes) else str(cell).encode()


def _patterns(canary: Canary) -> Iterator[tuple[str, bytes]]:
    """Each way to write *canary*: the name of the encoding, and the bytes that do not depend on what stands beside."""
    raw = canary if isinstance(canary, bytes) else str(canary).encode()
    yield "raw", raw
    yield "reversed", raw[::-1]
    yield from _as_text("", raw)
    if isinstance(canary, int):
        for order in _ORDERS:
            yield f"{order}-endian", canary.to_bytes(8, order)
            yield from _as_text(f"{order}-endian as ", canary.to_bytes(8, order))
    else:
        yield "percent", quote(raw).encode()
        yield "repr", repr(canary).removeprefix("b")[1:-1].encode()
    if isinstance(canary, str):
        yield "reversed text", canary[::-1].encode()
        yield "UTF-16 LE", canary.encode("utf-16-le")
        yield "UTF-16 BE", canary.encode("utf-16-be")
        yield from _as_json(canary)
    for name in _DIGESTS:
        yield from _as_digest(name, hashlib.new(name, raw, usedforsecurity=False).digest())
    yield from _as_digest("blake3", blake3.blake3(raw).digest())


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
    yield "JSON", json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield "JSON in ASCII", json.dumps(text)[1:-1].encode()
    units = [text.encode("utf-16-be")[at : at + 2].hex() for at in range(0, len(text.encode("utf-16-be")), 2)]
    yield "JSON escapes", "".join(rf"\u{unit}" for unit in units).encode()
    yield "JSON ESCAPES", "".join(rf"\u{unit.upper()}" for unit in units).encode()


def _as_digest(name: str, digest: bytes) -> Iterator[tuple[str, bytes]]:
    yield name, digest
    yield from _as_text(f"{name} as ", digest)
