# SPDX-License-Identifier: Apache-2.0
"""Runs, resumes, kills and collects garbage all at once; a program of its own, run by test_collected_runs.py.

Whatever the order, all that a state refers to must still be there afterwards, and what was planted as garbage gone.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta

from killed_runs import LOG, flow, in_a_fork, warm_up

from strongroom.documents import StateDocument
from strongroom.errors import StrongroomError
from strongroom.project import Project

# Longer than a record takes to be written on any machine; before each round, all that is there becomes older than that.
GRACE = timedelta(hours=1)


def start(function: Callable[[], object], *, is_alone: bool = False) -> int:
    """Call *function* in a fork; its pid. Beside others, a run that one of them is at cannot be resumed."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except StrongroomError as exc:
            if is_alone or type(exc).__name__ not in {"NotResumableError", "BackendUnavailableError"}:
                sys.stderr.write(f"{type(exc).__name__}: {exc}\n")
                os._exit(1)
        os._exit(0)
    return pid


def collect() -> None:
    project = Project.open()
    with project.open_backend() as backend:
        project.store().collect_garbage(project.references(backend), grace=GRACE)


def resume(run_id: str) -> None:
    flow.resume(run_id)


def plant(run_id: str, key: str) -> None:
    """Leave what a run that has ended does not refer to."""
    Project.open().store().write(run_id, key)


def look(known: dict[str, str]) -> None:
    """Tell which runs there are and how they stand; fail if what a state refers to cannot be read."""
    project = Project.open()
    store = project.store()
    with project.open_backend() as backend:
        # As every command does: a run may have been killed before anything of it was delivered.
        if left := project.outbox.deliver(backend, seconds=60).left:
            raise SystemExit(f"the outbox keeps what the backend could have: {left[0].reason}")
        for run_id in backend.runs(limit=1 << 30):
            for document in project.documents(backend, run_id):
                if not isinstance(document, StateDocument):
                    continue
                kept = [*document.cached_inputs.values(), *([document.result] if document.result else [])]
                for each in kept:
                    store.check(each.reference["key"])  # type: ignore[index,call-overload]  # stored ones only
                if not document.task:
                    known[run_id] = document.type
    os.write(OUT, json.dumps(known).encode())


READ, OUT = os.pipe()


def runs() -> dict[str, str]:
    """Run -> the type of its last state. Seen by a fork, since a database is not shared with forks."""
    if in_a_fork(lambda: look({})) != 0:
        raise SystemExit("what a state refers to is gone")
    found: dict[str, str] = json.loads(os.read(READ, 1 << 20))
    return found


def finish(pids: list[int]) -> None:
    for pid in pids:
        status = os.waitpid(pid, 0)[1]
        if status not in {0, signal.SIGKILL}:
            raise SystemExit(f"a process ended with the status {status}")


def age() -> None:
    """Let an hour and more have passed since anything was written; nobody may be writing."""
    long_ago = time.time() - 2 * GRACE.total_seconds()
    for path in (Project.open().home / "results").rglob("*"):
        if path.is_file():
            os.utime(path, (long_ago, long_ago))


def one_round(longest: float) -> dict[str, str]:
    LOG.write_text("")
    age()
    known = runs()
    open_ = [run_id for run_id, type_ in known.items() if type_ not in {"Success", "Failed"}]
    work: list[Callable[[], object]] = [flow.run, collect, collect]
    if open_:
        again = random.choice(open_)
        work.append(lambda: resume(again))
    random.shuffle(work)
    pids = []
    for function in work:
        pids.append(start(function))
        time.sleep(random.uniform(0, longest / 4))
    for pid in pids:
        if random.random() < 0.5:
            time.sleep(random.uniform(0, longest / 4))
            os.kill(pid, signal.SIGKILL)
    finish(pids)
    return runs()


def main(rounds: int, seed: int) -> None:
    random.seed(seed)
    LOG.write_text("")
    warm_up(lambda: (flow.run(), look({}), collect()))
    os.read(READ, 1 << 20)
    begin = time.monotonic()
    if in_a_fork(flow.run) != 0:
        raise SystemExit("the flow does not run")
    longest = time.monotonic() - begin
    ended, *_ = runs()
    planted = [f"runs/{ended}/{number:032x}" for number in range(20)]
    for key in planted:
        plant(ended, key)
    for _ in range(rounds):
        known = one_round(longest)
    # All that was stopped can still be gone on with.
    for run_id, type_ in known.items():
        if type_ not in {"Success", "Failed"}:
            finish([start(lambda run_id=run_id: resume(run_id), is_alone=True)])
    for _ in range(2):
        age()
        finish([start(collect, is_alone=True)])
    known = runs()
    store = Project.open().store()
    left = [key for key in planted if store.exists(key)]
    leftovers = len(list(store._storage.leftovers()))
    sys.stdout.write(
        json.dumps(
            {
                "runs": len(known),
                "open": [t for t in known.values() if t != "Success"],
                "left": left,
                "leftovers": leftovers,
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
