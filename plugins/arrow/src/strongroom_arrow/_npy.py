# SPDX-License-Identifier: Apache-2.0
"""Which arrays can the header of a ``.npy`` file describe, so that they come back the same anywhere?"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.lib import format as npy

from strongroom_arrow._errors import PayloadError, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_START", "Header", "encode", "read"]

DType: TypeAlias = np.dtype[np.generic]
Take: TypeAlias = Callable[[int], bytes | bytearray]

# Version -> encoding of the text, and how many bytes say how long it is.
_LATIN, _UTF8 = (1, 0), (3, 0)
_VERSIONS: Final[Mapping[bytes, tuple[str, int]]] = MappingProxyType(
    {npy.magic(*_LATIN): ("latin-1", 2), npy.magic(*_UTF8): ("utf-8", 4)}
)
_MAX_TEXT: Final = 0xFFFF
MAX_START: Final = npy.MAGIC_LEN + 4 + _MAX_TEXT
"""No file has its values later than here."""

_FIELDS: Final = ("descr", "fortran_order", "shape")
# Values of these kinds are bytes of a fixed size, with one meaning everywhere.
_PLAIN_KINDS: Final = frozenset("biufcmMSUV")
# A long double has another size and meaning on other machines.
_LONG_DOUBLES: Final = frozenset("gG")


@dataclass(frozen=True, slots=True)
class Header:
    """What the bytes of an array mean."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: DType


def encode(header: Header) -> bytes:
    """The start of a file, up to the values, a multiple of 64 bytes long.

    Raises:
        SerializationError: the array would not come back unchanged.
    """
    _check_dtype(header.dtype)
    try:
        text = repr(dict(zip(_FIELDS, (npy.dtype_to_descr(header.dtype), header.fortran, header.shape), strict=True)))
        found = _decode_text(text)
    except (ValueError, TypeError) as exc:
        raise refusal(f"a .npy file cannot describe its dtype ({header.dtype.kind})") from exc
    if found != header or not _has_same_types(found.dtype, header.dtype):
        raise refusal(f"its dtype ({header.dtype.kind}) would come back changed")
    magic = npy.magic(*(_LATIN if text.isascii() else _UTF8))
    return _framed(magic, text)


def read(take: Take) -> Header:
    """The header that *take*, which gives the next bytes, finds next.

    Raises:
        PayloadError: it is none, or describes what `encode` would refuse.
    """
    known = _VERSIONS.get(bytes(take(npy.MAGIC_LEN)))
    if known is None:
        raise PayloadError("its .npy file is of a version that this plugin does not read")
    encoding, width = known
    size = int.from_bytes(take(width), "little")
    text = take(size) if size <= _MAX_TEXT else b""
    try:
        header = _decode_text(text.decode(encoding))
        _check_dtype(header.dtype)
    # The parser of literals may also run out of stack or memory.
    except (ValueError, TypeError, LookupError, SyntaxError, RecursionError, MemoryError) as exc:
        raise PayloadError("the header of its .npy file is not one that this plugin reads") from exc
    return header


def _framed(magic: bytes, text: str) -> bytes:
    encoding, width = _VERSIONS[magic]
    data = text.encode(encoding)
    data += b" " * (-(len(magic) + width + len(data) + 1) % npy.ARRAY_ALIGN) + b"\n"
    if len(data) > _MAX_TEXT:
        raise refusal("its dtype has too many fields for the header of a .npy file")
    return magic + len(data).to_bytes(width, "little") + data


def _decode_text(text: str) -> Header:
    # NumPy's own parser also takes what Python 2 wrote, and whatever else can be read as that.
    fields = ast.literal_eval(text.strip())
    if type(fields) is not dict or sorted(fields) != list(_FIELDS):
        raise ValueError
    shape, fortran = fields["shape"], fields["fortran_order"]
    if type(shape) is not tuple or type(fortran) is not bool:
        raise ValueError
    if any(type(extent) is not int for extent in shape):
        raise ValueError
    return Header(shape, fortran, npy.descr_to_dtype(fields["descr"]))


def _check_dtype(dtype: DType, where: str = "$") -> None:
    if dtype.kind == "T":
        raise refusal("its texts may have any length; give each the room of the longest, with astype('U')", where)
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


def _has_same_types(one: DType, other: DType) -> bool:
    """True if the fields have the same scalar types: for NumPy a dtype of records equals one of plain fields."""
    if one.kind == "V" and one.type is not other.type:
        return False
    if one.subdtype is not None and other.subdtype is not None:
        return _has_same_types(one.subdtype[0], other.subdtype[0])
    fields = zip((one.fields or {}).values(), (other.fields or {}).values(), strict=True)
    return all(_has_same_types(here, there) for (here, *_), (there, *_) in fields)
