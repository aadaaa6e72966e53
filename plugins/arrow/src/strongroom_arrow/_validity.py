# SPDX-License-Identifier: Apache-2.0
"""Is a batch valid? The texts of a long one are looked through while it is being written."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["checked"]

_LONG: Final = 4 << 20
"""To look through less than this takes no longer than to start a thread for it."""


@contextlib.contextmanager
def checked(part: pa.RecordBatch) -> Iterator[None]:
    """Write *part* as a stream in here: what would be found invalid when it is read had better not be written.

    Raises:
        pa.ArrowException: it is not valid, which may be found out only after it was written.
    """
    # Of texts a stream needs the first and the last offset, which this looks at: their memory is not left.
    part.validate()
    texts = [column for column in part.columns if _is_text(column.type)]
    for column in part.columns:
        if not _is_text(column.type):
            column.validate(full=True)
    check = _Check(texts) if sum(text.nbytes for text in texts) >= _LONG else None
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

    def __init__(self, texts: Sequence[pa.Array]) -> None:
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


def _check(texts: Sequence[pa.Array]) -> None:
    for text in texts:
        text.validate(full=True)
