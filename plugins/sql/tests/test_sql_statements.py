# SPDX-License-Identifier: Apache-2.0
"""Do many rows in one statement arrive as one by one, and are long records read by index, in little memory?"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from strongroom import Backend, Envelope
from strongroom_sql import _schema
from strongroom_sql._statements import Inserts
from strongroom_sql.backend import SQLBackend


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SQLBackend]:
    with SQLBackend(f"sqlite:///{tmp_path}/strongroom.db") as backend:
        yield backend


texts = st.text(max_size=20)
small = st.integers(-1, 2**31 - 1)
documents = st.builds(
    Envelope,
    run_id=st.just(""),
    task=texts,
    map_index=small,
    sequence=st.just(0),  # what comes after nothing is refused
    kind=texts,
    name=texts,
    type=texts,
    at=st.integers(-(2**63), 2**63 - 1),
    run_count=small,
    sealed=st.binary(max_size=100),
)


def identity(document: Envelope) -> tuple[str, int, int]:
    return document.task, document.map_index, document.sequence


def in_run(run_id: str, document: Envelope) -> Envelope:
    return Envelope(**{name: getattr(document, name) for name in Envelope.__struct_fields__} | {"run_id": run_id})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(batches=st.lists(st.lists(documents, unique_by=identity, max_size=70), max_size=3))
def test_any_documents_come_back_as_they_were(backend: SQLBackend, batches: list[list[Envelope]]) -> None:
    runs = {uuid.uuid4().hex: batch for batch in batches}
    for run_id, batch in runs.items():
        runs[run_id] = [in_run(run_id, document) for document in batch]
        backend.append(runs[run_id])

    assert {run_id: list(backend.read(run_id)) for run_id in runs} == runs


def states(run_id: str, count: int, *, size: int = 10) -> list[Envelope]:
    return [
        Envelope(run_id, f"task-{number % 50}", -1, number // 50, "state", "task", "Success", number, 1, bytes(size))
        for number in range(count)
    ]


@pytest.mark.parametrize("most_parameters", [11, 999, 32_766])
def test_a_statement_has_no_more_parameters_than_the_database_takes(backend: SQLBackend, most_parameters: int) -> None:
    sent = states("a" * 32, 700)
    with backend._transaction() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        before = driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, most_parameters)
        Inserts(connection.dialect, most_parameters=most_parameters).insert(connection, sent)
        driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, before)

    assert list(backend.read("a" * 32)) == sent


def test_a_batch_of_new_documents_is_one_statement_between_begin_and_commit(backend: SQLBackend) -> None:
    seen = []
    with backend._transaction() as connection:
        engine = connection.engine
    event.listen(engine, "before_cursor_execute", lambda *about: seen.append(about[2].split(" (")[0]))

    backend.append(states("a" * 32, 700))

    assert seen == ["BEGIN IMMEDIATE", "INSERT INTO documents"]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT * FROM documents WHERE run_id = 'a' AND ordinal > 5 ORDER BY ordinal LIMIT 9", "documents_by_run"),
        (
            "SELECT * FROM documents WHERE run_id = 'a' AND task = 'b' AND ordinal > 5 ORDER BY ordinal LIMIT 9",
            "documents_by_run",
        ),
        ("SELECT run_id FROM documents WHERE kind = 'run' ORDER BY ordinal DESC LIMIT 9", "documents_opening"),
        (
            "SELECT run_id FROM documents WHERE kind = 'run' AND substr(run_id, 1, 1) = 'a' ORDER BY ordinal DESC",
            "documents_opening",
        ),
    ],
)
def test_no_read_sorts_or_looks_at_what_it_does_not_want(backend: SQLBackend, query: str, index: str) -> None:
    with backend._transaction() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}")]

    assert len(plan) == 1
    assert f"INDEX {index}" in plan[0]


def test_large_documents_are_read_in_little_memory(backend: SQLBackend) -> None:
    run_id, size = "a" * 32, 1 << 20
    for document in states(run_id, 40, size=size):
        backend.append([document])

    tracemalloc.start()
    count = sum(1 for _ in backend.read(run_id))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 40
    assert peak < 6 * size


def test_a_reader_that_stops_in_the_middle_holds_nothing(backend: SQLBackend) -> None:
    run_id = "a" * 32
    backend.append(states(run_id, 600))
    reader = backend.read(run_id)
    assert len(list(islice(reader, 300))) == 300

    assert not backend._lock.locked()
    with backend._transaction() as connection:
        # In TRUNCATE mode a checkpoint needs every other reader gone.
        busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    assert busy == 0


def test_the_table_has_a_column_for_every_field_of_an_envelope() -> None:
    columns = [column.name for column in _schema.documents.columns]

    assert columns == ["ordinal", *Envelope.__struct_fields__]


def test_the_plugin_does_not_import_sqlalchemy_before_a_backend_is_opened() -> None:
    program = "import sys, strongroom_sql; sys.exit('sqlalchemy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_plugin_opens_the_backend_that_it_registers(tmp_path: Path) -> None:
    import strongroom_sql

    registered: dict[str, Callable[[str], Backend]] = {}

    class Register:
        def backend(self, id_: str, factory: Callable[[str], Backend]) -> None:
            registered[id_] = factory

    strongroom_sql.strongroom_register(Register())  # type: ignore[arg-type]  # it offers nothing but a backend

    with registered["sql"](f"sqlite:///{tmp_path}/strongroom.db") as backend:
        assert backend.id == "sql"
