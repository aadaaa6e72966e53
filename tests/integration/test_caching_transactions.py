# SPDX-License-Identifier: Apache-2.0
"""Do the results of a transaction become visible together, or not at all?"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from strongroom import (
    Flow,
    OpenTransaction,
    State,
    ThreadExecutor,
    context,
    current_transaction,
    signals,
    task,
    transaction,
    unmapped,
)
from strongroom.caching import INPUTS, TASK_SOURCE
from strongroom.errors import DefinitionError, NotSupportedError
from strongroom.project import Project
from strongroom.triggers import manual_only

from .conftest import a_task, states_of


class Group:
    """A flow with two cached tasks in one transaction; the second one fails while it is told to."""

    def __init__(self) -> None:
        self.fails = False
        self.calls: list[str] = []
        self.heard: list[str] = []

    def run(self, x: object = 1, *, executor: object = None) -> dict[str, State]:
        def first(x: object) -> object:
            self.calls.append("first")
            return x

        def second(y: object) -> object:
            self.calls.append("second")
            if self.fails:
                raise ValueError
            return [y]

        with Flow("flow") as flow, transaction(key="both") as group:
            one = a_task(first, cache_policy=INPUTS)(x)
            a_task(second, cache_policy=INPUTS)(one)
        group.on_commit(lambda _: self.heard.append("commit"))
        group.on_rollback(lambda _: self.heard.append("rollback"))
        run = flow.run(executor=executor)  # type: ignore[arg-type]
        return {each.name: state for each, state in states_of(run).items()}


@pytest.mark.parametrize("threads", [False, True], ids=["sync", "threads"])
def test_what_was_committed_is_found_by_the_next_run(threads: bool) -> None:
    group = Group()

    states = [group.run(executor=ThreadExecutor(2) if threads else None) for _ in range(2)]

    assert [state["second"].is_cached() for state in states] == [False, True]
    assert states[1]["second"].result == [1]
    assert group.calls == ["first", "second"]
    assert group.heard == ["commit", "commit"]


def test_if_one_of_them_fails_the_next_run_finds_none_of_them() -> None:
    group = Group()
    group.fails = True
    assert group.run()["second"].is_failed()

    group.fails = False
    again = group.run()

    assert not again["first"].is_cached()
    assert group.calls == ["first", "second"] * 2
    assert group.heard == ["rollback", "commit"]


def test_a_run_that_fails_leaves_what_an_earlier_one_committed() -> None:
    group = Group()
    group.run(1)
    group.fails = True
    group.run(2)

    found = group.run(1)

    assert found["first"].is_cached()
    assert found["second"].is_cached()


def test_what_is_found_is_what_the_last_commit_had() -> None:
    group = Group()
    group.run(1)
    group.run(2)

    assert group.run(2)["first"].is_cached()
    assert not group.run(1)["first"].is_cached()


def test_nothing_is_visible_before_the_end(stored: Callable[[], list[Path]]) -> None:
    """A task outside of the transaction looks while the other one is done."""
    seen: list[list[str]] = []

    def look(x: object) -> object:
        seen.append([path.parent.name for path in stored()])
        return x

    with Flow("flow") as flow, transaction(key="key"):
        first = a_task(lambda: 1, name="first", cache_policy=TASK_SOURCE)()
        a_task(look, name="second", cache_policy=INPUTS)(first)
    run = flow.run()

    assert [folder in {"transactions", "any"} for folder in seen[0]] == [False]
    assert sorted({path.parent.name for path in stored()}) == sorted({"transactions", str(run.context["run_id"])})


def test_a_commit_that_cannot_be_written_fails_the_run_and_rolls_back(
    isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = Group()
    (isolated / "results").mkdir(parents=True)
    (isolated / "results" / "transactions").write_text("in the way")
    heard: list[str] = []
    with Flow("flow") as flow, transaction(key="both") as made:
        a_task(lambda: 1, name="first", cache_policy=TASK_SOURCE)()
    made.on_rollback(lambda _: heard.append("rollback"))

    run = flow.run()

    assert run.is_failed()
    assert "the transaction 'both' could not be committed: storage" in str(run.message)
    assert heard == ["rollback"]
    assert group.heard == []


def test_a_damaged_record_of_a_commit_is_a_miss_with_a_warning(
    isolated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    group = Group()
    group.run()
    (record,) = (isolated / "results" / "transactions").iterdir()
    record.write_bytes(record.read_bytes()[:-1])

    found = group.run()

    assert not found["first"].is_cached()
    assert "are left out and computed again" in caplog.text
    assert group.run()["first"].is_cached()


def run_with_hooks(*, fails: bool, broken: bool = False) -> list[str]:
    heard: list[str] = []

    def hook(name: str) -> Callable[[OpenTransaction], None]:
        def say(_: OpenTransaction) -> None:
            heard.append(name)
            if broken:
                raise LookupError("secret")

        return say

    @task
    def one() -> int:
        return 1

    @task
    def two(x: int) -> int:
        return x

    @task
    def three(x: int) -> int:
        if fails:
            raise ValueError
        return x

    for name, each in {"one": one, "two": two, "three": three}.items():
        each.on_commit(hook(f"{name} commits"))
        each.on_rollback(hook(f"{name} rolls back"))
    with Flow("flow") as flow, transaction() as made:
        three(two(one()))
    made.on_commit(hook("all commits"))
    made.on_rollback(hook("all rolls back"))
    flow.run()
    return heard


def test_hooks_of_a_commit_run_in_the_order_of_the_tasks() -> None:
    assert run_with_hooks(fails=False) == ["one commits", "two commits", "three commits", "all commits"]


def test_hooks_of_a_rollback_run_in_reverse_for_the_tasks_that_succeeded() -> None:
    assert run_with_hooks(fails=True) == ["two rolls back", "one rolls back", "all rolls back"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_hook_that_raises_does_not_keep_the_others_from_running(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "strongroom"):
        heard = run_with_hooks(fails=fails, broken=True)

    assert len(heard) == (3 if fails else 4)
    assert "a hook of the transaction None raised LookupError" in caplog.text
    assert "secret" not in caplog.text


def test_tasks_tell_later_tasks_and_hooks_what_they_did() -> None:
    heard: list[object] = []

    @task
    def makes() -> None:
        current_transaction().set("table", "a table")

    @task
    def uses(_: object) -> object:
        return current_transaction().get("table")

    makes.on_commit(lambda opened: heard.append(opened.get("table")))
    with Flow("flow") as flow, transaction():
        used = uses(makes())

    assert states_of(flow.run(executor=ThreadExecutor(2)))[used].result == "a table"
    assert heard == ["a table"]


def test_two_runs_of_one_flow_do_not_see_each_others_values() -> None:
    @task
    def counts() -> object:
        opened = current_transaction()
        opened.set("count", int(opened.get("count", 0)) + 1)  # type: ignore[call-overload]
        return opened.get("count")

    with Flow("flow") as flow, transaction():
        counted = counts()

    assert [states_of(flow.run())[counted].result for _ in range(2)] == [1, 1]


def test_a_run_that_is_stopped_rolls_back() -> None:
    heard: list[str] = []

    @task
    def stops() -> None:
        raise KeyboardInterrupt

    with Flow("flow") as flow, transaction() as made:
        stops()
    made.on_rollback(lambda _: heard.append("rollback"))
    with pytest.raises(KeyboardInterrupt):
        flow.run()

    assert heard == ["rollback"]


class Resumed:
    """A flow of four tasks in a transaction; what stands in the way of the third one can be chosen."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.heard: list[str] = []
        self.interrupted = False
        self.pauses = False

    def flow(self) -> Flow:
        def first(x: int) -> int:
            self.calls.append("first")
            current_transaction().set("x", x)
            return x

        def each(x: int) -> int:
            self.calls.append(f"each {x}")
            return x * 10

        def third(x: list[int]) -> int:
            if self.interrupted:
                self.interrupted = False
                raise KeyboardInterrupt
            if self.pauses and not context.resume:
                raise signals.PAUSE
            self.calls.append("third")
            return sum(x)

        with Flow("flow") as flow, transaction(key="resumed") as made:
            one = a_task(first, cache_policy=INPUTS)(1)
            many = a_task(each, cache_policy=INPUTS).map([1, 2], upstream_tasks=[unmapped(one)])
            a_task(third, cache_policy=INPUTS)(many)
        made.on_commit(lambda opened: self.heard.append(f"commit {opened.get('x', 'gone')}"))
        made.on_rollback(lambda opened: self.heard.append(f"rollback {opened.get('x', 'gone')}"))
        return flow

    def all_cached(self) -> bool:
        """True if a new run finds all results."""
        self.pauses = False
        states = {each.name: state for each, state in states_of(self.flow().run()).items()}
        children = states["each"].map_states  # type: ignore[attr-defined]  # a Mapped state
        return all(state.is_cached() for state in (states["first"], *children, states["third"]))


def last_run() -> str:
    with closing(Project.open().open_backend()) as backend:
        return backend.runs(limit=1)[0]


def test_a_transaction_stays_open_while_one_of_its_tasks_is_paused() -> None:
    group = Resumed()
    group.pauses = True

    assert group.flow().run().is_running()
    assert group.heard == []
    assert group.flow().resume(last_run()).is_successful()

    assert group.calls == ["first", "each 1", "each 2", "third"]
    # What was set in another process is not there any more.
    assert group.heard == ["commit gone"]
    assert group.all_cached()
    assert group.calls == ["first", "each 1", "each 2", "third"]


def test_a_transaction_that_was_rolled_back_by_an_interrupt_starts_over_when_the_run_is_resumed() -> None:
    group = Resumed()
    group.interrupted = True

    with pytest.raises(KeyboardInterrupt):
        group.flow().run()
    assert group.heard == ["rollback 1"]
    assert group.flow().resume(last_run()).is_successful()

    assert group.calls == ["first", "each 1", "each 2", "first", "each 1", "each 2", "third"]
    assert group.heard == ["rollback 1", "commit 1"]
    assert group.all_cached()


def test_what_ran_again_after_a_rollback_is_not_undone_by_it_a_second_time() -> None:
    group = Resumed()
    group.interrupted = group.pauses = True

    with pytest.raises(KeyboardInterrupt):
        group.flow().run()
    assert group.flow().resume(last_run()).is_running()
    group.calls.clear()
    assert group.flow().resume(last_run()).is_successful()

    assert group.calls == ["third"]
    assert group.all_cached()


@pytest.mark.parametrize("fails", [False, True], ids=["committed", "rolled back"])
def test_a_transaction_that_has_ended_stays_as_it_is_in_a_resumed_run(fails: bool) -> None:
    heard: list[str] = []

    def flow() -> Flow:
        with Flow("flow") as made:
            with transaction(key="ended") as group:
                ends = a_task(lambda: 1 // (not fails), name="ends", cache_policy=TASK_SOURCE)()
            a_task(lambda: 1, name="after", trigger=manual_only)(upstream_tasks=[ends])
        group.on_commit(lambda _: heard.append("commit"))
        group.on_rollback(lambda _: heard.append("rollback"))
        return made

    flow().run()
    flow().resume(last_run())

    assert heard == ["rollback" if fails else "commit"]


def test_a_value_that_was_set_before_a_resumption_is_not_taken_for_none() -> None:
    @task
    def makes() -> None:
        current_transaction().set("table", "a table")

    @task(trigger=manual_only)
    def uses() -> object:
        return current_transaction().get("table")

    def flow() -> Flow:
        with Flow("flow") as made, transaction():
            uses(upstream_tasks=[makes()])
        return made

    flow().run()
    again = flow()
    state = states_of(again.resume(last_run()))[again.get_task("uses")]

    assert isinstance(state.result, NotSupportedError)
    assert "may have been set before the run was resumed" in str(state.result)


def test_a_flow_that_is_copied_or_taken_in_keeps_its_transactions() -> None:
    calls: list[int] = []

    def build(added: bool) -> Flow:
        with Flow("flow") as made, transaction(key="copied"):
            one = a_task(lambda: calls.append(1), name="one", cache_policy=INPUTS)()
        if added:
            other = Flow("flow")
            other.update(made)
            other.update(made)
            return other
        made.replace(one, a_task(lambda: calls.append(2), name="two", cache_policy=INPUTS))
        return made.copy()

    for added in (False, True):
        flow = build(added)
        assert len(flow.transactions) == 1
        flow.run()
        assert states_of(flow.run())[flow.tasks[0]].is_cached()
    assert calls == [2, 1]
    with pytest.raises(DefinitionError, match="two transactions of the flow 'flow' have the key 'copied'"):  # noqa: SIM117
        with flow, transaction(key="copied"):
            a_task(lambda: 1, name="another")()


def test_a_mapped_task_counts_with_all_its_children() -> None:
    calls: list[object] = []

    def each(x: int) -> int:
        calls.append(x)
        return 10 // x

    def run(numbers: list[int]) -> None:
        with Flow("flow") as flow, transaction(key="mapped"):
            a_task(each, cache_policy=INPUTS).map(numbers)
        flow.run()

    run([1, 0, 2])
    run([1, 2])
    run([1, 2])

    assert calls == [1, 0, 2, 1, 2]


def test_a_transaction_belongs_into_a_flow_and_needs_tasks_and_sometimes_a_key() -> None:
    with pytest.raises(DefinitionError, match="open it inside `with Flow"), transaction():
        pass
    with pytest.raises(DefinitionError, match="adds none"), Flow("flow"), transaction():
        pass
    with pytest.raises(DefinitionError, match="'first' is cached, so the transaction around it needs a key"):  # noqa: SIM117
        with Flow("flow"), transaction():
            a_task(lambda: 1, name="first", cache_policy=TASK_SOURCE)()
    with pytest.raises(NotSupportedError, match="put their tasks into one"), Flow("flow"), transaction(), transaction():
        pass


def test_outside_of_a_transaction_there_is_none() -> None:
    with Flow("flow") as flow:
        found = a_task(current_transaction)()

    state = states_of(flow.run())[found]

    assert isinstance(state.result, DefinitionError)
    assert "no transaction is open here" in str(state.result)
