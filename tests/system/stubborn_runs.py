# SPDX-License-Identifier: Apache-2.0
"""Runs what does not come to an end by itself; a program of its own, run by test_second_interrupt.py."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import BinaryIO

from strongroom import Envelope, Flow, Serializer, State, Task, task
from strongroom import _outbox as outbox_module
from strongroom_sql.backend import SQLBackend

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


# Nothing of so many is kept: each record waits for the disk.
@task(persist_result=False)
def fills_the_outbox(x: int, seconds: float) -> int:
    return x + 1 + int(seconds * 0)


def fill_the_outbox() -> None:
    """Let the backend take nothing, and say when there is no more room for what it is to take."""
    wait = outbox_module.Outbox._wait_for_room

    def tell_and_wait(self: outbox_module.Outbox) -> None:
        sleeps.run(0, 1e-9)
        wait(self)

    def take_nothing(self: SQLBackend, envelopes: Sequence[Envelope]) -> None:
        threading.Event().wait()

    outbox_module.Outbox._wait_for_room = tell_and_wait  # type: ignore[method-assign]
    outbox_module._PATIENCE = LONG
    SQLBackend.append = take_nothing  # type: ignore[method-assign]


def flow_of(stubborn: Task, seconds: float) -> Flow:
    """A flow that ends by itself only if it has no *seconds* to take."""
    with Flow("stubborn") as flow:
        begin = first()
        for _ in range(3000 if stubborn is fills_the_outbox else 2):
            stubborn(begin, seconds)
    return flow


def main(executor: str, what: str, run_id: str = "", _now: str = "") -> None:
    """Run the flow, or resume the run and let it come to its end now."""
    tasks: dict[str, Task] = {
        "sleeps": sleeps,
        "cleans_up": cleans_up,
        "is_told_about": is_told_about,
        "is_kept": is_kept,
        "fills_the_outbox": fills_the_outbox,
    }
    stubborn = tasks[what]
    if run_id:
        state = flow_of(stubborn, 0.0).resume(run_id, executor=executor)
        raise SystemExit(0 if state.is_successful() else str(state))
    if stubborn is fills_the_outbox:
        fill_the_outbox()
    flow_of(stubborn, LONG).run(executor=executor)


if __name__ == "__main__":
    main(*sys.argv[1:])
