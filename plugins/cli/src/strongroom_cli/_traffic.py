# SPDX-License-Identifier: Apache-2.0
"""How much goes to the backend, and how much of it in clear?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom import Backend
from strongroom.abc import SupportsLeases
from strongroom_cli._output import size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from strongroom import Envelope
    from strongroom.abc import Lease

__all__ = ["CLEAR", "CountingBackend", "Traffic", "counting"]

CLEAR = ("run_id", "task", "map_index", "sequence", "kind", "name", "type", "at", "run_count", "shown")
"""The columns of an envelope that are in clear."""


@dataclass(slots=True)
class Traffic:
    """Documents, and their bytes; numbers count as they are written in decimal."""

    documents: int = 0
    clear: int = 0
    sealed: int = 0

    def add(self, envelope: Envelope) -> None:
        """Count *envelope*."""
        self.documents += 1
        self.clear += sum(len(str(getattr(envelope, column)).encode(errors="surrogatepass")) for column in CLEAR)
        self.sealed += len(envelope.sealed)

    def __str__(self) -> str:
        return (
            f"{self.documents} documents, {size(self.clear + self.sealed)}, of which {size(self.clear)} in clear "
            f"(ids, names, state types, times), {size(self.sealed)} sealed"
        )

    def to_json(self) -> dict[str, int]:
        """The same for programs."""
        return {
            "documents": self.documents,
            "bytes": self.clear + self.sealed,
            "clear_bytes": self.clear,
            "sealed_bytes": self.sealed,
        }


class CountingBackend(Backend):
    """A backend that counts what another one took, run by run."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.id = backend.id
        self.address = backend.address
        self._traffic: dict[str, Traffic] = {}

    def traffic(self, run_id: str) -> Traffic:
        """What was taken of a run."""
        return self._traffic.setdefault(run_id, Traffic())

    def append(self, envelopes: Sequence[Envelope]) -> None:
        self._backend.append(envelopes)
        # Only now: what was refused did not arrive.
        for envelope in envelopes:
            self.traffic(envelope.run_id).add(envelope)

    def runs(self, *, prefix: str = "", limit: int = 20) -> Sequence[str]:
        return self._backend.runs(prefix=prefix, limit=limit)

    def read(self, run_id: str, *, task: str | None = None) -> Iterator[Envelope]:
        return self._backend.read(run_id, task=task)

    def close(self) -> None:
        self._backend.close()


class LendingBackend(CountingBackend):
    """One that lends what the other one lends; leases are no documents, and are not counted."""

    def __init__(self, backend: Backend, lender: SupportsLeases) -> None:
        super().__init__(backend)
        self._lender = lender

    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        """As `SupportsLeases` has it."""
        return self._lender.acquire(name, holder, seconds=seconds, slots=slots)

    def renew(self, lease: Lease, *, seconds: float) -> bool:
        """As `SupportsLeases` has it."""
        return self._lender.renew(lease, seconds=seconds)

    def release(self, lease: Lease) -> None:
        """As `SupportsLeases` has it."""
        self._lender.release(lease)


def counting(backend: Backend) -> CountingBackend:
    """*backend*, counting what it takes. Without leases nobody could say whether a run goes on, so these go with it."""
    return LendingBackend(backend, backend) if isinstance(backend, SupportsLeases) else CountingBackend(backend)
