# SPDX-License-Identifier: Apache-2.0
"""Which document follows which in the record of a run, and is one of them missing?

Behind the sealed bytes of each envelope stands a keyed tag over the tag before it and these bytes. They are bound to
all that stands beside them, so that the tag is for the whole envelope once they open. There is one chain per run, in
the order in which the documents left, whatever task they are of.
"""

from __future__ import annotations

import hmac
import threading
from typing import TYPE_CHECKING

import msgspec

from strongroom.errors import SealError
from strongroom.keyring import LINK_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.abc import Envelope
    from strongroom.keyring import Keyring

__all__ = ["Chain", "Links", "unlinked"]

_FIRST = bytes(LINK_SIZE)


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
            tag = self._keyring.link(self.head, envelope.sealed)
            self._put(msgspec.structs.replace(envelope, sealed=envelope.sealed + tag))
            self.head = tag


class Chain:
    """Follows the documents of one run, as somebody has given them out."""

    def __init__(self, keyring: Keyring, known: bytes | None = None) -> None:
        """Follow from the first document; *known* is the tag of one that must be there, if there is such a one."""
        self._keyring = keyring
        self._known = known
        self.head = _FIRST
        """The tag of the document that came last."""
        self.is_cut = known is not None
        """True as long as the one that must be there has not come."""

    @property
    def is_at_known(self) -> bool:
        """True if the one that must be there is the one that came last."""
        return self.head == self._known and not self.is_cut

    def follow(self, envelope: Envelope) -> bool:
        """True if *envelope* is just what followed the one before it; whatever it is, the next is to follow it."""
        bare = unlinked(envelope)
        tag = envelope.sealed[len(bare.sealed) :]
        try:
            expected = self._keyring.link(self.head, bare.sealed)
        except SealError:
            expected = b""
        self.head = tag
        follows = hmac.compare_digest(expected, tag)
        if follows and tag == self._known:
            self.is_cut = False
        return follows


def unlinked(envelope: Envelope) -> Envelope:
    """*envelope* as it was before its tag was put on."""
    return msgspec.structs.replace(envelope, sealed=envelope.sealed[:-LINK_SIZE])
