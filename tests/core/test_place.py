# SPDX-License-Identifier: Apache-2.0
"""Where results lie, with options: what opens a storage, and what of that shows."""

from __future__ import annotations

import errno
import ftplib
import pickle
import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import fsspec
import pytest
from fsspec.implementations.dirfs import DirFileSystem

from strongroom._place import as_place
from strongroom._storage import open_storage
from strongroom._storage_errors import as_storage_error, retrying
from strongroom.errors import (
    NotFoundError,
    NotSupportedError,
    PermanentStorageError,
    SettingsError,
    StorageError,
    TransientStorageError,
)
from strongroom.project import Project
from strongroom.results import ResultStore

CANARY = "hunter2"


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://user:{CANARY}@example.org/results",
        f"ftp://user%3A{CANARY}@example.org/results",
        f"http://example.org/results?token={CANARY}",
        f"http://example.org/results#{CANARY}",
        f"simplecache::ftp://user:{CANARY}@example.org/results",
        f"ftp://[{CANARY}/results",
    ],
)
def test_a_url_with_credentials_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        as_place(url)

    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://bucket/../other", "s3://bucket/%2e%2e/other", "memory://a/./b"])
def test_a_url_that_leads_out_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match=r"\.\."):
        as_place(url)


@pytest.mark.parametrize(
    "url", ["", "://folder", "a\0b", "ftp://example.org:99999/x", "file://server/share", "local://x"]
)
def test_what_names_no_place_is_refused_before_anything_is_written(url: str) -> None:
    with pytest.raises(SettingsError):
        ResultStore(url)


@pytest.mark.parametrize("url", ["file:///a::b", "file:/folder", "file://localhost/folder", "local:///folder"])
def test_a_folder_can_be_named_in_several_ways(url: str) -> None:
    assert ResultStore(url).url.startswith("file:///")


def test_options_show_nowhere() -> None:
    place = as_place(("memory://results", {"password": CANARY}))

    assert CANARY not in repr(place)
    assert CANARY not in repr(open_storage(place))


def test_options_from_code_do_not_leave_the_process() -> None:
    store = ResultStore(("ftp://example.org/results", {"password": CANARY}))

    with pytest.raises(NotSupportedError, match=r"\[storage") as caught:
        pickle.dumps(store)
    assert CANARY not in str(caught.value)


def test_options_from_the_settings_are_found_by_another_process(tmp_path: Path) -> None:
    (tmp_path / "strongroom.toml").write_text(f'[storage."ftp://example.org"]\npassword = "{CANARY}"\n')
    store = Project.open().store("ftp://example.org/results")

    pickled = pickle.dumps(store)

    assert CANARY.encode() not in pickled
    assert pickle.loads(pickled)._storage._place.options == {"password": CANARY}


def test_the_longest_url_decides_and_ends_at_a_slash() -> None:
    settings = {"s3://b": {"a": 1}, "s3://b/deep": {"a": 2}, "s3://bucket": {"a": 3}}

    assert as_place("s3://b/deep/er").options_with(settings).options == {"a": 2}
    assert as_place("s3://b/deeper").options_with(settings).options == {"a": 1}
    assert as_place(("s3://b", {"c": 4})).options_with(settings).options == {"a": 1, "c": 4}
    assert as_place(("s3://b", {"a": 4})).options_with(settings).options == {"a": 4}
    assert as_place("s3://b/c").options_with({"s3://b/": {"a": 5}}).options == {"a": 5}
    assert as_place("s3://bucketful").options_with(settings).options == {}


def test_an_option_can_be_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    place = as_place(("memory://results", {"password": {"env": "SOME_PASSWORD"}}))
    with pytest.raises(SettingsError, match="SOME_PASSWORD"):
        place.resolved_options()

    monkeypatch.setenv("SOME_PASSWORD", CANARY)

    assert place.resolved_options() == {"password": CANARY}
    options = {
        "a": [{"env": "SOME_PASSWORD"}],
        "b": {"c": {"env": "SOME_PASSWORD"}},
        "d": {"env": "X", "e": 1},
        "f": "X",
    }
    found = as_place(("memory://results", options)).resolved_options()
    assert found == {"a": [CANARY], "b": {"c": CANARY}, "d": {"env": "X", "e": 1}, "f": "X"}


def test_a_file_system_with_a_folder_is_a_place(tmp_path: Path) -> None:
    memory, local = fsspec.filesystem("memory"), fsspec.filesystem("file")

    assert as_place((memory, "a/b")).url == "memory://a/b"
    assert as_place(memory).url == as_place("memory://").url
    assert as_place(DirFileSystem("a/b", memory)).url == "memory://a/b"
    assert as_place((DirFileSystem("b", DirFileSystem("a", memory)), "c")).url == "memory://a/b/c"
    assert as_place((memory, "memory://a/b")).url == "memory://a/b"
    assert as_place((local, str(tmp_path))).url == str(tmp_path)
    with open_storage((memory, "of-a-test")).create("key") as file:
        file.write(b"data")
    assert open_storage("memory://of-a-test").exists("key")


@pytest.mark.parametrize("where", [fsspec.filesystem("memory"), "memory://", "memory:///"])
def test_what_lies_at_the_root_of_a_file_system_is_found_by_its_url(where: object) -> None:
    storage = open_storage(where)
    with storage.create("of-a-test/root") as file:
        file.write(b"data")

    assert storage.url == "memory://"
    assert open_storage(storage.url).exists("of-a-test/root")
    assert "of-a-test/root" in {entry.key for entry in open_storage(storage.url).walk()}


class CloudFileSystem(fsspec.AbstractFileSystem):
    """One whose uppermost folders are buckets."""

    protocol = "gs"


@pytest.mark.parametrize("root", ["", "/", "gs://"])
def test_a_store_with_buckets_is_refused_where_none_is_named(root: str) -> None:
    with pytest.raises(SettingsError, match="names no bucket"):
        open_storage((CloudFileSystem(), root))


class Stranger:
    """Looks like a path of universal_pathlib, and has another kind of file system."""

    fs = "ext4"
    path = "/a"
    storage_options: Mapping[str, object] = MappingProxyType({})


class SSHFileSystem(fsspec.AbstractFileSystem):
    """One that is told a host, as those of its name are."""

    protocol = ("ssh", "sftp")


class HTTPFileSystem(fsspec.AbstractFileSystem):
    """One whose paths are URLs."""

    protocol = ("http", "https")

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path


class BucketFileSystem(fsspec.AbstractFileSystem):
    """One that is told no host, but may be told an account or a key."""

    protocol = "bucket"

    def __repr__(self) -> str:
        return f"<{self.storage_args}>"


@pytest.mark.parametrize(
    ("filesystem", "root", "url"),
    [
        (SSHFileSystem("example.org"), "/data", "ssh://example.org/data"),
        (SSHFileSystem(host="example.org", username="me"), "ssh://data/", "ssh://me@example.org/data"),
        (SSHFileSystem("example.org", username="me", password=CANARY, port=22), "a", "ssh://me@example.org:22/a"),
        (HTTPFileSystem(password=CANARY), "http://example.org/a/", "http://example.org/a"),
        (BucketFileSystem(CANARY, username=CANARY, port=1), "bucket://a/b", "bucket://a/b"),
        (SSHFileSystem(5, username="me"), "a", "ssh://a"),
    ],
)
def test_the_url_of_a_file_system_leads_there_without_a_password(
    filesystem: fsspec.AbstractFileSystem, root: str, url: str
) -> None:
    place = as_place((filesystem, root))

    assert place.url == url
    assert CANARY not in repr(place)
    assert place.options_with({url: {"more": 1}}).options == {}
    with pytest.raises(NotSupportedError, match="options from code"):
        place.check_for_other_processes()


@pytest.mark.parametrize("place", ["memory://a", (fsspec.filesystem("memory"), "a")])
def test_what_is_in_memory_does_not_leave_the_process(place: object) -> None:
    with pytest.raises(NotSupportedError, match="would not see it"):
        as_place(place).check_for_other_processes()


@pytest.mark.parametrize("where", [5, (5, "a"), ("ftp://example.org", 5), [], Stranger()], ids=lambda _: "")
def test_what_names_no_place_at_all_is_refused_by_its_kind(where: object) -> None:
    with pytest.raises(SettingsError, match=f"cannot lie in a {type(where).__name__}"):
        as_place(where)


class UniversalPath:
    """What `universal_pathlib` gives, as far as it is looked at."""

    def __init__(self, path: str) -> None:
        self.fs = fsspec.filesystem("memory")
        self.path = path
        self.storage_options: dict[str, object] = {}


def test_a_universal_path_is_a_place_although_its_library_is_not_needed() -> None:
    assert as_place(UniversalPath("/a/b")).url == "memory://a/b"


class Unreachable(UniversalPath):
    """One whose file system connects when it is asked for, and cannot."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.storage_options: dict[str, object] = {}

    def __getattribute__(self, name: str) -> object:
        if name == "fs":
            raise ConnectionRefusedError(errno.ECONNREFUSED, CANARY)
        return super().__getattribute__(name)


def test_a_universal_path_that_leads_out_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"\.\."):
        as_place(UniversalPath("/a/../b"))


def test_a_universal_path_that_cannot_connect_is_an_error_of_storage() -> None:
    with pytest.raises(TransientStorageError) as caught:
        as_place(Unreachable("/a"))

    assert CANARY not in str(caught.value)


def test_a_file_system_is_refused_whose_name_does_not_lead_back(tmp_path: Path) -> None:
    copies = fsspec.filesystem("simplecache", target_protocol="memory", cache_storage=str(tmp_path))

    with pytest.raises(SettingsError, match="copies"):
        as_place((copies, "a"))
    for root in ("a/../b", "a/./b"):
        with pytest.raises(SettingsError, match=r"\.\."):
            as_place((fsspec.filesystem("memory"), root))


class _AnsweredError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"https://user:{CANARY}@example.org")
        self.status = status


class SFTPNoSpaceOnFilesystem(Exception):  # noqa: N818
    """As asyncssh calls it."""


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (FileNotFoundError(CANARY), NotFoundError),
        (_AnsweredError(404), NotFoundError),
        (ftplib.error_perm(f"550 {CANARY}"), NotFoundError),
        (PermissionError(CANARY), PermanentStorageError),
        (OSError(errno.EINVAL, CANARY), PermanentStorageError),
        (OSError(errno.ENOSPC, "x"), PermanentStorageError),
        (_AnsweredError(403), PermanentStorageError),
        (_AnsweredError(412), PermanentStorageError),
        (ftplib.error_perm(f"530 {CANARY}"), PermanentStorageError),
        (SFTPNoSpaceOnFilesystem(CANARY), PermanentStorageError),
        (socket.gaierror(socket.EAI_NONAME, "x"), PermanentStorageError),
        (_AnsweredError(503), TransientStorageError),
        (_AnsweredError(429), TransientStorageError),
        (ftplib.error_temp(f"421 {CANARY}"), TransientStorageError),
        (ConnectionResetError(errno.ECONNRESET, "x"), TransientStorageError),
        (TimeoutError(CANARY), TransientStorageError),
        (EOFError(CANARY), TransientStorageError),
    ],
)
def test_what_a_library_raises_has_one_meaning(raised: Exception, expected: type[StorageError]) -> None:
    error = as_storage_error(raised, "place")

    assert type(error) is expected
    assert CANARY not in str(error)


def test_what_led_to_an_error_says_more_than_the_error() -> None:
    error = OSError(errno.EINVAL, "what s3fs says of a store that is busy")
    error.__cause__ = _AnsweredError(503)

    assert isinstance(as_storage_error(error, "place"), TransientStorageError)


def test_what_is_transient_is_tried_again_with_longer_and_longer_pauses() -> None:
    pauses: list[float] = []
    recovered: list[int] = []

    def fail() -> None:
        raise TransientStorageError("place", OSError())

    with pytest.raises(TransientStorageError):
        retrying(fail, recover=lambda: recovered.append(1), pause=pauses.append, chance=lambda: 1.0)

    assert pauses == pytest.approx([0.1, 0.4, 1.6])
    assert len(recovered) == 3


def test_what_is_permanent_is_not_tried_again() -> None:
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise PermanentStorageError("place", "no")

    with pytest.raises(PermanentStorageError):
        retrying(fail, recover=lambda: None)
    assert tries == [1]
