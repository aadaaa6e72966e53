# SPDX-License-Identifier: Apache-2.0
"""The files that a value's bytes pass through."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from strongroom._buffers import BufferReader, private_copy


@given(data=st.binary(max_size=50), sizes=st.lists(st.integers(-1, 20), max_size=6), start=st.integers(0, 60))
def test_memory_is_read_like_a_file(data: bytes, sizes: list[int], start: int) -> None:
    memory, file = BufferReader(memoryview(data)), io.BytesIO(data)
    memory.seek(start)
    file.seek(start)

    assert [memory.read(size) for size in sizes] == [file.read(size) for size in sizes]
    assert memory.tell() == file.tell()


def test_a_private_copy_is_what_was_seen_of_it_while_it_was_made() -> None:
    data = bytes(range(256)) * 20_000

    copy, chunks = private_copy(io.BytesIO(data + b"more"), len(data), keep_in_memory=True)
    seen = b"".join(chunks)

    assert seen == data
    assert copy.read() == data


def test_a_private_copy_of_what_is_too_short_ends_with_it() -> None:
    _, chunks = private_copy(io.BytesIO(b"short"), 10, keep_in_memory=True)

    assert b"".join(chunks) == b"short"
