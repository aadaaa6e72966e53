# SPDX-License-Identifier: Apache-2.0
"""How do bytes pass through a compressor, so that memory stays bounded and every mistake is seen?"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, Protocol

from strongroom.codecs import EncodingWriter
from strongroom.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["CompressedReader", "CompressedWriter", "Compressor", "Decompressor"]

_CHUNK = 1 << 17
"""A zstd block: smaller pieces cost more calls, bigger ones only memory."""


class Compressor(Protocol):
    """What the standard library's compressors have in common."""

    def compress(self, data: memoryview, /) -> bytes:
        """Some of what *data* and all before it becomes."""
        ...

    def flush(self) -> bytes:
        """The rest, with whatever marks the end."""
        ...


class Decompressor(Protocol):
    """What the standard library's decompressors have in common."""

    @property
    def eof(self) -> bool:
        """True once the mark of the end was seen, and all before it was given out."""
        ...

    @property
    def needs_input(self) -> bool:
        """True if nothing more comes out before more goes in."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What came after the end."""
        ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most *max_length* bytes of what *data* and all before it stands for."""
        ...


class CompressedWriter(EncodingWriter):
    """Compresses what is written."""

    piece = _CHUNK

    def __init__(self, sink: BinaryIO, compressor: Compressor) -> None:
        super().__init__()
        self._sink = sink
        self._compressor = compressor

    def encode(self, data: memoryview) -> None:
        self._pass_on(self._compressor.compress(data))

    def finish(self) -> None:
        self._pass_on(self._compressor.flush())

    def _pass_on(self, compressed: bytes) -> None:
        if compressed:
            self._sink.write(compressed)


class CompressedReader(io.RawIOBase):
    """Decompresses what *source* has: one stream, and nothing after it.

    *errors* are what *decompressor* raises when it does not like its bytes; *name* is what these should have been.
    """

    def __init__(
        self, source: BinaryIO, decompressor: Decompressor, name: str, errors: tuple[type[Exception], ...]
    ) -> None:
        super().__init__()
        self._source = source
        self._decompressor = decompressor
        self._name = name
        self._errors = errors
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
            return self._decompressor.decompress(more, size)
        except self._errors as exc:
            raise StorageError(
                f"the compressed bytes are not {self._name}, or were damaged, or need too much memory"
            ) from exc

    def _check_end(self) -> None:
        if not self._ended and (self._decompressor.unused_data or self._source.read(1)):
            raise StorageError("there are other bytes after the compressed ones; nobody knows what they are")
        self._ended = True
