# SPDX-License-Identifier: Apache-2.0
"""How is a result encrypted, whatever its size?

One construction and no options: Cobblestone-256 (C2SP chunked encryption). It authenticates each chunk of 16 KiB, its
place among the others, and which one is the last, so that nothing is given out before it is known to be right. It
commits to its key and authenticates a context, which is the record's place and its random id.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from strongroom.abc import Codec
from strongroom.codecs import EncodingWriter, fill
from strongroom.errors import SealError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor

    from strongroom.abc import CodecContext

__all__ = ["Encrypted"]

_PIECE = 16 * 16384
"""How much is decrypted at a time: whole chunks of the format, in buffers that stay in the processor's cache."""

_WRITTEN = 64 * 16384
"""How much is encrypted at a time: with less, those who hash and write it would spend their time on taking turns."""

_SMALL = 4 * 16384
"""What is no longer than this is encrypted in a small buffer, which takes less time to get than a large one."""

_SEALED_CHUNK = 16384 + 16
_MORE = 2 * _SEALED_CHUNK
"""What may come out beyond one piece: its tags, the head of the message, and a chunk that was left from before."""

_ROOM = _PIECE + _MORE

_KEY_SIZE = 32


@dataclass(frozen=True)
class Encrypted(Codec):
    """Encrypts with a key that is made for each record, and that the keyring wraps."""

    id = "encrypted"
    encrypts = True

    def writer(self, sink: BinaryIO, context: CodecContext) -> BinaryIO:
        """A file to write to. Written in a ``with`` block, it stays incomplete if the block fails."""
        from cryptography.cobblestone import Cobblestone256Encryptor

        return cast("BinaryIO", _Writer(sink, Cobblestone256Encryptor(_key(context), context.binding)))

    def reader(self, source: BinaryIO, context: CodecContext) -> BinaryIO:
        """A file to read from, which gives out only what is authentic.

        Raises:
            SealError: while reading; the bytes are not those that were written with this key and context.
        """
        from cryptography.cobblestone import Cobblestone256Decryptor

        return cast("BinaryIO", _Reader(source, Cobblestone256Decryptor(_key(context), context.binding)))


def _key(context: CodecContext) -> bytes:
    # Whoever calls without a key must not get a file that is encrypted with none.
    if len(context.data_key) != _KEY_SIZE:
        raise SealError
    return context.data_key


class _Writer(EncodingWriter):
    """Encrypts what is written."""

    piece = _WRITTEN

    def __init__(self, sink: BinaryIO, encryptor: Cobblestone256Encryptor) -> None:
        super().__init__()
        self._sink = sink
        self._encryptor = encryptor
        # One buffer for all of the value: to get a new one each time costs more than the cipher.
        self._buffer = memoryview(bytearray(_SMALL + _MORE))

    def encode(self, data: memoryview) -> None:
        if len(data) + _MORE > len(self._buffer):
            self._buffer = memoryview(bytearray(_WRITTEN + _MORE))
        count = self._encryptor.update_into(data, self._buffer)
        if count:
            self._sink.write(self._buffer[:count])

    def finish(self) -> None:
        self._sink.write(self._encryptor.finalize())


class _Reader(io.RawIOBase):
    """Decrypts all of *source*: what comes after the end makes the last chunk another one, and so does not open."""

    def __init__(self, source: BinaryIO, decryptor: Cobblestone256Decryptor) -> None:
        super().__init__()
        self._source = source
        self._decryptor = decryptor
        # Buffers for all of the value, as for writing.
        self._sealed = memoryview(bytearray(_PIECE))
        self._buffer = memoryview(bytearray(_ROOM))
        self._left = self._buffer[:0]
        self._ended = False
        self._failed = False

    def readable(self) -> bool:
        return True

    def readinto(self, target: WriteableBuffer, /) -> int:
        out = memoryview(target).cast("B")
        while out and not self._left and not self._ended:
            if len(out) < _ROOM:
                self._left = self._buffer[: self._decrypt(self._buffer)]
            # Straight to where it is wanted: another copy takes as long as the cipher.
            elif count := self._decrypt(out):
                return count
        count = min(len(out), len(self._left))
        out[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def _decrypt(self, out: memoryview) -> int:
        """Decrypt the next piece, of which there may be nothing to give out yet, into *out*; returns its length."""
        from cryptography.exceptions import InvalidTag

        # Who goes on reading after an error must not take what comes next for the value.
        if self._failed:
            raise SealError
        sealed = self._sealed[: fill(self._source, self._sealed)]
        try:
            if sealed:
                return self._decryptor.update_into(sealed, out)
            last = self._decryptor.finalize()
        except (InvalidTag, ValueError):
            self._failed = True
            # The library has put there what it then found not to be authentic, and the memory is the caller's.
            out[:_ROOM] = bytes(_ROOM)
            raise SealError from None
        self._ended = True
        out[: len(last)] = last
        return len(last)
