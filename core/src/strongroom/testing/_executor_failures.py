# SPDX-License-Identifier: Apache-2.0
"""How do failures come back to a flow, wherever an executor runs its tasks?"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from strongroom._error_info import error_info
from strongroom._flow import Flow
from strongroom._function_task import task
from strongroom.abc import Executor
from strongroom.context import context
from strongroom.errors import RecordedError, TransferError, WorkerDiedError
from strongroom.states import Failed, Running, State
from strongroom.testing._executor_tasks import (
    StubbornError,
    TwoPartError,
    add,
    be_stubborn,
    die,
    flow_of,
    functions,
    look_at,
    raise_chain,
)

if TYPE_CHECKING:
    from strongroom._task import Task

__all__ = ["ExecutorFailureTests"]

_PATIENCE = 60.0
_BIG = 8 << 20


class ExecutorFailureTests:
    """What becomes of exceptions and of processes that die: a part of `ExecutorTests`."""

    def run(self, executor: Executor, made: Task, **inputs: object) -> State:
        """The state of one task that was run with *inputs*."""
        flow, added = flow_of(made, **inputs)
        states = flow.run(executor=executor).result
        assert isinstance(states, dict)
        found = states[added]
        assert isinstance(found, State)
        return found

    @pytest.fixture
    def crossing(self, executor: Executor) -> Executor:
        """The executor, if it crosses processes."""
        if not executor.crosses_processes:
            pytest.skip("this executor stays in the process")
        return executor

    def test_an_exception_comes_with_its_chain_notes_and_traceback(self, executor: Executor) -> None:
        state = self.run(executor, raise_chain)

        error = state.result
        assert isinstance(error, TwoPartError)
        assert (str(error), error.code, error.__notes__) == ("7: the second", 7, ["a note"])
        assert isinstance(error.__cause__, LookupError)
        assert str(error.__cause__) == "the first"
        assert "raise_chain" in functions(error)
        assert state.message == "TwoPartError in the task"

    def test_an_exception_tells_the_file_of_a_function_that_nobody_can_import(self, executor: Executor) -> None:
        @task
        def fail() -> None:
            raise LookupError

        error = self.run(executor, fail).result

        assert isinstance(error, LookupError)
        frame = error_info(error).frames[-1]
        assert (frame.file, frame.function.rpartition(".")[2]) == (__file__, "fail")
        assert frame.line > fail.run.__code__.co_firstlineno

    def test_a_group_of_exceptions_comes_whole(self, executor: Executor) -> None:
        @task
        def fail() -> None:
            raise ExceptionGroup("several", [TwoPartError(1, "one"), KeyError("two")])

        error = self.run(executor, fail).result

        assert isinstance(error, ExceptionGroup)
        assert [str(each) for each in error.exceptions] == ["1: one", "'two'"]

    def test_an_exception_that_cannot_leave_its_process_leaves_its_name_and_message(self, crossing: Executor) -> None:
        state = self.run(crossing, be_stubborn)

        assert state.message == "StubbornError in the task"
        assert isinstance(error := state.result, RecordedError)
        assert (error.kind.rpartition(".")[2], error.message) == ("StubbornError", "stubborn")
        # The others of its chain can, and so are what they were.
        assert type(error.__cause__) is LookupError

    def test_an_exception_that_cannot_leave_its_process_is_told_with_its_chain_notes_and_traceback(
        self, executor: Executor
    ) -> None:
        error = self.run(executor, be_stubborn).result

        assert isinstance(error, Exception)
        told = error_info(error)
        assert told.kind == f"{StubbornError.__module__}.StubbornError"
        assert (told.message, told.notes) == ("stubborn", ("a note",))
        assert [frame.function for frame in told.frames][-1] == "be_stubborn"
        assert told.cause is not None
        assert (told.cause.kind, told.cause.message) == ("builtins.LookupError", "the first")

    def test_a_task_can_look_at_the_exception_of_another(self, executor: Executor) -> None:
        with Flow("a flow") as flow:
            looks = look_at(raise_chain())

        assert flow.run(executor=executor).result[looks].result == "TwoPartError: 7: the second"  # type: ignore[index]

    def test_a_task_that_exits_python_fails(self, executor: Executor) -> None:
        @task
        def leave() -> None:
            raise SystemExit(3)

        state = self.run(executor, leave)

        assert isinstance(state, Failed)
        assert isinstance(state.result, SystemExit)

    def test_a_failed_task_is_tried_again(self, executor: Executor) -> None:
        @task(max_retries=2, retry_on=TwoPartError)
        def try_hard() -> int:
            if context.task_run_count < 3:
                raise TwoPartError(context.task_run_count, "once more")
            return context.task_run_count

        assert self.run(executor, try_hard).result == 3

    @pytest.mark.parametrize(("retry_on", "runs"), [(OSError, 2), (ValueError, 1)])
    def test_an_exception_that_cannot_leave_its_process_is_worth_a_retry_for_what_it_is(
        self, executor: Executor, retry_on: type[Exception], runs: int
    ) -> None:
        seen: list[State] = []

        def watch(_made: Task, _old: State, new: State) -> None:
            seen.append(new)

        self.run(executor, be_stubborn.copy(max_retries=1, retry_on=retry_on, state_handlers=[watch]))

        assert sum(isinstance(state, Running) for state in seen) == runs

    @pytest.mark.parametrize(("how", "says"), [("exit", "exit code 3"), ("kill", "signal 9")])
    def test_a_process_that_dies_fails_its_task_and_no_other(self, crossing: Executor, how: str, says: str) -> None:
        with Flow("a flow") as flow:
            dead = die(how)
            others = [add(number) for number in range(20)]

        states = flow.run(executor=crossing).result

        state = states[dead]  # type: ignore[index]
        assert isinstance(state, Failed)
        assert isinstance(state.result, WorkerDiedError)
        assert says in str(state.message)
        assert [states[other].result for other in others] == list(range(1, 21))  # type: ignore[index]

    def test_a_task_whose_process_died_is_tried_again(self, crossing: Executor, tmp_path: Path) -> None:
        mark = tmp_path / "died"

        @task(max_retries=1)
        def die_once() -> str:
            if not mark.exists():
                mark.touch()
                os._exit(1)
            return "alive"

        assert self.run(crossing, die_once).result == "alive"

    def test_what_cannot_be_brought_back_fails_its_task(self, crossing: Executor) -> None:
        @task
        def lock() -> object:
            return threading.Lock()

        state = self.run(crossing, lock)

        assert isinstance(state, Failed)
        assert isinstance(state.result, TransferError)
        assert "what the task returned cannot be brought to another process" in str(state.message)

    def test_what_cannot_be_sent_there_fails_its_task(self, crossing: Executor) -> None:
        state = self.run(crossing, look_at, x=threading.Lock())
        with context(lock=threading.Lock()):
            other = self.run(crossing, add, x=1)

        for each in (state, other):
            assert isinstance(each, Failed)
            assert isinstance(each.result, TransferError)
