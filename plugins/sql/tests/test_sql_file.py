# SPDX-License-Identifier: Apache-2.0
"""Is the file made for its owner only, and refused with one clear line where it cannot be used?"""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from strongroom import Envelope
from strongroom.errors import BackendError, BackendUnavailableError, NotSupportedError, SettingsError
from strongroom_sql.backend import SQLBackend

RUN = "0123456789abcdef" * 2


def a_document(sequence: int = 0) -> Envelope:
    return Envelope(RUN, "task", -1, sequence, "state", "task", "Success", 5, 1, b"sealed")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "strongroom.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.stat().st_mode))


@pytest.mark.usefixtures("no_umask")
def test_only_the_owner_may_read_the_files_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    with SQLBackend(f"sqlite:///{folder}/strongroom.db") as backend:
        backend.append([a_document()])

        assert {file.name: mode(file) for file in folder.iterdir()} == {
            "strongroom.db": "0o600",
            "strongroom.db-wal": "0o600",
            "strongroom.db-shm": "0o600",
        }
    assert mode(folder) == "0o700"


def test_closing_leaves_everything_in_the_one_file(path: Path, url: str) -> None:
    with SQLBackend(url) as backend:
        backend.append([a_document()])

    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_empty_file_is_made_into_a_database(path: Path, url: str) -> None:
    path.touch()

    with SQLBackend(url) as backend:
        backend.append([a_document()])
        assert list(backend.read(RUN)) == [a_document()]


def test_a_relative_path_stays_the_same_place_when_the_folder_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with SQLBackend("sqlite:///strongroom.db") as backend:
        monkeypatch.chdir("/")
        backend.append([a_document()])

    with SQLBackend(f"sqlite:///{tmp_path}/strongroom.db") as backend:
        assert list(backend.read(RUN)) == [a_document()]


def test_processes_may_make_the_database_at_once(url: str) -> None:
    program = (
        "import sys; from strongroom_sql.backend import SQLBackend; print(flush=True); sys.stdin.read(); "
        f"SQLBackend({url!r}).close()"
    )
    command = [sys.executable, "-c", program]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for _ in range(3)
        ]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()  # it has imported everything
        for process in processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in processes:
            process.wait(timeout=60)

    assert [process.returncode for process in processes] == [0, 0, 0]
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(1,)]


def no_database(path: Path) -> None:
    path.write_bytes(b"canary " * 1000)


def a_damaged_database(path: Path) -> None:
    SQLBackend(f"sqlite:///{path}").close()
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3900)


def a_newer_database(path: Path) -> None:
    SQLBackend(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE schema_version SET version = 2")


def a_database_without_a_version(path: Path) -> None:
    SQLBackend(f"sqlite:///{path}").close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM schema_version")


def somebody_elses_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE documents (id INTEGER)")


def a_folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("put", "says"),
    [
        (no_database, "is not an SQLite database; move the file away"),
        (a_damaged_database, "is damaged; restore a copy"),
        (a_newer_database, "has version 2 of the schema and this strongroom-sql knows versions up to 1; upgrade"),
        (a_database_without_a_version, "has version None of the schema"),
        (somebody_elses_database, "is a database of something else; name another in"),
        (a_folder, "cannot be opened; check that its folder exists"),
    ],
)
def test_what_is_no_database_of_ours_is_refused_and_left_alone(
    path: Path, url: str, put: Callable[[Path], None], says: str
) -> None:
    put(path)
    before = path.read_bytes() if path.is_file() else b""

    with pytest.raises(BackendError) as caught:
        SQLBackend(url)

    message = str(caught.value)
    assert says in message
    assert str(path) in message
    assert "\n" not in message
    assert not re.search("canary|SELECT|PRAGMA [^i]", message)
    assert path.is_dir() or path.read_bytes()[100:] == before[100:]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"nowhere/at/all/strongroom.db' cannot be created: No such file"):
        SQLBackend(f"sqlite:///{tmp_path}/nowhere/at/all/strongroom.db")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://me:hunter2@host/db", "'mysql' is not supported by this version; use sqlite:"),
        ("sqlite+pysqlcipher://:hunter2@/x.db", "'sqlite.pysqlcipher' is not supported"),
        ("sqlite://", "in memory is not supported by this version; use the backend 'memory'"),
        ("sqlite:///:memory:", "in memory is not supported"),
        ("sqlite:///x.db?mode=hunter2", "parameters after '.'"),
    ],
)
def test_a_url_of_something_else_is_refused_without_repeating_it(url: str, says: str) -> None:
    with pytest.raises(NotSupportedError, match=says) as caught:
        SQLBackend(url)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "/folder/strongroom.db", "hunter2", "x://h:hunter2/"])
def test_what_is_no_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsError, match="write it like sqlite:////folder") as caught:
        SQLBackend(url)

    assert "hunter2" not in str(caught.value)


def test_a_database_that_another_process_keeps_locked_may_be_tried_again(url: str, path: Path) -> None:
    with SQLBackend(url, busy_seconds=0.01) as backend, closing(sqlite3.connect(path)) as other:
        backend.append([a_document()])
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(BackendUnavailableError, match="is locked by another process; try again"):
            backend.append([a_document(1)])
        readable = list(backend.read(RUN))
        SQLBackend(url, busy_seconds=0.01).close()
        other.rollback()
        backend.append([a_document(1)])

        assert readable == [a_document()]
        assert list(backend.read(RUN)) == [a_document(), a_document(1)]


def test_a_database_that_was_deleted_while_in_use_is_noticed(url: str, path: Path) -> None:
    with SQLBackend(url) as backend:
        path.unlink()

        with pytest.raises(BackendError, match="moved or deleted while in use"):
            backend.append([a_document()])


@pytest.mark.parametrize(("column", "value"), [("sealed", "text"), ("sealed", 5), ("at", "soon"), ("name", b"\xff")])
def test_a_row_that_is_no_document_is_not_passed_on(url: str, path: Path, column: str, value: object) -> None:
    with SQLBackend(url) as backend, closing(sqlite3.connect(path)) as attacker:
        backend.append([a_document()])
        with attacker:
            attacker.execute(f"UPDATE documents SET {column} = ?", (value,))

        with pytest.raises(BackendError, match="a row of it is no document"):
            list(backend.read(RUN))


def test_an_id_of_a_run_that_is_no_text_is_not_passed_on(url: str, path: Path) -> None:
    with SQLBackend(url) as backend, closing(sqlite3.connect(path)) as attacker:
        backend.append([a_document()])
        with attacker:
            attacker.execute("UPDATE documents SET kind = 'run', run_id = x'ff'")

        with pytest.raises(BackendError, match="a row of it is no document"):
            backend.runs()


@pytest.mark.parametrize(("field", "value"), [("name", "canary \ud800"), ("at", 2**63)])
def test_what_no_column_can_hold_is_refused_without_repeating_it(url: str, field: str, value: object) -> None:
    fields = {name: getattr(a_document(1), name) for name in Envelope.__struct_fields__}
    with SQLBackend(url) as backend:
        with pytest.raises(BackendError, match="text or number out of range") as caught:
            backend.append([a_document(), Envelope(**{**fields, field: value})])

        assert caught.value.__cause__ is None
        assert list(backend.read(RUN)) == []


def test_an_error_has_neither_statement_nor_values_in_its_traceback(url: str, path: Path) -> None:
    with SQLBackend(url, busy_seconds=0.01) as backend, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(BackendError) as caught:
            backend.append([a_document()])

    assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert str(caught.value.__cause__) == "database is locked"


def test_every_commit_waits_for_the_disk(url: str) -> None:
    with SQLBackend(url) as backend, backend._transaction() as connection:
        full = 2
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == full
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_is_told_to_open_the_database_itself(url: str) -> None:
    with SQLBackend(url) as backend:
        receiver, sender = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                backend.append([a_document()])
            except BackendError as error:
                os.write(sender, str(error).encode())
            finally:
                backend.close()
                os._exit(0)
        os.waitpid(pid, 0)
        os.close(sender)
        with os.fdopen(receiver, "rb") as said:
            assert b"was opened before a fork; open it in this process" in said.read()

        backend.append([a_document()])
        assert list(backend.read(RUN)) == [a_document()]
