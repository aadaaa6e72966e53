# SPDX-License-Identifier: Apache-2.0
"""Does a writer that others build on write the end when the value is complete, and never else?"""

from __future__ import annotations

import contextlib
import gc
import io
from typing import BinaryIO, cast

import pytest

from strongroom import Codec, CodecContext, Serializer
from strongroom.codecs import EncodingWriter
from strongroom.results import Chain
from strongroom.testing import CodecTests


class Writer(EncodingWriter):
    """Writes each piece with its length before it, and a length of nothing at the end."""

    piece = 200

    def __init__(self, sink: BinaryIO) -> None:
        super().__init__()
        self._sink = sink

    def encode(self, data: memoryview) -> None:
        self._sink.write(bytes([len(data)]) + data)

    def finish(self) -> None:
        self._sink.write(b"\0")


class Reader(io.RawIOBase):
    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self._source = source
        self._left = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]  # enough for a test
        while not self._left and not self._ended:
            size = self._exactly(1)[0]
            self._left = self._exactly(size)
            self._ended = not size
        if self._ended and self._source.read(1):
            raise ValueError("there is more")
        count = min(len(target), len(self._left))
        target[:count], self._left = self._left[:count], self._left[count:]
        return count

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            more = self._source.read(size - len(found))
            if not more:
                raise ValueError("cut off")
            found += more
        return found


class Pieces(Codec):
    id = "pieces"

    def writer(self, sink: BinaryIO, context: CodecContext) -> BinaryIO:
        return cast("BinaryIO", Writer(sink))

    def reader(self, source: BinaryIO, context: CodecContext) -> BinaryIO:
        return cast("BinaryIO", Reader(source))


class TestPieces(CodecTests):
    codec = Pieces()


def test_a_block_that_fails_leaves_out_the_end() -> None:
    sink = io.BytesIO()

    def write_half() -> None:
        with Writer(cast("BinaryIO", sink)) as writer:
            writer.write(b"abc")
            raise KeyError

    with pytest.raises(KeyError):
        write_half()

    assert sink.getvalue() == b"\3abc"


class Literal(Serializer):
    """Bytes as they are; what is no bytes it begins to write, and gives up."""

    id = "literal"

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(value if isinstance(value, bytes) else b"half")
        if not isinstance(value, bytes):
            raise KeyError

    def load(self, source: BinaryIO) -> object:
        return source.read()


def test_what_a_serializer_had_written_when_it_failed_goes_nowhere() -> None:
    sink = io.BytesIO()

    with contextlib.suppress(KeyError):
        Chain((Pieces(),), Literal()).dump(5, sink, CodecContext(b""))
    gc.collect()

    assert sink.getvalue() == b""


def test_the_outermost_codec_is_what_lies_in_storage_and_ends_last() -> None:
    class Marked(Pieces):
        id = "marked"

        def writer(self, sink: BinaryIO, context: CodecContext) -> BinaryIO:
            sink.write(b"M")
            return super().writer(sink, context)

    sink = io.BytesIO()

    assert Chain((Marked(), Pieces()), Literal()).dump(b"abc", sink, CodecContext(b"")) == 3

    assert sink.getvalue() == b"M" + b"\4\3abc" + b"\1\0" + b"\0"


@pytest.mark.parametrize(("size", "is_refused"), [(3, False), (2, True)])
def test_what_comes_out_may_not_be_a_byte_longer_than_was_said(size: int, is_refused: bool) -> None:
    source, chain = io.BytesIO(b"\3abc\0"), Chain((Pieces(),), Literal())
    refusal = pytest.raises(ZeroDivisionError) if is_refused else contextlib.nullcontext()

    with refusal:
        assert chain.load(source, size, CodecContext(b""), ZeroDivisionError) == b"abc"


def test_an_end_that_cannot_be_written_is_not_tried_again() -> None:
    class Fails(Writer):
        times = 0

        def finish(self) -> None:
            self.times += 1
            raise OSError("full")

    writer = Fails(cast("BinaryIO", io.BytesIO()))

    with pytest.raises(OSError, match="full"):
        writer.close()
    writer.close()

    assert writer.times == 1


def test_no_more_than_a_piece_is_encoded_at_a_time() -> None:
    sink = io.BytesIO()

    with Writer(cast("BinaryIO", sink)) as writer:
        assert writer.write(bytes(500)) == 500

    assert sink.getvalue() == b"\xc8" + bytes(200) + b"\xc8" + bytes(200) + b"\x64" + bytes(100) + b"\0"
