# SPDX-License-Identifier: Apache-2.0
"""What is a worker: a process that does one thing after the other, and whose death is noticed at once?

Each worker has a pipe of its own and is given one thing at a time, so that it is known what a dead one was doing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import threading
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, cast

from loky.backend import get_context

from strongroom.crossing import last_resort
from strongroom.errors import TransferError, WorkerDiedError
from strongroom.keyring import lend_keys, take_lent_keys
from strongroom.project import Project
from strongroom.secret import lend_secrets, take_lent_secrets
from strongroom_processes._pickling import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from strongroom.errors import TaskTimeoutError

__all__ = ["Worker"]

_PATIENCE = 5.0
# What stands before keys. Pickles, which are all other messages, begin with another byte.
_KEYS, _SECRETS, _MASKS = b"K", b"S", b"M"
# What stands before the answer of a process that may be ended by its alarm before it can give it.
_LAST_WORDS = b"L"
# So long after its time a call is ended that lets nobody else in its process do that.
_GRACE = 2.0
# No clock of the system's goes much further.
_LONGEST = 1e8
# Processes are started and buried one at a time: multiprocessing looks after all of them whenever one starts.
_one_at_a_time = threading.Lock()


class Worker:
    """One process, started at once. For one thread at a time, except `kill`, which is for any."""

    def __init__(self) -> None:
        # Loky's processes do not run the caller's script again, so that it needs no `if __name__ == "__main__"`.
        context = get_context("loky")
        self._pipe, theirs = context.Pipe()
        their_lifeline, self._lifeline = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(theirs, their_lifeline), name="strongroom-worker")
        self._process.daemon = False
        with _one_at_a_time:
            # Loky starts it otherwise, and some versions of Python let interrupts through again when they do that.
            resource_tracker.ensure_running()
            with _without_interrupts():
                self._process.start()
        theirs.close()
        their_lifeline.close()
        self._lent: dict[bytes, bytes] = {}
        # Whether anything masks here is looked up once for each process, which takes longer to start.
        self._masks = b"yes" if Project.open().plugins.masks else b""
        self._death = _death_notice(self._process.pid, self._process.sentinel)

    @property
    def pid(self) -> int:
        """The process's id."""
        return int(self._process.pid)

    @property
    def is_alive(self) -> bool:
        """False if the process has ended."""
        return not wait([self._death], 0)

    def call(self, message: bytes) -> bytes:
        """The answer to *message*.

        Raises:
            WorkerDiedError: the process died before it answered.
        """
        last_words = b""
        # Nobody is there to hear the message, or to answer.
        with contextlib.suppress(EOFError, OSError):
            self._lend()
            self._pipe.send_bytes(message)
            while (answer := self._next()) is not None:
                if answer.startswith(_SECRETS):
                    # Before the answer itself is looked at: what a task raised or logged may quote what it was shown.
                    take_lent_secrets(answer.removeprefix(_SECRETS))
                elif answer.startswith(_LAST_WORDS):
                    last_words = answer.removeprefix(_LAST_WORDS)
                else:
                    return answer
        exitcode = self._bury()
        if last_words and exitcode == -signal.SIGALRM:
            return last_words
        raise WorkerDiedError(exitcode)

    def _next(self) -> bytes | None:
        """What the process says next; None if it has died."""
        wait([self._pipe, self._death])
        return bytes(self._pipe.recv_bytes()) if self._pipe.poll() else None

    def _lend(self) -> None:
        """Give the process what only this one has: keys, and the secrets that it is to mask.

        The pipe is the one way to it that nobody else has.
        """
        for kind, lent in ((_MASKS, self._masks), (_KEYS, lend_keys()), (_SECRETS, lend_secrets())):
            if lent != self._lent.get(kind, b""):
                self._pipe.send_bytes(kind + lent)
                self._lent[kind] = lent

    def kill(self) -> None:
        """End the process, whatever it is doing; returns before it has ended."""
        with contextlib.suppress(ProcessLookupError), _one_at_a_time:
            # Not once it is buried: its number may be another process's by then.
            if self._process.exitcode is None:
                os.kill(self.pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    def close(self) -> None:
        """Let the process end; returns before it has ended."""
        self._pipe.close()

    def join(self) -> None:
        """Wait for the end of the process, which was killed or closed; one that does not come to its end is killed."""
        self._bury()

    def _bury(self) -> int | None:
        if not wait([self._death], _PATIENCE):
            self.kill()
            wait([self._death], _PATIENCE)
        with _one_at_a_time:
            # Joining waits for a pipe, which a child of the process may hold longer than that lived.
            if self._process.exitcode is None:
                self._process.join(_PATIENCE)
        for end in (self._pipe, self._lifeline):
            end.close()
        if self._death != self._process.sentinel:
            os.close(self._death)
            self._death = self._process.sentinel
        exitcode: int | None = self._process.exitcode
        return exitcode


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let a process that is started here not be interrupted before it can see to that itself."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _death_notice(pid: int, sentinel: int) -> int:
    """What becomes readable when the process ends."""
    if hasattr(os, "pidfd_open"):
        # The sentinel is the end of a pipe, and a child of the process may hold the other end longer than that lives.
        with contextlib.suppress(OSError):
            return os.pidfd_open(pid)
    return sentinel


def _serve(pipe: Connection, lifeline: Connection) -> None:
    """What a worker does: answer until nobody asks any more."""
    # Ctrl-C reaches all processes of a terminal, but it is for the run to say what comes of it. A function rather than
    # SIG_IGN: what a task starts in turn is to be interrupted as ever.
    signal.signal(signal.SIGINT, lambda *_: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # What a task starts in turn is to have none of this: it may live longer.
    for end in (pipe, lifeline):
        os.set_inheritable(end.fileno(), False)  # noqa: FBT003  # as Python has it
    _end_with(lifeline)
    threading.Thread(target=_follow, args=(lifeline,), name="strongroom-lifeline", daemon=True).start()
    last_resort.set(partial(_ended_by_alarm, pipe))
    known = b""
    problem: TransferError | None = None
    # Nobody asks any more, or nobody is there to hear the answer.
    with contextlib.suppress(EOFError, OSError):
        while True:
            message = pipe.recv_bytes()
            kind, lent = message[:1], message[1:]
            if kind == _KEYS:
                take_lent_keys(lent)
            elif kind == _SECRETS:
                take_lent_secrets(lent)
            elif kind == _MASKS:
                problem = _mask()
            else:
                answer = _answer(message, problem)
                if known != (known := lend_secrets()):
                    pipe.send_bytes(_SECRETS + known)
                pipe.send_bytes(answer)


@contextlib.contextmanager
def _ended_by_alarm(pipe: Connection, seconds: float, error: TaskTimeoutError) -> Iterator[None]:
    """Have the system end this process if the call lets nobody here do that in time, with *error* as its last words."""
    if threading.current_thread() is not threading.main_thread() or seconds > _LONGEST:
        yield  # what a task calls in turn ends with the task
        return
    pipe.send_bytes(_LAST_WORDS + dumps((False, error), "the news of that", instead="report this"))
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _mask() -> TransferError | None:
    """Have this process mask what is logged and printed in it; what is the matter if it cannot."""
    try:
        if Project.open().plugins.masks:
            return None
        problem: Exception = LookupError("no plugin masks there")
    except Exception as exc:  # plugins are loaded: whatever is wrong with them, nothing is shown that they would mask
        problem = exc
    return TransferError("what masks secrets", problem, instead="see that the worker has the same plugins and settings")


def _end_with(lifeline: Connection) -> None:
    """Have the system end this process with the one that started it: what nobody waits for must not go on.

    Also within a call that lets no other thread run, and before anybody who resumes the run does anything.
    """
    if hasattr(fcntl, "F_SETSIG"):
        number = lifeline.fileno()
        fcntl.fcntl(number, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(number, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_ASYNC)


def _follow(lifeline: Connection) -> None:
    """End this process with the one that started it, where the system does not, or this one was not ready for it."""
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    os._exit(1)


def _answer(message: bytes, problem: TransferError | None) -> bytes:
    """The pickle of (True, what was returned) or (False, what was raised); *problem* if nothing may be called."""
    answer: tuple[bool, object]
    try:
        if problem is not None:
            raise problem
        function, args = _understood(message)
        answer = True, function(*args)
    except BaseException as exc:  # whatever the callable raises is the caller's
        answer = False, exc
    instead = "return what can be pickled, or keep it there with persist_result and cache_result_in_memory=False"
    try:
        data = dumps(answer, "what the task returned", instead=instead)
    except TransferError as exc:
        data = dumps((False, exc), "the news of that", instead="report this")
    # What a task printed is to be seen before its end is known.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    return data


def _understood(message: bytes) -> tuple[Callable[..., object], tuple[object, ...]]:
    try:
        return cast("tuple[Callable[..., object], tuple[object, ...]]", loads(message))
    except Exception as exc:  # the user's classes may raise anything while they are made
        instead = "see that the worker can import what the task needs"
        raise TransferError("the task, its inputs, its storage or the context", exc, instead=instead) from exc
