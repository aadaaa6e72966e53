# SPDX-License-Identifier: Apache-2.0
"""Does the codec keep its promises, and is it zstd?"""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.abc import CodecContext
from strongroom.errors import SettingsError, StorageError
from strongroom.testing import CodecTests, vector
from strongroom_compressed import Zstd

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTEXT = CodecContext(binding=b"one record")
VECTORS = Path(__file__).parents[3] / "tests" / "vectors" / "compressed"
TEXT = b"".join(b"line %d of a text that repeats itself\n" % number for number in range(200))


def encode(data: bytes, level: int = 3) -> bytes:
    sink = io.BytesIO()
    with Zstd(level).writer(sink, CONTEXT) as writer:
        writer.write(data)
    return sink.getvalue()


def decode(data: bytes) -> bytes:
    return Zstd().reader(io.BytesIO(data), CONTEXT).read()


class TestZstd(CodecTests):
    codec = Zstd()


class TestTheSmallestZstd(CodecTests):
    codec = Zstd(level=19)


@given(st.lists(st.binary(max_size=300)), st.integers(1, 19))
def test_pieces_come_back_as_one(pieces: list[bytes], level: int) -> None:
    sink = io.BytesIO()

    with Zstd(level).writer(sink, CONTEXT) as writer:
        for piece in pieces:
            writer.write(piece)

    assert decode(sink.getvalue()) == b"".join(pieces)


def test_other_tools_can_read_it() -> None:
    assert zstd.decompress(encode(TEXT)) == TEXT


def test_it_gets_smaller() -> None:
    assert len(encode(TEXT)) < len(TEXT) / 5


def test_a_higher_level_makes_it_smaller_still() -> None:
    assert len(encode(TEXT * 20, level=19)) < len(encode(TEXT * 20, level=1))


@pytest.mark.parametrize("level", [0, 20, -1, 3.0, True, "3"])
def test_a_level_that_zstd_or_a_reader_cannot_have_is_refused(level: object) -> None:
    with pytest.raises(SettingsError, match="from 1 to 19"):
        Zstd(level)  # type: ignore[arg-type]  # that is the point


def test_the_level_travels_with_the_codec() -> None:
    assert pickle.loads(pickle.dumps(Zstd(level=7))) == Zstd(level=7)


def test_every_changed_byte_is_noticed() -> None:
    encoded = encode(TEXT)
    for place in range(len(encoded)):
        changed = bytearray(encoded)
        changed[place] ^= 1

        # Some bits of the frame's header mean nothing to the value; then it has to come back as it was.
        try:
            assert decode(bytes(changed)) == TEXT
        except StorageError:
            continue


def test_a_damaged_checksum_is_noticed() -> None:
    encoded = encode(TEXT)

    with pytest.raises(StorageError, match="damaged"):
        decode(encoded[:-1] + bytes([encoded[-1] ^ 1]))


def test_bytes_that_were_cut_off_are_named_so() -> None:
    with pytest.raises(StorageError, match="cut off"):
        decode(encode(TEXT)[:-1])


def test_a_second_frame_is_not_taken_for_more_of_the_first() -> None:
    with pytest.raises(StorageError, match="other bytes after"):
        decode(encode(b"one") + encode(b"two"))


def test_a_frame_that_wants_too_much_memory_is_refused() -> None:
    options = {zstd.CompressionParameter.window_log: 28, zstd.CompressionParameter.enable_long_distance_matching: 1}
    sink = io.BytesIO()
    compressor = zstd.ZstdCompressor(options=options)
    sink.write(compressor.compress(b"a few bytes") + compressor.flush())

    with pytest.raises(StorageError, match="too much memory"):
        decode(sink.getvalue())


def test_a_with_block_that_fails_leaves_nothing_that_looks_complete() -> None:
    sink = io.BytesIO()

    with pytest.raises(TypeError), Zstd().writer(sink, CONTEXT) as writer:
        writer.writelines([TEXT, "this is no bytes"])  # type: ignore[list-item]  # that is the point

    with pytest.raises(StorageError, match="cut off"):
        decode(sink.getvalue())


BOMB = """
import io, resource, sys
from strongroom.abc import CodecContext
from strongroom_compressed import Zstd

context, sink, zeros = CodecContext(binding=b""), io.BytesIO(), bytes(1 << 20)
with Zstd().writer(sink, context) as writer:
    for _ in range(400):
        writer.write(zeros)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reader = Zstd().reader(io.BytesIO(sink.getvalue()), context)
size = sum(len(piece) for piece in iter(lambda: reader.read(1 << 16), b""))
print(len(sink.getvalue()), size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_bomb_that_is_read_in_pieces_takes_no_memory() -> None:
    ran = subprocess.run([sys.executable, "-c", BOMB], capture_output=True, check=True, text=True)

    compressed, size, kilobytes = map(int, ran.stdout.split())

    assert size == 400 << 20
    assert compressed < 1 << 16
    assert kilobytes < 16 << 10


def test_the_plugin_is_imported_without_zstd() -> None:
    program = "import sys, strongroom_compressed; print([name for name in sys.modules if 'zstd' in name])"

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)

    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "data", "level"),
    [("empty.zst", b"", 3), ("text-level-3.zst", TEXT, 3), ("text-level-19.zst", TEXT, 19)],
)
def test_what_was_written_once_can_be_read_for_ever(name: str, data: bytes, level: int) -> None:
    assert decode(vector(VECTORS / name, lambda: encode(data, level))) == data
