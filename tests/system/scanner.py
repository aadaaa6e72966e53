# SPDX-License-Identifier: Apache-2.0
"""Can anything of a secret be found in these bytes, in whatever way it may have been written?"""

from __future__ import annotations

import contextlib
import re
import sys
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .patterns import crc_tokens, patterns_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .canaries import Secret

__all__ = ["Finding", "Scanner"]

_HEAD = 8
"""Every pattern is at least this long; shorter ones would be found by chance."""

_CHUNK = 4 << 20
_MOST = 64 << 20
_DEEPEST = 3
_GZIP, _ZSTD = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"
_WORD = re.compile(rb"[0-9A-Za-z+/=_-]+")


class Finding(NamedTuple):
    """One place where a secret shows."""

    canary: str
    """The name of the secret, not itself: a report is read by many."""
    encoding: str
    where: str
    offset: int


class Scanner:
    """Looks for secrets, by name, in every encoding that we could think of."""

    def __init__(self, canaries: Mapping[str, Secret]) -> None:
        # By their first bytes, so that one pass over the data finds all of them.
        self._patterns: dict[bytes, list[tuple[bytes, str, str]]] = defaultdict(list)
        self._crcs: dict[bytes, list[tuple[str, str]]] = defaultdict(list)
        for name, canary in canaries.items():
            for encoding, pattern in patterns_of(canary):
                if len(pattern) < _HEAD:
                    raise ValueError(f"{name} as {encoding} is too short to be told from chance")
                self._patterns[pattern[:_HEAD]].append((pattern, name, encoding))
            for encoding, token in crc_tokens(canary):
                self._crcs[token].append((name, encoding))
        # Which three bytes a pattern begins with, and which three come next: nearly all data is told by that.
        heads = np.frombuffer(b"".join(self._patterns), np.uint8).reshape(-1, _HEAD)
        self._first, self._next = (np.zeros(1 << 24, np.bool_) for _ in range(2))
        self._first[_threes(heads[:, :3].reshape(-1))[::3]] = True
        self._next[_threes(heads[:, 3:6].reshape(-1))[::3]] = True

    @property
    def encodings(self) -> set[str]:
        """All ways of writing that are looked for."""
        return {encoding for found in self._patterns.values() for _, _, encoding in found} | {
            encoding for found in self._crcs.values() for _, encoding in found
        }

    def scan(self, sources: Mapping[str, bytes]) -> list[Finding]:
        """Everything that shows in *sources*, name -> bytes."""
        return [finding for where, data in sources.items() for finding in self._scan_one(where, data)]

    def scan_cells(self, cells: Mapping[str, bytes]) -> list[Finding]:
        """As `scan`, for cells of a database: there a checksum of four bytes can be told from chance, too.

        It is looked for as a whole cell, or as a whole word in one. No cell of ours has four bytes, or a word of eight
        hexadecimal or of eight to ten decimal digits: ids have 16 or 32, times 13 or 16, and counts less.
        """
        found = self.scan(cells)
        for where, cell in cells.items():
            words = [(0, cell)]
            # What is sealed is random, and has no words.
            if not where.endswith(".sealed"):
                words += [(match.start(), match[0]) for match in _WORD.finditer(cell) if match[0] != cell]
            found += [
                Finding(name, encoding, where, offset)
                for offset, word in words
                for name, encoding in self._crcs.get(word, ())
            ]
        return found

    def _scan_one(self, where: str, data: bytes, depth: int = 0) -> Iterator[Finding]:
        for offset in self._likely(data):
            for pattern, name, encoding in self._patterns.get(data[offset : offset + _HEAD], ()):
                if data.startswith(pattern, offset):
                    yield Finding(name, encoding, where, offset)
        if depth < _DEEPEST:
            for offset, kind, content in _members(data):
                yield from self._scan_one(f"{where}, {kind} at {offset}", content, depth + 1)

    def _likely(self, data: bytes) -> Iterable[int]:
        """Where a pattern may begin."""
        for start in range(0, max(len(data) - _HEAD + 1, 0), _CHUNK):
            threes = _threes(np.frombuffer(data[start : start + _CHUNK + _HEAD - 1], np.uint8))
            (found,) = np.nonzero(self._first[threes[: len(threes) - _HEAD + 3]])
            yield from (found[self._next[threes[found + 3]]] + start).tolist()


def _threes(data: np.ndarray) -> np.ndarray:
    """The number that each three neighbours make."""
    wide = data.astype(np.uint32)
    return wide[:-2] | wide[1:-1] << 8 | wide[2:] << 16


def _members(data: bytes) -> Iterator[tuple[int, str, bytes]]:
    """What is compressed in *data*, as far as it unpacks: by chance alone next to nothing does."""
    for match in re.finditer(re.escape(_GZIP) + b"|" + re.escape(_ZSTD), data):
        kind = "gzip" if match[0] == _GZIP else "zstd"
        content = b""
        with contextlib.suppress(zlib.error, zstd.ZstdError, EOFError):
            piece = data[match.start() : match.start() + _MOST]
            if kind == "gzip":
                content = zlib.decompressobj(31).decompress(piece, _MOST)
            else:
                content = zstd.ZstdDecompressor().decompress(piece, _MOST)
        if content:
            yield match.start(), kind, content
