# SPDX-License-Identifier: Apache-2.0
"""Does the codec keep its promises, and is it zstd?"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.abc import Codec, CodecContext
from strongroom.errors import SettingsError, StorageError
from strongroom.testing import CodecTests, vector
from strongroom_compressed import LZ4, XZ, Bzip2, Gzip, Zstd

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTEXT = CodecContext(binding=b"one record")
VECTORS = Path(__file__).parents[3] / "tests" / "vectors" / "compressed"
TEXT = b"".join(b"line %d of a text that repeats itself\n" % number for number in range(200))


CODECS = (Zstd(), LZ4(), Gzip(), Bzip2(), XZ())
each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.id)


def encode(data: bytes, level: int = 3) -> bytes:
    return encoded_by(Zstd(level), data)


def encoded_by(codec: Codec, data: bytes) -> bytes:
    sink = io.BytesIO()
    with codec.writer(sink, CONTEXT) as writer:
        writer.write(data)
    return sink.getvalue()


def decode(data: bytes, codec: Codec = CODECS[0]) -> bytes:
    return codec.reader(io.BytesIO(data), CONTEXT).read()


class TestZstd(CodecTests):
    codec = Zstd()


class TestTheSmallestZstd(CodecTests):
    codec = Zstd(level=19)


class TestZstdWithThreads(CodecTests):
    codec = Zstd(threads=2)


class TestLZ4(CodecTests):
    codec = LZ4()


class TestGzip(CodecTests):
    codec = Gzip()


class TestBzip2(CodecTests):
    codec = Bzip2(level=1)


class TestXZ(CodecTests):
    codec = XZ(level=1)
    # What xz looks back into is counted here, unlike that of zstd.
    bounded_memory = 20 << 20


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


@each_codec
def test_every_changed_byte_is_noticed(codec: Codec) -> None:
    encoded = encoded_by(codec, TEXT)
    for place in range(len(encoded)):
        changed = bytearray(encoded)
        changed[place] ^= 1

        # Some bits of a header mean nothing to the value; then it has to come back as it was.
        try:
            assert decode(bytes(changed), codec) == TEXT
        except StorageError:
            continue


@each_codec
@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(codec: Codec, data: bytes) -> None:
    try:
        decode(data, codec)
    except StorageError:
        return


@each_codec
@given(st.lists(st.binary(max_size=300), max_size=5))
def test_pieces_come_back_from_each_codec(codec: Codec, pieces: list[bytes]) -> None:
    sink = io.BytesIO()

    with codec.writer(sink, CONTEXT) as writer:
        for piece in pieces:
            writer.write(piece)

    assert decode(sink.getvalue(), codec) == b"".join(pieces)


@each_codec
def test_equal_bytes_become_equal_bytes(codec: Codec) -> None:
    # There is no time and no name in them.
    assert encoded_by(codec, TEXT) == encoded_by(codec, TEXT)


@pytest.mark.parametrize(
    ("codec", "read"), [(Gzip(), gzip.decompress), (Bzip2(), bz2.decompress), (XZ(), lzma.decompress)]
)
def test_the_standard_library_reads_it(codec: Codec, read: Callable[[bytes], bytes]) -> None:
    assert read(encoded_by(codec, TEXT)) == TEXT


def test_an_lz4_frame_is_one_that_other_tools_read() -> None:
    assert lz4.frame.decompress(encoded_by(LZ4(), TEXT)) == TEXT


@pytest.mark.parametrize(
    ("codec", "level"), [(LZ4, 13), (Gzip, 0), (Gzip, 10), (Bzip2, 0), (Bzip2, 10), (XZ, -1), (XZ, 10)]
)
def test_a_level_that_there_is_not_is_refused_by_name(codec: type[Gzip], level: int) -> None:
    with pytest.raises(SettingsError, match=f"'{codec.id}' must be a whole number from"):
        codec(level)


@pytest.mark.parametrize("threads", [-1, 65, 1.0, True, "2"])
def test_threads_that_cannot_be_are_refused(threads: object) -> None:
    with pytest.raises(SettingsError, match="threads of 'compressed' must be"):
        Zstd(threads=threads)  # type: ignore[arg-type]  # that is the point


def test_what_threads_compressed_is_read_without_them() -> None:
    data = TEXT * 2000

    assert decode(encoded_by(Zstd(threads=3), data)) == data


def test_an_xz_stream_that_wants_too_much_memory_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 512 << 20}]
    greedy = lzma.compress(b"a few bytes", filters=filters)

    with pytest.raises(StorageError, match="too much memory"):
        decode(greedy, XZ())


@each_codec
def test_a_few_bytes_that_stand_for_very_many_are_given_out_in_pieces(codec: Codec) -> None:
    reader = codec.reader(io.BytesIO(encoded_by(codec, bytes(64 << 20))), CONTEXT)
    tracemalloc.start()
    try:
        size = sum(len(piece) for piece in iter(lambda: reader.read(1 << 16), b""))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert size == 64 << 20
    assert peak < 16 << 20


def test_without_the_library_lz4_the_rest_works_and_the_error_says_what_to_install() -> None:
    program = """if True:
        import io, sys
        sys.modules["lz4"] = sys.modules["lz4.frame"] = None
        import strongroom_compressed
        from strongroom.abc import CodecContext
        strongroom_compressed.Gzip().writer(io.BytesIO(), CodecContext(b"")).close()
        try:
            strongroom_compressed.LZ4().writer(io.BytesIO(), CodecContext(b""))
        except Exception as exc:
            print(type(exc).__name__, exc)
    """

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)

    assert ran.stdout.startswith("PluginError the codec 'compressed.lz4' needs")
    assert "pip install strongroom-compressed[lz4]" in ran.stdout


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
import io, sys
from strongroom.abc import CodecContext
from strongroom_compressed import LZ4, XZ, Bzip2, Gzip, Zstd

def kilobytes():
    # Not getrusage: what it says of a new process may be from the one that started it.
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1])

context, sink, zeros = CodecContext(binding=b""), io.BytesIO(), bytes(1 << 20)
with Zstd().writer(sink, context) as writer:
    for _ in range(400):
        writer.write(zeros)
before = kilobytes()
reader = Zstd().reader(io.BytesIO(sink.getvalue()), context)
size = sum(len(piece) for piece in iter(lambda: reader.read(1 << 16), b""))
print(len(sink.getvalue()), size, kilobytes() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is not told in this way")
def test_a_bomb_that_is_read_in_pieces_takes_no_memory() -> None:
    ran = subprocess.run([sys.executable, "-c", BOMB], capture_output=True, check=True, text=True)

    compressed, size, kilobytes = map(int, ran.stdout.split())

    assert size == 400 << 20
    assert compressed < 1 << 16
    assert kilobytes < 16 << 10


def test_the_plugin_is_imported_without_zstd() -> None:
    program = (
        "import sys, strongroom_compressed; print([name for name in sys.modules if 'zstd' in name or 'lz4' in name])"
    )

    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)

    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "data", "level"),
    [("empty.zst", b"", 3), ("text-level-3.zst", TEXT, 3), ("text-level-19.zst", TEXT, 19)],
)
def test_what_was_written_once_can_be_read_for_ever(name: str, data: bytes, level: int) -> None:
    assert decode(vector(VECTORS / name, lambda: encode(data, level))) == data


@pytest.mark.parametrize("data", [b"", TEXT], ids=["empty", "text"])
@pytest.mark.parametrize("codec", CODECS[1:], ids=lambda codec: codec.id)
def test_what_the_others_wrote_once_can_be_read_for_ever(codec: Codec, data: bytes) -> None:
    ending = {"lz4": "lz4", "gzip": "gz", "bz2": "bz2", "xz": "xz"}[codec.id.partition(".")[2]]

    stored = vector(VECTORS / f"{'text' if data else 'empty'}.{ending}", lambda: encoded_by(codec, data))

    assert decode(stored, codec) == data
