# SPDX-License-Identifier: Apache-2.0
"""What does a plugin implement?

Instances are immutable and picklable. An `id` starts with the name of the plugin that registers it, and is written
into stored records, so it is chosen once and for ever.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Protocol, TypeAlias, runtime_checkable

import msgspec

from strongroom._byte_sources import RemembersLoads, SupportsBuffer
from strongroom._handling import SupportsDelete, SupportsExists, SupportsUnwrap, Wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Self

    from strongroom._keys import KeySet

__all__ = [
    "Backend",
    "Codec",
    "CodecContext",
    "Envelope",
    "Executor",
    "JSONValue",
    "KeySource",
    "Lease",
    "RemembersLoads",
    "ResultHandler",
    "Serializer",
    "Slot",
    "SupportsBuffer",
    "SupportsDelete",
    "SupportsExists",
    "SupportsLeases",
    "SupportsRotation",
    "SupportsTrial",
    "SupportsUnwrap",
    "Wrapped",
]

JSONValue: TypeAlias = "bool | int | float | str | Sequence[JSONValue] | Mapping[str, JSONValue] | None"


class Serializer(ABC):
    """Turns a value into bytes, and bytes into an equal value of the same type."""

    id: str

    executes_code: ClassVar[bool] = False
    """True if `load` may run code that the bytes choose (pickle): it is shown only bytes that are authentic."""

    zero_copy: ClassVar[bool] = False
    """True if `load` returns views of ``source.getbuffer()``, so that the source had better be in memory."""

    @abstractmethod
    def dump(self, value: object, sink: BinaryIO) -> None:
        """Write *value* to *sink*, in pieces, without holding all the bytes at once where the format allows.

        Raises:
            SerializationError: *value* would not come back unchanged.
        """

    @abstractmethod
    def load(self, source: BinaryIO) -> object:
        """Read the one value that *source* holds; *source* may offer `SupportsBuffer`."""

    def dumps(self, value: object) -> bytes:
        """The bytes that `dump` writes."""
        sink = io.BytesIO()
        self.dump(value, sink)
        return sink.getvalue()

    def loads(self, data: bytes) -> object:
        """The value that `load` reads from *data*."""
        return self.load(io.BytesIO(data))


@dataclass(frozen=True, slots=True)
class CodecContext:
    """What a codec may bind its bytes to."""

    binding: bytes
    """The record's identity, injectively encoded: equal for the writer and the reader of one record."""
    data_key: bytes = field(default=b"", repr=False)
    """32 bytes for a codec that ``encrypts``, else none: random for each record, and wrapped in its header.

    The codec gets no other key, and has none to choose or to keep.
    """


class Codec(ABC):
    """Turns bytes into other bytes and back: compresses them, encrypts them.

    The size of what a reader gives out is bounded by the record's own, authenticated statement of it.
    """

    id: str

    encrypts: ClassVar[bool] = False
    """True if nothing of what is written can be read from the bytes without ``context.data_key``."""

    @abstractmethod
    def writer(self, sink: BinaryIO, context: CodecContext) -> BinaryIO:
        """A file to write to; closing it finishes the encoding and leaves *sink* open."""

    @abstractmethod
    def reader(self, source: BinaryIO, context: CodecContext) -> BinaryIO:
        """A file to read from; closing it leaves *source* open. Trailing bytes in *source* are an error."""


class Slot(msgspec.Struct, frozen=True, gc=False):  # as for `Envelope`
    """The place that a result belongs to: one field of one task run."""

    run_id: str
    task: str
    map_index: int = -1
    field: str = "result"


class ResultHandler(ABC):
    """Keeps a value somewhere, and fetches it back from the reference that it gave."""

    id: str

    @abstractmethod
    def write(self, value: object, slot: Slot) -> JSONValue:
        """Keep *value*; the reference that comes back leads to it, from any process, until it is deleted.

        The value is durable when this returns. The reference is sealed before it goes anywhere.
        """

    @abstractmethod
    def read(self, reference: JSONValue, slot: Slot) -> object:
        """The value that *reference* leads to, or `NotFoundError`; for one that it never gave, a `StrongroomError`."""

    def can_read(self, reference: object) -> bool:  # noqa: ARG002  # a handler with places of its own looks at it
        """False if *reference* is one that another handler of the same id gave."""
        return True


# Texts, numbers and bytes make no cycles, which the collector need not look for in the many that there are of these.
class Envelope(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One document as it leaves: clear columns and one sealed blob.

    ``(run_id, task, map_index, sequence)`` identifies it. The sealed blob is bound to all the other fields: whoever
    changes one of them can no longer open it.
    """

    run_id: str
    """32 hexadecimal digits."""
    task: str
    """The slug of the task; empty for the flow run itself."""
    map_index: int
    """From 0 for children of a mapped task; -2 for lines of logs; else -1."""
    sequence: int
    """From 0 in steps of 1 for each ``(run_id, task, map_index)``."""
    kind: str
    """``run`` for the one document that opens a run, ``state``, or ``log``."""
    name: str
    """The name of the flow or of the task."""
    type: str
    """The type of the state; empty for other documents."""
    at: int
    """Microseconds since 1970-01-01 UTC."""
    run_count: int
    """How often the task was started in this run, from 1; 0 before."""
    sealed: bytes
    shown: str = ""
    """A JSON object of what else leaves in clear, by the owner's policy; empty if nothing does. Nothing here reads it:
    it is a copy of what is sealed."""


class Backend(ABC):
    """Keeps the record of runs. It is not trusted: it sees envelopes, and never a value."""

    id: str
    address: str = ""
    """Which one of its id it is, without users and passwords: what waits for it in an outbox is for no other."""

    @abstractmethod
    def append(self, envelopes: Sequence[Envelope]) -> None:
        """Keep *envelopes*, all or none, durable when this returns; what is here already may be sent again.

        Raises:
            BackendUnavailableError: trying again may help.
            BackendError: a different envelope has the same identity, the one with the sequence number before it is
                neither here nor before it in the batch, or the backend refuses.
        """

    @abstractmethod
    def runs(self, *, prefix: str = "", limit: int = 20) -> Sequence[str]:
        """Ids of runs that start with *prefix*, newest first, at most *limit*."""

    @abstractmethod
    def read(self, run_id: str, *, task: str | None = None) -> Iterator[Envelope]:
        """The envelopes of a run in the order of `append`; of one *task* only, if given (``""`` is the flow run).

        An unknown run has none.
        """

    @abstractmethod
    def close(self) -> None:
        """Release connections; calling it twice is allowed. All that is asked for later raises `BackendError`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A thread that was left behind may be in the middle of something, which would have to be waited for.
        if kind is not StoppedAtOnce:
            self.close()


class Lease(msgspec.Struct, frozen=True):
    """The right to do something until it expires, given to one holder."""

    name: str
    """What may be done; a token, since the backend sees it."""
    slot: int
    """Which of the equal rights of this name it is, from 0."""
    holder: str
    epoch: int
    """Higher for each new holder of the slot: whoever holds a lower one has lost it and must not commit."""


@runtime_checkable
class SupportsLeases(Protocol):
    """A backend that can decide who may do something, for processes that share nothing else.

    Leases expire by the backend's clock, so that the clocks of those who ask do not matter. Threads may ask at once.
    """

    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        """A lease of *name* for *seconds*, if one of the first *slots* slots is free or expired; else None, at once.

        A holder that has a lease already gets another one, or None like everybody else. One for 0 seconds has expired
        as soon as it is given.

        Raises:
            BackendUnavailableError: trying again may help.
        """
        ...

    def renew(self, lease: Lease, *, seconds: float) -> bool:
        """Let *lease* last for *seconds* from now; False if it is lost: it expired, even if nobody took the slot yet.

        Raises:
            BackendUnavailableError: trying again may help.
        """
        ...

    def release(self, lease: Lease) -> None:
        """Give *lease* back; does nothing if it is lost."""
        ...


@runtime_checkable
class SupportsTrial(Protocol):
    """A backend that can be tried out without a trace, for `strongroom doctor`."""

    def trial(self, envelope: Envelope) -> Envelope:
        """What comes back of *envelope* once it is written where envelopes are kept; it is not kept.

        Raises:
            BackendUnavailableError: trying again may help.
            BackendError: it could not be kept, either.
        """
        ...

    def clock(self) -> float:
        """The time by the backend's clock, in seconds since 1970-01-01 UTC."""
        ...


class StoppedAtOnce(KeyboardInterrupt):
    """A run ends by a second ctrl-C: who hears of it waits for nobody any more."""


class Executor(ABC):
    """Runs callables somewhere else, or here."""

    id: str

    crosses_processes: ClassVar[bool] = False
    """True if callables run in other processes, so that they, their arguments, results and exceptions are pickled.

    The engine then keeps states, state handlers and the record to itself, and submits nothing but the work proper.
    `strongroom.crossing` helps to bring exceptions back.
    """

    workers: int = 1
    """How many callables can run at once, if they run in other processes; known before the executor is opened."""

    @abstractmethod
    def __enter__(self) -> Self:
        """Get ready; `submit` works from here to `__exit__`.

        Raises:
            RuntimeError: the executor is open already: each run has one of its own.
        """

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what was submitted; with a *kind*, cancel what has not begun; for `StoppedAtOnce` do not wait."""

    @abstractmethod
    def submit(self, function: Callable[..., object], /, *args: object) -> Future[object]:
        """Start ``function(*args)``; the future has its result or its exception.

        An executor that crosses processes gives a future two more exceptions: `WorkerDiedError` if the process of the
        callable died, and `TransferError` if something could not be pickled. Where the callable raises a
        `TaskTimeoutError` that says ``goes_on``, it left a thread behind: an executor whose processes are its own ends
        that process, and says so with another `TaskTimeoutError`.

        Raises:
            RuntimeError: the executor is not open.
        """


class KeySource(ABC):
    """Where the keys of a project come from. Hashable, and equal to a source of the same keys.

    A source is pickled, so that other processes fetch the keys for themselves; a key never is.
    """

    id: str

    @property
    @abstractmethod
    def place(self) -> str:
        """Where that is, in a few words and with no secret in them: ``strongroom keys show`` prints it."""

    @abstractmethod
    def load(self) -> KeySet:
        """The keys, as a `strongroom.keyring.KeySet`.

        Raises:
            KeyringError: they cannot be had; the message holds nothing of them.
        """

    def create(self) -> None:  # noqa: B027  # most sources are filled by somebody else
        """Make a first key if there is none, where that is what the source is for."""

    def stamp(self) -> object:
        """Something that changes whenever `load` would give others; cheap."""
        return None


@runtime_checkable
class SupportsRotation(Protocol):
    """A source whose keys can be changed. Each change is durable when the call returns, whole or not at all."""

    def add(self) -> str:
        """Make a key that opens and does not seal yet; returns its id."""
        ...

    def promote(self, key_id: str) -> None:
        """Let the key *key_id* seal from now on; the one that did goes on opening.

        Raises:
            KeyringError: there is no such key.
        """
        ...

    def remove(self, key_id: str) -> None:
        """Forget the key *key_id*; nothing that it sealed opens from now on.

        Raises:
            KeyringError: there is no such key, or it is the one that seals.
        """
        ...
