# SPDX-License-Identifier: Apache-2.0
"""Does the codec keep what it is given from everybody else, and notice each change?"""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from hypothesis import given
from hypothesis import strategies as st

from strongroom.abc import CodecContext
from strongroom.errors import SealError
from strongroom.testing import CodecTests, vector
from strongroom_encrypted import Encrypted

KEY = bytes(range(32))
CONTEXT = CodecContext(b"one record", data_key=KEY)
VECTORS = Path(__file__).parents[3] / "tests" / "vectors" / "encrypted"
CHUNK, SEALED, HEAD = 16384, 16400, 56
NOISE = random.Random(1).randbytes(5 * CHUNK + 100)


def encode(data: bytes, context: CodecContext = CONTEXT) -> bytes:
    sink = io.BytesIO()
    with Encrypted().writer(sink, context) as writer:
        writer.write(data)
    return sink.getvalue()


def decode(data: bytes, context: CodecContext = CONTEXT) -> bytes:
    return Encrypted().reader(io.BytesIO(data), context).read()


class TestEncrypted(CodecTests):
    codec = Encrypted()
    context = CONTEXT


@given(st.lists(st.binary(max_size=40_000), max_size=5))
def test_pieces_come_back_as_one(pieces: list[bytes]) -> None:
    sink = io.BytesIO()

    with Encrypted().writer(sink, CONTEXT) as writer:
        for piece in pieces:
            writer.write(piece)

    assert decode(sink.getvalue()) == b"".join(pieces)


@pytest.mark.parametrize("begun", [0, 1, CHUNK - 1])
@pytest.mark.parametrize("over", [-1, 0, 1, CHUNK, 2 * SEALED - 1, 2 * SEALED, 2 * SEALED + 1])
def test_what_just_fits_into_a_small_buffer_comes_back(begun: int, over: int) -> None:
    data = (NOISE + NOISE)[: begun + 4 * CHUNK + over]
    sink = io.BytesIO()

    with Encrypted().writer(sink, CONTEXT) as writer:
        writer.write(data[:begun])
        writer.write(data[begun:])

    assert decode(sink.getvalue()) == data


@pytest.mark.parametrize("room", [16 * CHUNK - 1, 16 * CHUNK, 16 * CHUNK + 1, 16 * CHUNK + 2 * SEALED - 1])
def test_a_value_is_read_into_memory_of_any_size(room: int) -> None:
    data = NOISE * 20
    reader, memory, found = Encrypted().reader(io.BytesIO(encode(data)), CONTEXT), bytearray(room), b""

    while count := reader.readinto(memory):  # type: ignore[attr-defined]  # a raw file
        found += memory[:count]

    assert found == data


@pytest.mark.parametrize("length", [0, 1, HEAD - 1, HEAD, HEAD + 15])
def test_what_ends_before_its_first_chunk_does_not_open(length: int) -> None:
    with pytest.raises(SealError):
        decode(encode(NOISE)[:length])


def test_it_is_what_cryptography_alone_reads_and_writes() -> None:
    decryptor = Cobblestone256Decryptor(KEY, b"one record")
    encryptor = Cobblestone256Encryptor(KEY, b"one record")

    assert decryptor.update(encode(NOISE)) + decryptor.finalize() == NOISE
    assert decode(encryptor.update(NOISE) + encryptor.finalize()) == NOISE


def test_nothing_of_the_value_is_left_and_no_two_are_alike() -> None:
    text = b"a text that nobody else should read" * 100

    first, second = encode(text), encode(text)

    assert text[:8] not in first
    assert first[HEAD:] != second[HEAD:]


@pytest.mark.parametrize(
    "context",
    [CodecContext(b"another record", data_key=KEY), CodecContext(b"one record", data_key=bytes(32))],
    ids=["another record", "another key"],
)
def test_another_key_or_record_does_not_open(context: CodecContext) -> None:
    with pytest.raises(SealError):
        decode(encode(NOISE), context)


@pytest.mark.parametrize("data_key", [b"", bytes(16), bytes(33)])
def test_without_a_key_nothing_is_written_or_read(data_key: bytes) -> None:
    context = CodecContext(b"one record", data_key=data_key)

    with pytest.raises(SealError):
        Encrypted().writer(io.BytesIO(), context)
    with pytest.raises(SealError):
        Encrypted().reader(io.BytesIO(encode(b"x")), context)


def test_the_key_does_not_show() -> None:
    assert "data_key" not in repr(CONTEXT)


def test_every_flipped_bit_is_noticed() -> None:
    encoded = encode(b"a short value")

    for bit in range(len(encoded) * 8):
        changed = bytearray(encoded)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealError):
            decode(bytes(changed))


@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize("chunks", range(6))
def test_what_is_cut_off_around_a_chunk_is_noticed(chunks: int, off: int) -> None:
    with pytest.raises(SealError):
        decode(encode(NOISE)[: HEAD + chunks * SEALED + off])


def test_a_value_of_whole_chunks_cannot_lose_its_end() -> None:
    encoded = encode(NOISE[: 3 * CHUNK])

    assert decode(encoded) == NOISE[: 3 * CHUNK]
    for size in (HEAD, HEAD + SEALED, HEAD + 2 * SEALED, len(encoded) - 16):
        with pytest.raises(SealError):
            decode(encoded[:size])


def _chunks(encoded: bytes) -> list[bytes]:
    return [encoded[start : start + SEALED] for start in range(HEAD, len(encoded), SEALED)]


@pytest.mark.parametrize("order", [[1, 0, 2, 3, 4, 5], [0, 1, 1, 2, 3, 4, 5], [0, 2, 3, 4, 5], [0, 1, 2, 3, 5, 4]])
def test_chunks_in_another_order_are_noticed(order: list[int]) -> None:
    encoded = encode(NOISE)
    chunks = _chunks(encoded)

    with pytest.raises(SealError):
        decode(encoded[:HEAD] + b"".join(chunks[index] for index in order))


def test_a_chunk_of_another_message_under_the_same_key_is_noticed() -> None:
    first, second = encode(NOISE), encode(NOISE)

    with pytest.raises(SealError):
        decode(first[:HEAD] + b"".join([_chunks(second)[0], *_chunks(first)[1:]]))


def test_who_reads_on_after_an_error_gets_no_more() -> None:
    encoded = bytearray(encode(NOISE))
    encoded[HEAD + SEALED] ^= 1
    reader = Encrypted().reader(io.BytesIO(bytes(encoded)), CONTEXT)

    for _ in range(3):
        with pytest.raises(SealError):
            reader.read(10)


@pytest.mark.parametrize(
    ("name", "data"), [("empty.bin", b""), ("text.bin", b"a text"), ("chunks.bin", b"0123456789abcdef" * 1025)]
)
def test_what_was_written_once_can_be_read_for_ever(name: str, data: bytes) -> None:
    assert decode(vector(VECTORS / name, lambda: encode(data))) == data


@pytest.mark.parametrize("room", [1 << 20, 1 << 12], ids=["straight into it", "through a buffer"])
def test_what_is_not_authentic_is_not_left_in_the_readers_memory(room: int) -> None:
    data = b"secret!!" * 100_000
    sealed = bytearray(encode(data))
    sealed[400_000] ^= 1
    memory = bytearray(room)
    reader = Encrypted().reader(io.BytesIO(sealed), CONTEXT)

    def read_all() -> None:
        while True:
            memory[:] = b"." * room
            assert reader.readinto(memory)

    with pytest.raises(SealError):
        read_all()

    assert b"secret" not in memory
