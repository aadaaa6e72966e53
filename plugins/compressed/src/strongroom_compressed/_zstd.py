# SPDX-License-Identifier: Apache-2.0
"""How do bytes pass through zstd, so that memory stays bounded and every mistake is seen?"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, BinaryIO

from strongroom.errors import StorageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["ZstdReader", "ZstdWriter"]

_CHUNK = 1 << 17
"""A zstd block: smaller pieces cost more calls, bigger ones only memory."""

_WINDOW_LOG_MAX = 27
"""A frame that would have its reader keep more than 128 MiB to look back into is refused."""


class ZstdWriter(io.RawIOBase):
    """Compresses what is written; `close` ends the frame and leaves *sink* open."""

    def __init__(self, sink: BinaryIO, level: int) -> None:
        super().__init__()
        self._sink = sink
        options: dict[int, int] = {
            zstd.CompressionParameter.compression_level: level,
            zstd.CompressionParameter.checksum_flag: 1,
        }
        self._compressor = zstd.ZstdCompressor(options=options)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        if self.closed:
            raise ValueError("write to a closed file")
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _CHUNK):
            self._pass_on(self._compressor.compress(view[start : start + _CHUNK]))
        return len(view)

    def close(self) -> None:
        if not self.closed:
            try:
                self._pass_on(self._compressor.flush())
            finally:
                super().close()

    def abandon(self) -> None:
        """Close without an end, so that no reader takes what was written so far for all."""
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def __del__(self) -> None:
        # A file closes itself when it is forgotten, which would make half of a value look complete.
        self.abandon()

    def _pass_on(self, compressed: bytes) -> None:
        if compressed:
            self._sink.write(compressed)


class ZstdReader(io.RawIOBase):
    """Decompresses what *source* has: one frame, and nothing after it."""

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self._source = source
        self._decompressor = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
        )
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        out = memoryview(target).cast("B")
        size = min(len(out), _CHUNK)
        data = b""
        while size and not data and not self._decompressor.eof:
            data = self._decompress(size)
        if self._decompressor.eof:
            self._check_end()
        out[: len(data)] = data
        return len(data)

    def _decompress(self, size: int) -> bytes:
        # Ask for more only if there is none left inside: a little input can become a lot of output.
        more = self._source.read(_CHUNK) if self._decompressor.needs_input else b""
        if self._decompressor.needs_input and not more:
            raise StorageError("the compressed bytes end before they are complete: they were damaged or cut off")
        try:
            return self._decompressor.decompress(more, max_length=size)
        except zstd.ZstdError as exc:
            raise StorageError(
                "the compressed bytes are no zstd frame, or were damaged, or need too much memory"
            ) from exc

    def _check_end(self) -> None:
        if not self._ended and (self._decompressor.unused_data or self._source.read(1)):
            raise StorageError("there are other bytes after the compressed ones; nobody knows what they are")
        self._ended = True
