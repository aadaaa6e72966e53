# SPDX-License-Identifier: Apache-2.0
"""What do the commands make of a PostgreSQL whose owner writes what he likes into it, and changes what its tables are?

`test_hostile_rows` asks the same of SQLite, whose cells hold values of any type. Here a column has one, until its owner
gives it another.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from strongroom.project import Project

from .test_hostile_rows import assert_each_command_ends, run_twice

ROUNDS = 60 if os.environ.get("STRONGROOM_TEST_LONG") else 3
MOST, SMALL = 2**63 - 1, 2**31 - 1
TEXTS = ("", "x", "../../secret", "\x1b[2J", "one\ntwo", "x" * 1_000_000, "'; DROP TABLE documents; --")
CHANGES: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("ALTER COLUMN expires TYPE text", "ALTER COLUMN expires TYPE bigint USING 0"),
    ("ALTER COLUMN slot TYPE double precision", "ALTER COLUMN slot TYPE integer"),
    ("ALTER COLUMN holder TYPE bytea USING holder::bytea", "ALTER COLUMN holder TYPE text USING ''"),
    ("RENAME COLUMN name TO nom", "RENAME COLUMN nom TO name"),
    ("RENAME TO lettings", ""),
)
"""What is done to the table of leases, and what undoes it."""


@pytest.fixture
def database(
    isolated: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """The owner's way into the record of two runs that have ended. No command waits long for anybody."""
    monkeypatch.setenv("STRONGROOM_BACKEND_URL", postgresql_url)
    run_twice(monkeypatch)
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute("SET search_path TO strongroom")
        yield connection


def newest(database: psycopg.Connection[tuple[Any, ...]]) -> str:
    found = database.execute("SELECT run_id FROM documents WHERE kind = 'run' ORDER BY ordinal DESC").fetchone()
    assert found is not None
    return str(found[0])


def tokens(run_id: str) -> list[str]:
    keyring = Project.open().keyring
    return [keyring.lease("run", run_id), keyring.lease("cancel", run_id)]


def lie_about(database: psycopg.Connection[tuple[Any, ...]], names: list[str], it: random.Random) -> str:
    """Leases that nobody was lent, under the names that a run asks for; what was written there."""
    database.execute("DELETE FROM leases")
    slot, holder = it.choice([0, 0, 1, -1, SMALL, -SMALL - 1]), it.choice(TEXTS)
    expires, epoch = it.choice([MOST, MOST, 0, -1, -MOST - 1]), it.choice([MOST, -MOST, -1, 0, 1, 2**40])
    for number, name in enumerate(names):
        database.execute(
            "INSERT INTO leases (epoch, name, slot, holder, expires) "
            "OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, %s, %s)",
            (epoch - number if epoch > 0 else epoch + number, name, slot, holder, expires),
        )
    return f"{slot=}, {holder[:9]=}, {expires=}, {epoch=}"


@pytest.mark.long
def test_no_lease_makes_a_command_fall_over_or_wait_for_ever(
    database: psycopg.Connection[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    it, run_id = random.Random(31), newest(database)
    for number in range(ROUNDS):
        where = lie_about(database, tokens(run_id), it)

        done = assert_each_command_ends(run_id, monkeypatch, number, where)

        # What is not about the right to do something is as true as ever.
        assert all(done[name].code == 0 for name in ("runs", "show", "read", "verify", "logs", "egress")), where
        assert done["cancel"].code == 1
        assert done["resume"].code == 2, where


@pytest.mark.parametrize(("change", "undo"), CHANGES)
def test_a_table_of_leases_that_is_another_one_is_told_in_a_line(
    database: psycopg.Connection[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
    change: LiteralString,
    undo: LiteralString,
) -> None:
    run_id = newest(database)
    database.execute("ALTER TABLE leases " + change)

    assert_each_command_ends(run_id, monkeypatch, change)

    database.execute("ALTER TABLE leases " + undo if undo else "ALTER TABLE lettings RENAME TO leases")
    done = assert_each_command_ends(run_id, monkeypatch, undo)
    assert all(done[name].code == 0 for name in ("runs", "show", "read", "verify", "logs", "egress", "store"))


def test_numbers_that_have_run_out_are_told_in_a_line(
    database: psycopg.Connection[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("SELECT setval(pg_get_serial_sequence('leases', 'epoch'), %s)", (MOST,))

    done = assert_each_command_ends(newest(database), monkeypatch)

    assert "out of range (2200H)" in done["resume"].err


@pytest.mark.long
def test_any_value_in_any_cell_of_the_record_is_told_in_a_line(
    database: psycopg.Connection[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    it, run_id = random.Random(37), newest(database)
    values: dict[str, tuple[object, ...]] = {
        **dict.fromkeys(("run_id", "task", "kind", "name", "type", "shown"), TEXTS),
        **dict.fromkeys(("map_index", "sequence", "run_count"), (SMALL, -SMALL - 1, -1, 0, 7)),
        "at": (MOST, -MOST - 1, 0),
        "sealed": (b"", b"x", bytes(1_000_000), b"[" * 100_000),
    }
    rows = [ordinal for (ordinal,) in database.execute("SELECT ordinal FROM documents").fetchall()]
    for number in range(ROUNDS):
        column, row = it.choice(sorted(values)), it.choice(rows)
        name, value = psycopg.sql.Identifier(column), it.choice(values[column])
        select = psycopg.sql.SQL("SELECT {} FROM documents WHERE ordinal = %s").format(name)
        update = psycopg.sql.SQL("UPDATE documents SET {} = %s WHERE ordinal = %s").format(name)
        true = database.execute(select, (row,)).fetchone()
        assert true is not None
        try:
            database.execute(update, (value, row))
        except psycopg.errors.UniqueViolation:
            continue  # it would be the same document twice

        assert_each_command_ends(run_id, monkeypatch, number, column, repr(value)[:20], row)

        database.execute(update, (true[0], row))
