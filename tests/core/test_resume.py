# SPDX-License-Identifier: Apache-2.0
"""Starting in the middle, and going on with a run that stopped."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, tzinfo

import pytest

from strongroom import Flow, Parameter, _running, context, signals, states, task, triggers, unmapped
from strongroom._memory_backend import MemoryBackend
from strongroom.errors import NotResumableError, RecordedError, UnknownRunError

CALLS: list[str] = []


@pytest.fixture(autouse=True)
def calls() -> list[str]:
    CALLS.clear()
    return CALLS


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@task(persist_result=True, result_handler="json")
def kept(x: int) -> int:
    CALLS.append(f"kept {x}")
    return x + 1


@task
def passing(x: int) -> int:
    CALLS.append(f"passing {x}")
    return x + 1


@task
def add(x: int, y: int) -> int:
    CALLS.append(f"add {x} {y}")
    return x + y


@task(trigger=triggers.manual_only)
def approved(x: int) -> int:
    CALLS.append("approved")
    assert context.resume
    return x * 10


def interrupt(times: list[bool]) -> None:
    """Interrupt the run as often as there is something in *times*."""
    if times:
        times.pop()
        raise KeyboardInterrupt


def _last_run(backend: MemoryBackend) -> str:
    return backend.runs()[0]


def test_a_run_starts_where_it_is_told_to() -> None:
    with Flow("f") as f:
        first = passing(1)
        second = passing(first)
        third = passing(second)
        other = passing(7)

    state = f.run(task_states={first: states.Success(result=5)}, start_tasks=[second], backend=MemoryBackend())

    assert CALLS == ["passing 5", "passing 6"]
    assert state.result[third].result == 7  # type: ignore[index]
    assert state.result[other].is_pending()  # type: ignore[index]


def test_a_start_task_asks_nobody_upstream() -> None:
    with Flow("f") as f:
        waiting = passing(1, upstream_tasks=[passing(2)])

    state = f.run(start_tasks=[waiting], backend=MemoryBackend())

    assert state.result[waiting].is_successful()  # type: ignore[index]
    assert CALLS == ["passing 1"]


def test_a_start_task_does_not_ask_whether_something_was_skipped() -> None:
    with Flow("f") as f:
        skipped = passing(1)
        start = passing(2, upstream_tasks=[skipped])

    state = f.run(task_states={skipped: states.Skipped()}, start_tasks=[start], backend=MemoryBackend())

    assert state.result[start].is_successful()  # type: ignore[index]


def test_a_finished_state_that_is_given_is_not_run_again() -> None:
    with Flow("f") as f:
        first = passing(1)
        second = passing(first)

    state = f.run(task_states={first: states.Success(result=41)}, backend=MemoryBackend())

    assert state.result[second].result == 42  # type: ignore[index]
    assert CALLS == ["passing 41"]


def test_a_paused_run_goes_on_when_it_is_resumed(backend: MemoryBackend) -> None:
    with Flow("f") as f:
        x = Parameter("x")
        last = passing(approved(kept(x)))

    assert f.run(x=1, backend=backend).is_running()
    state = f.resume(_last_run(backend), backend=backend)

    assert state.is_successful()
    assert state.result[last].result == 21  # type: ignore[index]
    # What was kept is not run again.
    assert CALLS == ["kept 1", "approved", "passing 20"]
    assert len(backend.runs()) == 1


def test_a_loop_goes_on_with_the_round_that_it_had_come_to(backend: MemoryBackend) -> None:
    @task(max_retries=1)
    def rounds() -> str:
        CALLS.append(f"{context.loop_count} after {context.loop_result}")
        if context.loop_count < 3:
            raise signals.LOOP(result=context.loop_count * 10)
        if not context.resume:
            raise signals.PAUSE
        return "done"

    with Flow("f", result_handler="json") as f:
        last = rounds()

    f.run(backend=backend)
    state = f.resume(_last_run(backend), backend=backend)

    assert state.result[last].result == "done"  # type: ignore[index]
    assert CALLS == ["1 after None", "2 after 10", "3 after 20", "3 after 20"]


def test_a_pause_with_a_time_lasts_until_then_in_a_resumed_run_too(backend: MemoryBackend) -> None:
    until, stop = datetime.now(UTC) + timedelta(milliseconds=300), [True]

    @task
    def pauses() -> datetime:
        if not context.resume:
            raise signals.PAUSE(start_time=until)
        return datetime.now(UTC)

    with Flow("f") as f:
        last = pauses()
        task(lambda: interrupt(stop), name="stops")()

    with pytest.raises(KeyboardInterrupt):
        f.run(backend=backend)
    ended = f.resume(_last_run(backend), backend=backend).result[last].result  # type: ignore[index]

    assert ended >= until


def test_a_retry_that_was_called_off_goes_on_as_that_retry_with_the_inputs_that_were_kept(
    backend: MemoryBackend, go_on: threading.Event
) -> None:
    stop = [True]

    @task(max_retries=1, retry_delay=0.2)
    def flaky(x: int) -> int:
        CALLS.append(f"flaky {x} {context.task_run_count}")
        if context.task_run_count == 1:
            raise OSError
        return x

    with Flow("f", result_handler="json") as f:
        last = flaky(passing(1))
        task(lambda: interrupt(stop), name="stops")()

    with pytest.raises(KeyboardInterrupt):
        f.run(backend=backend)
    go_on.set()
    state = f.resume(_last_run(backend), backend=backend)

    assert state.result[last].result == 2  # type: ignore[index]
    assert CALLS == ["passing 1", "flaky 2 1", "flaky 2 2"]


def test_what_was_not_kept_runs_again_only_if_somebody_needs_it(backend: MemoryBackend) -> None:
    with Flow("f", result_handler="json") as f:
        first = passing(1)
        needed = passing(first)
        unneeded = passing(100)
        add(approved(needed, upstream_tasks=[unneeded]), needed)

    f.run(backend=backend)
    CALLS.clear()
    assert f.resume(_last_run(backend), backend=backend).is_successful()

    assert CALLS == ["passing 1", "passing 2", "approved", "add 30 3"]


def test_a_paused_task_has_its_inputs_and_nothing_runs_again_for_them(backend: MemoryBackend) -> None:
    with Flow("f", result_handler="json") as f:
        last = approved(passing(passing(1)))

    f.run(backend=backend)
    CALLS.clear()
    state = f.resume(_last_run(backend), backend=backend)

    assert state.result[last].result == 30  # type: ignore[index]
    assert CALLS == ["approved"]


def test_a_run_that_was_stopped_goes_on(backend: MemoryBackend) -> None:
    stop = [True]

    @task
    def stops(x: int) -> int:
        if stop.pop() if stop else False:
            raise KeyboardInterrupt
        return x

    with Flow("f") as f:
        last = stops(kept(1))

    with pytest.raises(KeyboardInterrupt):
        f.run(backend=backend)
    state = f.resume(_last_run(backend), backend=backend)

    assert state.result[last].result == 2  # type: ignore[index]
    assert CALLS == ["kept 1"]


def test_failures_stay_what_they_were(backend: MemoryBackend) -> None:
    @task
    def fails() -> None:
        raise ValueError("as it was")

    with Flow("f") as f:
        failed = fails()
        cleaned = passing(1, task_args={"trigger": triggers.any_failed}, upstream_tasks=[failed])
        f.set_reference_tasks([approved(1), cleaned])

    f.run(backend=backend)
    state = f.resume(_last_run(backend), backend=backend)

    error = state.result[failed].result  # type: ignore[index]
    assert isinstance(error, RecordedError)
    assert (error.kind, str(error)) == ("builtins.ValueError", "as it was")
    assert state.is_successful()
    assert CALLS == ["passing 1", "approved"]


def test_children_that_were_kept_do_not_run_again(backend: MemoryBackend) -> None:
    stop = [True]

    @task(persist_result=True, result_handler="json")
    def child(x: int) -> int:
        CALLS.append(f"child {x}")
        if x == 2 and stop:
            stop.clear()
            raise KeyboardInterrupt
        return x * 10

    with Flow("f") as f:
        mapped = child.map([0, 1, 2, 3])
        passing.map(mapped, task_args={"name": "after"})

    with pytest.raises(KeyboardInterrupt):
        f.run(backend=backend)
    before = [call for call in CALLS if call.startswith("child")]
    CALLS.clear()
    state = f.resume(_last_run(backend), backend=backend)

    assert state.result[mapped].result == [0, 10, 20, 30]  # type: ignore[index]
    again = {call for call in CALLS if call.startswith("child")}
    assert again == {"child 0", "child 1", "child 2", "child 3"} - set(before) | {"child 2"}


def test_a_mapped_task_that_was_kept_as_a_whole_does_not_run_again(backend: MemoryBackend) -> None:
    with Flow("f") as f:
        mapped = kept.map([1, 2])
        approved(0, upstream_tasks=[mapped])
        last = passing.map(mapped, task_args={"trigger": triggers.manual_only}, upstream_tasks=[unmapped(mapped)])

    f.run(backend=backend)
    CALLS.clear()
    state = f.resume(_last_run(backend), backend=backend)

    assert state.result[mapped].result == [2, 3]  # type: ignore[index]
    assert state.result[last].result == [3, 4]  # type: ignore[index]
    assert not [call for call in CALLS if call.startswith("kept")]


def test_what_cannot_be_resumed_is_said(backend: MemoryBackend) -> None:
    with Flow("f") as f:
        passing(1)
    with Flow("g") as g:
        approved(1)
    with Flow("g") as changed:
        approved(1)
        passing(1)
    f.run(backend=backend)
    ended = _last_run(backend)
    g.run(backend=backend)
    paused = _last_run(backend)

    with pytest.raises(UnknownRunError):
        f.resume("0" * 32, backend=backend)
    with pytest.raises(NotResumableError, match="has ended, in the state Success"):
        f.resume(ended, backend=backend)
    with pytest.raises(NotResumableError, match="of the flow 'g', not of 'f'"):
        f.resume(paused, backend=backend)
    with pytest.raises(NotResumableError, match="changed since: passing"):
        changed.resume(paused, backend=backend)


class NextWeek(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # an ordinary one is enough
        return datetime.now(tz) + timedelta(days=7)


def test_a_resumed_run_has_the_date_on_which_it_began(backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    @task(trigger=triggers.manual_only)
    def dated(before: datetime) -> tuple[datetime, datetime, str]:
        return before, context.date, context.today

    with Flow("f", result_handler="json") as f:
        last = dated(task(lambda: str(context.date), name="before")())

    f.run(backend=backend)
    monkeypatch.setattr(_running, "datetime", NextWeek)
    before, after, today = f.resume(_last_run(backend), backend=backend).result[last].result  # type: ignore[index]

    assert abs(datetime.fromisoformat(before) - after) < timedelta(hours=1)
    assert today == after.date().isoformat()
    assert after < datetime.now(UTC)


def test_resuming_goes_on_counting(backend: MemoryBackend) -> None:
    with Flow("f") as f:
        approved(1)

    f.run(backend=backend)
    f.resume(_last_run(backend), backend=backend)

    rows = list(backend.read(_last_run(backend), task="approved"))
    assert [(row.sequence, row.type) for row in rows] == [(0, "Paused"), (1, "Running"), (2, "Success")]
    flow_rows = [row.type for row in backend.read(_last_run(backend), task="")]
    assert flow_rows == ["", "Running", "Running", "Running", "Success"]
