# SPDX-License-Identifier: Apache-2.0
"""Is a run resumed whose newest states the backend has lost, or hides, although this home has sent them?"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from strongroom import Flow, _recorder, triggers
from strongroom.errors import NotResumableError
from strongroom.project import Project

from .conftest import a_task


@pytest.fixture
def flow() -> Flow:
    """A flow that waits for somebody twice."""
    with Flow("flow") as flow:
        first = a_task(lambda: 1, name="first", trigger=triggers.manual_only)()
        a_task(lambda x: x, name="second", trigger=triggers.manual_only)(first)
    return flow


def copy(home: Path, name: str) -> Path:
    """A copy of the database of *home*, as a backup has it."""
    target = home.parent / name
    with closing(sqlite3.connect(home / "strongroom.db")) as now, closing(sqlite3.connect(target)) as then:
        now.backup(then)
    return target


def put_back(backup: Path, home: Path) -> None:
    for path in home.glob("strongroom.db*"):
        path.unlink()
    shutil.copy(backup, home / "strongroom.db")


def test_a_run_whose_end_is_missing_is_not_resumed_until_it_is_back(flow: Flow, isolated: Path) -> None:
    run_id = str(flow.run().context["run_id"])
    older = copy(isolated, "older.db")
    flow.resume(run_id)
    newer = copy(isolated, "newer.db")

    put_back(older, isolated)
    with pytest.raises(NotResumableError, match="this home has sent more of it than the backend has; bring the rest"):
        flow.resume(run_id)

    put_back(newer, isolated)
    assert flow.resume(run_id).is_successful()


def test_a_run_that_another_home_went_on_with_is_resumed(
    flow: Flow, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = str(flow.run().context["run_id"])
    other = isolated.parent / "other"
    other.mkdir(mode=0o700)
    shutil.copy(isolated / "keyring.toml", other)
    with monkeypatch.context() as there:
        there.setenv("STRONGROOM_HOME", str(other))
        there.setenv("STRONGROOM_BACKEND_URL", f"sqlite:///{isolated / 'strongroom.db'}")
        flow.resume(run_id)

    assert flow.resume(run_id).is_successful()


def test_what_was_thrown_away_from_the_outbox_is_not_missed(
    flow: Flow, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = str(flow.run().context["run_id"])
    with closing(sqlite3.connect(isolated / "strongroom.db", isolation_level=None)) as other:
        other.execute(
            "CREATE TRIGGER refuses BEFORE INSERT ON documents BEGIN SELECT RAISE(ABORT, 'not today'); END",
        )
        flow.resume(run_id)
        other.execute("DROP TRIGGER refuses")
    outbox = Project.open().outbox
    assert [each.run_id for each in outbox.waiting()] == [run_id]

    outbox.discard(run_id)

    flow.resume(run_id)
    assert flow.resume(run_id).is_successful()


def test_no_more_is_known_to_have_left_than_the_disk_has(
    flow: Flow, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    def note(_home: Path, _run_id: str, _head: bytes) -> None:
        with closing(sqlite3.connect(isolated / "strongroom.db")) as database:
            counts.extend(database.execute("SELECT count(*) FROM documents").fetchone())

    monkeypatch.setattr(_recorder, "note_head", note)
    flow.run()

    with closing(sqlite3.connect(isolated / "strongroom.db")) as database:
        assert counts == [*database.execute("SELECT count(*) FROM documents").fetchone()]


def test_a_home_that_cannot_note_the_end_of_a_run_warns(
    flow: Flow, isolated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _ = Project.open().keyring
    (isolated / "heads.d").touch()

    with caplog.at_level(logging.WARNING):
        flow.run()

    assert "is not noted" in caplog.text
