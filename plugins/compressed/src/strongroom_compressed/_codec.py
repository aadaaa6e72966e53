# SPDX-License-Identifier: Apache-2.0
"""How is a result compressed, and what may be chosen about it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from strongroom.abc import Codec
from strongroom.errors import SettingsError

if TYPE_CHECKING:
    from strongroom.abc import CodecContext

__all__ = ["Zstd"]

_LEVELS = range(1, 20)


@dataclass(frozen=True)
class Zstd(Codec):
    """Compresses with Zstandard: one frame with a checksum, which ``zstd -d`` can read too.

    A reader needs no level: it reads what any other wrote. What is already compressed does not get smaller.

    Args:
        level: from 1, the quickest, to 19, the smallest. The levels above need so much memory that not every reader
            could be asked for it.
    """

    level: int = 3

    id = "compressed"

    def __post_init__(self) -> None:
        if type(self.level) is not int or self.level not in _LEVELS:
            raise SettingsError(f"the zstd level must be a whole number from {_LEVELS[0]} to {_LEVELS[-1]}")

    def writer(self, sink: BinaryIO, context: CodecContext) -> BinaryIO:  # noqa: ARG002  # compressing binds nothing
        """A file to write to. Written in a ``with`` block, it stays incomplete if the block fails."""
        from strongroom_compressed._zstd import ZstdWriter

        return cast("BinaryIO", ZstdWriter(sink, self.level))

    def reader(self, source: BinaryIO, context: CodecContext) -> BinaryIO:  # noqa: ARG002  # as above
        """A file to read from. It never holds more than what is asked for, so read it in pieces of bounded size.

        Raises:
            StorageError: while reading; the bytes are no zstd frame, are damaged, cut off or followed by others.
        """
        from strongroom_compressed._zstd import ZstdReader

        return cast("BinaryIO", ZstdReader(source))
