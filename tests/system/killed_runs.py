# SPDX-License-Identifier: Apache-2.0
"""Kills or interrupts runs at random moments and resumes them; a program of its own, run by test_killed_runs.py.

Each run is a fork of this process, which has imported everything, so that hundreds of them take seconds.
"""

from __future__ import annotations

import faulthandler
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from strongroom import Flow, Parameter, Slot, task
from strongroom.errors import UnknownRunError
from strongroom.project import Project

LOG = Path("calls.log")
COUNTS = Path("counts.json")
COUNT = 20
# What takes longer than that waits for ever; it says where.
PATIENCE = 120.0
LONG_ENOUGH = 300.0
INTERRUPTED = 130
# To start processes takes longer than all that a run does.
EXECUTORS = {
    signal.SIGKILL: ("processes", "sync", "threads", "sync", *("sync", "sync", "threads", "sync") * 4),
    signal.SIGINT: ("sync", "threads", "processes"),
}


def note(call: str) -> None:
    with LOG.open("a") as file:
        file.write(f"{os.getpid()} {call}\n")


def noted() -> list[tuple[int, str]]:
    """Each call that has begun, and the process that it is made in."""
    lines = (line.partition(" ") for line in LOG.read_text().splitlines())
    return [(int(pid), call) for pid, _, call in lines]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@task(persist_result=True)
def load(n: int) -> list[int]:
    note("load")
    return list(range(n))


@task(persist_result=True)
def square(x: int) -> int:
    note(f"square {x}")
    return x * x


@task
def half(x: int) -> float:
    note(f"half {x}")
    return x / 2


@task(persist_result=True, result_serializer="compressed/json")
def total(numbers: list[float], more: list[int]) -> float:
    note("total")
    return sum(numbers) + sum(more)


@task(persist_result=True)
def report(number: float) -> dict[str, float]:
    note("report")
    return {"total": number}


with Flow("killed") as flow:
    numbers = load(Parameter("n", default=COUNT))
    squares = square.map(numbers)
    answer = report(total(half.map(squares), squares))

EXPECTED = {"total": sum(x * x / 2 for x in range(COUNT)) + sum(x * x for x in range(COUNT))}
SLOTS = {"load": ("load", -1), "total": ("total", -1), "report": ("report", -1)} | {
    f"square {x}": ("square", x) for x in range(COUNT)
}


def in_a_fork(function: object, *, stop_after: float | None = None, how: signal.Signals = signal.SIGKILL) -> int:
    """Call *function* in a fork and return its exit status; stopped so many seconds after its first task began."""
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(PATIENCE, exit=True)
        try:
            function()  # type: ignore[operator]
            os._exit(0)
        except KeyboardInterrupt:
            os._exit(INTERRUPTED)
        except BaseException as exc:  # the parent is told by the status
            sys.stderr.write(f"{type(exc).__name__}: {exc}\n")
            sys.stderr.flush()
            os._exit(1)
    if stop_after is not None:
        while not LOG.stat().st_size and os.waitpid(pid, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        time.sleep(stop_after)
        os.kill(pid, how)
    return os.waitpid(pid, 0)[1]


def warm_up(use: Callable[[], object]) -> None:
    """Import here what forks that *use* it would each import anew: that takes longer than all that they do."""
    if in_a_fork(lambda: (use(), Path("modules").write_text("\n".join(sys.modules)))) != 0:
        raise SystemExit("the flow does not run")
    for name in Path("modules").read_text().split():
        # Some exist under a name of their own only where they were made.
        with suppress(ImportError):
            import_module(name)


def resume(run_id: str, executor: str) -> None:
    state = flow.resume(run_id, executor=executor)
    if not state.is_successful() or state.result[answer].result != EXPECTED:  # type: ignore[index]
        raise AssertionError(f"resumed to {state!r}: {state.result}")


def kept(project: Project, run_id: str) -> set[str]:
    """The calls whose results are in storage."""
    store = project.store()
    return {call for call, (slug, index) in SLOTS.items() if store.exists(store.key_for(Slot(run_id, slug, index)))}


def last_run(project: Project) -> str | None:
    with project.open_backend() as backend:
        runs = backend.runs(limit=1)
    return runs[0] if runs else None


def check_record(project: Project, run_id: str) -> None:
    """See that all that was begun in an interrupted run has an end, and that the record is whole."""
    last: dict[tuple[str, int], str] = {}
    with project.open_backend() as backend:
        # As every command does: a run that is interrupted at its very end leaves some of its documents in the outbox.
        project.outbox.deliver(backend, seconds=60)
        for document in project.documents(backend, run_id):
            last[document.task, document.map_index] = document.type
    if last["", -1] not in {"Cancelled", "Success"} or "Running" in last.values():
        raise AssertionError(f"an interrupted run is recorded like this: {last}")


def check_workers(workers: set[int]) -> None:
    """See that no process of a run that is gone goes on, or has begun anything since it was resumed."""
    if began := workers & {pid for pid, _ in noted()}:
        raise SystemExit(f"these processes of a killed run began a task after its end: {began}")
    end = time.monotonic() + PATIENCE
    while any(is_running(worker) for worker in workers):
        if time.monotonic() > end:
            raise SystemExit(f"of these processes of a killed run some go on: {workers}")
        time.sleep(0.001)


def one_round(project: Project, longest: float, executor: str, known: set[str], how: signal.Signals) -> str:
    LOG.write_text("")
    status = in_a_fork(lambda: flow.run(executor=executor), stop_after=random.uniform(0, longest), how=how)
    if how == signal.SIGINT and os.waitstatus_to_exitcode(status) not in {0, INTERRUPTED}:
        raise SystemExit(f"an interrupted run ended with the status {status}")
    found: list[str] = []
    in_a_fork(lambda: Path("last").write_text(last_run(project) or ""))
    run_id = Path("last").read_text()
    if not run_id or run_id in known:
        return "not begun"
    known.add(run_id)
    # Nobody waits for them: whoever resumes the run does so at once.
    workers = {pid for pid, _ in noted()}
    found += sorted(kept(project, run_id))
    if how == signal.SIGINT and in_a_fork(lambda: check_record(project, run_id)) != 0:
        raise SystemExit(f"the run {run_id} is not recorded as it should be")
    LOG.write_text("")
    status = in_a_fork(lambda: resume(run_id, executor))
    if status != 0:
        with project.open_backend() as backend:
            ended = [row.type for row in backend.read(run_id, task="")][-1:] == ["Success"]
        if not ended:
            raise SystemExit(f"the run {run_id} could not be resumed: status {status}")
        return "ended"
    check_workers(workers)
    repeated = set(found) & {call for _, call in noted()}
    if repeated:
        raise SystemExit(f"these were kept and run again: {sorted(repeated)}")
    return "resumed"


def main(rounds: int, seed: int, how: signal.Signals) -> None:
    random.seed(seed)
    end = time.monotonic() + LONG_ENOUGH
    LOG.write_text("")
    warm_up(flow.run)
    project = Project.open()
    # Once in full, so that the home is there, and to know how long a run takes.
    took: list[float] = []
    for _ in range(2):
        start = time.monotonic()
        if in_a_fork(flow.run) != 0:
            raise SystemExit("the flow does not run")
        took.append(time.monotonic() - start)
    in_a_fork(lambda: Path("last").write_text(last_run(project) or ""))
    known = {Path("last").read_text()}
    counts: dict[str, int] = {}
    longest = min(took)
    for number in range(rounds):
        # On a slow machine fewer rounds have to do.
        if number >= max(1, rounds // 10) and time.monotonic() > end:
            break
        executors = EXECUTORS[how]
        outcome = one_round(project, longest, executors[number % len(executors)], known, how)
        counts[outcome] = counts.get(outcome, 0) + 1
        # Most kills are to come in the middle, whatever else the machine does just then.
        longest *= 0.8 if outcome == "ended" else 1.1
    # Not to standard output, where a worker says it, too, if its run is killed while it is started.
    COUNTS.write_text(json.dumps(counts))


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]), signal.Signals[sys.argv[3]])
    except UnknownRunError as exc:
        raise SystemExit(str(exc)) from exc
