# SPDX-License-Identifier: Apache-2.0
"""What can a payload do that somebody with the key wrote, to do harm? Nothing, for every reader but that of pickle.

Every record here is authentic. It is read with everything loaded that a good record needs, while an audit hook listens:
nothing may be imported, run, opened or connected to, and the answer is a value or an error of ours.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from strongroom import CodecContext, Keyring, ResultStore
from strongroom._plugins import installed_plugins
from strongroom._record import Header, RecordWriter
from strongroom.errors import FormatNotAllowedError, StrongroomError
from strongroom.keyring import Key, bind

from .watching import CODECS, SERIALIZERS, anything_outside

KEY = "reports/monthly"
KEYRING = Keyring([Key(bytes(32))])
SAFE = tuple(id_ for id_ in SERIALIZERS if not installed_plugins(None).serializer(id_).executes_code)
CHAINS = (*SAFE, *(f"compressed/{serializer}" for serializer in SAFE))
DESCRIPTION = b"strongroom.arrow"


class Gadget:
    """Unpickled, it runs a program."""

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.system, ("touch planted",)


def gadgets() -> dict[str, bytes]:
    """Pickles, bare and inside of what carries them."""
    bare = pickle.dumps(Gadget())
    return {
        "a pickle": bare,
        "an old pickle": pickle.dumps(Gadget(), protocol=0),
        "a pickle in a pickle": pickle.dumps(bare),
        "our own pickle": installed_plugins(None).serializer("pickle").dumps(Gadget()),
        "a pickle that says it is a stream": b"\xff\xff\xff\xff" + bare,
        "a pickle and a line feed": bare + b"\n",
        "an array of objects": array_of_objects(bare),
    }


def array_of_objects(content: bytes) -> bytes:
    return npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", content)


def npy(header: str, content: bytes = b"") -> bytes:
    data = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(data)) + data + content


def arrays() -> dict[str, bytes]:
    """NumPy files that ask for what they should not have."""
    say = "{{'descr': {}, 'fortran_order': False, 'shape': {}}}".format
    return {
        "an array of objects in fields": npy(say("[('a', '<i4'), ('b', '|O')]", "(1,)"), bytes(12)),
        "an array of exabytes": npy(say("'<f8'", "(1152921504606846976,)"), bytes(64)),
        "an array whose size overflows": npy(say("'<f8'", "(4294967296, 4294967296)")),
        "an array of a negative size": npy(say("'<f8'", "(-1,)"), bytes(8)),
        "an array of no bytes that is endless": npy(say("'|V0'", "(9223372036854775807,)")),
        "a header that is a program": npy("__import__('os').system('touch planted')"),
        "a header that is endless": b"\x93NUMPY\x03\x00" + struct.pack("<I", 0xFFFFFFFF) + b"{" * 100,
        "a header that is deep": npy("(" * 5000 + ")" * 5000),
        "a dtype that is deep": npy(say("[('a', " * 200 + "'<i4'" + ")]" * 200, "(1,)"), bytes(4)),
    }


def documents() -> dict[str, bytes]:
    """JSON that names classes, in all the ways that some library or other takes."""
    marked: list[object] = [
        {"$module": "os", "$class": "system"},
        {"py/object": "os.system", "py/reduce": [{"py/function": "os.system"}, ["touch planted"]]},
        {"__class__": "os.system", "__reduce__": ["touch planted"]},
        {"$class": ["os.system", {"command": "touch planted"}]},
        {"$Enum": ["os", "system"]},
        {"$type": "System.Diagnostics.Process"},
        {"$pickle": "gASVIAAAAAAAAACM"},
        {"$datetime": ["2026-01-31T00:00:00", {"zone": "../../../../etc/passwd"}]},
        {"$Decimal": "1E+99999999999999999999"},
        {"$int": "0x" + "f" * 100_000 + "g"},
    ]
    texts = {f"a document with a mark, {number}": json.dumps(what).encode() for number, what in enumerate(marked)}
    texts["a deep list"] = b"[" * 100_000 + b"]" * 100_000
    texts["a deep tag"] = b'{"$tuple":[' * 20_000 + b"]}" * 20_000
    texts["a long number"] = b"9" * 100_000
    texts["a number with a huge exponent"] = b'[1e999999999, {"$tuple": []}]'
    return {name: text + b"\n" for name, text in texts.items()}


def stream(table: pa.Table, metadata: bytes) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema.with_metadata({DESCRIPTION: metadata})) as writer:
        writer.write_table(table)
    return sink.getvalue()


def described(rows: int, kind: str = "pyarrow.Table", **more: object) -> bytes:
    return json.dumps({"is": "description", "version": 1, "kind": kind, "rows": rows, **more}).encode()


def extension(name: str, content: bytes) -> pa.Table:
    field = pa.field("a", pa.int64(), metadata={"ARROW:extension:name": name, "ARROW:extension:metadata": content})
    return pa.table([pa.array([1])], schema=pa.schema([field]))


def broken(*offsets: int) -> bytes:
    """A stream of two texts that claim to lie at *offsets* of three bytes."""
    good = stream(pa.table({"a": ["a", "bc"]}), described(2))
    return good.replace(struct.pack("<3i", 0, 1, 3), struct.pack("<3i", *offsets))


def tables() -> dict[str, bytes]:
    """Arrow streams with foreign types, offsets that lead elsewhere, and lies about what they are."""
    bare = pickle.dumps(Gadget())
    one = pa.table({"a": [1]})
    index = pa.DictionaryArray.from_arrays(pa.array([7, 1], pa.int8()), pa.array(["only"]), safe=False)
    return {
        "an extension that was unpickled once": stream(extension("arrow.py_extension_type", bare), described(1)),
        "an extension of somebody's": stream(extension("os.system", b"touch planted"), described(1)),
        "offsets beyond the end": broken(0, 1, 1 << 30),
        "offsets before the start": broken(-4096, 1, 3),
        "offsets that go back": broken(3, 1, 3),
        "indices beyond their dictionary": stream(pa.table({"a": index}), described(2)),
        "more rows than there are": stream(one, described(1 << 60)),
        "a kind that names a module": stream(one, described(1, "os.system")),
        "a kind that is not its own": stream(one, described(1, "pandas.DataFrame")),
        "another kind that is not its own": stream(one, described(1, "polars.DataFrame", dtypes=["os.system"])),
        "a description that is deep": stream(one, b"[" * 50_000),
        "a message that says it is endless": b"\xff\xff\xff\xff" + struct.pack("<i", 0x7FFFFFFF) + bytes(64),
        "a message of a negative size": b"\xff\xff\xff\xff" + struct.pack("<i", -2) + bytes(64),
    }


def parquets() -> dict[str, bytes]:
    """Parquet files that lie about themselves."""

    def file(metadata: bytes, table: pa.Table, **options: object) -> bytes:
        sink = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({DESCRIPTION: metadata}), sink, **options)
        return sink.getvalue()

    one, none = pa.table({"a": [1]}), pa.table({"a": pa.nulls(40_000_000, pa.int64())})
    return {
        "a parquet file with an extension": file(described(1), extension("os.system", b"touch planted")),
        "a parquet file of more rows than there are": file(described(1 << 60), one),
        "a parquet file that says nothing of itself": file(b"", one),
        "a parquet file that becomes gigabytes": file(described(40_000_000), none),
        "a parquet file with an endless footer": b"PAR1" + bytes(64) + b"\xff\xff\xff\x7fPAR1",
        "a parquet file with no footer": b"PAR1" + bytes(4) + b"PAR1",
    }


def parts(contents: object, *payloads: bytes) -> bytes:
    """Several payloads in one, as `contents` describes them."""
    body = b"".join(payload + bytes(-len(payload) % 64) for payload in payloads)
    told = contents if isinstance(contents, bytes) else json.dumps({"is": "contents", **contents}).encode()  # type: ignore[dict-item]
    return b"\x93PARTS\x01".ljust(64, b"\0") + body + told + struct.pack("<Q", len(told)) + b"\x93ENDED\x01\x00"


def nested() -> dict[str, bytes]:
    """Lists of tables and arrays that are something else, or that are larger than all there is."""
    bare, array = pickle.dumps(Gadget()), npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1,)}", bytes(8))
    one = {"is": "list", "items": [0]}
    objects, inner = array_of_objects(bare), parts({"sizes": [len(array)], "tree": one}, array)
    return {
        "a list with a pickle in it": parts({"sizes": [len(bare)], "tree": one}, bare),
        "a list with an array of objects in it": parts({"sizes": [len(objects)], "tree": one}, objects),
        "a list with another payload of parts in it": parts({"sizes": [len(inner)], "tree": one}, inner),
        "a list of a class": parts({"sizes": [len(array)], "tree": {"is": "os.system", "items": [0]}}, array),
        "a list of one array many times": parts(
            {"sizes": [len(array)], "tree": {"is": "list", "items": [0, 0]}}, array
        ),
        "a list of exabytes": parts({"sizes": [1 << 60], "tree": one}, array),
        "a list that is deep": parts(b'{"is":"contents","tree":' + b'{"is":"list","items":[' * 50_000, array),
        "a list whose contents are endless": parts({"sizes": [1], "tree": one}, array)[:-16] + b"\xff" * 8 + inner[-8:],
    }


HOSTILE = {**gadgets(), **arrays(), **documents(), **tables(), **parquets(), **nested()}
GOOD: Mapping[str, tuple[object, ...]] = {
    "json": ({"a": (1, 2.5), 3: None},),
    "arrow": (
        *(np.arange(3), pa.table({"a": ["x"]}), pd.DataFrame({"a": [1.5]}), pl.DataFrame({"a": [1]})),
        [np.arange(3), {"t": pa.table({"a": ["x"]})}],
    ),
    "arrow.parquet": (pa.table({"a": ["x"]}), pd.DataFrame({"a": [1.5]}), pl.DataFrame({"a": [1]})),
}


@pytest.fixture(scope="module", autouse=True)
def everything_is_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a good record needs is imported with the first one; only then can a bad one be blamed for an import."""
    folder = tmp_path_factory.mktemp("good")
    for chain in CHAINS:
        store = ResultStore(folder, serializer=chain, keyring=KEYRING, allow=(), plugins=installed_plugins(None))
        for value in GOOD[chain.rpartition("/")[2]]:
            _ = store.read(store.write(value).key).result
        for payload in (b"", b"nothing", *HOSTILE.values()):
            with pytest.raises(Exception):  # noqa: B017, PT011, PT012  # the words for an error may import, too
                _ = a_reader(folder, chain, payload).read(KEY).result
                raise RuntimeError


def a_reader(folder: Path, chain: str, payload: bytes) -> ResultStore:
    """A store that allows *chain*, where an authentic record of *payload* says that it is of *chain*."""
    *codecs, last = chain.split("/")
    packed = payload
    for codec in reversed(codecs):
        packed = encoded(packed, codec)
    sink = io.BytesIO()
    header = Header(chain=chain, object="0" * 32, key=KEYRING.primary, created=0)
    writer = RecordWriter(sink, header, bind("record", KEY), KEYRING)
    writer.payload.write(packed)
    writer.finish(len(payload))
    store = ResultStore(folder, serializer=last, keyring=KEYRING, allow=codecs, plugins=installed_plugins(None))
    path = Path(store.locate(KEY))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sink.getvalue())
    return store


def encoded(data: bytes, codec: str) -> bytes:
    sink = io.BytesIO()
    with installed_plugins(None).codec(codec).writer(sink, CodecContext(b"")) as writer:
        writer.write(data)
    return sink.getvalue()


def outcome(record: Callable[[], object]) -> str:
    """How reading ended: a value, an error of ours, or the name of what must not be."""
    try:
        record()
    except StrongroomError:
        return "refused"
    except Exception as exc:  # whatever a decoder raises is what we look for
        return type(exc).__name__
    return "a value"


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_payload_does_nothing(name: str, chain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record = a_reader(tmp_path / "results", chain, HOSTILE[name]).read(KEY)

    with anything_outside() as events:
        ended = outcome(lambda: record.result)

    assert events == []
    assert ended == "refused" or (ended, name) in HARMLESS
    assert not (tmp_path / "planted").exists()


# JSON that is somebody else's mark is a dict like any other; too big a number is infinite; and no bytes are no harm.
HARMLESS = {
    *(("a value", f"a document with a mark, {number}") for number in (1, 2)),
    ("a value", "a number with a huge exponent"),
    ("a value", "an array of no bytes that is endless"),
}


@pytest.mark.parametrize("name", gadgets())
@pytest.mark.parametrize("codecs", ["", *(f"{codec}/" for codec in CODECS)])
def test_a_pickle_is_not_touched_by_a_reader_that_does_not_allow_it(name: str, codecs: str, tmp_path: Path) -> None:
    a_reader(tmp_path, f"{codecs}pickle", HOSTILE[name])
    reader = ResultStore(
        tmp_path, serializer="json", keyring=KEYRING, allow=(*SAFE, *CODECS), plugins=installed_plugins(None)
    )
    record = reader.read(KEY)

    with anything_outside() as events, pytest.raises(FormatNotAllowedError, match=r"'pickle'.*results\.allow"):
        _ = record.result

    assert events == []
    assert record.metadata.chain == f"{codecs}pickle"


@pytest.mark.parametrize("serializer", SAFE)
def test_a_payload_changed_at_random_does_nothing(serializer: str, tmp_path: Path) -> None:
    chance = random.Random(serializer)
    kept = installed_plugins(None).serializer(serializer)
    payloads = [kept.dumps(value) for value in GOOD[serializer]]
    ended = set()

    for _ in range(150):
        payload = bytearray(chance.choice(payloads))
        for _ in range(chance.choice([1, 2, 8])):
            payload[chance.randrange(len(payload))] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        record = a_reader(tmp_path, serializer, bytes(payload)).read(KEY)
        with anything_outside() as events:
            ended.add(outcome(lambda record=record: record.result))  # type: ignore[misc]  # bound at once
        assert events == []

    assert ended <= {"refused", "a value"}


def test_the_hook_hears_what_a_pickle_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sink: BinaryIO = io.BytesIO(pickle.dumps(Gadget()))

    with anything_outside() as events:
        pickle.load(sink)

    assert {"pickle.find_class", "os.system"} <= set(events)
