# SPDX-License-Identifier: Apache-2.0
"""How is the record of runs read from the tables, whichever database they are in?"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, TypeVar

import msgspec
import sqlalchemy as sa

from strongroom import Backend, Envelope
from strongroom.errors import BackendError
from strongroom_sql import _leases
from strongroom_sql._schema import FIELDS, OPENS_A_RUN, documents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import ClassVar, Final

__all__ = ["SQLRows"]

T = TypeVar("T")

# A page of a read ends at whichever comes first, so that documents of any size are read in little memory.
_MOST_ROWS: Final = 1024
_PAGE_BYTES: Final = 1 << 20

# Without this msgspec would take text for bytes in base64.
_AS_IT_IS: Final = (bytes,)


class SQLRows(Backend):
    """The part of a backend that reads. What comes from the database is checked: anybody may have written it."""

    first_rows: ClassVar[int] = 256
    """How many rows to ask for, before it is known how large they are."""
    place: str
    """What the database is called in messages; it holds no password."""

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[sa.Connection]:
        """A connection; what was written with it is committed at the end, or none of it."""

    @abstractmethod
    def _insert(self, connection: sa.Connection, envelopes: Sequence[Envelope]) -> None:
        """Insert *envelopes* within the transaction of *connection*."""

    def trial(self, envelope: Envelope) -> Envelope:
        """What the database gives back of *envelope*. Its transaction is undone, so that nobody else ever sees it."""
        query = sa.select(*(documents.c[name] for name in FIELDS)).where(documents.c.run_id == envelope.run_id)
        with self._transaction() as connection:
            self._insert(connection, [envelope])
            found = connection.execute(query).one()
            connection.rollback()
        return self._checked(tuple(found), Envelope)

    def clock(self) -> float:
        """The time by the database's clock, which is the one that leases go by."""
        with self._transaction() as connection:
            return _leases.now(connection) / 1000

    def runs(self, *, prefix: str = "", limit: int = 20) -> Sequence[str]:
        """Ids of runs that start with *prefix*, the one that was opened last first, at most *limit*."""
        query = sa.select(documents.c.run_id).where(OPENS_A_RUN).order_by(documents.c.ordinal.desc())
        if prefix:
            # No LIKE, for which % and _ have a meaning and the case of letters has none. No range of ids either, for
            # which the index of all documents would be searched, and not that of the few that open a run.
            query = query.where(sa.func.substr(documents.c.run_id, 1, len(prefix)) == prefix)
        with self._transaction() as connection:
            return self._checked(connection.scalars(query.limit(max(limit, 0))).all(), list[str])

    def read(self, run_id: str, *, task: str | None = None) -> Iterator[Envelope]:
        """The envelopes of a run, page by page; between pages nothing is locked, and appends may go on."""
        with self._transaction():
            pass  # a closed backend says so here, and not only to whoever takes the first envelope
        return self._read(run_id, task)

    def _read(self, run_id: str, task: str | None) -> Iterator[Envelope]:
        query = sa.select(documents).where(documents.c.run_id == run_id).order_by(documents.c.ordinal)
        if task is not None:
            query = query.where(documents.c.task == task)
        last, rows = -1, self.first_rows
        while page := self._page(query.where(documents.c.ordinal > last).limit(rows)):
            if page[-1][0] <= last:
                raise self._changed()  # it would go on for ever
            last = page[-1][0]
            size = 0
            for _, envelope in page:
                size += len(envelope.sealed)
                yield envelope
            rows = max(1, min(_MOST_ROWS, _PAGE_BYTES * len(page) // max(size, 1)))

    def _page(self, query: sa.Executable) -> list[tuple[int, Envelope]]:
        """The first rows that *query* gives, as many as fit into a page but at least one, with their ordinals."""
        page = []
        size = 0
        with self._transaction() as connection, connection.execute(query) as rows:
            for ordinal, *fields in rows:
                envelope = self._checked(fields, Envelope)
                page.append((ordinal, envelope))
                size += len(envelope.sealed)
                if size >= _PAGE_BYTES:
                    break
        return page

    def _checked(self, found: object, type_: type[T]) -> T:
        """*found* as a *type_*, if it is one: SQLite keeps a value of any type in any column."""
        try:
            return msgspec.convert(found, type_, builtin_types=_AS_IT_IS)
        except msgspec.ValidationError:
            raise self._changed() from None

    def _changed(self) -> BackendError:
        return BackendError(f"{self.place} was changed: a row of it is no document")
