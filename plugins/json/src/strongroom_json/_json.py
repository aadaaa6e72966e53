# SPDX-License-Identifier: Apache-2.0
"""How does a value become JSON, and come back type for type?

::

    [1,"text",{"when":{"$date":"2026-01-31"}}]⏎

The bytes are one JSON document and a line feed, which shows that they are complete. This is version 1 of the format. It
says so by its tags: an object whose only key begins with one ``$`` is a tag, there is a closed list of them, and any
other is refused, so that a later version can bring more, and even ``{"$version": 2, ...}``, without being taken for
this one.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, BinaryIO, cast

from strongroom.abc import Serializer
from strongroom.errors import SerializationError
from strongroom_json._classes import by_name
from strongroom_json._places import ROOT, Refused
from strongroom_json._shape import Shape, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["JSON"]

_SLICE = 1024


class JSON(Serializer):
    """Plain values as JSON that returns what it was given, type for type, or refuses it.

    Kept are None, bool, int, float, str, bytes, list, tuple, dict (with any of these as keys, as far as Python allows),
    set, frozenset, date, time, datetime, timedelta, Decimal, UUID and the paths of pathlib: each of them exactly, and
    no subclass of them. Values that are plain JSON look plain in storage. That two places hold the same list is not
    kept: they come back as two equal ones.

    ``JSON(classes=[Order, Color])`` keeps objects of these classes, too.
    """

    id = "json"

    def __init__(self, classes: Iterable[type] = ()) -> None:
        """Keep objects of *classes*, too: enums, dataclasses and pydantic models.

        In the bytes stands a class's own name, its ``__qualname__``; a reader has to be told of the classes as well.
        An object is made anew of its fields, by the ``__init__`` or the validation of its class. What would come back
        changed by that, with attributes that are no fields for example, is refused.

        Raises:
            SettingsError: one is of another kind, or two have one name.
        """
        self._classes = tuple(classes)
        if self._classes:
            by_name(self._classes)

    def dump(self, value: object, sink: BinaryIO) -> None:
        """Write *value*; a long list is written in pieces.

        Raises:
            SerializationError: it has something that would not come back unchanged; `where` says in which place.
        """
        try:
            sink.writelines(_pieces(value, self._classes))
        except Refused as refused:
            raise SerializationError(self.id, refused.reason, where=str(refused.place)) from None
        sink.write(b"\n")

    def load(self, source: BinaryIO) -> object:
        """Read the value back. Nothing in the bytes can name an import.

        Raises:
            SerializationError: the bytes are not what `dump` writes.
        """
        data = source.read()
        if not data.endswith(b"\n"):
            raise self._unreadable("the end is missing")
        # Without a text that begins like a tag there is none: then it is plain JSON.
        is_plain = b'"$' not in data and b"\\u0024" not in data
        try:
            return _plain_decoder()(data) if is_plain else self._decode(data)
        except SerializationError:
            raise
        except RecursionError:
            raise self._unreadable("it is nested too deeply") from None
        except ValueError:
            # Not `from exc`: the error of a JSON decoder holds the whole document.
            raise self._unreadable("it is not JSON") from None

    def _decode(self, data: bytes) -> object:
        from strongroom_json._decode import Malformed, decode  # few values need it

        try:
            return decode(data[:-1].decode(), by_name(self._classes))
        except Malformed as malformed:
            raise self._unreadable(str(malformed)) from None

    def _unreadable(self, why: str) -> SerializationError:
        return SerializationError(self.id, f"what is stored cannot be read: {why}")


@cache
def _plain_decoder() -> Callable[[bytes], object]:
    import orjson  # few programs that have this plugin read JSON

    return cast("Callable[[bytes], object]", orjson.loads)


def _pieces(value: object, classes: tuple[type, ...]) -> Iterator[bytes | memoryview]:
    """The JSON of *value*. A list is taken some items at a time, so that the bytes of all are never held at once."""
    if type(value) is not list:
        yield _bytes_of(value, classes)
        return
    yield b"["
    for start in range(0, len(value), _SLICE):
        if start:
            yield b","
        yield memoryview(_bytes_of(value[start : start + _SLICE], classes, start))[1:-1]
    yield b"]"


def _bytes_of(value: object, classes: tuple[type, ...], first: int = 0) -> bytes:
    """The JSON of *value*; if that is a list, its first item is the one with the index *first*."""
    import orjson

    from strongroom_json._encode import Encoder

    if shape_of(value) is Shape.PLAIN:
        # Whether an integer is too big or a text is no Unicode is found out quickest by trying.
        with suppress(orjson.JSONEncodeError):
            return orjson.dumps(value)
    encoder = Encoder(by_name(classes))
    return orjson.dumps(encoder.items(value, ROOT, first) if type(value) is list else encoder.encode(value, ROOT))
