# SPDX-License-Identifier: Apache-2.0
"""Who can follow the address that a result handler gives? Here nobody but the owner of the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.hookspecs import hookimpl
from strongroom.wrapping import WrappingHandler

if TYPE_CHECKING:
    from strongroom.hookspecs import Register

__all__ = ["EncryptedURI", "strongroom_register"]


class EncryptedURI(WrappingHandler):
    """Keeps values with another handler, and encrypts where they are: no address shows, wherever the reference goes."""

    id = "encrypted-uri"


@hookimpl
def strongroom_register(register: Register) -> None:
    """Bring the result handler ``encrypted-uri``, which by that name wraps the handler ``stored``."""
    register.handler("encrypted-uri", EncryptedURI)
