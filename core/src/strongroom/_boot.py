# SPDX-License-Identifier: Apache-2.0
"""Which start of which machine is this?"""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["UNKNOWN", "boot_id"]

UNKNOWN: Final = bytes(16)
"""What stands for it on a system that does not tell."""

_FILE = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> bytes:
    """16 bytes that differ from start to start and from machine to machine, or `UNKNOWN`."""
    try:
        return bytes.fromhex(_FILE.read_text("ascii").replace("-", ""))
    except (OSError, ValueError):
        return UNKNOWN
