# SPDX-License-Identifier: Apache-2.0
"""What is a key, and what is a set of them?"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

import blake3
import msgspec

from strongroom.errors import KeyringError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

__all__ = ["KEY_ID_SIZE", "Key", "KeySet", "bind"]

KEY_ID_SIZE = 8
_SECRET_SIZE = 32

# Each subkey has one purpose, and a new purpose gets a new string: these are never changed or used twice.
_PURPOSES = MappingProxyType(
    {
        "id": "strongroom 1 key id",
        "seal": "strongroom 1 seal a document",
        "wrap": "strongroom 1 wrap the key of a record",
        "tag": "strongroom 1 tag a record",
        "tag hmac-sha256": "strongroom 1 tag a record with HMAC-SHA256",
        "cache": "strongroom 1 name a cached result",
        "token": "strongroom 1 replace a text by a token",
        "link": "strongroom 1 link a document to the one before",
    }
)


_encode = msgspec.msgpack.Encoder().encode


def bind(purpose: str, *parts: str | int | bytes | None) -> bytes:
    """*purpose* and *parts* as bytes that no other purpose and parts have.

    MessagePack writes the type and length of each part before it, so that parts cannot run into each other.
    """
    return _encode((purpose, *parts))


@dataclass(frozen=True, slots=True)
class Key:
    """One secret and the subkeys derived from it. Nothing of it shows in a repr."""

    secret: bytes = field(repr=False)
    created: datetime | None = field(default=None, compare=False)
    """None if the source of the key does not say."""
    id: str = field(init=False)
    subkeys: Mapping[str, bytes] = field(init=False, repr=False, compare=False)
    """The 32-byte key for each purpose: such as ``seal``, ``wrap``, ``tag``, ``cache`` or ``token``."""

    def __post_init__(self) -> None:
        if len(self.secret) != _SECRET_SIZE:
            raise KeyringError(f"a key has {_SECRET_SIZE} bytes, this one has {len(self.secret)}")
        subkeys = {
            purpose: blake3.blake3(self.secret, derive_key_context=text).digest() for purpose, text in _PURPOSES.items()
        }
        object.__setattr__(self, "subkeys", MappingProxyType(subkeys))
        # The id is derived, so that a wrong key is told by its name before anything is tried with it.
        object.__setattr__(self, "id", subkeys["id"][:KEY_ID_SIZE].hex())

    def __reduce__(self) -> NoReturn:
        # A key in a pickle would be a key in storage, or on its way to somebody.
        raise KeyringError("keys are not pickled; open the keyring where it is needed")

    @classmethod
    def generate(cls) -> Key:
        """A new key from the operating system's random numbers."""
        return cls(os.urandom(_SECRET_SIZE), datetime.now(UTC).replace(microsecond=0))


class KeySet(msgspec.Struct, frozen=True):
    """What a source has: keys, the oldest first, and which one of them seals."""

    keys: tuple[Key, ...]
    primary: str

    def __post_init__(self) -> None:
        if self.primary not in {key.id for key in self.keys}:
            raise KeyringError("a keyring needs at least one key, and one of them to seal with")
