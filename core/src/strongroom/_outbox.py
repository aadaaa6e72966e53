# SPDX-License-Identifier: Apache-2.0
"""How do envelopes get to the backend, in order, and without the run waiting for each of them?"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from strongroom.errors import BackendError, BackendUnavailableError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from strongroom.abc import Backend, Envelope

__all__ = ["Outbox"]

_log = logging.getLogger("strongroom")

_BATCH = 512
_FULL = 8192
_PATIENCE = 30.0
_FIRST_PAUSE = 0.05
_LONGEST_PAUSE = 2.0


class Outbox:
    """Envelopes on their way, sent in batches by a thread of its own.

    It holds at most 8,192 of them: a run that is quicker than its backend waits. A backend that cannot be reached is
    tried again for half a minute; then the outbox gives up. A warning says so at once, and an error at the end.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._waiting: deque[Envelope] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._error: BaseException | None = None
        self._lost = 0
        self._sender = threading.Thread(target=self._send_all, name="strongroom-outbox", daemon=True)

    def __enter__(self) -> Self:
        self._sender.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until everything is sent.

        Raises:
            BackendError: the backend did not take all of it.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._sender.join()
        # Whatever ended the block is worth more than this news.
        if self._error is not None and kind is None:
            raise BackendError(f"{self._lost} documents could not be recorded: {self._error}") from self._error

    def put(self, envelope: Envelope) -> None:
        """Take *envelope* for sending, after all that were put before it."""
        if self._closing:
            raise BackendError("this run has ended, so what its tasks still do is not recorded")
        waiting = self._waiting
        waiting.append(envelope)
        # Waking the sender for each envelope would cost more than sending them: it looks by itself while it is busy.
        if len(waiting) == 1:
            with self._changed:
                self._changed.notify_all()
        elif len(waiting) >= _FULL:
            self._wait_for_room()

    def flush(self, seconds: float) -> bool:
        """Wait until all that was put is sent, but not longer than so many seconds; True if it is."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._waiting and self._sender.is_alive() and time.monotonic() < deadline:
                self._changed.wait(0.1)
        return not self._waiting

    def _wait_for_room(self) -> None:
        with self._changed:
            while len(self._waiting) >= _FULL and self._sender.is_alive():
                self._changed.wait(0.1)

    def _send_all(self) -> None:
        while batch := self._next_batch():
            if self._error is None:
                self._error = self._try_to_send(batch)
                if self._error is not None:
                    _log.warning("the run goes on, but is no longer recorded: %s", self._error)
            if self._error is not None:
                # Keep emptying the queue, so that the run, whose results are safe in storage, can go on.
                self._lost += len(batch)
            with self._changed:
                for _ in batch:
                    self._waiting.popleft()
                self._changed.notify_all()

    def _next_batch(self) -> list[Envelope]:
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait(0.5)
        return [self._waiting[index] for index in range(min(len(self._waiting), _BATCH))]

    def _try_to_send(self, batch: list[Envelope]) -> BaseException | None:
        deadline = time.monotonic() + _PATIENCE
        pause = _FIRST_PAUSE
        while True:
            try:
                self._backend.append(batch)
            except BackendUnavailableError as exc:
                if time.monotonic() + pause > deadline:
                    return exc
            except BaseException as exc:  # a backend is a plugin: whatever it raises, the batch was not taken
                return exc
            else:
                return None
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
