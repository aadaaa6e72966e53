# SPDX-License-Identifier: Apache-2.0
"""What may leave for the backend? This closed list, and nothing else.

Each field says in its annotation what happens to it on its way out; a field that does not is an error when this
module is imported. That is the default, which the settings ``[egress]`` and plugins can change. Sealed fields travel
together as one blob, bound to the columns in clear beside it.
"""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, ClassVar, get_type_hints

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DISPOSITIONS",
    "PARTS",
    "CacheInfo",
    "Disposition",
    "Document",
    "ErrorInfo",
    "Frame",
    "KeptResult",
    "LogDocument",
    "LogLine",
    "RunDocument",
    "StateDocument",
]


class Disposition(enum.Enum):
    """What happens to a field of a document on its way out."""

    CLEAR = "clear"
    """It leaves as it is, for everybody who sees the backend."""
    MASK = "mask"
    """It leaves in clear, but for what a plugin blots out; its sealed form is blotted out too."""
    TOKEN = "token"  # noqa: S105  # a disposition, not a password
    """A keyed token leaves in its place: equal for equal values, and telling nothing else. The value leaves sealed."""
    SEAL = "seal"
    """It leaves encrypted and authenticated, bound to its document, and nothing else of it does."""
    DROP = "drop"
    """It does not leave."""


# Documents are JSON and hold no cycles, which the collector need not look for in each of so many: gc=False.
class KeptResult(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A result as a document carries it: never the value, only what leads to it."""

    handler: Annotated[str, Disposition.SEAL]
    """The id of the result handler that reads it."""
    reference: Annotated[object, Disposition.SEAL]
    """What the handler's `write` answered: JSON."""
    field: Annotated[str, Disposition.SEAL] = "result"
    """The slot's field that it was written for."""
    task: Annotated[str, Disposition.SEAL] = ""
    """The slot's task that it was written for."""


class Frame(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One line of a traceback: never the source line, never a local value."""

    file: Annotated[str, Disposition.SEAL]
    line: Annotated[int, Disposition.SEAL]
    function: Annotated[str, Disposition.SEAL]


class ErrorInfo(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """An exception as inert data: nothing ever rebuilds the class that it names."""

    kind: Annotated[str, Disposition.SEAL]
    message: Annotated[str, Disposition.SEAL]
    frames: Annotated[tuple[Frame, ...], Disposition.SEAL] = ()
    notes: Annotated[tuple[str, ...], Disposition.SEAL] = ()
    cause: Annotated[ErrorInfo | None, Disposition.SEAL] = None
    """What it was raised from, or while handling."""
    members: Annotated[tuple[ErrorInfo, ...], Disposition.SEAL] = ()
    """The exceptions of an exception group."""


class CacheInfo(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What was decided about using a cached result, and why."""

    key: Annotated[str, Disposition.SEAL]
    """The key of the record in its storage; empty if there is to be none."""
    hit: Annotated[bool, Disposition.SEAL]
    reason: Annotated[str, Disposition.SEAL]
    parts: Annotated[dict[str, str], Disposition.SEAL]
    """What the key follows from, such as ``input x`` or ``source``: a keyed fingerprint of each."""


class LogLine(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One line that a task logged or printed."""

    at: Annotated[int, Disposition.SEAL]
    """Microseconds since 1970-01-01 UTC."""
    task: Annotated[str, Disposition.SEAL]
    """The slug of the task; empty if it was said outside of tasks."""
    map_index: Annotated[int, Disposition.SEAL]
    level: Annotated[str, Disposition.SEAL]
    text: Annotated[str, Disposition.SEAL]


class Document(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One thing sent to the backend. The first fields are the columns of an `Envelope`."""

    kind: ClassVar[str]

    run_id: Annotated[str, Disposition.CLEAR]
    task: Annotated[str, Disposition.CLEAR] = ""
    map_index: Annotated[int, Disposition.CLEAR] = -1
    sequence: Annotated[int, Disposition.CLEAR] = 0
    name: Annotated[str, Disposition.CLEAR] = ""
    type: Annotated[str, Disposition.CLEAR] = ""
    at: Annotated[int, Disposition.CLEAR]
    run_count: Annotated[int, Disposition.CLEAR] = 0
    withheld: Annotated[tuple[str, ...], Disposition.SEAL] = ()
    """The fields that a policy or a plugin dropped or changed on the way out."""


class RunDocument(Document, frozen=True, gc=False, kw_only=True):
    """Opens a run."""

    kind: ClassVar[str] = "run"

    run_name: Annotated[str, Disposition.SEAL] = ""
    parameters: Annotated[dict[str, object], Disposition.SEAL] = {}
    """Parameter name -> value, plain JSON."""
    secrets: Annotated[dict[str, str], Disposition.SEAL] = {}
    """Parameter name -> the name of the `Secret` that was given for it; its value is read afresh by whoever resumes."""
    tasks: Annotated[tuple[str, ...], Disposition.SEAL] = ()
    """The slugs of all tasks, in the order in which they can run."""
    policy: Annotated[dict[str, str], Disposition.SEAL] = {}
    """Field -> disposition, where the policy that the run began under is not the default."""


class StateDocument(Document, frozen=True, gc=False, kw_only=True):
    """A task run, or with an empty ``task`` the flow run, has come into a state."""

    kind: ClassVar[str] = "state"

    message: Annotated[str | None, Disposition.SEAL] = None
    result: Annotated[KeptResult | None, Disposition.SEAL] = None
    error_id: Annotated[str, Disposition.CLEAR] = ""
    """Random; the local log has the same id beside the text of the error, for those who see no more than this."""
    error: Annotated[ErrorInfo | None, Disposition.SEAL] = None
    cached_inputs: Annotated[dict[str, KeptResult], Disposition.SEAL] = {}
    start_time: Annotated[int | None, Disposition.SEAL] = None
    """When to run next, for a scheduled or queued state: microseconds since 1970-01-01 UTC."""
    task_run_name: Annotated[str, Disposition.SEAL] = ""
    tags: Annotated[tuple[str, ...], Disposition.SEAL] = ()
    cache: Annotated[CacheInfo | None, Disposition.SEAL] = None


class LogDocument(Document, frozen=True, gc=False, kw_only=True):
    """Lines of the log of a run, where ``egress.logs`` is ``seal``; its map index is -2, in a numbering of its own."""

    kind: ClassVar[str] = "log"

    lines: Annotated[tuple[LogLine, ...], Disposition.SEAL] = ()


def _dispositions(kind: type[msgspec.Struct]) -> dict[str, Disposition]:
    hints = get_type_hints(kind, include_extras=True)
    found: dict[str, Disposition] = {}
    for field in kind.__struct_fields__:
        marks = [mark for mark in getattr(hints[field], "__metadata__", ()) if isinstance(mark, Disposition)]
        if len(marks) != 1:
            raise TypeError(f"{kind.__name__}.{field} needs one disposition: may it leave, and how?")
        found[field] = marks[0]
    return found


DISPOSITIONS: Mapping[type[Document], Mapping[str, Disposition]] = MappingProxyType(
    {kind: _dispositions(kind) for kind in (RunDocument, StateDocument, LogDocument)}
)
"""Document type -> field -> what happens to it. This is the whole of what can leave."""

PARTS: Mapping[type[msgspec.Struct], Mapping[str, Disposition]] = MappingProxyType(
    {kind: _dispositions(kind) for kind in (KeptResult, Frame, ErrorInfo, CacheInfo, LogLine)}
)
"""What fields of documents are made of: they leave within their field, and are as tight as that."""
