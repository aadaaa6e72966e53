# SPDX-License-Identifier: Apache-2.0
"""What do the flows with secrets in them use, that a user could have written: handlers, serializers, a plugin?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from strongroom import JSONValue, ResultHandler, Serializer, Slot, states, task
from strongroom import hookimpl as hook

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom import State
    from strongroom._task import FunctionTask
    from strongroom.documents import Document

    from .surfaces import Told

__all__ = ["Elsewhere", "Fails", "Plugin", "Repr", "Unformattable", "UntellableError", "a_task", "says_of_success"]


def a_task(function: Callable[..., object], **arguments: Any) -> FunctionTask:  # noqa: ANN401  # whatever `task` takes
    """A task of *function*, in one call."""
    return task(**arguments)(function)


def says_of_success(message: str) -> Callable[[object, State, State], State | None]:
    """A state handler that gives a Success the message."""
    return lambda _, __, new: new.replace(message=message) if type(new) is states.Success else None


class Plugin:
    """A plugin that says something in two runs, and hears of all."""

    def __init__(self, told: Told) -> None:
        self.told = told

    @hook
    def strongroom_outgoing(self, document: Document) -> Document | None:
        """Puts a message of its own into a document, and keeps another back."""
        if document.name == "vetoed" and document.type == "Success":
            raise ValueError(self.told["exception of a plugin"])
        if document.name == "said" and document.type == "Success":
            return _with_message(document, self.told.text("state message of a plugin"))
        return None

    @hook
    def strongroom_state_changed(self, new: object) -> None:
        """Fails, which is nobody's business."""
        if not isinstance(new, states.Skipped):
            return
        raise ValueError(self.told["exception of a plugin that is only told"])


def _with_message(document: Document, message: str) -> Document:
    return msgspec.structs.replace(document, message=message)


class Repr(Serializer):
    """Python's own words for a value, under an id of the user's choice."""

    def __init__(self, id_: str) -> None:
        self.id = id_

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(repr(value).encode())

    def load(self, source: BinaryIO) -> object:
        return source.read().decode()


class Elsewhere(ResultHandler):
    """Answers with a reference of the user's choice."""

    def __init__(self, id_: str, reference: JSONValue) -> None:
        self.id = id_
        self._reference = reference

    def write(self, value: object, slot: Slot) -> JSONValue:
        return self._reference

    def read(self, reference: JSONValue, slot: Slot) -> object:
        return None


class Fails(Elsewhere):
    """Fails, and quotes what it failed on, as libraries do."""

    def __init__(self, *, writing: object = None, reading: object = None) -> None:
        super().__init__("fails", None)
        self._writing, self._reading = writing, reading

    def write(self, value: object, slot: Slot) -> JSONValue:
        if self._writing is not None:
            raise ValueError(self._writing)
        return None

    def read(self, reference: JSONValue, slot: Slot) -> object:
        raise ValueError(self._reading)


class UntellableError(Exception):
    def __str__(self) -> str:
        raise ValueError(self.args[0])


class Unformattable:
    def __init__(self, told: object) -> None:
        self.told = told

    def __format__(self, spec: str) -> str:
        raise ValueError(self.told)
