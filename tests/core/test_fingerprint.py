# SPDX-License-Identifier: Apache-2.0
"""Fingerprints: the same for the same, different for the different, an error where we cannot tell."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import functools
import importlib.util
import json
import logging
import pickle
import re
import subprocess
import sys
import uuid
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import context, task
from strongroom._fingerprint import canonical
from strongroom.errors import SerializationError


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Point:
    x: object
    y: object

    def swapped(self) -> Point:
        return Point(self.y, self.x)


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


@pytest.mark.parametrize("value", [object(), iter([]), functools.partial(len, object()), [1, {"a": object()}]])
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
    assert canonical(_make(1)) == canonical(_make(1))  # type: ignore[arg-type]
    assert canonical(_make(1)) != canonical(_make(2))  # type: ignore[arg-type]


def test_the_globals_and_functions_that_a_function_names_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = canonical(scaled)

    monkeypatch.setitem(globals(), "FACTOR", 3)
    changed = canonical(scaled)
    monkeypatch.setitem(globals(), "FACTOR", 2)
    monkeypatch.setitem(globals(), "helper", lambda x: x + 2)

    assert len({before, changed, canonical(scaled)}) == 3


def test_a_function_that_calls_itself_has_a_fingerprint() -> None:
    assert canonical(endless)


def even(x: int) -> bool:
    return x == 0 or odd(x - 1)


def odd(x: int) -> bool:
    return x != 0 and even(x - 1)


def test_functions_that_call_each_other_have_fingerprints() -> None:
    assert canonical(even) != canonical(odd)


LOG = logging.getLogger("of a test")


def test_the_context_and_loggers_may_be_named() -> None:
    def uses() -> object:
        LOG.info("started")
        return context.run_id

    assert canonical(uses)


def test_a_function_without_source_is_an_error() -> None:
    made = eval("lambda: 1")

    with pytest.raises(SerializationError, match="cache_key"):
        canonical(made)


def wrapper(function: Callable[..., object], times: int) -> Callable[..., object]:
    @functools.wraps(function)
    def wrapped(*args: object) -> object:
        return [function(*args) for _ in range(times)]

    return wrapped


PAIRS: dict[str, tuple[object, object]] = {
    "two lambdas in one line": ((lambda x: x + 1), (lambda x: x + 2)),
    "lambdas in lambdas": ((lambda: lambda: FACTOR), (lambda: FACTOR)),
    "what a partial calls": (functools.partial(helper, 1), functools.partial(endless, 1)),
    "what a partial is given": (functools.partial(helper, 1), functools.partial(helper, 2)),
    "how a partial is given it": (functools.partial(helper, 1), functools.partial(helper, x=1)),
    "what is wrapped": (wrapper(helper, 1), wrapper(endless, 1)),
    "what wraps": (wrapper(helper, 1), wrapper(helper, 2)),
    "wrapped or not": (wrapper(helper, 1), helper),
    "what is cached": (functools.cache(helper), functools.cache(endless)),
    "what a partial is given that is said to wrap": (
        functools.update_wrapper(functools.partial(helper, 1), helper),
        functools.update_wrapper(functools.partial(helper, 2), helper),
    ),
    "which task": (task(helper), task(endless)),
    "what a method belongs to": (Point(1, 2).swapped, Point(2, 2).swapped),
    "which method": ("x".join, "x".split),
    "a class and another": (Point, Colour),
    "a function of a library and another": (json.dumps, json.loads),
    "functions that only the module tells apart": (json.load, pickle.load),
    "a pattern and its flags": (re.compile("a"), re.compile("a", re.IGNORECASE)),
    "a pattern of text or bytes": (re.compile("a"), re.compile(b"a")),
    "a zone and another": (
        dt.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        dt.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Paris")),
    ),
    "a fold": (dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, fold=1)),  # noqa: DTZ001
    "the end of a large text": ("a" * 200_000, "a" * 199_999 + "b"),
    "the end of large bytes": (b"a" * 200_000, b"a" * 199_999 + b"b"),
    "large bytes of two types": (b"a" * 200_000, bytearray(b"a" * 200_000)),
    "a large text and its bytes": ("a" * 200_000, b"a" * 200_000),
}


@pytest.mark.parametrize("case", PAIRS)
def test_what_is_not_the_same_thing_has_another_fingerprint(case: str) -> None:
    one, other = PAIRS[case]

    assert canonical(one) != canonical(other)
    assert canonical(one) == canonical(one)


def test_a_decorator_that_is_an_object_may_have_settings_so_it_is_an_error() -> None:
    class Decorated:
        def __init__(self, function: Callable[..., object], times: int) -> None:
            functools.update_wrapper(self, function)
            self.times = times

        def __call__(self) -> None: ...

    with pytest.raises(SerializationError, match="Decorated cannot be told apart"):
        canonical(Decorated(helper, 2))


def test_a_large_value_is_known_by_its_digest() -> None:
    assert len(canonical([b"a" * 1_000_000, "b" * 1_000_000])) < 200


def module_of(name: str, text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user's, with this text."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


helpers: ModuleType = sys
HELPERS = "FACTOR = {}\n\ndef unused(): return {}\n\ndef used(): return FACTOR\n"


def test_what_is_used_of_a_module_of_the_users_counts_and_nothing_else_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def uses() -> object:
        return helpers.used()

    found = []
    for number, (factor, other) in enumerate([(1, 1), (1, 2), (2, 1)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.setitem(
            globals(), "helpers", module_of(f"helpers{number}", HELPERS.format(factor, other), folder, monkeypatch)
        )
        found.append(canonical(uses))

    assert found[0] == found[1] != found[2]


CLASS = """
FACTOR = {factor}

class Base:
    def run(self):
        return FACTOR

class Derived(Base):
    attribute = {attribute}
"""


@pytest.mark.parametrize("change", ["factor", "attribute"])
def test_a_class_counts_by_its_source_its_bases_and_what_they_use(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for number in (1, 1, 2):
        folder = tmp_path / str(len(found))
        folder.mkdir()
        text = CLASS.format(**{"factor": 1, "attribute": 1, change: number})
        module = module_of(f"of_a_test_{len(found)}", text, folder, monkeypatch)
        found.append(canonical(module.Derived))

    assert found[0] == found[1] != found[2]


def test_a_class_whose_source_cannot_be_read_is_an_error_that_names_it() -> None:
    with pytest.raises(SerializationError, match="source of the class Made cannot be read"):
        canonical(type("Made", (), {"__module__": "nowhere"}))


def test_functions_that_use_each_other_many_times_are_quickly_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [
        f"def f{n}(): return f{n + 1}() + g{n + 1}()\ndef g{n}(): return f{n + 1}() - g{n + 1}()" for n in range(40)
    ]
    text = "\n".join([*layers, "def f40(): return 1", "def g40(): return 2"])

    # Each once, and not once for each of the 2 ** 40 ways to get there.
    assert len(canonical(module_of("layers", text, tmp_path, monkeypatch).f0)) < 100_000


def test_a_list_that_is_in_another_many_times_is_gone_through_once() -> None:
    value: object = [1]
    for _ in range(60):
        value = [value, value]

    assert len(canonical(value)) < 100_000


def test_equal_containers_are_the_same_whether_they_are_one_object_or_not() -> None:
    one = [1, 2]

    assert canonical([one, one]) == canonical([[1, 2], [1, 2]])
    assert canonical([one, [one, helper], one]) == canonical([[1, 2], [[1, 2], helper], [1, 2]])


def test_a_large_container_is_known_by_its_digest() -> None:
    rows = [float(number) for number in range(20_000)]

    assert len(canonical({"rows": rows})) < 200
    assert canonical(rows) != canonical(rows[:-1])


@dataclass
class Fleeting:
    numbers: list[int]

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        return list(found) if name == "numbers" else found  # type: ignore[call-overload]


def test_a_value_that_is_made_when_it_is_asked_for_is_not_taken_for_the_one_before() -> None:
    _, items = msgspec.msgpack.decode(canonical([Fleeting([number]) for number in range(200)]))

    assert len(set(items)) == 200


REGISTRY: set[Callable[..., object]] = set()


def test_functions_of_a_set_that_use_the_set_are_an_error_rather_than_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def one() -> object:
        return REGISTRY

    def two() -> object:
        return len(REGISTRY)

    monkeypatch.setitem(globals(), "REGISTRY", {one, two})

    with pytest.raises(SerializationError, match=r"too many ways|deep"):
        canonical(one)


def test_the_order_of_a_dictionary_of_functions_does_not_matter() -> None:
    assert canonical({"a": even, "b": odd, "c": even}) == canonical({"c": even, "b": odd, "a": even})
    assert canonical({even, odd}) == canonical({odd, even})


def test_a_time_in_a_zone_that_nobody_knows_is_an_error() -> None:
    class Zone(dt.tzinfo):
        pass

    with pytest.raises(SerializationError, match=r"Zone cannot be told apart.*\bgive a cache key"):
        canonical(dt.datetime(2026, 1, 1, tzinfo=Zone()))


def test_keys_of_dictionaries_are_not_told_in_errors_and_names_in_code_are() -> None:
    with pytest.raises(SerializationError) as of_data:
        canonical({"secret": object()})
    with pytest.raises(SerializationError) as of_code:
        canonical(Point(object(), 1))

    assert "secret" not in str(of_data.value)
    assert "$.x" in str(of_code.value)


def test_an_array_without_the_plugin_for_it_is_an_error_that_says_what_to_install() -> None:
    array = type("ndarray", (), {"__module__": "numpy"})()

    with pytest.raises(SerializationError, match="pip install strongroom-arrow"):
        canonical(array)


def test_somebody_else_may_know_a_type() -> None:
    kind = type("Kind", (), {"__module__": "theirs"})

    found = [canonical([kind()], foreign=lambda _, digest=digest: digest) for digest in (b"1", b"2")]

    assert found[0] != found[1]
    with pytest.raises(SerializationError):
        canonical([kind()], foreign=lambda _: None)
