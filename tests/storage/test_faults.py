# SPDX-License-Identifier: Apache-2.0
"""Servers that refuse, are not there, or die: which error says so, and what it does not say."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import BinaryIO

import pytest

from strongroom._remote_storage import RemoteStorage
from strongroom._storage import Storage, open_storage
from strongroom.errors import NotFoundError, PermanentStorageError, TransientStorageError

from . import servers

SECRETS = (servers.PASSWORD, "canary", "testing", "Y2FuYXJ5", "Eby8vdM02xNO")
LARGE = 40 << 20


def _impatient(storage: Storage) -> None:
    """A minute is right for users, and long for tests: what waits from now on, waits for who never answers."""
    assert isinstance(storage, RemoteStorage)
    storage.patience = 5.0


def _put(storage: Storage, key: str, data: bytes = b"data") -> None:
    with storage.create(key) as file:
        file.write(data)


def _everything(storage: Storage) -> list[Callable[[], object]]:
    return [
        lambda: _put(storage, "folder/key"),
        lambda: storage.open("folder/key"),
        lambda: storage.exists("folder/key"),
        lambda: list(storage.walk()),
        lambda: storage.delete("folder/key"),
    ]


def _said(error: BaseException) -> str:
    """All that anybody would print of it."""
    return "".join(traceback.format_exception(error)) + repr(error)


def test_wrong_credentials_are_permanent_and_not_repeated(server: servers.Server) -> None:
    if server.stranger is None:
        pytest.skip("this server asks for no credentials")
    _put(open_storage(server.place("ours")), "folder/key")
    storage = open_storage(server.stranger("ours"))

    for act in _everything(storage):
        with pytest.raises(PermanentStorageError) as caught:
            act()
        assert not any(secret in _said(caught.value) for secret in SECRETS)
    assert not any(secret in repr(storage) + storage.url for secret in SECRETS)


def test_a_missing_bucket_is_said_to_the_writer(server: servers.Server) -> None:
    if server.missing is None:
        pytest.skip("this storage has no buckets")
    storage = open_storage(server.missing)

    with pytest.raises(PermanentStorageError):
        _put(storage, "folder/key")
    with pytest.raises(NotFoundError):
        storage.open("folder/key")
    with pytest.raises(PermanentStorageError, match="no such bucket"):
        list(storage.walk())
    assert not storage.exists("folder/key")


def test_a_folder_that_is_gone_is_made_again(server: servers.Server) -> None:
    storage = open_storage(server.place("made-again"))
    _put(storage, "folder/first")
    if isinstance(storage, RemoteStorage):
        storage._fs.rm(f"{storage._root}/folder", recursive=True)

    _put(storage, "folder/second")

    assert storage.exists("folder/second")


def test_a_write_does_not_list_what_lies_beside_it(server: servers.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    if server.kind != "webdav":
        pytest.skip("its library is the one that lists a folder to tell that it is there")
    from webdav4.client import Client

    storage = open_storage(server.place("beside"))
    _put(storage, "folder/first")
    listed, propfind = list[str](), Client.propfind

    def listing(client: Client, path: str, **options: object) -> object:
        listed.append(path)
        return propfind(client, path, **options)

    monkeypatch.setattr(Client, "propfind", listing)
    _put(storage, "folder/second")

    assert listed
    assert not [path for path in listed if path.endswith("folder")]


def test_a_server_that_is_gone_is_transient(mortal: servers.Server) -> None:
    storage = open_storage(mortal.place("results"))
    _put(storage, "folder/key")
    _impatient(storage)
    mortal.kill()

    with pytest.raises(TransientStorageError) as caught:
        storage.exists("folder/key")
    assert not any(secret in _said(caught.value) for secret in SECRETS)


class Deadly:
    """A file whose second piece is the last thing that its server lives to see."""

    def __init__(self, file: BinaryIO, server: servers.Server) -> None:
        self._file = file
        self._server = server
        self._reads = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> bytes:
        self._reads += 1
        if self._reads == 2:
            self._server.kill()
        return self._file.read(size)


def test_a_server_that_dies_during_an_upload_is_transient(
    mortal: servers.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = open_storage(mortal.place("results"))
    put = RemoteStorage._put

    def dying(self: RemoteStorage, spool: BinaryIO, path: str, size: int, location: str) -> None:
        put(self, Deadly(spool, mortal), path, size, location)  # type: ignore[arg-type]

    monkeypatch.setattr(RemoteStorage, "_put", dying)
    _impatient(storage)
    with pytest.raises(TransientStorageError):
        _put(storage, "folder/key", bytes(LARGE))


def test_a_server_that_dies_during_a_read_is_transient(mortal: servers.Server) -> None:
    storage = open_storage(mortal.place("results"))
    _put(storage, "folder/key", bytes(LARGE))
    source, _ = storage.open("folder/key")
    assert source.read(100) == bytes(100)

    _impatient(storage)
    mortal.kill()

    with source, pytest.raises(TransientStorageError):
        source.read()


def test_a_server_that_hangs_is_given_up(mortal: servers.Server) -> None:
    storage = open_storage(mortal.place("results"))
    _put(storage, "folder/key", bytes(LARGE))
    source, _ = storage.open("folder/key")
    assert source.read(100) == bytes(100)

    _impatient(storage)
    mortal.hang()

    with source, pytest.raises(TransientStorageError):
        source.read()
    with pytest.raises(TransientStorageError):
        _put(storage, "folder/key")
