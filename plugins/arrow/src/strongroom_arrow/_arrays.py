# SPDX-License-Identifier: Apache-2.0
"""How is a NumPy array kept? As a ``.npy`` file, which everybody can read, with its memory written as it is."""

from __future__ import annotations

import ast
import io
import math
from typing import TYPE_CHECKING, BinaryIO, Final, TypeAlias, cast

import numpy as np
from numpy.lib import format as npy

from strongroom_arrow._bytes import PIECE, Content, Pieces, Replay
from strongroom_arrow._errors import PayloadError, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check", "dump", "load"]

Array: TypeAlias = "np.ndarray[tuple[int, ...], np.dtype[np.generic]]"
Header: TypeAlias = "tuple[tuple[int, ...], bool, np.dtype[np.generic]]"

_VERSION: Final = (1, 0)
_HEADER_AT: Final = npy.MAGIC_LEN + 2
_FIELDS: Final = ("descr", "fortran_order", "shape")
# Values of these kinds are bytes of a fixed size, with one meaning everywhere.
_PLAIN_KINDS: Final = frozenset("biufcmMSUV")
# A long double has another size and meaning on other machines.
_LONG_DOUBLES: Final = frozenset("gG")


def check(value: object) -> None:
    """Raise SerializationError if *value* would not come back unchanged."""
    _header(_array(value))


def dump(value: object, sink: BinaryIO) -> None:
    """Write *value*; what is contiguous is not copied, the rest is copied a piece at a time."""
    array = _array(value)
    pieces = Pieces(sink)
    pieces.write(_header(array))
    for part in _parts(array):
        pieces.write(part)


def load(content: Content) -> Array:
    """The array in *content*: a view of it if that is memory, and then as writable as that is."""
    if isinstance(content, memoryview):
        return _view(content)
    return _read(content)


def _array(value: object) -> Array:
    if type(value) is not np.ndarray:
        raise refusal(f"{type(value).__qualname__} is no plain array; convert it with numpy.asarray if that will do")
    return value


def _header(array: Array) -> bytes:
    """The start of the file, up to the values."""
    _check_dtype(array.dtype)
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    out = io.BytesIO()
    try:
        descr = npy.dtype_to_descr(array.dtype)
        npy.write_array_header_1_0(out, {"descr": descr, "fortran_order": fortran, "shape": array.shape})
        written = _parse(out.getvalue())
    except (ValueError, TypeError) as exc:
        raise refusal(f"a .npy file cannot describe its dtype ({array.dtype.kind})") from exc
    if written != (array.shape, fortran, array.dtype) or not _same_types(written[2], array.dtype):
        raise refusal(f"its dtype ({array.dtype.kind}) would come back changed")
    return out.getvalue()


def _check_dtype(dtype: np.dtype[np.generic], where: str = "$") -> None:
    if dtype.hasobject or dtype.kind == "O":
        raise refusal("an array of objects would need pickle; give it a dtype that is not object", where)
    if dtype.kind not in _PLAIN_KINDS or dtype.char in _LONG_DOUBLES:
        raise refusal(f"the dtype {dtype.name} does not mean the same everywhere; convert it with astype", where)
    if dtype.metadata or dtype.isalignedstruct:
        raise refusal("a .npy file loses the metadata and the alignment of a dtype", where)
    if dtype.subdtype is not None:
        _check_dtype(dtype.subdtype[0], where)
    for name, (field, *_) in (dtype.fields or {}).items():
        _check_dtype(field, f"{where}[{name!r}]")


def _same_types(one: np.dtype[np.generic], other: np.dtype[np.generic]) -> bool:
    """True if the fields have the same scalar types: for NumPy a dtype of records equals one of plain fields."""
    if one.kind == "V" and one.type is not other.type:
        return False
    if one.subdtype is not None and other.subdtype is not None:
        return _same_types(one.subdtype[0], other.subdtype[0])
    fields = zip((one.fields or {}).values(), (other.fields or {}).values(), strict=True)
    return all(_same_types(here, there) for (here, *_), (there, *_) in fields)


def _parts(array: Array) -> Iterator[memoryview]:
    """The bytes of the values, in the order that the header states."""
    if array.nbytes == 0:
        return
    if array.flags.c_contiguous or array.flags.f_contiguous:
        flat = array if array.flags.c_contiguous else array.T
        yield _bytes_of(flat.reshape(-1))
        return
    size = max(1, PIECE // array.itemsize)
    pieces = np.nditer(array, flags=["external_loop", "buffered"], order="C", buffersize=size)
    for piece in cast("Iterator[Array]", pieces):
        yield _bytes_of(np.ascontiguousarray(piece))


def _bytes_of(flat: Array) -> memoryview:
    # By way of uint8, because the buffer protocol has no words for dates and the like.
    return flat.view(np.uint8).data


def _parse(data: bytes) -> Header:
    """The header at the start of *data*; ValueError if there is none."""
    magic, text = data[: npy.MAGIC_LEN], data[_HEADER_AT:]
    if magic != npy.magic(*_VERSION):
        raise ValueError
    # NumPy's own parser also takes what Python 2 wrote, and whatever else can be read as that.
    header = ast.literal_eval(text.decode("latin-1").strip())
    shape, fortran = header["shape"], header["fortran_order"]
    if len(header) != len(_FIELDS) or type(shape) is not tuple or type(fortran) is not bool:
        raise ValueError
    if any(type(extent) is not int or extent < 0 for extent in shape):
        raise ValueError
    return shape, fortran, npy.descr_to_dtype(header["descr"])


def _parse_untrusted(data: bytes) -> Header:
    try:
        shape, fortran, dtype = _parse(data)
        _check_dtype(dtype)
    # The parser of literals may also run out of stack or memory.
    except (ValueError, TypeError, LookupError, SyntaxError, RecursionError, MemoryError) as exc:
        raise PayloadError("the header of its .npy file is not one that this version reads") from exc
    return shape, fortran, dtype


def _header_size(start: bytes) -> int:
    if len(start) < _HEADER_AT:
        raise PayloadError("it ends too early")
    return _HEADER_AT + int.from_bytes(start[npy.MAGIC_LEN :], "little")


def _view(content: memoryview) -> Array:
    offset = _header_size(bytes(content[:_HEADER_AT]))
    shape, fortran, dtype = _parse_untrusted(bytes(content[:offset]))
    _check_size(len(content) - offset, shape, dtype)
    try:
        return np.ndarray(shape, dtype, buffer=content, offset=offset, order="F" if fortran else "C")
    except ValueError as exc:
        raise PayloadError("its header asks for an array that cannot be made") from exc


def _check_size(size: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    if size != math.prod(shape) * dtype.itemsize:
        raise PayloadError("it is shorter or longer than its header says")


def _read(content: Replay) -> Array:
    start = bytes(content.read(_HEADER_AT))
    shape, fortran, dtype = _parse_untrusted(start + content.read(_header_size(start) - len(start)))
    try:
        array = np.empty(shape, dtype, order="F" if fortran else "C")
    except (ValueError, MemoryError) as exc:
        raise PayloadError("its header asks for an array that cannot be made") from exc
    if array.nbytes:
        flat = array.T if fortran else array
        content.fill(_bytes_of(flat.reshape(-1)))
    if content.read(1):
        raise PayloadError("it is longer than its header says")
    return array
