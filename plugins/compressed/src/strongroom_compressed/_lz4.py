# SPDX-License-Identifier: Apache-2.0
"""How is LZ4 asked for frames that others can read, and for a mark at the end?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.errors import PluginError

try:
    import lz4.frame as lz4
except ModuleNotFoundError as exc:
    raise PluginError(
        "the codec 'compressed.lz4' needs a library that is not installed: pip install strongroom-compressed[lz4]"
    ) from exc

if TYPE_CHECKING:
    from strongroom_compressed._files import Decompressor

__all__ = ["ERRORS", "FrameCompressor", "decompressor"]

ERRORS = (RuntimeError, ValueError, EOFError)
"""What the library raises, which has no error of its own."""


class FrameCompressor:
    """Writes one frame with a checksum of all of it, which is what notices a change."""

    def __init__(self, level: int) -> None:
        self._lz4 = lz4.LZ4FrameCompressor(compression_level=level, content_checksum=True)
        self._start: bytes = self._lz4.begin()

    def compress(self, data: memoryview) -> bytes:
        start, self._start = self._start, b""
        packed: bytes = self._lz4.compress(data)
        return start + packed

    def flush(self) -> bytes:
        start, self._start = self._start, b""
        packed: bytes = self._lz4.flush()
        return start + packed


def decompressor() -> Decompressor:
    """One that reads one frame; a block has at most 4 MiB, so no more than that is kept."""
    found: Decompressor = lz4.LZ4FrameDecompressor()
    return found
