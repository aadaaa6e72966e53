# SPDX-License-Identifier: Apache-2.0
"""Do states hold what they were given, answer by type, compare by value, and travel unchanged?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from strongroom import states
from strongroom.errors import DefinitionError
from strongroom.results import NoResult, Result
from strongroom.states import (
    STATE_TYPES,
    Cached,
    ClientFailed,
    Failed,
    Looped,
    Mapped,
    MetaState,
    Paused,
    Pending,
    Queued,
    Resume,
    Retrying,
    Running,
    Scheduled,
    Skipped,
    State,
    Submitted,
    Success,
    TimedOut,
)

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)

ANSWERS = {
    "State": "",
    "Pending": "pending",
    "Scheduled": "pending scheduled",
    "Resume": "pending scheduled",
    "Retrying": "pending scheduled retrying",
    "Paused": "pending",
    "Submitted": "meta_state submitted",
    "Queued": "meta_state queued",
    "ClientFailed": "meta_state",
    "Running": "running",
    "Cancelling": "running",
    "Finished": "finished",
    "Success": "finished successful",
    "Cached": "finished successful cached",
    "Mapped": "finished successful mapped",
    "Skipped": "finished successful skipped",
    "Failed": "finished failed",
    "TimedOut": "finished failed",
    "TriggerFailed": "finished failed",
    "ValidationFailed": "finished failed",
    "Looped": "finished looped",
    "Cancelled": "finished",
}
QUESTIONS = sorted({question for answers in ANSWERS.values() for question in answers.split()})
EVERY_TYPE = pytest.mark.parametrize("kind", STATE_TYPES.values(), ids=STATE_TYPES)


class Vetoed(Failed):
    """A state that a user made up, with a field of its own."""

    __slots__ = ("by",)
    _fields = ("by",)

    def __init__(self, message: str | None = None, result: object = NoResult, *, by: str = "", **rest: object) -> None:
        super().__init__(message, result, **rest)  # type: ignore[arg-type]
        object.__setattr__(self, "by", by)


@EVERY_TYPE
def test_every_state_can_be_made_from_nothing(kind: type[State]) -> None:
    state = kind()

    assert state.message is None
    assert state.result is NoResult
    assert state.context == {}
    assert state.cached_inputs == {}


@EVERY_TYPE
def test_every_state_takes_a_message_and_a_result_in_this_order(kind: type[State]) -> None:
    state = kind("why", 42)

    assert state.message == "why"
    assert state.result == 42


def test_the_result_none_is_a_result() -> None:
    assert Success(result=None).result is None
    assert Success(result=None) != Success()


def test_a_result_object_is_taken_as_it_is() -> None:
    result = Result([1])

    assert Success(result=result)._result is result


def test_an_exception_can_be_the_result_of_a_failure() -> None:
    error = ValueError("x")

    assert Failed("it broke", result=error).result is error


def test_what_the_caller_does_to_its_mappings_later_does_not_change_a_state() -> None:
    tags, inputs = {"a": 1}, {"x": Result(1)}
    state = Pending(context=tags, cached_inputs=inputs)

    tags.clear()
    inputs.clear()

    assert state.context == {"a": 1}
    assert state.cached_inputs["x"].value == 1


def test_states_without_context_share_one_empty_mapping() -> None:
    assert Pending().context is Success().cached_inputs


@pytest.mark.parametrize("kind", [Scheduled, Resume, Retrying, Queued])
def test_a_start_time_that_is_not_given_is_now(kind: type[Scheduled]) -> None:
    before = datetime.now(UTC)

    assert before <= kind().start_time <= datetime.now(UTC)


def test_a_pause_needs_no_time() -> None:
    assert Paused().start_time is None
    assert Paused(start_time=NOON).start_time == NOON


@pytest.mark.parametrize("time", [datetime(2024, 2, 29, 12), "2024-02-29", NOON.date(), 0])  # noqa: DTZ001  # on purpose
@pytest.mark.parametrize("kind", [Scheduled, Retrying, Paused, Queued])
def test_a_time_without_a_zone_is_refused(kind: type[Scheduled], time: datetime) -> None:
    with pytest.raises(
        DefinitionError, match=rf"{kind.__name__} needs a start_time that knows its time zone"
    ) as caught:
        kind(start_time=time)

    assert "2024" not in str(caught.value)


def test_an_expiration_without_a_zone_is_refused() -> None:
    with pytest.raises(DefinitionError, match="Cached needs a cached_result_expiration"):
        Cached(cached_result_expiration=datetime(2024, 2, 29))  # noqa: DTZ001  # on purpose


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=5)), timezone(-timedelta(hours=4, minutes=30))])
def test_times_are_held_in_utc(zone: timezone) -> None:
    local = Scheduled(start_time=NOON.astimezone(zone))

    assert local == Scheduled(start_time=NOON)
    assert local.start_time.tzinfo is UTC


@pytest.mark.parametrize("count", [-1, True, 1.5, "1", None])
@pytest.mark.parametrize(("kind", "name"), [(Retrying, "run_count"), (Looped, "loop_count")])
def test_a_count_that_is_none_is_refused(kind: type[State], name: str, count: object) -> None:
    with pytest.raises(DefinitionError, match=f"{kind.__name__} needs a {name}"):
        kind(**{name: count})  # type: ignore[arg-type]


def test_children_are_counted_unless_it_is_said_how_many_there_are() -> None:
    assert Mapped(map_states=[Success(), Failed()]).n_map_states == 2
    assert Mapped(n_map_states=7).n_map_states == 7
    assert Mapped(n_map_states=7).map_states == ()


@pytest.mark.parametrize("kind", [Submitted, Queued, ClientFailed])
def test_a_meta_state_stands_in_front_of_a_pending_state_unless_told_otherwise(kind: type[MetaState]) -> None:
    assert kind().state == Pending()
    assert kind(state=Running()).state == Running()


@EVERY_TYPE
def test_a_state_answers_by_its_type(kind: type[State]) -> None:
    state = kind()

    answers = {question for question in QUESTIONS if getattr(state, f"is_{question}")()}

    assert answers == set(ANSWERS[kind.__name__].split())


def test_the_table_of_answers_covers_every_type_and_every_question() -> None:
    assert ANSWERS.keys() == STATE_TYPES.keys()
    assert [name for name in sorted(dir(State)) if name.startswith("is_")] == [f"is_{name}" for name in QUESTIONS]


def test_a_type_that_a_user_made_up_answers_like_its_parent() -> None:
    assert Vetoed().is_failed()
    assert not Vetoed().is_successful()


def test_the_registry_has_every_public_type_and_is_closed() -> None:
    public = {name for name in states.__all__ if isinstance(getattr(states, name), type)}

    assert public - {MetaState.__name__} == STATE_TYPES.keys()
    assert all(kind.__name__ == name for name, kind in STATE_TYPES.items())
    with pytest.raises(TypeError, match="assignment"):
        STATE_TYPES["Vetoed"] = Vetoed  # type: ignore[index]


def test_a_repr_shows_the_message_and_never_the_value() -> None:
    assert repr(Success("all good", "secret-value", context={"k": "secret-tag"})) == '<Success: "all good">'


def test_a_repr_without_a_message_is_the_type() -> None:
    assert repr(Skipped()) == "<Skipped>"
    assert repr(TimedOut(result="secret-value")) == "<TimedOut>"
