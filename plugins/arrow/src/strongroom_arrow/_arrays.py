# SPDX-License-Identifier: Apache-2.0
"""How is a NumPy array kept? As a ``.npy`` file, which everybody can read, with its memory written as it is."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeAlias, cast

import numpy as np

from strongroom_arrow import _npy
from strongroom_arrow._bytes import PIECE, Content, Pieces, Replay
from strongroom_arrow._errors import PayloadError, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check", "dump", "load", "parts_in_order"]

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.generic]]"


def check(value: object) -> None:
    """Raise SerializationError if *value* would not come back unchanged."""
    _start(_array(value))


def dump(value: object, sink: BinaryIO) -> None:
    """Write *value*; what is contiguous is not copied, the rest is copied a piece at a time."""
    array = _array(value)
    pieces = Pieces(sink)
    pieces.write(_start(array))
    for part in _parts(array):
        pieces.write(part)


def load(content: Content) -> Array:
    """The array in *content*: a view of it if that is memory, and then as writable as that is."""
    return _view(content) if isinstance(content, memoryview) else _read(content)


def _array(value: object) -> Array:
    if type(value) is not np.ndarray:
        raise refusal(f"{type(value).__qualname__} is no plain array; convert it with numpy.asarray if that will do")
    return value


def _start(array: Array) -> bytes:
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    return _npy.encode(_npy.Header(array.shape, fortran, array.dtype))


def _parts(array: Array) -> Iterator[memoryview]:
    """The bytes of the values, in the order that the header states."""
    if array.nbytes == 0:
        return
    if array.flags.c_contiguous or array.flags.f_contiguous:
        yield _bytes_of(array)
        return
    yield from parts_in_order(array)


def parts_in_order(array: Array) -> Iterator[memoryview]:
    """The bytes of the values, the last index running fastest; what is not so in memory is copied a piece at a time."""
    if array.nbytes == 0:
        return
    if array.flags.c_contiguous:
        yield _bytes_of(array)
        return
    size = max(1, PIECE // array.itemsize)
    pieces = np.nditer(array, flags=["external_loop", "buffered"], order="C", buffersize=size)
    for piece in cast("Iterator[Array]", pieces):
        yield _bytes_of(np.ascontiguousarray(piece))


def _bytes_of(array: Array) -> memoryview:
    """The memory of *array*, which is contiguous and not empty."""
    flat = (array if array.flags.c_contiguous else array.T).reshape(-1)
    # By way of uint8, because the buffer protocol has no words for dates and the like.
    return flat.view(np.uint8).data


def _view(content: memoryview) -> Array:
    start = io.BytesIO(content[: _npy.MAX_START])
    header = _npy.read(start.read)
    if len(content) - start.tell() != math.prod(header.shape) * header.dtype.itemsize:
        raise PayloadError("it is shorter or longer than its header says")
    return _made(header, content, start.tell())


def _read(content: Replay) -> Array:
    array = _made(_npy.read(content.read))
    if array.nbytes:
        content.fill(_bytes_of(array))
    if content.read(1):
        raise PayloadError("it is longer than its header says")
    return array


def _made(header: _npy.Header, buffer: memoryview | None = None, offset: int = 0) -> Array:
    order: Literal["C", "F"] = "F" if header.fortran else "C"
    try:
        return np.ndarray(header.shape, header.dtype, buffer=buffer, offset=offset, order=order)
    except (ValueError, MemoryError) as exc:
        raise PayloadError("its header asks for an array that cannot be made") from exc
