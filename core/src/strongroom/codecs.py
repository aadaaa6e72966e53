# SPDX-License-Identifier: Apache-2.0
"""What do the files have in common that codecs write to and read from?"""

from __future__ import annotations

import io
from abc import abstractmethod
from typing import TYPE_CHECKING, BinaryIO, ClassVar, cast

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import ReadableBuffer

__all__ = ["EncodingWriter", "fill"]


def fill(source: BinaryIO, buffer: memoryview) -> int:
    """Read into *buffer* what *source* gives at once, without new memory where it can do that; 0 bytes are the end."""
    readinto = getattr(source, "readinto", None)
    if readinto is not None:
        return cast("int | None", readinto(buffer)) or 0
    data = source.read(len(buffer))
    buffer[: len(data)] = data
    return len(data)


class EncodingWriter(io.RawIOBase):
    """A file that encodes what is written to it, for `strongroom.abc.Codec.writer`.

    The end is written by `close`, and only if the value is complete: not where a ``with`` block fails, and not where
    nobody closes the file. So a reader that looks for the end never takes half of a value for all of it.
    """

    piece: ClassVar[int] = 1 << 17
    """How many bytes `encode` is given at most."""

    @abstractmethod
    def encode(self, data: memoryview) -> None:
        """Write what *data*, some bytes, become; they are not there any more when this has returned."""

    @abstractmethod
    def finish(self) -> None:
        """Write what is left, and what marks the end; leave the file below open. Called at most once."""

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        if self.closed:
            raise ValueError("write to a closed file")
        view = memoryview(data).cast("B")
        for start in range(0, len(view), self.piece):
            self.encode(view[start : start + self.piece])
        return len(view)

    def close(self) -> None:
        if not self.closed:
            try:
                self.finish()
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
