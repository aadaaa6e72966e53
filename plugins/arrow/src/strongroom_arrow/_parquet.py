# SPDX-License-Identifier: Apache-2.0
"""How do tables and frames become a Parquet file that leads back to them, and how much may a file ask for?

Parquet has types of its own, and Arrow's are mapped to them and back. Whether a schema survives that is tried with an
empty file. Pages are neither compressed nor encoded by dictionaries: a codec around the serializer compresses all of
it. So what a file becomes has to do with its size, and one that becomes much more is refused: before it is read if its
pages say so, else while it is, a few rows at a time. pyarrow is not asked what a file says of itself: it ends the
process over some that are forged.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from strongroom_arrow import _layout
from strongroom_arrow._bytes import Counted
from strongroom_arrow._errors import PARQUET, PayloadError, refusal
from strongroom_arrow._pages import values_in
from strongroom_arrow._streams import check_schema, with_own_metadata
from strongroom_arrow._types import foreign_field, has_dictionary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["read", "write"]

_ROWS: Final = 1 << 20
_ROWS_AT_ONCE: Final = 1 << 14
_ALWAYS_FINE: Final = 64 << 20
_MOST_TIMES: Final = 1 << 10
_IN_ONE_PIECE: Final = ("pyarrow.RecordBatch", "pyarrow.Array")


def write(sink: BinaryIO, schema: pa.Schema, parts: Iterable[pa.RecordBatch], description: _layout.Description) -> None:
    """Write *parts* one by one, each as one group of rows or more."""
    check_schema(schema)
    told = schema.with_metadata({**(schema.metadata or {}), _layout.KEY: _layout.encode(description)})
    _check_comes_back(told)
    counted, taken = Counted(sink), 0
    try:
        writer = _writer(counted, told)
        for part in parts:
            # What would be found invalid when it is read had better not be written.
            part.validate(full=True)
            writer.write_batch(part, row_group_size=_ROWS)
            taken += max(2 * part.nbytes, part.num_rows * part.num_columns)
        # Only here, not in a `with`: a file that broke off must not get its footer.
        writer.close()
    except (pa.ArrowException, UnicodeError) as exc:
        raise refusal(f"Parquet refuses to write it ({type(exc).__name__})", id_=PARQUET) from exc
    # Twice its bytes, since it may be laid out differently when it is read.
    if taken > _most(counted.tell()):
        raise refusal("nearly all of it is missing values, which no reader would unpack; use arrow", id_=PARQUET)


def read(content: memoryview) -> tuple[pa.Table, _layout.Description]:
    """The table in *content*, and what it stands for.

    Raises:
        PayloadError: it is not one whole file that `write` wrote, or what is in it is not valid.
    """
    try:
        if values_in(content) > _most(len(content)):
            raise PayloadError("it would unpack to much more than it is")
        file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(content)), pre_buffer=False)
        description = _layout.decode((file.schema_arrow.metadata or {}).get(_layout.KEY, b""))
        if foreign_field(file.schema_arrow) is not None:
            raise PayloadError("it has an extension type that is not Arrow's own")
        table = pa.Table.from_batches(_bounded(file, _most(len(content))), file.schema_arrow)
        table.validate(full=True)
    except PayloadError as exc:
        raise PayloadError(exc.reason, PARQUET) from None
    except (pa.ArrowException, OSError, LookupError, TypeError, ValueError, MemoryError) as exc:
        raise PayloadError("it is not a whole and valid Parquet file", PARQUET) from exc
    if table.num_rows != description.rows:
        raise PayloadError("it has more or fewer rows than it says", PARQUET)
    # It was read in pieces; what is one piece becomes one again.
    whole = table.combine_chunks() if description.kind in _IN_ONE_PIECE else table
    return with_own_metadata(whole), description


def _writer(sink: Counted | io.BytesIO, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        sink, schema, version="2.6", compression="none", use_dictionary=False, use_compliant_nested_type=False
    )


def _check_comes_back(schema: pa.Schema) -> None:
    if not schema.names:
        raise refusal("it has no columns, and Parquet forgets how many rows that are", id_=PARQUET)
    for field in schema:
        if has_dictionary(field):
            reason = "Parquet forgets the categories that no row has, and their order; use the serializer arrow"
            raise refusal(reason, f"$[{field.name!r}]", id_=PARQUET)
    file = io.BytesIO()
    try:
        with _writer(file, schema) as writer:
            writer.write_table(schema.empty_table())
        again = pq.read_schema(io.BytesIO(file.getvalue()))
    # pyarrow itself has no way yet to write some of the extension types that it has.
    except (pa.ArrowException, NotImplementedError, OSError, TypeError, ValueError) as exc:
        raise refusal(
            f"Parquet has no such type ({type(exc).__name__}); use the serializer arrow", id_=PARQUET
        ) from exc
    for field, other in zip(schema, again, strict=True):
        if not field.equals(other, check_metadata=True):
            reason = f"the type {field.type} would come back from Parquet as another; use the serializer arrow"
            raise refusal(reason, f"$[{field.name!r}]", id_=PARQUET)


def _bounded(file: pq.ParquetFile, most: int) -> Iterator[pa.RecordBatch]:
    taken = 0
    for batch in file.iter_batches(_ROWS_AT_ONCE, use_threads=False):
        taken += batch.nbytes
        if taken > most:
            raise PayloadError("it would unpack to much more than it is")
        yield batch


def _most(size: int) -> int:
    """What a file of *size* bytes may become."""
    return max(_ALWAYS_FINE, size * _MOST_TIMES)
