# SPDX-License-Identifier: Apache-2.0
"""Does a real PostgreSQL keep to the grants that we document, and do its troubles read as one line without secrets?"""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

import strongroom_sql
from strongroom import Backend, Envelope
from strongroom.errors import BackendError, BackendUnavailableError, SettingsError
from strongroom_sql import _schema
from strongroom_sql.postgresql import PostgreSQLBackend

RUN = "0123456789abcdef" * 2
LONG = 600.0


def a_document(sequence: int = 0, *, kind: str = "state") -> Envelope:
    return Envelope(RUN, "task", -1, sequence, kind, "task", "Success", 5, 1, b"sealed")


@pytest.fixture
def admin(postgresql_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def backend(postgresql_url: str) -> Iterator[PostgreSQLBackend]:
    with PostgreSQLBackend(postgresql_url) as backend:
        yield backend


@pytest.fixture
def role(
    pytestconfig: pytest.Config, postgresql_url: str, admin: psycopg.Connection, backend: PostgreSQLBackend
) -> Iterator[Callable[[str], PostgreSQLBackend]]:
    """Opens the backend as the reader or the writer that docs/howto/backends.md makes."""
    backend.append([a_document(kind="run"), a_document(1)])
    page = Path(pytestconfig.rootpath, "docs/howto/backends.md").read_text()
    admin.execute(page.split("```sql\n")[1].split("```")[0].encode())
    with ExitStack() as opened:

        def open_as(role: str) -> PostgreSQLBackend:
            url = sa.make_url(postgresql_url).set(username=role).render_as_string(hide_password=False)
            return opened.enter_context(PostgreSQLBackend(url))

        yield open_as
    for name in ("strongroom_reader", "strongroom_writer"):
        admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


def test_a_reader_reads_and_can_write_nothing(role: Callable[[str], PostgreSQLBackend]) -> None:
    reader = role("strongroom_reader")

    assert [each.sequence for each in reader.read(RUN)] == [0, 1]
    assert list(reader.runs()) == [RUN]
    with pytest.raises(BackendError, match=r"does not let this role do that; docs/howto/backends.md has the grants"):
        reader.append([a_document(2)])
    with pytest.raises(BackendError, match="does not let this role"):
        reader.acquire("name", "holder", seconds=LONG)


def test_a_writer_appends_and_holds_leases(role: Callable[[str], PostgreSQLBackend]) -> None:
    writer = role("strongroom_writer")

    writer.append([a_document(1), a_document(2)])
    lease = writer.acquire("name", "holder", seconds=LONG)

    assert [each.sequence for each in writer.read(RUN)] == [0, 1, 2]
    assert lease is not None
    assert writer.renew(lease, seconds=LONG)
    writer.release(lease)
    assert writer.acquire("name", "holder", seconds=LONG) is not None


@pytest.mark.parametrize("user", ["strongroom_reader", "strongroom_writer"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE strongroom.documents SET type = 'Success'",
        "DELETE FROM strongroom.documents",
        "TRUNCATE strongroom.documents",
        "DROP TABLE strongroom.documents",
        # Overriding, or the refusal would be of the given ordinals and not of the change.
        "INSERT INTO strongroom.documents OVERRIDING SYSTEM VALUE TABLE strongroom.documents "  # noqa: ISC004
        "ON CONFLICT (ordinal) DO UPDATE SET at = 1",
        "INSERT INTO strongroom.schema_version VALUES (9)",
        "CREATE TABLE strongroom.mine (x int)",
    ],
)
def test_neither_role_can_change_what_is_recorded(
    role: Callable[[str], PostgreSQLBackend], backend: PostgreSQLBackend, user: str, statement: str
) -> None:
    opened = role(user)
    before = list(backend.read(RUN))

    with pytest.raises(BackendError, match="does not let this role"), opened._transaction() as connection:
        connection.exec_driver_sql(statement)

    assert list(backend.read(RUN)) == before


def test_many_who_start_at_once_make_the_tables_once(postgresql_url: str) -> None:
    with ExitStack() as opened:
        backends = [opened.enter_context(PostgreSQLBackend(postgresql_url)) for _ in range(6)]

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda each: each.append([a_document()]), backends))

        assert list(backends[0].read(RUN)) == [a_document()]
        with backends[0]._transaction() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(_schema._versions)) == 1


def add_an_index(connection: sa.Connection) -> None:
    connection.execute(sa.schema.CreateIndex(sa.Index("documents_by_time", _schema.documents.c.at)))
    # What the next test makes is to be the tables as they are.
    _schema.documents.indexes -= {each for each in _schema.documents.indexes if each.name == "documents_by_time"}


def test_an_older_database_is_brought_up_to_date_by_the_first_and_waited_for_by_the_others(
    postgresql_url: str, backend: PostgreSQLBackend, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.append([a_document()])
    monkeypatch.setattr(_schema, "STEPS", (*_schema.STEPS, add_an_index))

    with ExitStack() as opened:
        backends = [opened.enter_context(PostgreSQLBackend(postgresql_url)) for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda each: list(each.read(RUN)), backends))

    assert found == [[a_document()]] * 4
    assert admin.execute("SELECT version FROM strongroom.schema_version ORDER BY 1").fetchall() == [(1,), (2,)]


def test_a_newer_database_is_refused(
    postgresql_url: str, backend: PostgreSQLBackend, admin: psycopg.Connection
) -> None:
    backend.append([a_document()])
    admin.execute("INSERT INTO strongroom.schema_version VALUES (2)")

    with PostgreSQLBackend(postgresql_url) as late, pytest.raises(BackendError, match=r"has version 2.*upgrade"):
        late.append([a_document(1)])


def test_a_connection_that_the_server_ended_is_made_again(
    backend: PostgreSQLBackend, admin: psycopg.Connection
) -> None:
    backend.append([a_document()])
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'strongroom'")

    with pytest.raises(BackendUnavailableError):
        backend.append([a_document(1)])
    backend.append([a_document(1)])

    assert [each.sequence for each in backend.read(RUN)] == [0, 1]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://hunter2:hunter3@127.0.0.1:1/database", "cannot be reached"),
        ("postgresql://hunter2:hunter3@127.0.0.1:1/database?sslmode=hunter4", "cannot be reached|failed"),
        ("postgresql://hunter2:hunter3@127.0.0.1:1/database?nonsense=hunter4", "failed|cannot be reached"),
    ],
)
def test_a_server_that_is_down_is_told_of_without_credentials(url: str, says: str) -> None:
    with PostgreSQLBackend(url) as backend:
        with pytest.raises(BackendError, match=says) as caught:
            backend.append([a_document()])

        told = "".join(traceback.format_exception(caught.value))
        assert "hunter" not in told
        assert "hunter" not in repr(backend)
        assert "hunter3" not in repr(backend._engine)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://host/db?password=hunter2", "postgresql://a:hunter2@b:c/d"])
def test_a_url_that_is_none_or_shows_its_password_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        PostgreSQLBackend(url)

    assert "hunter" not in "".join(traceback.format_exception(caught.value)).split("SettingsError")[-1]


def test_text_that_no_column_can_hold_is_refused_without_repeating_it(backend: PostgreSQLBackend) -> None:
    for name in ("canary \ud800", "canary \x00"):
        document = Envelope(RUN, "task", -1, 0, "state", name, "Success", 5, 1, b"sealed")

        with pytest.raises(BackendError, match="text or number out of range") as caught:
            backend.append([document])

        assert "canary" not in "".join(traceback.format_exception(caught.value))


def test_the_plugin_opens_it_by_its_url(postgresql_url: str) -> None:
    registered: dict[str, Callable[[str], Backend]] = {}

    class Register:
        def backend(self, id_: str, factory: Callable[[str], Backend]) -> None:
            registered[id_] = factory

    strongroom_sql.strongroom_register(Register())  # type: ignore[arg-type]  # it offers nothing but a backend

    with registered["sql"](postgresql_url) as backend:
        backend.append([a_document()])
        assert list(backend.read(RUN)) == [a_document()]


def test_a_run_is_recorded_in_it(postgresql_url: str, tmp_path: Path) -> None:
    program = (
        "from strongroom import Flow, task\n"
        "@task\ndef one() -> int: return 1\n"
        "with Flow('numbers') as flow: one()\n"
        "assert flow.run().is_successful()\n"
    )
    env = {"STRONGROOM_HOME": str(tmp_path / "home"), "STRONGROOM_BACKEND_URL": postgresql_url}

    subprocess.run([sys.executable, "-c", program], check=True, env=env)

    with PostgreSQLBackend(postgresql_url) as backend:
        (run,) = backend.runs()
        assert [each.type for each in backend.read(run, task="")][-1] == "Success"


def test_a_batch_is_one_statement_and_a_look_at_what_it_goes_on_with(backend: PostgreSQLBackend) -> None:
    backend.append([a_document()])
    seen = []
    assert backend._engine is not None
    sa.event.listen(backend._engine, "before_cursor_execute", lambda *about: seen.append(about[2].split(" (")[0]))

    backend.append([a_document(number) for number in range(1, 700)])

    assert [each.split()[0] for each in seen] == ["SELECT", "INSERT"]
