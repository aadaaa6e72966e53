# SPDX-License-Identifier: Apache-2.0
"""Is what came back what was given, type for type and bit for bit?"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["difference"]

_ATOMS = frozenset({bool, bytearray, bytes, int, range, str, type(None)})
# The lowest protocol at which every class can say what it is made of.
_PROTOCOL = 4


def difference(expected: object, actual: object) -> str | None:
    """None if the two are the same, else a sentence about the first place where they are not.

    Stricter than ``==``: types are compared exactly and at every depth, floats by their bits (so that nan is nan, and
    0.0 is not -0.0), dicts with their order, and any other object by what pickle would keep of it, as far as pickle
    can: that shows a datetime's fold and an array's writing order. Values may contain themselves.
    """
    return _Comparison().compare(expected, actual, "$")


class _Comparison:
    def __init__(self) -> None:
        # It holds the objects as well: the id of one that is gone may be given to another.
        self._seen: dict[tuple[int, int], tuple[object, object]] = {}

    def compare(self, expected: object, actual: object, where: str) -> str | None:
        if expected is actual:
            return None
        kind = type(expected)
        if kind is not type(actual):
            return f"{where} was a {kind.__qualname__} and came back as a {type(actual).__qualname__}"
        if kind in _ATOMS:
            return _unless(expected == actual, where)
        if kind is float:
            return _unless(struct.pack("d", expected) == struct.pack("d", actual), where)
        pair = (id(expected), id(actual))
        if pair in self._seen:
            return None
        self._seen[pair] = (expected, actual)
        return self._compare_parts(expected, actual, where)

    def _compare_parts(self, expected: object, actual: object, where: str) -> str | None:
        kind = type(expected)
        if kind is list or kind is tuple:
            return self._compare_sequences(cast("list[object]", expected), cast("list[object]", actual), where)
        if kind is dict:
            return self._compare_dicts(
                cast("dict[object, object]", expected), cast("dict[object, object]", actual), where
            )
        if kind is set or kind is frozenset:
            return self._compare_sets(cast("set[object]", expected), cast("set[object]", actual), where)
        parts = _parts(expected), _parts(actual)
        if None in parts:
            return _unless(bool(expected == actual), where)
        return self.compare(*parts, where)

    def _compare_sequences(self, expected: Sequence[object], actual: Sequence[object], where: str) -> str | None:
        if len(expected) != len(actual):
            return _lengths(expected, actual, where)
        pairs = zip(expected, actual, strict=True)
        found = (self.compare(one, other, f"{where}[{index}]") for index, (one, other) in enumerate(pairs))
        return next(filter(None, found), None)

    def _compare_dicts(
        self, expected: Mapping[object, object], actual: Mapping[object, object], where: str
    ) -> str | None:
        keys = self._compare_sequences(list(expected), list(actual), f"{where}.keys()")
        return keys or self._compare_sequences(list(expected.values()), list(actual.values()), f"{where}.values()")

    def _compare_sets(self, expected: Collection[object], actual: Collection[object], where: str) -> str | None:
        if len(expected) != len(actual):
            return _lengths(expected, actual, where)
        left = list(actual)
        for one in expected:
            # Not `in`: it takes True for 1, and finds no nan.
            match = next((index for index, other in enumerate(left) if difference(one, other) is None), None)
            if match is None:
                return f"{where} came back without a {type(one).__qualname__} that it had"
            del left[match]
        return None


def _parts(value: object) -> str | tuple[object, ...] | None:
    """What pickle would keep of *value*, or None if it cannot keep it."""
    if isinstance(value, PurePath):
        # Pickle may keep how a path was put together, which makes no other path.
        return str(value)
    try:
        reduced = value.__reduce_ex__(_PROTOCOL)
    except Exception:  # the value's own code, which may answer with anything
        return None
    if isinstance(reduced, str):
        return reduced
    return tuple(list(part) if isinstance(part, Iterator) else part for part in reduced)


def _unless(equal: bool, where: str) -> str | None:  # noqa: FBT001  # the answer of a comparison
    return None if equal else f"{where} came back with another value"


def _lengths(expected: Collection[object], actual: Collection[object], where: str) -> str:
    return f"{where} had {len(expected)} items and came back with {len(actual)}"
