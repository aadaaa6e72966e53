# SPDX-License-Identifier: Apache-2.0
"""Which values does this plugin keep: tables, frames and arrays, as Arrow streams and NumPy files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.hookspecs import hookimpl
from strongroom_arrow._serializer import ArrowIPC, Parquet, keeps

if TYPE_CHECKING:
    from strongroom.hookspecs import Register

__all__ = ["ArrowIPC", "Parquet", "strongroom_choose_serializer", "strongroom_fingerprint", "strongroom_register"]

_PACKAGES = frozenset({"numpy", "pandas", "polars", "pyarrow"})


@hookimpl
def strongroom_register(register: Register) -> None:
    """Offer the serializers ``arrow`` and ``arrow.parquet``."""
    register.serializer(ArrowIPC())
    register.serializer(Parquet())


# First, because a table that JSON or pickle could keep as well is better off in Arrow.
@hookimpl(tryfirst=True)
def strongroom_choose_serializer(value: object) -> str | None:
    """Claim the tables, frames and arrays that come back unchanged."""
    return ArrowIPC.id if keeps(value) else None


@hookimpl
def strongroom_fingerprint(value: object) -> bytes | None:
    """Digest the content of the tables, frames and arrays that this plugin keeps, and of NumPy's scalars."""
    if type(value).__module__.partition(".")[0] not in _PACKAGES:
        return None
    from strongroom_arrow._fingerprint import fingerprint

    return fingerprint(value)
