# SPDX-License-Identifier: Apache-2.0
"""How far does the record of a run go, as this home knows it?

That is a line in one of 256 files, by the first digits of the run id, so that few have to be read for one. At least the
newest 500 of each file are kept, which is about 128,000 runs: that the end of an older one is missing, nobody is told.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from strongroom._fsync import fsync
from strongroom.keyring import LINK_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["forget_head", "known_head", "note_head"]

_FOLDER = "heads.d"
_HEAD = re.compile(rb"[0-9a-f]{32} [0-9a-f]{%d}" % (2 * LINK_SIZE))
_MOST = 64 << 10
_KEPT = 500


def note_head(home: Path, run_id: str, head: bytes) -> None:
    """Remember in *home* how far the record of a run goes, so that a backend that hides its end is found out.

    It is on the disk when this returns. Processes that end at once wait for the disk together.
    """
    folder = home / _FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(folder):
        descriptor, is_new = _add(_path(folder, run_id), f"{run_id} {head.hex()}\n".encode())
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        for each in (folder, home):
            fsync(each)


def known_head(home: Path, run_id: str) -> bytes | None:
    """The newest tag of the run that a process of this home has sent; None if none has come to its end here."""
    try:
        data = _path(home / _FOLDER, run_id).read_bytes()
    except FileNotFoundError:
        return None
    found = _heads(data).get(run_id.encode())
    return None if found is None else bytes.fromhex(found.decode())


def forget_head(home: Path, run_id: str) -> None:
    """Know no longer how far the record of a run goes: its end was thrown away on purpose."""
    path = _path(home / _FOLDER, run_id)
    if path.exists():
        with _alone(path.parent):
            heads = _heads(path.read_bytes())
            if heads.pop(run_id.encode(), None) is not None:
                _replace(path, heads)


def _add(path: Path, line: bytes) -> tuple[int, bool]:
    """The file at *path*, open and with *line* at its end, and whether it is a new one."""
    size = path.stat().st_size if path.exists() else 0
    if size > _MOST:
        _shorten(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    size = os.fstat(descriptor).st_size
    # What a crash of the machine cut off stays a line of its own.
    start = b"" if not size or os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"
    os.write(descriptor, start + line)
    return descriptor, not size


def _shorten(path: Path) -> None:
    """Forget all but the newest runs."""
    _replace(path, dict(list(_heads(path.read_bytes()).items())[-_KEPT:]))


def _replace(path: Path, heads: Mapping[bytes, bytes]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(run_id + b" " + head + b"\n" for run_id, head in heads.items())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    fsync(path.parent)


def _heads(data: bytes) -> dict[bytes, bytes]:
    """Run id -> its newest head; the run that was noted last comes last."""
    found: dict[bytes, bytes] = {}
    for line in data.splitlines():
        if _HEAD.fullmatch(line):
            run_id, head = line.split()
            found.pop(run_id, None)
            found[run_id] = head
    return found


def _path(folder: Path, run_id: str) -> Path:
    return folder / run_id[:2]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else shortens a file meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
