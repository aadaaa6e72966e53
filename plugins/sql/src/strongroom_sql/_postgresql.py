# SPDX-License-Identifier: Apache-2.0
"""How is PostgreSQL spoken to, and what do its errors mean to whoever runs a flow?"""

from __future__ import annotations

import re
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

import sqlalchemy as sa
from msgspec.structs import astuple
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import psycopg

from strongroom.errors import BackendError, BackendUnavailableError, MissingPluginError, SettingsError
from strongroom_sql._schema import FIELDS, IDENTITY, documents
from strongroom_sql._statements import check_all_kept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Final

    from strongroom import Envelope

__all__ = [
    "SCHEMA",
    "address_of",
    "engine",
    "errors_in_our_words",
    "insert",
    "lock_name",
    "lock_schema",
    "parse",
    "place_of",
]

SCHEMA: Final = "strongroom"
"""The tables have a schema of their own, so that they can live beside others and be granted as one."""

# Whoever migrates holds this lock: the letters "strong" as a number.
_MIGRATION: Final = 0x7374726F6E67
# A statement carries no more than this, so that many large documents are not in memory three times over.
_MOST_BYTES: Final = 16 << 20
_CONNECT_SECONDS: Final = "5"

_DEFAULTS: Final = MappingProxyType(
    {
        "connect_timeout": _CONNECT_SECONDS,
        # A server that vanished is noticed within half a minute and not within two hours.
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": "30000",
        "application_name": "strongroom",
    }
)

_PLACES: Final = frozenset({"host", "hostaddr", "port", "dbname", "service"})

_NOT_NOW: Final = "could not be used just now; try again"
_REASONS: Final = MappingProxyType(
    {
        "28": "refused the user or the password; check backend.url, or the password file ~/.pgpass",
        "3D": "does not exist; make it: createdb NAME",
        "42501": "does not let this role do that; docs/howto/backends.md has the grants",
        "25006": "is read-only; name the primary server in backend.url",
        "22": "cannot keep a document: text or number out of range",
        "54": "refused a document that is too big; write large results to storage, by reference",
    }
)
# Lost connections, lost races, no room, shutting down: the same statement may succeed later.
_MAY_PASS: Final = ("08", "40", "53", "55", "57", "58")


def parse(url: str) -> sa.URL:
    """*url*, for psycopg.

    Raises:
        SettingsError: it is not a URL, or has a password among its parameters. The message does not repeat it.
    """
    try:
        parsed = sa.make_url(url).set(drivername="postgresql+psycopg")
    except (sa.exc.ArgumentError, ValueError):
        raise SettingsError("backend.url is not a URL; write it like postgresql://user@host/database") from None
    if "password" in parsed.query:
        # After '?' it would show wherever the URL is printed by somebody who knows how to hide passwords.
        raise SettingsError("backend.url has a password after '?'; put it before the '@', or into ~/.pgpass")
    return parsed


def place_of(url: sa.URL) -> str:
    """What the database is called in messages: no user, no password, no parameter."""
    return f"the PostgreSQL database {url.database or ''!r} at {url.host or 'this machine'!r}"


def address_of(url: sa.URL) -> str:
    """Which database *url* is about, whoever uses it: no user, no password, and of the parameters only places."""
    places = {name: value for name, value in url.query.items() if name in _PLACES}
    return sa.URL.create("postgresql", None, None, url.host, url.port, url.database, places).render_as_string()


def engine(url: sa.URL) -> sa.Engine:
    """An engine that has not connected yet.

    Raises:
        MissingPluginError: psycopg is not installed.
    """
    asked = {name: value for name, value in _DEFAULTS.items() if name not in url.query}
    try:
        made = sa.create_engine(url, connect_args=asked, hide_parameters=True, pool_size=4, max_overflow=4)
    except ImportError:
        hint = "to use PostgreSQL: pip install 'strongroom-sql[postgresql]'"
        raise MissingPluginError("driver", "psycopg", hint) from None
    return made.execution_options(schema_translate_map={None: SCHEMA})


def lock_schema(connection: sa.Connection) -> None:
    """Wait until nobody else makes or changes the tables, keep others from it, and make the schema if there is none."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION)))
    if not sa.inspect(connection).has_schema(SCHEMA):
        connection.execute(sa.schema.CreateSchema(SCHEMA))


def lock_name(connection: sa.Connection, name: str) -> None:
    """Wait until nobody else is about to get a lease of *name*; names with the same hash wait, too."""
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))


_table = documents.to_metadata(sa.MetaData(), schema=SCHEMA)
_arrays = [sa.bindparam(name, type_=postgresql.ARRAY(_table.c[name].type)) for name in FIELDS]
_rows = sa.func.unnest(*_arrays).table_valued(*FIELDS, with_ordinality="position", name="sent").render_derived()
# One statement for rows of any number: an array for each column. It is several times as fast as a pipeline of INSERTs.
_insert = (
    postgresql.insert(_table)
    .from_select(FIELDS, sa.select(*(_rows.c[name] for name in FIELDS)).order_by(_rows.c.position))
    .on_conflict_do_nothing(index_elements=[_table.c[name] for name in IDENTITY])
)
# For psycopg as it is, and with the arrays in binary: as text, each of their items would be searched for quotes, which
# takes longer than all the rest.
_INSERT: Final = re.sub(r"%\((\w+)\)s", r"%(\1)b", str(_insert.compile(dialect=psycopg.dialect())))  # type: ignore[no-untyped-call]


def insert(connection: sa.Connection, envelopes: Sequence[Envelope]) -> None:
    """Insert those of *envelopes* that are not there yet, within the caller's transaction.

    Raises:
        BackendError: a different envelope has the identity of one of them.
    """
    for part in _parts(envelopes):
        columns = zip(*map(astuple, part), strict=True)
        result = connection.exec_driver_sql(_INSERT, dict(zip(FIELDS, map(list, columns), strict=True)))
        if result.rowcount != len(part):
            check_all_kept(connection, part)


def _parts(envelopes: Sequence[Envelope]) -> Iterator[Sequence[Envelope]]:
    start, size = 0, 0
    for index, envelope in enumerate(envelopes):
        if size and size + len(envelope.sealed) > _MOST_BYTES:
            yield envelopes[start:index]
            start, size = index, 0
        size += len(envelope.sealed)
    if start < len(envelopes):
        yield envelopes[start:]


@contextmanager
def errors_in_our_words(place: str) -> Iterator[None]:
    """One line that names the database. No cause: PostgreSQL's own words may quote values, or the URL."""
    try:
        yield
    except sa.exc.DBAPIError as exc:
        raise _in_our_words(place, exc) from None
    except sa.exc.TimeoutError:
        raise BackendUnavailableError(f"{place} {_NOT_NOW} (all connections are in use)") from None
    except (UnicodeError, OverflowError):
        raise BackendError(f"{place} cannot keep a document: text or number out of range") from None


def _in_our_words(place: str, error: sa.exc.DBAPIError) -> BackendError:
    state: str = getattr(error.orig, "sqlstate", None) or ""
    name = state or type(error.orig).__name__
    reason = _REASONS.get(state) or _REASONS.get(state[:2])
    if reason is None and isinstance(error, sa.exc.DataError):
        reason = _REASONS["22"]
    if reason is not None:
        return BackendError(f"{place} {reason} ({name})")
    if state.startswith(_MAY_PASS):
        return BackendUnavailableError(f"{place} {_NOT_NOW} ({name})")
    if not state and isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError)):
        # A connection that was refused has no code, whether nobody listens or the password is wrong.
        return BackendUnavailableError(
            f"{place} cannot be reached; check that it runs, and host, database, user and password of backend.url"
        )
    return BackendError(f"{place} failed; its log says more ({name})")
