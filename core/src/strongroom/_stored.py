# SPDX-License-Identifier: Apache-2.0
"""What is known of a stored result, with and without its value?"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from strongroom.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from strongroom._record import Header
    from strongroom.abc import JSONValue

__all__ = ["Checked", "Metadata", "Receipt", "ResultRecord"]

_ABSENT = object()


# Texts and numbers make no cycles: the collector need not look for any.
class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Where a result went, and what it takes to read it back."""

    storage: str
    """The URL of the storage."""
    key: str
    object: str
    """The record's random id: a later record under the same key has another."""
    chain: str
    size: int
    """Bytes in storage."""

    def to_reference(self) -> dict[str, JSONValue]:
        """The reference that leads to the record."""
        return {
            "storage": self.storage,
            "key": self.key,
            "object": self.object,
            "chain": self.chain,
            "size": self.size,
        }


class Metadata(msgspec.Struct, frozen=True):
    """What is known of a stored result without its payload."""

    key: str
    chain: str
    object: str
    size: int
    """Bytes in storage."""
    created: int
    """Microseconds since 1970-01-01 UTC."""
    expires: int | None
    """Microseconds since 1970-01-01 UTC; None if it never expires."""
    fingerprints: Mapping[str, str]

    @classmethod
    def of(cls, key: str, size: int, header: Header) -> Self:
        """What *header* says of the record under *key*, which has so many bytes."""
        fingerprints = MappingProxyType(header.fingerprints)
        return cls(key, header.chain, header.object, size, header.created, header.expires, fingerprints)


class Checked(msgspec.Struct, frozen=True):
    """What became of checking one record."""

    key: str
    metadata: Metadata | None
    """What the record says of itself, authentic; None if it could not be read."""
    problem: StorageError | None
    """A `DamagedError` if its bytes are not those that were written, another one if storage did not give them."""


class ResultRecord:
    """One stored result, authentic; its value is decoded when it is first asked for."""

    def __init__(self, metadata: Metadata, payload: BinaryIO, decode: Callable[[BinaryIO], object]) -> None:
        self.metadata = metadata
        self._payload = payload
        self._decode = decode
        self._result: object = _ABSENT

    @property
    def result(self) -> object:
        """The value.

        Raises:
            MissingPluginError: the serializer is not installed; the message names what to install.
            FormatNotAllowedError: the reader does not allow it.
        """
        if self._result is _ABSENT:
            self._payload.seek(0)
            self._result = self._decode(self._payload)
        return self._result

    def payload(self) -> BinaryIO:
        """The payload as it is stored, from its start; a value that is a view of it shows in it what was changed."""
        self._payload.seek(0)
        return self._payload

    def close(self) -> None:
        """Give back the temporary file that a large payload is in; the value stays."""
        self._payload.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
