# SPDX-License-Identifier: Apache-2.0
"""Results, records and the result store, without any plugin."""

from __future__ import annotations

import ast
import datetime as dt
import errno
import io
import os
import pickle
import stat
import threading
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, cast, get_args

import fsspec
import pytest
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from strongroom import _local_storage, _record
from strongroom._handlers import StoredHandler
from strongroom._plugins import Plugins
from strongroom._record import Suite
from strongroom._storage import open_storage
from strongroom.abc import Codec, CodecContext, JSONValue, ResultHandler, Serializer, Slot
from strongroom.codecs import EncodingWriter
from strongroom.errors import (
    DamagedError,
    FormatNotAllowedError,
    HandlerError,
    MissingPluginError,
    NotFoundError,
    PermanentStorageError,
    SerializationError,
    SettingsError,
)
from strongroom.keyring import Key, Keyring
from strongroom.results import Chain, NoResult, Result, ResultStore

if TYPE_CHECKING:
    from pathlib import Path

KEYRING = Keyring([Key(bytes(32))])
SLOT = Slot("0" * 32, "task")


class Literal(Serializer):
    """Python literals as text; counts what it is shown."""

    id = "literal"

    def __init__(self) -> None:
        self.loaded = 0

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(repr(value).encode())

    def load(self, source: BinaryIO) -> object:
        self.loaded += 1
        return ast.literal_eval(source.read().decode())


@pytest.fixture
def serializer() -> Literal:
    return Literal()


@pytest.fixture
def store(tmp_path: Path, serializer: Literal) -> ResultStore:
    return _store(tmp_path / "results", serializer)


def _store(where: str | Path, serializer: str | Serializer | Chain = "auto", keyring: Keyring = KEYRING) -> ResultStore:
    return ResultStore(where, serializer=serializer, keyring=keyring, allow=(), plugins=Plugins({}))


def _file(store: ResultStore, key: str) -> Path:
    from pathlib import Path

    return Path(store.locate(key))


def test_what_is_written_is_read(store: ResultStore) -> None:
    receipt = store.write({"a": [1, 2]})

    record = store.read(receipt.key)

    assert record.result == {"a": [1, 2]}
    assert record.metadata.chain == "literal"
    assert record.metadata.size == receipt.size == _file(store, receipt.key).stat().st_size
    assert record.payload().read() == b"{'a': [1, 2]}"


def test_the_first_line_can_be_read_by_a_person_and_names_nothing(store: ResultStore) -> None:
    receipt = store.write("my secret", "folder/my-key")

    first, rest = _file(store, receipt.key).read_bytes().split(b"\n", 1)

    assert first.startswith(b'strongroom/1 {"chain":"literal","object":"')
    assert (len(first) + 1) % 64 == 0
    assert rest.startswith(b"'my secret'")
    assert b"secret" not in first
    assert b"my-key" not in first


def test_a_suite_is_the_default_if_its_text_is(tmp_path: Path, store: ResultStore, serializer: Literal) -> None:
    same: Any = str(b"blake3", "ascii")  # an object of its own, as what comes from another process is
    elsewhere = ResultStore(
        tmp_path / "results", serializer=serializer, keyring=KEYRING, allow=(), suite=same, plugins=Plugins({})
    )

    elsewhere.write([1], "key")

    assert store.read("key").result == [1]


def test_an_empty_key_is_refused_rather_than_replaced_by_a_random_one(store: ResultStore) -> None:
    for write in (lambda: store.write(1, ""), lambda: StoredHandler(store, "").write(1, SLOT)):
        with pytest.raises(PermanentStorageError, match="each part of a key has 1 to 200 bytes"):
            write()
    assert list(store.list()) == []


def test_a_record_that_has_expired_is_read_until_it_is_deleted(store: ResultStore) -> None:
    store.write("value", "key", expires=1)

    assert store.read("key").result == "value"
    assert store.collect_garbage(grace=dt.timedelta(0)).deleted == 1
    with pytest.raises(NotFoundError):
        store.read("key")


@pytest.mark.parametrize("suite", get_args(Suite))
def test_the_owner_chooses_what_tags_are_made_with_and_a_reader_takes_both(
    tmp_path: Path, store: ResultStore, serializer: Literal, suite: Suite
) -> None:
    other = ResultStore(
        tmp_path / "results", serializer=serializer, keyring=KEYRING, allow=(), suite=suite, plugins=Plugins({})
    )

    other.write([1], "key")

    line = _file(store, "key").read_bytes().partition(b"\n")[0]
    assert (b'"suite":"hmac-sha256"' in line) == (suite == "hmac-sha256")
    assert store.read("key").result == [1]


def test_records_are_closed_to_others(store: ResultStore) -> None:
    os.umask(os.umask(0))
    path = _file(store, store.write(1).key)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_is_damaged_is_refused_before_it_is_decoded(store: ResultStore, serializer: Literal) -> None:
    path = _file(store, store.write("value", "key").key)
    good = path.read_bytes()

    for position in range(len(good)):
        path.write_bytes(good[:position] + bytes([good[position] ^ 1]) + good[position + 1 :])
        with pytest.raises(DamagedError):
            store.read("key")
        path.write_bytes(good[:position])
        with pytest.raises(DamagedError):
            store.read("key")
        path.write_bytes(good + good[:position] + b"x")
        with pytest.raises(DamagedError):
            store.read("key")

    assert serializer.loaded == 0


def test_a_record_under_another_key_is_refused(store: ResultStore) -> None:
    _file(store, store.write("one", "a/one").key).rename(_file(store, "a/two"))

    with pytest.raises(DamagedError):
        store.read("a/two")


def test_a_record_of_another_keyring_is_refused(tmp_path: Path, serializer: Literal) -> None:
    other = Key.generate()
    _store(tmp_path, serializer, Keyring([other])).write("value", "key")
    store = _store(tmp_path, serializer)

    for look in (store.read, store.check):
        with pytest.raises(DamagedError, match=f"needs the key {other.id}, which is not in the keyring") as caught:
            look("key")
        assert caught.value.missing_key == other.id


@pytest.mark.parametrize("expires", [dt.datetime(2030, 1, 1, tzinfo=dt.UTC), dt.timedelta(1), 1.5, True, "soon"])
def test_a_time_that_no_reader_would_understand_is_not_written(store: ResultStore, expires: object) -> None:
    store.write(1, "key")

    with pytest.raises(TypeError, match="microseconds"):
        store.write(2, "key", expires=expires)  # type: ignore[arg-type]  # that is the point

    assert store.read("key").result == 1


def test_what_no_reader_could_be_told_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"write \{'pickle'\}"):
        ResultStore(tmp_path, allow="pickle")
    with pytest.raises(SettingsError, match="blake3, hmac-sha256"):
        ResultStore(tmp_path, suite="md5")  # type: ignore[arg-type]  # that is the point


def test_what_is_no_chain_is_refused_at_once(tmp_path: Path, serializer: Literal) -> None:
    for what in (Literal, None, 5, object()):
        with pytest.raises(SettingsError, match="no serializer and no chain"):
            ResultStore(tmp_path, serializer=what)  # type: ignore[arg-type]  # that is the point
    for what in ("", "literal/", "a//b"):
        with pytest.raises(SettingsError, match="is no chain of codecs and one serializer"):
            ResultStore(tmp_path, serializer=what)
    with pytest.raises(SettingsError, match="first part"):
        Chain((serializer,), serializer)  # type: ignore[arg-type]  # as above
    with pytest.raises(SettingsError, match="last part"):
        Chain((), "literal")  # type: ignore[arg-type]  # as above


def test_what_anybody_can_write_into_a_first_line_is_not_said(store: ResultStore) -> None:
    path = _file(store, store.write("value", "key").key)
    before, name, after = path.read_bytes().partition(b'"key":"')
    path.write_bytes(before + name + b"call 0123 456789" + after[16:])

    with pytest.raises(DamagedError, match="is damaged or was changed") as caught:
        store.read("key")

    assert caught.value.missing_key is None
    assert "call" not in str(caught.value)


def test_a_later_record_under_the_same_key_is_told_from_the_first(store: ResultStore) -> None:
    first = store.write(1, "key")
    store.write(2, "key")

    assert store.read("key").result == 2
    with pytest.raises(DamagedError):
        store.read("key", object_=first.object)


def test_the_reader_decides_the_format(
    tmp_path: Path, store: ResultStore, serializer: Literal, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("value", "key")
    reader, loaded = _store(tmp_path / "results"), list[str]()
    # What is not allowed is not even looked for: to look for a plugin is to import it.
    monkeypatch.setattr(Plugins, "serializer", lambda _, id_: loaded.append(id_))

    record = reader.read("key")

    assert record.metadata.chain == "literal"
    with pytest.raises(FormatNotAllowedError, match="literal"):
        _ = record.result
    assert serializer.loaded == 0
    assert loaded == []


def test_a_missing_serializer_leaves_the_metadata_readable(tmp_path: Path, store: ResultStore) -> None:
    store.write("value", "key")
    told_first = ResultStore(tmp_path / "results", allow=("literal",), keyring=KEYRING, plugins=Plugins({}))

    for record in (_store(tmp_path / "results").read("key", allow={"literal"}), told_first.read("key")):
        assert record.metadata.size > 0
        with pytest.raises(MissingPluginError, match="literal"):
            _ = record.result


class Twice(Codec):
    """Nobody's plugin: writes each byte twice."""

    id = "twice"

    def writer(self, sink: BinaryIO, context: CodecContext) -> BinaryIO:
        class Writer(EncodingWriter):
            def encode(self, data: memoryview) -> None:
                sink.write(bytes(each for each in data for _ in range(2)))

            def finish(self) -> None:
                """Nothing marks the end."""

        return cast("BinaryIO", Writer())

    def reader(self, source: BinaryIO, context: CodecContext) -> BinaryIO:
        return io.BytesIO(source.read()[::2])


def test_what_a_reader_holds_is_used_for_other_chains_too_and_is_nobodys_plugin(
    tmp_path: Path, serializer: Literal
) -> None:
    chains = {name: Chain((Twice(),) * count, serializer) for count, name in enumerate(("plain", "once", "twice"))}
    for name, chain in chains.items():
        _store(tmp_path / "results", chain).write(name, name)

    for held in ("once", "twice"):
        reader = _store(tmp_path / "results", chains[held])
        for name in chains:
            assert reader.read(name, allow={"twice", "literal"}).result == name


def test_nothing_there_is_told_from_something_broken(store: ResultStore) -> None:
    store.write(1, "good")
    _file(store, "bad").write_bytes(b"no record")

    assert store.exists("good")
    assert not store.exists("nothing")
    with pytest.raises(NotFoundError):
        store.read("nothing")
    with pytest.raises(DamagedError):
        store.exists("bad")


@pytest.mark.parametrize(
    "key", ["../up", "/abs", "a/../b", "a//b", ".hidden", "a\\b", "a\nb", "x" * 300, "c:\\d", "a/"]
)
def test_keys_stay_inside_the_storage(store: ResultStore, key: str) -> None:
    with pytest.raises(PermanentStorageError):
        store.write(1, key)


@pytest.mark.parametrize("act", ["read", "exists", "delete", "check", "unverified_metadata", "rewrite"])
@pytest.mark.parametrize("key", [5, b"key"], ids=repr)
def test_a_key_that_is_no_text_is_refused_by_its_kind(store: ResultStore, act: str, key: object) -> None:
    with pytest.raises(PermanentStorageError, match=f"a {type(key).__qualname__}': the key of a record is a text"):
        getattr(store, act)(key)
    with pytest.raises(PermanentStorageError, match="is a text"):
        store.write(1, key)  # type: ignore[arg-type]  # that is what is tested


def test_a_planted_link_leads_nowhere(store: ResultStore, tmp_path: Path) -> None:
    store.write(1, "a")
    outside = tmp_path / "outside"
    outside.mkdir()
    _file(store, "folder").symlink_to(outside)

    with pytest.raises(PermanentStorageError, match="link"):
        store.write(1, "folder/key")

    assert list(outside.iterdir()) == []


def test_a_failed_write_leaves_the_old_value_and_nothing_else(store: ResultStore, serializer: Literal) -> None:
    store.write("old", "key")

    class Broken:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.write(Broken(), "key")

    assert store.read("key").result == "old"
    assert [path.name for path in _file(store, "key").parent.iterdir()] == ["key"]


def test_what_a_failed_write_left_in_a_buffer_goes_nowhere() -> None:
    sink = io.BytesIO()
    header = _record.Header(chain="literal", object="0" * 32, key=KEYRING.primary, created=0)
    writer = _record.RecordWriter(sink, header, b"context", KEYRING)
    writer.payload.write(b"half of it")

    writer.abandon()
    sink.close()

    # As Python does it when nobody holds the buffer any more.
    writer.payload.close()


def _written(pieces: list[bytes], sink: BinaryIO) -> _record.RecordWriter:
    header = _record.Header(chain="literal", object="0" * 32, key=KEYRING.primary, created=0)
    writer = _record.RecordWriter(sink, header, b"context", KEYRING)
    try:
        for piece in pieces:
            writer.payload.write(piece)
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
    return writer


def test_a_long_record_is_the_same_whether_one_thread_hashes_and_writes_it_or_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pieces = [bytes([number]) * (1 << 20) for number in range(7)]
    by_two, by_one = io.BytesIO(), io.BytesIO()

    _written(pieces, by_two)
    monkeypatch.setattr(_record, "_LONG", 1 << 30)
    _written(pieces, by_one)

    assert by_two.getvalue() == by_one.getvalue()


def test_a_long_record_is_written_although_python_starts_no_threads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")

    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor.submit", refuse)
    sink = io.BytesIO()

    _written([bytes(1 << 20)] * 7, sink)

    assert len(sink.getvalue()) > 7 << 20


def test_a_long_record_is_the_same_although_no_thread_could_be_started_at_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, refused = threading.Thread.start, list[threading.Thread]()

    def refuse_once(thread: threading.Thread) -> None:
        if not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    pieces = [bytes([number]) * (1 << 20) for number in range(7)]
    disturbed, quiet = io.BytesIO(), io.BytesIO()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse_once)
        _written(pieces, disturbed)
    _written(pieces, quiet)

    assert refused
    assert disturbed.getvalue() == quiet.getvalue()


def test_a_long_record_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())

    # Held, since the thread of a writer that nobody holds any more ends by itself.
    writer = _written([bytes(1 << 20)] * 7, io.BytesIO())

    assert set(threading.enumerate()) <= before
    assert writer._helper is not None


def test_a_record_whose_header_no_reader_would_read_is_not_written(store: ResultStore) -> None:
    with pytest.raises(SerializationError, match="compare fewer inputs"):
        store.write("x", "key", fingerprints={f"input {number}": "0" * 32 for number in range(2000)})

    assert not store.exists("key")


def test_a_sink_that_fails_in_the_middle_of_a_long_record_leaves_no_thread_behind() -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            if self.tell() > 5 << 20:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)  # type: ignore[arg-type]

    before = set(threading.enumerate())

    # Held, and with it the writer, whose thread would else end by itself.
    with pytest.raises(OSError, match="No space") as caught:
        _written([bytes(1 << 20)] * 7, Full())

    assert set(threading.enumerate()) <= before
    assert caught.tb


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_disk_leaves_the_old_value(store: ResultStore, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    store.write("old", "key")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_local_storage.os, call, fail)
        with pytest.raises(PermanentStorageError, match="no space"):
            store.write("new", "key")

    assert store.read("key").result == "old"
    assert [path.name for path in _file(store, "key").parent.iterdir()] == ["key"]


def test_other_file_systems_work_too() -> None:
    store = _store("memory://results-of-a-test", Literal())

    receipt = store.write([1, 2], "a/key")

    assert receipt.storage == "memory://results-of-a-test"
    assert store.read("a/key").result == [1, 2]
    assert store.exists("a/key")
    assert not store.exists("a/other")
    assert [entry.key for entry in store.list("a")] == ["a/key"]
    assert list(store.list("nothing")) == []
    with pytest.raises(NotFoundError):
        store.read("nothing")


class Bucket(AbstractFileSystem):
    """Objects as stores have them: an upload is what was there before until its last part."""

    protocol = "bucket-of-a-test"
    cachable = False
    objects: ClassVar[dict[str, bytes]] = {}

    def info(self, path: str, **_: object) -> dict[str, object]:
        path = self._strip_protocol(path)
        if path not in self.objects:
            raise FileNotFoundError(path)
        return {"name": path, "size": len(self.objects[path]), "type": "file"}

    def _open(self, path: str, mode: str = "rb", **_: object) -> AbstractBufferedFile:
        return BucketFile(self, path, mode, block_size=1 << 20)


class BucketFile(AbstractBufferedFile):
    parts = b""

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self.fs.objects[self.path][start:end]

    def _upload_chunk(self, final: bool = False) -> bool:
        self.parts += self.buffer.getvalue()
        if final:
            self.fs.objects[self.path] = self.parts
        return True

    def discard(self) -> None:
        self.parts = b""


@pytest.fixture
def bucket() -> ResultStore:
    fsspec.register_implementation(Bucket.protocol, Bucket, clobber=True)
    Bucket.objects.clear()
    return _store("bucket-of-a-test://results", Literal())


def test_stores_whose_files_read_no_lines_work_too(bucket: ResultStore) -> None:
    bucket.write("x" * 3_000_000, "key")

    assert bucket.exists("key")
    assert bucket.read("key").result == "x" * 3_000_000


def test_an_upload_that_is_interrupted_leaves_what_was_there(
    bucket: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write("old", "key")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BucketFile, "write", interrupt)
        with pytest.raises(KeyboardInterrupt):
            bucket.write("new", "key")

    assert bucket.read("key").result == "old"


def test_a_folder_with_a_space_can_be_opened_again_by_its_url(tmp_path: Path) -> None:
    store = _store(tmp_path / "my results %20", Literal())
    store.write([1], "key")

    assert _store(store.url, Literal()).read("key").result == [1]


def test_another_spelling_of_the_first_line_is_refused(store: ResultStore, serializer: Literal) -> None:
    store.write("value", "key")
    path = _file(store, "key")
    source = io.BytesIO(path.read_bytes())
    header, line = _record.read_header(source, "there")
    payload, sizes = source.read()[: -_record._TRAILER_SIZE], path.read_bytes()[-_record._TRAILER_SIZE :][:16]

    def record(spelled: bytes) -> bytes:
        hasher = _record._hasher(KEYRING, header, _record.bound_to("key"), spelled)
        hasher.update(payload + sizes)
        return spelled + payload + sizes + hasher.digest()

    assert record(line) == path.read_bytes()
    path.write_bytes(record(line.replace(b"{", b"{ ", 1)))

    with pytest.raises(DamagedError):
        store.read("key")
    assert serializer.loaded == 0


def test_a_record_of_another_size_is_refused_before_it_is_read(store: ResultStore) -> None:
    receipt = store.write("value", "key")
    with _file(store, "key").open("ab") as file:
        file.truncate(1 << 40)

    with pytest.raises(DamagedError):
        store.read("key", size=receipt.size)


def test_a_planted_pipe_is_not_waited_for(store: ResultStore) -> None:
    store.write("value", "key")
    os.mkfifo(_file(store, "pipe"))

    with pytest.raises(PermanentStorageError, match="not a file"):
        store.read("pipe")


def test_a_planted_link_to_a_device_without_an_end_is_not_read(store: ResultStore) -> None:
    store.write("value", "key")
    _file(store, "zeros").symlink_to("/dev/zero")

    with pytest.raises(PermanentStorageError, match="not a file"):
        store.read("zeros")


def test_a_planted_folder_is_no_record(store: ResultStore) -> None:
    store.write("value", "folder/key")

    with pytest.raises(PermanentStorageError, match="folder"):
        store.read("folder")


def test_a_file_without_a_byte_is_no_record(store: ResultStore) -> None:
    store.write("value", "key")
    _file(store, "key").write_bytes(b"")

    with pytest.raises(DamagedError):
        store.read("key")


@pytest.mark.parametrize("size", [(1 << 16) - 1, 1 << 16, (1 << 16) + 1])
def test_a_record_that_just_fits_into_one_read_is_read_as_any_other(store: ResultStore, size: int) -> None:
    around = size - store.write("", "key").size
    value = "x" * around

    receipt = store.write(value, "key")

    assert receipt.size == size
    assert store.read("key", size=size).result == value


def test_a_store_is_pickled_without_its_keys(tmp_path: Path) -> None:
    keyring = Keyring.open_or_create(tmp_path / "keyring.toml")
    store = ResultStore(tmp_path / "results", serializer=Literal(), keyring=keyring, suite="hmac-sha256")
    store.write("value", "key")

    pickled = pickle.dumps(store)

    again = pickle.loads(pickled)
    assert again.read("key").result == "value"
    assert again.write("value").size == store.write("value").size
    assert keyring._keys[keyring.primary].secret not in pickled


def test_a_user_in_a_url_is_no_credential() -> None:
    with pytest.raises(SettingsError, match="credentials"):
        open_storage("abfs://container:secret@account.example/results")
    with pytest.raises(SettingsError, match="no storage of the kind"):
        open_storage("nobody-has-this://container@account.example/results")


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        _store("ftp://user:hunter2@example.org/results", Literal())

    assert "hunter2" not in str(caught.value)


class Shelf(ResultHandler):
    """Keeps values in a dictionary."""

    id = "shelf"

    def __init__(self) -> None:
        self.kept: dict[str, object] = {}
        self.reads = 0

    def write(self, value: object, slot: Slot) -> JSONValue:
        if value == "poison":
            raise ValueError("poison is in the text of this error")
        self.kept[slot.task] = value
        return slot.task

    def read(self, reference: JSONValue, slot: Slot) -> object:
        self.reads += 1
        return self.kept[str(reference)]


def test_a_result_is_handled_only_when_it_is_asked_to() -> None:
    handler = Shelf()
    result = Result([1], handler)
    assert not handler.kept

    kept = result.serialize(SLOT)

    assert kept.serialized
    assert not result.serialized
    assert kept.value == [1]
    assert handler.reads == 0


def test_a_forgotten_value_is_read_when_it_is_needed() -> None:
    handler = Shelf()
    kept = Result([1], handler).serialize(SLOT).forget_value()
    assert not kept.in_memory

    assert kept.value == [1]
    assert kept.deserialize().in_memory
    assert handler.reads == 2


def test_a_failing_handler_is_named_and_the_value_is_not() -> None:
    with pytest.raises(HandlerError) as caught:
        Result("poison", Shelf()).serialize(SLOT)

    assert "'shelf'" in str(caught.value)
    assert "ValueError" in str(caught.value)
    assert "poison" not in str(caught.value)


def test_no_result_is_not_none_and_stays_the_only_one() -> None:
    assert not NoResult
    assert NoResult.value is NoResult
    assert pickle.loads(pickle.dumps(NoResult)) is NoResult
    assert Result(None).value is None


def test_results_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Result(1).handler = Shelf()  # type: ignore[misc]
