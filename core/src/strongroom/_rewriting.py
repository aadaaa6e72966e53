# SPDX-License-Identifier: Apache-2.0
"""How does a stored record go from an old key to the primary one?"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from strongroom import _record
from strongroom._buffers import chunks
from strongroom.errors import DamagedError, NotFoundError, TransientStorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom._storage import Storage
    from strongroom.keyring import Keyring

__all__ = ["former", "rewrite"]


def former(storage: Storage, keyring: Keyring, key_id: str | None = None) -> Iterator[str]:
    """The keys of all records in *storage* under the key *key_id*, as their headers have it.

    Without one, of those under any key that is not the primary.
    """
    for entry in storage.walk():
        with contextlib.suppress(NotFoundError, DamagedError):
            # What is encrypted is wrapped with the same key: both are written at once, here and where it is made.
            found = _header(storage, entry.key).key
            if found == key_id or (key_id is None and found != keyring.primary):
                yield entry.key


def rewrite(storage: Storage, key: str, keyring: Keyring) -> bool:
    """Replace the record under *key* by the same one under the primary key of *keyring*, unless it is that already.

    What is encrypted stays so: its data key is wrapped anew. The payload does not change, nor do the id and the size.
    """
    location = storage.locate(key)
    source, size = storage.open(key)
    with source:
        verified = _record.verify(
            source,
            size,
            _record.read_header(source, location),
            location=location,
            context=_record.bound_to(key),
            keyring=keyring,
        )
    with verified.payload:
        if verified.header.key == keyring.primary:
            return False
        _write(storage, key, keyring, verified)
    return True


def _write(storage: Storage, key: str, keyring: Keyring, verified: _record.Verified) -> None:
    location = storage.locate(key)
    header = msgspec.structs.replace(verified.header, key=keyring.primary)
    if header.wrapped:
        data_key = _record.unwrap_data_key(verified.header, key, keyring, location)
        header = _record.with_data_key(header, data_key, key, keyring)
    with storage.create(key) as sink:
        writer = _record.RecordWriter(sink, header, _record.bound_to(key), keyring)
        try:
            for chunk in chunks(verified.payload, verified.payload_size):
                writer.payload.write(chunk)
            writer.finish(verified.decoded_size)
            # Who replaced or deleted it meanwhile has the last word.
            if _header(storage, key) != verified.header:
                raise TransientStorageError(location, "it was replaced meanwhile")
        except BaseException:
            writer.abandon()
            raise


def _header(storage: Storage, key: str) -> _record.Header:
    source, _ = storage.open(key)
    with source:
        return _record.read_header(source, storage.locate(key))[0]
