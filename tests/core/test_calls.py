# SPDX-License-Identifier: Apache-2.0
"""How tasks are called: async, with a timeout, in rounds, and again after a delay."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from strongroom import Flow, _call, context, signals, states, task
from strongroom._memory_backend import MemoryBackend
from strongroom._task_checks import check_delay
from strongroom.errors import DefinitionError, TaskTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom import State

EXECUTORS = pytest.mark.parametrize("executor", ["sync", "threads"])


def run(made: Callable[..., object], executor: str = "sync", **arguments: object) -> State:
    with Flow("f", result_handler="json") as f:
        one = made(**arguments)  # type: ignore[operator]
    state = f.run(backend=MemoryBackend(), executor=executor)
    found = state.result[one]  # type: ignore[index]
    assert isinstance(found, states.State)
    return found


@EXECUTORS
def test_a_coroutine_is_run_to_its_end_and_sees_the_context(executor: str) -> None:
    @task
    async def look(x: int) -> tuple[int, str]:
        await asyncio.sleep(0)
        return x, context.task_name

    assert run(look, executor, x=1).result == (1, "look")


@EXECUTORS
@pytest.mark.parametrize("timeout", [None, 60], ids=["no timeout", "a timeout"])
def test_a_function_that_passes_a_coroutine_on_is_run_to_the_end_of_that(executor: str, timeout: int | None) -> None:
    async def two(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    @task
    def passes_on(x: int) -> object:
        return two(x)

    assert run(passes_on.copy(timeout=timeout), executor, x=1).result == 2


def test_a_coroutine_runs_where_a_loop_is_running_already() -> None:
    @task
    async def one() -> int:
        return 1

    async def notebook() -> object:
        return run(one).result

    assert asyncio.run(notebook()) == 1


@EXECUTORS
def test_a_coroutine_that_takes_too_long_is_cancelled(executor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_call, "_CLEANING_UP", 60.0)
    cancelled = threading.Event()

    @task(timeout=0.01)
    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    state = run(endless, executor)

    assert type(state) is states.TimedOut
    assert cancelled.is_set()
    assert isinstance(state.result, TaskTimeoutError)
    assert not state.result.goes_on


@EXECUTORS
def test_a_thread_that_cannot_be_stopped_is_reported_as_such(executor: str) -> None:
    release = threading.Event()

    @task(timeout=timedelta(milliseconds=10))
    def endless() -> None:
        release.wait(60)

    state = run(endless, executor)
    release.set()

    assert type(state) is states.TimedOut
    assert "goes on in the background" in str(state.message)


@EXECUTORS
@pytest.mark.parametrize("how", ["holds up its loop", "does not let itself be cancelled"])
def test_a_coroutine_that_cannot_be_stopped_is_reported_as_such(executor: str, how: str) -> None:
    release = threading.Event()

    @task(timeout=0.01)
    async def endless() -> None:
        while not release.is_set():
            try:
                release.wait(60 if how == "holds up its loop" else 0)
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    state = run(endless, executor)
    release.set()

    assert type(state) is states.TimedOut
    assert "goes on in the background" in str(state.message)


def test_a_coroutine_that_comes_too_late_is_timed_out_although_it_returns() -> None:
    @task(timeout=0.01)
    async def late() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "in spite of that"
        return ""

    assert type(run(late)) is states.TimedOut


def test_what_is_quick_enough_is_not_disturbed() -> None:
    @task(timeout=60)
    def quick() -> str:
        return context.task_name

    assert run(quick).result == "quick"


@pytest.mark.parametrize("timeout", [None, 60])
def test_a_timeout_of_the_tasks_own_is_a_failure_like_any_other(timeout: int | None) -> None:
    @task(timeout=timeout)
    def asks() -> None:
        raise TimeoutError("the server did not answer")

    @task(timeout=timeout)
    async def asks_async() -> None:
        raise TimeoutError("the server did not answer")

    for each in (asks, asks_async):
        assert type(run(each)) is states.Failed


def test_a_looping_task_is_called_in_rounds() -> None:
    @task
    def count_to(limit: int) -> int:
        so_far = (context.loop_result or 0) + 1
        if so_far < limit:
            raise signals.LOOP("more", result=so_far)
        return so_far * 100 + context.loop_count

    backend = MemoryBackend()
    with Flow("f") as f:
        counted = count_to(3)

    state = f.run(backend=backend)

    assert state.result[counted].result == 303  # type: ignore[index]
    (run_id,) = backend.runs()
    types = [row.type for row in backend.read(run_id, task="count_to")]
    assert types == ["Running", "Looped", "Running", "Looped", "Running", "Success"]


def test_each_round_has_its_own_retries_and_goes_on_where_the_loop_was() -> None:
    seen: list[tuple[object, ...]] = []

    @task(max_retries=1)
    def rounds() -> str:
        seen.append((context.loop_count, context.loop_result, context.task_run_count))
        if context.task_run_count == 1:
            raise ValueError
        if context.loop_count < 3:
            raise signals.LOOP(result=context.loop_count * 10)
        return "done"

    assert run(rounds).result == "done"
    assert seen == [(1, None, 1), (1, None, 2), (2, 10, 1), (2, 10, 2), (3, 20, 1), (3, 20, 2)]


def test_a_round_that_gives_nothing_is_followed_by_one_that_gets_nothing() -> None:
    seen: list[object] = []

    @task(max_retries=1)
    def rounds() -> None:
        seen.append(context.loop_result)
        if context.loop_count == 2 and context.task_run_count == 1:
            raise ValueError
        if context.loop_count < 2:
            raise signals.LOOP

    assert run(rounds).is_successful()
    assert seen == [None, None, None]


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (2, [2, 2, 2]),
        (timedelta(seconds=2), [2, 2, 2]),
        ([1, timedelta(seconds=5)], [1, 5, 5]),
        (lambda retry: 10**retry, [10, 100, 1000]),
        (None, [0, 0, 0]),
    ],
)
def test_delays_before_retries(delay: object, expected: list[int]) -> None:
    delays = check_delay("t", delay)

    assert [delays.before(retry).total_seconds() for retry in (1, 2, 3)] == expected


@pytest.mark.parametrize("changed", [{}, {"retry_delay": 2}, {"retry_jitter": 1e12}], ids=str)
def test_jitter_makes_a_delay_longer_at_random_wherever_it_is_given(changed: dict[str, object]) -> None:
    delays: list[timedelta] = []
    begun = datetime.now(UTC)

    def look(_task: object, _old: State, new: State) -> State:
        if not isinstance(new, states.Retrying):
            return new
        delays.append(new.start_time - begun)
        return states.Failed("seen")

    @task(max_retries=1, retry_delay=1, retry_jitter=0.0 if "retry_jitter" in changed else 1e12, state_handlers=[look])
    def fail() -> None:
        raise OSError

    run(fail, task_args=changed)

    # Once in 100 million times chance gives less.
    assert delays[0] > timedelta(hours=2)


@pytest.mark.parametrize("delay", [[], [-1], "soon", True, float("nan")])
def test_wrong_delays_are_refused(delay: object) -> None:
    with pytest.raises(DefinitionError, match="retry_delay"):
        task(max_retries=1, retry_delay=delay)(lambda: None)


@pytest.mark.parametrize("timeout", [0, -1, "long", float("inf")])
def test_wrong_timeouts_are_refused(timeout: object) -> None:
    with pytest.raises(DefinitionError, match="timeout"):
        task(timeout=timeout)(lambda: None)


def test_a_delay_function_that_answers_with_nonsense_fails_the_task() -> None:
    @task(max_retries=1, retry_delay=lambda _: "soon")
    def fails() -> None:
        raise ValueError

    state = run(fails)

    assert state.is_failed()
    assert "delay" in str(state.message)


def test_a_waiting_retry_holds_no_worker(go_on: threading.Event) -> None:
    order = []

    @task(max_retries=1, retry_delay=0.2)
    def flaky() -> None:
        order.append("flaky")
        if context.task_run_count == 1:
            raise OSError

    @task
    def other() -> None:
        order.append("other")
        go_on.set()

    with Flow("f") as f:
        flaky()
        other()

    started = datetime.now(UTC)
    assert f.run(backend=MemoryBackend()).is_successful()

    assert order == ["flaky", "other", "flaky"]
    assert datetime.now(UTC) - started >= timedelta(seconds=0.2)
