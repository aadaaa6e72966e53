# SPDX-License-Identifier: Apache-2.0
"""How does a process get its keys from its environment, or from a descriptor that it was started with?

It takes them from there, once: what is started later inherits neither, and what prints its environment does not print
them. From then on the process holds their text, and lends it to processes of its own, through a pipe that nobody else
has. It does not write it anywhere.
"""

from __future__ import annotations

import base64
import binascii
import os
import threading
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import blake3
import msgspec

from strongroom._key_text import KeyText, revealed
from strongroom.abc import KeySource
from strongroom.errors import KeyringError

if TYPE_CHECKING:
    from strongroom._keys import KeySet

__all__ = ["KEYRING_VARIABLE", "DescriptorKeys", "EnvironmentKeys", "lend_keys", "take_lent_keys"]

KEYRING_VARIABLE = "STRONGROOM_KEYRING"
"""The variable that holds keys. It is no setting."""

_MOST = 1 << 20

# The place -> the text that was taken from there. For as long as the process lives: no place can be read twice.
_held: dict[str, bytes] = {}
_lock = threading.Lock()


class _HeldKeys(KeySource):
    """Keys that can be taken from their place once."""

    def load(self) -> KeySet:
        text = self._text()
        if text is None:
            raise KeyringError(f"there are no keys in {self.place}: {self._way_in}")
        what, way_out = f"the keyring in {self.place}", "what belongs there is the text of a keyring.toml"
        return KeyText.read(_decoded(text), what, way_out).keys(revealed)

    def stamp(self) -> object:
        text = self._text()
        return None if text is None else blake3.blake3(text).digest()

    def _text(self) -> bytes | None:
        with _lock:
            taken = self._take()
            if taken is not None:
                _held[self.place] = taken
            return _held.get(self.place)

    @property
    @abstractmethod
    def _way_in(self) -> str:
        """What is wrong if there is nothing, and what to do."""

    @abstractmethod
    def _take(self) -> bytes | None:
        """What is in the place now, which is empty afterwards; None if there is nothing."""


@dataclass(frozen=True)
class EnvironmentKeys(_HeldKeys):
    """Keys in the variable ``STRONGROOM_KEYRING``: the text of a keyring file, or the same in base64."""

    id = "environment"

    @property
    def place(self) -> str:
        return f"the variable {KEYRING_VARIABLE}"

    @property
    def _way_in(self) -> str:
        return "set it to the text of a keyring.toml, or to its base64"

    def _take(self) -> bytes | None:
        text = os.environ.pop(KEYRING_VARIABLE, None)
        return None if text is None else os.fsencode(text)


@dataclass(frozen=True)
class DescriptorKeys(_HeldKeys):
    """Keys in a file or pipe that this process was started with: the text of a keyring file, or the same in base64."""

    number: int = 3

    id = "descriptor"

    @property
    def place(self) -> str:
        return f"the descriptor {self.number}"

    @property
    def _way_in(self) -> str:
        return f"start the program with {self.number}<keyring.toml, or with a pipe there"

    def _take(self) -> bytes | None:
        try:
            # What Python opens is not inheritable: so this is no file of the program's that got the number by chance.
            if self.place in _held or not os.get_inheritable(self.number):
                return None
        except OSError:
            return None
        try:
            with os.fdopen(self.number, "rb") as file:
                data = file.read(_MOST + 1)
        except OSError as exc:
            raise KeyringError(f"{self.place} cannot be read: {exc.strerror}") from None
        if len(data) > _MOST:
            raise KeyringError(f"{self.place} has more than {_MOST} bytes, and so no keyring")
        return data


def _decoded(text: bytes) -> bytes:
    """*text*, from base64 if it is that: a keyring has several lines, and some things that set variables take one."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error:
        return text


def lend_keys() -> bytes:
    """What `take_lent_keys` takes in a process of our own, which cannot get them itself; empty if there is nothing.

    There are secrets in it: write it to a pipe that nobody else has, and to nothing else.
    """
    with _lock:
        return msgspec.msgpack.encode(_held) if _held else b""


def take_lent_keys(lent: bytes) -> None:
    """Hold what the process that started this one lends."""
    with _lock:
        _held.update(msgspec.msgpack.decode(lent, type=dict[str, bytes]))
