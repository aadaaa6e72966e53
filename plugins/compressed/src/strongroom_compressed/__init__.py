# SPDX-License-Identifier: Apache-2.0
"""Which codecs make a result smaller?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.hookspecs import hookimpl
from strongroom_compressed._codec import Zstd

if TYPE_CHECKING:
    from strongroom.hookspecs import Register

__all__ = ["Zstd", "strongroom_register"]


@hookimpl
def strongroom_register(register: Register) -> None:
    """Bring the codec ``compressed``; other ways to compress are called ``compressed.lz4`` and so on."""
    register.codec(Zstd())
