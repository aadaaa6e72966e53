# SPDX-License-Identifier: Apache-2.0
"""Which document follows which in the record of a run, and is one of them missing?

Behind the sealed bytes of each envelope stands a keyed tag over the tag before it and all of the envelope. There is one
chain per run, in the order in which the documents left, whatever task they are of.
"""

from __future__ import annotations

import hmac
import operator
import os
import threading
from typing import TYPE_CHECKING

import msgspec

from strongroom.abc import Envelope
from strongroom.errors import SealError
from strongroom.keyring import LINK_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from strongroom.keyring import Keyring

__all__ = ["Chain", "Links", "known_head", "note_head", "unlinked"]

# What stands beside the sealed bytes.
_columns: Callable[[Envelope], tuple[str | int, ...]] = operator.attrgetter(
    *(field for field in Envelope.__struct_fields__ if field != "sealed")
)
_FIRST = bytes(LINK_SIZE)
_HEADS = "heads"
_RUN_ID_SIZE = 32


class Links:
    """Puts the tags on what leaves. Threads may send at once: the tag says who came first."""

    def __init__(self, keyring: Keyring, put: Callable[[Envelope], None], head: bytes | None = None) -> None:
        """Hand envelopes on to *put*; *head* is the tag of the last document, if there are documents already."""
        self._keyring = keyring
        self._put = put
        self._lock = threading.Lock()
        self.head = head or _FIRST
        """The tag of the document that left last."""

    def put(self, envelope: Envelope) -> None:
        """Let *envelope* follow what was put before it."""
        # Handing it on belongs to it: the order on the way has to be that of the tags.
        with self._lock:
            tag = self._keyring.link(self.head, envelope.sealed, *_columns(envelope))
            self._put(_with_sealed(envelope, envelope.sealed + tag))
            self.head = tag


class Chain:
    """Follows the documents of one run, as somebody has given them out."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self.head = _FIRST
        """The tag of the document that came last."""

    def follow(self, envelope: Envelope) -> bool:
        """True if *envelope* is just what followed the one before it; whatever it is, the next is to follow it."""
        bare = unlinked(envelope)
        tag = envelope.sealed[len(bare.sealed) :]
        try:
            expected = self._keyring.link(self.head, bare.sealed, *_columns(bare))
        except (SealError, ValueError, OverflowError):
            expected = b""
        self.head = tag
        return hmac.compare_digest(expected, tag)


def unlinked(envelope: Envelope) -> Envelope:
    """*envelope* as it was before its tag was put on."""
    return _with_sealed(envelope, envelope.sealed[:-LINK_SIZE])


def note_head(home: Path, run_id: str, head: bytes) -> None:
    """Remember in *home* how far the record of a run goes, so that a backend that hides its end is found out."""
    descriptor = os.open(home / _HEADS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        # One write, so that processes that end at once do not mix their lines.
        os.write(descriptor, f"{run_id} {head.hex()}\n".encode())
    finally:
        os.close(descriptor)


def known_head(home: Path, run_id: str) -> bytes | None:
    """The newest tag of the run that a process of this home has sent; None if none has come to its end here."""
    found = None
    try:
        with (home / _HEADS).open("rb") as lines:
            for line in lines:
                if line.startswith(run_id.encode() + b" ") and len(line) == _RUN_ID_SIZE + 2 * LINK_SIZE + 2:
                    found = bytes.fromhex(line[_RUN_ID_SIZE:].decode())
    except FileNotFoundError:
        return None
    return found


def _with_sealed(envelope: Envelope, sealed: bytes) -> Envelope:
    return msgspec.structs.replace(envelope, sealed=sealed)
