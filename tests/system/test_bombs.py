# SPDX-License-Identifier: Apache-2.0
"""Is a small record that would unpack to very much refused before it takes memory, whoever wrote it?"""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from strongroom import CodecContext, Keyring, ResultStore
from strongroom._plugins import installed_plugins
from strongroom._record import Header, RecordWriter
from strongroom.errors import DamagedError, SerializationError, SettingsError
from strongroom.keyring import Key, bind

KEY = "reports/monthly"
CODECS = ("compressed", "compressed.lz4", "compressed.gzip", "compressed.bz2", "compressed.xz")
KEYRING = Keyring([Key(bytes(32))])


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    allow = ("json", "pickle", "arrow", *CODECS)
    return ResultStore(tmp_path, serializer="json", keyring=KEYRING, allow=allow, plugins=installed_plugins(None))


def plant(store: ResultStore, chain: str, payload: bytes, decoded_size: int) -> None:
    """Put an authentic record of *payload* there, with whatever it says of itself."""
    sink = io.BytesIO()
    header = Header(chain=chain, object="0" * 32, key=KEYRING.primary, created=0)
    writer = RecordWriter(sink, header, bind("record", KEY), KEYRING)
    writer.payload.write(payload)
    writer.finish(decoded_size)
    path = Path(store.locate(KEY))
    path.parent.mkdir(parents=True)
    path.write_bytes(sink.getvalue())


def packed(codec: str, data: bytes, times: int = 1) -> bytes:
    sink = io.BytesIO()
    with installed_plugins(None).codec(codec).writer(sink, CodecContext(b"")) as writer:
        for _ in range(times):
            writer.write(data)
    return sink.getvalue()


def peak_of_reading(store: ResultStore) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(DamagedError):
            _ = store.read(KEY).result
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("codec", CODECS)
def test_a_kilobyte_that_says_it_is_gigabytes_is_refused(store: ResultStore, codec: str) -> None:
    plant(store, f"{codec}/json", packed(codec, b"x" * 900), 10 << 30)

    assert peak_of_reading(store) < 4 << 20


@pytest.mark.parametrize("codec", CODECS)
def test_what_becomes_more_than_it_says_is_refused_once_it_does(store: ResultStore, codec: str) -> None:
    plant(store, f"{codec}/json", packed(codec, bytes(1 << 20), times=64), 1000)

    # xz looks back into as much as it is written with.
    assert peak_of_reading(store) < 16 << 20


@pytest.mark.parametrize("codec", CODECS)
def test_a_chain_of_thousands_of_codecs_is_refused(store: ResultStore, codec: str) -> None:
    plant(store, f"{codec}/" * 3000 + "json", packed(codec, b"1"), 1)

    assert peak_of_reading(store) < 4 << 20


def test_no_writer_takes_a_chain_that_no_reader_would(store: ResultStore, tmp_path: Path) -> None:
    longest = ResultStore(
        tmp_path, serializer="compressed/" * 16 + "json", keyring=KEYRING, allow=(), plugins=installed_plugins(None)
    )
    assert store.read(longest.write([1]).key).result == [1]

    with pytest.raises(SettingsError, match="a chain has at most 16 codecs, and this one has 17"):
        ResultStore(tmp_path, serializer="compressed/" * 17 + "json", keyring=KEYRING, allow=())


def test_a_bomb_in_a_bomb_is_refused(store: ResultStore) -> None:
    inner = packed("compressed", bytes(1 << 20), times=500)
    plant(store, "compressed/compressed/json", packed("compressed", inner), 500 << 20)

    assert peak_of_reading(store) < 8 << 20


def test_no_writer_writes_what_a_reader_would_take_for_a_bomb(store: ResultStore, tmp_path: Path) -> None:
    writer = ResultStore(
        tmp_path, serializer="compressed.bz2/arrow", keyring=KEYRING, allow=(), plugins=installed_plugins(None)
    )

    with pytest.raises(SerializationError, match="so small that no reader would unpack it"):
        writer.write(np.zeros(80 << 20, "u1"), KEY)

    assert not store.exists(KEY)


@pytest.mark.parametrize("codec", ["compressed", "compressed.lz4", "compressed.gzip"])
def test_what_gets_very_small_honestly_comes_back(store: ResultStore, tmp_path: Path, codec: str) -> None:
    writer = ResultStore(
        tmp_path, serializer=f"{codec}/arrow", keyring=KEYRING, allow=(), plugins=installed_plugins(None)
    )
    writer.write(np.zeros(80 << 20, "u1"), KEY)

    value = store.read(KEY).result

    assert isinstance(value, np.ndarray)
    assert value.nbytes == 80 << 20
    assert not value.any()
