# SPDX-License-Identifier: Apache-2.0
"""How does zlib, which has an interface of its own, look like the other decompressors?"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strongroom_compressed._files import Compressor

__all__ = ["ERRORS", "GzipDecompressor", "compressor"]

ERRORS = (zlib.error,)

_GZIP = 16 + zlib.MAX_WBITS


def compressor(level: int) -> Compressor:
    """One that writes one gzip member, with no name and no time in it: equal values are equal bytes."""
    return zlib.compressobj(level, wbits=_GZIP)


class GzipDecompressor:
    """Reads one gzip member; zlib checks its checksum and its length."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=_GZIP)
        self._full = False

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        # A full answer may have left something inside, even after all of the input went in.
        return not self._zlib.unconsumed_tail and not self._full

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        found = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self._full = len(found) == max_length
        return found
