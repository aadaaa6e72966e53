# SPDX-License-Identifier: Apache-2.0
"""Is a stored record that somebody changed, moved or replaced refused before any decoder sees a byte of it?"""

from __future__ import annotations

import datetime as dt
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from strongroom import Keyring, ResultStore, Slot
from strongroom._handlers import StoredHandler
from strongroom._record import Header, Suite, _line
from strongroom.errors import DamagedError, HandlerError
from strongroom.keyring import Key
from strongroom.results import Result

from .watching import EVERY_CODEC, SERIALIZERS, code_that_runs, watched_plugins

KEY = "reports/monthly"
VALUES = {
    "json": {"name": ["value", 1.5, None]},
    # Its class is looked up while it is unpickled, which the audit hook hears of.
    "pickle": dt.timedelta(days=3),
    "arrow": np.arange(3, dtype="i4"),
    "arrow.parquet": pa.table({"a": [1, 2]}),
}
CHAINS = [
    *VALUES,
    *(f"compressed/{serializer}" for serializer in VALUES),
    *("encrypted/pickle", "encrypted/compressed/arrow"),
    # What is done to the bytes afterwards makes no difference to the tag, so one serializer stands for all.
    *(f"{codec}/json" for codec in EVERY_CODEC if codec != "compressed"),
]


# The other suite, with the serializer that it matters most for.
SCENES = [*((chain, "blake3") for chain in CHAINS), ("pickle", "hmac-sha256")]


@dataclass(frozen=True)
class Scene:
    """A storage with one record, whose reader allows every format, and the decoders that were called."""

    store: ResultStore
    chain: str
    value: object
    calls: list[str]

    @property
    def path(self) -> Path:
        return Path(self.store.locate(KEY))

    def reads(self) -> object:
        """What the reader makes of what lies there now."""
        self.calls.clear()
        return self.store.read(KEY).result

    def put(self, copy: bytes) -> None:
        """Let *copy* lie there instead."""
        # In place: a file that is emptied first is written to the disk when it is closed, thousands of times here.
        with self.path.open("r+b", buffering=0) as file:
            file.write(copy)
            file.truncate()

    def believed(self, copies: Iterator[tuple[str, bytes]]) -> list[str]:
        """Which of *copies* the reader did not refuse, or decoded at least in part, or that ran code."""
        believed = []
        for name, copy in copies:
            self.put(copy)
            with code_that_runs() as events:
                refused = self._refuses()
            if not refused or self.calls or events:
                believed.append(name)
        return believed

    def _refuses(self) -> bool:
        try:
            self.reads()
        except DamagedError:
            return True
        return False


def a_store(folder: Path, chain: str, calls: list[str], keyring: Keyring, suite: Suite = "blake3") -> ResultStore:
    allow, plugins = {*SERIALIZERS, *EVERY_CODEC}, watched_plugins(calls)
    return ResultStore(folder, serializer=chain, keyring=keyring, allow=allow, suite=suite, plugins=plugins)


@pytest.fixture(params=SCENES, ids="-".join)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    chain, suite = request.param
    calls: list[str] = []
    store = a_store(tmp_path / "results", chain, calls, Keyring([Key.generate()]), suite)
    scene = Scene(store, chain, VALUES[chain.split("/")[-1]], calls)
    store.write(scene.value, KEY)
    assert same(scene.reads(), scene.value)
    return scene


def same(left: object, right: object) -> bool:
    return np.array_equal(left, right) if isinstance(left, np.ndarray) else left == right  # type: ignore[arg-type]


def test_an_intact_record_is_decoded_so_that_a_silent_decoder_means_something(scene: Scene) -> None:
    with code_that_runs() as events:
        value = scene.reads()

    assert same(value, scene.value)
    assert scene.calls == scene.chain.split("/")
    assert ("pickle.find_class" in events) == scene.chain.endswith("pickle")


def test_every_changed_bit_is_refused(scene: Scene) -> None:
    good = scene.path.read_bytes()

    def flipped() -> Iterator[tuple[str, bytes]]:
        for position in range(len(good)):
            for bit in range(8):
                changed = bytes([good[position] ^ 1 << bit])
                yield f"bit {bit} of byte {position}", good[:position] + changed + good[position + 1 :]

    assert scene.believed(flipped()) == []


def test_every_truncation_is_refused(scene: Scene) -> None:
    good = scene.path.read_bytes()

    assert scene.believed((f"{size} bytes", good[:size]) for size in range(len(good))) == []


def test_bytes_added_anywhere_are_refused(scene: Scene) -> None:
    good = scene.path.read_bytes()
    header = good.index(b"\n") + 1
    places = {"start": 0, "header": header - 1, "payload": header, "trailer": len(good) - 48, "end": len(good)}
    more = [b"\0", b" ", b"\n", b" " * 63 + b"\n", good[:header], good]

    assert (
        scene.believed(
            (f"{extra[:9]!r} at the {name}", good[:at] + extra + good[at:])
            for name, at in places.items()
            for extra in more
        )
        == []
    )


def test_a_header_that_says_something_else_is_refused(scene: Scene) -> None:
    good = scene.path.read_bytes()
    line, rest = good[: good.index(b"\n") + 1], good[good.index(b"\n") + 1 :]
    header = msgspec.json.decode(line.removeprefix(b"strongroom/1 "), type=Header)
    others: list[dict[str, object]] = [
        {"object": "0" * 32},
        {"key": "0" * 16},
        {"created": header.created + 1},
        {"expires": header.created + 1},
        {"fingerprints": {"a": "b"}},
        {"suite": "none"},
        {"suite": "hmac-sha256" if header.suite == "blake3" else "blake3"},
    ]
    others += [{"chain": chain} for chain in {*CHAINS, "", "/", "os.system"} - {scene.chain}]

    edited = ((str(change), _line(msgspec.structs.replace(header, **change)) + rest) for change in others)

    assert _line(header) == line
    assert scene.believed(edited) == []


def test_a_payload_that_runs_a_program_is_never_unpickled(scene: Scene, tmp_path: Path) -> None:
    good = scene.path.read_bytes()
    start, end = good.index(b"\n") + 1, len(good) - 48
    planted = tmp_path / "planted"
    exploit = pickle.dumps(_Exploit(f"touch {planted}"))

    resized = len(exploit).to_bytes(8, "little") * 2 + good[end + 16 :]
    forged = [("same sizes", good[:start] + exploit + good[end:]), ("sizes to fit", good[:start] + exploit + resized)]

    assert scene.believed(iter(forged)) == []
    assert not planted.exists()


class _Exploit:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


def test_a_record_under_the_name_of_another_is_refused(scene: Scene) -> None:
    other = scene.store.write(scene.value, "reports/yearly")

    assert scene.believed(iter([("the other", Path(scene.store.locate(other.key)).read_bytes())])) == []


def test_a_record_that_another_keyring_wrote_is_refused(scene: Scene, tmp_path: Path) -> None:
    foreign = a_store(tmp_path / "foreign", scene.chain, scene.calls, Keyring([Key.generate()]))
    foreign.write(scene.value, KEY)

    assert scene.believed(iter([("the foreign", Path(foreign.locate(KEY)).read_bytes())])) == []


def test_an_older_record_is_refused_where_a_reference_names_the_newer_one(scene: Scene) -> None:
    handler, slot = StoredHandler(scene.store, KEY), Slot("0" * 32, "task")
    old = scene.path.read_bytes()
    newer = Result(scene.value, handler).serialize(slot).forget_value()
    assert same(newer.value, scene.value)
    scene.calls.clear()

    scene.path.write_bytes(old)

    with pytest.raises(HandlerError, match="damaged or was changed"):
        _ = newer.value
    assert scene.calls == []


def test_a_record_is_still_read_after_it_was_put_back(scene: Scene) -> None:
    good = scene.path.read_bytes()
    assert scene.believed(iter([("nothing", b"")])) == []

    scene.path.write_bytes(good)

    assert same(scene.reads(), scene.value)
