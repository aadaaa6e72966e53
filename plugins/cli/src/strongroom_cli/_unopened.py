# SPDX-License-Identifier: Apache-2.0
"""What is said of documents that are not what was sent: enough to see what is wrong, whatever their number?"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from strongroom.keyring import sealed_with
from strongroom_cli._errors import complain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from strongroom import Envelope
    from strongroom.project import Project

__all__ = ["complain_of_all", "complain_of_keys", "foreign_keys"]

_MOST = 20
_KEYS = 3


def foreign_keys(project: Project, envelopes: Iterable[Envelope]) -> dict[str, int]:
    """Key id -> how many of *envelopes* name it, for keys that are not here. What they name is not authentic."""
    named = Counter(sealed_with(each.sealed) for each in envelopes)
    return {key: count for key, count in named.most_common() if key not in project.keyring.ids}


def complain_of_keys(keys: dict[str, int]) -> None:
    """Say which keys seem to be missing."""
    for key, count in list(keys.items())[:_KEYS]:
        named = "1 of them names" if count == 1 else f"{count} of them name"
        complain(f"{named} the key {key!r}, which is not here; restore the keyring that has it, or see who wrote that")


def complain_of_all(lines: Sequence[str]) -> None:
    """Say the first of *lines*, and how many more there are."""
    for line in lines[:_MOST]:
        complain(line)
    if len(lines) > _MOST:
        complain(f"and {len(lines) - _MOST} more; --json has all of them")
