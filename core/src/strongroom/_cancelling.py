# SPDX-License-Identifier: Apache-2.0
"""How is a run stopped that another process works on?

Whoever wants that holds a lease that only stands for this wish, and the run asks with each of its heartbeats whether
somebody does. So a backend needs no more than leases, and sees no more than a token.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from strongroom.errors import BackendError, NotSupportedError, SealError, UnknownRunError

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom._leases import Leases
    from strongroom.abc import Backend
    from strongroom.project import Project

__all__ = ["cancel_run"]

_PAUSE = 0.1


def cancel_run(
    run_id: str,
    *,
    backend: Backend | None = None,
    seconds: float = 60.0,
    told: Callable[[], object] = lambda: None,
) -> None:
    """Stop a run that another process or thread works on, and return when it has stopped.

    It hears of that with its next heartbeat, within five seconds, and begins no further task; tasks that run come to
    their end first, but for those in other processes, which are stopped. Then it ends as by ctrl-C: in Cancelled
    states, and `Flow.run` raises a `KeyboardInterrupt` there. What was kept is kept, and the run can be resumed.

    Args:
        run_id: all 32 digits.
        backend: where it is recorded; the one of the settings by default.
        seconds: how long to wait for it. It will stop even if that is too short.
        told: called when the run is sure to hear of it, and is waited for.

    Raises:
        UnknownRunError: the backend has no such run.
        BackendError: it is not running, or has come to another end; or it has not stopped in time.
        NotSupportedError: the backend gives no leases, so that nobody can be told anything.
        BackendUnavailableError: trying again may help.
    """
    # What is only needed here would make every import of strongroom slower.
    from strongroom._leases import open_leases
    from strongroom.project import Project

    project = Project.open()
    with ExitStack() as stack:
        if backend is None:
            backend = stack.enter_context(project.open_backend())
        leases = open_leases(backend, os.urandom(16).hex(), project.home)
        if leases is None:
            raise NotSupportedError("cancelling a run whose backend gives no leases", instead="stop its process")
        stack.enter_context(leases)
        state = _stop(project, backend, leases, run_id, seconds=seconds, told=told)
    if state in {"Running", "Cancelling"}:
        raise _not_cancelled(run_id, "whoever ran it is gone; it can be resumed")
    if state != "Cancelled":
        raise _not_cancelled(run_id, f"it ended as {state} before")


def _stop(
    project: Project, backend: Backend, leases: Leases, run_id: str, *, seconds: float, told: Callable[[], object]
) -> str:
    """Wish that the run stops, until it has; returns the type of its last state."""
    if not (before := _last_state(project, backend, run_id)):
        raise UnknownRunError(run_id)
    running = project.keyring.lease("run", run_id)
    if _is_free(leases, running):
        raise _not_cancelled(run_id, f"nobody runs it; its last state is {before}")
    # The run itself holds this for a moment now and then, to ask whether somebody else does.
    leases.hold(project.keyring.lease("cancel", run_id))
    told()
    _wait_until_free(leases, running, run_id, time.monotonic() + seconds)
    return _last_state(project, backend, run_id)


def _wait_until_free(leases: Leases, name: str, run_id: str, deadline: float) -> None:
    tick = threading.Event()
    while not _is_free(leases, name):
        if time.monotonic() > deadline:
            raise _not_cancelled(run_id, "it was told, and stops as soon as the tasks that it runs have ended")
        tick.wait(_PAUSE)


def _not_cancelled(run_id: str, reason: str) -> BackendError:
    return BackendError(f"the run {run_id!r} was not cancelled: {reason}")


def _is_free(leases: Leases, name: str) -> bool:
    held = leases.try_hold(name)
    if held is not None:
        held.release()
    return held is not None


def _last_state(project: Project, backend: Backend, run_id: str) -> str:
    """The type of the newest state of the run; ``Pending`` before the first, and empty if there is no such run."""
    from strongroom.documents import StateDocument

    state = ""
    for envelope in project.envelopes(backend, run_id, task=""):
        try:
            document = project.open_document(envelope)
        except SealError:
            continue
        if document.run_id == run_id:
            state = document.type if isinstance(document, StateDocument) else state or "Pending"
    return state
