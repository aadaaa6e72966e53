# SPDX-License-Identifier: Apache-2.0
"""Which codecs make a result smaller?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.hookspecs import hookimpl
from strongroom_compressed._codec import LZ4, XZ, Bzip2, Gzip, Zstd

if TYPE_CHECKING:
    from strongroom.hookspecs import Register

__all__ = ["LZ4", "XZ", "Bzip2", "Gzip", "Zstd", "strongroom_register"]


@hookimpl
def strongroom_register(register: Register) -> None:
    """Bring the codec ``compressed``, which is zstd, and four others: ``compressed.lz4`` and so on."""
    for codec in (Zstd(), LZ4(), Gzip(), Bzip2(), XZ()):
        register.codec(codec)
