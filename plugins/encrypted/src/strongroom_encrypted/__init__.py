# SPDX-License-Identifier: Apache-2.0
"""What keeps results from whoever holds the storage?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.hookspecs import hookimpl
from strongroom_encrypted._codec import Encrypted

if TYPE_CHECKING:
    from strongroom.hookspecs import Register

__all__ = ["Encrypted", "strongroom_register"]


@hookimpl
def strongroom_register(register: Register) -> None:
    """Bring the codec ``encrypted``."""
    register.codec(Encrypted())
