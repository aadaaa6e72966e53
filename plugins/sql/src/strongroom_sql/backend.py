# SPDX-License-Identifier: Apache-2.0
"""How is the record of runs kept in an SQLite file?"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import sqlalchemy as sa

from strongroom.errors import BackendError
from strongroom_sql import _leases, _schema, _sqlite
from strongroom_sql._failures import in_our_words
from strongroom_sql._rows import SQLRows
from strongroom_sql._statements import Inserts, check_no_gap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from strongroom import Envelope
    from strongroom.abc import Lease

__all__ = ["SQLBackend"]


class SQLBackend(SQLRows):
    """Keeps the record of runs in an SQLite file that any number of processes may use at once.

    The file is made if there is none, for its owner only. A batch is one transaction, and on the disk when `append`
    returns. Threads may share an instance; a forked process may not, and is told so.
    """

    id = "sql"

    def __init__(self, url: str, *, busy_seconds: float = 5.0) -> None:
        """Open the database at *url*, such as ``sqlite:////folder/strongroom.db``.

        Args:
            url: where the file is; made if it is not there, and so is its folder.
            busy_seconds: how long a call waits while another process writes.

        Raises:
            NotSupportedError: *url* names no SQLite file.
            BackendUnavailableError: another process kept it locked.
            BackendError: what is there is not ours, of another version, or cannot be used.
        """
        self._path = _sqlite.path_of(url)
        self.place = f"the database {str(self._path)!r}"
        self.address = f"sqlite:///{self._path}"
        self._process = os.getpid()
        self._lock = threading.Lock()
        _sqlite.create_file(self._path)
        engine = _sqlite.engine(self._path, busy_seconds=busy_seconds)
        with _errors_in_our_words(self._path):
            self._connection: sa.Connection | None = _prepared(engine, self.place)
        self._inserts = Inserts(engine.dialect, most_parameters=_sqlite.most_parameters(self._connection))
        self._file = self._file_now()

    def append(self, envelopes: Sequence[Envelope]) -> None:
        """Keep *envelopes* in one transaction; they are on the disk when this returns."""
        with self._transaction() as connection:
            self._insert(connection, envelopes)

    def _insert(self, connection: sa.Connection, envelopes: Sequence[Envelope]) -> None:
        _sqlite.begin_to_write(connection)
        check_no_gap(connection, envelopes)
        self._inserts.insert(connection, envelopes)
        self._check_file()

    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        """A lease of *name* by the clock of this machine, or None; every process that uses the file respects it."""
        with self._transaction(durable=False) as connection:
            self._check_file()
            if _leases.is_full(connection, name, slots=slots):
                return None
            _sqlite.begin_to_write(connection)
            return _leases.acquire(connection, name, holder, seconds=seconds, slots=slots)

    def renew(self, lease: Lease, *, seconds: float) -> bool:
        """Let *lease* last for *seconds* from now; False if it is lost."""
        with self._transaction(durable=False) as connection:
            self._check_file()
            return _leases.renew(connection, lease, seconds=seconds)

    def release(self, lease: Lease) -> None:
        """Give *lease* back; does nothing if it is lost."""
        with self._transaction(durable=False) as connection:
            _leases.release(connection, lease)

    def close(self) -> None:
        """Close it; the last one that does so anywhere moves the write-ahead log into the database."""
        if os.getpid() != self._process:
            return  # the connection is the parent's: to close it here could take away its locks
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sa.Connection]:
        """The one connection, for one thread at a time; what was written is committed at the end, or none of it.

        A lease need not be *durable*: when the machine crashes, its holders are gone, too.
        """
        if os.getpid() != self._process:
            raise BackendError(f"{self.place} was opened before a fork; open it in this process")
        with self._lock:
            if self._connection is None:
                raise BackendError(f"{self.place} is closed; open it again")
            kept = nullcontext() if durable else _sqlite.unsynced(self._connection)
            with _errors_in_our_words(self._path), kept, self._connection.begin():
                yield self._connection

    def _check_file(self) -> None:
        """Raise if what we write to can no longer be found under its name: nobody would ever read it."""
        if self._file_now() != self._file:
            raise BackendError(f"{self.place} was moved or deleted while in use; put it back, or start again")

    def _file_now(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


def _prepared(engine: sa.Engine, place: str) -> sa.Connection:
    """A connection to a database that has our tables, made or brought up to date, whoever else is doing the same."""
    connection = engine.connect()
    try:
        with connection.begin():
            if _schema.is_ready(connection, place):
                return connection
        with connection.begin():
            _sqlite.begin_to_write(connection)
            _schema.migrate(connection, place)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _errors_in_our_words(path: Path) -> Iterator[None]:
    try:
        yield
    except sa.exc.DBAPIError as exc:
        # The cause is SQLite's own error: SQLAlchemy's would print the statement.
        raise in_our_words(path, exc) from exc.orig
    except (UnicodeError, OverflowError):
        # No cause either, for it would quote the text.
        raise BackendError(f"the database {str(path)!r} cannot keep a document: text or number out of range") from None
