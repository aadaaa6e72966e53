# SPDX-License-Identifier: Apache-2.0
"""Odd corners that somebody who knows Prefect would try, and what is answered there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, BinaryIO

import pytest

from strongroom import (
    Flow,
    Parameter,
    Serializer,
    case,
    context,
    merge,
    raise_on_exception,
    signals,
    states,
    task,
    triggers,
)
from strongroom._executors import SyncExecutor, ThreadExecutor
from strongroom._memory_backend import MemoryBackend
from strongroom._resume import _moment
from strongroom.errors import DefinitionError, StrongroomError
from strongroom.project import Project

from .conftest import a_task, states_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from strongroom import State, Task

EXECUTORS = pytest.mark.parametrize("executor", ["sync", "threads", "processes"])


def result(run: State, of: Task) -> object:
    return states_of(run)[of].result


def appends(numbers: list[int]) -> list[int]:
    numbers.append(1)
    return list(numbers)


def same(x: object) -> object:
    return x


def total(numbers: Iterable[int]) -> int:
    return sum(numbers)


def test_a_default_that_a_task_changes_is_as_it_was_in_the_next_run() -> None:
    with Flow("f") as f:
        changed = a_task(appends)(Parameter("numbers", default=[]))
    mine = [7]

    assert result(f.run(), changed) == [1]
    assert result(f.run(), changed) == [1]
    assert result(f.run(numbers=mine), changed) == [7, 1]
    assert mine == [7]


def test_two_tasks_that_would_share_one_key_are_refused_before_the_run() -> None:
    with Flow("f") as f:
        a_task(lambda: 1, name="one", result_storage_key="here")()
        a_task(lambda: 2, name="two", result_storage_key="here")()

    with pytest.raises(DefinitionError, match=r"'one' and 'two' have the same result_storage_key"):
        f.run()


def test_two_places_may_have_the_same_key() -> None:
    with Flow("f") as f:
        one = a_task(lambda: 1, name="one", result_storage_key="here", result_storage="memory://one")()
        two = a_task(lambda: 2, name="two", result_storage_key="here", result_storage="memory://two")()

    run = f.run()

    assert (result(run, one), result(run, two)) == (1, 2)


@EXECUTORS
def test_a_template_that_gives_one_key_twice_fails_the_second(executor: str) -> None:
    with Flow("f") as f:
        each = a_task(same, name="each", result_storage_key="k-{x}").map([1, 2, 1])

    children = states_of(f.run(executor=executor))[each].map_states  # type: ignore[attr-defined]  # a Mapped state

    assert sorted(child.is_failed() for child in children) == [False, False, True]
    (failed,) = (child for child in children if child.is_failed())
    assert "would keep their results under one key" in failed.message


@EXECUTORS
def test_children_can_be_kept_under_keys_of_a_template(executor: str) -> None:
    with Flow("f") as f:
        each = a_task(same, name="each", result_storage_key="k-{map_index}-{x}").map([5, 6])
        total = a_task(sum_at_second_try, name="total", max_retries=1)(each)

    assert result(f.run(executor=executor), total) == 11


@EXECUTORS
def test_a_template_may_use_an_input_that_has_its_default(executor: str) -> None:
    @task(name="adds", result_storage_key="sum-{x}-{y}", task_run_name="{x} and {y}", persist_result=True)
    def add(x: int, y: int = 2) -> int:
        return x + y

    with Flow("f") as f:
        one, two = add(1), add(1, 3)

    run = f.run(executor=executor)

    assert [result(run, each) for each in (one, two)] == [3, 4]
    store = Project.open().store()
    assert sorted(entry.key for entry in store.list()) == ["sum-1-2", "sum-1-3"]


def sum_at_second_try(x: list[int]) -> int:
    if context.task_run_count == 1:
        raise ValueError
    return sum(x)


def test_a_retry_may_write_its_key_again() -> None:
    with Flow("f") as f:
        one = a_task(lambda: context.loop_count, name="one", result_storage_key="again")()

    assert result(f.run(), one) == 1
    assert result(f.run(), one) == 1


@pytest.mark.parametrize(
    "once",
    [lambda: (x for x in (1, 2)), lambda: iter([1, 2]), lambda: map(str, (1, 2))],
    ids=["generator", "iter", "map"],
)
def test_what_can_be_read_only_once_is_no_result(once: Callable[[], object]) -> None:
    with Flow("f") as f:
        numbers = a_task(once, name="numbers")()
        a_task(total, name="one")(numbers)
        a_task(total, name="two")(numbers)

    state = states_of(f.run())[numbers]

    assert state.is_failed()
    assert "can be read only once, and a result may be read again: return a list" in (state.message or "")


def test_what_can_be_read_only_once_is_a_result_if_each_reads_what_is_kept() -> None:
    class Lines(Serializer):
        id = "lines"

        def dump(self, value: object, sink: BinaryIO) -> None:
            sink.writelines(b"%d\n" % line for line in value)  # type: ignore[attr-defined]

        def load(self, source: BinaryIO) -> object:
            return map(int, source.read().split())

    def numbers() -> Iterator[int]:
        yield from (1, 2)

    with Flow("f") as f:
        made = a_task(numbers, result_serializer=Lines(), cache_result_in_memory=False)()
        sums = [a_task(total, name=f"sum-{number}")(made) for number in range(2)]

    done = f.run()

    assert [result(done, each) for each in sums] == [3, 3]


def test_a_constant_that_can_be_read_only_once_is_refused() -> None:
    with Flow("f"), pytest.raises(DefinitionError, match="a generator that is read once; pass a list"):
        a_task(same, name="same")(x for x in (1, 2))


def test_what_is_not_iterable_is_not_mapped_over() -> None:
    with Flow("f") as f:
        each = a_task(same, name="each").map(a_task(lambda: 1, name="number")())

    assert "that is a int; map over a list" in (states_of(f.run())[each].message or "")
    with pytest.raises(DefinitionError, match="wrap it in unmapped"), Flow("g"):
        a_task(same, name="each").map(1)


@pytest.mark.parametrize("timeout", [-1, 0, 1e300, "soon"])
def test_a_timeout_is_a_time(timeout: object) -> None:
    with pytest.raises(DefinitionError, match="timeout of the task"):
        a_task(same, timeout=timeout)


def test_a_timeout_may_be_longer_than_timers_count() -> None:
    with Flow("f") as f:
        one = a_task(lambda: 1, timeout=timedelta.max)()

    assert result(f.run(), one) == 1


def test_a_delay_beyond_the_end_of_time_ends_there() -> None:
    seen: list[State] = []

    def stop(subject: object, old: State, new: State) -> State | None:
        if not isinstance(new, states.Retrying):
            return None
        seen.append(new)
        return states.Failed("seen enough")

    with Flow("f") as f:
        a_task(same, max_retries=1, retry_delay=timedelta.max, state_handlers=[stop], trigger=triggers.all_finished)(
            a_task(lambda: 1 / 0, name="fails")()
        )
        a_task(lambda: 1 / 0, name="again", max_retries=1, retry_delay=timedelta.max, state_handlers=[stop])()

    f.run()

    assert [state.start_time for state in seen if isinstance(state, states.Retrying)] == [
        datetime.max.replace(tzinfo=UTC)
    ]
    assert _moment(int(datetime.max.replace(tzinfo=UTC).timestamp() * 1e6) + 1) == datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("answer", [5, True, "Success", states.Success])
def test_a_handler_that_answers_with_no_state_fails_its_task(answer: object) -> None:
    with Flow("f") as f:
        one = a_task(lambda: 1, name="one", state_handlers=[lambda *_: answer])()

    state = states_of(f.run())[one]

    assert state.is_failed()
    assert "it returns a state or None" in str(state.result)


@pytest.mark.parametrize("executor", [SyncExecutor(), ThreadExecutor(1)], ids=["sync", "threads"])
def test_an_executor_that_is_closed_takes_nothing(executor: SyncExecutor | ThreadExecutor) -> None:
    with executor:
        pass

    with pytest.raises(RuntimeError, match="not open"):
        executor.submit(int)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Flow("f", persist_results=True), "a flow has no argument 'persist_results'; did you mean"),
        (lambda: a_task(one, cache_expiration=5), "has no argument 'cache_expiration'; did you mean 'cache_for'"),
        (lambda: a_task(one, log_prints=True), "has no argument 'log_prints'; did you mean 'log_stdout'"),
        (lambda: Flow(""), "a flow's name is a text"),
        (lambda: a_task(one, timeout="3"), "timeout of the task 'one' must be a timedelta or a number of seconds"),
        (
            lambda: a_task(one, state_handlers=print),
            r"state_handlers of 'one' are several: write state_handlers=\[...\]",
        ),
        (lambda: one_task().run(executor=ThreadExecutor), r"is the class ThreadExecutor; make one of it: ThreadExec"),
        (lambda: one_task().run([1]), "parameters are values by name"),
        (lambda: one_task().run(start_tasks=one_task().tasks[0]), "start_tasks are several tasks"),
        (lambda: one_task().run(start_tasks=[]), "start_tasks has no tasks"),
        (lambda: one_task().run(task_states={"one": states.Success()}), "the task 'one' is not in the flow 'f'"),
        (lambda: (f := one_task()).run(task_states={f.tasks[0]: 5}), "that of 'one' has the type int"),
        (lambda: one_task().resume(None), "there is no run None; `strongroom runs` lists"),
    ],
)
def test_what_is_wrong_is_answered_with_one_line_before_anything_runs(wrong: Callable[[], object], says: str) -> None:
    with pytest.raises(StrongroomError, match=says):
        wrong()


def one() -> int:
    return 1


def one_task() -> Flow:
    with Flow("f") as f:
        a_task(one)()
    return f


def test_what_is_no_executor_is_refused_before_the_run() -> None:
    with Flow("f") as f:
        a_task(lambda: 1)()

    with pytest.raises(DefinitionError, match="the executor is a int"):
        f.run(executor=5)  # type: ignore[arg-type]


@EXECUTORS
def test_an_exception_comes_out_for_a_debugger(executor: str) -> None:
    with Flow("f") as f:
        one = a_task(lambda: {}["gone"], name="one", max_retries=3)()

    with raise_on_exception(), pytest.raises(KeyError, match="gone"):
        f.run(executor=executor)
    assert states_of(f.run(executor=executor, backend=MemoryBackend(), task_states={}))[one].is_failed()


def test_an_exception_in_a_trigger_or_a_handler_comes_out_for_a_debugger() -> None:
    def breaks(*_: object) -> bool:
        raise LookupError

    for arguments in ({"trigger": breaks}, {"state_handlers": [breaks]}):
        with Flow("f") as f:
            a_task(lambda: 1, **arguments)()
        with raise_on_exception(), pytest.raises(LookupError):
            f.run()


def test_a_signal_is_no_exception_for_a_debugger() -> None:
    @task
    def skip() -> None:
        raise signals.SKIP

    with Flow("f") as f:
        skip()

    with raise_on_exception():
        assert f.run().is_successful()


def test_a_cancelled_task_has_not_failed_but_what_needs_it_has() -> None:
    @task
    def stop() -> None:
        raise signals.CANCEL("enough")

    with Flow("alone") as alone:
        stopped = stop()
    with Flow("followed") as followed:
        after = a_task(same, name="after")(stop())

    run = alone.run()

    assert isinstance(states_of(run)[stopped], states.Cancelled)
    assert run.is_successful()
    assert isinstance(states_of(followed.run())[after], states.TriggerFailed)


@EXECUTORS
def test_a_mapped_branch_is_skipped_as_a_whole_and_merged(executor: str) -> None:
    with Flow("f") as f:
        numbers = a_task(lambda: [1, 2], name="numbers")()
        with case(a_task(lambda: False, name="choose")(), True):
            left = a_task(same, name="left").map(numbers)
        with case(a_task(lambda: False, name="choose")(), False):
            right = a_task(same, name="right").map(a_task(same, name="before").map(numbers))
        merged = merge(left, right)

    run = f.run(executor=executor)

    assert states_of(run)[left].is_skipped()
    assert result(run, merged) == [1, 2]


@EXECUTORS
def test_one_failing_child_is_tried_again_alone_and_stops_only_its_own_line(executor: str) -> None:
    with Flow("f") as f:
        inverse = a_task(lambda x: (context.task_run_count, 1 / x), name="inverse", max_retries=1).map([1, 0, 2])
        after = a_task(lambda x: x[1] * 2, name="after").map(inverse)
        seen = a_task(lambda x: [type(each).__name__ for each in x], name="seen", trigger=triggers.all_finished)(after)
        strict = a_task(same, name="strict")(after)

    run = f.run(executor=executor)

    found = [type(state).__name__ for state in states_of(run)[after].map_states]  # type: ignore[attr-defined]
    assert found == ["Success", "TriggerFailed", "Success"]
    assert result(run, seen) == ["float", "TRIGGERFAIL", "float"]
    assert isinstance(states_of(run)[strict], states.TriggerFailed)
