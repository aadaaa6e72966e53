# SPDX-License-Identifier: Apache-2.0
"""Which results does a project say are in use?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom import Flow, signals, task, transaction
from strongroom.caching import INPUTS
from strongroom.project import Project
from strongroom.results import Collected, RunReferences


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("STRONGROOM_HOME", str(tmp_path / "home"))
    return Project.open()


def references(project: Project) -> list[RunReferences]:
    with project.open_backend() as backend:
        return [each for each in project.references(backend) if each.run_id]


def collect(project: Project) -> Collected:
    with project.open_backend() as backend:
        return project.store().collect_garbage(project.references(backend), grace=timedelta(0))


def keys(project: Project) -> Iterator[str]:
    return (entry.key for entry in project.store().list() if entry.key != "garbage/mark")


@task(persist_result=True)
def number() -> int:
    return 1


@task
def waits(number: int) -> int:
    raise signals.PAUSE("not now")


def test_a_run_that_has_ended_uses_what_its_states_refer_to(project: Project) -> None:
    with Flow("flow") as flow:
        number()
    flow.run()

    (found,) = references(project)

    assert not found.goes_on
    assert found.keys == set(keys(project))
    assert [collect(project).deleted for _ in range(3)] == [0, 0, 0]


def test_a_run_that_is_paused_keeps_all_that_it_wrote_and_can_be_resumed(project: Project) -> None:
    with Flow("flow") as flow:
        waits(number())
    flow.run()

    (found,) = references(project)

    assert found.goes_on
    assert len(found.keys) >= 1
    assert [collect(project).deleted for _ in range(3)] == [0, 0, 0]


def test_a_cached_result_is_in_use_by_the_runs_that_used_it(project: Project) -> None:
    @task(cache_policy=INPUTS)
    def cached() -> int:
        return 1

    with Flow("flow") as flow:
        cached()
    flow.run()
    flow.run()

    one, two = references(project)

    assert one.keys == two.keys == set(keys(project))


def test_what_a_transaction_made_visible_is_in_use(project: Project) -> None:
    with Flow("flow") as flow, transaction(key="together"):

        @task(cache_policy=INPUTS)
        def cached() -> int:
            return 1

        cached()
    flow.run()
    staged = {key for key in keys(project) if key.startswith("runs/")}

    with project.open_backend() as backend:
        (found,) = (each for each in project.references(backend) if not each.run_id)

    assert staged
    assert found.keys == staged


def test_results_that_a_plugin_keeps_in_its_own_way_hold_their_whole_run(project: Project) -> None:
    from strongroom.abc import JSONValue, ResultHandler, Slot

    class Own(ResultHandler):
        id = "own"

        def write(self, value: object, slot: Slot) -> JSONValue:
            return {"hidden": True}

        def read(self, reference: JSONValue, slot: Slot) -> object:
            return 1

    @task(persist_result=True, result_handler=Own())
    def kept() -> int:
        return 1

    with Flow("flow") as flow:
        kept()
    flow.run()

    (found,) = references(project)

    assert found.goes_on
    assert found.opaque


def test_transactions_and_collections_work_where_results_must_be_encrypted(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRONGROOM_RESULTS_SERIALIZER", "encrypted/auto")
    monkeypatch.setenv("STRONGROOM_RESULTS_REQUIRE_ENCRYPTION", "true")
    with Flow("flow") as flow, transaction(key="together"):

        @task(cache_policy=INPUTS)
        def cached() -> int:
            return 1

        cached()

    assert flow.run().is_successful()
    assert collect(Project.open()).deleted == 0
    assert {Project.open().store().check(key).chain for key in keys(project)} == {
        "encrypted/json",
        "encrypted/strongroom.receipts",
    }
