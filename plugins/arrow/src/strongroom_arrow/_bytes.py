# SPDX-License-Identifier: Apache-2.0
"""How do bytes get out and in, in pieces or not copied at all?"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias, cast

from strongroom.abc import SupportsBuffer
from strongroom_arrow._errors import PayloadError

if TYPE_CHECKING:
    import io

    from _typeshed import ReadableBuffer

__all__ = ["PIECE", "Content", "Counted", "Pieces", "Replay", "opened"]

PIECE: Final = 1 << 20
"""How much is copied or read at a time."""

_PASSED_ON: Final = 4 << 20
"""How much is written at a time. A sink that must copy what it is given copies no more than this, and one that hands it
to a second thread does so less often than with less."""


class Pieces:
    """What Arrow writes to: passes everything on in pieces, and leaves closing to whoever owns the sink."""

    closed = False

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink

    def write(self, data: ReadableBuffer) -> int:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _PASSED_ON):
            self._sink.write(view[start : start + _PASSED_ON])
        return len(view)

    def flush(self) -> None:
        """Nothing is held back here."""


class Counted(Pieces):
    """The same, for whoever has to know how much was written."""

    def __init__(self, sink: BinaryIO) -> None:
        super().__init__(sink)
        self.position = 0

    def write(self, data: ReadableBuffer) -> int:
        size = super().write(data)
        self.position += size
        return size

    def tell(self) -> int:
        return self.position


class Replay:
    """A source whose first bytes were looked at already; it remembers the last bytes that it gave out."""

    closed = False

    def __init__(self, head: bytes, source: BinaryIO) -> None:
        self._head = head
        self._source = source
        self.tail = b""
        self.size = 0
        """How many bytes it has given out."""
        self.failure: BaseException | None = None
        """What the source raised: Arrow's own errors have the same types."""

    def read(self, size: int) -> bytearray:
        """*size* bytes, or fewer at the end."""
        try:
            data, self._head = bytearray(self._head[:size]), self._head[size:]
            _read_into(data, self._source, size)
        except BaseException as exc:
            self.failure = exc
            raise
        self.size += len(data)
        self.tail = (self.tail + data[-8:])[-8:]
        return data

    def fill(self, target: memoryview) -> None:
        """Put the next bytes into all of *target*."""
        start = 0
        if self._head:
            start = min(len(self._head), len(target))
            target[:start] = self.read(start)
        readinto = cast("io.BufferedReader", self._source).readinto
        while start < len(target):
            count = readinto(target[start : start + PIECE])
            if not count:
                raise PayloadError("it ends too early")
            start += count


Content: TypeAlias = "memoryview | Replay"
"""A payload: in memory, or to be read."""


def opened(source: BinaryIO, size: int) -> tuple[bytes, Content]:
    """The first *size* bytes of *source*, and all of it."""
    if isinstance(source, SupportsBuffer):
        view = source.getbuffer().cast("B")
        return bytes(view[:size]), view
    head = bytearray()
    _read_into(head, source, size)
    return bytes(head), Replay(bytes(head), source)


def _read_into(data: bytearray, source: BinaryIO, size: int) -> None:
    """Make *data* that long, or less at the end.

    Memory is taken as bytes arrive: a damaged size must not ask for more than there is.
    """
    while len(data) < size and (more := source.read(min(PIECE, size - len(data)))):
        data += more
