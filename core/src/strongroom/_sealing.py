# SPDX-License-Identifier: Apache-2.0
"""How are the many small messages of one process sealed?

::

    113 bytes   a data key, wrapped by the keyring: version, id of the key, Cobblestone-256
    12          the nonce: which of the messages under this data key it is, from 0, little-endian
    the rest    the message, encrypted with AES-256-GCM under the data key; the last 16 bytes are the tag

Each task has two messages, and to derive a key for each of them would take longer than all the rest of sealing it. So a
process has a data key of its own, which each message carries. It is never written down in clear, and nobody else seals
with it, so that to count is enough for no nonce to come twice (NIST SP 800-38D, section 8.2.1; TLS does so, too). A
process that was forked takes another one. What is wrapped is committed to its key, so that no message opens with two.

Random nonces would do as well. But to ask the system for each of them lets go of the interpreter's lock, and wakes the
thread that delivers what was sealed before, in vain nearly every time: a recorded task took a third more than it does.
"""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["DATA_KEY_SIZE", "SEALING_OVERHEAD", "Sealing", "opening"]

DATA_KEY_SIZE = 32
_NONCE_SIZE = 12
# Of 1 KiB each they have 2**30 blocks, and are told from random bytes with a probability of less than 2**-64.
_MOST_MESSAGES = 1 << 24

SEALING_OVERHEAD = _NONCE_SIZE + 16
"""How many bytes a message needs beside the wrapped data key."""


class Sealing:
    """One data key, for many messages. Safe to use from several threads."""

    __slots__ = ("_encrypt", "_forks", "_lock", "_used", "_wrapped")

    def __init__(self, wrapped: bytes, data_key: bytes) -> None:
        """Seal with *data_key*, which nobody else seals with, and put it before each message as *wrapped*."""
        self._wrapped = wrapped
        self._encrypt = _cipher(data_key).encrypt
        _count_forks()
        self._forks = len(_forks)
        self._lock = threading.Lock()
        self._used = 0

    @property
    def is_used_up(self) -> bool:
        """True if another data key is due: after so many messages, or since this process is a fork of its owner."""
        return self._used >= _MOST_MESSAGES or self._forks != len(_forks)

    def seal(self, message: bytes, context: bytes) -> bytes:
        """*message*, encrypted and authenticated together with *context*, behind the wrapped data key."""
        with self._lock:
            number = self._used
            self._used = number + 1
        nonce = number.to_bytes(_NONCE_SIZE, "little")
        return b"".join((self._wrapped, nonce, self._encrypt(nonce, message, context)))


def opening(data_key: bytes) -> Callable[[bytes, bytes], bytes]:
    """What opens messages that were sealed with *data_key*: from what stands behind it, and the context.

    It raises what `cryptography` raises: InvalidTag, or ValueError for what is too short.
    """
    decrypt = _cipher(data_key).decrypt
    return lambda sealed, context: decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], context)


def _cipher(data_key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # only whoever seals or opens needs it

    return AESGCM(data_key)


# One for each fork that lies between the first process and this one. A process id would not do: it is given again.
_forks: list[None] = []


@cache
def _count_forks() -> None:
    os.register_at_fork(after_in_child=lambda: _forks.append(None))
