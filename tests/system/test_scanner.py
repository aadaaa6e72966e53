# SPDX-License-Identifier: Apache-2.0
"""Would the scanner of the canary tests find a secret that was sent in clear? A scanner that is blind finds nothing."""

from __future__ import annotations

import base64
import codecs
import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import blake3
import msgspec
import pytest

from .scanner import Canary, Finding, Scanner, accented, digits, letters, octets, quoted, snapshot


def raw(canary: Canary) -> bytes:
    return canary if isinstance(canary, bytes) else str(canary).encode()


ANY: dict[str, Callable[[Canary], bytes]] = {
    "raw": raw,
    "reversed": lambda canary: bytes(reversed(raw(canary))),
    "hex": lambda canary: codecs.encode(raw(canary), "hex"),
    "HEX": lambda canary: base64.b16encode(raw(canary)),
    "base64 at 0": lambda canary: base64.b64encode(b"???" + raw(canary) + b"~~~"),
    "base64 at 1": lambda canary: base64.b64encode(b"?" + raw(canary) + b"~~~"),
    "base64 at 2": lambda canary: base64.b64encode(b"??" + raw(canary) + b"~~~"),
    "base64 for URLs at 0": lambda canary: base64.urlsafe_b64encode(b"???" + raw(canary) + b"~~~"),
    "base64 for URLs at 1": lambda canary: base64.urlsafe_b64encode(b"?" + raw(canary) + b"~~~"),
    "base64 for URLs at 2": lambda canary: base64.urlsafe_b64encode(b"??" + raw(canary) + b"~~~"),
    "md5": lambda canary: hashlib.md5(raw(canary)).digest(),
    "sha1 as hex": lambda canary: hashlib.sha1(raw(canary)).hexdigest().encode(),
    "sha256 as hex": lambda canary: hashlib.sha256(raw(canary)).hexdigest().encode(),
    "sha256 as HEX": lambda canary: hashlib.sha256(raw(canary)).hexdigest().upper().encode(),
    "sha256 as base64 at 0": lambda canary: base64.b64encode(hashlib.sha256(raw(canary)).digest()),
    "sha512": lambda canary: hashlib.sha512(raw(canary)).digest(),
    "blake2b as hex": lambda canary: hashlib.blake2b(raw(canary)).hexdigest().encode(),
    "blake3 as hex": lambda canary: blake3.blake3(raw(canary)).hexdigest().encode(),
}
TEXT: dict[str, Callable[[str], bytes]] = {
    "reversed text": lambda canary: "".join(reversed(canary)).encode(),
    "UTF-16 LE": lambda canary: codecs.BOM_UTF16_LE + canary.encode("utf-16-le"),
    "UTF-16 BE": lambda canary: codecs.BOM_UTF16_BE + canary.encode("utf-16-be"),
    "JSON": lambda canary: msgspec.json.encode({"key": [canary]}),
    "JSON in ASCII": lambda canary: json.dumps({"key": [canary]}).encode(),
    "percent": lambda canary: f"file:///folder/{quote(canary)}/".encode(),
    "repr": lambda canary: repr([canary]).encode(),
}
NUMBER: dict[str, Callable[[int], bytes]] = {
    "big-endian": msgspec.msgpack.encode,
    "little-endian": lambda canary: canary.to_bytes(8, "little"),
    "big-endian as hex": lambda canary: f"{canary:x}".encode().rjust(16, b"0"),
}
CLEAR: list[tuple[Callable[[], Canary], str, Callable[[Any], bytes]]] = [
    *((kind, name, write) for kind in (letters, accented, quoted, digits, octets) for name, write in ANY.items()),
    *((kind, name, write) for kind in (letters, accented, quoted) for name, write in TEXT.items()),
    *((digits, name, write) for name, write in NUMBER.items()),
    (octets, "repr", lambda canary: f"cannot parse {canary!r}".encode()),
    (accented, "JSON ESCAPES", lambda canary: json.dumps(canary).upper().replace(r"\U", r"\u").encode()),
]


NAMES = [f"{kind.__name__}-{encoding}" for kind, encoding, _ in CLEAR]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """What a scan finds in a database with one row for each secret, told in its own way."""
    told: dict[str, Canary] = {name: kind() for name, (kind, _, _) in zip(NAMES, CLEAR, strict=True)}
    rows = [b"left " + write(told[name]) + b" right" for name, (_, _, write) in zip(NAMES, CLEAR, strict=True)]
    sources = a_database_with(rows, tmp_path_factory.mktemp("database"))
    kept: dict[str, Canary] = {"kept": letters(), "kept, too": digits(), "never sent": octets()}
    return Scanner({**told, **kept}).scan(sources)


@pytest.mark.parametrize(("row", "name"), list(enumerate(NAMES)), ids=NAMES)
def test_a_secret_in_clear_is_found(row: int, name: str, found: list[Finding]) -> None:
    of_this = [finding for finding in found if finding.canary == name]

    assert CLEAR[row][1] in {finding.encoding for finding in of_this}
    assert f"notes[{row}].text" in {finding.where for finding in of_this}


def test_a_secret_is_found_only_where_it_was_told(found: list[Finding]) -> None:
    cells = {(finding.canary, finding.where) for finding in found if finding.where.startswith("notes")}

    assert cells == {(name, f"notes[{row}].text") for row, name in enumerate(NAMES)}


def test_a_secret_is_found_in_each_file_that_has_it(found: list[Finding]) -> None:
    assert {"strongroom.db", "strongroom.db-wal"} < {finding.where for finding in found}


def test_a_secret_that_a_page_cuts_in_two_is_found(tmp_path: Path) -> None:
    secrets = {f"secret {number}": letters() for number in range(1000)}

    sources = a_database_with([" ".join(secrets.values()).encode()], tmp_path)

    assert {finding.canary for finding in Scanner(secrets).scan(sources)} == set(secrets)


def test_what_could_be_there_by_chance_is_no_canary() -> None:
    with pytest.raises(ValueError, match="short as raw is too short to be told from chance"):
        Scanner({"short": "abc"})


def a_database_with(rows: list[bytes], folder: Path) -> dict[str, bytes]:
    """What the scanner sees of a database with *rows* of one cell, while the write-ahead log still has them too."""
    with closing(sqlite3.connect(folder / "strongroom.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE notes (text)")
        connection.executemany("INSERT INTO notes VALUES (?)", [(row,) for row in rows])
        connection.execute("PRAGMA wal_checkpoint")
        return snapshot(folder, folder / "copy")
