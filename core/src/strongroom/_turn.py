# SPDX-License-Identifier: Apache-2.0
"""Whose turn is it to compute what many may ask for at once?"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

from strongroom._cache_policies import CachePolicy, IsolationLevel
from strongroom._leases import Leases
from strongroom.errors import BackendError, DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from strongroom._leases import Held
    from strongroom._run import Run
    from strongroom._task import Task

__all__ = ["leases_for", "wait_for_turn"]

T = TypeVar("T")

_log = logging.getLogger("strongroom")

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.5
# Leases end soon after whoever has them, if the backend is honest: one that never ends may not stop everybody for good.
_LONGEST_WAIT = 86_400.0
_NONE = CachePolicy()


def leases_for(task: Task, run: Run, stack: ExitStack) -> Leases | None:
    """Who says whose turn it is for *task*; None if nobody does, or nobody is to be asked.

    Raises:
        DefinitionError: the task insists on being told, and nobody can.
    """
    policy = task.cache_policy or _NONE
    if policy.isolation_level is IsolationLevel.READ_COMMITTED:
        return None
    if policy.lock_manager is not None:
        return stack.enter_context(Leases(policy.lock_manager, run.id))
    if run.leases is None and policy.isolation_level is IsolationLevel.SERIALIZABLE:
        raise DefinitionError(
            f"the task {task.slug!r} is SERIALIZABLE, but the backend cannot say which run computes; "
            "use one that offers leases, or configure a lock_manager"
        )
    return run.leases


def wait_for_turn(
    leases: Leases, name: str, look: Callable[[], T | None], sleep: Callable[[float], None], *, insist: bool
) -> Held | T | None:
    """The turn *name*, or what *look* has found: it is asked while waiting, and once more when the turn is there.

    None if nobody could be asked whose turn it is, so that all who ask go on at once; or if it was somebody else's for
    a day, and there is no result yet.

    Raises:
        BackendError: that is so, and the caller *insists* on its turn.
    """
    seconds, waited = _FIRST_PAUSE, 0.0
    while True:
        try:
            held = leases.try_hold(name)
        except BackendError as exc:
            if insist:
                raise
            _log.warning("nobody can say which run computes a cached result, so several may: %s", exc)
            return None
        if held is not None:
            # Whoever had the turn before may have written between our last look and now.
            found = look()
            if found is None:
                return held
            held.release()
            return found
        if waited >= _LONGEST_WAIT:
            if insist:
                raise BackendError("the backend has lent the turn to compute it to others for a day; see who has it")
            _log.warning("another run has had its turn to compute a cached result for a day, so this one does, too")
            return None
        sleep(seconds)
        waited += seconds
        seconds = min(seconds * 1.5, _LONGEST_PAUSE)
        if (found := look()) is not None:
            return found
