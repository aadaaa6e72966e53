# SPDX-License-Identifier: Apache-2.0
"""How do the envelopes of a run get to the backend, in order, and without the run waiting for it?"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING

from strongroom._box import About, Box, Slit
from strongroom._interrupts import LISTEN
from strongroom._memory_backend import MemoryBackend
from strongroom.abc import StoppedAtOnce
from strongroom.errors import BackendError, OutboxFullError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from strongroom._outboxes import Outboxes
    from strongroom.abc import Backend, Envelope

__all__ = ["Outbox", "Straight", "open_outbox"]

_log = logging.getLogger("strongroom")

_BATCH = 4096
# So that a batch is worth a transaction: states come one by one, and each transaction waits for the disk. And while the
# sender waits for Python's lock, each call in which a task lets go of it wakes the sender, nearly always in vain: with
# five times as many batches a cache hit, which opens a file, took 4 to 14 us more.
_GATHER = 0.1
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0
# A connection that was lost is made again by the second try.
_LAST_TRIES = 1.0
# How long nothing may move before a backend that answers late counts as one that does not.
_PATIENCE = 10.0


def open_outbox(
    backend: Backend, outboxes: Outboxes, run_id: str, *, is_hurried: Callable[[], bool] = lambda: False
) -> Outbox | Straight:
    """The way to *backend* for the documents of a run; a context manager. See `Outbox`."""
    # What is in memory is gone when this process is, and so would be a box on the disk that waits for it.
    if backend.id == MemoryBackend.id:
        return Straight(backend)
    return Outbox(backend, outboxes, run_id, is_hurried=is_hurried)


class Straight:
    """The way to a backend that is in this process."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._has_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._has_ended = True

    def put(self, envelope: Envelope) -> None:
        """Hand *envelope* over."""
        if self._has_ended:
            raise _ended()
        self._backend.append((envelope,))

    def flush(self, seconds: float) -> bool:  # noqa: ARG002  # nothing waits, so nobody has to
        """Answer True."""
        return True


class Outbox:
    """Documents on their way: put into a box on this machine's disk, and delivered from there by a thread of its own.

    What was put outlives this process, however it ends. A backend that is down, slow, or refuses what it gets, delays
    the record and not the run: what it has not taken at the end stays in the box, a warning says so, and whoever comes
    next delivers it. Only a box that is full stops the run.

    This goes for SQLite on the same disk, too. Its transactions wait for the disk, so that states would have to wait
    for them in memory, where a kill would find them; and somebody may have locked it. To copy a state into a mapped
    file takes about 2 microseconds, and a box that is emptied in time never reaches the disk.

    Args:
        backend: where they go.
        outboxes: the outbox of this home.
        run_id: whose they are.
        is_hurried: asked, while a box is full, whether to go on waiting for room.
    """

    def __init__(
        self, backend: Backend, outboxes: Outboxes, run_id: str, *, is_hurried: Callable[[], bool] = lambda: False
    ) -> None:
        self._is_hurried = is_hurried
        self._backend = backend
        self._outboxes = outboxes
        self._about = About(run_id, backend.id, backend.address)
        self._changed = threading.Condition()
        self._is_idle = False
        self._hurry = False
        self._closing_since: float | None = None
        self._put = 0
        self._sent = 0
        self._moves = 0
        self._error: BaseException | None = None
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, name="strongroom-outbox", daemon=True)

    def __enter__(self) -> Self:
        """Make the box, and begin with what other runs left.

        Raises:
            OutboxFullError: there is no room for another box. Nothing has run.
        """
        self._outboxes.make_room(self._backend)
        try:
            self._box = Box.create(self._outboxes.root, self._about.run_id)
        except OSError as exc:
            raise self._cannot_be_written(exc) from exc
        self._slit = Slit(self._box.folder, self._about, self._outboxes.most_bytes)
        self._sender.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until everything is delivered, or cannot be for now; after a second ctrl-C, a moment."""
        try:
            with self._changed:
                self._closing_since = time.monotonic()
                self._changed.notify_all()
            self._wait_for_sender(_LAST_TRIES if kind is StoppedAtOnce else _PATIENCE)
        finally:
            # That comes here, too, if it is pressed only now.
            self._close()

    def _wait_for_sender(self, patience: float) -> None:
        """Wait for the end of the sender, or until nothing has moved for as long as that."""
        moves, since = self._moves, time.monotonic()
        while time.monotonic() - since < patience:
            # Nothing that an interrupt could leave locked, as it could within `Thread.join`.
            with contextlib.suppress(queue.Empty):
                return self._ended.get(timeout=LISTEN)
            if moves != self._moves:
                moves, since = self._moves, time.monotonic()
        return None

    def _close(self) -> None:
        self._slit.close()
        if left := self._put - self._sent:
            # Durable before anybody is told that it is kept.
            self._box.sync()
            why = self._error or "it has not answered yet"
            _log.warning(
                "%d documents of the run %s wait on this machine, since the backend has not taken them: %s; the next "
                "command delivers them, and `strongroom outbox` shows them",
                left,
                self._about.run_id,
                why,
            )

    def put(self, envelope: Envelope) -> None:
        """Keep *envelope*, to be delivered after all that were put before it; one thread at a time.

        Raises:
            OutboxFullError: there is no room for it.
            BackendError: the run has ended.
        """
        if self._closing_since is not None:
            raise _ended()
        try:
            # A run whose documents are delivered as they come goes on, whatever waits of others.
            while not self._slit.put(envelope, anyway=self._put == self._sent):
                self._wait_for_room()
        except OSError as exc:
            raise self._cannot_be_written(exc) from exc
        except ValueError:
            raise _ended() from None  # just now, and the file was closed
        self._put += 1
        # Waking the sender for each of them would cost more than sending them: it looks by itself while it is busy.
        if self._is_idle:
            with self._changed:
                self._changed.notify_all()

    def flush(self, seconds: float) -> bool:
        """Wait until all that was put is delivered, but not longer than so many seconds; True if it is."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            while self._put != self._sent and self._error is None and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(min(left, 0.1))
            self._hurry = False
        return self._put == self._sent

    def _wait_for_room(self) -> None:
        moves, deadline = self._moves, time.monotonic() + _PATIENCE
        with self._changed:
            while self._moves == moves and self._put != self._sent:
                is_late = self._is_hurried() or time.monotonic() > deadline
                if is_late or self._error is not None or not self._sender.is_alive():
                    raise self._outboxes.full(has_begun=self._put > 0)
                self._changed.wait(0.1)

    def _cannot_be_written(self, error: OSError) -> OutboxFullError:
        reason = f"the outbox {str(self._outboxes.root)!r} cannot be written: {error.strerror}"
        return OutboxFullError(reason, "see to that", has_begun=self._put > 0)

    def _send_all(self) -> None:
        try:
            self._deliver_all()
        finally:
            self._ended.put(None)

    def _deliver_all(self) -> None:
        try:
            self._note(self._outboxes.deliver_left(self._backend, stop=self._is_closing, moved=self._move))
            self._send_until_the_end()
        finally:
            if self._put == self._sent:
                self._box.remove()
            else:
                self._box.sync()
                self._box.close()

    def _send_until_the_end(self) -> None:
        pause = _FIRST_PAUSE
        while self._wait_for_work():
            error = self._send()
            self._note(error)
            if error is None:
                pause = _FIRST_PAUSE
                continue
            if self._closing_since is not None and time.monotonic() - self._closing_since > _LAST_TRIES:
                return
            # Nobody knows for how long it has to wait: it had better outlive a crash of the machine.
            self._box.sync()
            with self._changed:
                self._changed.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _is_closing(self) -> bool:
        return self._closing_since is not None

    def _move(self, _: int) -> None:
        with self._changed:
            self._moves += 1
            self._changed.notify_all()

    def _note(self, error: BaseException | None) -> None:
        if error is not None and self._error is None:
            _log.warning("the run goes on, and its record waits on this machine: %s", error)
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def _send(self) -> BaseException | None:
        try:
            batch = self._box.take()
            if batch:
                self._backend.append(batch)
                self._box.confirm()
        except BaseException as exc:  # a backend is a plugin: whatever it raises, the batch was not taken
            return exc
        self._sent += len(batch)
        self._move(len(batch))
        return None

    def _wait_for_work(self) -> bool:
        """Wait until a batch has gathered; False if there is nothing left to do."""
        with self._changed:
            # Set before it is asked whether something waits: whoever puts asks in the other order.
            self._is_idle = True
            while self._put == self._sent and self._closing_since is None:
                self._changed.wait(0.5)
            self._is_idle = False
            if self._closing_since is None and not self._hurry and self._put - self._sent < _BATCH:
                self._changed.wait(_GATHER)
        return self._put != self._sent


def _ended() -> BackendError:
    return BackendError("this run has ended, so what its tasks still do is not recorded")
