# SPDX-License-Identifier: Apache-2.0
"""Does each storage do what its row in `docs/storages.json` says? The table in the docs is made from these rows.

`STRONGROOM_TEST_CAPABILITIES=write` puts what is found there, for the storages that are tested.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec

from strongroom._local_storage import LocalStorage
from strongroom._remote_storage import RemoteStorage
from strongroom._storage import Storage, open_storage
from strongroom.errors import NotFoundError, StorageError

from . import servers

ROWS = Path(__file__).parents[2] / "docs" / "storages.json"
WRITES = os.environ.get("STRONGROOM_TEST_CAPABILITIES") == "write"
SMALL, LARGE = 30_000, 20 << 20

# What is seen of these depends on chance: what was seen worse once is what the row says.
BY_CHANCE = {
    "replaced": ("at once", "with an error for an instant", "absent for an instant", "torn"),
    "create": ("yes", "not if many try at once"),
}


def put(storage: Storage, key: str, data: bytes) -> None:
    with storage.create(key) as file:
        file.write(data)


def raw(storage: Storage, key: str) -> tuple[Any, str]:
    """The file system of fsspec's below *storage*, and the path of *key* in it."""
    if isinstance(storage, LocalStorage):
        return fsspec.filesystem("file"), storage.locate(key)
    assert isinstance(storage, RemoteStorage)
    return storage._fs, storage._path(key)


def reads_a_part(storage: Storage, key: str, data: bytes) -> str:
    """Whether a part can be had without all that is before it."""
    fs, path = raw(storage, key)
    start, end = len(data) // 2, len(data) // 2 + 10
    if fs.cat_file(path, start=start, end=end) == data[start:end]:
        return "yes"
    try:
        with fs.open(path, "rb") as file:
            file.seek(start)
            return "yes" if file.read(10) == data[start:end] else "no"
    except (OSError, ValueError):
        return "no"


def seen_while_replaced(storage: Storage, key: str) -> str:
    """What others see while an object is replaced by another one of the same size."""
    versions = [bytes([number]) * SMALL for number in range(30)]
    put(storage, key, versions[0])
    seen = {"at once"}

    def replace() -> None:
        for version in versions:
            put(storage, key, version)

    with ThreadPoolExecutor(1) as pool:
        replacing = pool.submit(replace)
        while not replacing.done():
            try:
                source, _ = storage.open(key)
                with source:
                    seen.add("at once" if source.read() in versions else "torn")
            except NotFoundError:
                seen.add("absent for an instant")
            except StorageError:
                seen.add("with an error for an instant")
        replacing.result()
    return max(seen, key=BY_CHANCE["replaced"].index)


def read_while_replaced(storage: Storage, other: Storage, key: str) -> str:
    """What becomes of somebody who is in the middle of reading what is replaced."""
    old, new = b"o" * LARGE, b"n" * LARGE
    put(other, key, old)
    source, _ = storage.open(key)
    with source:
        begin = source.read(1 << 20)
        put(other, key, new)
        try:
            return "reads on" if begin + source.read() == old else "gets an error"
        except StorageError:
            return "gets an error"


def creates_only_if_absent(storage: Storage, key: str) -> str:
    """Whether the storage keeps one writer from replacing what another has written. Nothing here relies on it."""

    def create(name: str, data: bytes) -> bool | None:
        fs, path = raw(storage, name)
        try:
            if isinstance(storage, LocalStorage):
                # What the disk can do: the file system of fsspec's looks first and writes then.
                Path(path).parent.mkdir(exist_ok=True)
                with Path(path).open("xb") as file:
                    file.write(data)
            else:
                fs.pipe_file(path, data, mode="create")
        except (TypeError, ValueError, NotImplementedError):
            return None
        except Exception:  # whatever its library calls it
            return False
        return True

    put(storage, f"{key}/first", b"old")
    answer = create(f"{key}/first", b"new")
    with storage.open(f"{key}/first")[0] as file:
        kept = file.read() == b"old"
    if answer is None:
        return "not offered"
    if answer or not kept:
        return "no"
    # Who wins a race is chance, above all on a busy machine: what was found of that once is in the row.
    rounds = 20 if WRITES or isinstance(storage, LocalStorage) else 0
    with ThreadPoolExecutor(8) as pool:
        for number in range(rounds):
            made = list(pool.map(lambda data: create(f"{key}/{number}", data), [bytes([each]) for each in range(8)]))  # noqa: B023
            if made.count(True) != 1:
                return "not if many try at once"
    return "yes"


def lists(storage: Storage, sizes: Mapping[str, int]) -> str:
    """Whether all that is there is found as soon as it is, with its size and age."""
    try:
        found = {entry.key: entry for entry in storage.walk()}
    except StorageError:
        return "no"
    if {key: entry.size for key, entry in found.items()} != dict(sizes):
        return "no"
    return "yes" if all(entry.modified for entry in found.values()) else "without age"


def check(kind: str, found: dict[str, str]) -> None:
    """Compare *found* with the row of *kind*, or put it there."""
    rows = json.loads(ROWS.read_text())
    row = rows[kind]
    for name, order in BY_CHANCE.items():
        if found.get(name) in order and row.get(name) in order:
            found[name] = max(found[name], row[name], key=order.index)
    if WRITES:
        row.update(found)
        ROWS.write_text(json.dumps(rows, indent=2) + "\n")
    assert found == {name: row.get(name) for name in found}


def test_a_storage_does_what_the_docs_say(server: servers.Server, where: Any) -> None:  # noqa: ANN401
    storage, other = open_storage(where), open_storage(where)
    data = hashlib.shake_128(b"the same each time").digest(LARGE)
    put(storage, "part", data)
    put(storage, "folder/deep/key", b"22")

    found = {
        "listed": lists(storage, {"part": LARGE, "folder/deep/key": 2}),
        "part": reads_a_part(storage, "part", data),
    }
    found["replaced"] = seen_while_replaced(storage, "small")
    found["reader"] = read_while_replaced(storage, other, "large")
    # An older fsspec knows no such mode, so that nothing can be said of the storage.
    if "mode" in inspect.signature(fsspec.AbstractFileSystem.pipe_file).parameters:
        found["create"] = creates_only_if_absent(storage, "create")

    check(server.kind, found)


def test_what_can_only_be_read_does_what_the_docs_say(reading: servers.Server) -> None:
    assert reading.files is not None
    data = hashlib.shake_128(b"the same each time").digest(LARGE)
    folder = open_storage(reading.files)
    put(folder, "part", data)
    storage = open_storage(reading.place("").rstrip("/"))

    found = {"listed": lists(storage, {"part": LARGE}), "part": reads_a_part(storage, "part", data)}
    found["reader"] = read_while_replaced(storage, folder, "large")

    check(reading.kind, found)
