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
from pathlib import PurePath
from typing import TYPE_CHECKING, cast

from strongroom_json._leaves import LEAVES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

__all__ = ["MAX_DEPTH", "Shape", "shape_of"]

MAX_DEPTH = 80
"""How deep containers may be nested. The deepest tree of tags that this makes is within what orjson can write."""

_CONTAINERS = frozenset({dict, frozenset, list, set, tuple})
_PLAIN = frozenset({bool, dict, float, int, list, str, type(None)})
_KEPT = _PLAIN | _CONTAINERS | LEAVES.keys()
# Of these not every value is kept, so each of them is tried.
_DOUBTFUL = frozenset({kind for kind in LEAVES if issubclass(kind, (datetime, time, PurePath))})


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
        dicts, others = _containers(level, kinds)
        ordinary = _have_ordinary_keys(dicts)
        plain = plain and ordinary
        level = [*others, *(table.values() for table in dicts), *(() if ordinary else dicts)]
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


def _containers(
    level: Sequence[Iterable[object]], kinds: set[type]
) -> tuple[Collection[dict[object, object]], Collection[Iterable[object]]]:
    """The dicts of *level*, and its other containers; each only once, or what has itself in it twice would double."""
    found = [item for item in chain.from_iterable(level) if type(item) in _CONTAINERS]
    containers = cast("Collection[Iterable[object]]", dict(zip(map(id, found), found, strict=True)).values())
    if dict not in kinds:
        return (), containers
    dicts = [cast("dict[object, object]", item) for item in containers if type(item) is dict]
    others = [item for item in containers if type(item) is not dict] if len(dicts) < len(containers) else ()
    return dicts, others


def _have_ordinary_keys(dicts: Collection[dict[object, object]]) -> bool:
    """Whether all keys are texts, without the sign that tags begin with."""
    names = cast("Collection[dict[str, object]]", dicts)
    # Joined and searched: that takes less time than a look at each.
    return set(map(type, chain.from_iterable(dicts))) <= {str} and not any("$" in "".join(table) for table in names)
