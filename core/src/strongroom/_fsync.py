# SPDX-License-Identifier: Apache-2.0
"""How does what is in a file, or which names are in a folder, outlive a power cut?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["fsync"]


def fsync(path: Path) -> None:
    """Make durable what is in the file *path*, or which names the folder *path* has.

    Both are needed: what is in a file may be on the disk before its name is.

    Raises:
        OSError: it is not there, or the disk does not take it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
