# SPDX-License-Identifier: Apache-2.0
"""How is a result compressed, and what may be chosen about it?"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, ClassVar, cast

from strongroom.abc import Codec
from strongroom.errors import SettingsError

if TYPE_CHECKING:
    from strongroom.abc import CodecContext
    from strongroom_compressed._files import CompressedReader, Compressor

__all__ = ["LZ4", "XZ", "Bzip2", "Gzip", "Zstd"]

_XZ_MEMORY = 128 << 20
"""A stream whose reader would need more than that is refused. Level 9 needs 65 MiB."""

_MAX_THREADS = 64


@dataclass(frozen=True)
class _Compression(Codec):
    """What all of them do. A reader needs no level: it reads what any other wrote."""

    level: int

    levels: ClassVar[range]

    def __post_init__(self) -> None:
        if type(self.level) is not int or self.level not in self.levels:
            first, last = self.levels[0], self.levels[-1]
            raise SettingsError(f"the level of {self.id!r} must be a whole number from {first} to {last}")

    def writer(self, sink: BinaryIO, context: CodecContext) -> BinaryIO:  # noqa: ARG002  # compressing binds nothing
        """A file to write to. Written in a ``with`` block, it stays incomplete if the block fails."""
        from strongroom_compressed._files import CompressedWriter

        return cast("BinaryIO", CompressedWriter(sink, self._compressor()))

    def reader(self, source: BinaryIO, context: CodecContext) -> BinaryIO:  # noqa: ARG002  # as above
        """A file to read from. It never holds more than what is asked for, so read it in pieces of bounded size.

        Raises:
            StorageError: while reading; the bytes are of another format, are damaged, cut off or followed by others.
        """
        return cast("BinaryIO", self._reader(source))

    @abstractmethod
    def _compressor(self) -> Compressor: ...

    @abstractmethod
    def _reader(self, source: BinaryIO) -> CompressedReader: ...


@dataclass(frozen=True)
class Zstd(_Compression):
    """Compresses with Zstandard: one frame with a checksum, which ``zstd -d`` can read too.

    What is already compressed does not get smaller.

    Args:
        level: from 1, the quickest, to 19, the smallest. The levels above need so much memory that not every reader
            could be asked for it.
        threads: how many more threads compress, each with buffers of its own; 0 for none, which is best for results
            of less than some megabytes.
    """

    level: int = 3
    threads: int = 0

    id = "compressed"
    levels = range(1, 20)

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.threads) is not int or not 0 <= self.threads <= _MAX_THREADS:
            raise SettingsError(f"the threads of {self.id!r} must be a whole number from 0 to {_MAX_THREADS}")

    def _compressor(self) -> Compressor:
        from strongroom_compressed import _zstd

        return _zstd.compressor(self.level, self.threads)

    def _reader(self, source: BinaryIO) -> CompressedReader:
        from strongroom_compressed import _zstd
        from strongroom_compressed._files import CompressedReader

        return CompressedReader(source, _zstd.decompressor(), "a zstd frame", _zstd.ERRORS)


@dataclass(frozen=True)
class LZ4(_Compression):
    """Compresses with LZ4, little and very quickly: one frame with a checksum, which ``lz4 -d`` can read too.

    It needs the library lz4: ``pip install strongroom-compressed[lz4]``.

    Args:
        level: 0 is the quickest; from 3 to 12 it writes slower and smaller, and reads as quickly.
    """

    level: int = 0

    id = "compressed.lz4"
    levels = range(13)

    def _compressor(self) -> Compressor:
        from strongroom_compressed._lz4 import FrameCompressor

        return FrameCompressor(self.level)

    def _reader(self, source: BinaryIO) -> CompressedReader:
        from strongroom_compressed import _lz4
        from strongroom_compressed._files import CompressedReader

        return CompressedReader(source, _lz4.decompressor(), "an LZ4 frame", _lz4.ERRORS)


@dataclass(frozen=True)
class Gzip(_Compression):
    """Compresses with gzip, which everybody can read; zstd is quicker and smaller.

    Args:
        level: from 1, the quickest, to 9, the smallest.
    """

    level: int = 6

    id = "compressed.gzip"
    levels = range(1, 10)

    def _compressor(self) -> Compressor:
        from strongroom_compressed import _zlib

        return _zlib.compressor(self.level)

    def _reader(self, source: BinaryIO) -> CompressedReader:
        from strongroom_compressed import _zlib
        from strongroom_compressed._files import CompressedReader

        return CompressedReader(source, _zlib.GzipDecompressor(), "gzip", _zlib.ERRORS)


@dataclass(frozen=True)
class Bzip2(_Compression):
    """Compresses with bzip2, slowly, for whoever needs ``bunzip2`` to read it.

    Args:
        level: from 1 to 9, the size of a block in units of 100 kB.
    """

    level: int = 9

    id = "compressed.bz2"
    levels = range(1, 10)

    def _compressor(self) -> Compressor:
        import bz2

        return bz2.BZ2Compressor(self.level)

    def _reader(self, source: BinaryIO) -> CompressedReader:
        import bz2

        from strongroom_compressed._files import CompressedReader

        # It raises OSError for bytes that it does not like, and never one of the system: it opens no file.
        return CompressedReader(source, bz2.BZ2Decompressor(), "bzip2", (OSError, ValueError))


@dataclass(frozen=True)
class XZ(_Compression):
    """Compresses with xz: the smallest, very slow to write, with a checksum, readable by ``xz -d``.

    Args:
        level: from 0, the quickest, to 9, the smallest. Writing takes up to 700 MiB of memory at level 9, and 100 MiB
            at level 6.
    """

    level: int = 6

    id = "compressed.xz"
    levels = range(10)

    def _compressor(self) -> Compressor:
        import lzma

        return lzma.LZMACompressor(lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, preset=self.level)

    def _reader(self, source: BinaryIO) -> CompressedReader:
        import lzma

        from strongroom_compressed._files import CompressedReader

        decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        return CompressedReader(source, decompressor, "xz", (lzma.LZMAError, ValueError))
