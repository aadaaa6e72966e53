# SPDX-License-Identifier: Apache-2.0
"""Is a file system fit to hold results?"""

from __future__ import annotations

import contextlib
import hashlib
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, BinaryIO, cast

import pytest

from strongroom._plugins import Plugins
from strongroom._storage import Storage, open_storage
from strongroom.abc import Serializer
from strongroom.errors import NotFoundError, PermanentStorageError, StorageError
from strongroom.keyring import Key, Keyring
from strongroom.results import ResultStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from strongroom._place import Where

__all__ = ["StorageTests"]

# Several parts of an upload, and not a whole number of them.
_LARGE = (20 << 20) + 1
_A_MINUTE = 60_000_000
# Much more than all the buffers on its way, which together take less than half of it.
_HUGE = 64 << 20
_BUFFERS = 40 << 20
_CHUNK = 1 << 20


def _some_bytes(size: int) -> bytes:
    return hashlib.shake_128(b"the same each time").digest(size)


def _put(storage: Storage, key: str, data: bytes) -> None:
    with storage.create(key) as file:
        file.write(data)


class _Raw(Serializer):
    """Bytes as they are."""

    id = "raw"

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(cast("bytes", value))

    def load(self, source: BinaryIO) -> object:
        return source.read()


def _store(where: Where) -> ResultStore:
    return ResultStore(where, serializer=_Raw(), keyring=Keyring([Key(bytes(32))]), allow=(), plugins=Plugins({}))


def _write_all(store: ResultStore, key: str, values: Iterable[object]) -> None:
    for value in values:
        store.write(value, key)


def _fail_to_put(storage: Storage, key: str) -> None:
    with storage.create(key) as file:
        file.write(bytes(1000))
        raise ZeroDivisionError


@contextlib.contextmanager
def _peak_memory() -> Iterator[list[int]]:
    """Holds the most bytes that were taken in the block, once it has ended."""
    peak = list[int]()
    tracemalloc.start()
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def _get(storage: Storage, key: str) -> bytes:
    source, size = storage.open(key)
    with source:
        data = source.read()
    assert len(data) == size, "it is not as long as the storage says"
    return data


class StorageTests:
    """What strongroom relies on in a file system. Subclass it and give the fixture `where`.

    ``where`` is what `strongroom.results.ResultStore` takes as a storage: an empty place, new to each test.
    """

    @pytest.fixture
    def storage(self, where: Where) -> Storage:
        """The storage at `where`."""
        return open_storage(where)

    @pytest.mark.parametrize("size", [0, 1, 100_000])
    def test_what_is_written_is_read(self, storage: Storage, size: int) -> None:
        data = _some_bytes(size)

        _put(storage, "runs/one/key", data)

        assert _get(storage, "runs/one/key") == data
        assert storage.exists("runs/one/key")

    def test_what_is_large_is_read_as_it_was_written(self, storage: Storage) -> None:
        data = _some_bytes(_LARGE)

        _put(storage, "large", data)

        assert _get(storage, "large") == data

    def test_what_is_huge_is_written_and_read_in_bounded_memory(self, storage: Storage) -> None:
        if storage.url.startswith("memory:"):
            pytest.skip("this storage is memory")
        chunk = _some_bytes(_CHUNK)

        with _peak_memory() as writing, storage.create("huge") as file:
            for _ in range(_HUGE // _CHUNK):
                file.write(chunk)
        with _peak_memory() as reading:
            source, size = storage.open("huge")
            with source:
                while data := source.read(_CHUNK):
                    assert data == chunk
                    size -= len(data)

        assert size == 0
        assert (writing[0] < _BUFFERS, reading[0] < _BUFFERS) == (True, True), (writing, reading)

    def test_a_line_can_be_read_first(self, storage: Storage) -> None:
        _put(storage, "key", b"first\nsecond\n")

        source, _ = storage.open("key")
        with source:
            assert source.readline(100) == b"first\n"
            assert source.read(3) == b"sec"

    def test_what_is_written_again_is_replaced_by_all_of_it(self, storage: Storage) -> None:
        for data in (b"long, long ago", b"short", b"longer than all of the others"):
            _put(storage, "key", data)

            assert _get(storage, "key") == data

    def test_another_reader_sees_what_was_replaced(self, storage: Storage, where: Where) -> None:
        other = open_storage(where)
        _put(storage, "key", b"old")
        assert _get(other, "key") == b"old"

        _put(storage, "key", b"the new one")

        assert _get(other, "key") == b"the new one"

    def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(self, storage: Storage) -> None:
        _put(storage, "folder/key", b"old")

        with pytest.raises(ZeroDivisionError):
            _fail_to_put(storage, "folder/key")

        assert _get(storage, "folder/key") == b"old"
        assert [entry.key for entry in storage.walk()] == ["folder/key"]
        assert list(storage.leftovers()) == []

    def test_what_is_not_there_is_not_found(self, storage: Storage) -> None:
        _put(storage, "folder/key", b"data")

        for key in ("nothing", "folder/nothing", "nowhere/nothing"):
            assert not storage.exists(key)
            with pytest.raises(NotFoundError):
                storage.open(key)
        assert not storage.exists("folder")

    def test_all_that_is_there_is_found_with_size_and_age(self, storage: Storage) -> None:
        _put(storage, "top", b"1")
        _put(storage, "runs/one/key", b"22")
        _put(storage, "runs/two/deep/key", b"333")
        _put(storage, "runs/twofold/key", b"4444")

        found = {entry.key: entry for entry in storage.walk()}

        assert {key: entry.size for key, entry in found.items()} == {
            "top": 1,
            "runs/one/key": 2,
            "runs/two/deep/key": 3,
            "runs/twofold/key": 4,
        }
        assert sorted(entry.key for entry in storage.walk("runs/two")) == ["runs/two/deep/key"]
        assert list(storage.walk("nothing")) == []
        now = time.time_ns() // 1000
        assert all(entry.modified is not None and abs(now - entry.modified) < _A_MINUTE for entry in found.values())

    def test_what_is_deleted_is_gone_and_nothing_else(self, storage: Storage) -> None:
        _put(storage, "folder/one", b"1")
        _put(storage, "folder/two", b"2")

        storage.delete("folder/one")
        storage.delete("folder/one")

        assert not storage.exists("folder/one")
        assert _get(storage, "folder/two") == b"2"

    @pytest.mark.parametrize("key", ["a b+c&d=e", "\u00fc\u4e2d", "x" * 100, "comma,at@bang!", "-dash", "a'b(c)[d]"])
    def test_a_name_is_what_was_given(self, storage: Storage, key: str) -> None:
        _put(storage, f"folder/{key}", b"data")

        assert _get(storage, f"folder/{key}") == b"data"
        assert [entry.key for entry in storage.walk()] == [f"folder/{key}"]

    @pytest.mark.parametrize(
        "key",
        ["../up", "/top", "a/../../up", "a//b", "%2e%2e/up", "..%2fup", "a\\..\\up", ".hidden", "a#b", "a?b", "a;b"],
    )
    def test_no_key_leads_elsewhere(self, storage: Storage, key: str) -> None:
        for act in (storage.open, storage.exists, storage.delete, lambda name: _put(storage, name, b"")):
            with pytest.raises(PermanentStorageError):
                act(key)

    def test_many_threads_write_and_read_at_once(self, storage: Storage) -> None:
        def work(number: int) -> None:
            data = bytes([number]) * 50_000
            _put(storage, f"folder/{number}", data)
            assert _get(storage, f"folder/{number}") == data

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(12)))

        assert len(list(storage.walk("folder"))) == 12

    def test_who_reads_while_others_write_finds_a_whole_result_or_an_error(self, where: Where) -> None:
        results = [bytes([number]) * 30_000 for number in range(6)]
        writer, reader = _store(where), _store(where)
        writer.write(results[0], "key")

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(_write_all, writer, "key", results)
            while not writing.done():
                # A server may show nothing for an instant, or mix two versions: that is noticed.
                with contextlib.suppress(StorageError), reader.read("key") as record:
                    assert record.result in results
            writing.result()

        assert reader.read("key").result == results[-1]
