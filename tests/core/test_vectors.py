# SPDX-License-Identifier: Apache-2.0
"""Can records and sealed documents that an earlier version wrote still be read, and are they still written like that?

The files under ``tests/vectors`` were written once, with a key that everybody knows. See `strongroom.testing.vector`.
"""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from strongroom import Envelope, Keyring, ResultStore
from strongroom._egress import Gate, open_envelope
from strongroom._plugins import Plugins
from strongroom._record import Header, RecordWriter, Verified, read_header, verify
from strongroom.documents import Document, ErrorInfo, Frame, KeptResult, RunDocument, StateDocument
from strongroom.errors import DamagedError, SealError
from strongroom.keyring import Key, bind
from strongroom.testing import vector
from strongroom.testing._executor_tasks import Literal

VECTORS = Path(__file__).parents[1] / "vectors"
OLD, NEW = Key(bytes(range(32))), Key(bytes(reversed(range(32))))
KEYRING = Keyring([OLD])
RUN = "0123456789abcdef" * 2
RECORD_KEY = "runs/0123/report"

RECORDS: dict[str, tuple[Header, bytes, int | None]] = {
    "empty": (Header(chain="literal", object="0" * 32, key=OLD.id, created=0), b"", None),
    "plain": (
        Header(chain="literal", object="1" * 32, key=OLD.id, created=1_700_000_000_000_000),
        b"{'name': ['v\xc3\xa4lue', 1.5, None]}",
        None,
    ),
    "cached": (
        Header(
            chain="deflated/literal",
            object="2" * 32,
            key=OLD.id,
            created=1_700_000_000_000_000,
            expires=1_800_000_000_000_000,
            fingerprints={"a" * 32: "b" * 32, "c" * 32: "d" * 32},
        ),
        b"\n" * 100,
        12_345,
    ),
    "hmac": (
        Header(chain="literal", object="3" * 32, key=OLD.id, created=1_700_000_000_000_000, suite="hmac-sha256"),
        b"{'name': ['v\xc3\xa4lue', 1.5, None]}",
        None,
    ),
}

KEPT = KeptResult(
    handler="stored",
    reference={"storage": "file:///data", "key": RECORD_KEY, "object": "1" * 32, "chain": "literal", "size": 212},
    task="load",
)
ERROR = ErrorInfo(
    kind="builtins.ExceptionGroup",
    message="two failed",
    frames=(Frame("/flows/sales.py", 12, "load.<locals>.inner"),),
    notes=("while loading July",),
    cause=ErrorInfo(kind="builtins.KeyError", message="'päth'"),
    members=(ErrorInfo(kind="sales.BadRow", message="row 7"), ErrorInfo(kind="builtins.OSError", message="")),
)
DOCUMENTS: dict[str, Document] = {
    "run": RunDocument(
        run_id=RUN,
        name="sales",
        at=1_700_000_000_000_000,
        run_name="sales of July",
        parameters={"month": 7, "limits": [0, -1.5, 2**64 - 1, -(2**63)], "näme": {"a": None, "b": True}},
        tasks=("load", "load-2", "report"),
    ),
    "success": StateDocument(
        run_id=RUN,
        task="load",
        sequence=1,
        name="load",
        type="Success",
        at=1_700_000_000_000_001,
        run_count=1,
        result=KEPT,
    ),
    "failed": StateDocument(
        run_id=RUN,
        task="load-2",
        map_index=3,
        sequence=2,
        name="load",
        type="Failed",
        at=1_700_000_000_000_002,
        run_count=2,
        message="ExceptionGroup in the task",
        error=ERROR,
    ),
    "retrying": StateDocument(
        run_id=RUN,
        task="report",
        sequence=3,
        name="report",
        type="Retrying",
        at=1_700_000_000_000_003,
        run_count=1,
        message="",
        cached_inputs={"x": KEPT, "y": KeptResult(handler="json", reference=[1, "two", None], field="input", task="")},
        start_time=1_700_000_060_000_000,
        task_run_name="report for Köln",
        tags=("nightly", "päid"),
    ),
}


def record(name: str) -> bytes:
    return vector(VECTORS / "record" / f"{name}.bin", lambda: written(*RECORDS[name]))


def written(header: Header, payload: bytes, decoded_size: int | None) -> bytes:
    """The record as this version writes it."""
    sink = io.BytesIO()
    writer = RecordWriter(sink, header, bind("record", RECORD_KEY), KEYRING)
    writer.payload.write(payload)
    writer.finish(decoded_size)
    return sink.getvalue()


def document(name: str) -> Envelope:
    return msgspec.json.decode(
        vector(VECTORS / "document" / f"{name}.json", lambda: msgspec.json.encode(sealed(DOCUMENTS[name]))),
        type=Envelope,
    )


def sealed(what: Document) -> Envelope:
    """The document as this version sends it."""
    sent: list[Envelope] = []
    Gate(KEYRING, Plugins(()), sent.append).send(what)
    return sent[0]


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """Reads with a keyring that has a newer key, too: the one that these were written with only opens."""
    return ResultStore(
        tmp_path, serializer=Literal(), keyring=Keyring([NEW, OLD]), allow=("deflated",), plugins=Plugins(())
    )


def put(store: ResultStore, data: bytes) -> None:
    path = Path(store.locate(RECORD_KEY))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_an_earlier_version_is_read(name: str, store: ResultStore) -> None:
    header, payload, _ = RECORDS[name]
    put(store, record(name))

    found = store.read(RECORD_KEY)

    assert found.payload().read() == payload
    assert found.metadata.chain == header.chain
    assert found.metadata.object == header.object
    assert found.metadata.created == header.created
    assert found.metadata.expires == header.expires
    assert found.metadata.fingerprints == header.fingerprints


def test_the_value_in_a_record_of_an_earlier_version_is_read(store: ResultStore) -> None:
    put(store, record("plain"))

    assert store.read(RECORD_KEY).result == {"name": ["välue", 1.5, None]}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_is_written_byte_for_byte_as_it_was(name: str) -> None:
    assert written(*RECORDS[name]) == record(name)


@pytest.mark.parametrize("name", RECORDS)
def test_no_bit_of_a_record_may_differ(name: str) -> None:
    good = record(name)

    believed = []
    for position in range(len(good)):
        for bit in range(8):
            changed = good[:position] + bytes([good[position] ^ 1 << bit]) + good[position + 1 :]
            with suppress(DamagedError):
                believed.append(((position, bit), verified(changed)))

    assert believed == []
    assert verified(good).header == RECORDS[name][0]


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_is_longer_or_shorter_than_storage_has_said_is_refused(name: str) -> None:
    good = record(name)
    for data in (good + b"x", *(good[:size] for size in range(good.index(b"\n") + 1, len(good)))):
        with pytest.raises(DamagedError):
            verified(data, len(good))


def verified(data: bytes, size: int | None = None) -> Verified:
    source = io.BytesIO(data)
    start = read_header(source, "here")
    size = len(data) if size is None else size
    return verify(source, size, start, location="here", context=bind("record", RECORD_KEY), keyring=KEYRING)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_of_an_earlier_version_is_opened(name: str) -> None:
    opened = open_envelope(document(name), Keyring([NEW, OLD]))

    assert opened == DOCUMENTS[name]
    assert type(opened) is type(DOCUMENTS[name])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_sent_in_clear_and_sealed_as_it_was(name: str) -> None:
    now, then = sealed(DOCUMENTS[name]), document(name)

    # Sealing is never twice the same, so that equal documents cannot be told: the message and its length are.
    assert msgspec.structs.replace(now, sealed=b"") == msgspec.structs.replace(then, sealed=b"")
    assert len(now.sealed) == len(then.sealed)
    assert now.sealed[:9] == then.sealed[:9] == b"\x01" + bytes.fromhex(OLD.id)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_opened_by_nobody_without_its_key(name: str) -> None:
    with pytest.raises(SealError):
        open_envelope(document(name), Keyring([NEW]))


def test_each_vector_is_read_here() -> None:
    files = {
        f"{path.parent.name}/{path.name}" for kind in ("record", "document") for path in (VECTORS / kind).iterdir()
    }

    assert files == {*(f"record/{name}.bin" for name in RECORDS), *(f"document/{name}.json" for name in DOCUMENTS)}
