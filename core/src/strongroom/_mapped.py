# SPDX-License-Identifier: Apache-2.0
"""May a stored file be decoded where it lies, mapped into memory, and was it verified before?

What is decoded has to be the very bytes that were verified. A private copy is that, whoever writes to the file. A
mapping of the file is that only while nobody changes the file, so a file is mapped only if nobody can but we ourselves:

- It is ours, and its mode lets nobody else write. With an access list, the mode shows the most that the list gives.
  Folders do not matter: whoever may rename files puts another file there, and the one that is open stays what it is.
- It lies on a file system that this machine's kernel keeps on a disk or in memory, from a closed list. Another one
  (NFS, SMB, whatever goes by FUSE) asks a server for pages that were dropped, which may answer otherwise each time.
- It is an ordinary file that was opened directly, not a library's idea of a file.

Whatever cannot be told, on whatever system, means no: then the bytes are copied and verified as ever. Who is left is a
program of the same user, or root. Both can read the keyring and change this process's memory anyway.

A file that was verified is the same file later if its device, inode, size and times are the same. The time of the
inode's last change (ctime) is set by the kernel at each write, and by nobody to a value of choice. It ticks, though:
two writes within a tick look like one. So only a file that had been left alone for some seconds when it was verified
is remembered, and what is remembered is the header and the trailer, with the tag, that have to be there again.
Also remembered is which serializers have read all of it without an error: they need not check the same bytes twice.
"""

from __future__ import annotations

import io
import mmap
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeAlias, cast

import msgspec

from strongroom._buffers import BufferReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.abc import Serializer

__all__ = ["MappedFile", "MappedFiles", "MappedReader"]

_SMALLEST = 1 << 20
"""Less than this is copied quicker than it is asked whether it may be mapped."""

_SETTLED_NS = 3_000_000_000
"""Some file systems keep whole seconds, and the odd one two."""

_MOST = 1024
_LOCAL = frozenset({b"bcachefs", b"btrfs", b"ext2", b"ext3", b"ext4", b"f2fs", b"tmpfs", b"xfs", b"zfs"})

_Stamp: TypeAlias = tuple[int, ...]
_Proof: TypeAlias = tuple[bytes, ...]


class _Known(msgspec.Struct, frozen=True):
    """What is remembered of a file."""

    proof: _Proof
    """By what it was verified."""
    loaded_by: frozenset[type] = frozenset()
    """The classes of the serializers that read it."""


class MappedFile:
    """A file in memory that nobody else can change. What is changed in this memory stays here."""

    __slots__ = ("_files", "_stamp", "view")

    def __init__(self, files: MappedFiles, view: memoryview, stamp: _Stamp) -> None:
        self.view = view
        self._files = files
        self._stamp = stamp

    def was_verified(self, *proof: bytes) -> bool:
        """True if this very file was verified before, with the same *proof*, and has not changed since."""
        known = self._files.known.get(self._stamp)
        return known is not None and known.proof == proof

    def remember(self, *proof: bytes) -> None:
        """All of it was verified just now."""
        self._files.remember(self._stamp, proof)

    def was_loaded_by(self, kind: type) -> bool:
        """True if a serializer of this class loaded it before, and it has not changed since."""
        known = self._files.known.get(self._stamp)
        return known is not None and kind in known.loaded_by

    def remember_loaded_by(self, kind: type) -> None:
        """A serializer of this class loaded it just now, without an error."""
        known = self._files.known.get(self._stamp)
        if known is not None:
            self._files.known[self._stamp] = msgspec.structs.replace(known, loaded_by=known.loaded_by | {kind})

    def reader(self, payload: memoryview) -> BinaryIO:
        """A file to read *payload* from, which is a part of this one."""
        return cast("BinaryIO", MappedReader(payload, self))


class MappedReader(BufferReader):
    """Reads from a mapped file, and knows which serializers have done so before."""

    def __init__(self, view: memoryview, file: MappedFile) -> None:
        super().__init__(view)
        self._file = file

    def loaded_before(self, serializer: object) -> bool:
        return self._file.was_loaded_by(type(serializer))

    def remember_loaded(self, serializer: Serializer) -> None:
        """*serializer* loaded all of it just now, without an error."""
        self._file.remember_loaded_by(type(serializer))


class MappedFiles:
    """Maps files, and knows which of them were verified. Safe to use from several threads."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.known: dict[_Stamp, _Known] = {}

    def open(self, source: BinaryIO, size: int) -> MappedFile | None:
        """The file that *source* reads, if it has *size* bytes, and if it is safe to decode it where it lies."""
        # These very types: what else has a descriptor may give other bytes than those behind it.
        if size < _SMALLEST or type(source) is not io.BufferedReader or type(source.raw) is not io.FileIO:
            return None
        descriptor = source.fileno()
        with suppress(OSError, ValueError):
            status = os.fstat(descriptor)
            if status.st_size == size and _only_we_can_write(status) and _is_kept_here(descriptor):
                # Copy-on-write: a value can be changed as if it had memory of its own, and takes none before that.
                view = memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY))
                return MappedFile(self, view, _stamp(status))
        return None

    def remember(self, stamp: _Stamp, proof: _Proof) -> None:
        """The file with this *stamp* was verified, by *proof*."""
        if self._clock() - max(stamp[-2:]) < _SETTLED_NS:
            return
        while len(self.known) >= _MOST:
            with suppress(KeyError, RuntimeError, StopIteration):
                del self.known[next(iter(self.known))]
        self.known[stamp] = _Known(proof)


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _only_we_can_write(status: os.stat_result) -> bool:
    others = stat.S_IWGRP | stat.S_IWOTH
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & others


def _is_kept_here(descriptor: int) -> bool:
    """True if the file lies on a file system of `_LOCAL`. Only Linux says so; elsewhere the answer is no."""
    found = re.search(rb"^mnt_id:\s*(\d+)$", Path(f"/proc/self/fdinfo/{descriptor}").read_bytes(), re.MULTILINE)
    mounts = Path("/proc/self/mountinfo").read_bytes() if found else b""
    for line in mounts.splitlines():
        mount, _, kind = line.partition(b" - ")
        if found and mount.partition(b" ")[0] == found[1]:
            return kind.partition(b" ")[0] in _LOCAL
    return False
