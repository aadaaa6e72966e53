# SPDX-License-Identifier: Apache-2.0
"""How are many envelopes inserted at once, and how is one noticed that is missing, or differs from what is there?"""

from __future__ import annotations

import operator
from functools import lru_cache
from itertools import chain, repeat
from typing import TYPE_CHECKING

import sqlalchemy as sa
from msgspec.structs import astuple
from sqlalchemy.dialects.sqlite import insert

from strongroom.errors import BackendError
from strongroom_sql._schema import FIELDS, IDENTITY, documents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from strongroom import Envelope

__all__ = ["Inserts", "check_all_kept", "check_no_gap"]

# More rows in one statement gain nothing, and take longer to compile.
_MOST_ROWS: Final = 1024
# SQLite allows an expression of 1000 terms in a chain; an identity has four.
_MOST_LOOKUPS: Final = 64

_columns = [documents.c[name] for name in FIELDS]
_identity = [documents.c[name] for name in IDENTITY]


class Inserts:
    """Inserts envelopes by statements of many rows each.

    ``executemany`` would take and give back the interpreter's lock for every row, and wait for it each time while
    another thread computes; one statement of many rows does so once. The numbers of rows are powers of two, so that
    few statements are compiled, each of them once. A rest that is not a power of two is filled up with repetitions
    of its last envelope, which change nothing: that is far cheaper than one more statement.
    """

    def __init__(self, dialect: sa.Dialect, *, most_parameters: int) -> None:
        self._dialect = dialect
        self._most_rows = 1 << min(_MOST_ROWS, most_parameters // len(FIELDS)).bit_length() - 1

    def insert(self, connection: sa.Connection, envelopes: Sequence[Envelope]) -> None:
        """Insert those of *envelopes* that are not there yet, within the caller's transaction.

        Raises:
            BackendError: a different envelope has the identity of one of them.
        """
        for part in _parts(envelopes, self._most_rows):
            rows = 1 << (len(part) - 1).bit_length()
            filled = chain(part, repeat(part[-1], rows - len(part)))
            parameters = tuple(chain.from_iterable(map(astuple, filled)))
            result = connection.exec_driver_sql(_compile(self._dialect, rows), parameters)
            if result.rowcount != len(part):
                check_all_kept(connection, part)


def _parts(envelopes: Sequence[Envelope], most: int) -> Iterator[Sequence[Envelope]]:
    return (envelopes[start : start + most] for start in range(0, len(envelopes), most))


@lru_cache(maxsize=64)
def _compile(dialect: sa.Dialect, rows: int) -> str:
    """An INSERT for *rows* rows that leaves alone what is there, with the placeholders of *dialect*."""
    one_row: dict[str, sa.BindParameter[object]] = {name: sa.bindparam(name) for name in FIELDS}
    statement = insert(documents).values(one_row).on_conflict_do_nothing(index_elements=_identity)
    head, values, tail = str(statement.compile(dialect=dialect)).partition(" VALUES ")
    row, bracket, rest = tail.partition(")")
    # SQLAlchemy takes 80 ms to compile a thousand rows, which differ in nothing, and each run would wait for it.
    return head + values + ", ".join(repeat(row + bracket, rows)) + rest


def check_no_gap(connection: sa.Connection, envelopes: Sequence[Envelope]) -> None:
    """Raise unless each of *envelopes* is the first of its task, or the one before it is there or comes before it.

    To be called before they are inserted: those that come in the wrong order are not to find each other. Most tasks
    begin and end in one batch, so that there is little to look up, if anything.
    """
    newest: dict[tuple[object, ...], int] = {}
    wanted: dict[tuple[object, ...], Envelope] = {}
    for envelope in envelopes:
        place = (envelope.run_id, envelope.task, envelope.map_index)
        sequence = envelope.sequence
        last = newest.get(place, -1)
        if last < sequence - 1:
            wanted[*place, sequence - 1] = envelope
        if last < sequence:
            newest[place] = sequence
    if not wanted:
        return
    found = _present(connection, list(wanted))
    for identity, envelope in wanted.items():
        if identity not in found:
            raise BackendError(
                f"number {identity[-1]} of the task {envelope.task!r}, map index {envelope.map_index}, in the run "
                f"{envelope.run_id!r} is missing, and {envelope.sequence} was to be kept; nothing of the batch was kept"
            )


def _present(connection: sa.Connection, identities: Sequence[tuple[object, ...]]) -> set[tuple[object, ...]]:
    """Those of *identities* that are there."""
    found: set[tuple[object, ...]] = set()
    for start in range(0, len(identities), _MOST_LOOKUPS):
        part = identities[start : start + _MOST_LOOKUPS]
        wanted = [sa.and_(*map(operator.eq, _identity, identity)) for identity in part]
        found.update(map(tuple, connection.execute(sa.select(*_identity).where(sa.or_(*wanted)))))
    return found


def check_all_kept(connection: sa.Connection, envelopes: Sequence[Envelope]) -> None:
    """Raise unless each of *envelopes* is in the database just as it is here."""
    for part in _parts(envelopes, _MOST_LOOKUPS):
        # Spelled out with OR, because SQLite would not use the index for (a, b) IN ((1, 2), (3, 4)).
        wanted = [sa.and_(*(documents.c[name] == getattr(envelope, name) for name in IDENTITY)) for envelope in part]
        kept = {tuple(row) for row in connection.execute(sa.select(*_columns).where(sa.or_(*wanted)))}
        for envelope in part:
            if astuple(envelope) not in kept:
                raise BackendError(
                    f"another document is already number {envelope.sequence} of the task {envelope.task!r}, map index "
                    f"{envelope.map_index}, in the run {envelope.run_id!r}; nothing of the batch was kept; "
                    "start a new run"
                )
