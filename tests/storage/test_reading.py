# SPDX-License-Identifier: Apache-2.0
"""What others may read over HTTP: results that lie in a folder, whether or not its server knows ranges."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from strongroom import ResultStore
from strongroom._storage import open_storage
from strongroom.errors import DamagedError, NotFoundError, PermanentStorageError

from . import servers


def folder_of(server: servers.Server) -> ResultStore:
    assert server.files is not None
    return ResultStore(server.files / "results", serializer="arrow")


def test_what_was_written_into_the_folder_is_read_over_http(reading: servers.Server) -> None:
    value = np.arange(1_000_000)
    folder_of(reading).write(value, "numbers")

    with ResultStore(reading.place("results"), serializer="arrow").read("numbers") as record:
        assert (record.result == value).all()


def test_what_is_not_there_is_not_found(reading: servers.Server) -> None:
    with pytest.raises(NotFoundError):
        ResultStore(reading.place("results"), serializer="arrow").read("nothing")


def test_what_was_changed_is_not_read(reading: servers.Server) -> None:
    folder_of(reading).write(np.arange(1000), "numbers")
    assert reading.files is not None
    path = reading.files / "results" / "numbers"
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    with pytest.raises(DamagedError):
        ResultStore(reading.place("results"), serializer="arrow").read("numbers")


def test_nothing_can_be_written(reading: servers.Server) -> None:
    with pytest.raises(PermanentStorageError):
        ResultStore(reading.place("results"), serializer="json").write(1, "one")


def test_what_is_huge_is_read_in_bounded_memory(reading: servers.Server) -> None:
    assert reading.files is not None
    (reading.files / "huge").write_bytes(bytes(64 << 20))
    storage = open_storage(reading.place("").rstrip("/"))

    tracemalloc.start()
    source, size = storage.open("huge")
    with source:
        while data := source.read(1 << 20):
            size -= len(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert size == 0
    assert peak < 16 << 20
