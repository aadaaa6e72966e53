# SPDX-License-Identifier: Apache-2.0
"""What is a stored result, byte for byte?

::

    line 1   strongroom/1 {"chain":"compressed/arrow","object":"...","key":"...", ...}  padded to 64 bytes
    payload  the chain's bytes
    trailer  payload size (8 bytes, little-endian), decoded size (8 bytes), tag (32 bytes)

The tag is keyed BLAKE3, or HMAC-SHA256 where the owner's rules want that, over the record's context, the header line,
the payload and the two sizes, each of them delimited: the context and the header by their lengths, the payload by its
size at the end.
"""

from __future__ import annotations

import base64
import binascii
import functools
import io
import re
import struct
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, TypeAlias, cast

import blake3
import msgspec

from strongroom._buffers import BufferReader, CountingWriter, chunks, private_copy
from strongroom.errors import DamagedError, SealError, SerializationError
from strongroom.keyring import bind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future, ThreadPoolExecutor

    from strongroom._mapped import MappedFile
    from strongroom.keyring import Keyring

__all__ = [
    "MAGIC",
    "SUITES",
    "Header",
    "RecordWriter",
    "Suite",
    "Verified",
    "authenticate",
    "bound_to",
    "codec_binding",
    "read_header",
    "unwrap_data_key",
    "verify",
    "with_data_key",
]

MAGIC = b"strongroom/1 "
_ALIGNMENT = 64
_MAX_HEADER = 1 << 16
_KEY_ID = re.compile("[0-9a-f]{16}")
_SIZES = struct.Struct("<QQ")
_TAG_SIZE = 32
_TRAILER_SIZE = _SIZES.size + _TAG_SIZE
_BUFFER = 1 << 16
_LONG = 4 << 20
"""From here on a payload is hashed by a second thread, while the first one writes."""


Suite: TypeAlias = Literal["blake3", "hmac-sha256"]
# What the tags of each are made with. A key is for one of them only, and a header can name nothing else: neither is the
# weak one that a forger would like to choose.
_PURPOSES: Mapping[str, str] = MappingProxyType({"blake3": "tag", "hmac-sha256": "tag hmac-sha256"})
SUITES = tuple(_PURPOSES)
"""For messages."""


class _Hasher(Protocol):
    """The part of a keyed hash that both suites have; a tag has 32 bytes in both."""

    def update(self, data: bytes | memoryview, /) -> object: ...

    def digest(self) -> bytes: ...


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The first line of a record. It names nothing of the user's."""

    chain: str
    object: str
    """The record's random id, which the reference to it repeats."""
    key: str
    """The id of the key that the tag is made with."""
    created: int
    """Microseconds since 1970-01-01 UTC."""
    suite: Suite = "blake3"
    """How the tag is made; an interned text, for msgspec leaves out what *is* the default."""
    expires: int | None = None
    fingerprints: dict[str, str] = {}
    """For a cached result: a token for each input or parameter -> a keyed fingerprint of its value."""
    wrapped: str = ""
    """For an encrypted payload: its data key, wrapped by the keyring, in base64."""


_encode_header = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(Header, strict=True).decode


class Verified:
    """A record that is authentic: its header, and its payload, where nobody else can change it."""

    __slots__ = ("decoded_size", "header", "payload", "payload_size")

    def __init__(self, header: Header, payload: BinaryIO, payload_size: int, decoded_size: int) -> None:
        self.header = header
        self.payload = payload
        self.payload_size = payload_size
        self.decoded_size = decoded_size


class RecordWriter:
    """Writes one record to *sink*: header, then what is written to `payload`, then the trailer."""

    def __init__(self, sink: BinaryIO, header: Header, context: bytes, keyring: Keyring) -> None:
        line = _line(header)
        if len(line) > _MAX_HEADER:
            raise SerializationError("the record", f"its header is over {_MAX_HEADER} bytes; compare fewer inputs")
        self._sink = sink
        self._hasher = _hasher(keyring, header, context, line)
        self._counter = CountingWriter(self._write)
        self._size = len(line)
        self._helper: ThreadPoolExecutor | None = None
        sink.write(line)
        self.payload = cast("BinaryIO", io.BufferedWriter(self._counter, _BUFFER))

    def finish(self, decoded_size: int | None = None) -> tuple[int, int]:
        """Write the trailer; returns the sizes of the payload and of the whole record, in bytes."""
        self.payload.flush()
        payload_size = self._counter.size
        sizes = _SIZES.pack(payload_size, payload_size if decoded_size is None else decoded_size)
        self._hasher.update(sizes)
        if self._helper is not None:
            self._helper.shutdown()
        self._sink.write(sizes + self._hasher.digest())
        return payload_size, self._size + payload_size + _TRAILER_SIZE

    def abandon(self) -> None:
        """Write nothing more: the record will not be finished."""
        self._counter.discard()
        if self._helper is not None:
            self._helper.shutdown()

    def _write(self, data: memoryview) -> None:
        if self._counter.size < _LONG:
            self._hasher.update(data)
            self._sink.write(data)
            return
        # Neither of the two holds Python's lock, so that they take as long as the longer one.
        hashed = self._hash_meanwhile(data)
        try:
            self._sink.write(data)
        finally:
            if hashed is None:
                self._hasher.update(data)
            else:
                # Only then is the memory the caller's again.
                hashed.result()

    def _hash_meanwhile(self, data: memoryview) -> Future[object] | None:
        from concurrent.futures import ThreadPoolExecutor

        if self._helper is None:
            self._helper = ThreadPoolExecutor(1, "strongroom-hash")
        try:
            return self._helper.submit(self._hasher.update, data)
        except RuntimeError:
            # The system may have no thread left, nor has Python while it shuts down. What was submitted is waiting all
            # the same, and with the next thread that there is it would be hashed a second time: so there is none.
            self._helper.shutdown(cancel_futures=True)
            return None


def read_header(source: BinaryIO, location: str) -> tuple[Header, bytes]:
    """The header and the line it was read from, **unverified**: enough to look at, and to know what to verify with.

    Raises:
        DamagedError: this is no record, or one of a version that is not known here.
    """
    line = source.readline(_MAX_HEADER)
    if not line.startswith(MAGIC):
        raise DamagedError(location)
    try:
        header = _decode_header(line[len(MAGIC) :])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise DamagedError(location) from None
    # One line for one header, so that whoever reads it another way cannot read another thing.
    if _line(header) != line:
        raise DamagedError(location)
    return header, line


def verify(
    source: BinaryIO,
    size: int,
    start: tuple[Header, bytes],
    *,
    location: str,
    context: bytes,
    keyring: Keyring,
    keep_in_memory: bool = False,
    mapped: MappedFile | None = None,
) -> Verified:
    """Copy the payload of the record in *source* to where nobody else can write, and check the tag of the copy.

    *start* is what `read_header` has read of it. If *mapped* has the file in memory already, safe from others, it is
    checked there.

    Raises:
        DamagedError: the bytes are not those that somebody with the key wrote for this context.
    """
    header, line = start
    hasher = _known_hasher(keyring, header, context, line, location)
    payload_size = size - len(line) - _TRAILER_SIZE
    if payload_size < 0:
        raise DamagedError(location)
    if mapped is not None:
        return _verify_in_place(mapped, header, (context, line), hasher, location)
    if isinstance(source, io.BytesIO):
        return _verify_small(source.read(), payload_size, header, hasher, location, keep_in_memory=keep_in_memory)
    payload, copied = private_copy(source, payload_size, keep_in_memory=keep_in_memory)
    try:
        for chunk in copied:
            hasher.update(chunk)
        decoded_size = _check_trailer(source.read(_TRAILER_SIZE + 1), payload_size, hasher, location)
    except BaseException:
        payload.close()
        raise
    payload.seek(0)
    return Verified(header, payload, payload_size, decoded_size)


def _verify_small(
    rest: bytes, payload_size: int, header: Header, hasher: _Hasher, location: str, *, keep_in_memory: bool
) -> Verified:
    """As `verify`, for a record of which all is in memory: nobody writes to bytes, so that no other copy is made."""
    if len(rest) != payload_size + _TRAILER_SIZE:
        raise DamagedError(location)
    # With the sizes, which stand right behind the payload: each cached result comes here, and each call counts.
    hasher.update(rest[:-_TAG_SIZE])
    decoded_size = _check_end(rest[-_TRAILER_SIZE:], payload_size, hasher, location)
    data = rest[:payload_size]
    # A value may be a view of its bytes, and be changed: these get memory that can be written to.
    copy = BufferReader(memoryview(bytearray(data))) if keep_in_memory else io.BytesIO(data)
    return Verified(header, cast("BinaryIO", copy), payload_size, decoded_size)


def _verify_in_place(
    file: MappedFile, header: Header, start: tuple[bytes, bytes], hasher: _Hasher, location: str
) -> Verified:
    payload = file.view[len(start[1]) : -_TRAILER_SIZE]
    trailer = bytes(file.view[-_TRAILER_SIZE:])
    # The header was read before the file was mapped; it has to be the one that is there.
    if file.view[: len(start[1])] != start[1]:
        raise DamagedError(location)
    if file.was_verified(*start, trailer):
        decoded_size = int(_SIZES.unpack_from(trailer)[1])
    else:
        hasher.update(payload)
        decoded_size = _check_trailer(trailer, len(payload), hasher, location)
        file.remember(*start, trailer)
    return Verified(header, file.reader(payload), len(payload), decoded_size)


def authenticate(source: BinaryIO, size: int, *, location: str, context: bytes, keyring: Keyring) -> Header:
    """Check the tag of the record in *source*, keeping nothing of it: for whoever does not want the value.

    Raises:
        DamagedError: the bytes are not those that somebody with the key wrote for this context.
    """
    header, line = read_header(source, location)
    hasher = _known_hasher(keyring, header, context, line, location)
    payload_size = size - len(line) - _TRAILER_SIZE
    if payload_size < 0:
        raise DamagedError(location)
    for chunk in chunks(source, payload_size):
        hasher.update(chunk)
    _check_trailer(source.read(_TRAILER_SIZE + 1), payload_size, hasher, location)
    return header


def _check_trailer(trailer: bytes, payload_size: int, hasher: _Hasher, location: str) -> int:
    if len(trailer) != _TRAILER_SIZE:
        raise DamagedError(location)
    hasher.update(trailer[: _SIZES.size])
    return _check_end(trailer, payload_size, hasher, location)


def _check_end(trailer: bytes, payload_size: int, hasher: _Hasher, location: str) -> int:
    """The decoded size that *trailer* states, which *hasher* has seen all but the tag of."""
    stated_size, decoded_size = _SIZES.unpack_from(trailer)
    # In constant time: how far a forged tag agrees must not show.
    if not _compare()(hasher.digest(), trailer[_SIZES.size :]) or stated_size != payload_size:
        raise DamagedError(location)
    return int(decoded_size)


@functools.cache
def _compare() -> Callable[[bytes, bytes], bool]:
    import hmac  # brings OpenSSL's hashes, which take 3 ms to load and are needed for no more than a comparison

    return hmac.compare_digest


def bound_to(key: str) -> bytes:
    """The context of the record under *key*: one that was moved to another key does not verify."""
    return bind("record", key)


def codec_binding(key: str, object_: str) -> bytes:
    """What the codecs of one record bind its bytes to."""
    return bind("codec", key, object_)


def with_data_key(header: Header, data_key: bytes, key: str, keyring: Keyring) -> Header:
    """*header* with *data_key*, wrapped for this one record under *key*."""
    wrapped = keyring.wrap(data_key, bind("wrap", key, header.object))
    return msgspec.structs.replace(header, wrapped=base64.b64encode(wrapped).decode())


def unwrap_data_key(header: Header, key: str, keyring: Keyring, location: str) -> bytes:
    """The data key that `with_data_key` put into *header*.

    Raises:
        DamagedError: it was wrapped for another record, or with a key that is not here.
    """
    try:
        return keyring.unwrap(base64.b64decode(header.wrapped, validate=True), bind("wrap", key, header.object))
    except (binascii.Error, SealError):
        raise DamagedError(location) from None


def _line(header: Header) -> bytes:
    line = MAGIC + _encode_header(header)
    padding = -(len(line) + 1) % _ALIGNMENT
    return line + b" " * padding + b"\n"


def _hmac_sha256(key: bytes) -> _Hasher:
    import hmac

    return hmac.new(key, digestmod="sha256")


def _known_hasher(keyring: Keyring, header: Header, context: bytes, line: bytes, location: str) -> _Hasher:
    try:
        return _hasher(keyring, header, context, line)
    except SealError:
        # Anybody may have written what it says, so that nothing but the id of a key is shown.
        raise DamagedError(location, missing_key=header.key if _KEY_ID.fullmatch(header.key) else None) from None


def _hasher(keyring: Keyring, header: Header, context: bytes, line: bytes) -> _Hasher:
    key = keyring.tag_key(header.key, _PURPOSES[header.suite])
    hasher = _hmac_sha256(key) if header.suite == "hmac-sha256" else blake3.blake3(key=key)
    hasher.update(b"".join((_SIZES.pack(len(context), len(line)), context, line)))
    return hasher
