# SPDX-License-Identifier: Apache-2.0
"""Does a NumPy array come back as it was, without being copied on the way?"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from strongroom.errors import SerializationError
from strongroom_arrow import ArrowIPC

Same = Callable[[object, object], None]

DTYPES = hnp.array_dtypes(
    hnp.boolean_dtypes()
    | hnp.integer_dtypes(endianness="?")
    | hnp.unsigned_integer_dtypes(endianness="?")
    | hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64))
    | hnp.complex_number_dtypes(endianness="?", sizes=(64, 128))
    | hnp.datetime64_dtypes(endianness="?")
    | hnp.timedelta64_dtypes(endianness="?")
    | hnp.byte_string_dtypes()
    | hnp.unicode_string_dtypes(endianness="?"),
    allow_subarrays=True,
)
ARRAYS = st.one_of(hnp.scalar_dtypes().filter(lambda dtype: dtype.char not in "gG"), DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
)


@given(array=ARRAYS)
def test_an_array_of_any_plain_dtype_and_shape_comes_back(array: np.ndarray, serializer: ArrowIPC, same: Same) -> None:
    data = serializer.dumps(array)

    same(array, serializer.loads(data))
    same(array, serializer.load(io.BufferedReader(io.BytesIO(data))))


@given(array=hnp.arrays("i4", hnp.array_shapes(min_dims=1, max_dims=4)), data=st.data())
def test_an_array_that_is_a_view_comes_back(
    array: np.ndarray, data: st.DataObject, serializer: ArrowIPC, same: Same
) -> None:
    view = array[data.draw(hnp.basic_indices(array.shape, allow_newaxis=True))]
    view = np.asarray(view).transpose(data.draw(st.permutations(range(np.ndim(view)))))

    same(view, serializer.loads(serializer.dumps(view)))


def test_an_array_of_more_than_one_piece_that_is_not_contiguous_comes_back(serializer: ArrowIPC, same: Same) -> None:
    array = np.arange(3 << 20, dtype="u1").reshape(3, 1 << 10, 1 << 10)[::-1, ::3, ::2]

    same(array, serializer.loads(serializer.dumps(array)))


def test_fortran_order_is_kept(serializer: ArrowIPC) -> None:
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))

    found = serializer.loads(serializer.dumps(array))

    assert isinstance(found, np.ndarray)
    assert found.strides == array.strides


def test_the_payload_is_a_file_that_numpy_opens(serializer: ArrowIPC, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(serializer.dumps(np.arange(5)))

    assert np.load(tmp_path / "a.npy", allow_pickle=False).tolist() == [0, 1, 2, 3, 4]


def test_what_numpy_saved_is_a_payload(serializer: ArrowIPC, same: Same) -> None:
    file = io.BytesIO()
    np.save(file, np.arange(5))

    same(np.arange(5), serializer.loads(file.getvalue()))


class Memory(io.BytesIO):
    """A source that lends out memory of its own."""

    def __init__(self, memory: bytes | bytearray) -> None:
        super().__init__()
        self._memory = memory

    def getbuffer(self) -> memoryview:
        return memoryview(self._memory)


def test_an_array_is_a_view_of_private_memory_and_can_be_changed(serializer: ArrowIPC) -> None:
    memory = bytearray(serializer.dumps(np.zeros(4, "u1")))

    array = serializer.load(Memory(memory))

    assert isinstance(array, np.ndarray)
    array[0] = 7
    assert memory[-4:] == b"\7\0\0\0"


def test_an_array_that_is_a_view_of_read_only_memory_cannot_be_changed(serializer: ArrowIPC) -> None:
    array = serializer.load(Memory(serializer.dumps(np.zeros(4))))

    assert isinstance(array, np.ndarray)
    assert not array.flags.writeable


def test_an_array_from_a_source_without_memory_can_be_changed(serializer: ArrowIPC) -> None:
    array = serializer.load(io.BufferedReader(io.BytesIO(serializer.dumps(np.zeros(4)))))

    assert isinstance(array, np.ndarray)
    assert array.flags.writeable


def test_a_file_with_names_that_are_not_ascii_is_one_that_numpy_opens(serializer: ArrowIPC) -> None:
    array = np.zeros(2, [("\u6f22", "i4"), ("\xe9", "f8")])

    found = np.load(io.BytesIO(serializer.dumps(array)), allow_pickle=False)

    assert found.dtype == array.dtype


def test_values_are_aligned_as_long_as_the_payload_is(serializer: ArrowIPC) -> None:
    data = serializer.dumps(np.zeros(3, [("a", "i8"), ("b", "U7")]))

    assert (len(data) - 3 * (8 + 28)) % 64 == 0


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([object()]), "pickle"),
        (np.zeros(1, [("a", [("b", "O")])]), "pickle"),
        (np.zeros(1, "g"), "float128|longdouble"),
        (np.zeros(1, [("a", "G")]), r"\$\['a'\].*complex"),
        (np.zeros(1, np.dtype("i1,i4", align=True)), "alignment"),
        (np.zeros(1, np.dtype("i4", metadata={"unit": "m"})), "metadata"),
        (np.zeros(1, [(f"field {number}", "i4") for number in range(5000)]), "too many fields"),
        (np.zeros(1, np.dtype((np.record, [("a", "i4")]))), "come back changed"),
        (np.zeros(1, {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [4, 0]}), "describe"),
        (np.zeros(1, "i4").view(np.matrix), "matrix"),
        (np.rec.array([(1,)], dtype=[("a", "i4")]), "recarray"),
        (np.ma.array([1], mask=[True]), "MaskedArray"),
        (np.float64(1.5), "float64"),
    ],
)
def test_what_a_file_of_bytes_cannot_keep_is_refused(array: object, reason: str, serializer: ArrowIPC) -> None:
    with pytest.raises(SerializationError, match=reason):
        serializer.dumps(array)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="NumPy has strings of any length from 2.0 on")
def test_strings_of_any_length_are_refused(serializer: ArrowIPC) -> None:
    with pytest.raises(SerializationError, match="any length"):
        serializer.dumps(np.array(["a"], np.dtypes.StringDType()))
