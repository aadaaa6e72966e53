# SPDX-License-Identifier: Apache-2.0
"""Is everything found and opened after the keys were rotated, and does a rewriting lose nothing?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from strongroom import Flow, _buffers, _rewriting, task
from strongroom._handlers import StoredHandler
from strongroom._local_storage import LocalStorage
from strongroom.abc import Slot
from strongroom.caching import INPUTS
from strongroom.errors import DamagedError, TransientStorageError
from strongroom.keyring import KeyFile, Keyring
from strongroom.results import ResultStore

CHAINS = ["json", "encrypted/compressed/json", "compressed/encrypted/pickle"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keyring.toml"


def rotate(path: Path) -> str:
    added = KeyFile(path).add()
    KeyFile(path).promote(added)
    return added


def a_store(path: Path, chain: str = "encrypted/json", folder: str = "results") -> ResultStore:
    return ResultStore(path.parent / folder, serializer=chain, keyring=Keyring.open_or_create(path))


@pytest.mark.parametrize("value", [[1, 2, 3], list(range(50_000))], ids=["small", "large"])
@pytest.mark.parametrize("chain", CHAINS)
def test_a_rewritten_record_is_the_same_one_under_the_new_key(
    path: Path, monkeypatch: pytest.MonkeyPatch, chain: str, value: list[int]
) -> None:
    receipt = a_store(path, chain).write(value, "key")
    before = (path.parent / "results" / "key").read_bytes()
    new = rotate(path)
    store = a_store(path, chain)

    assert list(store.former()) == ["key"]
    assert store.read("key").result == value
    with monkeypatch.context() as patched:
        # What is large is copied to a file, and not into memory.
        patched.setattr(_buffers, "_IN_MEMORY", 1 << 16)
        assert store.rewrite("key")
        assert not store.rewrite("key")

    after = (path.parent / "results" / "key").read_bytes()
    assert list(store.former()) == []
    assert new.encode() in after
    assert before != after
    assert store.read("key", object_=receipt.object, size=receipt.size).result == value
    only_new = Keyring([Keyring.open_or_create(path)._primary])
    assert ResultStore(path.parent / "results", serializer=chain, keyring=only_new).read("key").result == value


def test_a_damaged_record_is_not_made_authentic(path: Path) -> None:
    a_store(path).write("value", "key")
    place = path.parent / "results" / "key"
    damaged = bytearray(place.read_bytes())
    damaged[-60] ^= 1
    place.write_bytes(damaged)
    rotate(path)

    with pytest.raises(DamagedError):
        a_store(path).rewrite("key")
    assert place.read_bytes() == damaged


def test_a_record_that_is_written_anew_while_it_is_rewritten_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = a_store(path)
    before.write("value", "key")
    rotate(path)
    store = a_store(path)

    def interrupted(source: BinaryIO, size: int) -> Iterator[memoryview]:
        before.write("newer", "key")
        return _buffers.chunks(source, size)

    monkeypatch.setattr(_rewriting, "chunks", interrupted)

    with pytest.raises(TransientStorageError, match="it was replaced meanwhile"):
        store.rewrite("key")
    assert store.read("key").result == "newer"
    assert [each.name for each in (path.parent / "results").iterdir()] == ["key"]


def test_what_is_no_record_or_is_gone_by_then_is_not_named_for_a_rewriting(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in ("one", "two"):
        a_store(path).write("value", key)
    old, new = Keyring.open_or_create(path).primary, rotate(path)
    store = a_store(path)
    (path.parent / "results" / "other").write_bytes(b"no record")

    assert sorted(store.former()) == sorted(store.former(old)) == ["one", "two"]
    assert list(store.former(new)) == list(store.former("0" * 16)) == []
    listed = list(store.list())
    monkeypatch.setattr(LocalStorage, "walk", lambda _: iter(listed))
    store.delete("one")
    assert list(store.former()) == ["two"]


def test_who_runs_for_long_checks_what_a_newer_key_tagged(path: Path) -> None:
    early = a_store(path, "json")
    rotate(path)
    a_store(path, "json").write("value", "key")

    assert early.check("key") == early.read("key").metadata


def test_a_result_of_a_slot_is_found_under_the_name_that_it_had(path: Path) -> None:
    slot = Slot("0" * 32, "task-1")
    StoredHandler(a_store(path)).write("value", slot)
    for _ in range(2):
        rotate(path)
    handler = StoredHandler(a_store(path))

    reference = handler.find(slot)

    assert handler.read(reference, slot) == "value"
    assert handler.find(Slot("0" * 32, "task-2")) is None


def test_a_cached_result_is_used_after_a_rotation_and_a_new_one_after_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRONGROOM_HOME", str(tmp_path))
    calls: list[int] = []

    @task(cache_policy=INPUTS, cache_for=timedelta(hours=1))
    def costly(x: int) -> int:
        calls.append(x)
        return x + 1

    with Flow("cached") as flow:
        kept = costly(1)

    def value() -> object:
        return flow.run().result[kept].result

    assert value() == 2
    rotate(tmp_path / "keyring.toml")
    assert value() == 2
    assert calls == [1]
    rotate(tmp_path / "keyring.toml")
    store = ResultStore(tmp_path / "results")
    for key in list(store.former()):
        store.rewrite(key)
    assert value() == 2
    assert calls == [1]


REWRITE = """
import sys
from pathlib import Path
from strongroom.keyring import Keyring
from strongroom.results import ResultStore

home = Path(sys.argv[1])
store = ResultStore(home / "results", serializer="json", keyring=Keyring.open_or_create(home / "keyring.toml"))
print("ready", flush=True)
for key in sorted(store.former()):
    store.rewrite(key)
    print(key, flush=True)
"""


@pytest.mark.long
@pytest.mark.parametrize("after", [0, 1, 7, 19] if not os.environ.get("STRONGROOM_TEST_LONG") else range(40))
def test_a_rewriting_that_is_killed_loses_nothing_and_goes_on(path: Path, after: int) -> None:
    store = a_store(path, "json")
    for number in range(40):
        store.write({"number": number}, f"folder/{number:02}")
    rotate(path)
    process = subprocess.Popen([sys.executable, "-c", REWRITE, str(path.parent)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(after + 1):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    store = a_store(path, "json")

    assert [store.read(f"folder/{number:02}").result for number in range(40)] == [{"number": n} for n in range(40)]
    for key in list(store.former()):
        store.rewrite(key)
    assert list(store.former()) == []
    assert [store.read(f"folder/{number:02}").result for number in range(40)] == [{"number": n} for n in range(40)]
