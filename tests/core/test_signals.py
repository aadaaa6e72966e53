# SPDX-License-Identifier: Apache-2.0
"""Does each signal carry the state that it stands for, also to another process?"""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context

import pytest

from strongroom import signals
from strongroom.errors import DefinitionError, StrongroomError
from strongroom.results import NoResult, Result
from strongroom.signals import (
    CANCEL,
    FAIL,
    LOOP,
    PAUSE,
    RETRY,
    SKIP,
    SUCCESS,
    TRIGGERFAIL,
    VALIDATIONFAIL,
    Signal,
    signal_from_state,
)
from strongroom.states import (
    STATE_TYPES,
    Cached,
    Cancelled,
    Failed,
    Looped,
    Mapped,
    Paused,
    Pending,
    Resume,
    Retrying,
    Running,
    Skipped,
    State,
    Submitted,
    Success,
    TimedOut,
    TriggerFailed,
    ValidationFailed,
)
from strongroom.triggers import all_successful, manual_only

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
STANDS_FOR = {
    FAIL: Failed,
    TRIGGERFAIL: TriggerFailed,
    VALIDATIONFAIL: ValidationFailed,
    SUCCESS: Success,
    SKIP: Skipped,
    RETRY: Retrying,
    PAUSE: Paused,
    LOOP: Looped,
    CANCEL: Cancelled,
}
FAILURES = [FAIL, TRIGGERFAIL, VALIDATIONFAIL]
EVERY_SIGNAL = pytest.mark.parametrize("kind", STANDS_FOR)


class REFUSED(FAIL):
    """A signal that a user made up."""


@EVERY_SIGNAL
def test_a_signal_carries_the_state_that_it_stands_for(kind: type[Signal]) -> None:
    signal = kind("why", result=42)

    assert type(signal.state) is STANDS_FOR[kind]
    assert signal.state.message == "why"
    assert signal.state.result == 42
    assert str(signal) == "why"


def test_the_table_of_signals_is_complete() -> None:
    public = {getattr(signals, name) for name in signals.__all__ if name.isupper()}

    assert public == STANDS_FOR.keys()


@EVERY_SIGNAL
def test_a_signal_needs_no_message(kind: type[Signal]) -> None:
    signal = kind()

    assert signal.state.message is None
    assert str(signal) == ""


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_without_a_result_has_the_signal_as_its_result(kind: type[Signal]) -> None:
    signal = kind("why")

    assert signal.state.result is signal


@pytest.mark.parametrize("kind", [kind for kind in STANDS_FOR if kind not in FAILURES])
def test_any_other_state_without_a_result_has_none(kind: type[Signal]) -> None:
    assert kind("why").state.result is NoResult


@EVERY_SIGNAL
def test_the_result_none_is_a_result(kind: type[Signal]) -> None:
    assert kind(result=None).state.result is None


def test_a_result_object_is_taken_as_it_is() -> None:
    result = Result(1)

    assert SUCCESS(result=result).state._result is result


def test_a_signal_takes_what_its_type_of_state_takes() -> None:
    assert RETRY("m", start_time=NOON, run_count=3).state == Retrying(start_time=NOON, run_count=3)
    assert PAUSE("m", start_time=NOON).state == Paused(start_time=NOON)
    assert LOOP("m", result=1, loop_count=2).state == Looped(result=1, loop_count=2)
    assert SKIP(cached_inputs={"x": Result(1)}).state.cached_inputs["x"].value == 1


def test_a_pause_without_a_time_has_none() -> None:
    assert PAUSE().state == Paused(start_time=None)


def test_what_its_type_of_state_does_not_take_is_refused() -> None:
    with pytest.raises(TypeError, match="start_time"):
        FAIL("m", start_time=NOON)


@EVERY_SIGNAL
def test_a_signal_is_an_exception_but_no_error(kind: type[Signal]) -> None:
    assert issubclass(kind, Exception)
    assert not issubclass(kind, StrongroomError)


def test_every_failure_can_be_caught_as_a_failure_and_a_skip_as_a_success() -> None:
    assert all(issubclass(kind, FAIL) for kind in FAILURES)
    assert issubclass(SKIP, SUCCESS)


@EVERY_SIGNAL
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_signal_survives_pickling_with_its_state(kind: type[Signal], protocol: int) -> None:
    signal = kind("why", result=[1], context={"a": 1})

    again = pickle.loads(pickle.dumps(signal, protocol))

    assert type(again) is kind
    assert str(again) == "why"
    assert again.state == signal.state
    assert (again.state.message, again.state.context) == ("why", {"a": 1})


def test_a_failure_that_is_its_own_result_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(FAIL("why")))

    assert type(again) is FAIL
    assert again.state.result is again


def test_a_state_whose_result_is_its_signal_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(TRIGGERFAIL("why").state))

    assert type(again) is TriggerFailed
    assert type(again.result) is TRIGGERFAIL
    assert again.result.state == again


def test_a_signal_that_a_user_made_up_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(REFUSED("why", result=1)))

    assert type(again) is REFUSED
    assert again.state == Failed(result=1)


def test_a_signal_raised_in_another_process_arrives_with_its_state() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pause = pool.submit(manual_only, {}).exception()
        failure = pool.submit(all_successful, {"edge": Failed()}).exception()

    assert isinstance(pause, PAUSE)
    assert pause.state == Paused()
    assert isinstance(failure, TRIGGERFAIL)
    assert failure.state.result is failure


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        *((kind(), signal) for signal, kind in STANDS_FOR.items()),
        (TimedOut(), FAIL),
        (Cached(), SUCCESS),
        (Mapped(), SUCCESS),
    ],
)
def test_a_state_becomes_the_nearest_signal_and_is_carried_as_it_is(state: State, kind: type[Signal]) -> None:
    signal = signal_from_state(state.replace(message="why"))

    assert type(signal) is kind
    assert signal.state == state
    assert type(signal.state) is type(state)
    assert str(signal) == "why"


def test_the_very_state_is_carried() -> None:
    state = Failed("why")

    assert signal_from_state(state).state is state


@pytest.mark.parametrize("state", [Pending(), Resume(), Running(), Submitted()])
def test_a_state_that_cannot_be_raised_is_refused(state: State) -> None:
    with pytest.raises(DefinitionError, match=f"no signal stands for the state {type(state).__name__}"):
        signal_from_state(state)


def test_only_states_that_end_or_delay_a_task_can_be_raised() -> None:
    raised = set()
    for name, kind in STATE_TYPES.items():
        try:
            signal_from_state(kind())
        except DefinitionError:
            continue
        raised.add(name)

    assert raised == {kind.__name__ for kind in STANDS_FOR.values()} | {"TimedOut", "Cached", "Mapped"}
