# SPDX-License-Identifier: Apache-2.0
"""Would a value come back from JSON as it is?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["not_plain_json"]

_SCALARS = frozenset({type(None), bool, int, float, str})
_MAX_DEPTH = 100
# What documents and most readers of JSON have room for.
_LOWEST, _HIGHEST = -(1 << 63), (1 << 64) - 1


def not_plain_json(value: object, where: str = "$", depth: int = 0) -> tuple[str, str] | None:
    """None if *value* is plain JSON, else the place of the first thing that is not, and what is wrong with it.

    Types are taken exactly: a tuple would come back as a list, an enum as its value.
    """
    kind = type(value)
    if kind in _SCALARS:
        reason = _wrong_with_scalar(value)
        return (where, f"it {reason}") if reason else None
    if depth == _MAX_DEPTH:
        return where, f"it is nested more than {_MAX_DEPTH} deep"
    items: Iterable[tuple[str, object]]
    if kind is list:
        items = ((f"{where}[{index}]", item) for index, item in enumerate(cast("list[object]", value)))
    elif kind is dict:
        table = cast("dict[object, object]", value)
        for number, key in enumerate(table):
            reason = _wrong_with_scalar(key) if type(key) is str else f"has the type {type(key).__qualname__}, not str"
            if reason:
                return where, f"key number {number} {reason}"
        items = ((f"{where}.{key}", item) for key, item in table.items())
    else:
        return where, f"JSON has no {kind.__qualname__}"
    return next((problem for place, item in items if (problem := not_plain_json(item, place, depth + 1))), None)


def _wrong_with_scalar(value: object) -> str | None:
    if isinstance(value, str):
        return None if _is_text(value) else "is no text: it has half of a surrogate pair"
    if isinstance(value, float):
        return None if math.isfinite(value) else "is a number that JSON does not have"
    if isinstance(value, int) and not _LOWEST <= value <= _HIGHEST:
        return "is a number of more than 64 bits"
    return None


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
