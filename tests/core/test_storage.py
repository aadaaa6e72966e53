# SPDX-License-Identifier: Apache-2.0
"""Folders of records, beneath the result store: on a disk, and on whatever fsspec opens."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from strongroom import _local_storage
from strongroom._storage import Entry, Storage, open_storage
from strongroom.errors import NotFoundError, PermanentStorageError, TransientStorageError


@pytest.fixture(params=["folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "results" if request.param == "folder" else f"memory://{tmp_path.name}")


def _put(storage: Storage, key: str, data: bytes = b"data") -> None:
    with storage.create(key) as file:
        file.write(data)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only Linux has such a place")
def test_a_folder_that_cannot_be_made_is_not_taken_for_a_result_that_is_not_there() -> None:
    with (
        pytest.raises(PermanentStorageError, match="folder cannot be made"),
        open_storage("/proc/strongroom").create("a"),
    ):
        pass


def test_all_that_lies_in_a_storage_is_found_with_size_and_age(storage: Storage) -> None:
    before = time.time()
    _put(storage, "top", b"1")
    _put(storage, "runs/a/one", b"22")
    _put(storage, "runs/a/deep/two", b"333")

    found = {entry.key: entry for entry in storage.walk()}

    assert {key: entry.size for key, entry in found.items()} == {"top": 1, "runs/a/one": 2, "runs/a/deep/two": 3}
    # The clock of a file system is that of the kernel's last tick.
    assert all(abs((entry.modified or 0) / 1_000_000 - before) < 600 for entry in found.values())


def test_a_walk_stays_in_its_folder(storage: Storage) -> None:
    _put(storage, "runs/a")
    _put(storage, "runs-of-others/b")

    assert [entry.key for entry in storage.walk("runs")] == ["runs/a"]
    assert list(storage.walk("nothing")) == []
    with pytest.raises(PermanentStorageError):
        list(storage.walk("../up"))


def test_what_is_deleted_is_gone_and_nothing_else(storage: Storage) -> None:
    _put(storage, "a/one")
    _put(storage, "a/two")

    storage.delete("a/one")
    storage.delete("a/one")

    assert [entry.key for entry in storage.walk()] == ["a/two"]
    with pytest.raises(NotFoundError):
        storage.open("a/one")
    with pytest.raises(PermanentStorageError):
        storage.delete("../up")


def test_what_a_killed_writer_left_is_found_and_can_be_discarded(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    _put(storage, "runs/a")
    with storage.create("runs/b") as file:
        file.write(b"half")
        (leftover,) = storage.leftovers()
        assert leftover.size == 4
        # The writer is not dead: a copy plays the part of what it would leave.
        copy = tmp_path / "runs" / Path(leftover.key).name.replace(".tmp", "x.tmp")
        copy.write_bytes(b"no name of ours")
        assert [entry.key for entry in storage.walk()] == ["runs/a"]
    copy.rename(tmp_path / leftover.key)

    (found,) = storage.leftovers()
    storage.discard(found)
    storage.discard(found)

    assert list(storage.leftovers()) == []
    assert sorted(entry.key for entry in storage.walk()) == ["runs/a", "runs/b"]


@pytest.mark.parametrize(
    "key", ["runs/a", ".config", "../.a.0123456789abcdef.tmp", "runs/../../.a.0123456789abcdef.tmp"]
)
def test_only_leftovers_are_discarded(storage: Storage, key: str) -> None:
    _put(storage, "runs/a")

    with pytest.raises(PermanentStorageError):
        storage.discard(Entry(key, 0, None))

    assert storage.exists("runs/a")


def test_a_walk_follows_no_links(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "results")
    _put(storage, "a/one")
    (tmp_path / "results" / "a" / "round").symlink_to(tmp_path / "results")
    (tmp_path / "outside").write_bytes(b"secret")
    (tmp_path / "results" / "b").symlink_to(tmp_path / "outside")

    assert [entry.key for entry in storage.walk()] == ["a/one"]


def test_a_record_is_on_the_disk_with_its_name_and_with_the_folders_that_it_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, synced = os.fsync, list[tuple[int, bool]]()
    record = tmp_path / "results" / "runs" / "key"

    def watched(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, record.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    _put(open_storage(tmp_path / "results"), "runs/key")

    folders = [each.stat().st_ino for each in (tmp_path, tmp_path / "results", record, record.parent)]
    # Each new folder's name, the bytes, and then the name of the file.
    assert synced == list(zip(folders, (False, False, False, True), strict=True))


LARGE = bytes(_local_storage._AHEAD)


def test_the_disk_begins_with_a_large_file_while_the_rest_is_still_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    sync = os.fsync

    def told(descriptor: int) -> None:
        begun.set()
        sync(descriptor)

    monkeypatch.setattr(_local_storage.os, "fsync", told)
    with open_storage(tmp_path / "results").create("key") as file:
        begun.clear()
        file.write(LARGE)
        assert begun.wait(60)
        file.write(b"the rest")

    assert (tmp_path / "results" / "key").read_bytes() == LARGE + b"the rest"


def test_what_the_disk_says_on_the_way_is_not_forgotten_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(tmp_path)
    _put(storage, "key", b"old")
    sync = os.fsync
    errors = [OSError(errno.EIO, "Input/output error")]

    def fails_once(descriptor: int) -> None:
        # As the kernel does it: the next one is told that all is well.
        if errors:
            raise errors.pop()
        sync(descriptor)

    monkeypatch.setattr(_local_storage.os, "fsync", fails_once)
    with pytest.raises(TransientStorageError, match="key"):
        _put(storage, "key", LARGE)

    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("key", b"old")]


def test_a_writer_that_fails_waits_for_the_disk_before_it_closes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(tmp_path)
    _put(storage, "another")
    begun, sync = threading.Event(), os.fsync
    synced: list[int] = []

    def slow(descriptor: int) -> None:
        begun.set()
        sync(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    def write_half() -> None:
        with storage.create("key") as file:
            file.write(LARGE)
            assert begun.wait(60)
            raise ZeroDivisionError

    monkeypatch.setattr(_local_storage.os, "fsync", slow)
    with pytest.raises(ZeroDivisionError):
        write_half()

    assert synced == [len(LARGE)]
    assert [entry.key for entry in storage.walk()] == ["another"]
    assert list(storage.leftovers()) == []
