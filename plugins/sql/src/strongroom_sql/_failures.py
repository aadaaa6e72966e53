# SPDX-License-Identifier: Apache-2.0
"""What does an error of SQLite mean to the owner of the file, and what can be done?"""

from __future__ import annotations

import sqlite3
from types import MappingProxyType
from typing import TYPE_CHECKING

from strongroom.errors import BackendError, BackendUnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

__all__ = ["in_our_words"]

_MAY_PASS = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})

_REASONS = MappingProxyType(
    {
        sqlite3.SQLITE_FULL: "has no room left on its disk; free some and run again",
        sqlite3.SQLITE_IOERR: "could not be read or written; check its disk, and the quota and limits of this process",
        sqlite3.SQLITE_NOTADB: "is not an SQLite database; move the file away, or name another in backend.url",
        sqlite3.SQLITE_CORRUPT: "is damaged; restore a copy, or try `sqlite3 FILE .recover`",
        sqlite3.SQLITE_READONLY: "may not be written; check the permissions of the file and of its folder",
        sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that its folder exists, and the permissions of both",
        sqlite3.SQLITE_PERM: "may not be opened; check the permissions of the file and of its folder",
        sqlite3.SQLITE_TOOBIG: "refused a document that is too big; write large results to storage, by reference",
    }
)


def in_our_words(path: Path, error: sa.exc.DBAPIError) -> BackendError:
    """What to raise for *error*: one line that names the file. Neither SQL nor values are in it."""
    code: int = getattr(error.orig, "sqlite_errorcode", -1)
    name: str = getattr(error.orig, "sqlite_errorname", type(error.orig).__name__)
    # The lower byte is the kind of error, the rest is detail.
    kind = code & 0xFF if code >= 0 else code
    if kind in _MAY_PASS:
        return BackendUnavailableError(f"the database {str(path)!r} is locked by another process; try again ({name})")
    reason = _REASONS.get(kind, "failed; `sqlite3 FILE 'PRAGMA integrity_check'` says whether it is whole")
    return BackendError(f"the database {str(path)!r} {reason} ({name})")
