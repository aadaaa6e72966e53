# SPDX-License-Identifier: Apache-2.0
"""What do the vectors of fingerprints stand for? A change of any line here changes some of them."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import functools
import json
import operator
import re
import types
import uuid
import zoneinfo
from collections import namedtuple
from dataclasses import dataclass
from pathlib import PurePosixPath

FACTOR = 3
PATTERN = re.compile("a+", re.IGNORECASE)
Pair = namedtuple("Pair", "left right")  # noqa: PYI024  # the plain kind


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


@dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.5

    def moved(self, by: int) -> Point:
        return Point(self.x + by * FACTOR, self.y)


class Base:
    """A class of the user's own."""

    scale = FACTOR

    def run(self) -> int:
        return helper(self.scale)

    @property
    def twice(self) -> int:
        return self.scale * 2


class Derived(Base):
    def run(self) -> int:
        return super().run() + 1


def helper(x: int) -> int:
    return x + FACTOR


def comprehends(rows: list[int]) -> list[int]:
    return [helper(row) for row in rows if row > FACTOR]


def nested(x: int) -> int:
    def inner(y: int) -> int:
        return helper(y) * FACTOR

    return inner(x)


def even(x: int) -> bool:
    return x == 0 or odd(x - 1)


def odd(x: int) -> bool:
    return x != 0 and even(x - 1)


def makes(point: Point) -> Base:
    return Derived() if point.x else Base()


def reads(text: str) -> object:
    return json.loads(text), operator.add(1, 2), PATTERN.match(text), Colour.RED, len(text)


def closes_over(number: int, *, more: object = ()) -> types.FunctionType:
    def made(x: int = number, *, y: int = FACTOR) -> object:
        return x + y + number, more

    return made


first, second = lambda x: x + FACTOR, lambda x: x - FACTOR

VALUES: dict[str, object] = {
    "nothing": None,
    "booleans": [True, False],
    "integers": [0, 1, -1, 255, 2**64, -(2**200)],
    "floats": [0.0, -0.0, 1.5, float("inf"), float("nan"), 5e-324],
    "complex": 1 - 2j,
    "texts": ["", "a", "é", "e\u0301", "\ud800", "\U0001f600"],
    "bytes": [b"", b"\x00\xff", bytearray(b"a")],
    "a large text": "é" * 100_000,
    "large bytes": bytes(100_000),
    "lists and tuples": [[], (), [1, (2, [3])], ([], [])],
    "sets": [set(), {3, 1, 2}, frozenset({"b", "a", ("c", 1)})],
    "dictionaries": [{}, {"b": 1, "a": 2}, {1: "x", "1": "y", (1, 2): None}, types.MappingProxyType({"a": 1})],
    "times": [
        dt.date(2026, 1, 2),
        dt.datetime(2026, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001
        dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        dt.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        dt.datetime(2026, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30), "IST")),
        dt.time(1, 2, 3, 4),
        dt.timedelta(-1, 2, 3),
    ],
    "decimals": [decimal.Decimal("1.10"), decimal.Decimal("NaN"), decimal.Decimal("-0")],
    "others": [uuid.UUID(int=1), range(1, 9, 2), PurePosixPath("a/b"), ..., PATTERN],
    "an enum": [Colour.RED, Colour.BLUE],
    "a dataclass": Point(1),
    "a named tuple": Pair(1, [2]),
    "a partial": functools.partial(helper, 1),
    "of the standard library": [len, int, str.upper, json, json.loads, operator.add, "x".join, functools.reduce],
    "a function": helper,
    "a comprehension": comprehends,
    "a nested function": nested,
    "functions that call each other": [even, odd],
    "a function that names classes": makes,
    "a function that names libraries": reads,
    "a closure": closes_over(1, more=[2]),
    "lambdas in one line": [first, second],
    "classes": [Base, Derived, Colour, Point],
    "the same function twice": [helper, helper],
    "a cached function": functools.cache(helper),
}
