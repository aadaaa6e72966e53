# SPDX-License-Identifier: Apache-2.0
"""Who holds which lease, by the database's clock?"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from strongroom.abc import Lease
from strongroom_sql._schema import leases

if TYPE_CHECKING:
    from typing import Final

    from sqlalchemy.sql.compiler import SQLCompiler

__all__ = ["acquire", "is_full", "now", "release", "renew"]

_UNIX_EPOCH_IN_DAYS: Final = 2_440_587.5
_MILLISECONDS_OF_A_DAY: Final = 86_400_000


class _Now(FunctionElement[int]):
    """The database's clock, in milliseconds since 1970-01-01 UTC."""

    type = sa.BigInteger()
    # True of functions only: what has another element in it is compiled anew each time.
    inherit_cache = True


@compiles(_Now, "sqlite")
def _of_sqlite(_element: _Now, _compiler: SQLCompiler, **_options: object) -> str:
    # The name for it that every SQLite knows; unixepoch() with fractions of a second is of 2023.
    return f"CAST((julianday('now') - {_UNIX_EPOCH_IN_DAYS}) * {_MILLISECONDS_OF_A_DAY} AS BIGINT)"


@compiles(_Now, "postgresql")
def _of_postgresql(_element: _Now, _compiler: SQLCompiler, **_options: object) -> str:
    # Not now(): that is when the transaction began, which may have waited for a lock since.
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


_now = _Now()
_until = _now + sa.bindparam("milliseconds", type_=sa.Integer)
_has_name = leases.c.name == sa.bindparam("of_name")

# Put together once: that takes SQLAlchemy longer than SQLite takes to carry them out.
_count_held = sa.select(sa.func.count()).where(
    _has_name, leases.c.slot < sa.bindparam("slots"), leases.c.expires > _now
)
_delete_expired_of_name = sa.delete(leases).where(_has_name, leases.c.expires <= _now)
# SQLite has one writer at a time and nothing to skip.
_delete_expired = sa.delete(leases).where(
    leases.c.epoch.in_(sa.select(leases.c.epoch).where(leases.c.expires <= _now).with_for_update(skip_locked=True))
)
_select_slots = sa.select(leases.c.slot).where(_has_name)
_insert = sa.insert(leases).values(
    name=sa.bindparam("new_name"), slot=sa.bindparam("new_slot"), holder=sa.bindparam("new_holder"), expires=_until
)
# The epoch would do; the rest sees to it that a lease that was made up opens nothing.
_is_this = sa.and_(
    leases.c.epoch == sa.bindparam("of_epoch"),
    _has_name,
    leases.c.slot == sa.bindparam("of_slot"),
    leases.c.holder == sa.bindparam("of_holder"),
)
_renew = sa.update(leases).where(_is_this, leases.c.expires > _now).values(expires=_until)
_delete = sa.delete(leases).where(_is_this)


def now(connection: sa.Connection) -> int:
    """The database's clock, in milliseconds since 1970-01-01 UTC."""
    return connection.scalars(sa.select(_now)).one()


def is_full(connection: sa.Connection, name: str, *, slots: int) -> bool:
    """True if all of the first *slots* slots are held; a look that needs no lock, for those who ask in vain."""
    return connection.scalars(_count_held, {"of_name": name, "slots": slots}).one() >= slots


def acquire(connection: sa.Connection, name: str, holder: str, *, seconds: float, slots: int) -> Lease | None:
    """A lease in the lowest free slot, or None; for a transaction that keeps every other writer of *name* out."""
    # Waits, before anything else is locked, for whoever is just sweeping one of these away.
    connection.execute(_delete_expired_of_name, {"of_name": name})
    # Those of all names, so that nothing stays of a process that died.
    connection.execute(_delete_expired)
    taken = set(connection.scalars(_select_slots, {"of_name": name}))
    slot = next(slot for slot in itertools.count() if slot not in taken)
    if slot >= slots:
        return None
    row = {"new_name": name, "new_slot": slot, "new_holder": holder, "milliseconds": _milliseconds(seconds)}
    key = connection.execute(_insert, row).inserted_primary_key
    assert key is not None  # noqa: S101  # one row was inserted
    return Lease(name, slot, holder, key[0])


def renew(connection: sa.Connection, lease: Lease, *, seconds: float) -> bool:
    """Let *lease* last for *seconds* from now; False if it is lost."""
    return connection.execute(_renew, _these(lease) | {"milliseconds": _milliseconds(seconds)}).rowcount == 1


def release(connection: sa.Connection, lease: Lease) -> None:
    """Give *lease* back, if it is still there."""
    connection.execute(_delete, _these(lease))


def _these(lease: Lease) -> dict[str, object]:
    return {"of_epoch": lease.epoch, "of_name": lease.name, "of_slot": lease.slot, "of_holder": lease.holder}


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
