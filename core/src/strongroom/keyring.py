# SPDX-License-Identifier: Apache-2.0
"""Which keys does a project have, and how are bytes sealed and opened with them?

One construction each, and no options:

- subkeys: BLAKE3 in its key-derivation mode, one context string for each purpose (BLAKE3 paper, section 2.3);
- wrapping of keys: Cobblestone-256 (C2SP chunked encryption), which derives a fresh key for each message from a random
  salt, commits to its key and authenticates a context; version byte and key id go before it;
- sealing: AES-256-GCM under a data key of this process, which each message carries, wrapped: see `_sealing`;
- tags and tokens: keyed BLAKE3.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

import blake3

from strongroom._held_keys import KEYRING_VARIABLE, DescriptorKeys, EnvironmentKeys, lend_keys, take_lent_keys
from strongroom._key_file import KeyFile
from strongroom._keys import KEY_ID_SIZE, Key, KeySet, bind
from strongroom._sealing import DATA_KEY_SIZE, SEALING_OVERHEAD, Sealing, opening
from strongroom.errors import KeyringError, SealError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from strongroom.abc import KeySource

__all__ = [
    "KEYRING_FILE",
    "KEYRING_VARIABLE",
    "LINK_SIZE",
    "SEAL_OVERHEAD",
    "DescriptorKeys",
    "EnvironmentKeys",
    "Key",
    "KeyFile",
    "KeySet",
    "Keyring",
    "bind",
    "lend_keys",
    "sealed_with",
    "take_lent_keys",
]

KEYRING_FILE = "keyring.toml"
"""The name of the keyring in the home."""

_SEAL_VERSION = b"\x01"
_SEAL_PREFIX = len(_SEAL_VERSION) + KEY_ID_SIZE

_WRAPPED_SIZE = _SEAL_PREFIX + DATA_KEY_SIZE + 72

SEAL_OVERHEAD = _WRAPPED_SIZE + SEALING_OVERHEAD
"""How many bytes longer the sealed form of a message is."""

_DATA_KEY = bind("data key")
# So many data keys are remembered.
_OPENED = 256

LINK_SIZE = 16
"""How many bytes the tag has that links a document to the one before it."""


def sealed_with(sealed: bytes) -> str:
    """The id of the key that *sealed* or wrapped bytes name, which is not authentic before they open."""
    return sealed[len(_SEAL_VERSION) : _SEAL_PREFIX].hex()


class Keyring:
    """The keys of one project: the first one seals, all of them open.

    A key that was added to the source since is found when something needs it: whoever runs for long, goes on sealing
    with the key that it began with, and opens what others seal with a newer one.
    """

    def __init__(
        self, keys: Sequence[Key], *, oldest: str | None = None, source: KeySource | None = None, stamp: object = None
    ) -> None:
        """Use *keys*, the first to seal with and then from new to old; *source* is where they are from."""
        if not keys:
            raise KeyringError("a keyring needs at least one key")
        # A tenth of all the time that `import strongroom` would take, and only whoever has a keyring needs it.
        from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
        from cryptography.exceptions import InvalidTag

        self._encryptor, self._decryptor = Cobblestone256Encryptor, Cobblestone256Decryptor
        self._refusals = (InvalidTag, ValueError)
        self._primary = keys[0]
        self._keys = {key.id: key for key in keys}
        self._oldest = self._keys[oldest or keys[-1].id]
        self._prefix = _SEAL_VERSION + bytes.fromhex(self._primary.id)
        self._source = source
        self._stamp = stamp
        self._sealing: Sealing | None = None
        # All that one process has sealed opens with one key, or few: they need not be unwrapped for each message.
        self._opening = lru_cache(maxsize=_OPENED)(self._unwrapped)

    def __reduce__(self) -> tuple[object, ...]:
        # Keys do not travel: another process of their owner gets them where they are.
        if self._source is None:
            raise KeyringError("keys that are in no file do not leave their process; put them into the home's keyring")
        return _reopened, (self._source, self._primary.id)

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._keys)}, primary {self._primary.id}>"

    @property
    def primary(self) -> str:
        """The id of the key that seals and tags."""
        return self._primary.id

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the primary first and then from new to old."""
        return tuple(self._keys)

    @property
    def source(self) -> KeySource | None:
        """Where the keys are from; None if they were given to this process alone."""
        return self._source

    def created(self, key_id: str) -> datetime | None:
        """When a key was made, if its source says so."""
        return self._keys[key_id].created

    def older(self) -> Iterator[Keyring]:
        """This keyring as it was with each of the other keys as its primary, to look for what they named."""
        for id_ in self.ids[1:]:
            first = self._keys[id_]
            rest = [key for key in self._keys.values() if key is not first]
            yield Keyring([first, *rest], oldest=self._oldest.id, source=self._source, stamp=self._stamp)

    def seal(self, message: bytes, context: bytes) -> bytes:
        """*message* encrypted and authenticated, to be opened only with the same *context*.

        Sealing the same message twice gives different bytes. Make *context* with `bind`.
        """
        sealing = self._sealing
        if sealing is None or sealing.is_used_up:
            data_key = os.urandom(DATA_KEY_SIZE)
            sealing = self._sealing = Sealing(self._close("seal", data_key, _DATA_KEY), data_key)
        return sealing.seal(message, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed with *context*.

        Raises:
            SealError: the bytes were changed, moved to another context, or sealed with a key that is not here.
        """
        try:
            return self._opening(sealed[:_WRAPPED_SIZE])(sealed[_WRAPPED_SIZE:], context)
        except self._refusals:
            raise SealError from None

    def _unwrapped(self, wrapped: bytes) -> Callable[[bytes, bytes], bytes]:
        return opening(self._open("seal", wrapped, _DATA_KEY))

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """*data_key*, sealed for *context* with a subkey that seals nothing but keys."""
        return self._close("wrap", data_key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The data key that was wrapped for *context*.

        Raises:
            SealError: the bytes were changed, moved to another context, or wrapped with a key that is not here.
        """
        return self._open("wrap", wrapped, context)

    def _close(self, purpose: str, message: bytes, context: bytes) -> bytes:
        encryptor = self._encryptor(self._primary.subkeys[purpose], context)
        return b"".join((self._prefix, encryptor.update(message), encryptor.finalize()))

    def _open(self, purpose: str, sealed: bytes, context: bytes) -> bytes:
        if sealed[: len(_SEAL_VERSION)] != _SEAL_VERSION:
            raise SealError
        key = self._find(sealed_with(sealed))
        decryptor = self._decryptor(key.subkeys[purpose], context)
        try:
            # Nothing is given out before the last chunk is authenticated, so a cut message is never half a message.
            return decryptor.update(sealed[_SEAL_PREFIX:]) + decryptor.finalize()
        except self._refusals:
            raise SealError from None

    def tag_key(self, key_id: str, purpose: str = "tag") -> bytes:
        """The key for the tags of records under the key *key_id*; each suite of records has a *purpose* of its own.

        Raises:
            SealError: that key is not here.
        """
        return self._find(key_id).subkeys[purpose]

    def _find(self, key_id: str) -> Key:
        key = self._keys.get(key_id)
        if key is None and self._source is not None and (stamp := self._source.stamp()) != self._stamp:
            # Somebody has rotated the keys since. This one goes on sealing with its own.
            self._keys = {key.id: key for key in (*self._keys.values(), *self._source.load().keys)}
            self._stamp = stamp
            key = self._keys.get(key_id)
        if key is None:
            raise SealError
        return key

    def link(self, previous: bytes, sealed: bytes) -> bytes:
        """A tag over the tag *previous* and what is *sealed*, made with the key that sealed.

        Raises:
            SealError: that key is not here.
        """
        # Nearly always the primary: each document has a link.
        is_ours = sealed.startswith(self._prefix)
        key = self._primary if is_ours else self._find(sealed_with(sealed))
        return blake3.blake3(bind("link", previous, sealed), key=key.subkeys["link"]).digest(LINK_SIZE)

    def token(self, purpose: str, *parts: str | int | bytes | None) -> str:
        """32 hexadecimal digits that stand for *parts*: equal for equal parts, and telling nothing without the key."""
        return _name(self._primary, "token", bind(purpose, *parts))

    def tokens(self, purpose: str, *parts: str | int | bytes | None) -> tuple[str, ...]:
        """`token` under each of the keys, the primary first."""
        bound = bind(purpose, *parts)
        return tuple(_name(key, "token", bound) for key in self._keys.values())

    def lease(self, purpose: str, *parts: str | int | bytes | None) -> str:
        """A token that names what only one may do at a time: the same one before and after a new key is added."""
        return _name(self._oldest, "token", bind(purpose, *parts))

    def cache_key(self, *parts: str | int | bytes | None) -> str:
        """32 hexadecimal digits that name a cached result; nobody without the key can test guesses."""
        return _name(self._primary, "cache", bind("cache", *parts))

    @classmethod
    def from_source(cls, source: KeySource) -> Keyring:
        """The keys that *source* has; a first one is made there if there is none and the source is for that.

        Raises:
            KeyringError: the keys cannot be had.
        """
        source.create()
        return _loaded(source, source.stamp())

    @classmethod
    def open_or_create(cls, path: Path) -> Keyring:
        """The keyring in the file *path*; made there, with one new key, if there is none.

        Raises:
            KeyringError: the file cannot be used, others may read it, or it is damaged.
        """
        return cls.from_source(KeyFile(path.absolute()))


def _name(key: Key, purpose: str, bound: bytes) -> str:
    return blake3.blake3(bound, key=key.subkeys[purpose]).digest(16).hex()


def _reopened(source: KeySource, primary: str) -> Keyring:
    """The keyring of *source* in a process that was told of it by one whose primary key is *primary*."""
    keyring = _loaded(source, source.stamp())
    if keyring.primary == primary:
        return keyring
    # Rotated between the two: to name results alike, both seal with the same key.
    for older in keyring.older():
        if older.primary == primary:
            return older
    raise KeyringError(f"this process has other keys than the one that it works for: {primary!r} is not among them")


@lru_cache(maxsize=8)
def _loaded(source: KeySource, stamp: object) -> Keyring:
    """The keys of *source*, fetched once for each *stamp*, which changes whenever they do."""
    found = source.load()
    newest_first = found.keys[::-1]
    ordered = sorted(newest_first, key=lambda key: key.id != found.primary)
    return Keyring(ordered, oldest=found.keys[0].id, source=source, stamp=stamp)
