# SPDX-License-Identifier: Apache-2.0
"""Where does the record of a run go when nobody wants to keep it? Into this process, and no further."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeAlias

from strongroom.abc import Backend
from strongroom.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from strongroom.abc import Envelope

__all__ = ["MemoryBackend"]

_Place: TypeAlias = "tuple[str, int, int]"


class MemoryBackend(Backend):
    """Keeps the record of runs for as long as this object lives. Threads may share it."""

    id = "memory"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        # Dictionaries keep the order of insertion, which is the order of `append`.
        self._runs: dict[str, dict[_Place, Envelope]] = {}
        self._opened: dict[str, None] = {}

    def append(self, envelopes: Sequence[Envelope]) -> None:
        """Keep *envelopes*, all or none."""
        with self._lock:
            self._check_open()
            for envelope in self._fresh(envelopes):
                self._runs.setdefault(envelope.run_id, {})[_place(envelope)] = envelope
                if envelope.kind == "run":
                    self._opened[envelope.run_id] = None

    def runs(self, *, prefix: str = "", limit: int = 20) -> Sequence[str]:
        """Ids of runs that start with *prefix*, the one that was opened last first, at most *limit*."""
        with self._lock:
            self._check_open()
            found = [run_id for run_id in reversed(self._opened) if run_id.startswith(prefix)]
        return found[: max(limit, 0)]

    def read(self, run_id: str, *, task: str | None = None) -> Iterator[Envelope]:
        """The envelopes of a run as they are now; what is appended later is not among them."""
        with self._lock:
            self._check_open()
            envelopes = list(self._runs.get(run_id, {}).values())
        return (envelope for envelope in envelopes if task is None or envelope.task == task)

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._runs = {}
            self._opened = {}

    def _fresh(self, envelopes: Sequence[Envelope]) -> list[Envelope]:
        """Those of *envelopes* that are not here yet, each once; nothing is changed."""
        fresh: dict[tuple[str, _Place], Envelope] = {}
        for envelope in envelopes:
            place = _place(envelope)
            known = self._runs.get(envelope.run_id, {}).get(place)
            if known is None:
                known = fresh.setdefault((envelope.run_id, place), envelope)
            if known != envelope:
                raise BackendError(
                    f"another document is already number {envelope.sequence} of the task {envelope.task!r}, map index "
                    f"{envelope.map_index}, in the run {envelope.run_id!r}; none of the batch was kept; start a new run"
                )
        return list(fresh.values())

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError("the backend 'memory' is closed, and what it held is gone; make a new one")


def _place(envelope: Envelope) -> _Place:
    return envelope.task, envelope.map_index, envelope.sequence
