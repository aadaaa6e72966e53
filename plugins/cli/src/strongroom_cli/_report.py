# SPDX-License-Identifier: Apache-2.0
"""Where does the result of a task lie, and how big is it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from strongroom_cli._paths import local_path

__all__ = ["Kept"]


@dataclass(frozen=True, slots=True)
class Kept:
    """A result as its reference describes it."""

    handler: str
    url: str = ""
    """Where it is stored; empty if only the handler knows."""
    chain: str = ""
    size: int | None = None
    """Bytes in storage."""

    @classmethod
    def of(cls, handler: str, reference: object) -> Kept:
        """What *reference*, which *handler* gave, says."""
        if handler != "stored" or not isinstance(reference, Mapping):
            # What another handler's reference means, only that one knows; it may hold the value, or a secret.
            return cls(handler)
        url = f"{str(reference['storage']).rstrip('/')}/{reference['key']}"
        return cls(handler, url, str(reference["chain"]), int(reference["size"]))

    @property
    def place(self) -> str:
        """For people: a path, a URL, or where else it is."""
        if not self.url:
            return "in the record of the run" if self.handler == "json" else f"kept by {self.handler!r}"
        return local_path(self.url)

    def to_json(self) -> dict[str, object]:
        """The same for programs."""
        return {"handler": self.handler, "url": self.url or None, "chain": self.chain, "size": self.size}
