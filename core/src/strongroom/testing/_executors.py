# SPDX-License-Identifier: Apache-2.0
"""Do flows mean the same wherever an executor runs their tasks?"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from strongroom._flow import Flow
from strongroom._function_task import task
from strongroom._inputs import Constant, Parameter, unmapped
from strongroom.abc import Executor
from strongroom.context import context
from strongroom.errors import TaskTimeoutError
from strongroom.signals import FAIL, LOOP, PAUSE, RETRY, SKIP, SUCCESS
from strongroom.states import Failed, Paused, Running, Skipped, State, Success, TimedOut
from strongroom.testing._executor_failures import ExecutorFailureTests
from strongroom.testing._executor_tasks import (
    Literal,
    add,
    leave_a_trace,
    process_id,
    raise_chain,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom._task import Task

__all__ = ["ExecutorTests"]

_PATIENCE = 60.0
_BIG = 8 << 20


class ExecutorTests(ExecutorFailureTests):
    """What every executor does. Subclass it and give the fixture `executor`: one that is not open, new to each test.

    What the tests about processes and their deaths need, only an executor with ``crosses_processes`` has.
    """

    def test_what_is_returned_is_the_futures(self, executor: Executor) -> None:
        with executor:
            assert executor.submit(divmod, 7, 2).result(_PATIENCE) == (3, 1)

    def test_what_is_raised_is_the_futures(self, executor: Executor) -> None:
        with executor:
            error = executor.submit(divmod, 7, 0).exception(_PATIENCE)

        assert isinstance(error, ZeroDivisionError)

    def test_the_futures_are_done_when_the_block_ends(self, executor: Executor) -> None:
        with executor:
            futures = [executor.submit(divmod, number, 2) for number in range(10)]

        assert all(future.done() for future in futures)

    def test_one_that_is_not_open_takes_nothing(self, executor: Executor) -> None:
        with pytest.raises(RuntimeError):
            executor.submit(divmod, 7, 2)
        with executor:
            pass
        with pytest.raises(RuntimeError):
            executor.submit(divmod, 7, 2)

    def test_one_that_is_open_is_for_nobody_else_and_stays_open(self, executor: Executor) -> None:
        with executor:
            with pytest.raises(RuntimeError, match="in use"):
                executor.__enter__()

            assert executor.submit(divmod, 7, 2).result(_PATIENCE) == (3, 1)

    def test_it_can_be_opened_again(self, executor: Executor) -> None:
        for _ in range(2):
            with executor:
                assert executor.submit(divmod, 7, 2).result(_PATIENCE) == (3, 1)

    def test_tasks_run_elsewhere_if_it_crosses_processes(self, executor: Executor) -> None:
        state = self.run(executor, process_id)

        assert (state.result != os.getpid()) is executor.crosses_processes

    def test_results_go_from_task_to_task(self, executor: Executor) -> None:
        with Flow("a flow") as flow:
            last = add(add(add(Parameter("n")), 10))

        state = flow.run(n=1, executor=executor)

        assert state.result[last].result == 13  # type: ignore[index]

    def test_what_is_here_already_is_sent_nowhere(self, executor: Executor) -> None:
        with Flow("a flow") as flow:
            # Nothing that could be pickled.
            here = flow.add_task(Constant(threading.Lock()))

        assert flow.run(executor=executor).result[here].is_successful()  # type: ignore[index]

    def test_a_task_starts_after_what_it_waits_for(self, executor: Executor, tmp_path: Path) -> None:
        with Flow("a flow") as flow:
            first = leave_a_trace(str(tmp_path), "first")
            second = leave_a_trace(str(tmp_path), "second", upstream_tasks=[first])

        states = flow.run(executor=executor).result

        assert states[first].result <= states[second].result  # type: ignore[index]

    def test_a_mapped_task_gives_its_results_in_order(self, executor: Executor) -> None:
        with Flow("a flow") as flow:
            last = add.map(add.map(list(range(20))), unmapped(100))

        state = flow.run(executor=executor)

        assert state.result[last].result == list(range(101, 121))  # type: ignore[index]

    def test_kept_results_are_read_by_whoever_needs_them(self, executor: Executor, tmp_path: Path) -> None:
        kept = add.copy(result_serializer=Literal(), result_storage=tmp_path / "kept", cache_result_in_memory=False)
        with Flow("a flow") as flow:
            first = kept(1)
            last = add(first)

        states = flow.run(executor=executor).result

        assert states[last].result == 3  # type: ignore[index]
        assert states[first].result == 2  # type: ignore[index]
        assert not states[first]._result.in_memory  # type: ignore[index]  # noqa: SLF001

    def test_a_cached_result_is_used_again(self, executor: Executor, tmp_path: Path) -> None:
        cached = add.copy(result_serializer=Literal(), result_storage=tmp_path / "kept", cache_for=timedelta(days=1))

        states = [self.run(executor, cached, x=1) for _ in range(2)]

        assert [(state.is_cached(), state.result) for state in states] == [(False, 2), (True, 2)]

    def test_big_results_arrive_whole(self, executor: Executor) -> None:
        @task
        def big() -> bytearray:
            return bytearray(range(256)) * (_BIG // 256)

        assert self.run(executor, big).result == bytearray(range(256)) * (_BIG // 256)

    def test_closures_and_local_classes_can_be_used(self, executor: Executor) -> None:
        class Pair:
            def __init__(self, left: int) -> None:
                self.left = left

        number = 41

        @task
        def pair() -> Pair:
            return Pair(number + 1)

        result = self.run(executor, pair).result

        assert isinstance(result, Pair)
        assert result.left == 42

    def test_async_tasks_run_to_their_end(self, executor: Executor) -> None:
        @task
        async def soon() -> int:
            await asyncio.sleep(0)
            return 5

        assert self.run(executor, soon).result == 5

    def test_the_context_is_there_with_the_users_keys(self, executor: Executor) -> None:
        @task(name="looks")
        def look() -> tuple[object, ...]:
            return context.task_name, context.customer, dict(context.parameters), context.task_run_count, context.run_id

        with Flow("a flow") as flow:
            flow.add_task(Parameter("n", default=2, required=False))
            looks = look()
        with context(customer="abc"):
            state = flow.run(executor=executor)

        name, customer, parameters, run_count, run_id = state.result[looks].result  # type: ignore[index]
        assert (name, customer, parameters, run_count) == ("looks", "abc", {"n": 2}, 1)
        assert run_id == state.context["run_id"]

    def test_a_task_that_takes_too_long_is_timed_out(self, executor: Executor, tmp_path: Path) -> None:
        slow = leave_a_trace.copy(timeout=0.05)

        state = self.run(executor, slow, folder=str(tmp_path), name="late", wait_for="now")

        (tmp_path / "now").touch()
        assert isinstance(state, TimedOut)
        assert isinstance(state.result, TaskTimeoutError)
        assert state.result.goes_on is not executor.crosses_processes

    @pytest.mark.parametrize("how", ["cancelled", "stubborn"])
    def test_an_async_task_that_takes_too_long_is_timed_out(
        self, executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
    ) -> None:
        monkeypatch.setattr("strongroom._call._CLEANING_UP", 60.0 if how == "cancelled" else 1.0)

        @task(timeout=0.05)
        async def late() -> None:
            if how == "stubborn":
                leave_a_trace.run(str(tmp_path), "late", "now")
            await asyncio.Event().wait()

        state = self.run(executor, late)

        (tmp_path / "now").touch()
        assert isinstance(state, TimedOut)
        assert isinstance(state.result, TaskTimeoutError)
        assert state.result.goes_on is (how == "stubborn" and not executor.crosses_processes)

    @pytest.mark.parametrize(
        ("made", "kind", "value"),
        [
            (lambda: SKIP("no need"), Skipped, None),
            (lambda: SUCCESS("done", result=5), Success, 5),
            (lambda: FAIL("bad", result="why"), Failed, "why"),
            (lambda: PAUSE("wait"), Paused, None),
        ],
        ids=["skip", "success", "fail", "pause"],
    )
    def test_a_signal_puts_its_state_in_place(
        self, executor: Executor, made: Callable[[], Exception], kind: type[State], value: object
    ) -> None:
        @task
        def signals() -> None:
            raise made()

        state = self.run(executor, signals)

        assert type(state) is kind
        assert value is None or state.result == value

    def test_retry_runs_the_task_again(self, executor: Executor) -> None:
        @task
        def once_more() -> int:
            if context.task_run_count == 1:
                raise RETRY("once more", start_time=datetime.now(UTC))
            return context.task_run_count

        assert self.run(executor, once_more).result == 2

    def test_loop_hands_on_the_result_of_each_round(self, executor: Executor) -> None:
        @task
        def count() -> int:
            value = cast("int", context.loop_result or 0) + 10
            if context.loop_count < 3:
                raise LOOP(result=value)
            return value

        assert self.run(executor, count).result == 30

    def test_a_round_that_fails_is_tried_again_with_the_result_of_the_one_before(self, executor: Executor) -> None:
        # A handler that core has itself, for whoever has no serializer installed.
        @task(max_retries=1, result_handler="json")
        def count() -> list[object]:
            if context.task_run_count == 1 and context.loop_count > 1:
                raise ValueError
            if context.loop_count < 4:
                raise LOOP(result=[context.loop_count, context.loop_result])
            return [context.loop_count, context.loop_result]

        assert self.run(executor, count).result == [4, [3, [2, [1, None]]]]

    def test_state_handlers_see_every_change_where_the_flow_is_run(self, executor: Executor) -> None:
        seen: list[tuple[int, str]] = []

        def watch(_made: Task, _old: State, new: State) -> None:
            seen.append((os.getpid(), type(new).__name__))

        self.run(executor, raise_chain.copy(state_handlers=[watch], max_retries=1))

        assert seen == [(os.getpid(), name) for name in ("Running", "Failed", "Retrying", "Running", "Failed")]

    def test_a_state_handler_can_change_the_state(self, executor: Executor) -> None:
        def excuse(_made: Task, _old: State, new: State) -> State | None:
            return Success("never mind", result=0) if isinstance(new, Failed) else None

        assert self.run(executor, raise_chain.copy(state_handlers=[excuse])).is_successful()

    def test_what_a_task_logs_is_heard_once_where_the_flow_is_run(
        self, executor: Executor, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        @task(name="talks", log_stdout=True)
        def talk() -> None:
            sys.stdout.write("printed\n")
            context.logger.warning("%s times", 2)

        with caplog.at_level(logging.INFO):
            self.run(executor, talk)

        heard = [each for each in caplog.records if each.name.startswith("strongroom.task.")]
        said = [(each.name, each.levelname, each.getMessage(), each.funcName) for each in heard]
        # What was printed has been said by nobody in particular.
        assert [each[:3] for each in said] == [
            ("strongroom.task.talks", "INFO", "printed"),
            ("strongroom.task.talks", "WARNING", "2 times"),
        ]
        assert said[1][3] == "talk"
        assert "2 times" not in "".join(capfd.readouterr())

    def test_a_task_is_recorded_as_running_while_it_runs(self, executor: Executor, tmp_path: Path) -> None:
        def release(_made: Task, _old: State, new: State) -> None:
            if isinstance(new, Running):
                (tmp_path / "now").touch()

        waits = leave_a_trace.copy(state_handlers=[release])

        state = self.run(executor, waits, folder=str(tmp_path), name="end", wait_for="now")

        assert state.is_successful()
