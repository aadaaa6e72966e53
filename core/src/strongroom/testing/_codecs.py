# SPDX-License-Identifier: Apache-2.0
"""Does a codec give back the bytes it was given, as `strongroom.Codec` says?"""

from __future__ import annotations

import array
import gc
import io
import pickle
import random
import tracemalloc
from typing import TYPE_CHECKING, BinaryIO, ClassVar, cast

import pytest

from strongroom.abc import CodecContext
from strongroom.testing._files import PlainSink, TricklingSource
from strongroom.testing._serializers import ID, cuts, parametrize

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer

    from strongroom.abc import Codec

__all__ = ["CodecTests"]

_MIB = 1 << 20
_PIECE = 1 << 16


def _samples() -> list[bytes]:
    """Nothing, little, and megabytes: some that can be made smaller, and some that cannot."""
    return [b"", b"x", b"plain text, " * 100, bytes(5 * _MIB), _noise(3 * _MIB) + b"text" * _MIB]


def _noise(size: int) -> bytes:
    """Bytes that nothing makes smaller, the same in every run."""
    return random.Random(size).randbytes(size)  # noqa: S311  # no secret


class CodecTests:
    """What every codec does. Subclass it, name the codec, and run pytest.

    ::

        class TestMyCodec(CodecTests):
            codec = MyCodec()
    """

    codec: Codec
    context = CodecContext(binding=b"one record")
    """For a codec that binds its bytes to their record: reader and writer are given the same."""

    bounded_memory: ClassVar[int] = 8 * _MIB
    """What writing or reading any number of bytes may take, in bytes."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Try each of the samples on its own."""
        parametrize(metafunc, "data", _samples())

    def encode(self, data: ReadableBuffer) -> bytes:
        """*data* as the codec writes it."""
        sink = io.BytesIO()
        with self.codec.writer(sink, self.context) as writer:
            writer.write(data)
        return sink.getvalue()

    def decode(self, data: bytes) -> bytes:
        """All that the codec reads from *data*."""
        with self.codec.reader(io.BytesIO(data), self.context) as reader:
            return reader.read()

    def test_its_id_can_stand_in_a_record(self) -> None:
        assert ID.fullmatch(self.codec.id), "letters, digits, '-', '_' and single dots"

    def test_bytes_come_back(self, data: bytes) -> None:
        # Compared by hand: pytest would explain how megabytes differ.
        assert self.decode(self.encode(data)) == data or pytest.fail("other bytes came back")

    def test_it_travels_to_another_process(self) -> None:
        clone = cast("Codec", pickle.loads(pickle.dumps(self.codec)))

        assert (type(clone), clone.id) == (type(self.codec), self.codec.id)
        with clone.reader(io.BytesIO(self.encode(b"some bytes")), self.context) as reader:
            assert reader.read() == b"some bytes"

    def test_using_it_does_not_change_it(self) -> None:
        before = pickle.dumps(self.codec)

        self.decode(self.encode(b"some bytes"))

        assert pickle.dumps(self.codec) == before

    def test_it_takes_bytes_in_pieces_of_any_size(self) -> None:
        data = _noise(2 * _MIB)
        rest = io.BytesIO(data)
        sink = PlainSink()

        with self.codec.writer(cast("BinaryIO", sink), self.context) as writer:
            for size in (1, 0, 17, _PIECE, _MIB, len(data)):
                piece = rest.read(size)
                assert writer.write(piece) == len(piece)

        assert self.decode(bytes(sink.written)) == data or pytest.fail("other bytes came back")

    def test_it_takes_whatever_is_made_of_bytes(self) -> None:
        numbers = array.array("d", [1.5, 2.5])

        assert self.decode(self.encode(memoryview(numbers))) == numbers.tobytes()
        assert self.decode(self.encode(bytearray(b"some bytes"))) == b"some bytes"

    def test_it_gives_out_one_byte_at_a_time(self) -> None:
        data = bytes(range(256)) * 4

        with self.codec.reader(io.BytesIO(self.encode(data)), self.context) as reader:
            read = b"".join(iter(lambda: reader.read(1), b""))
            assert reader.read(1) == b"", "the end stays the end"

        assert read == data

    def test_it_reads_from_a_source_that_gives_a_little_at_a_time(self) -> None:
        source = TricklingSource(self.encode(b"some bytes" * 1000))

        with self.codec.reader(cast("BinaryIO", source), self.context) as reader:
            assert reader.read() == b"some bytes" * 1000

    def test_bytes_that_were_cut_off_are_an_error(self) -> None:
        data = _noise(3000)
        encoded = self.encode(data)

        for size in cuts(len(encoded)):
            with pytest.raises(Exception):  # noqa: B017, PT011  # whatever a decoder says to broken bytes
                self.decode(encoded[:size])

    @pytest.mark.parametrize("more", [b"\0", b"trailing", None], ids=["a zero", "text", "the same again"])
    def test_bytes_after_the_end_are_an_error(self, more: bytes | None) -> None:
        encoded = self.encode(b"some bytes")
        encoded += encoded if more is None else more

        # Byte by byte, what comes after the end comes after it was seen.
        for source in (io.BytesIO(encoded), cast("BinaryIO", TricklingSource(encoded, sizes=[1]))):
            with pytest.raises(Exception):  # noqa: B017, PT011  # whatever a decoder says to broken bytes
                self.codec.reader(source, self.context).read()

    def test_closing_leaves_the_files_below_open(self) -> None:
        sink = io.BytesIO()
        self.codec.writer(sink, self.context).close()
        source = io.BytesIO(sink.getvalue())
        self.codec.reader(source, self.context).close()

        assert not sink.closed
        assert not source.closed

    def test_closing_twice_writes_the_end_once(self) -> None:
        sink = io.BytesIO()
        writer = self.codec.writer(sink, self.context)
        writer.write(b"some bytes")

        writer.close()
        writer.close()

        assert self.decode(sink.getvalue()) == b"some bytes"
        with pytest.raises(ValueError, match="closed"):
            writer.write(b"more")

    def test_a_writer_that_nobody_closes_never_looks_complete(self) -> None:
        sink = PlainSink()
        writer = self.codec.writer(cast("BinaryIO", sink), self.context)
        writer.write(b"the beginning of a value")

        # This is what happens when the serializer fails half-way.
        del writer
        gc.collect()

        with pytest.raises(Exception):  # noqa: B017, PT011  # whatever a decoder says to half of the bytes
            self.decode(bytes(sink.written))

    @pytest.mark.parametrize("kind", ["zeros", "noise"])
    def test_memory_does_not_grow_with_the_bytes(self, kind: str) -> None:
        piece = bytes(_MIB) if kind == "zeros" else _noise(_MIB)
        encoded = self._written(piece, 24)
        written = _peak_of(lambda: self._written_to_nowhere(piece, 24))
        read = _peak_of(lambda: self._read_in_pieces(encoded))

        assert max(written, read) <= self.bounded_memory

    def _written(self, piece: bytes, times: int) -> bytes:
        sink = io.BytesIO()
        with self.codec.writer(sink, self.context) as writer:
            for _ in range(times):
                writer.write(piece)
        return sink.getvalue()

    def _written_to_nowhere(self, piece: bytes, times: int) -> None:
        with self.codec.writer(cast("BinaryIO", _Nowhere()), self.context) as writer:
            for _ in range(times):
                writer.write(piece)

    def _read_in_pieces(self, encoded: bytes) -> None:
        with self.codec.reader(io.BytesIO(encoded), self.context) as reader:
            while reader.read(_PIECE):
                pass


def _peak_of(action: Callable[[], None]) -> int:
    """The most memory that *action* held at a time, in bytes."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class _Nowhere(io.RawIOBase):
    """A sink that counts and keeps nothing."""

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        return memoryview(data).nbytes
