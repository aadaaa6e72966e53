# SPDX-License-Identifier: Apache-2.0
"""Which tasks and exceptions does `ExecutorTests` try an executor with?"""

from __future__ import annotations

import ast
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from strongroom._flow import Flow
from strongroom._function_task import task
from strongroom.abc import Serializer
from strongroom.triggers import all_finished

if TYPE_CHECKING:
    from strongroom._task import Task

__all__ = [
    "Literal",
    "StubbornError",
    "TwoPartError",
    "add",
    "be_stubborn",
    "die",
    "flow_of",
    "functions",
    "leave_a_trace",
    "look_at",
    "process_id",
    "raise_chain",
]

_PATIENCE = 60.0


class TwoPartError(Exception):
    """One that pickle alone cannot make again."""

    def __init__(self, code: int, hint: str) -> None:
        super().__init__(f"{code}: {hint}")
        self.code = code


class StubbornError(OSError):
    """One that cannot be pickled at all."""

    def __init__(self) -> None:
        super().__init__("stubborn")
        self.lock = threading.Lock()


class Literal(Serializer):
    """Python literals as text; an object of this process rather than a plugin's, which every process has."""

    id = "literal"

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(repr(value).encode())

    def load(self, source: BinaryIO) -> object:
        return ast.literal_eval(source.read().decode())


@task
def process_id() -> int:
    return os.getpid()


@task
def add(x: int, y: int = 1) -> int:
    return x + y


@task
def leave_a_trace(folder: str, name: str, wait_for: str = "") -> float:
    deadline = time.monotonic() + _PATIENCE
    while wait_for and not Path(folder, wait_for).exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    Path(folder, name).touch()
    return time.time()


@task
def raise_chain() -> None:
    try:
        raise LookupError("the first")
    except LookupError as exc:
        error = TwoPartError(7, "the second")
        error.add_note("a note")
        raise error from exc


@task
def be_stubborn() -> None:
    try:
        raise LookupError("the first")
    except LookupError as exc:
        error = StubbornError()
        error.add_note("a note")
        raise error from exc


@task
def die(how: str) -> None:
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)


@task(trigger=all_finished, skip_on_upstream_skip=False)
def look_at(x: object) -> str:
    return f"{type(x).__name__}: {x}"


def flow_of(made: Task, **inputs: Any) -> tuple[Flow, Task]:  # noqa: ANN401  # as Task.__call__ takes them
    with Flow("a flow") as flow:
        return flow, made(**inputs)


def functions(error: BaseException) -> list[str]:
    found, trace = [], error.__traceback__
    while trace is not None:
        found.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    return found
