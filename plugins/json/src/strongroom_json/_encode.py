# SPDX-License-Identifier: Apache-2.0
"""Which plain JSON stands for a value that is not plain JSON?

A tuple, set, frozenset or dict with keys other than str, and a single value that JSON has no form for, become an object
whose only key is a tag, such as ``{"$tuple": [1, 2]}``. A key that begins with ``$`` in a dict of the user's gets
another one before it, so that no dict can be taken for a tag. A member of an enum is ``{"$Enum": ["Color", "RED"]}``,
and an object ``{"$Object": ["Order", {"price": 1}]}``.
"""

from __future__ import annotations

from enum import Enum
from math import isfinite
from typing import TYPE_CHECKING, cast

import orjson

from strongroom_json._classes import is_whole, join, split
from strongroom_json._leaves import LEAVES, is_unicode
from strongroom_json._places import Refused
from strongroom_json._shape import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from strongroom_json._places import Place

__all__ = ["Encoder"]

_INTEGERS = range(-(1 << 63), 1 << 64)
"""What orjson writes as a number, and reads again as the same one."""


class Encoder:
    """Encodes values; among them objects of *classes*, which are known by name."""

    def __init__(self, classes: Mapping[str, type]) -> None:
        self._names = {cls: name for name, cls in classes.items()}
        self._comparing = False
        self._containers: dict[type, Callable[[object, Place], object]] = {
            dict: self._dict,
            frozenset: self._set,
            list: self.items,
            set: self._set,
            tuple: self._tuple,
        }

    def encode(self, value: object, place: Place) -> object:
        """The plain JSON that stands for *value*, which is at *place*.

        Raises:
            Refused: something in *value* would not come back unchanged.
        """
        kind = type(value)
        if kind is bool or value is None:
            return value
        if kind in LEAVES:
            return value if _is_plain(value) else _leaf(value, place)
        if kind in self._containers or kind in self._names:
            if place.depth >= MAX_DEPTH:
                raise Refused(f"it is nested more than {MAX_DEPTH} deep, or contains itself", place)
            return self._containers.get(kind, self._object)(value, place)
        raise Refused(self._explain(kind), place)

    def items(self, items: object, place: Place, first: int = 0) -> list[object]:
        """As `encode`, for *items* of a list or tuple at *place*, of which the first has the index *first*."""
        numbered = enumerate(cast("Collection[object]", items), first)
        return [self.encode(item, place.item(index)) for index, item in numbered]

    def _tuple(self, value: object, place: Place) -> object:
        return {"$tuple": self.items(value, place)}

    def _set(self, value: object, place: Place) -> object:
        member = place.member()
        members = [self.encode(item, member) for item in cast("Collection[object]", value)]
        # A set has another order in every process; its bytes should not.
        return {f"${type(value).__name__}": sorted(members, key=orjson.dumps)}

    def _dict(self, value: object, place: Place) -> object:
        table = cast("dict[object, object]", value)
        if all(type(key) is str and is_unicode(key) for key in table):
            return self._texts(cast("dict[str, object]", table), place)
        return {
            "$dict": [
                [self.encode(key, place.key(number)), self.encode(item, place.entry(key, number))]
                for number, (key, item) in enumerate(table.items())
            ]
        }

    def _texts(self, table: dict[str, object], place: Place) -> object:
        return {
            f"${key}" if key.startswith("$") else key: self.encode(item, place.entry(key, number))
            for number, (key, item) in enumerate(table.items())
        }

    def _object(self, value: object, place: Place) -> object:
        name = self._names[type(value)]
        if isinstance(value, Enum):
            if type(value).__members__.get(value.name) is not value:
                raise Refused(f"this {name} is several members at once, and has no name of its own", place)
            return {"$Enum": [name, value.name]}
        try:
            parts, were_set = split(value)
        except AttributeError:
            raise Refused(f"this {name} has no value for one of its fields", place) from None
        encoded = self._texts(parts, place)
        # What is inside was tried when it was encoded; to try it again at each level would double with each level.
        if not self._comparing:
            self._try(value, parts, were_set, encoded, place)
        return {"$Object": [name, encoded] if were_set is None else [name, encoded, were_set]}

    def _try(
        self, value: object, parts: dict[str, object], were_set: list[str] | None, encoded: object, place: Place
    ) -> None:
        """Refuse *value* if its class makes something else of its own *parts*, as it will when it is read."""
        self._comparing = True
        try:
            again = join(type(value), dict(parts), were_set)
            same = is_whole(value, again) and self._texts(split(again)[0], place) == encoded
        except Exception:  # the class's own code, which may raise anything, and quote the value
            same = False
        finally:
            self._comparing = False
        if not same:
            name = self._names[type(value)]
            raise Refused(f"{name} would come back changed: it makes something else of its own fields", place)

    def _explain(self, kind: type) -> str:
        base = next((known for known in (*self._containers, *LEAVES) if issubclass(kind, known)), None)
        if issubclass(kind, Enum) or hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__pydantic_validator__"):
            return f"{kind.__qualname__} is a class that JSON was not told of; name it: JSON(classes=[...])"
        if base is None:
            return f"{kind.__qualname__} is not among the types that come back from JSON"
        return (
            f"{kind.__qualname__} would come back as {base.__qualname__}; "
            "convert it to that, or use the serializer pickle"
        )


def _is_plain(value: object) -> bool:
    kind = type(value)
    if kind is str:
        return is_unicode(cast("str", value))
    if kind is int:
        return value in _INTEGERS
    return kind is float and isfinite(cast("float", value))


def _leaf(value: object, place: Place) -> object:
    leaf = LEAVES[type(value)]
    try:
        return {leaf.tag: leaf.pack(value)}
    except ValueError as exc:
        raise Refused(str(exc), place) from None
