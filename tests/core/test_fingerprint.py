# SPDX-License-Identifier: Apache-2.0
"""Fingerprints: the same for the same, different for the different, an error where we cannot tell."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import functools
import logging
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import context
from strongroom._fingerprint import canonical, canonical_source
from strongroom.errors import SerializationError


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: object
    y: object


DIFFERENT = [
    None, False, True, 0, 1, 1.0, -1, 0.0, -0.0, float("nan"), float("inf"), 1j, "1", b"1", bytearray(b"1"), "", b"",
    (), [], {}, set(), frozenset(), (1,), [1], {1}, frozenset({1}), (1, 2), [1, 2], (2, 1), ((1,), 2), (1, (2,)),
    {1: 2}, {"1": 2}, {2: 1}, {1: "2"}, {True: 2}, {1: {2: 3}}, ["ab", "c"], ["a", "bc"], range(3), range(4),
    dt.date(2026, 1, 2), dt.datetime(2026, 1, 2), dt.datetime(2026, 1, 2, tzinfo=dt.UTC),  # noqa: DTZ001
    dt.timedelta(1), dt.time(1), decimal.Decimal(1), decimal.Decimal("1.0"), uuid.UUID(int=1), Path("1"),
    Colour.RED, Colour.BLUE, Point(1, 2), Point(2, 1), Point("1", 2), int, str, len, max, sys, enum, 2**80,
    "é", "e\u0301",
]  # fmt: skip


def test_values_that_differ_have_different_fingerprints() -> None:
    encoded = [canonical(value) for value in DIFFERENT]

    for index, one in enumerate(encoded):
        for other in range(index):
            assert one != encoded[other], (DIFFERENT[index], DIFFERENT[other])


@given(st.dictionaries(st.text() | st.integers(), st.integers()))
def test_the_order_of_a_dictionary_does_not_matter(value: dict[object, int]) -> None:
    assert canonical(value) == canonical(dict(reversed(value.items())))


SCALARS = st.integers() | st.text() | st.floats() | st.none()


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.tuples(inner)))
def test_a_value_has_the_same_fingerprint_each_time(value: object) -> None:
    assert canonical(value) == canonical(value)


def test_a_set_has_the_same_fingerprint_in_every_process() -> None:
    code = "from strongroom._fingerprint import canonical; print(canonical({'a', 'b', 'c', ('d', 1)}).hex())"

    def fingerprint(seed: str) -> bytes:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env={"PYTHONHASHSEED": seed}, check=True, capture_output=True).stdout

    assert len({fingerprint(seed) for seed in ("1", "2", "3")}) == 1


@pytest.mark.parametrize("value", [object(), iter([]), functools.partial(len), [1, {"a": object()}]])
def test_what_cannot_be_told_apart_is_an_error_that_names_the_type(value: object) -> None:
    with pytest.raises(SerializationError, match="cannot be told apart"):
        canonical(value)


def test_a_cycle_is_an_error() -> None:
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(SerializationError, match="deep"):
        canonical(endless)


def _make(number: int) -> object:
    def function() -> int:
        return number

    return function


FACTOR = 2


def scaled(x: int) -> int:
    return helper(x) * FACTOR


def helper(x: int) -> int:
    return x + 1


def endless(x: int) -> int:
    return endless(x - 1) if x else 0


def test_the_values_that_a_function_closes_over_count() -> None:
    assert canonical_source(_make(1)) == canonical_source(_make(1))  # type: ignore[arg-type]
    assert canonical_source(_make(1)) != canonical_source(_make(2))  # type: ignore[arg-type]


def test_the_globals_and_functions_that_a_function_names_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = canonical_source(scaled)

    monkeypatch.setitem(globals(), "FACTOR", 3)
    changed = canonical_source(scaled)
    monkeypatch.setitem(globals(), "FACTOR", 2)
    monkeypatch.setitem(globals(), "helper", lambda x: x + 2)

    assert len({before, changed, canonical_source(scaled)}) == 3


def test_a_function_that_calls_itself_has_a_fingerprint() -> None:
    assert canonical_source(endless)


def even(x: int) -> bool:
    return x == 0 or odd(x - 1)


def odd(x: int) -> bool:
    return x != 0 and even(x - 1)


def test_functions_that_call_each_other_have_fingerprints() -> None:
    assert canonical_source(even) != canonical_source(odd)


LOG = logging.getLogger("of a test")


def test_the_context_and_loggers_may_be_named() -> None:
    def uses() -> object:
        LOG.info("started")
        return context.run_id

    assert canonical_source(uses)


def test_a_function_without_source_is_an_error() -> None:
    made = eval("lambda: 1")

    with pytest.raises(SerializationError, match="cache_key"):
        canonical_source(made)
