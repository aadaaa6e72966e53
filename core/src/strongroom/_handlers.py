# SPDX-License-Identifier: Apache-2.0
"""Which result handlers are built in?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import msgspec

from strongroom._plain_json import not_plain_json
from strongroom.abc import JSONValue, ResultHandler, Slot
from strongroom.errors import DamagedError, NotFoundError, NotSupportedError, SerializationError
from strongroom.results import Receipt
from strongroom.secret import Secret

if TYPE_CHECKING:
    from strongroom.results import ResultRecord, ResultStore

__all__ = ["ConstantHandler", "JSONHandler", "NullHandler", "SecretHandler", "StoredHandler"]

_MAX_INLINE = 64 << 10


class StoredHandler(ResultHandler):
    """Keeps a value as an authenticated record in a result store; the reference leads to the record."""

    id = "stored"

    def __init__(self, store: ResultStore, key: str | None = None) -> None:
        self._store = store
        self._key = key

    @property
    def store(self) -> ResultStore:
        """Where the records lie."""
        return self._store

    def write(self, value: object, slot: Slot) -> JSONValue:
        key = self._store.key_for(slot) if self._key is None else self._key
        return self._store.write(value, key).to_reference()

    def read(self, reference: JSONValue, slot: Slot) -> object:  # noqa: ARG002  # the seal has bound it to its slot
        with self.record(reference) as record:
            return record.result

    def record(self, reference: JSONValue) -> ResultRecord:
        """The record that *reference* leads to, authentic and not decoded yet."""
        key, object_, size = self._parts(reference)
        return self._store.read(key, object_=object_, size=size)

    def exists(self, reference: JSONValue, slot: Slot) -> bool:  # noqa: ARG002
        """True if the record is there that *reference* leads to; its payload is not read."""
        key, object_, _ = self._parts(reference)
        try:
            return self._store.unverified_metadata(key).object == object_
        except NotFoundError:
            return False

    def delete(self, reference: JSONValue, slot: Slot) -> None:
        """Delete the record that *reference* leads to, if it is there."""
        if self.exists(reference, slot):
            self._store.delete(self._parts(reference)[0])

    def _parts(self, reference: JSONValue) -> tuple[str, str, int]:
        """The key, the object and the size that *reference* names."""
        if not isinstance(reference, Mapping) or not self.can_read(reference):
            raise DamagedError(self._store.url)
        key, object_, size = (reference.get(name) for name in ("key", "object", "size"))
        if not isinstance(key, str) or not isinstance(object_, str) or not isinstance(size, int):
            raise DamagedError(self._store.url)
        return key, object_, size

    def can_read(self, reference: object) -> bool:
        return isinstance(reference, Mapping) and reference.get("storage") == self._store.url

    def find(self, slot: Slot) -> JSONValue:
        """The reference to what `write` kept for *slot*, for somebody who lost it; None if there is nothing.

        Raises:
            StorageError: what is there is no record, or storage does not answer.
        """
        key = next(filter(self._store.exists, self._store.keys_for(slot)), None)
        if key is None:
            return None
        found = self._store.unverified_metadata(key)
        return Receipt(self._store.url, key, found.object, found.chain, found.size).to_reference()


class JSONHandler(ResultHandler):
    """Keeps a small plain JSON value in the reference itself, which is sealed like any other."""

    id = "json"

    def write(self, value: object, slot: Slot) -> JSONValue:  # noqa: ARG002  # every slot is treated alike
        if problem := not_plain_json(value):
            raise SerializationError("the result handler 'json'", problem[1], where=problem[0])
        size = len(msgspec.json.encode(value))
        if size > _MAX_INLINE:
            reason = f"it has {size} bytes as JSON, more than the {_MAX_INLINE} that a document should carry"
            raise SerializationError("the result handler 'json'", f"{reason}; use result_storage instead")
        return cast("JSONValue", value)

    def read(self, reference: JSONValue, slot: Slot) -> object:  # noqa: ARG002
        return reference


class ConstantHandler(ResultHandler):
    """Always answers with the value that it was made with, and keeps nothing."""

    id = "constant"

    def __init__(self, value: object) -> None:
        self._value = value

    def write(self, value: object, slot: Slot) -> JSONValue:  # noqa: ARG002
        return None

    def read(self, reference: JSONValue, slot: Slot) -> object:  # noqa: ARG002
        return self._value


class SecretHandler(ResultHandler):
    """Keeps the name of a `Secret`, and never its value, which is read afresh where it is used."""

    id = "secret"

    def write(self, value: object, slot: Slot) -> JSONValue:  # noqa: ARG002
        if not isinstance(value, Secret):
            raise SerializationError("the result handler 'secret'", f"it is a {type(value).__qualname__}, not a Secret")
        return {"secret": value.name}

    def read(self, reference: JSONValue, slot: Slot) -> object:  # noqa: ARG002
        name = reference.get("secret") if isinstance(reference, Mapping) else None
        if not isinstance(name, str):
            raise DamagedError("a reference of the result handler 'secret'")
        return Secret(name)


class NullHandler(ResultHandler):
    """Keeps nothing; for results that nobody may read again."""

    id = "null"

    def write(self, value: object, slot: Slot) -> JSONValue:  # noqa: ARG002
        return None

    def read(self, reference: JSONValue, slot: Slot) -> object:  # noqa: ARG002
        raise NotSupportedError("reading a result that the handler 'null' dropped", instead="run the task again")
