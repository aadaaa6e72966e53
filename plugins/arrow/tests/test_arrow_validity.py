# SPDX-License-Identifier: Apache-2.0
"""Is a long table looked through while it is written, and refused when it is not valid?"""

from __future__ import annotations

import errno
import io
import threading

import numpy as np
import pyarrow as pa
import pytest

from strongroom.errors import SerializationError
from strongroom_arrow._serializer import ArrowIPC

ROWS = 1 << 20
END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def texts(data: bytes, offsets: np.ndarray | None = None) -> pa.Array:
    """Texts of eight bytes each, unless *offsets* say otherwise."""
    if offsets is None:
        offsets = np.arange(0, len(data) + 1, 8, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def no_text() -> pa.Array:
    return texts(b"a secret" * (ROWS - 1) + b"a secre\xff")


def no_offsets() -> pa.Array:
    offsets = np.arange(0, 8 * ROWS + 1, 8, dtype=np.int32)
    offsets[ROWS // 2] = 1 << 30
    return texts(b"a secret" * ROWS, offsets)


@pytest.fixture
def table() -> pa.Table:
    return pa.table({"a": texts(b"a secret" * ROWS), "b": np.arange(ROWS)})


@pytest.mark.parametrize("broken", [no_text, no_offsets])
def test_a_long_table_that_is_not_valid_is_refused_and_gets_no_end_mark(
    serializer: ArrowIPC, table: pa.Table, broken: object
) -> None:
    sink = io.BytesIO()

    with pytest.raises(SerializationError, match=r"at \$\['c'\]: it is not valid") as caught:
        serializer.dump(table.append_column("c", broken()), sink)  # type: ignore[operator]  # one of the two above

    assert "secre" not in str(caught.value)
    assert not sink.getvalue().endswith(END)


def test_a_long_table_is_looked_through_although_the_system_has_no_thread_left(
    serializer: ArrowIPC, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = serializer.dumps(table)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)

    assert serializer.dumps(table) == expected
    with pytest.raises(SerializationError, match=r"at \$\['c'\]: it is not valid"):
        serializer.dumps(table.append_column("c", no_text()))


def test_a_sink_that_fails_under_a_long_table_is_heard_and_leaves_no_thread_behind(
    serializer: ArrowIPC, table: pa.Table
) -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            if self.tell() > 1 << 20:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)  # type: ignore[arg-type]

    before = set(threading.enumerate())

    with pytest.raises(OSError, match="No space"):
        serializer.dump(table, Full())

    assert set(threading.enumerate()) <= before
