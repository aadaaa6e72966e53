# SPDX-License-Identifier: Apache-2.0
"""Which values can be read only once, so that whoever comes second finds nothing?"""

from __future__ import annotations

from io import IOBase

__all__ = ["is_read_once"]


def is_read_once(value: object) -> bool:
    """True for iterators such as generators, asynchronous ones too; files can be read again."""
    # Asked for each result, and an abstract class takes longer to ask than all the rest.
    kind = type(value)
    return (hasattr(kind, "__next__") or hasattr(kind, "__anext__")) and not isinstance(value, IOBase)
