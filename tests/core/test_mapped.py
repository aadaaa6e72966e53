# SPDX-License-Identifier: Apache-2.0
"""Is a record decoded where it lies only if nobody else can change it, and believed again only if nobody did?"""

from __future__ import annotations

import io
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from strongroom import _mapped
from strongroom._mapped import MappedFiles
from strongroom._plugins import Plugins
from strongroom.abc import RemembersLoads, Serializer, SupportsBuffer
from strongroom.errors import DamagedError
from strongroom.hookspecs import Register, hookimpl
from strongroom.keyring import Key, Keyring
from strongroom.results import ResultStore

KEYRING = Keyring([Key(bytes(32))])
VALUE = bytes(range(256)) * 8192
KEY = "reports/monthly"


class Views(Serializer):
    """Bytes, which come back as a view of where they are."""

    id = "views"
    zero_copy = True

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(cast("bytes", value))

    def __init__(self) -> None:
        self.told: list[bool] = []

    def load(self, source: BinaryIO) -> object:
        assert isinstance(source, SupportsBuffer)
        self.told.append(isinstance(source, RemembersLoads) and source.loaded_before(self))
        return source.getbuffer()


class Fails(Views):
    """The same, which never succeeds."""

    def load(self, source: BinaryIO) -> object:
        super().load(source)
        raise ZeroDivisionError


class RunsCode(Views):
    """The same, of somebody who says that loading may run code."""

    id = "runs"
    executes_code = True


class Brings:
    """A plugin of one serializer."""

    def __init__(self, serializer: Serializer) -> None:
        self.serializer = serializer

    @hookimpl
    def strongroom_register(self, register: Register) -> None:
        """Bring it."""
        register.serializer(self.serializer)


def later() -> int:
    """A time at which what was written just now has been left alone for long."""
    return time.time_ns() + 60_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    if not maps(tmp_path):
        pytest.skip("temporary folders are on a file system whose files are never mapped")
    return a_store(tmp_path / "results", Views())


def maps(folder: Path) -> bool:
    probe = folder / "probe"
    probe.write_bytes(VALUE)
    probe.chmod(0o600)
    with probe.open("rb") as file:
        return MappedFiles(later).open(file, len(VALUE)) is not None


def a_store(folder: Path, serializer: Serializer) -> ResultStore:
    plugins = Plugins(())
    plugins.add(serializer.id, Brings(serializer))
    return ResultStore(folder, serializer=serializer, keyring=KEYRING, allow=(), plugins=plugins, clock=later)


def path_of(store: ResultStore, key: str = KEY) -> Path:
    return Path(store.locate(key))


def read(store: ResultStore, key: str = KEY) -> memoryview:
    value = store.read(key).result
    assert isinstance(value, memoryview)
    return value


def overwrite(path: Path, at: int, data: bytes) -> None:
    """Change the file itself, as no writer of ours does."""
    with path.open("r+b", buffering=0) as file:
        file.seek(at)
        file.write(data)


def is_a_view_of(path: Path, value: memoryview) -> bool:
    """Whether a change of the file shows in *value*, which is how a mapping is told from a copy."""
    at = path.read_bytes().index(b"\n") + 1
    overwrite(path, at, b"\xff")
    return value[0] == 0xFF


def test_a_record_that_only_we_can_write_is_decoded_where_it_lies(store: ResultStore) -> None:
    store.write(VALUE, KEY)

    value = read(store)

    assert value == VALUE
    assert is_a_view_of(path_of(store), value)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o660])
def test_a_record_that_others_can_write_is_copied(store: ResultStore, mode: int) -> None:
    store.write(VALUE, KEY)
    path_of(store).chmod(mode)

    value = read(store)

    assert value == VALUE
    assert not is_a_view_of(path_of(store), value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_record_of_another_user_is_copied(store: ResultStore) -> None:
    store.write(VALUE, KEY)
    os.chown(path_of(store), 12345, -1)

    value = read(store)

    assert not is_a_view_of(path_of(store), value)


def test_a_record_on_a_file_system_that_we_do_not_know_is_copied(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(VALUE, KEY)
    monkeypatch.setattr(_mapped, "_LOCAL", frozenset({b"nfs4"}))

    value = read(store)

    assert not is_a_view_of(path_of(store), value)


def test_what_may_run_code_gets_a_copy(tmp_path: Path) -> None:
    store = a_store(tmp_path / "results", RunsCode())
    store.write(VALUE, KEY)

    value = read(store)

    assert not is_a_view_of(path_of(store), value)


def test_only_an_ordinary_file_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(VALUE)

    class Odd(io.BufferedReader):
        pass

    files = MappedFiles(later)
    with path.open("rb", buffering=0) as raw:
        assert files.open(cast("BinaryIO", raw), len(VALUE)) is None
    with Odd(io.FileIO(path)) as odd:
        assert files.open(odd, len(VALUE)) is None
    assert files.open(io.BytesIO(VALUE), len(VALUE)) is None


def test_a_value_can_be_changed_and_the_record_stays(store: ResultStore) -> None:
    store.write(VALUE, KEY)
    before = path_of(store).read_bytes()

    read(store)[0] = 99

    assert path_of(store).read_bytes() == before
    assert read(store) == VALUE


def test_a_record_that_was_verified_is_not_hashed_again(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(VALUE, KEY)
    read(store)

    def no_more(*_: object) -> int:
        raise AssertionError("it was verified again")

    monkeypatch.setattr("strongroom._record._check_trailer", no_more)

    assert read(store) == VALUE


@pytest.mark.parametrize("place", [0, 64, 5000, -1, -40])
def test_a_record_that_was_verified_and_then_changed_is_refused(store: ResultStore, place: int) -> None:
    store.write(VALUE, KEY)
    read(store)
    path = path_of(store)
    at = place % path.stat().st_size

    changed = bytes([path.read_bytes()[at] ^ 1])

    # Two writes within one tick of the clock that stamps them look like one: this is why fresh files are not believed.
    stamp = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == stamp:
        overwrite(path, at, changed)

    with pytest.raises(DamagedError):
        read(store)


def test_a_file_that_was_just_written_is_not_believed_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(VALUE)
    path.chmod(0o600)
    # A second after that, however long it takes until then.
    files = MappedFiles(lambda: path.stat().st_ctime_ns + 1_000_000_000)

    with path.open("rb") as source:
        file = files.open(source, len(VALUE))
        if file is None:
            pytest.skip("temporary folders are on a file system whose files are never mapped")
        file.remember(b"proof")

        assert not file.was_verified(b"proof")


def test_a_file_whose_time_was_set_back_is_not_believed(store: ResultStore) -> None:
    store.write(VALUE, KEY)
    read(store)
    path = path_of(store)
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        overwrite(path, 5000, b"\0\0")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert path.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(DamagedError):
        read(store)


def test_another_file_in_its_place_is_verified(store: ResultStore, tmp_path: Path) -> None:
    store.write(VALUE, KEY)
    read(store)
    planted = bytearray(path_of(store).read_bytes())
    planted[5000] ^= 1
    other = tmp_path / "planted"
    other.write_bytes(planted)
    other.replace(path_of(store))

    with pytest.raises(DamagedError):
        read(store)


def test_a_verified_file_is_not_believed_under_another_key(store: ResultStore) -> None:
    store.write(VALUE, KEY)
    path_of(store, "reports/yearly").hardlink_to(path_of(store))
    read(store)

    with pytest.raises(DamagedError):
        read(store, "reports/yearly")


def test_a_verified_file_is_not_believed_where_a_reference_names_another_record(store: ResultStore) -> None:
    store.write(VALUE, KEY)
    read(store)

    with pytest.raises(DamagedError):
        store.read(KEY, object_="0" * 32)


def test_a_record_that_changes_between_header_and_mapping_is_refused(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(VALUE, KEY)
    path = path_of(store)
    real = _mapped.MappedFiles.open

    def slow(self: MappedFiles, source: BinaryIO, size: int) -> _mapped.MappedFile | None:
        overwrite(path, 20, b"!")
        return real(self, source, size)

    monkeypatch.setattr(_mapped.MappedFiles, "open", slow)

    with pytest.raises(DamagedError):
        read(store)


def views_of(store: ResultStore) -> Views:
    return cast("Views", store._chain.serializer)


def test_a_serializer_is_told_that_it_loaded_the_same_bytes_before(store: ResultStore) -> None:
    store.write(VALUE, KEY)
    for _ in range(3):
        read(store)

    assert views_of(store).told == [False, True, True]


def test_it_is_not_told_so_of_bytes_that_were_written_since(store: ResultStore) -> None:
    store.write(VALUE, KEY)
    read(store)
    store.write(VALUE, KEY)
    read(store)

    assert views_of(store).told == [False, False]


def test_what_another_serializer_loaded_or_what_failed_does_not_count(store: ResultStore) -> None:
    failing = Fails()
    store.write(VALUE, KEY)
    read(store)
    store._reading._chain = replace(store._reading._chain, serializer=failing)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            read(store)

    assert failing.told == [False, False]


def test_a_copy_is_never_known(store: ResultStore) -> None:
    store.write(VALUE, KEY)
    path_of(store).chmod(0o666)
    for _ in range(2):
        read(store)

    assert views_of(store).told == [False, False]


def test_what_is_remembered_is_bounded() -> None:
    files = MappedFiles(later)

    for number in range(5000):
        files.remember((number, 0, 0), (b"proof",))

    assert len(files.known) <= 1024
    assert (4999, 0, 0) in files.known
