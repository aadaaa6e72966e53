# SPDX-License-Identifier: Apache-2.0
"""What has a backend on its disk: files, logs and cells of tables?"""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

__all__ = ["Seen", "postgresql", "sqlite"]

# These are in the home, and for its owner alone: results where he wants them, what tasks said, and keys.
_YOURS = ("results", "logs", "keyring.toml", "strongroom.db")


class Seen(NamedTuple):
    """What is to be scanned, by name."""

    files: dict[str, bytes]
    cells: dict[str, bytes]


def sqlite(home: Path, into: Path) -> Seen:
    """What the backend under *home* has on disk now: each of its files, and each cell of its database.

    The files show what is left over in free space and in logs. The cells show what is cut in two by the end of a page.
    With them comes whatever waits in the home for the backend.
    """
    # By another process: to open and close a database here would take away the locks that SQLite has in this one.
    into.mkdir()
    subprocess.run(["cp", "--", *map(str, home.glob("strongroom.db*")), str(into)], check=True)
    files = {path.name: path.read_bytes() for path in into.iterdir()}
    with closing(sqlite3.connect(into / "strongroom.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        cells = dict(_cells(connection, tables))
    return Seen({**files, **waiting(home)}, cells)


def waiting(home: Path) -> dict[str, bytes]:
    """What lies in the home, but for what is the owner's alone."""
    mine = [path for path in home.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in mine if not path.relative_to(home).parts[0].startswith(_YOURS)}


def postgresql(connection: psycopg.Connection[Any], home: Path) -> Seen:
    """What a PostgreSQL of this machine has on disk: tables, write-ahead log, and its log of all statements."""
    connection.execute("CHECKPOINT")
    found = connection.execute("SHOW data_directory").fetchone()
    assert found is not None
    folder = Path(found[0])
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'strongroom'")
    return Seen({**files, **waiting(home)}, dict(_cells(connection, [f"strongroom.{name}" for (name,) in rows])))


def _cells(connection: Any, tables: list[str]) -> Iterator[tuple[str, bytes]]:  # noqa: ANN401  # of two libraries
    for table in tables:
        rows = connection.execute(f"SELECT * FROM {table}")  # the database's own name for it
        columns = [column[0] for column in rows.description]
        for number, row in enumerate(rows):
            for column, cell in zip(columns, row, strict=True):
                yield f"{table}[{number}].{column}", cell if isinstance(cell, bytes) else str(cell).encode()
