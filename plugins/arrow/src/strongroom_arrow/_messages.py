# SPDX-License-Identifier: Apache-2.0
"""Is any message of an Arrow stream compressed? Then a few bytes of it could become anything, and it is refused.

Arrow unpacks what is compressed without being asked, and says nothing of that before. So its messages are looked at as
they pass by, as far as is needed for that: each is a mark, a size, and a table of FlatBuffers, after which comes a
body. https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Final

from strongroom_arrow._errors import PayloadError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from strongroom_arrow._bytes import Replay

__all__ = ["Messages", "Shown"]

_MARK: Final = b"\xff\xff\xff\xff"
_START: Final = 8
_DICTIONARY, _RECORDS = 2, 3
# The fields of a message, of what it holds, and of a batch of a dictionary, by their numbers.
_KIND, _HEADER, _BODY_SIZE, _METADATA = 1, 2, 3, 4
_COMPRESSION: Final = 3
_BATCH: Final = 1


class Messages:
    """Is shown a stream piece by piece, wherever the pieces end."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._body = 0

    def show(self, data: ReadableBuffer) -> None:
        """Look at the next piece.

        Raises:
            PayloadError: a message is compressed, or is none.
        """
        rest = memoryview(data).cast("B")
        while len(rest):
            if self._body:
                passed = min(self._body, len(rest))
                self._body -= passed
            else:
                passed = min(self._missing(), len(rest))
                self._head += rest[:passed]
                if not self._missing():
                    self._body = _checked(memoryview(bytes(self._head[_START:])))
                    self._head.clear()
            rest = rest[passed:]

    def _missing(self) -> int:
        """How many bytes of a message are not there yet, as far as is known."""
        if len(self._head) < _START:
            return _START - len(self._head)
        size = int.from_bytes(self._head[4:_START], "little", signed=True)
        if self._head[:4] != _MARK or size < 0:
            raise PayloadError("it is not a whole and valid Arrow stream")
        return _START + size - len(self._head)


class Shown:
    """A stream that is shown to `Messages` as it is read."""

    closed = False

    def __init__(self, content: Replay) -> None:
        self._content = content
        self._messages = Messages()

    def read(self, size: int) -> bytearray:
        """*size* bytes, or fewer at the end."""
        data = self._content.read(size)
        self._messages.show(data)
        return data


def _checked(metadata: memoryview) -> int:
    """The size of the body of the message that *metadata* describes."""
    if not metadata:
        return sys.maxsize  # the end mark: what comes after it is no message
    try:
        message = _followed(metadata, 0)
        kind = _at(metadata, message, _KIND)
        batch = _followed(metadata, _at(metadata, message, _HEADER))
        if kind and metadata[kind] == _DICTIONARY:
            batch = _followed(metadata, _at(metadata, batch, _BATCH))
        # Early versions of Arrow said it among what they say besides.
        holds_values = kind and metadata[kind] in (_DICTIONARY, _RECORDS)
        if holds_values and (_at(metadata, batch, _COMPRESSION) or _at(metadata, message, _METADATA)):
            raise PayloadError("it has compressed columns, which this plugin does not write")
        size = _at(metadata, message, _BODY_SIZE)
        body = int(struct.unpack_from("<q", metadata, size)[0]) if size else 0
    except (struct.error, IndexError):
        body = -1
    if body < 0:
        raise PayloadError("it is not a whole and valid Arrow stream")
    return body


def _at(data: memoryview, table: int, number: int) -> int:
    """Where the field of that *number* is of the table of FlatBuffers at *table*; 0 if it has none."""
    fields = table - _number("<i", data, table)
    place = 4 + 2 * number
    if place >= _number("<H", data, fields):
        return 0
    offset = _number("<H", data, fields + place)
    return table + offset if offset else 0


def _followed(data: memoryview, place: int) -> int:
    """Where what stands at *place* leads."""
    return place + _number("<I", data, place)


def _number(kind: str, data: memoryview, place: int) -> int:
    if place < 0:
        raise IndexError
    return int(struct.unpack_from(kind, data, place)[0])
