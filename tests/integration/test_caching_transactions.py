# SPDX-License-Identifier: Apache-2.0
"""Do the results of a transaction become visible together, or not at all?"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom import Flow, OpenTransaction, State, ThreadExecutor, current_transaction, task, transaction
from strongroom.caching import INPUTS, TASK_SOURCE
from strongroom.errors import DefinitionError, NotSupportedError

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
