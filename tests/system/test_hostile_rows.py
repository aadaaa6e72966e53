# SPDX-License-Identifier: Apache-2.0
"""What do the commands make of a database in which somebody has written whatever a cell can hold?

SQLite keeps a value of any type in any column. A lease that never ends may deny a run to those who ask for it; it may
not make them wait for ever.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from strongroom import _leases
from strongroom.project import Project

from .test_hostile_answers import assert_told_in_a_line
from .test_hostile_commands import Called, written_flow

ROUNDS = 60 if os.environ.get("STRONGROOM_TEST_LONG") else 3
COMMANDS = [
    *(["runs"], ["show", "RUN"], ["read", "RUN", "one"], ["verify", "RUN"], ["logs", "RUN"]),
    *(["cache", "explain", "RUN", "one"], ["egress", "show", "RUN", "--json"], ["store", "gc", "--grace", "0"]),
    *(["cancel", "RUN", "--seconds", "0"], ["resume", "RUN", "lied_to.py"], ["doctor", "--json"]),
]
NOT_UTF8 = "CAST(x'fffe80' AS TEXT)"
CELLS = [
    *("9223372036854775807", "-9223372036854775808", "-1", "0", "1.5", "9e999", "-9e999"),
    *("''", "'x'", "'../../secret'", "char(27) || '[2J'", "'a' || char(0) || 'b'", NOT_UTF8, "x''", "x'fffe80'"),
    *("zeroblob(1000000)", "replace(hex(zeroblob(100000)), '0', '[')", "'9223372036854775808'"),
]
"""What SQL writes for a value that a cell can hold."""
FOR_EVER = 2**63 - 1


def run_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave two runs that have ended, and let no command wait long for whoever is said to be alive."""
    flow = written_flow()
    for _ in range(2):
        flow.run()
    monkeypatch.setattr(_leases.open_leases, "__kwdefaults__", {"seconds": 0.3})


@pytest.fixture
def database(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """The database of a home with two runs that have ended. No command waits long for whoever is said to be alive."""
    run_twice(monkeypatch)
    with closing(sqlite3.connect(isolated / "strongroom.db", isolation_level=None)) as connection:
        yield connection


def newest(database: sqlite3.Connection) -> str:
    (found,) = database.execute("SELECT run_id FROM documents WHERE kind = 'run' ORDER BY ordinal DESC").fetchone()
    return str(found)


def assert_each_command_ends(run_id: str, monkeypatch: pytest.MonkeyPatch, *where: object) -> dict[str, Called]:
    done: dict[str, Called] = {}
    for command in COMMANDS:
        begun = time.monotonic()
        called = Called([run_id if each == "RUN" else each for each in command], None, monkeypatch)
        assert_told_in_a_line(called, *where, command)
        # They take a tenth of a second, but for those that wait until a lease has expired, and for a busy machine.
        assert time.monotonic() - begun < 50, (where, command)
        done[command[0]] = called
    return done


@pytest.mark.long
def test_any_value_in_any_cell_of_the_record_is_told_in_a_line(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, run_id = random.Random(23), newest(database)
    columns = [name for _, name, *_ in database.execute("PRAGMA table_info(documents)") if name != "ordinal"]
    rows = [ordinal for (ordinal,) in database.execute("SELECT ordinal FROM documents")]
    for number in range(ROUNDS):
        column, cell, row = it.choice(columns), it.choice(CELLS), it.choice(rows)
        (true,) = database.execute(f"SELECT {column} FROM documents WHERE ordinal = ?", (row,)).fetchone()
        try:
            database.execute(f"UPDATE documents SET {column} = {cell} WHERE ordinal = ?", (row,))
        except sqlite3.IntegrityError:
            continue  # it would be the same document twice

        assert_each_command_ends(run_id, monkeypatch, number, column, cell, row)

        database.execute(f"UPDATE documents SET {column} = ? WHERE ordinal = ?", (true, row))
    assert Called(["verify", run_id], None, monkeypatch).code == 0


def lie_about(database: sqlite3.Connection, tokens: list[str], it: random.Random) -> str:
    """Leases that nobody was lent, under the names that a run asks for; what was written there."""
    database.execute("DELETE FROM leases")
    odd = {column: it.choice([*CELLS, "0", "0"]) for column in ("slot", "holder", "expires")}
    odd["expires"] = it.choice([str(FOR_EVER), odd["expires"]])
    epoch = it.choice([FOR_EVER, -FOR_EVER, -1, 0, 1, 2**40])
    for number, token in enumerate(tokens):
        name = f"'{token}'" if it.random() < 0.9 else NOT_UTF8
        # One number less for each, so that all of them find a place.
        database.execute(
            f"INSERT INTO leases (epoch, name, slot, holder, expires) "
            f"VALUES (?, {name}, {odd['slot']}, {odd['holder']}, {odd['expires']}) ON CONFLICT DO NOTHING",
            (epoch - number if epoch > 0 else epoch + number,),
        )
    return f"{odd}, {epoch}"


@pytest.mark.long
def test_no_lease_makes_a_command_fall_over_or_wait_for_ever(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    it, run_id = random.Random(29), newest(database)
    keyring = Project.open().keyring
    tokens = [keyring.lease("run", run_id), keyring.lease("cancel", run_id)]
    for number in range(ROUNDS):
        where = lie_about(database, tokens, it)

        done = assert_each_command_ends(run_id, monkeypatch, number, where)

        # What is not about the right to do something is as true as ever.
        assert all(done[name].code == 0 for name in ("runs", "show", "read", "verify", "logs", "egress")), where
        assert done["cancel"].code == 1
        assert done["resume"].code == 2 if "is running" in done["resume"].err else done["resume"].code, where


def test_a_lease_that_never_ends_denies_the_run_and_says_so(
    database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = newest(database)
    token = Project.open().keyring.lease("run", run_id)
    database.execute("INSERT INTO leases (name, slot, holder, expires) VALUES (?, 0, 'nobody', ?)", (token, FOR_EVER))

    resumed = Called(["resume", run_id, "lied_to.py"], None, monkeypatch)
    cancelled = Called(["cancel", run_id, "--seconds", "0.1"], None, monkeypatch)

    assert "it is running; wait for its end, or stop its process" in resumed.err
    assert "it was told, and stops as soon as the tasks that it runs have ended" in cancelled.err
