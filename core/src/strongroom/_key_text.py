# SPDX-License-Identifier: Apache-2.0
"""How are keys written down as text?

As TOML: a version, the id of the key that seals, and one table for each key, the oldest first.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec

from strongroom._keys import Key, KeySet
from strongroom.errors import KeyringError

__all__ = ["Entries", "KeyText", "plain", "revealed", "written"]

Entry = Mapping[str, object]
Entries = Mapping[str, Entry]


class KeyText(msgspec.Struct, frozen=True):
    """What a text says, before the secrets are looked at."""

    what: str
    """What an error calls it, such as ``the keyring '/home/me/.strongroom/keyring.toml'``."""
    way_out: str
    """What to do if it is damaged."""
    primary: str
    entries: Entries

    @classmethod
    def read(cls, data: bytes, what: str, way_out: str) -> KeyText:
        """What *data* says.

        Raises:
            KeyringError: it is no keyring, or one of a later version.
        """
        import tomllib  # it takes a while, and many processes never need a key

        damaged = f"{what} is damaged; {way_out}"
        try:
            document = tomllib.loads(data.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            # The parser's message quotes the line, and the line may be a secret.
            raise KeyringError(damaged) from None
        if "version" not in document:
            raise KeyringError(damaged)
        if document["version"] != 1:
            raise KeyringError(f"{what} has a version that this strongroom does not know; upgrade it")
        entries, primary = document.get("keys"), document.get("primary")
        if not isinstance(entries, dict):
            entries = {}
        whole = set(document) == {"version", "primary", "keys"} and primary in entries
        if not whole or not all(isinstance(entry, dict) for entry in entries.values()):
            raise KeyringError(damaged)
        return cls(what, way_out, str(primary), entries)

    def keys(self, reveal: Callable[[str, Entry], bytes]) -> KeySet:
        """The keys; *reveal* finds the secret of an id in its entry, or raises a ValueError.

        Raises:
            KeyringError: an entry is damaged, or has a key of another name.
        """
        return KeySet(tuple(self._key(id_, entry, reveal) for id_, entry in self.entries.items()), self.primary)

    def _key(self, id_: str, entry: Entry, reveal: Callable[[str, Entry], bytes]) -> Key:
        created = entry.get("created")
        try:
            secret = reveal(id_, entry)
        except ValueError:
            raise KeyringError(f"the key {id_!r} in {self.what} is damaged; {self.way_out}") from None
        try:
            key = Key(secret, created if isinstance(created, datetime) else None)
        except KeyringError as exc:
            raise KeyringError(f"the key {id_!r} in {self.what} is none: {exc}; {self.way_out}") from None
        if key.id != id_:
            raise KeyringError(f"the key {id_!r} in {self.what} is not the key of that name; {self.way_out}")
        return key


def plain(key: Key) -> Entry:
    """What is written of *key* where nobody else reads it."""
    return {"secret": base64.b64encode(key.secret).decode(), "created": key.created}


def revealed(_id: str, entry: Entry) -> bytes:
    """The secret that `plain` wrote.

    Raises:
        ValueError: it wrote something else.
    """
    if set(entry) - {"created"} != {"secret"}:
        raise ValueError
    return base64.b64decode(str(entry["secret"]), validate=True)


def written(heading: str, primary: str, entries: Entries) -> str:
    """The text that `KeyText.read` reads, below a line for people.

    Raises:
        KeyringError: *entries* have what we do not write.
    """
    lines = [f"# {heading}", f'version = 1\nprimary = "{primary}"']
    for id_, entry in entries.items():
        if not id_.isalnum():
            raise _not_ours()
        lines += ["", f"[keys.{id_}]", *(f"{name} = {_value(value)}" for name, value in entry.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # What we write into an entry is base64 or an id of a key service: quotes and backslashes are somebody's doing.
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or set(value) & set('"\\'):
        raise _not_ours()
    return f'"{value}"'


def _not_ours() -> KeyringError:
    return KeyringError("the keyring has an entry that strongroom did not write; it was left as it is")
