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
    from strongroom_sql.backend import SQLBackend

    return SQLBackend(url)


@hookimpl
def strongroom_register(register: Register) -> None:
    """Offer the backend ``sql``; its URL is like ``sqlite:////home/me/.strongroom/strongroom.db``."""
    register.backend("sql", _open)
