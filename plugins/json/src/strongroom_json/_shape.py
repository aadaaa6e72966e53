# SPDX-License-Identifier: Apache-2.0
"""Is a value JSON as it is, or kept with tags, or not at all?

It is asked of every value, big ones included, so it goes level by level rather than item by item: what lies at one
depth is looked at by a few calls that loop in C, and a million numbers take milliseconds.
"""

from __future__ import annotations

from datetime import datetime, time
from enum import Enum
from itertools import chain
from math import isfinite
from operator import methodcaller
from pathlib import PurePath
from typing import TYPE_CHECKING, cast

from strongroom_json._leaves import LEAVES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["MAX_DEPTH", "Shape", "shape_of"]

MAX_DEPTH = 80
"""How deep containers may be nested. The deepest tree of tags that this makes is within what orjson can write."""

_CONTAINERS = frozenset({dict, frozenset, list, set, tuple})
_PLAIN = frozenset({bool, dict, float, int, list, str, type(None)})
_KEPT = _PLAIN | _CONTAINERS | LEAVES.keys()
# Of these not every value is kept, so each of them is tried.
_DOUBTFUL = frozenset({kind for kind in LEAVES if issubclass(kind, (datetime, time, PurePath))})

_needs_escape = methodcaller("startswith", "$")


class Shape(Enum):
    """How a value can be kept."""

    PLAIN = "plain"
    """It is JSON as it is, apart from integers that are too big and texts that are no Unicode."""
    TAGGED = "tagged"
    """It comes back unchanged, with the help of tags."""
    OTHER = "other"
    """It would not come back unchanged."""


def shape_of(value: object) -> Shape:
    """How *value* can be kept; quick, and without a word on why not."""
    plain = True
    level: Sequence[Iterable[object]] = [(value,)]
    for _ in range(MAX_DEPTH + 1):
        kinds = set(map(type, chain.from_iterable(level)))
        if not kinds <= _KEPT or not _all_doubtful_are_kept(level, kinds):
            return Shape.OTHER
        plain = plain and kinds <= _PLAIN and _all_finite(level, kinds)
        if kinds.isdisjoint(_CONTAINERS):
            return Shape.PLAIN if plain else Shape.TAGGED
        level, ordinary_keys = _contents(level)
        plain = plain and ordinary_keys
    # Deeper than we go, and endless if it contains itself.
    return Shape.OTHER


def _all_doubtful_are_kept(level: Sequence[Iterable[object]], kinds: set[type]) -> bool:
    if kinds.isdisjoint(_DOUBTFUL):
        return True
    try:
        for item in chain.from_iterable(level):
            if type(item) in _DOUBTFUL:
                LEAVES[type(item)].pack(item)
    except ValueError:
        return False
    return True


def _all_finite(level: Sequence[Iterable[object]], kinds: set[type]) -> bool:
    if float not in kinds:
        return True
    items = cast("Iterable[float]", chain.from_iterable(level))
    if len(kinds) == 1:
        return all(map(isfinite, items))
    return all(isfinite(item) for item in items if type(item) is float)


def _contents(level: Sequence[Iterable[object]]) -> tuple[Sequence[Iterable[object]], bool]:
    """What is in the containers of *level*, and whether all keys are texts that need no escape."""
    found = [item for item in chain.from_iterable(level) if type(item) in _CONTAINERS]
    # Each only once: what contains itself twice would be twice as much at every level.
    containers = {id(item): item for item in found}.values()
    dicts = [item for item in containers if type(item) is dict]
    inside = [cast("Iterable[object]", item) for item in containers if type(item) is not dict]
    inside.extend(item.values() for item in dicts)
    if set(map(type, chain.from_iterable(dicts))) <= {str}:
        return inside, not any(map(_needs_escape, chain.from_iterable(dicts)))
    return [*inside, *dicts], False
