# SPDX-License-Identifier: Apache-2.0
"""What does a stream say about its value that Arrow's own schema does not? A closed list, strictly decoded."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from strongroom_arrow._errors import PayloadError

__all__ = [
    "KEY",
    "VERSION",
    "ArrowColumn",
    "Category",
    "Description",
    "Dtype",
    "Frame",
    "Kind",
    "Level",
    "Levels",
    "Masked",
    "MaskedName",
    "Missing",
    "Name",
    "NumPy",
    "Objects",
    "ObjectsOf",
    "Range",
    "Text",
    "Zoned",
    "decode",
    "encode",
]

KEY: Final = b"strongroom.arrow"
"""The key in the schema's metadata."""

VERSION: Final = 1

Kind: TypeAlias = Literal[
    "pyarrow.Table",
    "pyarrow.RecordBatch",
    "pyarrow.Array",
    "pyarrow.ChunkedArray",
    "pandas.DataFrame",
    "pandas.Series",
    "polars.DataFrame",
    "polars.Series",
]
Plain: TypeAlias = bool | int | str | None
Name: TypeAlias = Plain | tuple[Plain, ...]
"""The name of a series, of an index or of one of its levels."""

MaskedName: TypeAlias = Literal[
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "boolean"
]
Missing: TypeAlias = Literal["None", "nan", "NA"]
ObjectsOf: TypeAlias = Literal["str", "bytes", "bool", "date", "nothing"]
Unit: TypeAlias = Literal["s", "ms", "us", "ns"]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="is"):
    """A struct that refuses what it does not know."""


class NumPy(_Strict, frozen=True, tag="numpy"):
    """A column of a NumPy dtype, such as ``<i8`` or ``<M8[ns]``."""

    dtype: Annotated[str, msgspec.Meta(pattern=r"^[<>|][biufmM][1248](\[(s|ms|us|ns)\])?$")]


class Masked(_Strict, frozen=True, tag="masked"):
    """A column of one of pandas' nullable dtypes."""

    dtype: MaskedName


class Text(_Strict, frozen=True, tag="string"):
    """A column of one of pandas' string dtypes."""

    storage: Literal["python", "pyarrow"]
    missing: Literal["nan", "NA"]


class Objects(_Strict, frozen=True, tag="object"):
    """A column of Python objects that are all of one type, or missing."""

    of: ObjectsOf
    missing: Missing


class Zoned(_Strict, frozen=True, tag="zoned"):
    """Times in a zone: of the zone database, by way of zoneinfo or pytz, or so many seconds east of UTC."""

    unit: Unit
    by: Literal["zoneinfo", "pytz", "offset"]
    zone: str | int


class ArrowColumn(_Strict, frozen=True, tag="arrow"):
    """A column that pandas keeps in Arrow: its dtype is that of the data."""


PlainDtype: TypeAlias = NumPy | Masked | Text | Objects | Zoned | ArrowColumn


class Level(_Strict, frozen=True, tag="level"):
    """An index, or a level of one: its values are a column of the stream."""

    name: Name
    dtype: PlainDtype | Category
    freq: str | None = None


class Range(_Strict, frozen=True, tag="range"):
    """A `pandas.RangeIndex`."""

    name: Name
    start: int
    stop: int
    step: int


class Category(_Strict, frozen=True, tag="category"):
    """A categorical column; its categories are the dictionary of the Arrow column."""

    ordered: bool
    categories: Level | Range


Dtype: TypeAlias = PlainDtype | Category


class Levels(_Strict, frozen=True, tag="levels"):
    """Any other index, with several levels if *multi*."""

    levels: tuple[Level, ...]
    multi: bool


class Frame(_Strict, frozen=True, tag="frame"):
    """How the columns of the stream make a pandas frame: first its columns, then the levels of its index."""

    dtypes: tuple[Dtype, ...]
    index: Range | Levels
    columns: Range | Levels
    labels: bytes | None
    """The labels of the columns, as a stream of their own, unless these are the names of the Arrow fields."""
    attrs: dict[str, object]
    series: Name = None


class Description(_Strict, frozen=True, tag="description"):
    """Which value a stream holds."""

    version: int
    kind: Kind
    rows: Count
    """Arrow does not notice when batches are missing at the end."""
    frame: Frame | None = None
    """For pandas."""
    dtypes: tuple[str, ...] | None = None
    """For polars."""


class _Version(msgspec.Struct, frozen=True):
    version: int


def encode(description: Description) -> bytes:
    """The JSON for the schema's metadata."""
    return msgspec.json.encode(description)


def decode(data: bytes) -> Description:
    """What `encode` was given.

    Raises:
        PayloadError: it is of another version, or anything in it is unknown.
    """
    try:
        # The version comes first, so that what a later one adds is not mistaken for damage.
        version = msgspec.json.decode(data, type=_Version).version
        if version != VERSION:
            raise PayloadError(f"it is of version {version}, and this plugin reads {VERSION}; pip install -U it")
        return msgspec.json.decode(data, type=Description)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise PayloadError("it does not say which value it holds, or says what this version does not know") from exc
