# SPDX-License-Identifier: Apache-2.0
"""Does JSON return what it was given, type for type, or refuse it and say where?"""

# ruff: noqa: DTZ001, DTZ901  # times without a zone are values too

from __future__ import annotations

import enum
import io
import json
import math
import struct
import subprocess
import sys
import uuid
from collections import Counter, OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import ClassVar
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import SerializationError
from strongroom.testing import SerializerTests, difference
from strongroom_json import JSON, strongroom_choose_serializer

BERLIN = ZoneInfo("Europe/Berlin")
NEGATIVE_NAN = struct.unpack(">d", bytes.fromhex("fff8000000000001"))[0]
HALF_A_PAIR = "file-\udcff"


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


class Colour(enum.IntEnum):
    RED = 1


class Mood(enum.StrEnum):
    GOOD = "good"


class Text(str):
    __slots__ = ()


class OtherZone(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta(0)


@dataclass
class Point:
    x: int


Pair = namedtuple("Pair", "a b")  # noqa: PYI024  # that is the point


VALUES = (
    *(None, True, False, 0, -1, 2**63 - 1, 2**64 - 1, -(2**63), 2**64, -(2**63) - 1, 10**5000),
    *(0.0, -0.0, 1e16, 1e-7, 5e-324, math.nan, math.inf, -math.inf, NEGATIVE_NAN),
    *("", "plain", "ünïcödé \U0001f680", '\0\x1f\\"', HALF_A_PAIR, "$tuple", "$5", "\\u0024"),
    *(b"", b"\0\xff", b"x" * 1000),
    *([], [1, "a", None, [2.5]], (), (1, (2,), [3]), [()], {1, "a", None}, set(), frozenset({(1, 2), b"x"})),
    *({}, {"a": {"b": []}}, {1: "int", "s": "str", None: 0, 1.5: 0, (1, 2): 0, b"b": 0, frozenset({1}): 0}),
    *({math.nan: 1}, {HALF_A_PAIR: 1}, {"b": 1, "a": 2}, [{"x": 1}, {"x": (1,)}]),
    *({"$tuple": [1]}, {"$": 1}, {"$$a": 1, "$a": 2, "a": 3}, {"$dict": [[1, 2]], "$set": {1}}, {"$unknown": None}),
    *(date(2026, 1, 31), date.min, date.max, datetime(2026, 1, 31, 12, 0, 0, 5), datetime.max),
    *(datetime(2026, 1, 31, tzinfo=UTC), datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN), datetime.min),
    *(datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN), datetime(2026, 1, 1, fold=1), time(1, 2, 3, 4, fold=1)),
    *(datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-3, seconds=1, microseconds=7))), time(tzinfo=BERLIN)),
    *(datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")), time(1, tzinfo=UTC), time.max),
    *(timedelta(0), timedelta(-1, 5, 7), timedelta.min, timedelta.max, uuid.UUID(int=5), uuid.uuid1()),
    *map(Decimal, ("0", "-0", "1.10", "1E+5", "1e-400", "NaN", "-NaN12", "sNaN", "Infinity", "-Infinity", "9" * 5000)),
    *(Path("/a/b"), Path(), Path(HALF_A_PAIR), PurePosixPath("a/../b"), PureWindowsPath("C:\\a\\b"), PureWindowsPath()),
)  # fmt: skip

REFUSED = (
    *(Colour.RED, Mood.GOOD, Text("text"), OrderedDict(a=1), defaultdict(int), Counter("a"), Pair(1, 2), Point(1)),
    *(object(), 1j, Fraction(1, 3), bytearray(b"x"), range(3), print, int, Ellipsis, memoryview(b"x"), (1).__class__),
    *(datetime(2026, 1, 1, tzinfo=OtherZone()), time(tzinfo=OtherZone()), {Colour.RED: 1}, {"a": [(Colour.RED,)]}),
    *(datetime(2026, 1, 1, tzinfo=ZoneInfo.no_cache("Europe/Berlin")), nested(100), {Pair(1, 2)}),
    datetime(2026, 1, 1, tzinfo=timezone(timedelta(0), HALF_A_PAIR)),
)


class TestJSON(SerializerTests):
    serializer = JSON()
    values = VALUES
    refused = REFUSED


def is_hashable(value: object) -> bool:
    return not (isinstance(value, Decimal) and value.is_snan())


atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(st.characters() | st.sampled_from("$\udc80"))
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times(timezones=st.none() | st.just(UTC))
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
    | st.builds(PurePosixPath, st.text(st.characters(exclude_characters="\0")))
)
keys = atoms.filter(is_hashable)
hashables = keys | st.lists(keys, max_size=3).map(tuple) | st.frozensets(keys, max_size=3)
everything = st.recursive(
    atoms,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(hashables, max_size=4)
        | st.dictionaries(st.text("$ab"), inner, max_size=4)
        | st.dictionaries(hashables, inner, max_size=4)
    ),
    max_leaves=10,
)


@given(everything)
def test_whatever_is_kept_comes_back_type_for_type(value: object) -> None:
    assert difference(value, JSON().loads(JSON().dumps(value))) is None


def test_what_is_kept_is_claimed_and_what_is_refused_is_left_to_others() -> None:
    assert [value for value in VALUES if strongroom_choose_serializer(value) != "json"] == []
    assert [value for value in REFUSED if strongroom_choose_serializer(value) is not None] == []


@given(st.lists(everything | st.integers(0, len(REFUSED) - 1).map(REFUSED.__getitem__), max_size=3))
def test_what_is_claimed_is_what_can_be_kept(value: object) -> None:
    try:
        JSON().dumps(value)
    except SerializationError:
        assert strongroom_choose_serializer(value) is None
    else:
        assert strongroom_choose_serializer(value) == "json"


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True, "x"]}, [], "text", {"$5": "$5"}], ids=repr)
def test_plain_values_look_plain(value: object) -> None:
    unescaped = json.loads(JSON().dumps(value).replace(b'"$$', b'"$'))

    assert unescaped == value


def test_what_is_stored_is_one_line_that_json_tools_read() -> None:
    stored = JSON().dumps({"when": date(2026, 1, 31), "pair": (1, 2)})

    assert stored == b'{"when":{"$date":"2026-01-31"},"pair":{"$tuple":[1,2]}}\n'


def test_a_set_has_the_same_bytes_in_every_process() -> None:
    program = "from strongroom_json import JSON; print(JSON().dumps({'a', 'b', 'c', 1, None, (1, 2)}))"

    runs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in "123"
    }

    assert len(runs) == 1


def test_what_a_long_list_holds_makes_no_difference() -> None:
    value = [*range(3000), (1,), *map(str, range(3000)), math.nan]

    assert difference(value, JSON().loads(JSON().dumps(value))) is None
    assert len(json.loads(JSON().dumps(value))) == len(value)


class Pieces(io.RawIOBase):
    longest: ClassVar[int] = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        size = len(memoryview(data))  # type: ignore[arg-type]  # what a sink is given
        Pieces.longest = max(Pieces.longest, size)
        return size


def test_a_long_list_is_written_in_pieces() -> None:
    JSON().dump(list(range(200_000)), Pieces())  # type: ignore[arg-type]  # all that it needs

    assert 0 < Pieces.longest < 20_000


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (Colour.RED, "$"),
        ({"items": [1, 2, {"price": Fraction(1, 3)}]}, "$.items[2].price"),
        ({"a": (1, {Pair(1, 2)})}, "$.a[1]{}"),
        ({"secret@example.org": Point(1)}, "${0}"),
        ({"x" * 41: Point(1)}, "${0}"),
        ({1: 1, 2: Point(1)}, "${1}"),
        ({"a": {1: 1, Colour.RED.real: 2, Mood.GOOD: 3}}, "$.a.keys(){1}"),
        ([0] * 5000 + [object()], "$[5000]"),
        (nested(100), "$[0][0][0][0][0][0][0][0][0][0][0][0]..."),
    ],
    ids=lambda value: value if type(value) is str else "",
)
def test_the_place_of_what_is_refused_is_named(value: object, where: str) -> None:
    with pytest.raises(SerializationError) as caught:
        JSON().dumps(value)

    assert caught.value.where == where


def test_a_refusal_names_the_type_and_the_way_out() -> None:
    with pytest.raises(SerializationError, match="OrderedDict would come back as dict; convert it"):
        JSON().dumps(OrderedDict(a=1))
    with pytest.raises(SerializationError, match="Point is a class that JSON was not told of"):
        JSON().dumps(Point(1))


@pytest.mark.parametrize("container", [list, dict])
def test_what_contains_itself_is_refused(container: type[list[object] | dict[object, object]]) -> None:
    value = container()
    if isinstance(value, list):
        value.extend([value, value])
    else:
        value.update(a=value, b=(value,))

    with pytest.raises(SerializationError, match="contains itself"):
        JSON().dumps(value)
    assert strongroom_choose_serializer(value) is None


@pytest.mark.parametrize(
    "wrap", [lambda x: [x], lambda x: (x,), lambda x: {1: x}, lambda x: {"a": x}, lambda x: {"$": x}]
)
def test_the_deepest_value_that_is_claimed_comes_back(wrap: object) -> None:
    value: object = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN)
    for _ in range(80):
        value = wrap(value)  # type: ignore[operator]  # a function

    assert strongroom_choose_serializer(value) == "json"
    assert difference(value, JSON().loads(JSON().dumps(value))) is None
    assert strongroom_choose_serializer(wrap(value)) is None  # type: ignore[operator]  # a function


def test_a_decimal_does_not_depend_on_the_context() -> None:
    with localcontext() as context:
        context.capitals = 0
        context.prec = 2
        stored = JSON().dumps(Decimal("1.2345E+50"))

    assert str(JSON().loads(stored)) == "1.2345E+50"


def test_a_zone_follows_its_rules_and_not_the_offset_of_the_day() -> None:
    stored = JSON().dumps(datetime(2026, 7, 1, 12, tzinfo=BERLIN))

    assert stored == b'{"$datetime":["2026-07-01T12:00:00",{"zone":"Europe/Berlin"}]}\n'


def test_a_value_that_is_shared_comes_back_as_two() -> None:
    shared: list[int] = [1]

    one, other = JSON().loads(JSON().dumps([shared, shared]))  # type: ignore[misc]  # a list of two

    assert one == other == shared
    assert one is not other
