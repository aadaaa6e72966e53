# SPDX-License-Identifier: Apache-2.0
"""How is an SQLite file made and opened, so that only its owner reads it and what is committed stays?"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from strongroom.errors import BackendError, NotSupportedError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final

__all__ = ["begin_to_write", "create_file", "engine", "most_parameters", "path_of", "unsynced"]

_PRAGMAS: Final = (
    # A commit is on the disk when it returns; on macOS only this makes the drive itself write.
    "synchronous = FULL",
    "fullfsync = ON",
    # The file may have been changed by somebody else: its schema must not call functions, its cells must fit.
    "trusted_schema = OFF",
    "cell_size_check = ON",
    # 32 MiB at most, so that the indexes of a million documents need not be fetched again for each of them.
    "cache_size = -32768",
)

# Between two tries, where SQLite does not wait by itself.
_PAUSE: Final = 0.01


def path_of(url: str) -> Path:
    """The file that *url* names.

    Raises:
        NotSupportedError: *url* names no SQLite file.
        SettingsError: *url* is not a URL. The message does not repeat it, for it may hold a password.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise SettingsError("backend.url is not a URL; write it like sqlite:////folder/strongroom.db") from None
    if parsed.drivername not in {"sqlite", "sqlite+pysqlite"}:
        instead = "use sqlite:////folder/strongroom.db or postgresql://host/database"
        raise NotSupportedError(f"a backend.url that starts with {parsed.drivername!r}", instead=instead)
    if parsed.query:
        raise NotSupportedError("a backend.url with parameters after '?'", instead="leave them out")
    if parsed.database in {None, "", ":memory:"}:
        raise NotSupportedError("an SQLite database in memory", instead="use the backend 'memory'")
    return Path(str(parsed.database)).absolute()


def create_file(path: Path) -> None:
    """Make an empty file that only its owner can read, if there is none; its folder too, but not that one's folder."""
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        # Only a file that is not there is opened. To open and close one that SQLite is using in this process would
        # drop the locks that it holds. SQLite gives the files beside it (-wal, -shm) the mode of this one.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        _sync_folder(path.parent)
    except FileExistsError:
        return
    except OSError as exc:
        raise BackendError(f"the database {str(path)!r} cannot be created: {exc.strerror}; check its folder") from exc


@lru_cache(maxsize=16)
def engine(path: Path, *, busy_seconds: float) -> sa.Engine:
    """An engine whose connections wait *busy_seconds* for a lock and may be handed from thread to thread.

    It is the same for the same arguments, so that each run of a program does not compile the same statements again,
    which takes longer than to execute them. It holds no connection.
    """
    return sa.create_engine(
        "sqlite+pysqlite://",
        creator=partial(_connect, path, busy_seconds),
        poolclass=sa.NullPool,
        hide_parameters=True,
    )


def begin_to_write(connection: sa.Connection) -> None:
    """Wait for the lock of the one writer, and take it.

    A plain BEGIN would take it only at the first INSERT, and fail at once if somebody wrote in between.
    """
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def unsynced(connection: sa.Connection) -> Iterator[None]:
    """Let what is committed meanwhile reach the disk with the next commit after that, and not at once.

    To be entered and left outside of a transaction. Other processes see it at once, as ever; a crash of the machine,
    which ends them all, may undo it.
    """
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101  # what `_connect` made
    driver.execute("PRAGMA synchronous = NORMAL")
    try:
        yield
    finally:
        driver.execute("PRAGMA synchronous = FULL")


def most_parameters(connection: sa.Connection) -> int:
    """How many parameters a statement may have: 32,766, or 999 before SQLite 3.32."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)  # noqa: S101  # what `_connect` made
    return driver.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)


def _connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    # With isolation_level=None the module begins no transaction by itself: we say when.
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        if _ask_for_wal(connection, time.monotonic() + busy_seconds) != "wal":
            raise BackendError(f"the database {str(path)!r} cannot have a write-ahead log; put it on a local disk")
    except BaseException:
        connection.close()
        raise
    return connection


def _ask_for_wal(connection: sqlite3.Connection, deadline: float) -> object:
    """Have *connection* write into a write-ahead log; the mode that it has then."""
    while True:
        try:
            return connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as exc:
            # Of several that find a new file at once each reads it and wants to have it alone. SQLite sees that no
            # waiting would help while all of them do, and refuses without the wait that it was asked for.
            if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)


def _sync_folder(folder: Path) -> None:
    """The name of a new file is not durable until its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
