# SPDX-License-Identifier: Apache-2.0
"""Which value does JSON with tags stand for?

The tags are a closed list, and none of them leads to an import. What the writer would not have written is an error.
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn
from zoneinfo import ZoneInfoNotFoundError

from strongroom_json._leaves import LEAVES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Malformed", "decode"]


class Malformed(Exception):  # noqa: N818  # an answer on its way to `JSON.load`, which makes it an error
    """The bytes are not what the writer writes; the text says why, and quotes nothing."""


def decode(text: str) -> object:
    """The value that *text* stands for.

    Raises:
        Malformed: a tag is unknown, or its content is none that the writer writes.
        ValueError: *text* is no JSON.
        RecursionError: it is nested too deeply.
    """
    # The decoder calls us for each object once all in it is decoded, so the tree is gone through once, by C, and an
    # object shows each of its keys even where one stands in it twice.
    return json.loads(text, object_pairs_hook=_decode_object, parse_constant=_refuse_constant)


def _refuse_constant(_: str) -> NoReturn:
    raise Malformed("it has a number that is not JSON")


def _decode_object(pairs: list[tuple[str, object]]) -> object:
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
    return _decode_tag(*pairs[0])


def _decode_tag(tag: str, content: object) -> object:
    unpack = _UNPACK.get(tag)
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


_UNPACK: MappingProxyType[str, Callable[[object], object]] = MappingProxyType(
    {
        "$dict": _unpack_dict,
        "$frozenset": _unpack_frozenset,
        "$set": _unpack_set,
        "$tuple": _unpack_tuple,
        **{leaf.tag: leaf.unpack for leaf in LEAVES.values()},
    }
)
