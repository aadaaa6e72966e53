# SPDX-License-Identifier: Apache-2.0
"""How is Zstandard asked to compress, and what may a frame ask of its reader?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from strongroom.errors import SettingsError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from strongroom_compressed._files import Compressor, Decompressor

__all__ = ["ERRORS", "compressor", "decompressor"]

ERRORS = (zstd.ZstdError,)

_WINDOW_LOG_MAX = 27
"""A frame that would have its reader keep more than 128 MiB to look back into is refused."""


def compressor(level: int, threads: int) -> Compressor:
    """One that writes a frame with a checksum; with *threads*, so many of them compress beside the one that writes.

    Raises:
        SettingsError: the library that is installed has no threads, or not so many.
    """
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: level,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    if threads:
        most = zstd.CompressionParameter.nb_workers.bounds()[1]
        if threads > most:
            raise SettingsError(f"the zstd library here has at most {most} threads; ask for fewer, or for none")
        options[zstd.CompressionParameter.nb_workers] = threads
    return zstd.ZstdCompressor(options=options)


def decompressor() -> Decompressor:
    """One that reads one frame, within a window of bounded size."""
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX})
