# SPDX-License-Identifier: Apache-2.0
"""How is the record of runs kept in PostgreSQL?"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

from strongroom.errors import BackendError
from strongroom_sql import _leases, _postgresql, _schema
from strongroom_sql._rows import SQLRows
from strongroom_sql._statements import check_no_gap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import sqlalchemy as sa

    from strongroom import Envelope
    from strongroom.abc import Lease

__all__ = ["PostgreSQLBackend"]


class PostgreSQLBackend(SQLRows):
    """Keeps the record of runs in a PostgreSQL database, in a schema of its own called ``strongroom``.

    It connects when it is first needed, so that a server that is down delays no run, and again after a connection was
    lost. A batch is one statement and one transaction, and durable when `append` returns. Threads may share an
    instance; a forked process may not, and is told so.
    """

    id = "sql"
    first_rows: ClassVar[int] = 64

    def __init__(self, url: str) -> None:
        """Use the database at *url*, such as ``postgresql://user@host:5432/database``.

        Raises:
            SettingsError: *url* is not a URL, or has a password where it may be seen.
            MissingPluginError: psycopg is not installed.
        """
        parsed = _postgresql.parse(url)
        self.place = _postgresql.place_of(parsed)
        self.address = _postgresql.address_of(parsed)
        self._engine: sa.Engine | None = _postgresql.engine(parsed)
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._is_ready = False

    def __repr__(self) -> str:
        return f"<PostgreSQLBackend for {self.place}>"

    def append(self, envelopes: Sequence[Envelope]) -> None:
        """Keep *envelopes* in one transaction; they are on the server's disk when this returns."""
        with self._transaction() as connection:
            self._insert(connection, envelopes)

    def _insert(self, connection: sa.Connection, envelopes: Sequence[Envelope]) -> None:
        check_no_gap(connection, envelopes)
        _postgresql.insert(connection, envelopes)

    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        """A lease of *name* by the server's clock, or None."""
        with self._transaction(durable=False) as connection:
            if _leases.is_full(connection, name, slots=slots):
                return None
            _postgresql.lock_name(connection, name)
            return _leases.acquire(connection, name, holder, seconds=seconds, slots=slots)

    def renew(self, lease: Lease, *, seconds: float) -> bool:
        """Let *lease* last for *seconds* from now; False if it is lost."""
        with self._transaction(durable=False) as connection:
            return _leases.renew(connection, lease, seconds=seconds)

    def release(self, lease: Lease) -> None:
        """Give *lease* back; does nothing if it is lost."""
        with self._transaction(durable=False) as connection:
            _leases.release(connection, lease)

    def close(self) -> None:
        """End the connections; what was appended is safe without that."""
        if os.getpid() != self._process:
            return  # they are the parent's
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    @contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sa.Connection]:
        """A connection of this thread's; what was written is committed at the end, or none of it.

        A lease need not be *durable*: it is over before anybody has started the server again.
        """
        if os.getpid() != self._process:
            raise BackendError(f"{self.place} was opened before a fork; open it in this process")
        engine = self._engine
        if engine is None:
            raise BackendError(f"{self.place} is closed; open it again")
        with _postgresql.errors_in_our_words(self.place):
            if not self._is_ready:
                self._get_ready(engine)
            with engine.begin() as connection:
                if not durable:
                    connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                yield connection

    def _get_ready(self, engine: sa.Engine) -> None:
        """See to it that the tables are there; whoever else is doing the same waits, or is waited for."""
        with engine.begin() as connection:
            if not _schema.is_ready(connection, self.place, _postgresql.SCHEMA):
                _postgresql.lock_schema(connection)
                _schema.migrate(connection, self.place, _postgresql.SCHEMA)
        self._is_ready = True
