# SPDX-License-Identifier: Apache-2.0
"""Would a value come back from JSON as it is?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["not_plain_json"]

_SCALARS = frozenset({type(None), bool, int, str})
_MAX_DEPTH = 100


def not_plain_json(value: object, where: str = "$", depth: int = 0) -> tuple[str, str] | None:
    """None if *value* is plain JSON, else the place of the first thing that is not, and what is wrong with it.

    Types are taken exactly: a tuple would come back as a list, an enum as its value.
    """
    kind = type(value)
    if kind in _SCALARS:
        return None
    if kind is float:
        return None if math.isfinite(cast("float", value)) else (where, "JSON has no such number")
    if depth == _MAX_DEPTH:
        return where, f"it is nested more than {_MAX_DEPTH} deep"
    items: Iterable[tuple[str, object]]
    if kind is list:
        items = ((f"{where}[{index}]", item) for index, item in enumerate(cast("list[object]", value)))
    elif kind is dict:
        table = cast("dict[object, object]", value)
        for number, key in enumerate(table):
            if type(key) is not str:
                return where, f"key number {number} has the type {type(key).__qualname__}, not str"
        items = ((f"{where}.{key}", item) for key, item in table.items())
    else:
        return where, f"JSON has no {kind.__qualname__}"
    return next((problem for place, item in items if (problem := not_plain_json(item, place, depth + 1))), None)
