# SPDX-License-Identifier: Apache-2.0
"""A run is stopped from elsewhere, ends as by ctrl-C, and can be gone on with."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from strongroom import Flow, _leases, cancel_run, task
from strongroom._leases import open_leases
from strongroom._memory_backend import MemoryBackend
from strongroom.errors import BackendError, NotSupportedError, UnknownRunError
from strongroom.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom import State

MANY = 2_000


@pytest.fixture(autouse=True)
def quick_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat in a tenth of a second: nobody shall wait for five, and a busy machine shall lose no lease."""
    monkeypatch.setitem(open_leases.__kwdefaults__, "seconds", 60.0)
    monkeypatch.setattr(_leases, "_BEATS", 600)


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


class Going:
    """A run in a thread of its own, which keeps its first result and then goes on and on until it is stopped."""

    def __init__(self, backend: MemoryBackend, executor: str) -> None:
        self.backend = backend
        self.executor = executor
        self.is_going = threading.Event()
        self.calls: list[int] = []
        self.goes_on = True
        self.may_end = threading.Event()
        self.may_end.set()

        @task(persist_result=True, result_handler="json")
        def first() -> int:
            self.calls.append(0)
            return 1

        @task
        def wait(_after: int, number: int) -> int:
            self.calls.append(number)
            self.is_going.set()
            if self.goes_on:
                # All of it is a minute, of which somebody who is in time needs a tenth of a second.
                time.sleep(0.03)
                assert self.may_end.wait(60)
            return number

        with Flow("goes on") as self.flow:
            after = first()
            for number in range(1, MANY):
                after = wait(after, number)

    def run(self) -> State:
        return self.flow.run(backend=self.backend, executor=self.executor)


@pytest.fixture(params=["sync", "threads"])
def going(request: pytest.FixtureRequest, backend: MemoryBackend) -> Iterator[tuple[Going, Future[State]]]:
    going = Going(backend, request.param)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(going.run)
        going.is_going.wait(60)
        yield going, future


def test_a_run_that_is_cancelled_ends_in_cancelled_states_and_can_be_resumed(
    going: tuple[Going, Future[State]], backend: MemoryBackend
) -> None:
    goer, future = going
    (run_id,) = backend.runs()

    cancel_run(run_id, backend=backend)

    with pytest.raises(KeyboardInterrupt, match="from another process"):
        future.result(60)
    ended = [document for document in Project.open().documents(backend, run_id) if not document.task]
    assert [document.type for document in ended if document.kind == "state"] == ["Running", "Cancelling", "Cancelled"]
    assert (ended[-1].type, ended[-1].message) == ("Cancelled", "cancelled from another process")
    assert len(goer.calls) < MANY
    goer.goes_on = False
    assert goer.flow.resume(run_id, backend=backend).is_successful()
    assert goer.calls.count(0) == 1


def test_a_run_that_nobody_runs_is_not_cancelled(backend: MemoryBackend) -> None:
    @task
    def one() -> int:
        return 1

    with Flow("flow") as flow:
        one()
    flow.run(backend=backend)
    (run_id,) = backend.runs()

    with pytest.raises(BackendError, match="nobody runs it; its last state is Success"):
        cancel_run(run_id, backend=backend)
    with pytest.raises(UnknownRunError):
        cancel_run("f" * 32, backend=backend)


def test_whoever_does_not_want_to_wait_is_told_that_the_run_will_stop(
    going: tuple[Going, Future[State]], backend: MemoryBackend
) -> None:
    goer, future = going
    (run_id,) = backend.runs()

    goer.may_end.clear()
    with pytest.raises(BackendError, match="as soon as the tasks that it runs have ended"):
        cancel_run(run_id, backend=backend, seconds=0)
    cancel_run(run_id, backend=backend, told=goer.may_end.set)

    with pytest.raises(KeyboardInterrupt):
        future.result(60)


def test_without_leases_nobody_can_be_told(backend: MemoryBackend) -> None:
    class Plain:
        def __init__(self) -> None:
            self.read = backend.read

    with pytest.raises(NotSupportedError, match="gives no leases"):
        cancel_run("0" * 32, backend=Plain())  # type: ignore[arg-type]  # what it has of a backend is enough
