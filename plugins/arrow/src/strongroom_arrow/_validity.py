# SPDX-License-Identifier: Apache-2.0
"""Is a batch valid? The texts of a long one are looked through while it is being written."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final, TypeAlias

import pyarrow as pa

from strongroom_arrow._errors import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["checked"]

_Columns: TypeAlias = "Sequence[tuple[str, pa.Array]]"
"""Each with its name."""


_LONG: Final = 4 << 20
"""To look through less than this takes no longer than to start a thread for it."""


@contextlib.contextmanager
def checked(part: pa.RecordBatch) -> Iterator[None]:
    """Write *part* as a stream in here: what would be found invalid when it is read had better not be written.

    Raises:
        SerializationError: it is not valid, which may be found out only after it was written.
    """
    # Of texts a stream needs the first and the last offset, which this looks at: their memory is not left.
    part.validate()
    columns = list(zip(part.schema.names, part.columns, strict=True))
    texts = [(name, column) for name, column in columns if _is_text(column.type)]
    _check([(name, column) for name, column in columns if not _is_text(column.type)])
    check = _Check(texts) if sum(text.nbytes for _, text in texts) >= _LONG else None
    if check is None or not check.started():
        _check(texts)
        yield
        return
    try:
        yield
    finally:
        check.join()
    if check.failure is not None:
        raise check.failure


class _Check(threading.Thread):
    """Looks through texts. It holds Python's lock as little as whoever writes them does."""

    def __init__(self, texts: _Columns) -> None:
        super().__init__(name="strongroom-arrow-check", daemon=True)
        self._texts = texts
        self.failure: BaseException | None = None

    def started(self) -> bool:
        """Start it; False if the system has no thread left."""
        try:
            self.start()
        except RuntimeError:
            return False
        return True

    def run(self) -> None:
        try:
            _check(self._texts)
        except BaseException as exc:  # whatever it is, nothing was found to be valid
            self.failure = exc


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_))


def _check(columns: _Columns) -> None:
    for name, column in columns:
        try:
            column.validate(full=True)
        except pa.ArrowException as exc:
            raise refusal("it is not valid, as text that is no UTF-8 is not", f"$[{name!r}]") from exc
