# SPDX-License-Identifier: Apache-2.0
"""Which errors strongroom raises, and what each one knows.

StrongroomError
├─ SettingsError (ValueError)            a setting is wrong, or unknown
├─ DefinitionError (ValueError)          a task or a flow is put together wrongly
│  ├─ CycleError                         tasks wait for each other
│  └─ ParameterError                     a run was given the wrong parameters
├─ NotSupportedError (NotImplementedError)   a later version will do this; this one does not
├─ PluginError
│  ├─ MissingPluginError (LookupError)   nobody registered the id
│  ├─ BrokenPluginError                  the plugin raised while it was loaded
│  └─ PluginConflictError                two plugins registered one id
├─ TaskTimeoutError (TimeoutError)       a task took longer than it may
├─ KeyringError                          the keyring cannot be used
├─ SecretError (LookupError)             a secret is not where its name says
├─ SealError                             sealed bytes do not open; no reason is given
├─ SerializationError (ValueError)       a value cannot be written so that it comes back unchanged
├─ HandlerError                          a result handler could not keep or fetch a result
├─ FormatNotAllowedError (PermissionError)   the reader did not allow this serializer or codec
├─ NotEncryptedError (PermissionError)   the reader takes encrypted results only, and this one is plain
├─ StorageError (OSError)
│  ├─ NotFoundError (FileNotFoundError)  nothing is stored there
│  ├─ DamagedError                       stored bytes are not the bytes that were written
│  ├─ TransientStorageError              trying again may help
│  └─ PermanentStorageError              trying again will not help
├─ EgressError                           a document may not leave
├─ DrawingError (OSError)                a flow could not be drawn
├─ RecordedError                         an exception that is not at hand: of an earlier run, or of another process
├─ ExecutorError
│  ├─ WorkerDiedError                    the process that ran a task is gone
│  └─ TransferError                      something cannot be brought from one process to another
└─ BackendError
   ├─ BackendUnavailableError (ConnectionError)  trying again may help
   ├─ OutboxFullError                    what waits for the backend has no more room
   ├─ OutboxDamagedError                 what waits for the backend is not what was put there
   ├─ ReferencesError                    it is not known which results are in use
   ├─ UnknownRunError (LookupError)      the backend has no such run
   └─ NotResumableError                  a run has ended, or still goes on
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "BackendError",
    "BackendUnavailableError",
    "BrokenPluginError",
    "CycleError",
    "DamagedError",
    "DefinitionError",
    "DrawingError",
    "EgressError",
    "ExecutorError",
    "FormatNotAllowedError",
    "HandlerError",
    "KeyringError",
    "MissingPluginError",
    "NotEncryptedError",
    "NotFoundError",
    "NotResumableError",
    "NotSupportedError",
    "OutboxDamagedError",
    "OutboxFullError",
    "ParameterError",
    "PermanentStorageError",
    "PluginConflictError",
    "PluginError",
    "RecordedError",
    "ReferencesError",
    "SealError",
    "SecretError",
    "SerializationError",
    "SettingsError",
    "StorageError",
    "StrongroomError",
    "TaskTimeoutError",
    "TransferError",
    "TransientStorageError",
    "UnknownRunError",
    "WorkerDiedError",
]


_SIGKILL = 9


class StrongroomError(Exception):
    """Everything that strongroom raises on purpose. It reaches another process as it is, by pickle."""

    def __reduce__(self) -> tuple[object, ...]:
        # The built-in way calls the class with the finished message, which would be taken for the facts behind it.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[StrongroomError], args: tuple[object, ...], facts: dict[str, object]) -> StrongroomError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(facts)
    return error


class SettingsError(StrongroomError, ValueError):
    """A setting is unknown or has a value that it cannot have."""


class DefinitionError(StrongroomError, ValueError):
    """A task or a flow is put together wrongly."""


class CycleError(DefinitionError):
    """Tasks wait for each other, so none of them could ever start."""

    def __init__(self, slugs: Collection[str]) -> None:
        super().__init__(f"these tasks wait for each other: {' -> '.join(slugs)}; remove one of the edges")
        self.slugs = tuple(slugs)


class ParameterError(DefinitionError):
    """A run was given parameters that the flow does not have, or not all that it needs."""


class NotSupportedError(StrongroomError, NotImplementedError):
    """This version does not do what was asked; nothing was done."""

    def __init__(self, what: str, *, instead: str = "") -> None:
        super().__init__(f"{what} is not supported by this version" + (f"; {instead}" if instead else ""))
        self.what = what


class PluginError(StrongroomError):
    """A plugin cannot be used."""


class MissingPluginError(PluginError, LookupError):
    """No installed and allowed plugin registered this id."""

    def __init__(self, kind: str, id_: str, hint: str) -> None:
        super().__init__(f"there is no {kind} {id_!r}; {hint}")
        self.kind = kind
        self.id = id_


class BrokenPluginError(PluginError):
    """A plugin raised while it was loaded; the others are not affected."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"the plugin {name!r} is broken and was left out: {reason}")
        self.name = name
        self.reason = reason


class PluginConflictError(PluginError):
    """Two plugins registered the same id."""

    def __init__(self, kind: str, id_: str, first: str, second: str) -> None:
        super().__init__(
            f"the plugins {first!r} and {second!r} both register the {kind} {id_!r}; "
            "uninstall one, or leave it out of the setting plugins.allow"
        )
        self.kind = kind
        self.id = id_
        self.plugins = (first, second)


class TaskTimeoutError(StrongroomError, TimeoutError):
    """A task took longer than it may."""

    def __init__(self, seconds: float, *, goes_on: bool) -> None:
        rest = "; its thread cannot be stopped and goes on in the background" if goes_on else ""
        super().__init__(f"the task took longer than {seconds:g} seconds{rest}")
        self.seconds = seconds
        self.goes_on = goes_on


class KeyringError(StrongroomError):
    """The keyring cannot be used as it is."""


class SecretError(StrongroomError, LookupError):
    """A secret is not where its name says."""


class SealError(StrongroomError):
    """Sealed bytes do not open.

    It gives no reason on purpose: which check failed is of use to nobody but an attacker.
    """

    def __init__(self) -> None:
        super().__init__("sealed bytes do not open: they were changed, moved, or sealed with another key")


class SerializationError(StrongroomError, ValueError):
    """A value cannot be written so that it comes back unchanged.

    Attributes:
        where: the place in the value, such as ``$.items[2].price``; ``$`` is the value itself.
    """

    def __init__(self, serializer: str, reason: str, *, where: str = "$") -> None:
        super().__init__(f"{serializer} cannot keep the value at {where}: {reason}")
        self.serializer = serializer
        self.reason = reason
        self.where = where


class HandlerError(StrongroomError):
    """A result handler could not keep or fetch a result.

    The message names the handler and the kind of error underneath, never the value: the text of an error that a
    serializer or a storage raised may quote what it failed on.
    """

    def __init__(self, handler: str, action: str, cause: BaseException) -> None:
        # Our own messages hold no data, so they may be repeated; anybody else's may hold anything.
        why = str(cause) if isinstance(cause, StrongroomError) else type(cause).__name__
        super().__init__(f"the result handler {handler!r} could not {action} a result: {why}")
        self.handler = handler
        self.action = action


class FormatNotAllowedError(StrongroomError, PermissionError):
    """A record is in a format that its reader did not allow; none of it was decoded."""

    def __init__(self, id_: str, location: str) -> None:
        super().__init__(
            f"the result at {location!r} is in the format {id_!r}, which this reader does not allow; "
            f"add {id_!r} to the setting results.allow, or pass allow={{{id_!r}}}, if you trust who wrote it"
        )
        self.id = id_
        self.location = location


class NotEncryptedError(StrongroomError, PermissionError):
    """A record is plain, and its reader takes encrypted ones only; none of it was decoded."""

    def __init__(self, location: str) -> None:
        super().__init__(
            f"the result at {location!r} is not encrypted, and this reader takes encrypted ones only; "
            "to read it all the same, use a chain without 'encrypted' and leave results.require_encryption off"
        )
        self.location = location


class StorageError(StrongroomError, OSError):
    """Something about stored results went wrong."""


class NotFoundError(StorageError, FileNotFoundError):
    """Nothing is stored at this place."""

    def __init__(self, location: str) -> None:
        super().__init__(f"there is no result at {location!r}")
        self.location = location


class DamagedError(StorageError):
    """Stored bytes are not the bytes that were written."""

    def __init__(self, location: str, *, missing_key: str | None = None) -> None:
        why = f"needs the key {missing_key}, which is not in the keyring, or " if missing_key else ""
        super().__init__(f"the result at {location!r} {why}is damaged or was changed; it was not read")
        self.location = location
        self.missing_key = missing_key
        """The id of a key that is not here, if its first line names one. That is not authentic."""


class TransientStorageError(StorageError):
    """Storage did not answer as it should; trying again may help."""

    def __init__(self, location: str, cause: BaseException | str) -> None:
        super().__init__(f"storage failed for {location!r} ({_why(cause)}); trying again may help")
        self.location = location


class PermanentStorageError(StorageError):
    """Storage refuses; trying again will not help until somebody changes something."""

    def __init__(self, location: str, reason: str) -> None:
        super().__init__(f"storage refuses {location!r}: {reason}")
        self.location = location
        self.reason = reason


class EgressError(StrongroomError):
    """A document may not leave for the backend."""


class BackendError(StrongroomError):
    """The backend does not do what it should."""


class BackendUnavailableError(BackendError, ConnectionError):
    """The backend cannot be reached just now; trying again may help."""


class OutboxFullError(BackendError):
    """What waits for the backend has no more room on this machine, so that the run cannot go on."""

    def __init__(self, reason: str, way_out: str, *, has_begun: bool) -> None:
        stops, again = ("this run stops here", "resume it") if has_begun else ("nothing was run", "try again")
        super().__init__(f"{reason}, so {stops}; nothing that was recorded is lost: {way_out}, and then {again}")


class OutboxDamagedError(BackendError):
    """What waits for the backend is not what was put there. What stands before it can be delivered."""

    def __init__(self, location: str, reason: str) -> None:
        super().__init__(f"{location!r} in the outbox is damaged: {reason}; it is not delivered, and was left there")


class ReferencesError(BackendError):
    """It is not known which results are in use, so none is deleted."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            f"no garbage is collected, since it is not known what {what!r} refers to: {reason}; "
            "`strongroom show` and `strongroom store verify` tell more"
        )
        self.what = what


class UnknownRunError(BackendError, LookupError):
    """The backend has no such run."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"there is no run {run_id!r}; `strongroom runs` lists those that there are")
        self.run_id = run_id


class DrawingError(StrongroomError, OSError):
    """A picture of a flow could not be made; the text that it is made of can be had without it."""


class NotResumableError(BackendError):
    """A run cannot be resumed: it has ended, or somebody runs it right now."""

    def __init__(self, run_id: str, reason: str) -> None:
        super().__init__(f"the run {run_id!r} cannot be resumed: {reason}")
        self.run_id = run_id
        self.reason = reason


class RecordedError(StrongroomError):
    """Stands for an exception that is not at hand: its class by name, and its message.

    It failed a task before its run was resumed, or could not leave another process: then `kinds` names its bases, too.
    """

    def __init__(self, kind: str, message: str, kinds: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.kind, self.message, self.kinds = kind, message, kinds


class ExecutorError(StrongroomError):
    """An executor could not do what it was given; the task itself did not fail."""


class WorkerDiedError(ExecutorError):
    """The process that ran a task is gone: `exitcode` is its exit code, or minus the signal that killed it."""

    def __init__(self, exitcode: int | None) -> None:
        super().__init__(f"the process of the task died ({_cause_of_death(exitcode)}); other tasks go on")
        self.exitcode = exitcode


class TransferError(ExecutorError):
    """Something cannot be brought from one process to another."""

    def __init__(self, what: str, cause: BaseException, *, instead: str) -> None:
        # What pickle says may quote the value; what we say does not.
        name = getattr(cause, "name", None) if isinstance(cause, ImportError) else None
        own = str(cause) if isinstance(cause, StrongroomError) else type(cause).__name__
        why = f"the module {name!r} cannot be imported there" if name else own
        super().__init__(f"{what} cannot be brought to another process ({why}); {instead}")
        self.what = what


def _cause_of_death(exitcode: int | None) -> str:
    if exitcode is None:
        return "nobody knows why"
    if exitcode >= 0:
        return f"exit code {exitcode}"
    out_of_memory = ", perhaps since there was no memory left" if exitcode == -_SIGKILL else ""
    return f"signal {-exitcode}{out_of_memory}"


def _why(cause: BaseException | str) -> str:
    """The class of *cause*, and what the system says of its number; its text may quote credentials or data."""
    # Classes of libraries, such as those for certificates, have numbers of their own.
    if isinstance(cause, OSError) and cause.errno and type(cause).__module__ == "builtins":
        return f"{type(cause).__name__}: {os.strerror(cause.errno)}"
    return cause if isinstance(cause, str) else type(cause).__name__
