# SPDX-License-Identifier: Apache-2.0
"""How does a process keep what it was lent for as long as it needs it, and notice when it was lost?"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from strongroom._holders import Note, free_left
from strongroom._interrupts import pause
from strongroom.abc import StoppedAtOnce, SupportsLeases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from strongroom.abc import Backend, Lease

__all__ = ["Held", "Leases", "open_leases"]

# How long a slot stays taken after its holder was killed.
_SECONDS = 15.0
# Two heartbeats may be late or fail before a lease is lost.
_BEATS = 3
# Between two questions whether a lease has expired.
_PAUSE = 0.1
# A backend that does not answer keeps nobody for longer: its leases end by themselves.
_PATIENCE = 10.0
_AT_ONCE = 1.0


class Held:
    """A lease that is renewed until it is given back. A context manager: the end of the block gives it back."""

    def __init__(self, leases: Leases, lease: Lease, until: float) -> None:
        self._leases = leases
        self._lost = threading.Event()
        self._until = until
        self.lease = lease

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    @property
    def lost(self) -> bool:
        """True if another may hold it by now: the backend said so, or could not be asked in time."""
        return self._lost.is_set() or self._leases.clock() >= self._until

    def release(self) -> None:
        """Give it back; does nothing the second time. Whether it was `lost` is to be asked before."""
        self._leases.release(self)


class Leases:
    """What one holder holds, renewed by a thread of its own. Safe to use from several threads.

    Args:
        backend: who gives leases. It sees *holder* and the names, so these are tokens or random.
        holder: who holds them.
        home: where to note what is held, so that others of this machine can free it once this process is gone, as this
            one does for them; None notes nothing.
        seconds: how long a lease outlives its holder; it is renewed three times as often.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        backend: SupportsLeases,
        holder: str,
        home: Path | None = None,
        *,
        seconds: float = _SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home = home
        self._note = Note(home, holder) if home is not None else None
        self.clock = clock
        self._backend = backend
        self._holder = holder
        self.seconds = seconds
        self._held: dict[Held, None] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._heart: threading.Thread | None = None
        self._signal: tuple[str, Callable[[], object]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(_AT_ONCE if kind is StoppedAtOnce else _PATIENCE)

    def try_hold(self, name: str, slots: int = 1) -> Held | None:
        """Hold one of the *slots* of *name*, if one is free; else None, at once.

        Raises:
            BackendUnavailableError: trying again may help.
        """
        if self._closing.is_set():
            raise RuntimeError("these leases were given back; open them again")
        # Counted from before the backend was asked: by its clock the lease cannot end earlier than by ours.
        until = self.clock() + self.seconds
        lease = self._backend.acquire(name, self._holder, seconds=self.seconds, slots=slots)
        if lease is None and self._home is not None and free_left(self._home, self._backend.release):
            until = self.clock() + self.seconds
            lease = self._backend.acquire(name, self._holder, seconds=self.seconds, slots=slots)
        if lease is None:
            return None
        held = Held(self, lease, until)
        with self._lock:
            self._held[held] = None
            self._write_note()
            if self._heart is None:
                self._heart = threading.Thread(target=self._beat, name="strongroom-leases", daemon=True)
                self._heart.start()
        return held

    def hold(self, name: str) -> Held | None:
        """Hold *name*, even if one who was killed did so just now: wait for as long as that can last.

        None is the answer if somebody alive holds it.
        """
        end = self.clock() + self.seconds + _PAUSE
        while (held := self.try_hold(name)) is None and self.clock() < end:
            pause(_PAUSE)
        return held

    def listen(self, name: str, tell: Callable[[], object]) -> None:
        """Call *tell*, once, when somebody else holds *name*, which is asked with each heartbeat.

        So two processes that share nothing but a backend can give each other a sign.
        """
        self._signal = name, tell

    def release(self, held: Held) -> None:
        """Give *held* back, if that was not done before."""
        with self._lock:
            if held not in self._held:
                return
            del self._held[held]
        with contextlib.suppress(Exception):  # a backend is a plugin: whatever it raises, the lease ends by itself
            self._backend.release(held.lease)
        with self._lock:
            self._write_note()

    def _write_note(self) -> None:
        if self._note is not None:
            self._note.write([held.lease for held in self._held])

    def close(self, seconds: float = _PATIENCE) -> None:
        """Give everything back, but wait no longer than so many *seconds* for the backend. Closing twice is allowed."""
        self._closing.set()
        if self._heart is not None and self._heart.is_alive():
            self._heart.join(seconds)
        else:
            # A ctrl-C came while its thread was started, so that nobody else gives back what is held.
            self._release_all()
        if self._note is not None:
            self._note.close()

    def _beat(self) -> None:
        self._renew_all()
        self._release_all()

    def _release_all(self) -> None:
        for held in list(self._held):
            self.release(held)

    def _renew_all(self) -> None:
        while not self._closing.wait(self.seconds / _BEATS):
            with self._lock:
                all_held = [held for held in self._held if not held._lost.is_set()]  # noqa: SLF001  # ours
            for held in all_held:
                self._renew(held)
            self._hear()

    def _hear(self) -> None:
        if self._signal is None:
            return
        name, tell = self._signal
        try:
            lease = self._backend.acquire(name, self._holder, seconds=self.seconds)
            if lease is not None:
                self._backend.release(lease)
        except Exception:  # a backend is a plugin: whatever it raises, that is no sign
            return
        if lease is None:
            self._signal = None
            tell()

    def _renew(self, held: Held) -> None:
        until = self.clock() + self.seconds
        try:
            renewed = self._backend.renew(held.lease, seconds=self.seconds)
        except Exception:  # a backend is a plugin: whatever it raises, nobody knows; time will tell
            return
        with self._lock:
            if renewed:
                held._until = until  # noqa: SLF001  # ours
            elif held in self._held:
                # Not one that was given back just now, while the backend was asked.
                held._lost.set()  # noqa: SLF001


def open_leases(backend: Backend, holder: str, home: Path | None = None, *, seconds: float = _SECONDS) -> Leases | None:
    """Leases of *backend*, if it offers any; see `Leases`."""
    return Leases(backend, holder, home, seconds=seconds) if isinstance(backend, SupportsLeases) else None
