# SPDX-License-Identifier: Apache-2.0
"""Does pickle keep any value, and find it again in another process?"""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import threading
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import SerializationError
from strongroom.testing import SerializerTests, difference, vector
from strongroom_pickle import Pickle, strongroom_choose_serializer

if TYPE_CHECKING:
    from collections.abc import Callable

VECTORS = Path(__file__).parents[3] / "tests" / "vectors" / "pickle"
BIG = 1 << 17


class Memory:
    """A value whose memory pickle may write as it is."""

    def __init__(self, data: bytearray | bytes | memoryview) -> None:
        self.data = data

    def __reduce__(self) -> tuple[object, ...]:
        return Memory, (pickle.PickleBuffer(self.data),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Memory) and self.data == other.data

    __hash__ = None  # type: ignore[assignment]  # it can be changed


class PrivateSource(io.RawIOBase):
    """What a verified record is: memory that nobody else can write to, and that may be used as it is."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.memory = bytearray(data)

    def getbuffer(self) -> memoryview:
        return memoryview(self.memory)


Pair = namedtuple("Pair", "a b")  # noqa: PYI024  # old code has them


@dataclass
class Node:
    name: str
    children: list[Node] = field(default_factory=list)


def loop() -> list[object]:
    value: list[object] = [1]
    value.append({"me": value})
    return value


class TestPickle(SerializerTests):
    serializer = Pickle()
    values = (
        *(None, 1, 1.5, float("nan"), "text \udcff", b"x" * BIG, bytearray(BIG), "long" * BIG, list(range(BIG))),
        *((1, [2]), {1: {2}}, OrderedDict(b=1, a=2), Pair(1, 2), Node("a", [Node("b")]), loop(), Decimal("1.10")),
        *(datetime(2026, 1, 31, fold=1, tzinfo=UTC), int, len, Node, ValueError("no"), range(5)),
        *(np.arange(5), np.arange(BIG), np.arange(BIG).reshape(2, -1).T, np.zeros(0), np.float32(1.5)),
        *(np.arange(BIG)[::2], np.array([1, "a", None], dtype=object), [np.arange(BIG), np.ones(BIG, "u1")]),
    )
    refused = (threading.Lock(), (1, [iter([1]).__class__, (x for x in "ab")]), sys.stdout, memoryview(b"x" * 100))


atoms = st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.binary().map(bytearray)


@given(st.recursive(atoms, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_whatever_is_written_comes_back(value: object) -> None:
    assert difference(value, Pickle().loads(Pickle().dumps(value))) is None


@given(st.lists(st.integers(0, 3 * (1 << 16)), max_size=6))
def test_buffers_of_any_size_come_back_in_their_order(sizes: list[int]) -> None:
    value = [Memory(bytearray([number]) * size) for number, size in enumerate(sizes)]

    assert Pickle().loads(Pickle().dumps(value)) == [Memory(memoryview(item.data)) for item in value]


class BufferSource(io.BufferedReader):
    """Memory that may be looked at, and not be written to."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))  # type: ignore[arg-type]  # a raw file as well as any
        self._data = data

    def getbuffer(self) -> memoryview:
        return memoryview(self._data)


@pytest.mark.parametrize("source", [io.BytesIO, PrivateSource, BufferSource])
def test_an_array_can_be_changed_if_it_could_be_before(source: Callable[[bytes], io.BytesIO]) -> None:
    fixed = np.arange(BIG)
    fixed.flags.writeable = False
    stored = Pickle().dumps([np.arange(BIG), fixed, np.arange(3)])

    big, still_fixed, small = Pickle().load(source(stored))  # type: ignore[misc]  # a list of three

    assert big.flags.writeable
    assert small.flags.writeable
    assert not still_fixed.flags.writeable


def test_an_array_is_a_view_of_private_memory() -> None:
    source = PrivateSource(Pickle().dumps(np.arange(BIG)))

    array = Pickle().load(source)  # type: ignore[arg-type]  # all that it needs

    assert np.shares_memory(array, np.frombuffer(source.memory, "u1"))  # type: ignore[arg-type]  # an array
    assert array.ctypes.data % 64 == np.frombuffer(source.memory, "u1").ctypes.data % 64  # type: ignore[attr-defined]


def test_memory_that_cannot_be_changed_is_copied() -> None:
    source = BufferSource(Pickle().dumps(np.arange(BIG)))

    array = Pickle().load(source)  # type: ignore[arg-type]  # all that it needs

    assert array.flags.writeable  # type: ignore[attr-defined]  # an array
    assert not np.shares_memory(array, np.frombuffer(source.getbuffer(), "u1"))  # type: ignore[arg-type]  # an array


def test_a_bytesio_belongs_to_its_owner_again() -> None:
    source = io.BytesIO(Pickle().dumps(np.arange(BIG)))

    array = Pickle().load(source)
    source.close()

    assert array.sum() == sum(range(BIG))  # type: ignore[attr-defined]  # an array


class Views(io.RawIOBase):
    """A sink that remembers where the memory was that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.arrays: list[np.ndarray[tuple[int], np.dtype[np.uint8]]] = []

    def write(self, data: object, /) -> int:
        array = np.frombuffer(data, "u1")  # type: ignore[call-overload]  # memory
        self.arrays.append(array)
        return len(array)


@pytest.mark.parametrize(
    "value", [np.arange(BIG), bytearray(b"x" * BIG), b"x" * BIG], ids=["array", "bytearray", "bytes"]
)
def test_what_is_big_is_written_from_where_it_is(value: object) -> None:
    sink = Views()

    Pickle().dump(value, sink)  # type: ignore[arg-type]  # all that it needs

    memory = np.frombuffer(value, "u1")  # type: ignore[call-overload]  # memory
    assert sum(len(array) for array in sink.arrays if np.shares_memory(array, memory)) == len(memory)
    assert max(map(len, sink.arrays)) <= 1 << 20


def test_buffers_are_aligned() -> None:
    stored = Pickle().dumps([Memory(bytearray(b"\xaa" * BIG)), Memory(bytearray(b"\xbb" * BIG))])

    assert stored.index(b"\xaa" * BIG) % 64 == 0
    assert stored.index(b"\xbb" * BIG) % 64 == 0


def test_a_refusal_names_the_type_that_cannot_be_pickled() -> None:
    with pytest.raises(SerializationError, match=r"\bgenerator cannot be pickled"):
        Pickle().dumps({"a": [Node("b"), (x for x in "secret")]})
    with pytest.raises(SerializationError, match=r"\block cannot be pickled"):
        Pickle().dumps([threading.Lock()])


def test_what_is_nested_too_deeply_is_refused() -> None:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(SerializationError, match="nested too deeply"):
        Pickle().dumps(value)
    while value:  # taken apart by hand: freeing it at once would go as deep
        value = value[0]  # type: ignore[assignment]


class NearlyFull(io.RawIOBase):
    def __init__(self) -> None:
        super().__init__()
        self.left = 30

    def write(self, data: object, /) -> int:
        self.left -= len(memoryview(data))  # type: ignore[arg-type]  # what a sink is given
        if self.left < 0:
            raise OSError(28, "No space left on device")
        return 0


@pytest.mark.parametrize("value", [1, np.arange(BIG)], ids=["small", "big"])
def test_a_full_disk_is_not_the_fault_of_the_value(value: object) -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        Pickle().dump(value, NearlyFull())  # type: ignore[arg-type]  # all that it needs

    assert not isinstance(caught.value, SerializationError)


def test_functions_and_classes_of_modules_travel_by_name() -> None:
    assert b"cloudpickle" not in Pickle().dumps([Node, len, Path.exists, Node("a")])


def test_a_lambda_and_a_local_class_travel_by_value() -> None:
    @dataclass
    class Local:
        x: int

    add, value = Pickle().loads(Pickle().dumps([lambda x: x + 1, Local(5)]))  # type: ignore[misc]  # a list of two

    assert add(2) == 3
    assert value == Local(5)


MAIN = """
import enum, sys
from dataclasses import dataclass
from strongroom_pickle import Pickle

FACTOR = 3

@dataclass
class Item:
    price: int

    def total(self):
        return times(self.price)

class Size(enum.Enum):
    SMALL = 1

def times(number):
    return FACTOR * number

sys.stdout.buffer.write(Pickle().dumps({"items": [Item(5)], "size": Size.SMALL, "f": times, "type": Item}))
"""

OTHER = """
import sys
from strongroom_pickle import Pickle

value = Pickle().load(sys.stdin.buffer)
print(value["items"][0].total(), value["size"].name, value["f"](2), type(value["items"][0]) is value["type"])
"""


def run(program: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", program], input=stdin, capture_output=True, check=False)


def test_what_is_made_in_main_is_found_in_another_process() -> None:
    written = run(MAIN)
    read = run(OTHER, written.stdout)

    assert read.stdout.decode().split() == ["15", "SMALL", "6", "True"], (written.stderr, read.stderr)


SINGLETON = """
from strongroom_pickle import Pickle

class Missing:
    def __reduce__(self):
        return "MISSING"

MISSING = Missing()
Pickle().dumps([MISSING])
"""


def test_what_is_only_a_name_in_main_is_refused_rather_than_lost() -> None:
    assert b"SerializationError" in run(SINGLETON).stderr


def test_it_takes_whatever_is_left() -> None:
    assert strongroom_choose_serializer(object()) == "pickle"


def test_the_plugin_is_imported_without_cloudpickle() -> None:
    program = "import sys, strongroom_pickle; print([name for name in sys.modules if 'cloudpickle' in name])"

    assert run(program).stdout.strip() == b"[]"


class Raw:
    """Comes back as a bytearray, so that what is stored names nothing but that."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[object, ...]:
        return bytearray, (pickle.PickleBuffer(self.data),)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("plain.pickle", {"a": [1, (2.5, None)], "b": b"\0\xff"}, {"a": [1, (2.5, None)], "b": b"\0\xff"}),
        (
            "buffers.pickle",
            [Raw(b"\xaa" * (1 << 16)), Raw(b"b"), 1],
            [bytearray(b"\xaa" * (1 << 16)), bytearray(b"b"), 1],
        ),
    ],
)
def test_what_was_written_once_can_be_read_for_ever(name: str, value: object, expected: object) -> None:
    stored = vector(VECTORS / name, lambda: Pickle().dumps(value))

    assert difference(expected, Pickle().loads(stored)) is None


def test_bytes_of_another_format_are_refused() -> None:
    for stored in (b"", pickle.dumps(1), b"strongroom-pickle/2\n", Pickle().dumps(1) + b"\0", Pickle().dumps(1) * 2):
        with pytest.raises(SerializationError, match="what is stored cannot be read"):
            Pickle().loads(stored)


def test_a_part_of_an_unknown_kind_is_refused() -> None:
    stored = Pickle().dumps(1)
    for changed in (stored.replace(b"E\0", b"X\0"), stored.replace(b"E\0", b"E\1"), stored.replace(b"P\0", b"B\0")):
        with pytest.raises(SerializationError, match="what is stored cannot be read"):
            Pickle().loads(changed)
