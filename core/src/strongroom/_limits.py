# SPDX-License-Identifier: Apache-2.0
"""Which tasks may start now, and which have to wait until fewer with their tag are running?"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING

from strongroom.errors import BackendUnavailableError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from strongroom._jobs import Job
    from strongroom._leases import Held, Leases
    from strongroom._run import Run
    from strongroom._task import Task

__all__ = ["Limits"]

_log = logging.getLogger("strongroom")

# Another process may free a slot at any time, and cannot tell us.
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 1.0
# As long as the outbox tries to reach a backend.
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class _Limit:
    tag: str
    name: str
    """What the backend calls it: a token, since tags are not for the backend to see."""
    slots: int


@dataclass(slots=True)
class _Group:
    """The jobs that wait for the same limits, in the order in which they came: the first one asks for all of them."""

    limits: tuple[_Limit, ...]
    pause: float
    jobs: deque[Job] = field(default_factory=deque)
    next_try: float = 0.0


class Limits:
    """The concurrency limits of one run. A job holds a lease of each limit of its task from its start to its end.

    All methods but `ended` are for the one thread that starts jobs.

    Attributes:
        waiting: how many jobs wait.
    """

    def __init__(self, run: Run, tasks: Iterable[Task]) -> None:
        """Find out which of *tasks* are limited.

        Raises:
            SettingsError: some are, but the backend cannot hold limits.
        """
        self.waiting = 0
        self._run = run
        self._held: dict[Job, tuple[Held, ...]] = {}
        self._freed = False
        self._away_since: float | None = None
        groups: dict[tuple[str, ...], _Group] = {}
        self._groups: dict[Task, _Group] = {}
        limits = run.project.settings.limits
        for task in tasks if limits else ():
            # In one order for everybody, so that those who need the same limits meet at the first of them.
            if tags := tuple(sorted(task.tags & limits.keys())):
                if tags not in groups:
                    groups[tags] = _Group(tuple(self._limit(tag) for tag in tags), _FIRST_PAUSE)
                self._groups[task] = groups[tags]
        self._in_use = tuple(groups.values())
        if self._in_use and run.leases is None:
            task, group = next(iter(self._groups.items()))
            raise SettingsError(
                f"limits.{group.limits[0].tag} holds for the task {task.slug!r}, but the backend of this run "
                "does not offer leases, which that needs; use the backend 'sql', or remove the limit"
            )

    @property
    def next_try(self) -> float | None:
        """When to call `next_job` again, by the run's clock; None if nobody waits. When a job ends, it is at once."""
        return min((group.next_try for group in self._in_use if group.jobs), default=None) if self.waiting else None

    def admit(self, job: Job) -> bool:
        """True if *job* may start: it holds what it needs. Else it is to be queued, and `wait` to be called."""
        group = self._groups.get(job.task)
        # Whoever came before asks first; so many jobs that wait cost no more questions than one.
        return group is None or (not group.jobs and self._hold_all(job, group))

    def wait(self, job: Job) -> None:
        """Let *job* wait; `next_job` will give it back."""
        self._groups[job.task].jobs.append(job)
        self.waiting += 1

    def reason(self, job: Job) -> tuple[str, datetime]:
        """What *job* waits for, for people, and when it will ask again, at the latest."""
        group = self._groups[job.task]
        limits = ", ".join(f"limits.{limit.tag} = {limit.slots}" for limit in group.limits)
        return f"waits for its turn: {limits}", datetime.fromtimestamp(group.next_try, UTC)

    def next_job(self) -> Job | None:
        """A job that waited and may start now, holding what it needs; None if there is none."""
        now = self._run.clock()
        if self._freed:
            # First, so that what is freed meanwhile is not overlooked.
            self._freed = False
            for group in self._in_use:
                group.next_try = now
        for group in self._in_use:
            if group.jobs and group.next_try <= now and self._hold_all(group.jobs[0], group):
                self.waiting -= 1
                return group.jobs.popleft()
        return None

    def waiting_jobs(self) -> Iterator[Job]:
        """The jobs that wait."""
        return chain.from_iterable(group.jobs for group in self._in_use)

    def ended(self, job: Job) -> None:
        """Give back what *job* held. For any thread; says so if the limit may have been exceeded."""
        held = self._held.pop(job, None)
        if held is None:
            return
        if any(each.lost for each in held):
            _log.warning(
                "the task %r lost its place under a concurrency limit while it ran, since the backend was not told in "
                "time that it is alive; others with the same tag may have run at the same time",
                job.task.slug,
            )
        for each in held:
            each.release()
        self._freed = True

    def _limit(self, tag: str) -> _Limit:
        project = self._run.project
        return _Limit(tag, project.keyring.lease("limit", tag), project.settings.limits[tag])

    def _hold_all(self, job: Job, group: _Group) -> bool:
        """Hold all that *group* needs for *job*, or nothing."""
        assert self._run.leases is not None  # noqa: S101  # checked when this was made
        held: list[Held] = []
        for limit in group.limits:
            one = self._try_hold(self._run.leases, limit)
            if one is None:
                for each in held:
                    each.release()
                group.next_try = self._run.clock() + group.pause
                group.pause = min(group.pause * 2, _LONGEST_PAUSE)
                return False
            held.append(one)
        self._held[job] = tuple(held)
        group.pause = _FIRST_PAUSE
        return True

    def _try_hold(self, leases: Leases, limit: _Limit) -> Held | None:
        """As `Leases.try_hold`, but a backend that is away for a while is as if all slots were taken."""
        try:
            held = leases.try_hold(limit.name, limit.slots)
        except BackendUnavailableError:
            now = self._run.clock()
            self._away_since = self._away_since or now
            if now - self._away_since > _PATIENCE:
                raise
            return None
        self._away_since = None
        return held
