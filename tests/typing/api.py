# SPDX-License-Identifier: Apache-2.0
"""Does a type checker see what users and plugin authors write? It is checked by mypy and never run."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, assert_type

from strongroom import (
    Flow,
    Parameter,
    Register,
    Serializer,
    State,
    Task,
    case,
    flow,
    hookimpl,
    merge,
    switch,
    task,
    unmapped,
)
from strongroom.results import Chain

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO


@task
def load() -> list[int]:
    """A task by its decorator alone."""
    return [1, 2]


@task(max_retries=1, persist_result=True)
def total(numbers: list[int], factor: int = 1) -> int:
    """A task with arguments."""
    return sum(numbers) * factor


@task(nout=2)
def bounds(numbers: list[int]) -> tuple[int, int]:
    """A task with several results."""
    return min(numbers), max(numbers)


class Report(Task):
    """A task by subclass."""

    def run(self, total: int) -> str:
        """A method with its own parameters."""
        return str(total)


@flow
def decorated(factor: int = 1) -> None:
    """A flow by decorator."""
    total(load(), factor=factor)


with Flow("by hand") as by_hand:
    factor = Parameter("factor", default=1)
    result = total(load(), factor=factor)
    Report()(result)

with Flow("all of it") as whole:
    low, high = bounds(load())
    with case(low > 3, True):
        left = high - low * 2
    right = total.map(load(), factor=unmapped(2))
    switch(low.is_equal(high), {True: right[0]})
    merge(left, right)
    bounds(upstream_tasks=5)  # type: ignore[arg-type]
    merge(left, 5)  # type: ignore[arg-type]

# A task keeps the signature of its function: there are values, and not tasks.
assert_type(total.run([1, 2], factor=2), int)
assert_type(bounds.run([1]), tuple[int, int])
total.run("12")  # type: ignore[arg-type]
assert_type(low, Task)
assert_type(low + 1, Task)
assert_type(1 - low, Task)
assert_type(low[0], Task)
assert_type(whole.visualize(flow_state=whole.run()), str)
assert_type(whole.to_mermaid(), str)
assert_type(whole.copy(), Flow)
assert_type(whole.upstream_tasks(low), tuple[Task, ...])

assert_type(by_hand, Flow)
assert_type(decorated, Flow)
assert_type(by_hand.run(parameters={"factor": 2}), State)
assert_type(by_hand.run().is_successful(), bool)
Flow()  # type: ignore[call-arg]
by_hand.run(parameters=[2])  # type: ignore[arg-type]


class Upper(Serializer):
    """A plugin author's serializer."""

    id = "upper"

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(str(value).upper().encode())

    def load(self, source: BinaryIO) -> str:
        return source.read().decode()


@task(result_serializer=Chain((), Upper()))
def shouted() -> str:
    """A task whose result is kept by instances of its own."""
    return "text"


Flow("named", result_serializer=Chain((), Upper()))
Flow("named", result_serializer=1)  # type: ignore[arg-type]


class Half(Serializer):
    """A serializer that lacks half of the contract."""

    id = "half"

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(str(value).encode())


@hookimpl
def strongroom_register(register: Register) -> None:
    """A plugin author's hook."""
    register.serializer(Upper())
    register.serializer("upper")  # type: ignore[arg-type]
    register.serialiser(Upper())  # type: ignore[attr-defined]
    register.backend("upper", Upper)  # type: ignore[arg-type]


hook: Callable[[Register], None] = strongroom_register
assert_type(Upper().load(io.BytesIO()), str)
assert_type(Upper().dumps(1), bytes)
assert_type(Upper().loads(b""), object)
Half()  # type: ignore[abstract]
