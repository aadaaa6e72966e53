# SPDX-License-Identifier: Apache-2.0
"""Is the process that held leases gone, as this machine knows for certain?

A lease outlives its holder by 15 seconds, since a backend cannot see who lives. The system can: it takes a file's lock
from a process that dies, at once. So whoever holds leases locks a file in the home, in which they are written, and
whoever finds that file without a lock may give them back. Where this is not certain, nothing is said, and time decides.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from strongroom._boot import UNKNOWN, boot_id
from strongroom.abc import Lease

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["Note", "free_left"]

_FOLDER = "running"
_MOST = 1 << 20
_HOLDER = re.compile("[0-9a-f]{32}")
_END = b"\n"


class _Noted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    boot: bytes
    """Which start of which machine it was: elsewhere the lock of a shared folder may not be seen."""
    file: tuple[int, int]
    """The device and number of the file: a copy of the home has no locks."""
    leases: tuple[Lease, ...]


class Note:
    """What *holder* holds, for others to find in *home* once it is gone. If it cannot be noted, nobody can."""

    def __init__(self, home: Path, holder: str) -> None:
        self._path = home / _FOLDER / holder
        # A run is named by whoever resumes it: no name may lead to another file.
        self._is_off = not _HOLDER.fullmatch(holder)
        self._descriptor: int | None = None

    def write(self, leases: Sequence[Lease]) -> None:
        """Note that just these *leases* are held."""
        if self._is_off:
            return
        try:
            if self._descriptor is None:
                self._descriptor = self._locked()
            noted = _Noted(boot_id(), _number(self._descriptor), tuple(leases))
            # All at once: one that is killed meanwhile leaves what was there, or this. What is behind it is not read.
            os.pwrite(self._descriptor, msgspec.json.encode(noted) + _END, 0)
        except Exception:  # a lease is whatever a backend, a plugin, calls one: then only time frees it
            self._is_off = True

    def _locked(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def close(self) -> None:
        """Take the note away: nothing is held any more."""
        descriptor, self._descriptor, self._is_off = self._descriptor, None, True
        if descriptor is not None:
            with suppress(OSError):
                self._path.unlink()
            os.close(descriptor)


def free_left(home: Path, free: Callable[[Lease], object]) -> bool:
    """Call *free* with each lease of this home whose holder is gone; True if there was one.

    By the time it is given back it may be another's, who got a higher epoch: then that does nothing.
    """
    try:
        paths = [path for path in (home / _FOLDER).iterdir() if _HOLDER.fullmatch(path.name)]
    except OSError:
        return False
    return sum(_free_left(path, free) for path in paths) > 0


def _free_left(path: Path, free: Callable[[Lease], object]) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        # Nobody who lives gives it up before the end.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        noted = msgspec.json.decode(os.pread(descriptor, _MOST, 0).partition(_END)[0], type=_Noted)
        if not noted.boot == boot_id() != UNKNOWN or noted.file != _number(descriptor):
            return False
        for lease in noted.leases:
            free(lease)
        path.unlink()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False
    finally:
        os.close(descriptor)
    return bool(noted.leases)


def _number(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
