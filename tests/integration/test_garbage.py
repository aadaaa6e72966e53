# SPDX-License-Identifier: Apache-2.0
"""Which results does a project say are in use?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom import Flow, ResultHandler, Slot, signals, task, transaction
from strongroom.abc import JSONValue, Wrapped
from strongroom.caching import INPUTS
from strongroom.project import Project
from strongroom.results import Collected, RunReferences
from strongroom_encrypted.uri import EncryptedURI
from strongroom_masked.uri import MaskedURI


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


def run_keeping_with(handler: str | ResultHandler) -> None:
    @task(persist_result=True, result_handler=handler)
    def kept() -> int:
        return 1

    with Flow("flow") as flow:
        kept()
    flow.run()


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param("encrypted-uri", id="encrypted"),
        pytest.param("masked-uri", id="masked"),
        pytest.param(EncryptedURI(MaskedURI(EncryptedURI())), id="both, and one twice"),
    ],
)
def test_what_lies_behind_a_handler_that_wraps_another_one_is_told_from_garbage(
    project: Project, handler: str | ResultHandler
) -> None:
    run_keeping_with(handler)
    in_use = set(keys(project))
    (found,) = references(project)
    unused = project.store().key_for(Slot(found.run_id, "kept-1"))
    project.store().write(2, unused)

    assert (found.keys, found.goes_on, found.opaque) == (in_use, False, False)
    assert [collect(project).deleted for _ in range(3)] == [0, 1, 0]
    assert set(keys(project)) == in_use


class Endless(ResultHandler):
    """It says that it wraps another one, and that one another, and so on."""

    id = "encrypted-uri"

    def write(self, value: object, slot: Slot) -> JSONValue:
        return {"sealed": ""}

    def read(self, reference: JSONValue, slot: Slot) -> object:
        return 1

    def unwrap(self, reference: JSONValue, slot: Slot) -> Wrapped:
        return Wrapped(self.id, reference)


class Broken(Endless):
    def unwrap(self, reference: JSONValue, slot: Slot) -> Wrapped:
        raise ZeroDivisionError


@pytest.mark.parametrize("handler", [Endless(), Broken()], ids=["endless", "broken"])
def test_a_handler_that_cannot_tell_what_it_wraps_holds_its_whole_run(
    project: Project, handler: ResultHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_keeping_with(handler)
    monkeypatch.setattr(Project, "reader", lambda *_: handler)

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
