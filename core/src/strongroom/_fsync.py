# SPDX-License-Identifier: Apache-2.0
"""How do the names in a folder outlive a power cut?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["fsync_folder"]


def fsync_folder(folder: Path) -> None:
    """Make durable which names *folder* has: what is in a file may be on the disk before its name is.

    Raises:
        OSError: the disk does not take it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
