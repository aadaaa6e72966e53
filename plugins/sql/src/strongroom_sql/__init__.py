# SPDX-License-Identifier: Apache-2.0
"""What does this plugin bring? The backend ``sql``: the record of runs in an SQL database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom import hookimpl

if TYPE_CHECKING:
    from strongroom import Backend, Register

__all__ = ["strongroom_register"]


def _open(url: str) -> Backend:
    # SQLAlchemy takes longer to import than the whole command line, and most commands need no backend.
    if url.startswith(("postgresql:", "postgresql+", "postgres:")):
        from strongroom_sql.postgresql import PostgreSQLBackend

        return PostgreSQLBackend(url)
    from strongroom_sql.backend import SQLBackend

    return SQLBackend(url)


@hookimpl
def strongroom_register(register: Register) -> None:
    """Offer the backend ``sql``: ``sqlite:////home/me/.strongroom/strongroom.db``, ``postgresql://host/database``."""
    register.backend("sql", _open)
