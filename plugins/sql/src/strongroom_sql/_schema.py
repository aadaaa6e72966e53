# SPDX-License-Identifier: Apache-2.0
"""Which tables hold the record of runs, and is what we found there the version that we know?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from strongroom import Envelope
from strongroom.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

__all__ = ["FIELDS", "IDENTITY", "OPENS_A_RUN", "STEPS", "documents", "is_ready", "leases", "migrate"]

FIELDS: Final = Envelope.__struct_fields__
"""The columns of `documents` that an envelope fills, in the order of both."""

IDENTITY: Final = ("run_id", "task", "map_index", "sequence")
"""The columns that no two documents share."""

_metadata = sa.MetaData()


def _counted(name: str) -> sa.Column[int]:
    """A number that the database gives to each row, higher than all before."""
    # SQLite counts by itself only in a column whose type is called INTEGER; it has 64 bits there. PostgreSQL lets
    # whoever may insert rows draw from an identity, but would want a further grant for a sequence.
    return sa.Column(
        name, sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(always=True), primary_key=True
    )


documents: Final = sa.Table(
    "documents",
    _metadata,
    _counted("ordinal"),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("map_index", sa.Integer, nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("run_count", sa.Integer, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("shown", sa.Text, nullable=False),
    sa.UniqueConstraint(*IDENTITY, name="documents_identity"),
)
"""One row per envelope; `ordinal` grows in the order of `append`."""

# A literal and no parameter: a partial index serves only queries whose condition is seen to imply its own.
OPENS_A_RUN: Final = documents.c.kind == sa.literal_column("'run'")

# The task is in it so that a read of one task skips the others without fetching their rows.
sa.Index("documents_by_run", documents.c.run_id, documents.c.ordinal, documents.c.task)
# All that a list of runs asks for is in it; it has one entry per run.
_opening = sa.Index("documents_opening", documents.c.ordinal, documents.c.run_id, documents.c.kind)

leases: Final = sa.Table(
    "leases",
    _metadata,
    # The number of the row is the epoch. The database never gives a number twice, so that rows can be deleted.
    _counted("epoch"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("slot", sa.Integer, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("expires", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("name", "slot", name="leases_slot"),
    sqlite_autoincrement=True,
)
"""One row per lease that is held, or was until it expired; `expires` is in milliseconds since 1970-01-01 UTC."""

_versions = sa.Table("schema_version", _metadata, sa.Column("version", sa.Integer, primary_key=True))


def _make_tables(connection: sa.Connection) -> None:
    # Not where the index is written down: SQLAlchemy imports the whole of each dialect whose options are named, and
    # most processes have tables already, of one of them.
    _opening.dialect_options[connection.dialect.name]["where"] = OPENS_A_RUN
    _metadata.create_all(connection)


STEPS: Sequence[Callable[[sa.Connection], None]] = (_make_tables,)
"""What leads from each version of the schema to the next, beginning with an empty database. Steps are only ever added.

The first makes the tables as they are above: whoever changes them gives it the old ones, and adds a step.
"""


def is_ready(connection: sa.Connection, place: str, schema: str | None = None) -> bool:
    """True if the tables are there and of this version, False if `migrate` has something to do.

    Raises:
        BackendError: the database is of a later version, or somebody else's.
    """
    return _version(connection, place, schema) == len(STEPS)


def migrate(connection: sa.Connection, place: str, schema: str | None = None) -> None:
    """Make the tables, or bring them up to date; for a transaction that keeps every other writer out.

    Raises:
        BackendError: the database is of a later version, or somebody else's.
    """
    found = _version(connection, place, schema)
    for number, step in enumerate(STEPS[found:], found + 1):
        step(connection)
        connection.execute(sa.insert(_versions).values(version=number))


def _version(connection: sa.Connection, place: str, schema: str | None) -> int:
    tables = set(sa.inspect(connection).get_table_names(schema))
    if not tables:
        return 0
    if not _metadata.tables.keys() <= tables:
        raise BackendError(f"{place} is a database of something else; name another in backend.url")
    found = connection.scalar(sa.select(sa.func.max(_versions.c.version)))
    if not isinstance(found, int) or not 0 < found <= len(STEPS):
        raise BackendError(
            f"{place} has version {found} of the schema and this strongroom-sql knows versions up to {len(STEPS)}; "
            "upgrade strongroom-sql, or name another database in backend.url"
        )
    return found
