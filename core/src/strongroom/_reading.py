# SPDX-License-Identifier: Apache-2.0
"""Which records does a reader believe, which of them does it decode, and how?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from strongroom import _record
from strongroom._chain import MOST_CODECS, Chain, unpacks_to_too_much
from strongroom._stored import Metadata, ResultRecord
from strongroom.abc import CodecContext
from strongroom.errors import DamagedError, FormatNotAllowedError, NotEncryptedError, PluginError

if TYPE_CHECKING:
    from collections.abc import Collection

    from strongroom._mapped import MappedFiles
    from strongroom._plugins import Plugins
    from strongroom.abc import Codec, Serializer
    from strongroom.keyring import Keyring

__all__ = ["Reading"]

_NO_CODEC = CodecContext(b"")


class Reading:
    """What one reader takes: records that its keys have tagged, of chains that it allows; it decides, not the record.

    Args:
        chain: what the reader itself writes. If that encrypts, no plain record is taken.
        allow: the ids that a chain may consist of.
        keyring: the keys.
        plugins: where serializers and codecs are looked up that *chain* has not.
        files: maps what need not be copied.
    """

    def __init__(
        self, chain: Chain, allow: frozenset[str], keyring: Keyring, plugins: Plugins, files: MappedFiles
    ) -> None:
        self._chain = chain
        self._allow = allow
        self._keyring = keyring
        self._plugins = plugins
        self._files = files

    def read(
        self, source: BinaryIO, size: int, *, key: str, location: str, object_: str | None, allow: Collection[str]
    ) -> ResultRecord:
        """The record of *size* bytes in *source*, which was kept under *key*; authentic, and not decoded yet.

        Only the record *object_* is taken, if that is given; *allow* names further ids to accept.

        Raises:
            NotEncryptedError: it is plain, and this reader takes encrypted ones only.
            DamagedError: its bytes are not those that were written under this key.
        """
        start = _record.read_header(source, location)
        header = start[0]
        if object_ is not None and header.object != object_:
            raise DamagedError(location)
        # What the header says here is not authentic yet, but with it a plain record cannot pass for another.
        if self._chain.encrypts and not header.wrapped:
            raise NotEncryptedError(location)
        serializer = self._offered(header.chain)
        # Values of its chain may be views of their bytes, so that these had better be in memory.
        in_place = serializer is not None and serializer.zero_copy
        # What runs code is shown a private copy, so that nothing at all stands between the check and the code.
        maps = serializer is not None and serializer.zero_copy and not serializer.executes_code
        verified = _record.verify(
            source,
            size,
            start,
            location=location,
            context=_record.bound_to(key),
            keyring=self._keyring,
            keep_in_memory=in_place,
            mapped=self._files.open(source, size) if maps else None,
        )
        allowed = self._allow.union(allow) if allow else self._allow
        decode = partial(self._decode, key, verified, allowed, location)
        return ResultRecord(Metadata.of(key, size, header), verified.payload, decode)

    def _decode(
        self, key: str, verified: _record.Verified, allowed: Collection[str], location: str, payload: BinaryIO
    ) -> object:
        header = verified.header
        chain = self._resolve(header.chain, allowed, location)
        if chain.encrypts != bool(header.wrapped) or unpacks_to_too_much(verified.payload_size, verified.decoded_size):
            raise DamagedError(location)
        context = self._codec_context(key, header, chain, location) if chain.codecs else _NO_CODEC
        return chain.load(payload, verified.decoded_size, context, lambda: DamagedError(location))

    def _offered(self, chain: str) -> Serializer | None:
        """The serializer that *chain* consists of; None if it is not allowed, not installed, or not all of it."""
        if chain == self._chain.id:
            return None if self._chain.codecs else self._chain.serializer
        try:
            return self._plugins.serializer(chain) if chain in self._allow else None
        except PluginError:
            return None

    def _resolve(self, chain: str, allowed: Collection[str], location: str) -> Chain:
        # What the reader writes itself it allows. It is used rather than looked up: it may be nobody's plugin.
        if chain == self._chain.id:
            return self._chain
        if chain.count("/") > MOST_CODECS:
            raise DamagedError(location)
        for id_ in chain.split("/"):
            if id_ not in allowed:
                raise FormatNotAllowedError(id_, location)
        *codecs, last = chain.split("/")
        own = self._chain.serializer
        serializer = own if own is not None and own.id == last else self._plugins.serializer(last)
        return Chain(tuple(self._codec(id_) for id_ in codecs), serializer)

    def _codec_context(self, key: str, header: _record.Header, chain: Chain, location: str) -> CodecContext:
        binding = _record.codec_binding(key, header.object)
        data_key = _record.unwrap_data_key(header, key, self._keyring, location) if chain.encrypts else b""
        return CodecContext(binding, data_key=data_key)

    def _codec(self, id_: str) -> Codec:
        return next((codec for codec in self._chain.codecs if codec.id == id_), None) or self._plugins.codec(id_)
