# SPDX-License-Identifier: Apache-2.0
"""Can bytes that an earlier version wrote still be read?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["WRITE_VECTORS", "vector"]

WRITE_VECTORS = "STRONGROOM_TEST_WRITE_VECTORS"
"""The environment variable that lets `vector` write what is missing."""


def vector(path: Path, write: Callable[[], bytes]) -> bytes:
    """The committed bytes at *path*.

    If they are missing and `WRITE_VECTORS` is set, *write* is asked for them and they are kept. A file that is there is
    never written again: bytes are for ever, and a test that no longer reads them has found a mistake.

    Raises:
        FileNotFoundError: they are missing; the message says how to write them.
    """
    if path.exists():
        return path.read_bytes()
    if not os.environ.get(WRITE_VECTORS):
        raise FileNotFoundError(f"the vector {path.name} is missing; restore it, or write a new one: {WRITE_VECTORS}=1")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write())
    return path.read_bytes()
