# SPDX-License-Identifier: Apache-2.0
"""Where does the record of a run go when nobody wants to keep it? Into this process, and no further."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeAlias

from strongroom.abc import Backend, Lease
from strongroom.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from strongroom.abc import Envelope

__all__ = ["MemoryBackend"]

_Place: TypeAlias = "tuple[str, int, int]"


class MemoryBackend(Backend):
    """Keeps the record of runs for as long as this object lives. Threads may share it."""

    id = "memory"

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        # Dictionaries keep the order of insertion, which is the order of `append`.
        self._runs: dict[str, dict[_Place, Envelope]] = {}
        self._opened: dict[str, None] = {}
        # What is held, with the time when that ends: the slot is the key, so that two leases cannot have the same.
        self._leases: dict[tuple[str, int], tuple[Lease, float]] = {}
        self._epoch = 0

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

    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        """A lease of *name* in the lowest slot that is free or expired, or None."""
        with self._lock:
            self._check_open()
            now = self._clock()
            slot = next((slot for slot in range(slots) if not self._is_held((name, slot), now)), None)
            if slot is None:
                return None
            self._epoch += 1
            lease = Lease(name, slot, holder, self._epoch)
            self._leases[name, slot] = lease, now + seconds
            return lease

    def renew(self, lease: Lease, *, seconds: float) -> bool:
        """Let *lease* last for *seconds* from now; False if it is lost."""
        with self._lock:
            self._check_open()
            now, place = self._clock(), (lease.name, lease.slot)
            if not self._is_held(place, now) or self._leases[place][0] != lease:
                return False
            self._leases[place] = lease, now + seconds
            return True

    def release(self, lease: Lease) -> None:
        """Give *lease* back; does nothing if it is lost."""
        with self._lock:
            self._check_open()
            held = self._leases.get((lease.name, lease.slot))
            if held is not None and held[0] == lease:
                del self._leases[lease.name, lease.slot]

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._runs = {}
            self._opened = {}
            self._leases = {}

    def _is_held(self, place: tuple[str, int], now: float) -> bool:
        held = self._leases.get(place)
        return held is not None and now < held[1]

    def _fresh(self, envelopes: Sequence[Envelope]) -> list[Envelope]:
        """Those of *envelopes* that are not here yet, each once; nothing is changed."""
        fresh: dict[tuple[str, _Place], Envelope] = {}
        for envelope in envelopes:
            place = _place(envelope)
            known = self._runs.get(envelope.run_id, {}).get(place)
            if known is None:
                self._check_no_gap(envelope, fresh)
                known = fresh.setdefault((envelope.run_id, place), envelope)
            if known != envelope:
                raise BackendError(
                    f"another document is already number {envelope.sequence} of the task {envelope.task!r}, map index "
                    f"{envelope.map_index}, in the run {envelope.run_id!r}; none of the batch was kept; start a new run"
                )
        return list(fresh.values())

    def _check_no_gap(self, envelope: Envelope, fresh: Mapping[tuple[str, _Place], Envelope]) -> None:
        run_id, before = envelope.run_id, (envelope.task, envelope.map_index, envelope.sequence - 1)
        if envelope.sequence and before not in self._runs.get(run_id, ()) and (run_id, before) not in fresh:
            raise BackendError(
                f"number {before[2]} of the task {envelope.task!r}, map index {envelope.map_index}, in the run "
                f"{run_id!r} is missing, and {envelope.sequence} was to be kept; nothing of the batch was kept"
            )

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError("the backend 'memory' is closed, and what it held is gone; make a new one")


def _place(envelope: Envelope) -> _Place:
    return envelope.task, envelope.map_index, envelope.sequence
