# SPDX-License-Identifier: Apache-2.0
"""How long does a plain way to record a task take, on this machine and right now?

A task has two states, each of them a document that is sealed, linked to the one before and put into an SQLite file.
That and nothing else is done here, with a key derived for each document: a yardstick stays what it is. A machine that
does other things, too, is slow at this and at a run, so that a ratio of the two says more than a time. It is the
processor's time, since everybody waits for what else it does.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from strongroom import Keyring
from strongroom.keyring import bind

_DOCUMENTS_PER_TASK = 2
_SEALED = 256
_BATCH = 512
_IDENTITY = "run, task, map_index, sequence"
_TABLE = f"CREATE TABLE floor ({_IDENTITY}, sealed BLOB, PRIMARY KEY ({_IDENTITY}))"


def cpu_seconds(tasks: int, folder: Path) -> float:
    """How long the processor takes for so many tasks."""
    keyring = Keyring.open_or_create(folder / "floor.toml")
    database = sqlite3.connect(folder / f"floor-{time.monotonic_ns()}.db", isolation_level=None)
    for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", _TABLE):
        database.execute(statement)
    start = time.process_time()
    head, rows = bytes(16), []
    for number in range(tasks):
        for sequence in range(_DOCUMENTS_PER_TASK):
            sealed = keyring.wrap(bytes(_SEALED), bind("floor", number, sequence))
            head = keyring.link(head, sealed)
            rows.append(("run", f"task-{number}", -1, sequence, sealed + head))
        if len(rows) >= _BATCH:
            _insert(database, rows)
            rows.clear()
    _insert(database, rows)
    taken = time.process_time() - start
    database.close()
    return taken


def _insert(database: sqlite3.Connection, rows: list[tuple[object, ...]]) -> None:
    database.execute("BEGIN IMMEDIATE")
    database.executemany("INSERT INTO floor VALUES (?, ?, ?, ?, ?)", rows)
    database.execute("COMMIT")
