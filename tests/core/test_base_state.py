# SPDX-License-Identifier: Apache-2.0
"""Do states stay as they are, compare by value, and travel unchanged?"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import combinations
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.abc import JSONValue, ResultHandler, Slot
from strongroom.results import NoResult, Result
from strongroom.states import (
    STATE_TYPES,
    Cached,
    Failed,
    Looped,
    Mapped,
    Paused,
    Pending,
    Retrying,
    Running,
    Scheduled,
    State,
    Submitted,
    Success,
)

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
SLOT = Slot(run_id="0" * 32, task="load")

# Zones of a fixed distance: those with names need a database that not every machine has.
zones = st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23)))
times = st.datetimes(timezones=zones).filter(lambda time: 1 < time.year < 9999)
texts = st.text(max_size=10)
values = st.none() | st.booleans() | st.integers() | texts | st.lists(st.integers(), max_size=3)
results = st.just(NoResult) | values.map(Result)
EXTRAS = {
    "start_time": times,
    "run_count": st.integers(0, 10**6),
    "loop_count": st.integers(0, 10**6),
    "cached_parameters": st.dictionaries(texts, values, max_size=3),
    "cached_result_expiration": st.none() | times,
    "fingerprints": st.dictionaries(texts, texts, max_size=3),
    "map_states": st.lists(st.builds(Success, texts, values) | st.builds(Failed, texts), max_size=3),
    "n_map_states": st.integers(0, 10**6),
    "state": st.builds(Pending, texts) | st.builds(Retrying, texts, start_time=times),
}


@st.composite
def any_state(draw: st.DrawFn) -> State:
    kind = draw(st.sampled_from(list(STATE_TYPES.values())))
    return kind(
        draw(st.none() | texts),
        draw(results),
        context=draw(st.dictionaries(texts, values, max_size=2)),
        cached_inputs=draw(st.dictionaries(texts, results, max_size=2)),
        **{name: draw(EXTRAS[name]) for name in kind._fields},
    )


class Drawer(ResultHandler):
    """Keeps values in the process, and counts how often they are fetched."""

    id = "drawer"

    def __init__(self) -> None:
        self.kept: list[object] = []
        self.reads = 0

    def write(self, value: object, slot: Slot) -> JSONValue:
        self.kept.append(value)
        return len(self.kept) - 1

    def read(self, reference: JSONValue, slot: Slot) -> object:
        self.reads += 1
        return self.kept[reference]  # type: ignore[index]  # what write returned


class Elementwise:
    """Compares as arrays do: with an answer for each element, which is neither true nor false."""

    def __init__(self, *elements: int) -> None:
        self.elements = elements

    def __eq__(self, other: object) -> object:  # type: ignore[override]
        return Elementwise(*(mine == 0 for mine in self.elements))

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise ValueError("the truth value is ambiguous")


class OneElement(Elementwise):
    """Compares as an array of one element does: its answer has a truth, and still a shape."""

    shape = (1,)

    def __eq__(self, other: object) -> object:  # type: ignore[override]
        return OneElement(1)

    __hash__ = None

    def __bool__(self) -> bool:
        return True


class LibraryBool:
    """One boolean of a numeric library; Python's own has no shape."""

    shape = ()

    def __init__(self, truth: bool) -> None:
        self.truth = truth

    def __bool__(self) -> bool:
        return self.truth


class Scalar:
    """A number of a numeric library."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> LibraryBool:  # type: ignore[override]
        return LibraryBool(isinstance(other, Scalar) and other.number == self.number)

    __hash__ = None  # type: ignore[assignment]


class Vetoed(Failed):
    """A state that a user made up, with a field of its own."""

    __slots__ = ("by",)
    _fields = ("by",)

    def __init__(self, message: str | None = None, result: object = NoResult, *, by: str = "", **rest: object) -> None:
        super().__init__(message, result, **rest)  # type: ignore[arg-type]
        object.__setattr__(self, "by", by)


def test_the_value_is_read_through_its_handler_when_it_is_asked_for() -> None:
    drawer = Drawer()
    drawer.kept.append("the value")

    state = Success(result=Result.from_reference(0, drawer, SLOT))

    assert drawer.reads == 0
    assert state.result == "the value"


@pytest.mark.parametrize("name", ["message", "_result", "result", "context", "start_time", "anything"])
def test_an_attribute_cannot_be_assigned(name: str) -> None:
    state = Scheduled("before", start_time=NOON)

    with pytest.raises(AttributeError, match=rf"immutable; make a new one: state\.replace\({name.lstrip('_')}="):
        setattr(state, name, None)

    assert state.message == "before"
    assert state.start_time == NOON


def test_an_attribute_cannot_be_deleted() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        del Pending("m").message


def test_the_mappings_of_a_state_are_read_only() -> None:
    state = Cached(
        context={"a": 1}, cached_inputs={"x": Result(1)}, cached_parameters={"p": 1}, fingerprints={"x": "f"}
    )

    for mapping in (state.context, state.cached_inputs, state.cached_parameters, state.fingerprints):
        assert isinstance(mapping, MappingProxyType)
        assert len(mapping) == 1


def test_replace_changes_what_it_is_told_and_keeps_the_rest() -> None:
    before = Retrying("m", 1, start_time=NOON, run_count=2, context={"a": 1}, cached_inputs={"x": Result(1)})

    after = before.replace(run_count=3)

    assert type(after) is Retrying
    assert (after.run_count, before.run_count) == (3, 2)
    assert after.replace(run_count=2) == before
    assert (after.message, after.context) == (before.message, before.context)


def test_replace_does_not_read_the_result() -> None:
    drawer = Drawer()
    drawer.kept.append(1)

    Success(result=Result.from_reference(0, drawer, SLOT)).replace(message="new")

    assert drawer.reads == 0


def test_replace_refuses_what_the_type_does_not_have() -> None:
    with pytest.raises(TypeError, match="run_count"):
        Pending().replace(run_count=1)


def test_states_of_different_types_differ() -> None:
    every = [kind("m", 1) for kind in STATE_TYPES.values()]

    assert all(one != other for one, other in combinations(every, 2))


def test_message_and_context_do_not_count() -> None:
    assert Success("one", 1, context={"a": 1}) == Success("other", 1, context={"b": 2})


def test_the_result_counts() -> None:
    assert Success(result=1) != Success(result=2)
    assert Success(result=[1]) == Success(result=[1])
    assert Success(result=None) != Success()


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (Retrying(start_time=NOON, run_count=1), Retrying(start_time=NOON, run_count=2)),
        (Scheduled(start_time=NOON), Scheduled(start_time=NOON + timedelta(microseconds=1))),
        (Paused(), Paused(start_time=NOON)),
        (Looped(loop_count=1), Looped(loop_count=2)),
        (Submitted(state=Pending()), Submitted(state=Running())),
        (Cached(fingerprints={"x": "a"}), Cached(fingerprints={"x": "b"})),
        (Cached(cached_parameters={"p": 1}), Cached(cached_parameters={"p": 2})),
        (Mapped(map_states=[Success()]), Mapped(map_states=[Failed()])),
        (Mapped(n_map_states=1), Mapped(n_map_states=2)),
        (Pending(cached_inputs={"x": Result(1)}), Pending(cached_inputs={"x": Result(2)})),
        (Pending(cached_inputs={"x": Result(1)}), Pending(cached_inputs={"y": Result(1)})),
        (Pending(cached_inputs={"x": Result(1)}), Pending()),
    ],
)
def test_attributes_of_the_type_and_cached_inputs_count(left: State, right: State) -> None:
    assert left != right


def test_cached_inputs_are_compared_by_value() -> None:
    assert Pending(cached_inputs={"x": Result([1])}) == Pending(cached_inputs={"x": Result([1])})


def test_a_value_equals_a_reference_that_leads_to_an_equal_value() -> None:
    drawer = Drawer()
    drawer.kept.append([1, 2])

    assert Success(result=[1, 2]) == Success(result=Result.from_reference(0, drawer, SLOT))


def test_two_references_to_one_place_are_equal_and_are_not_read() -> None:
    drawer = Drawer()

    left, right = (Success(result=Result.from_reference(0, drawer, SLOT)) for _ in range(2))

    assert left == right
    assert drawer.reads == 0


def test_equal_references_of_different_handlers_are_read_before_they_count_as_equal() -> None:
    one, other = Drawer(), Drawer()
    one.kept.append("a")
    other.kept.append("b")

    assert Success(result=Result.from_reference(0, one, SLOT)) != Success(result=Result.from_reference(0, other, SLOT))


@pytest.mark.parametrize("kind", [Elementwise, OneElement])
def test_values_that_compare_by_element_are_equal_only_to_themselves(kind: type[Elementwise]) -> None:
    array = kind(1, 2)

    assert Success(result=array) == Success(result=array)
    assert Success(result=array) != Success(result=kind(1, 2))


def test_containers_that_cannot_be_compared_are_not_equal() -> None:
    assert Success(result=[Elementwise(1)]) != Success(result=[Elementwise(1)])


def test_numbers_of_a_numeric_library_are_compared() -> None:
    assert Success(result=Scalar(1)) == Success(result=Scalar(1))
    assert Success(result=Scalar(1)) != Success(result=Scalar(2))


def test_a_state_differs_from_what_is_no_state() -> None:
    assert Success(result=1) != 1
    assert Success() != "Success"


def test_states_cannot_be_hashed() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Success())


@given(any_state())
def test_every_state_survives_pickling(state: State) -> None:
    again = pickle.loads(pickle.dumps(state))

    assert again == state
    assert (again.message, again.context) == (state.message, state.context)


@given(any_state())
def test_a_state_can_be_rebuilt_from_its_parts(state: State) -> None:
    make: Callable[..., State] = type(state)

    again = make(message=state.message, result=state._result, cached_inputs=state.cached_inputs, **state.extras())

    assert again == state


@given(any_state())
def test_extras_name_all_attributes_that_the_type_adds(state: State) -> None:
    added = {name for kind in type(state).__mro__ for name in getattr(kind, "__slots__", ())}

    assert state.extras().keys() == added - {"message", "_result", "context", "cached_inputs"}


def test_a_state_that_a_user_made_up_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(Vetoed("no", 1, by="audit", context={"a": 1})))

    assert again == Vetoed("no", 1, by="audit")
    assert again != Vetoed("no", 1, by="somebody")
    assert (again.message, again.context) == ("no", {"a": 1})


def test_an_unpickled_state_is_immutable() -> None:
    again = pickle.loads(pickle.dumps(Success("m", 1, context={"a": 1})))

    with pytest.raises(AttributeError, match="immutable"):
        again.message = "other"
    assert isinstance(again.context, MappingProxyType)


def test_states_can_be_copied() -> None:
    state = Success("m", [1], cached_inputs={"x": Result([2])})

    assert copy.copy(state) == copy.deepcopy(state) == state
