# SPDX-License-Identifier: Apache-2.0
"""What in a storage is of no use to anybody any more, and how does it go without taking anything that is?

Three kinds of things are garbage:

- **unused**: a result of a run that has ended, to which no state of any run refers. It is only marked at first; the
  next collection that finds it unused, and not rewritten since, deletes it.
- **expired**: a record whose time is over, unless a run that can be gone on with refers to it.
- **leftover**: the temporary file of a writer that died.

Each of them must be older than a period of grace, by the clock of the storage. Everything else is left alone: what the
user gave a name of their own, and what runs have written of which the given record knows nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, BinaryIO, Protocol

import msgspec

from strongroom.abc import Serializer
from strongroom.errors import NotFoundError, SerializationError, StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from strongroom._storage import Entry, Storage
    from strongroom.results import Metadata, ResultStore

__all__ = ["MARK", "Collected", "Collecting", "Garbage", "Marks", "References", "RunReferences"]

MARK = "garbage/mark"
_MARKS = dict[str, Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]]
# As `ResultStore.key_for` names results. Whatever has another name was named by the user.
_OF_A_RUN = re.compile(r"runs/([0-9a-f]{32})/[0-9a-f]{32}")


class RunReferences(msgspec.Struct, frozen=True):
    """What one run refers to."""

    run_id: str
    keys: frozenset[str]
    """In whichever storage they are: two names may mean the same one."""
    goes_on: bool
    """True unless it is known to have ended for good: then all that it has written is in use."""
    opaque: bool = False
    """True if it has ended, and goes on only since a handler of a plugin alone knows what it refers to."""


class References(Protocol):
    """Everything that somebody refers to, and who may write meanwhile."""

    def __iter__(self) -> Iterator[RunReferences]:
        """All runs that are known.

        Raises:
            ReferencesError: it is not known what a run refers to.
        """
        ...

    def turn(self, storage: str, key: str) -> AbstractContextManager[bool]:
        """A ``with`` block in which no task of a known run writes the cached result *key*; False if one is at it."""
        ...


class Garbage(msgspec.Struct, frozen=True):
    """One thing that is of no use any more."""

    key: str
    size: int
    """Bytes in storage."""
    reason: str
    """``unused``, ``expired`` or ``leftover``."""


class Collected(msgspec.Struct, frozen=True):
    """What a collection of garbage came to."""

    deleted: int
    size: int
    """Bytes in storage that were freed."""
    marked: int
    """How many results are unused, and will be deleted next time if they still are."""
    unknown: int
    """How many results were left alone since the record knows nothing of their runs."""
    damaged: int
    """How many records were left alone since they are damaged; `ResultStore.verify` names them."""
    opaque: int
    """How many results were left alone since a handler of a plugin alone knows what their runs refer to."""


class Marks(Serializer):
    """Keys and when they were first found unused, as JSON."""

    id = "strongroom.marks"

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(msgspec.json.encode(value))

    def load(self, source: BinaryIO) -> object:
        try:
            return msgspec.json.decode(source.read(), type=_MARKS)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise SerializationError(self.id, "what is stored is no list of keys") from None


class Collecting:
    """One collection of garbage.

    Args:
        store: whose garbage, and what keeps the marks: it writes with `Marks`.
        storage: the same.
        now: microseconds since 1970-01-01 UTC.
        grace: how old everything must be, in microseconds.
        dry_run: whether to delete nothing and to write nothing.
        tell: called with each piece of garbage, after it was deleted.
        watch: called with each key before it is looked at, or deleted.
    """

    def __init__(
        self,
        store: ResultStore,
        storage: Storage,
        *,
        now: int,
        grace: int,
        dry_run: bool,
        tell: Callable[[Garbage], object],
        watch: Callable[[str], object],
    ) -> None:
        self._store = store
        self._storage = storage
        self._grace = grace
        self._dry_run = dry_run
        self._tell = tell
        self._watch = watch
        self._now = now
        self._deleted = self._size = self._damaged = self._opaque = 0

    def run(self, references: References | None, *, only_user: bool) -> Collected:
        """Collect; without *references* only what is expired or left over.

        *only_user* says that nobody else has runs in the storage, so that those that are not known are over.
        """
        marks = self._read_marks()
        if not self._dry_run:
            self._now = min(self._now, self._time_of_the_storage(marks))
        self._sweep()
        # First what lies there, then what is referred to: what is written in between is too young to be seen at all.
        unused, expired = self._candidates()
        foreign: set[str] = set()
        if references is not None:
            foreign = self._spare(references, unused, expired, only_user=only_user)
        for key, size in expired.items():
            self._delete_expired(key, size, references)
        left = self._delete_unused(unused, marks) if references is not None else marks
        # Of what others have marked, this collection cannot say whether it is still unused; they will.
        left |= {key: since for key, since in marks.items() if key in foreign}
        if not self._dry_run:
            self._store.write(left, MARK)
        marked = len(left.keys() & unused.keys())
        return Collected(self._deleted, self._size, marked, len(foreign), self._damaged, self._opaque)

    def _read_marks(self) -> dict[str, int]:
        try:
            found = self._store.read(MARK).result
        except (StorageError, SerializationError):
            # None yet, or none that can be believed or understood: then nothing was marked.
            return {}
        assert isinstance(found, dict)  # noqa: S101  # what the serializer reads
        return found

    def _time_of_the_storage(self, marks: Mapping[str, int]) -> int:
        """When it is by the clock that also says how old things are: ours may be ahead of it."""
        self._store.write(dict(marks), MARK)
        written = (each.modified for each in self._storage.walk(MARK.partition("/")[0]) if each.key == MARK)
        return next((each for each in written if each is not None), self._now)

    def _sweep(self) -> None:
        for leftover in self._storage.leftovers():
            if self._is_old(leftover.modified):
                if not self._dry_run:
                    self._storage.discard(leftover)
                self._count(leftover.key, leftover.size, "leftover")

    def _candidates(self) -> tuple[dict[str, Entry], dict[str, int]]:
        """What may be unused, and what has expired, with its size."""
        unused, expired = dict[str, "Entry"](), dict[str, int]()
        for entry in self._storage.walk():
            if entry.modified is not None and not self._is_old(entry.modified):
                continue
            metadata = self._look(entry.key)
            if metadata is None or not self._is_old(entry.modified or metadata.created):
                continue
            if metadata.expires is not None and self._is_old(metadata.expires):
                expired[entry.key] = entry.size
            elif _OF_A_RUN.fullmatch(entry.key):
                unused[entry.key] = entry
        return unused, expired

    def _look(self, key: str) -> Metadata | None:
        self._watch(key)
        try:
            return self._store.unverified_metadata(key)
        except NotFoundError:
            return None
        except StorageError:
            self._damaged += 1
            return None

    def _spare(
        self, references: References, unused: dict[str, Entry], expired: dict[str, int], *, only_user: bool
    ) -> set[str]:
        """Take out what is in use; returns what was taken out since its run is not known."""
        ended, going_on, opaque = set[str](), set[str](), set[str]()
        for run in references:
            (going_on if run.goes_on else ended).add(run.run_id)
            opaque.update([run.run_id] if run.opaque else [])
            for key in run.keys:
                unused.pop(key, None)
                if run.goes_on:
                    expired.pop(key, None)
        foreign = set[str]()
        for key in [*unused, *expired]:
            match = _OF_A_RUN.fullmatch(key)
            run_id = match[1] if match else ""
            if run_id in going_on:
                self._opaque += run_id in opaque and key in unused
                unused.pop(key, None)
                expired.pop(key, None)
            elif run_id not in ended and key in unused and not only_user:
                del unused[key]
                foreign.add(key)
        return foreign

    def _delete_expired(self, key: str, size: int, references: References | None) -> None:
        if references is None:
            self._delete_if_expired(key, size)
            return
        # A cached result that has expired is one that a task may be writing anew at this moment.
        with references.turn(self._store.url, key) as is_ours:
            if is_ours:
                self._delete_if_expired(key, size)

    def _delete_if_expired(self, key: str, size: int) -> None:
        try:
            # All of it is checked: an expiry that is not authentic deletes nothing.
            metadata = self._store.check(key)
        except NotFoundError:
            return
        except StorageError:
            self._damaged += 1
            return
        if metadata.expires is not None and self._is_old(metadata.expires):
            self._delete(key, size, "expired")

    def _delete_unused(self, unused: dict[str, Entry], marks: Mapping[str, int]) -> dict[str, int]:
        """Delete what was marked before, and has not been written again since; returns what is marked now."""
        left = dict[str, int]()
        for key, entry in unused.items():
            since = marks.get(key)
            if since is None or since > self._now or (entry.modified is not None and entry.modified >= since):
                left[key] = self._now
            else:
                self._delete(key, entry.size, "unused")
        return left

    def _delete(self, key: str, size: int, reason: str) -> None:
        self._watch(key)
        if not self._dry_run:
            self._storage.delete(key)
        self._count(key, size, reason)

    def _count(self, key: str, size: int, reason: str) -> None:
        self._deleted += 1
        self._size += size
        self._tell(Garbage(key, size, reason))

    def _is_old(self, at: int | None) -> bool:
        return at is not None and at <= self._now - self._grace
