# SPDX-License-Identifier: Apache-2.0
"""Is the process that ran a run gone, as this machine knows for certain?

A lease outlives its holder by 15 seconds, since a backend cannot see who lives. The system can: it takes a file's lock
from a process that dies, at once. So a run locks a file in its home, in which its lease is written, and whoever finds
that file without a lock may give the lease back. Where this is not certain, nothing is said, and the lease decides.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from strongroom._boot import UNKNOWN, boot_id
from strongroom.abc import Lease

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["holding_here", "left_here"]

_FOLDER = "running"
_MOST = 1 << 12
_RUN_ID = re.compile("[0-9a-f]{32}")


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    boot: bytes
    """Which start of which machine it was: elsewhere the lock of a shared folder may not be seen."""
    file: tuple[int, int]
    """The device and number of the file: a copy of the home has no locks."""
    lease: Lease


@contextmanager
def holding_here(home: Path, run_id: str, lease: Lease) -> Iterator[None]:
    """While this lasts, whoever looks can see that the holder of *lease* lives; if it cannot be noted, nobody can."""
    descriptor = _noted(home, run_id, lease)
    try:
        yield
    finally:
        if descriptor is not None:
            with suppress(OSError):
                (home / _FOLDER / run_id).unlink()
            os.close(descriptor)


def _noted(home: Path, run_id: str, lease: Lease) -> int | None:
    """A descriptor of the file with *lease*, locked."""
    # Whoever resumes a run names it: no name may lead to another file.
    if not _RUN_ID.fullmatch(run_id):
        return None
    descriptor = None
    try:
        (home / _FOLDER).mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(home / _FOLDER / run_id, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, msgspec.json.encode(_Note(boot_id(), _number(descriptor), lease)), 0)
    except OSError:
        if descriptor is not None:
            os.close(descriptor)
        return None
    return descriptor


def left_here(home: Path, run_id: str) -> Lease | None:
    """The lease of a run whose holder is gone; None if it lives, or nobody can say.

    By the time it is given back it may be another's, who got a higher epoch: then that does nothing.
    """
    if not _RUN_ID.fullmatch(run_id):
        return None
    try:
        descriptor = os.open(home / _FOLDER / run_id, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        # Nobody who lives gives it up before the end.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        note = msgspec.json.decode(os.pread(descriptor, _MOST, 0), type=_Note)
        is_certain = note.boot == boot_id() != UNKNOWN and note.file == _number(descriptor)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    finally:
        os.close(descriptor)
    return note.lease if is_certain else None


def _number(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
