# SPDX-License-Identifier: Apache-2.0
"""Can a backend that gives out anything it likes get a reader to take it for the record of a run?"""

from __future__ import annotations

import os
import random
import tracemalloc
from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest

from strongroom import Backend, Envelope, Flow, task
from strongroom._egress import _PLANS
from strongroom._memory_backend import MemoryBackend
from strongroom.errors import SealError
from strongroom.keyring import Key, Keyring
from strongroom.project import Project

# To watch the memory takes longer than all the rest: a part of the rounds shows what a lie can make us take.
SEEDS, ROUNDS, WATCHED = (10, 10_000, 500) if os.environ.get("STRONGROOM_TEST_LONG") else (1, 2_000, 500)
OTHER_KEY = Keyring([Key(b"\x07" * 32)])

Record = list[Envelope]


class Lies(MemoryBackend):
    """Gives out whatever it was told to."""

    def __init__(self, record: Sequence[Envelope]) -> None:
        super().__init__()
        self.record = record

    def read(self, run_id: str, *, task: str | None = None) -> Iterator[Envelope]:
        return (each for each in self.record if task is None or each.task == task)


@pytest.fixture
def flow() -> Flow:
    @task(persist_result=True, result_handler="json")
    def one() -> int:
        return 1

    @task(max_retries=1)
    def two(number: int) -> int:
        raise ValueError(number)

    with Flow("flow") as flow:
        two(one())
    return flow


@pytest.fixture
def records(flow: Flow) -> list[Record]:
    """Two true records of the same flow."""
    backend = MemoryBackend()
    runs = [str(flow.run(backend=backend).context["run_id"]) for _ in range(2)]
    return [list(backend.read(run)) for run in runs]


def changed(envelope: Envelope, **fields: object) -> Envelope:
    return msgspec.structs.replace(envelope, **fields)


def flip(it: random.Random, record: Record, _other: Record) -> None:
    place = it.randrange(len(record))
    sealed = bytearray(record[place].sealed)
    sealed[it.randrange(len(sealed))] ^= 1 << it.randrange(8)
    record[place] = changed(record[place], sealed=bytes(sealed))


def cut(it: random.Random, record: Record, _other: Record) -> None:
    place = it.randrange(len(record))
    record[place] = changed(record[place], sealed=record[place].sealed[: it.randrange(len(record[place].sealed))])


def lengthen(it: random.Random, record: Record, _other: Record) -> None:
    place = it.randrange(len(record))
    record[place] = changed(record[place], sealed=record[place].sealed + it.randbytes(it.randrange(1, 40)))


def drop(it: random.Random, record: Record, _other: Record) -> None:
    del record[it.randrange(len(record) - 1)]  # that the last one is gone, only who knows a later tag can tell


def swap(it: random.Random, record: Record, _other: Record) -> None:
    one, two = it.sample(range(len(record)), 2)
    record[one], record[two] = record[two], record[one]


def repeat(it: random.Random, record: Record, _other: Record) -> None:
    record.insert(it.randrange(len(record) + 1), it.choice(record))


def replay(it: random.Random, record: Record, other: Record) -> None:
    foreign = it.choice(other)
    moved = changed(foreign, run_id=record[0].run_id) if it.random() < 0.5 else foreign
    record[it.randrange(len(record))] = moved


def exchange_sealed(it: random.Random, record: Record, _other: Record) -> None:
    one, two = it.sample(range(len(record)), 2)
    ours, theirs = record[one].sealed, record[two].sealed
    record[one], record[two] = changed(record[one], sealed=theirs), changed(record[two], sealed=ours)


def retype(it: random.Random, record: Record, _other: Record) -> None:
    place = it.randrange(len(record))
    old = record[place]
    types = {"Success", "Failed", "Cached", "builtins.eval", "__reduce__"} - {old.type}
    kinds = {"run", "state", "os.system", ""} - {old.kind}
    what = it.choice(["type", "kind"])
    record[place] = changed(old, **{what: it.choice(sorted(types if what == "type" else kinds))})


def renumber(it: random.Random, record: Record, _other: Record) -> None:
    place = it.randrange(len(record))
    field = it.choice(["map_index", "sequence", "at", "run_count"])
    value = getattr(record[place], field)
    record[place] = changed(record[place], **{field: it.choice([value + 1, value - 2, -(2**31), 2**63 - 1])})


def rename(it: random.Random, record: Record, _other: Record) -> None:
    place = it.randrange(len(record))
    field = it.choice(["run_id", "task", "name"])
    record[place] = changed(record[place], **{field: it.choice(["x" * 32, "\x00", "one-9", "{0.__class__}"])})


def show_in_clear(it: random.Random, record: Record, _other: Record) -> None:
    place = it.randrange(len(record))
    deep: object = "x"
    for _ in range(it.choice([0, 1, 50, 2_000])):
        deep = [deep]
    clear = b"\x90" * 5_000 if it.random() < 0.2 else msgspec.msgpack.encode(["message", {"__class__": "os.system"}])
    nested = b"\x91" * it.choice([1, 100_000])
    record[place] = changed(record[place], sealed=it.choice([clear, nested, b"", b"\x01", b"{}"]))


def seal_with_another_key(it: random.Random, record: Record, _other: Record) -> None:
    place = it.randrange(len(record))
    sealed = bytearray(OTHER_KEY.seal(b"\x90", b"") + bytes(16))
    if it.random() < 0.5:
        sealed[1:9] = record[place].sealed[1:9]  # and say that it is ours
    record[place] = changed(record[place], sealed=bytes(sealed))


def swap_links(it: random.Random, record: Record, _other: Record) -> None:
    one, two = it.sample(range(len(record)), 2)
    ours, theirs = record[one].sealed, record[two].sealed
    record[one] = changed(record[one], sealed=ours[:-16] + theirs[-16:])


LIES: list[Callable[[random.Random, Record, Record], None]] = [
    flip,
    cut,
    lengthen,
    drop,
    swap,
    repeat,
    replay,
    exchange_sealed,
    retype,
    renumber,
    rename,
    show_in_clear,
    seal_with_another_key,
    swap_links,
]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(11, 11 + SEEDS))
def test_no_lie_is_taken_for_the_record(records: list[Record], seed: int) -> None:
    it, project = random.Random(seed), Project.open()
    true, other = records
    authentic = {each.sealed for each in true}

    peak = 0
    tracemalloc.start()
    for number in range(ROUNDS):
        if number == WATCHED:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        record = list(true)
        lie = LIES[number % len(LIES)]
        lie(it, record, other)
        assert record != true, lie.__name__
        with pytest.raises(SealError):
            list(project.documents(Lies(record), true[0].run_id))

    assert 0 < peak < 4 << 20
    assert authentic == {each.sealed for each in true}


@pytest.mark.parametrize("lie", [flip, cut, retype, renumber, rename, show_in_clear, seal_with_another_key])
def test_nothing_is_decoded_that_does_not_open(
    records: list[Record], lie: Callable[[random.Random, Record, Record], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    it, project = random.Random(12), Project.open()
    true, other = records

    def never(_message: bytes) -> object:
        raise AssertionError("it was decoded")

    for _ in range(50):
        record = list(true)
        lie(it, record, other)
        (liar,) = (mine for mine, theirs in zip(record, true, strict=True) if mine != theirs)
        if liar.sealed[:-16] in {each.sealed[:-16] for each in true} and liar.kind in _PLANS:
            only_the_tag = all(
                getattr(liar, field) == getattr(true[record.index(liar)], field)
                for field in Envelope.__struct_fields__
                if field != "sealed"
            )
            if only_the_tag:
                continue  # its tag tells, not its seal
        with monkeypatch.context() as patched:
            for plan in _PLANS.values():
                patched.setattr(plan, "decode", never)
            with pytest.raises(SealError):
                project.open_document(liar)


@pytest.mark.parametrize("lie", LIES)
def test_no_run_is_resumed_from_a_lie(
    flow: Flow, records: list[Record], lie: Callable[[random.Random, Record, Record], None]
) -> None:
    # Without its end, so that there is something to go on with.
    true, other = records[0][:-1], records[1]
    record = list(true)
    lie(random.Random(13), record, other)
    backend: Backend = Lies(record)

    with pytest.raises(SealError):
        flow.resume(true[0].run_id, backend=backend)
