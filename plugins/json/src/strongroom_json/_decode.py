# SPDX-License-Identifier: Apache-2.0
"""Which value does JSON with tags stand for?

The tags are a closed list, and none of them leads to an import: a class is one that the reader named. What the writer
would not have written is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import NoReturn, TypeAlias
from zoneinfo import ZoneInfoNotFoundError

from strongroom_json._classes import join
from strongroom_json._leaves import LEAVES

__all__ = ["Malformed", "decode"]

_Unpackers: TypeAlias = Mapping[str, Callable[[object], object]]


class Malformed(Exception):  # noqa: N818  # an answer on its way to `JSON.load`, which makes it an error
    """The bytes are not what the writer writes; the text says why, and quotes nothing."""


def decode(text: str, classes: Mapping[str, type]) -> object:
    """The value that *text* stands for; the objects in it are of *classes*.

    Raises:
        Malformed: a tag is unknown, or its content is none that the writer writes.
        ValueError: *text* is no JSON.
        RecursionError: it is nested too deeply.
    """
    # The decoder calls us for each object once all in it is decoded, so the tree is gone through once, by C, and an
    # object shows each of its keys even where one stands in it twice.
    hook = partial(_decode_object, {**_UNPACK, "$Enum": partial(_unpack_enum, classes)}, classes)
    return json.loads(text, object_pairs_hook=hook, parse_constant=_refuse_constant)


def _refuse_constant(_: str) -> NoReturn:
    raise Malformed("it has a number that is not JSON")


def _decode_object(unpackers: _Unpackers, classes: Mapping[str, type], pairs: list[tuple[str, object]]) -> object:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise Malformed("an object has a key twice")
    marked = [key for key in table if key.startswith("$")]
    if not marked:
        return table
    if all(key.startswith("$$") for key in marked):
        return {key.removeprefix("$"): item for key, item in pairs}
    if len(pairs) > 1:
        raise Malformed("something stands beside a tag")
    tag, content = pairs[0]
    return _make(classes, content) if tag == "$Object" else _decode_tag(unpackers.get(tag), tag, content)


def _decode_tag(unpack: Callable[[object], object] | None, tag: str, content: object) -> object:
    if unpack is None:
        raise Malformed("it has a tag that this version does not know; a later one may have written it")
    try:
        return unpack(content)
    except NotImplementedError:
        raise Malformed(f"a {tag[1:]} cannot be made on this system") from None
    except ZoneInfoNotFoundError:
        raise Malformed(f"a {tag[1:]} has a zone that is not known here; pip install tzdata may help") from None
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError):
        raise Malformed(f"a {tag[1:]} has a content that no {tag[1:]} has") from None


def _make(classes: Mapping[str, type], content: object) -> object:
    """An object of one of *classes*, whose own code this calls: it is the reader who named them."""
    if type(content) is not list or len(content) not in (2, 3) or type(content[1]) is not dict:
        raise Malformed("an Object has a content that no Object has")
    cls = _named(classes, content[0])
    try:
        return join(cls, *content[1:], *([] if content[2:] else [None]))
    except Exception:  # the class's own code, which may raise anything, and quote the value
        raise Malformed(f"no {cls.__qualname__} can be made of its fields; the class may have changed") from None


def _unpack_enum(classes: Mapping[str, type], content: object) -> object:
    name, member = _items(content)
    cls = _named(classes, name)
    if not issubclass(cls, Enum) or type(member) is not str:
        raise TypeError
    return cls.__members__[member]


def _named(classes: Mapping[str, type], name: object) -> type:
    cls = classes.get(name) if type(name) is str else None
    if cls is None:
        raise Malformed("it has an object of a class that this reader was not told of; name it: JSON(classes=[...])")
    return cls


def _unpack_tuple(content: object) -> object:
    return tuple(_items(content))


def _unpack_set(content: object) -> object:
    return set(_unpack_frozenset(content))


def _unpack_frozenset(content: object) -> frozenset[object]:
    items = _items(content)
    members = frozenset(items)
    if len(members) != len(items):
        raise ValueError
    return members


def _unpack_dict(content: object) -> object:
    pairs = [_items(pair) for pair in _items(content)]
    table = {key: item for key, item in pairs}  # noqa: C416  # it says that each pair has two items
    if len(table) != len(pairs):
        raise ValueError
    return table


def _items(content: object) -> list[object]:
    if type(content) is not list:
        raise TypeError
    return content


_UNPACK: _Unpackers = MappingProxyType(
    {
        "$dict": _unpack_dict,
        "$frozenset": _unpack_frozenset,
        "$set": _unpack_set,
        "$tuple": _unpack_tuple,
        **{leaf.tag: leaf.unpack for leaf in LEAVES.values()},
    }
)
