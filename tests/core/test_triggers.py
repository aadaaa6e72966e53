# SPDX-License-Identifier: Apache-2.0
"""Do triggers let a task run in exactly the cases in which they should?"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import triggers
from strongroom.context import context
from strongroom.errors import DefinitionError
from strongroom.signals import PAUSE, SKIP, TRIGGERFAIL
from strongroom.states import (
    Cached,
    Cancelled,
    Failed,
    Mapped,
    Paused,
    Running,
    Skipped,
    State,
    Success,
    TimedOut,
    TriggerFailed,
    ValidationFailed,
)
from strongroom.triggers import (
    all_failed,
    all_finished,
    all_successful,
    always_run,
    any_failed,
    any_successful,
    manual_only,
    not_all_skipped,
    some_failed,
    some_successful,
)

Trigger = Callable[[Mapping[object, State]], bool]

GOOD = [Success(), Skipped(), Cached(), Mapped()]
BAD = [Failed(), TimedOut(), TriggerFailed(), ValidationFailed()]
NEITHER = Cancelled()

SIMPLE: list[Trigger] = [all_successful, all_failed, any_successful, any_failed, all_finished, not_all_skipped]
BOUNDED: list[Trigger] = [some_successful(at_least=1), some_failed(at_least=1, at_most=0.5), some_failed(at_most=0)]


def upstream(*states: State) -> dict[object, State]:
    return {number: state for number, state in enumerate(states)}  # noqa: C416  # keys stand in for edges


def refused(trigger: Trigger, *states: State) -> str:
    """The message with which *trigger* fails."""
    with pytest.raises(TRIGGERFAIL) as caught:
        trigger(upstream(*states))
    assert type(caught.value.state) is TriggerFailed
    return str(caught.value)


@pytest.mark.parametrize("trigger", [*SIMPLE, *BOUNDED])
def test_a_task_without_upstream_tasks_passes(trigger: Trigger) -> None:
    assert trigger({}) is True


def test_all_successful_passes_if_every_upstream_task_succeeded() -> None:
    assert all_successful(upstream(*GOOD)) is True


@pytest.mark.parametrize("state", [*BAD, NEITHER])
def test_all_successful_fails_for_a_single_other_state(state: State) -> None:
    assert refused(all_successful, *GOOD, state) == 'trigger "all_successful": 1 of 5 upstream tasks did not succeed'


def test_all_failed_passes_if_every_upstream_task_failed_be_it_by_its_trigger() -> None:
    assert all_failed(upstream(*BAD)) is True


@pytest.mark.parametrize("state", [*GOOD, NEITHER])
def test_all_failed_fails_for_a_single_other_state(state: State) -> None:
    assert refused(all_failed, *BAD, state) == 'trigger "all_failed": 1 of 5 upstream tasks did not fail'


@pytest.mark.parametrize("state", GOOD)
def test_any_successful_passes_with_one_success(state: State) -> None:
    assert any_successful(upstream(*BAD, state, NEITHER)) is True


def test_any_successful_fails_without_one() -> None:
    assert refused(any_successful, *BAD, NEITHER) == 'trigger "any_successful": 0 of 5 upstream tasks succeeded'


@pytest.mark.parametrize("state", BAD)
def test_any_failed_passes_with_one_failure(state: State) -> None:
    assert any_failed(upstream(*GOOD, state, NEITHER)) is True


def test_any_failed_fails_without_one() -> None:
    assert refused(any_failed, *GOOD, NEITHER) == 'trigger "any_failed": 0 of 5 upstream tasks failed'


def test_all_finished_passes_however_the_upstream_tasks_ended() -> None:
    assert all_finished(upstream(*GOOD, *BAD, NEITHER)) is True


@pytest.mark.parametrize("state", [Running(), Paused()])
def test_all_finished_fails_if_it_is_asked_too_early(state: State) -> None:
    assert refused(all_finished, Success(), state) == 'trigger "all_finished": 1 of 2 upstream tasks are not finished'


def test_always_run_is_all_finished() -> None:
    assert always_run is all_finished


@pytest.mark.parametrize("states", [[], GOOD, BAD])
def test_manual_only_pauses_until_somebody_resumes_the_task(states: list[State]) -> None:
    with pytest.raises(PAUSE, match="until somebody resumes it") as caught:
        manual_only(upstream(*states))

    assert caught.value.state == Paused(start_time=None)


def test_manual_only_passes_in_a_resumption_whatever_the_upstream_tasks_did() -> None:
    with context.use({"resume": True}):
        assert manual_only(upstream(*BAD)) is True


@pytest.mark.parametrize("resume", [False, None, "no"])
def test_manual_only_takes_nothing_but_true_for_a_resumption(resume: object) -> None:
    with context.use({"resume": resume}), pytest.raises(PAUSE):
        manual_only({})


def test_not_all_skipped_passes_if_one_succeeded_without_being_skipped() -> None:
    assert not_all_skipped(upstream(Skipped(), Success(), Skipped())) is True


def test_not_all_skipped_skips_if_all_were_skipped() -> None:
    with pytest.raises(SKIP, match="all 2 upstream tasks were skipped") as caught:
        not_all_skipped(upstream(Skipped(), Skipped()))

    assert type(caught.value.state) is Skipped


@pytest.mark.parametrize("state", [*BAD, NEITHER])
def test_not_all_skipped_fails_if_one_did_not_succeed(state: State) -> None:
    message = refused(not_all_skipped, Skipped(), state)

    assert message == 'trigger "not_all_skipped": 1 of 2 upstream tasks did not succeed'


@pytest.mark.parametrize(
    ("at_least", "at_most", "passing"),
    [
        (None, None, {0, 1, 2, 3, 4}),
        (0, None, {0, 1, 2, 3, 4}),
        (1, None, {1, 2, 3, 4}),
        (1.0, None, {1, 2, 3, 4}),
        (3, None, {3, 4}),
        (5, None, set()),
        (0.5, None, {2, 3, 4}),
        (0.51, None, {3, 4}),
        (0.99, None, {4}),
        (None, 0, {0}),
        (None, 0.0, {0}),
        (None, 1, {0, 1}),
        (None, 0.5, {0, 1, 2}),
        (None, 0.49, {0, 1}),
        (2, 2, {2}),
        (1, 3, {1, 2, 3}),
        (0.25, 0.75, {1, 2, 3}),
        (1, 0.5, {1, 2}),
        (0.5, 3, {2, 3}),
        (0.9, 1, set()),
    ],
)
def test_bounds_below_one_are_fractions_and_others_are_numbers(
    at_least: float | None, at_most: float | None, passing: set[int]
) -> None:
    successful, failed = some_successful(at_least, at_most), some_failed(at_least=at_least, at_most=at_most)

    for number in range(5):
        right, wrong = upstream(*GOOD[:number], *BAD[number:]), upstream(*BAD[:number], *GOOD[number:])
        if number in passing:
            assert successful(right) is True
            assert failed(wrong) is True
        else:
            refused(successful, *right.values())
            refused(failed, *wrong.values())


def test_some_successful_and_some_failed_do_not_count_what_is_neither() -> None:
    refused(some_successful(at_least=1), NEITHER)
    refused(some_failed(at_least=1), NEITHER)


@given(st.integers(1, 300), st.data())
def test_a_fraction_is_met_by_exactly_that_many(total: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, total - 1))
    states = upstream(*[Success()] * number, *[Failed()] * (total - number))

    # 7 of 100 meet 0.07, although 0.07 * 100 is more than 7.
    assert some_successful(at_least=number / total, at_most=number / total)(states) is True


@given(st.integers(1, 50), st.data())
def test_a_fraction_of_two_digits_bounds_as_it_would_on_paper(total: int, data: st.DataObject) -> None:
    percent, number = data.draw(st.integers(0, 99)), data.draw(st.integers(0, total))
    states = upstream(*[Success()] * number, *[Failed()] * (total - number))

    if Fraction(number, total) >= Fraction(percent, 100):
        assert some_successful(at_least=percent / 100)(states) is True
    else:
        refused(some_successful(at_least=percent / 100), *states.values())


def test_the_message_tells_numbers_and_bounds() -> None:
    message = refused(some_successful(at_least=0.5, at_most=3), Success(), Failed(), Failed())

    assert message == 'trigger "some_successful": 1 of 3 upstream tasks successful, but at_least=0.5, at_most=3'


@pytest.mark.parametrize("trigger", [*SIMPLE, some_successful(at_least=2), some_failed(at_most=0)])
def test_a_message_holds_no_data_of_the_upstream_tasks(trigger: Trigger) -> None:
    states = [Success("secret", "secret"), Failed("secret", "secret"), Running("secret", "secret")]

    if trigger is any_successful:
        states.pop(0)
    if trigger is any_failed:
        states.pop(1)

    assert "secret" not in refused(trigger, *states)


@pytest.mark.parametrize("make", [some_successful, some_failed])
@pytest.mark.parametrize("bound", [-1, -0.5, 1.5, 2.25, True, False, float("nan"), float("inf"), "1", [1]])
@pytest.mark.parametrize("name", ["at_least", "at_most"])
def test_a_bound_that_means_nothing_is_refused_at_once(make: Callable[..., Trigger], name: str, bound: object) -> None:
    with pytest.raises(DefinitionError, match=f"{make.__name__}: a bound is a fraction below 1 or a whole number"):
        make(**{name: bound})


@pytest.mark.parametrize("make", [some_successful, some_failed])
@pytest.mark.parametrize(("at_least", "at_most"), [(2, 1), (0.5, 0.25), (1, 0), (0.5, 0)])
def test_bounds_that_exclude_each_other_are_refused_at_once(
    make: Callable[..., Trigger], at_least: float, at_most: float
) -> None:
    with pytest.raises(DefinitionError, match="nothing could pass"):
        make(at_least, at_most)


def test_a_whole_number_of_any_size_is_a_bound() -> None:
    refused(some_successful(at_least=10**400), Success())


@pytest.mark.parametrize("trigger", [*SIMPLE, manual_only, *BOUNDED])
def test_triggers_survive_pickling(trigger: Trigger) -> None:
    assert pickle.loads(pickle.dumps(trigger)) == trigger


def test_an_unpickled_trigger_still_counts() -> None:
    again = pickle.loads(pickle.dumps(some_failed(at_least=2, at_most=0.5)))

    assert again(upstream(*BAD[:2], *GOOD[:2])) is True
    refused(again, *BAD[:1], *GOOD[:3])


def test_every_public_trigger_says_what_it_does() -> None:
    assert all(inspect.getdoc(getattr(triggers, name)) for name in triggers.__all__)
