# SPDX-License-Identifier: Apache-2.0
"""How does a record get to any other file system that fsspec knows?"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import secrets
import tempfile
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

import fsspec
from fsspec.spec import AbstractFileSystem

from strongroom._patience import Patience, wait_for
from strongroom._remote_files import Reader, Watched, abandon
from strongroom._storage import Entry, check_key, is_key
from strongroom._storage_errors import retrying, storage_errors
from strongroom.errors import NotFoundError, PermanentStorageError, SettingsError, TransientStorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from strongroom._place import Place

__all__ = ["PATIENCE", "RemoteStorage"]

_T = TypeVar("_T")

_SPOOL = 16 << 20
_BUFFER = 1 << 16
_PART = 8 << 20
# Stores take at most 10,000 parts.
_MOST_PARTS = 9_000
PATIENCE = 60.0
"""Seconds without a sign of life after which a storage is given up: by then their libraries have tried again, too."""
# Nothing is seen of a listing before it is complete.
_LISTING = 10
# Seconds for closing a file that was read.
_GOODBYE = 1.0
# What the file systems call the time of the last change.
_MODIFIED = ("LastModified", "last_modified", "mtime", "updated", "modified", "modify", "created")
_FTP_TIME = re.compile(r"^([0-9]{8})([0-9]{6})(\.[0-9]+)?$")
# A name that `create` gave to what is not complete yet. It does not begin with a dot: some servers hide such names.
_TEMPORARY = re.compile(r"_[0-9a-f]{32}\.tmp")

# In these an object is there once it is complete, and not before, under its own name.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "obs", "memory"})
_ONE_CONNECTION = frozenset({"ftp", "sftp", "ssh", "smb"})
_WEBDAV = frozenset({"webdav", "dav"})
_NO_BLOCKS = frozenset({"sftp", "ssh"})  # a block is one packet there


class RemoteStorage:
    """A folder of a file system that fsspec opens: S3, Azure, GCS, SFTP, FTP, WebDAV, memory."""

    def __init__(self, place: Place) -> None:
        """Use the records at *place*.

        Raises:
            SettingsError: there is no such kind of storage here, or it has buckets and none is named.
        """
        self._url = place.url
        self._place = place
        self._kind = _kind_of(place)
        told = self._kind.protocol
        self._kinds = frozenset([told] if isinstance(told, str) else told)
        root = place.root if place.filesystem is not None else self._kind._strip_protocol(place.url)  # noqa: SLF001
        self._root = root.rstrip("/")
        if self._kinds & _OBJECT_STORES - {"memory"} and not self._root:
            raise SettingsError(f"{place.url!r} names no bucket and no container; name one, as in s3://bucket/folder")
        self._moves = not self._kinds & _OBJECT_STORES and _can_move(self._kind)
        self._folders = set[str]()
        # Web stores connect again by themselves, and take questions from many threads.
        self._keeps_connection = bool(self._kinds & _ONE_CONNECTION)
        self._local = threading.local()
        self._shared: Any = None
        # Each of these may be a connection, of which a server does not give many to one client.
        self.at_once = 4 if self._keeps_connection else 8
        # The libraries of object stores have tried again and again themselves before they raise.
        self.attempts = 2 if self._kinds & _OBJECT_STORES else 4
        self.patience = PATIENCE
        # Those that have no loop of their own have time limits of their own.
        self._hangs = getattr(self._kind, "async_impl", False) is True

    def __repr__(self) -> str:
        return f"RemoteStorage({self._url!r})"

    @property
    def url(self) -> str:
        return self._url

    def locate(self, key: str) -> str:
        return f"{self._url}/{key}"

    @contextlib.contextmanager
    def create(self, key: str) -> Iterator[BinaryIO]:
        path, location = self._path(key), self.locate(key)
        with tempfile.SpooledTemporaryFile(max_size=_SPOOL) as spool:
            yield cast("BinaryIO", spool)
            size = spool.tell()
            upload = self._put_and_move if self._moves else self._put

            def put(patience: Patience) -> None:
                # One that was given up finds the spool closed: it cannot complete what nobody waits for.
                upload(cast("BinaryIO", Watched(cast("BinaryIO", spool), patience)), path, size, location)
                patience.renew()

            self.trying(put, location, writing=True)

    def open(self, key: str) -> tuple[BinaryIO, int]:
        path, location = self._path(key), self.locate(key)
        size = self.trying(lambda _: self._size_of(path, location), location)
        # Buffered once more, since the files of some stores cannot read lines, and headers are lines.
        return cast("BinaryIO", io.BufferedReader(Reader(self, path, location, size), _BUFFER)), size

    def exists(self, key: str) -> bool:
        path, location = self._path(key), self.locate(key)
        try:
            self.trying(lambda _: self._size_of(path, location), location)
        except NotFoundError:
            return False
        return True

    def walk(self, prefix: str = "") -> Iterator[Entry]:
        return (entry for entry in self._entries(prefix) if not _TEMPORARY.fullmatch(entry.key.rpartition("/")[2]))

    def delete(self, key: str) -> None:
        path = self._path(key)
        with contextlib.suppress(NotFoundError):
            self.trying(lambda _: self._fs.rm_file(path), self.locate(key))

    def leftovers(self) -> Iterator[Entry]:
        return (entry for entry in self._entries("") if _TEMPORARY.fullmatch(entry.key.rpartition("/")[2]))

    def discard(self, leftover: Entry) -> None:
        if not _TEMPORARY.fullmatch(leftover.key.rpartition("/")[2]):
            raise PermanentStorageError(self.locate(leftover.key), "it is no temporary file of ours")
        self.delete(leftover.key)

    def reader(self, path: str, position: int, patience: Patience) -> Any:  # noqa: ANN401  # a file of fsspec's
        """The file at *path*, from *position* on."""
        source = self._fs.open(path, "rb", **self._how_to_read())
        if not position:
            return source
        if not self._kinds & {"http", "webdav"}:
            source.seek(position)
            return source
        # These are streams: what was read before is read again, and not kept.
        while position > 0:
            position -= len(source.read(min(position, _BUFFER))) or position
            patience.renew()
        return source

    def _how_to_read(self) -> Mapping[str, object]:
        if self._kinds & _NO_BLOCKS:
            return {}
        if "http" in self._kinds:
            return {"block_size": 0}
        # Google's library would otherwise guess how much to ask for, and ask for little, again and again.
        ahead = {"cache_type": "readahead"} if self._kinds & _OBJECT_STORES else {}
        return {"block_size": _PART, **ahead}

    def trying(
        self,
        step: Callable[[Patience], _T],
        location: str,
        *,
        writing: bool = False,
        longer: float = 1,
        forget: Callable[[], object] = lambda: None,
    ) -> _T:
        """What *step* returns, tried again as long as its errors are transient and there is patience.

        *longer* is how many times longer than others one try may take without a sign of life. *forget* is called before
        each further try.

        Raises:
            StorageError: it was of no use.
        """
        patience = Patience(self.patience * longer)

        def attempt() -> _T:
            with storage_errors(location, writing=writing):
                return wait_for(lambda: step(patience), patience) if self._hangs else step(patience)

        def recover() -> None:
            forget()
            self._recover()

        def patient() -> bool:
            return patience.left > self.patience * (longer - 1)

        return retrying(attempt, recover=recover, attempts=self.attempts, patient=patient)

    def close(self, source: Any) -> None:  # noqa: ANN401
        """Close a file that `reader` gave out, whose connection may be gone."""
        with contextlib.suppress(Exception):  # the library's own code, and nobody needs the file any more
            if self._hangs:
                wait_for(source.close, Patience(_GOODBYE))
            else:
                source.close()

    def _recover(self) -> None:
        """Forget a connection that may be broken: the next call makes a new one."""
        if self._keeps_connection:
            self._shared = None
            self._local = threading.local()

    @property
    def _fs(self) -> Any:  # noqa: ANN401  # fsspec publishes no types
        found = self._shared or getattr(self._local, "fs", None)
        if found is None:
            found = self._connect()
            if self._keeps_connection and not found.async_impl:
                # One connection carries one conversation.
                self._local.fs = found
            else:
                self._shared = found
        return found

    def _connect(self) -> Any:  # noqa: ANN401
        _hush(self._kind)
        given = self._place.filesystem
        if given is not None:
            if not self._keeps_connection:
                return given
            return self._kind(*given.storage_args, **given.storage_options, skip_instance_cache=True)
        options = self._kind._get_kwargs_from_urls(self._url) | self._place.resolved_options()  # noqa: SLF001
        # A file of settings has no tuples, and this library takes nothing else for a user and a password.
        if self._kinds & _WEBDAV and isinstance(auth := options.get("auth"), list):
            options["auth"] = tuple(auth)
        return self._kind(**options, skip_instance_cache=self._keeps_connection)

    def _entries(self, prefix: str) -> Iterator[Entry]:
        start = self._path(prefix) if prefix else self._root

        def find(_: Patience) -> Mapping[str, Mapping[str, object]]:
            # Others write here, too: a listing from before is no answer.
            self._fs.invalidate_cache()
            return cast("Mapping[str, Mapping[str, object]]", self._fs.find(start, detail=True))

        if self._kinds & _OBJECT_STORES and "memory" not in self._kinds:
            self._need_bucket()
        found: Mapping[str, Mapping[str, object]] = {}
        with contextlib.suppress(NotFoundError):
            found = self.trying(find, self.locate(prefix), longer=_LISTING)
        root = self._root.strip("/")
        for path, info in found.items():
            key = str(path).strip("/").removeprefix(root).lstrip("/")
            if is_key(key):
                yield Entry(key, _size(info), _modified(info))

    def _need_bucket(self) -> None:
        """Tell a bucket that is not there from one with nothing in it: a misspelt name is no empty storage.

        A server that is gone is seen here, too, with less patience than a listing takes.
        """
        bucket = self._root.lstrip("/").partition("/")[0]
        try:
            self.trying(lambda _: self._fs.info(bucket), self._url)
        except NotFoundError:
            raise PermanentStorageError(self._url, "there is no such bucket or container") from None
        except PermanentStorageError:
            pass  # one may see what is in it, and nothing else of it

    def _size_of(self, path: str, location: str) -> int:
        # What was listed before may have changed since.
        self._fs.invalidate_cache()
        info = self._fs.info(path)
        if info.get("type") == "directory":
            raise NotFoundError(location)
        size = info.get("size")
        if not isinstance(size, int):
            raise PermanentStorageError(location, "the server does not say how long it is")
        return size

    def _put_and_move(self, spool: BinaryIO, path: str, size: int, location: str) -> None:
        """Under its own name nothing is ever seen but the whole: a file that grows has another one."""
        temporary = f"{path.rpartition('/')[0]}/_{secrets.token_hex(16)}.tmp"
        try:
            self._put(spool, temporary, size, location)
            # WebDAV's copies and deletes unless it is asked to move.
            move = getattr(getattr(self._fs, "client", None), "move", None)
            if self._kinds & _WEBDAV and move is not None:
                move(temporary, path, overwrite=True)
            else:
                self._fs.mv(temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):  # the library's own code; what ended the upload is worth more
                self._fs.rm_file(temporary)
            raise

    def _put(self, spool: BinaryIO, path: str, size: int, location: str) -> None:
        self._send_into(path.rpartition("/")[0], spool, path, size)
        if self._size_of(path, location) != size:
            raise TransientStorageError(location, "fewer bytes arrived than were sent")

    def _send_into(self, folder: str, spool: BinaryIO, path: str, size: int) -> None:
        # Object stores have no folders, and some are asked for leave to make a bucket.
        if not self._kinds & _OBJECT_STORES:
            # Looked for once: some libraries list all that is in a folder to tell that it is there.
            if folder in self._folders:
                try:
                    return self._send(spool, path, size)
                except Exception:  # each file system says it in its own way
                    self._folders.discard(folder)
                    if self._fs.isdir(folder):
                        raise
            self._make_folder(folder)
            self._folders.add(folder)
        return self._send(spool, path, size)

    def _send(self, spool: BinaryIO, path: str, size: int) -> None:
        spool.seek(0)
        if self._kinds & _WEBDAV and (client := getattr(self._fs, "client", None)) is not None:
            # The file system would look for the folder each time, and so list all that is in it.
            client.upload_fileobj(spool, path, overwrite=True, size=size)
        else:
            self._write(spool, path, size)

    def _make_folder(self, folder: str) -> None:
        # Another writer may make any of the folders on the way at the same moment: that is as good.
        for left in reversed(range(folder.count("/") + 1)):
            try:
                self._fs.makedirs(folder, exist_ok=True)
                return
            except Exception:  # each file system says it in its own way
                self._fs.invalidate_cache()
                if self._fs.isdir(folder):
                    return
                if not left:
                    raise

    def _write(self, spool: BinaryIO, path: str, size: int) -> None:
        options = {} if self._kinds & _NO_BLOCKS else {"block_size": max(_PART, size // _MOST_PARTS)}
        target = self._fs.open(path, "wb", **options)
        try:
            while chunk := spool.read(_PART):
                target.write(chunk)
        except BaseException:
            abandon(target, discard=not self._moves)
            raise
        try:
            target.close()
        except BaseException:
            abandon(target, discard=not self._moves)
            raise

    def _path(self, key: str) -> str:
        return f"{self._root}/{check_key(key)}"


def _kind_of(place: Place) -> Any:  # noqa: ANN401
    """The class of the file system at *place*."""
    if place.filesystem is not None:
        return type(place.filesystem)
    scheme = place.url.partition("://")[0]
    try:
        return fsspec.get_filesystem_class(scheme)
    except (ValueError, ImportError) as exc:
        raise SettingsError(f"no storage of the kind {scheme!r} can be opened here: {exc}") from exc


def _hush(kind: Any) -> None:  # noqa: ANN401
    """Keep its library from printing the errors that it raises, with all that they hold, unless logs were asked for."""
    log = logging.getLogger(kind.__module__.partition(".")[0])
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def _can_move(kind: Any) -> bool:  # noqa: ANN401
    """True if *kind* moves by itself, as file systems with folders do; for others fsspec copies and deletes."""
    return getattr(kind, "mv", None) is not AbstractFileSystem.mv or hasattr(kind, "_mv")


def _size(info: Mapping[str, object]) -> int:
    size = info.get("size")
    return size if isinstance(size, int) else 0


def _modified(info: Mapping[str, object]) -> int | None:
    """When something was written, in microseconds, from whatever its file system says of it."""
    for name in _MODIFIED:
        told = info.get(name)
        if isinstance(told, (int, float)):
            return int(told * 1_000_000)
        if isinstance(told, str):
            with contextlib.suppress(ValueError):
                told = datetime.fromisoformat(_FTP_TIME.sub(r"\1T\2", told))
        if isinstance(told, datetime):
            # FTP and WebDAV tell no zone: theirs is UTC.
            return int((told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    return None
