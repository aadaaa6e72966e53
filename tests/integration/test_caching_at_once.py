# SPDX-License-Identifier: Apache-2.0
"""How often is a result computed that several ask for at the same time?"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from strongroom import Backend, Envelope, Flow, State, ThreadExecutor
from strongroom._leases import Held
from strongroom._memory_backend import MemoryBackend
from strongroom.abc import Lease
from strongroom.caching import INPUTS, TASK_SOURCE, CachePolicy
from strongroom.errors import BackendUnavailableError
from strongroom.project import Project

from .conftest import a_task, records_under, states_of

MANY = 8


class Meeting:
    """Many runs of one task that all look for its result before one of them has computed it."""

    def __init__(self, policy: CachePolicy, parties: int = MANY) -> None:
        self.computed = 0
        self._policy = policy
        self._all_there = threading.Barrier(parties)
        self._lock = threading.Lock()

    def run(self, backend: Backend | None = None) -> State:
        def compute(x: int) -> int:
            with self._lock:
                self.computed += 1
            return x

        def key(*_: object) -> str:
            self._all_there.wait(timeout=120)
            return "key"

        with Flow("flow") as flow:
            result = a_task(compute, cache_policy=self._policy, cache_key_fn=key).map([1] * MANY)
        return states_of(flow.run(executor=ThreadExecutor(MANY), backend=backend))[result]


@pytest.mark.parametrize("backend", [None, MemoryBackend()], ids=["sql", "memory"])
def test_many_threads_that_ask_at_once_compute_once(backend: Backend | None) -> None:
    meeting = Meeting(INPUTS)

    state = meeting.run(backend)

    assert state.result == [1] * MANY
    assert meeting.computed == 1
    assert sorted(type(child).__name__ for child in state.map_states) == ["Cached"] * (MANY - 1) + ["Success"]  # type: ignore[attr-defined]


def test_nobody_waits_for_another_if_the_policy_says_so(stored: Callable[[], Sequence[Path]]) -> None:
    inside = threading.Barrier(MANY)

    def compute(x: int) -> int:
        # All of them are in the task before one may return.
        inside.wait(timeout=120)
        return x

    policy = INPUTS.configure(isolation_level="READ_COMMITTED")
    with Flow("flow") as flow:
        result = a_task(compute, cache_policy=policy).map([1] * MANY)
    state = states_of(flow.run(executor=ThreadExecutor(MANY)))[result]

    assert state.result == [1] * MANY
    assert not any(child.is_cached() for child in state.map_states)  # type: ignore[attr-defined]
    assert len(stored()) == 1


SCRIPT = """
import sys
from strongroom import Flow, task
from strongroom.caching import INPUTS

def key(context, inputs):
    print("looks", flush=True)
    return "key"

@task(cache_policy=INPUTS, cache_key_fn=key)
def compute():
    print("computes", file=sys.stderr)
    sys.stdin.readline()
    return 42

with Flow("flow") as flow:
    compute()
state, = flow.run().result.values()
print(type(state).__name__, state.result)
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    pipes = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.PIPE)
    started = [subprocess.Popen([sys.executable, script], text=True, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    yield started
    for each in started:
        each.kill()
        each.communicate()


def test_two_processes_that_ask_at_once_compute_once(processes: list[subprocess.Popen[str]]) -> None:
    for each in processes:
        assert each.stdout is not None
        assert each.stdout.readline() == "looks\n"

    # Whoever computes waits for a line; the other one never reads its own.
    said: list[tuple[str, str]] = []

    def finish(process: subprocess.Popen[str]) -> None:
        said.append(process.communicate("go on\n", timeout=120))

    threads = [threading.Thread(target=finish, args=(each,)) for each in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(said) == [("Cached 42\n", ""), ("Success 42\n", "computes\n")]


def test_when_the_one_that_computes_fails_the_next_one_computes() -> None:
    tries = 0
    lock = threading.Lock()

    def fails_at_first(x: int) -> int:
        nonlocal tries
        with lock:
            tries += 1
            number = tries
        if number == 1:
            raise ValueError
        return x

    with Flow("flow") as flow:
        result = a_task(fails_at_first, cache_key_fn=lambda _, __: "key").map([1] * MANY)
    state = states_of(flow.run(executor=ThreadExecutor(MANY)))[result]

    assert tries == 2
    kinds = sorted(type(child).__name__ for child in state.map_states)  # type: ignore[attr-defined]
    assert kinds == ["Cached"] * (MANY - 2) + ["Failed", "Success"]


def run_one(policy: CachePolicy, backend: Backend | None = None) -> State:
    with Flow("flow") as flow:
        result = a_task(lambda: 1, name="one", cache_policy=policy)()
    return states_of(flow.run(backend=backend))[result]


def test_whoever_has_lost_its_turn_keeps_its_result_for_itself(monkeypatch: pytest.MonkeyPatch, isolated: Path) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Held, "lost", True)
        lost = run_one(TASK_SOURCE)

    assert type(lost).__name__ == "Success"
    assert lost._result.serialized
    assert len(records_under(isolated / "results" / "runs")) == 1
    assert not run_one(TASK_SOURCE).is_cached()
    assert run_one(TASK_SOURCE).is_cached()


class WithoutLeases(Backend):
    """A backend that keeps records, and lends nothing."""

    id = "plain"

    def __init__(self) -> None:
        self._inner = MemoryBackend()

    def append(self, envelopes: Sequence[Envelope]) -> None:
        self._inner.append(envelopes)

    def runs(self, *, prefix: str = "", limit: int = 20) -> Sequence[str]:
        return self._inner.runs(prefix=prefix, limit=limit)

    def read(self, run_id: str, *, task: str | None = None) -> Iterator[Envelope]:
        return self._inner.read(run_id, task=task)

    def close(self) -> None:
        self._inner.close()


def test_without_leases_a_task_that_does_not_insist_computes() -> None:
    assert run_one(TASK_SOURCE, WithoutLeases()).is_successful()
    assert run_one(TASK_SOURCE, WithoutLeases()).is_cached()


def test_without_leases_a_task_that_insists_fails_and_says_what_is_needed() -> None:
    state = run_one(TASK_SOURCE.configure(isolation_level="SERIALIZABLE"), WithoutLeases())

    assert state.is_failed()
    assert "use one that offers leases, or configure a lock_manager" in str(state.message)


def test_a_lock_manager_lends_the_turn_instead_of_the_backend() -> None:
    manager = MemoryBackend()
    policy = TASK_SOURCE.configure(isolation_level="SERIALIZABLE", lock_manager=manager)

    assert run_one(policy, WithoutLeases()).is_successful()
    assert run_one(policy, WithoutLeases()).is_cached()


def test_the_turn_is_given_back() -> None:
    lent: list[str] = []

    class Noting(MemoryBackend):
        def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
            lent.append("lent")
            return super().acquire(name, holder, seconds=seconds, slots=slots)

        def release(self, lease: Lease) -> None:
            lent.append("back")
            super().release(lease)

    run_one(TASK_SOURCE.configure(lock_manager=Noting()))

    assert lent == ["lent", "back"]


class OutOfReach(MemoryBackend):
    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        raise BackendUnavailableError("out of reach")


def test_when_nobody_can_be_asked_for_a_turn_several_may_compute_and_a_warning_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "strongroom"):
        state = run_one(TASK_SOURCE.configure(lock_manager=OutOfReach()))

    assert state.is_successful()
    assert "so several may: out of reach" in caplog.text


def test_a_task_that_insists_fails_when_nobody_can_be_asked() -> None:
    state = run_one(TASK_SOURCE.configure(lock_manager=OutOfReach(), isolation_level="SERIALIZABLE"))

    assert state.is_failed()
    assert "out of reach" in str(state.message)


def test_a_result_that_comes_while_one_waits_is_used_and_said_to_be(project: Project) -> None:
    """The turn is taken by somebody who writes the result, and never gives the turn back."""
    held = threading.Event()

    class Never(MemoryBackend):
        def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
            if not held.is_set():
                held.set()
                assert run_one(TASK_SOURCE.configure(isolation_level="READ_COMMITTED")).is_successful()
            return None

    state = run_one(TASK_SOURCE.configure(lock_manager=Never()))

    assert (type(state).__name__, state.result) == ("Cached", 1)
