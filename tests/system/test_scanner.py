# SPDX-License-Identifier: Apache-2.0
"""Would the scanner of the canary tests find a secret that was sent in clear? A scanner that is blind finds nothing."""

from __future__ import annotations

import base64
import codecs
import gzip
import hashlib
import json
import pickle
import sqlite3
import struct
import unicodedata
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import blake3
import msgspec
import pytest

from . import databases
from .canaries import Secret, accented, digits, fraction, letters, octets, quoted
from .scanner import Finding, Scanner, zstd


def raw(canary: Secret) -> bytes:
    return canary if isinstance(canary, bytes) else str(canary).encode()


ANY: dict[str, Callable[[Secret], bytes]] = {
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
    "percent, all of it": lambda canary: "".join(f"%{byte:02X}" for byte in raw(canary)).encode(),
    "percent in small letters": lambda canary: "".join(f"%{byte:02x}" for byte in raw(canary)).encode(),
    "md5 of raw": lambda canary: hashlib.md5(raw(canary)).digest(),
    "sha1 of raw as hex": lambda canary: hashlib.sha1(raw(canary)).hexdigest().encode(),
    "sha256 of raw as hex": lambda canary: hashlib.sha256(raw(canary)).hexdigest().encode(),
    "sha256 of raw as HEX": lambda canary: hashlib.sha256(raw(canary)).hexdigest().upper().encode(),
    "sha256 of raw as base64 at 0": lambda canary: base64.b64encode(hashlib.sha256(raw(canary)).digest()),
    "sha256 of pickle 5": lambda canary: hashlib.sha256(pickle.dumps(canary, 5)).digest(),
    "md5 of pickle 2 as hex": lambda canary: hashlib.md5(pickle.dumps(canary, 2)).hexdigest().encode(),
    "sha512 of raw": lambda canary: hashlib.sha512(raw(canary)).digest(),
    "blake2b of raw as hex": lambda canary: hashlib.blake2b(raw(canary)).hexdigest().encode(),
    "blake2b of 16 of raw": lambda canary: hashlib.blake2b(raw(canary), digest_size=16).digest(),
    "blake2b of 32 of pickle 4 as hex": lambda canary: (
        hashlib.blake2b(pickle.dumps(canary, 4), digest_size=32).hexdigest().encode()
    ),
    "blake2s of raw": lambda canary: hashlib.blake2s(raw(canary)).digest(),
    "blake3 of raw as hex": lambda canary: blake3.blake3(raw(canary)).hexdigest().encode(),
    # One that somebody has made shorter.
    "sha512 of raw as hex": lambda canary: hashlib.sha512(raw(canary)).hexdigest()[:32].encode(),
}
TEXT: dict[str, Callable[[str], bytes]] = {
    "reversed text": lambda canary: "".join(reversed(canary)).encode(),
    "UTF-16 LE": lambda canary: codecs.BOM_UTF16_LE + canary.encode("utf-16-le"),
    "UTF-16 BE": lambda canary: codecs.BOM_UTF16_BE + canary.encode("utf-16-be"),
    "UTF-32 LE": lambda canary: canary.encode("utf-32-le"),
    "SQL": lambda canary: f"INSERT INTO t VALUES ('{canary.replace(chr(39), chr(39) * 2)}')".encode(),
    "JSON in JSON": lambda canary: msgspec.json.encode(msgspec.json.encode({"key": [canary]}).decode()),
    "repr in ASCII": lambda canary: ascii([canary]).encode(),
    "sha1 of JSON": lambda canary: hashlib.sha1(json.dumps(canary).encode()).digest(),
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
FRACTION: dict[str, Callable[[float], bytes]] = {
    "big-endian": msgspec.msgpack.encode,
    "little-endian": lambda canary: struct.pack("<d", canary),
    "md5 of JSON": lambda canary: hashlib.md5(msgspec.json.encode(canary)).digest(),
}
ACCENTED: dict[str, Callable[[str], bytes]] = {
    "JSON ESCAPES": lambda canary: json.dumps(canary).upper().replace(r"\U", r"\u").encode(),
    "NFD: raw": lambda canary: unicodedata.normalize("NFD", canary).encode(),
    "NFD: hex": lambda canary: unicodedata.normalize("NFD", canary).encode().hex().encode(),
    "octal": lambda canary: "".join(f"\\{byte:03o}" for byte in canary.encode()).encode(),
    "md5 of JSON in UTF-8": lambda canary: hashlib.md5(msgspec.json.encode(canary)).digest(),
}
CLEAR: list[tuple[Callable[[], Secret], str, Callable[[Any], bytes]]] = [
    *(
        (kind, name, write)
        for kind in (letters, accented, quoted, digits, fraction, octets)
        for name, write in ANY.items()
    ),
    *((kind, name, write) for kind in (letters, accented, quoted) for name, write in TEXT.items()),
    *((digits, name, write) for name, write in NUMBER.items()),
    (octets, "repr", lambda canary: f"cannot parse {canary!r}".encode()),
    *((accented, name, write) for name, write in ACCENTED.items()),
    *((fraction, name, write) for name, write in FRACTION.items()),
]


NAMES = [f"{kind.__name__}-{encoding}" for kind, encoding, _ in CLEAR]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """What a scan finds in a database with one row for each secret, told in its own way."""
    told: dict[str, Secret] = {name: kind() for name, (kind, _, _) in zip(NAMES, CLEAR, strict=True)}
    rows = [b"left " + write(told[name]) + b" right" for name, (_, _, write) in zip(NAMES, CLEAR, strict=True)]
    sources = a_database_with(rows, tmp_path_factory.mktemp("database"))
    kept: dict[str, Secret] = {"kept": letters(), "kept, too": digits(), "never sent": octets()}
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


@pytest.mark.parametrize("compress", [gzip.compress, zstd.compress])
def test_a_secret_in_something_compressed_is_found(compress: Callable[[bytes], bytes]) -> None:
    secret = letters()
    packed = compress(b"left " * 500 + secret.encode().hex().encode())
    twice = gzip.compress(b"in it " + packed + b" and more")

    found = Scanner({"it": secret}).scan({"once": b"head" + packed + b"tail", "twice": b"head" + twice})

    assert {finding.encoding for finding in found} == {"hex"}
    assert {finding.where.partition(",")[0] for finding in found} == {"once", "twice"}
    assert any(finding.where.count(" at ") > 1 for finding in found)


def test_what_begins_like_something_compressed_and_is_none_is_passed_over() -> None:
    data = b"\x1f\x8b\x08" + bytes(50) + b"\x28\xb5\x2f\xfd" + bytes(50)

    assert not Scanner({"it": letters()}).scan({"noise": data})


CRC: dict[str, Callable[[int], bytes]] = {
    "of four bytes": lambda crc: crc.to_bytes(4, "big"),
    "of four bytes, turned": lambda crc: crc.to_bytes(4, "little"),
    "hexadecimal": lambda crc: b'{"crc":"%08x"}' % crc,
    "HEXADECIMAL": lambda crc: b"x %08X" % crc,
    "a number": lambda crc: b"crc = %d;" % crc,
    "a number with a sign": lambda crc: b"%d" % (crc - (1 << 32)),
    "base64": lambda crc: base64.b64encode(crc.to_bytes(4, "big")),
}


@pytest.mark.parametrize("write", CRC.values(), ids=CRC)
@pytest.mark.parametrize("form", [raw, json.dumps, pickle.dumps])
def test_a_checksum_of_four_bytes_is_found_where_it_is_a_cell_or_a_word(
    form: Callable[[str], bytes | str], write: Callable[[int], bytes]
) -> None:
    # One whose number is long enough to be none of ours.
    secret, crc = next(
        (each, crc)
        for each in iter(letters, None)
        if (crc := zlib.crc32(data if isinstance(data := form(each), bytes) else data.encode())) > 10**8
        and crc < (1 << 32) - 10**8
    )

    found = Scanner({"it": secret}).scan_cells({"cell": write(crc)})

    assert {finding.canary for finding in found} == {"it"}
    assert all("crc32" in finding.encoding for finding in found)


def test_a_checksum_of_four_bytes_within_random_bytes_is_chance() -> None:
    secret = letters()
    crc = zlib.crc32(secret.encode())

    found = Scanner({"it": secret}).scan_cells(
        {"documents[0].sealed": b"xx" + crc.to_bytes(4, "big") + b"yy", "documents[0].run_id": b"ab%08xcd" % crc}
    )

    assert not found


def a_database_with(rows: list[bytes], folder: Path) -> dict[str, bytes]:
    """What the scanner sees of a database with *rows* of one cell, while the write-ahead log still has them too."""
    with closing(sqlite3.connect(folder / "strongroom.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE notes (text)")
        connection.executemany("INSERT INTO notes VALUES (?)", [(row,) for row in rows])
        connection.execute("PRAGMA wal_checkpoint")
        seen = databases.sqlite(folder, folder / "results")
        return {**seen.files, **seen.cells}
