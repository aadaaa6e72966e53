# SPDX-License-Identifier: Apache-2.0
"""A ctrl-C comes between two steps of a run, and not into the middle of one."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from strongroom import Flow, ThreadExecutor, task
from strongroom._interrupts import Comes, Interrupts
from strongroom._memory_backend import MemoryBackend
from strongroom._outbox import Straight
from strongroom.abc import StoppedAtOnce
from strongroom.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from strongroom import Envelope
    from strongroom_processes._worker import Worker


MOMENTS = 1000 if os.environ.get("STRONGROOM_TEST_LONG") else 6
LEAST, LONG_ENOUGH = 6, 240.0


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def engine(*steps: Callable[[], object]) -> None:
    """What is between the places that say when an interrupt comes."""
    for step in steps:
        step()


def task_code(*steps: Callable[[], object]) -> None:
    engine(*steps)


def record_code(*steps: Callable[[], object]) -> None:
    engine(*steps)


def interrupts() -> Interrupts:
    return Interrupts({task_code.__code__: Comes.NOW, record_code.__code__: Comes.AFTER_IT})


def test_it_comes_at_once_into_a_task() -> None:
    seen: list[str] = []

    with interrupts(), pytest.raises(KeyboardInterrupt):
        task_code(interrupt, lambda: seen.append("too late"))

    assert seen == []


def test_it_waits_until_somebody_is_ready_for_it() -> None:
    seen: list[str] = []

    with interrupts() as each, pytest.raises(KeyboardInterrupt) as raised:
        engine(interrupt, lambda: seen.append("finished"), each.check, lambda: seen.append("too late"))

    assert seen == ["finished"]
    assert raised.type is KeyboardInterrupt


def test_a_second_one_comes_at_once() -> None:
    seen: list[str] = []

    with interrupts(), pytest.raises(StoppedAtOnce):
        engine(interrupt, lambda: seen.append("goes on"), interrupt, lambda: seen.append("too late"))

    assert seen == ["goes on"]


def test_not_even_a_second_one_comes_into_what_is_written_down() -> None:
    seen: list[str] = []

    with interrupts() as each, pytest.raises(StoppedAtOnce):
        engine(lambda: record_code(interrupt, interrupt, lambda: seen.append("written")), each.check)

    assert seen == ["written"]


def test_a_second_one_is_told_from_a_first_that_has_come() -> None:
    with interrupts():
        with pytest.raises(KeyboardInterrupt) as first:
            task_code(interrupt)
        with pytest.raises(StoppedAtOnce):
            engine(interrupt)

    assert first.type is KeyboardInterrupt


def test_one_that_comes_too_late_for_the_run_is_the_programs() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts():
        engine(interrupt)


def test_a_run_inside_of_a_task_hands_on_what_came() -> None:
    with interrupts(), pytest.raises(KeyboardInterrupt), interrupts() as inner:
        engine(interrupt, inner.check)


def test_whoever_was_to_hear_of_it_before_hears_of_it() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with interrupts() as each:
            engine(interrupt)
            assert heard == []
            each.check()
            assert heard == [signal.SIGINT]
        interrupt()
        assert len(heard) == 2
    finally:
        signal.signal(signal.SIGINT, before)


def test_who_waits_is_told_what_for_and_how_not_to_wait(caplog: pytest.LogCaptureFixture) -> None:
    each = interrupts()
    each.who = lambda: "the task 'slow'"

    with each, pytest.raises(KeyboardInterrupt):
        engine(interrupt, lambda: until(lambda: caplog.messages), each.check)

    assert caplog.messages == ["ctrl-C: waiting for the end of the task 'slow'; press it again to stop at once"]


def test_what_has_not_begun_is_not_said_to_be_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    class Elsewhere(ThreadExecutor):
        crosses_processes = True
        workers = 1

    @task(name="waits")
    def wait(_number: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        until(lambda: caplog.messages)

    with Flow("f") as flow:
        wait.map([1, 2, 3])
    with pytest.raises(KeyboardInterrupt):
        flow.run(backend=MemoryBackend(), executor=Elsewhere(1))

    assert caplog.messages == ["ctrl-C: waiting for the end of waits[0]; press it again to stop at once"]


def test_what_a_task_puts_in_its_place_stays() -> None:
    before = signal.getsignal(signal.SIGINT)

    with Interrupts():
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_that_nobody_was_to_hear_of_stays_unheard() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts():
            interrupt()
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_lets_nothing_through() -> None:
    def check_elsewhere() -> None:
        thread = threading.Thread(target=each.check)
        thread.start()
        thread.join()
        assert each.is_pending

    with interrupts() as each, pytest.raises(KeyboardInterrupt):
        engine(interrupt, check_elsewhere, each.check)


@pytest.mark.parametrize("moment", range(7))
def test_an_interrupt_while_a_document_is_sent_leaves_no_gap(moment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    put, left = Straight.put, [moment]

    def interrupting(self: Straight, envelope: Envelope) -> None:
        put(self, envelope)
        left[0] -= 1
        if left[0] == -1:
            interrupt()

    monkeypatch.setattr(Straight, "put", interrupting)
    backend = MemoryBackend()
    with Flow("f", result_handler="json", persist_result=True) as flow:
        last = task(lambda x: x + 1, name="second")(task(lambda: 1, name="first")())

    with pytest.raises(KeyboardInterrupt):
        flow.run(backend=backend)
    (run_id,) = backend.runs()
    rows = list(backend.read(run_id))
    if rows[-1].type == "Success":
        return  # it came too late to stop anything

    assert rows[-1].type == "Cancelled"
    for place in {(row.task, row.map_index) for row in rows}:
        assert _sequences(rows, place) == list(range(len(_sequences(rows, place))))
    assert flow.resume(run_id, backend=backend).result[last].result == 2  # type: ignore[index]


def _sequences(rows: Sequence[Envelope], place: tuple[str, int]) -> list[int]:
    return [row.sequence for row in rows if (row.task, row.map_index) == place]


@pytest.mark.parametrize("executor", ["sync", "threads"])
@pytest.mark.parametrize(
    ("file", "event", "functions", "least"),
    [
        ("_flow_runner.py", "line", (), 100),
        # Python's own locks have been taken here, and nobody will give them back if an exception comes.
        ("threading.py", "return", ("__enter__", "acquire", "_acquire_restore"), 2),
    ],
    ids=["at a line of the engine", "where a lock was taken"],
)
def test_wherever_it_comes_the_run_has_an_end(
    executor: str, file: str, event: str, functions: tuple[str, ...], least: int
) -> None:
    with Flow("f") as flow:
        task(lambda x: x, name="second")(task(lambda: 1, name="first")())

    def record(moment: int) -> tuple[list[str], bool]:
        """What is recorded of a run that is interrupted at that moment, and whether there is one."""
        backend, injected = MemoryBackend(), Injected(moment, file, event, functions)
        with contextlib.suppress(KeyboardInterrupt), injected:
            flow.run(backend=backend, executor=executor)
        rows = [row for run_id in backend.runs() for row in backend.read(run_id)]
        if executor == "sync":
            for place in {(row.task, row.map_index) for row in rows}:
                assert _sequences(rows, place) == list(range(len(_sequences(rows, place))))
        return [row.type for row in rows if not row.task], injected.has_come

    moment, ends = 0, set()
    while (recorded := record(moment))[1]:
        ends.add(recorded[0][-1] if recorded[0] else "nothing")
        moment += 1
    assert moment >= least
    # Before the first document, between two of them, after the last.
    assert ends <= {"nothing", "Cancelled", "Success"}
    # Without threads no lock is taken between two of them.
    assert "Cancelled" in ends or (executor == "sync" and functions)


@pytest.fixture
def kept_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the workers of a run serve the next one, unless they were killed: to start them takes longer than a run."""
    executors = pytest.importorskip("strongroom_processes.executor")
    kept: list[Worker] = []

    class Kept(executors.Worker):  # type: ignore[name-defined,misc]  # of a plugin
        def __init__(self) -> None:
            self.was_killed = False
            super().__init__()

        def kill(self) -> None:
            self.was_killed = True
            super().kill()

        def close(self) -> None:
            if self.was_killed:
                super().close()
            else:
                kept.append(self)

        def join(self) -> None:
            if self not in kept:
                super().join()

    real = executors.Worker
    monkeypatch.setattr(executors, "Worker", lambda: kept.pop() if kept else Kept())
    yield
    for worker in kept:
        real.close(worker)
        real.join(worker)


@pytest.mark.long
@pytest.mark.parametrize(
    ("executor", "file"), [("processes", "_flow_runner.py"), ("threads", "_outbox.py"), ("sync", "_running.py")]
)
def test_wherever_it_comes_the_record_in_a_database_is_whole_and_the_run_can_be_gone_on_with(
    executor: str, file: str, kept_workers: None
) -> None:
    pytest.importorskip("strongroom_sql")
    with Flow("f", result_handler="json", persist_result=True) as flow:
        last = task(lambda x: x + 1, name="second")(task(lambda: 1, name="first")())
    uninterrupted = Injected(sys.maxsize, file, "line", ())
    with uninterrupted:
        flow.run(executor=executor)
    with Project.open().open_backend() as backend:
        known = set(backend.runs())
        # An odd number of steps, so that the same lines are not met again and again.
        moments = list(range(0, uninterrupted.count, max(1, uninterrupted.count // MOMENTS) | 1))
        # On a slow machine fewer moments have to do, from the whole of the run.
        random.Random(1).shuffle(moments)
        deadline = time.monotonic() + LONG_ENOUGH
        for number, moment in enumerate(moments):
            if number >= LEAST and time.monotonic() > deadline:
                break
            with contextlib.suppress(KeyboardInterrupt), Injected(moment, file, "line", ()):
                flow.run(executor=executor)
            for run_id in set(backend.runs()) - known:
                known.add(run_id)
                rows = list(backend.read(run_id))
                for place in {(row.task, row.map_index) for row in rows}:
                    assert _sequences(rows, place) == list(range(len(_sequences(rows, place))))
                if (end := [row.type for row in rows if not row.task][-1]) != "Success":
                    assert end == "Cancelled"
                    assert flow.resume(run_id, executor=executor).result[last].result == 2  # type: ignore[index]


class Injected:
    """Presses ctrl-C when the main thread comes to that moment in a file."""

    def __init__(self, moment: int, file: str, event: str, functions: tuple[str, ...]) -> None:
        self.has_come = False
        self.count = 0
        self._moment = moment
        self._file = file
        self._event = event
        self._functions = functions

    def __enter__(self) -> None:
        self._before = sys.gettrace()
        sys.settrace(self._trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _arg: object) -> object:
        name = frame.f_code.co_name
        if not frame.f_code.co_filename.endswith(self._file) or name not in (self._functions or {name}):
            return None
        if event == self._event and name != "__init__" and not self.has_come:
            self.count += 1
            if self.count > self._moment:
                self.has_come = True
                interrupt()
        return self._trace
