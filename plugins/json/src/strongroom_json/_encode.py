# SPDX-License-Identifier: Apache-2.0
"""Which plain JSON stands for a value that is not plain JSON?

A tuple, set, frozenset or dict with keys other than str, and a single value that JSON has no form for, become an object
whose only key is a tag, such as ``{"$tuple": [1, 2]}``. A key that begins with ``$`` in a dict of the user's gets
another one before it, so that no dict can be taken for a tag.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, cast

import orjson

from strongroom_json._leaves import LEAVES, is_unicode
from strongroom_json._places import Refused
from strongroom_json._shape import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from strongroom_json._places import Place

__all__ = ["encode", "encode_items"]

_INTEGERS = range(-(1 << 63), 1 << 64)
"""What orjson writes as a number, and reads again as the same one."""


def encode(value: object, place: Place) -> object:
    """The plain JSON that stands for *value*, which is at *place*.

    Raises:
        Refused: something in *value* would not come back unchanged.
    """
    kind = type(value)
    if kind is bool or value is None:
        return value
    if kind in _CONTAINERS:
        if place.depth >= MAX_DEPTH:
            raise Refused(f"it is nested more than {MAX_DEPTH} deep, or contains itself", place)
        return _CONTAINERS[kind](value, place)
    if kind in LEAVES:
        return value if _is_plain(value) else _encode_leaf(value, place)
    raise Refused(_explain(kind), place)


def _is_plain(value: object) -> bool:
    kind = type(value)
    if kind is str:
        return is_unicode(cast("str", value))
    if kind is int:
        return value in _INTEGERS
    return kind is float and isfinite(cast("float", value))


def _encode_leaf(value: object, place: Place) -> object:
    leaf = LEAVES[type(value)]
    try:
        return {leaf.tag: leaf.pack(value)}
    except ValueError as exc:
        raise Refused(str(exc), place) from None


def encode_items(items: object, place: Place, first: int = 0) -> list[object]:
    """As `encode`, for *items* of a list or tuple at *place*, of which the first has the index *first*."""
    numbered = enumerate(cast("Collection[object]", items), first)
    return [encode(item, place.item(index)) for index, item in numbered]


def _encode_tuple(value: object, place: Place) -> object:
    return {"$tuple": encode_items(value, place)}


def _encode_set(value: object, place: Place) -> object:
    member = place.member()
    members = [encode(item, member) for item in cast("Collection[object]", value)]
    # A set has another order in every process; its bytes should not.
    return {f"${type(value).__name__}": sorted(members, key=orjson.dumps)}


def _encode_dict(value: object, place: Place) -> object:
    table = cast("dict[object, object]", value)
    if all(type(key) is str and is_unicode(key) for key in table):
        return _encode_names(cast("dict[str, object]", table), place)
    return {
        "$dict": [
            [encode(key, place.key(number)), encode(item, place.entry(key, number))]
            for number, (key, item) in enumerate(table.items())
        ]
    }


def _encode_names(table: dict[str, object], place: Place) -> object:
    return {
        f"${key}" if key.startswith("$") else key: encode(item, place.entry(key, number))
        for number, (key, item) in enumerate(table.items())
    }


def _explain(kind: type) -> str:
    base = next((known for known in (*_CONTAINERS, *LEAVES) if issubclass(kind, known)), None)
    if base is None:
        return f"{kind.__qualname__} is not among the types that come back from JSON"
    return (
        f"{kind.__qualname__} would come back as {base.__qualname__}; convert it to that, or use the serializer pickle"
    )


_CONTAINERS: dict[type, Callable[[object, Place], object]] = {
    dict: _encode_dict,
    frozenset: _encode_set,
    list: encode_items,
    set: _encode_set,
    tuple: _encode_tuple,
}
