# SPDX-License-Identifier: Apache-2.0
"""Where in a value is something, and how is that said without saying what it is?"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["ROOT", "Place", "Refused"]

_LONGEST_NAME = 40
_MOST_STEPS = 12


class Place(NamedTuple):
    """A place in a value: the last step of the way to it, and the place before that."""

    before: Place | None
    step: str
    depth: int
    """How many containers are around it."""

    def item(self, index: int) -> Place:
        """The item with this *index*, of a list or a tuple."""
        return Place(self, f"[{index}]", self.depth + 1)

    def entry(self, key: object, number: int) -> Place:
        """The value under *key*, which is the dict's key with this *number*.

        A key may be data, an address for example, so only what looks like a field's name is shown.
        """
        if type(key) is str and key.isidentifier() and key.isascii() and len(key) <= _LONGEST_NAME:
            return Place(self, f".{key}", self.depth + 1)
        return Place(self, f"{{{number}}}", self.depth + 1)

    def key(self, number: int) -> Place:
        """The dict's key with this *number*."""
        return Place(self, f".keys(){{{number}}}", self.depth + 1)

    def member(self) -> Place:
        """Some member of a set: they have no order, so it has no number."""
        return Place(self, "{}", self.depth + 1)

    def __str__(self) -> str:
        steps: list[str] = []
        place: Place | None = self
        while place is not None:
            steps.append(place.step)
            place = place.before
        shown = steps[::-1][: _MOST_STEPS + 1]
        return "".join(shown) + ("..." if len(shown) < len(steps) else "")


ROOT = Place(None, "$", 0)
"""The value itself."""


class Refused(Exception):  # noqa: N818  # an answer on its way to `JSON.dump`, which makes it an error
    """The value at *place* would not come back unchanged."""

    def __init__(self, reason: str, place: Place) -> None:
        super().__init__(reason)
        self.reason = reason
        self.place = place
