# SPDX-License-Identifier: Apache-2.0
"""Who holds which lease, by the database's clock?"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import sqlalchemy as sa

from strongroom.abc import Lease
from strongroom_sql._schema import leases

if TYPE_CHECKING:
    from typing import Final

__all__ = ["acquire", "is_full", "release", "renew"]

_UNIX_EPOCH_IN_DAYS: Final = 2_440_587.5
_MILLISECONDS_OF_A_DAY: Final = 86_400_000

# The name for it that every SQLite knows; unixepoch() with fractions of a second is of 2023.
_now = sa.cast((sa.func.julianday("now") - _UNIX_EPOCH_IN_DAYS) * _MILLISECONDS_OF_A_DAY, sa.BigInteger)
_until = _now + sa.bindparam("milliseconds", type_=sa.Integer)
_has_name = leases.c.name == sa.bindparam("of_name")

# Put together once: that takes SQLAlchemy longer than SQLite takes to carry them out.
_count_held = sa.select(sa.func.count()).where(
    _has_name, leases.c.slot < sa.bindparam("slots"), leases.c.expires > _now
)
_delete_expired = sa.delete(leases).where(leases.c.expires <= _now)
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


def is_full(connection: sa.Connection, name: str, *, slots: int) -> bool:
    """True if all of the first *slots* slots are held; a look that needs no lock, for those who ask in vain."""
    return connection.scalars(_count_held, {"of_name": name, "slots": slots}).one() >= slots


def acquire(connection: sa.Connection, name: str, holder: str, *, seconds: float, slots: int) -> Lease | None:
    """A lease in the lowest free slot, or None; for a transaction that keeps every other writer out."""
    # Those of all names, so that nothing stays of a process that died.
    connection.execute(_delete_expired)
    taken = set(connection.scalars(_select_slots, {"of_name": name}))
    slot = next(slot for slot in itertools.count() if slot not in taken)
    if slot >= slots:
        return None
    row = {"new_name": name, "new_slot": slot, "new_holder": holder, "milliseconds": _milliseconds(seconds)}
    inserted = connection.execute(_insert, row)
    return Lease(name, slot, holder, inserted.lastrowid)


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
