# SPDX-License-Identifier: Apache-2.0
"""What do the runs of this home still have to deliver, and who does it when they are gone?"""

from __future__ import annotations

import logging
import re
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strongroom._box import Box, Contents, segment_size, size_of
from strongroom._heads import forget_head, note_head
from strongroom.errors import BackendError, BackendUnavailableError, OutboxFullError
from strongroom.keyring import LINK_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from strongroom.abc import Backend

__all__ = ["Delivered", "Left", "Outboxes", "Waiting"]

_log = logging.getLogger("strongroom")

_FOLDER = "outbox"
_NAME = re.compile(r"([0-9a-f]{16})-([0-9a-f]{32})")
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Waiting:
    """What one run has in the outbox."""

    run_id: str
    since: int
    """Microseconds since 1970-01-01 UTC."""
    backend: str
    """The id of the backend that it is for; empty if that is not known."""
    address: str
    """Which of the backends of that id it is."""
    documents: int
    size: int
    """Bytes on the disk."""
    is_busy: bool
    """True if a process that lives puts more into it, or delivers it."""
    problem: str
    """Why it cannot be delivered; empty if nothing is known to stand in the way."""


@dataclass(frozen=True, slots=True)
class Left:
    """What could not be delivered of a run."""

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of what waited."""

    documents: int
    left: tuple[Left, ...]


class Outboxes:
    """The outbox of a home: a box for each run that has not delivered everything."""

    def __init__(self, home: Path, most_bytes: int) -> None:
        self._home = home
        self.root = home / _FOLDER
        self.most_bytes = most_bytes
        """How many bytes may wait in all."""

    def waiting(self) -> list[Waiting]:
        """What waits, the oldest first."""
        found = (self._look_into(folder) for folder in self._folders())
        return [each for each in found if each is not None]

    def deliver(
        self,
        backend: Backend,
        *,
        run_id: str = "",
        seconds: float = 0.0,
        stop: Callable[[], bool] = lambda: False,
        moved: Callable[[int], object] = lambda _: None,
    ) -> Delivered:
        """Bring what waits for *backend* there, of all runs or of one, in the order in which it was put.

        Args:
            backend: the backend; what waits for another one goes on waiting.
            run_id: of which run; of all if it is empty.
            seconds: how long to wait for a box that another process delivers just now.
            stop: asked after each batch whether to leave the rest.
            moved: told after each batch how many documents it had.

        Raises:
            BackendUnavailableError: trying again may help.
        """
        documents, left = 0, list[Left]()

        def count(number: int) -> None:
            nonlocal documents
            documents += number
            moved(number)

        for folder in self._folders(run_id):
            try:
                box = _opened(folder, seconds)
                if box is not None:
                    with closing(box):
                        self._empty(box, backend, stop, count)
                elif run_id and folder.exists():
                    left.append(Left(_run_id(folder), "another process has it"))
            except BackendUnavailableError:
                raise
            except Exception as exc:  # a backend is a plugin: whatever it raises, this box stays, and others go on
                left.append(Left(_run_id(folder), str(exc)))
            if stop():
                break
        return Delivered(documents, tuple(left))

    def deliver_left(
        self, backend: Backend, *, stop: Callable[[], bool], moved: Callable[[int], object]
    ) -> Exception | None:
        """`deliver`, for a run that has more to do; what could not be reached, if something could not."""
        try:
            delivered = self.deliver(backend, stop=stop, moved=moved)
        except Exception as exc:  # a backend is a plugin; what it refused is no reason to stop the run
            return exc
        for each in delivered.left:
            _log.warning("what the run %s left in the outbox is not delivered: %s", each.run_id, each.reason)
        return None

    def make_room(self, backend: Backend) -> None:
        """See that there is room for another run.

        Raises:
            OutboxFullError: there is none, although what waits for *backend* was offered to it.
        """
        if size_of(self.root) < self.most_bytes:
            return
        self.deliver_left(backend, stop=lambda: False, moved=lambda _: None)
        if size_of(self.root) >= self.most_bytes:
            raise self.full(has_begun=False)

    @property
    def is_full(self) -> bool:
        """True if a run stops as soon as its backend does not take what it puts here."""
        return size_of(self.root) + segment_size(self.most_bytes) > self.most_bytes

    @property
    def fullness(self) -> str:
        """What to say when there is no room."""
        return f"the outbox {str(self.root)!r} has the {self.most_bytes / 1e6:g} MB of backend.outbox_megabytes"

    def full(self, *, has_begun: bool) -> OutboxFullError:
        """What to raise then; *has_begun* if the run has recorded something."""
        reason = f"{self.fullness}, and the backend does not take what waits in it"
        return OutboxFullError(reason, "deliver what `strongroom outbox` shows", has_begun=has_begun)

    def discard(self, run_id: str) -> int:
        """Throw away what waits of a run, and never deliver it or miss it; how many boxes there were.

        Raises:
            BackendError: a process that lives has it, or it cannot be removed.
        """
        folders = list(self._folders(run_id))
        for folder in folders:
            try:
                box = Box.open(folder)
                if box is not None:
                    box.remove()
            except OSError as exc:
                what = f"what waits of the run {run_id!r} cannot be removed"
                raise BackendError(f"{what}: {exc.strerror}: {exc.filename!r}; see to its permissions") from exc
            if box is None and folder.exists():
                raise BackendError(f"what waits of the run {run_id!r} is in use by another process; end that first")
        if folders:
            forget_head(self._home, run_id)
        return len(folders)

    def _empty(self, box: Box, backend: Backend, stop: Callable[[], bool], moved: Callable[[int], object]) -> None:
        about = box.look()
        if about is not None and (about.backend, about.address) != (backend.id, backend.address):
            return
        while batch := box.take():
            backend.append(batch)
            box.confirm()
            moved(len(batch))
            if stop():
                return
        newest = Contents(box.folder).newest
        if about is not None and newest is not None:
            # Whoever was killed could not say how far he had come.
            note_head(self._home, about.run_id, newest.sealed[-LINK_SIZE:])
        box.remove()
        if box.is_torn:
            raise BackendError("the machine crashed and tore off the end of it; all that was whole is delivered")

    def _look_into(self, folder: Path) -> Waiting | None:
        about, documents, is_busy, problem = None, 0, False, ""
        try:
            box = Box.open(folder)
            is_busy = box is None
            if box is not None:
                box.close()
            contents = Contents(folder)
            about, documents = contents.about, contents.documents
        except BackendError as exc:
            problem = str(exc)
        except OSError as exc:
            problem = f"{str(folder)!r} in the outbox cannot be read: {exc.strerror}"
        if not documents and not problem:
            return None
        return Waiting(
            run_id=_run_id(folder),
            since=int(folder.name[:16], 16) // 1000,
            backend=about.backend if about else "",
            address=about.address if about else "",
            documents=documents,
            size=size_of(folder, "*"),
            is_busy=is_busy,
            problem=problem,
        )

    def _folders(self, run_id: str = "") -> Iterator[Path]:
        """The boxes, the oldest first."""
        try:
            names = sorted(path.name for path in self.root.iterdir())
        except FileNotFoundError:
            return
        for name in names:
            # What is named otherwise was put there by somebody else, and is left alone.
            if _NAME.fullmatch(name) and run_id in {"", name[17:]}:
                yield self.root / name


def _run_id(folder: Path) -> str:
    return folder.name[17:]


def _opened(folder: Path, seconds: float) -> Box | None:
    deadline = time.monotonic() + seconds
    while (box := Box.open(folder)) is None and folder.exists() and time.monotonic() < deadline:
        time.sleep(_PAUSE)
    return box
