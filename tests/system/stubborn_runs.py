# SPDX-License-Identifier: Apache-2.0
"""Runs what does not come to an end by itself; a program of its own, run by test_second_interrupt.py."""

from __future__ import annotations

import sys
import time
from typing import BinaryIO

from strongroom import Flow, Serializer, State, Task, task

# Longer than any test would wait for.
LONG = 300.0


@task(persist_result=True)
def first() -> int:
    return 1


@task(persist_result=True)
def sleeps(x: int, seconds: float) -> int:
    if seconds:
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        time.sleep(seconds)
    return x + 1


@task(persist_result=True)
def cleans_up(x: int, seconds: float) -> int:
    try:
        return sleeps.run(x, seconds)
    finally:
        time.sleep(seconds)


def _tell(_task: Task, _old: State, new: State) -> None:
    if new.is_running() and "now" not in sys.argv:
        sleeps.run(0, LONG)


@task(persist_result=True, state_handlers=[_tell])
def is_told_about(x: int, seconds: float) -> int:
    return x + 1 + int(seconds * 0)


class Slow(Serializer):
    """Takes its time to write."""

    id = "slow"

    def dump(self, value: object, sink: BinaryIO) -> None:
        if "now" not in sys.argv:
            sleeps.run(0, LONG)
        sink.write(str(value).encode())

    def load(self, source: BinaryIO) -> object:
        return int(source.read())


@task(result_serializer=Slow())
def is_kept(x: int, seconds: float) -> int:
    return x + 1 + int(seconds * 0)


def flow_of(stubborn: Task, seconds: float) -> Flow:
    """A flow that ends by itself only if it has no *seconds* to take."""
    with Flow("stubborn") as flow:
        begin = first()
        for _ in range(2):
            stubborn(begin, seconds)
    return flow


def main(executor: str, what: str, run_id: str = "", _now: str = "") -> None:
    """Run the flow, or resume the run and let it come to its end now."""
    tasks: dict[str, Task] = {
        "sleeps": sleeps,
        "cleans_up": cleans_up,
        "is_told_about": is_told_about,
        "is_kept": is_kept,
    }
    stubborn = tasks[what]
    if run_id:
        state = flow_of(stubborn, 0.0).resume(run_id, executor=executor)
        raise SystemExit(0 if state.is_successful() else str(state))
    flow_of(stubborn, LONG).run(executor=executor)


if __name__ == "__main__":
    main(*sys.argv[1:])
