# SPDX-License-Identifier: Apache-2.0
"""What is left of a document under a policy, and what of it is shown?"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from strongroom._masking import masked_document
from strongroom._policy import ERROR_PARTS, NAMES
from strongroom.documents import DISPOSITIONS, Disposition, ErrorInfo, RunDocument, StateDocument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom._plugins import Plugins
    from strongroom._policy import Policy
    from strongroom.documents import Document
    from strongroom.keyring import Keyring

__all__ = ["Disposed", "Disposing", "show"]

_SHOWN = frozenset({Disposition.CLEAR, Disposition.MASK, Disposition.TOKEN})
# Equal values are equal bytes, so that they have equal tokens.
_encode = msgspec.json.Encoder(order="deterministic").encode
_NAMES_AT_ONCE = 1024
# The parts of an exception, in the order of ERROR_PARTS, and what is left of each when it is dropped.
_EMPTY: tuple[dict[str, Any], ...] = ({"kind": ""}, {"message": ""}, {"notes": ()}, {"frames": ()})


# The document as it may leave, what stands in the columns of its task and its name, and what is shown beside.
Disposed: TypeAlias = "tuple[Document, str, str, dict[str, object]]"


def show(shown: dict[str, object]) -> str:
    """*shown* as the column that everybody sees."""
    return _encode(shown).decode()


class Disposing:
    """A policy, made ready for many documents."""

    def __init__(self, policy: Policy, keyring: Keyring, plugins: Plugins) -> None:
        self._keyring = keyring
        self._plugins = plugins
        self._names = {field: policy[field] is Disposition.TOKEN for field in NAMES}
        self._has_tokens = any(self._names.values())
        self._drops = {kind: tuple(_dropped(kind, policy)) for kind in DISPOSITIONS}
        self._shows = {kind: tuple(_shown(kind, policy)) for kind in DISPOSITIONS}
        self._error_drops: dict[str, Any] = {}
        for part, empty in zip(ERROR_PARTS, _EMPTY, strict=True):
            if policy[part] is Disposition.DROP:
                self._error_drops |= empty
        self._error_shows = tuple((part, policy[part]) for part in ERROR_PARTS[:2] if policy[part] in _SHOWN)
        self._recorded = _recorded(policy, keyring)
        touched = {RunDocument} if self._recorded else set()
        self._untouched = {each for each in DISPOSITIONS if not self._drops[each] and not self._shows[each]} - touched
        # A name comes again with each state of a task. What left in clear has left, whatever a mask would say now; what
        # it raises is not remembered.
        self._column = lru_cache(maxsize=_NAMES_AT_ONCE)(self._new_column)

    def __call__(self, document: Document) -> Disposed:
        """*document* without what may not leave, and what may be seen of it."""
        masks = self._plugins.masks
        if masks:
            document = masked_document(document, self._plugins.mask)
        shown: dict[str, object] = {}
        # Most states have nothing that is dropped or shown, and two are written down for each task.
        if type(document) not in self._untouched or getattr(document, "error", None) is not None:
            document = self._without(document)
            shown = self._shown(document)
        task, name = document.task, document.name
        if masks or self._has_tokens:
            task, name = self._column("task", task), self._column("name", name)
        return document, task, name, shown

    def _shown(self, document: Document) -> dict[str, object]:
        shown: dict[str, object] = {}
        for field, how in self._shows[type(document)]:
            if value := getattr(document, field):
                shown[field] = self._open(field, value, how)
        if isinstance(document, StateDocument) and document.error is not None:
            for part, how in self._error_shows:
                if opened := self._open_part(part, document.error, how):
                    shown[part] = opened
        return shown

    def _without(self, document: Document) -> Document:
        gone: dict[str, Any] = {
            field: empty for field, empty in self._drops[type(document)] if getattr(document, field) != empty
        }
        if isinstance(document, StateDocument) and document.error and self._error_drops and "error" not in gone:
            gone["error"] = self._without_parts(document.error)
        if gone:
            gone["withheld"] = tuple(sorted({*document.withheld, *gone}))
        if self._recorded and isinstance(document, RunDocument):
            gone["policy"] = self._recorded
        return msgspec.structs.replace(document, **gone) if gone else document

    def _without_parts(self, error: ErrorInfo) -> ErrorInfo:
        return msgspec.structs.replace(
            error,
            **self._error_drops,
            cause=None if error.cause is None else self._without_parts(error.cause),
            members=tuple(map(self._without_parts, error.members)),
        )

    def _new_column(self, field: str, text: str) -> str:
        # An empty task is no name: it says that the document is one of the run.
        if not text:
            return text
        if self._names[field] or self._plugins.mask(text, field) != text:
            return self._keyring.token("column", field, text)
        return text

    def _open(self, field: str, value: object, how: Disposition) -> object:
        if how is Disposition.TOKEN and value:
            return self._keyring.token("field", field, _encode(value))
        return value

    def _open_part(self, part: str, error: ErrorInfo, how: Disposition) -> object:
        if part == "error_message":
            return self._open(part, error.message, how)
        # A name that the user made up tells of what the user does.
        return self._open(part, error.kind if how is Disposition.TOKEN or _is_pythons(error.kind) else "", how)


@lru_cache(maxsize=256)
def _is_pythons(kind: str) -> bool:
    """True if *kind* is a class of exceptions that comes with Python.

    Nothing is imported for that, and its name alone does not do: a module of the user's may be called like one of
    Python's, and a class may say that it is of any module.
    """
    module, _, name = kind.rpartition(".")
    if module.partition(".")[0] not in sys.stdlib_module_names:
        return False
    found = sys.modules.get(module)
    origin = getattr(getattr(found, "__spec__", None), "origin", None)
    is_ours = origin in {"built-in", "frozen"} or Path(str(origin)).is_relative_to(Path(os.__file__).parent)
    known = getattr(found, name, None)
    return is_ours and isinstance(known, type) and issubclass(known, BaseException) and known.__module__ == module


def _dropped(kind: type[Document], policy: Policy) -> Iterator[tuple[str, object]]:
    for name in kind.__struct_fields__:
        if policy[name] is Disposition.DROP:
            # Asked only then: msgspec looks through the annotations of all fields each time.
            field = next(each for each in msgspec.structs.fields(kind) if each.name == name)
            made: Any = field.default_factory
            yield name, field.default if made is msgspec.NODEFAULT else made()


def _shown(kind: type[Document], policy: Policy) -> Iterator[tuple[str, Disposition]]:
    columns = {*RunDocument.__struct_fields__} & {*StateDocument.__struct_fields__} - {"withheld"}
    for field in kind.__struct_fields__:
        # The id of an error is shown by the gate, whatever the policy.
        if field not in columns and field != "error_id" and policy[field] in _SHOWN:
            yield field, policy[field]


def _recorded(policy: Policy, keyring: Keyring) -> dict[str, str]:
    changes = policy.changes
    if any(policy[field] is Disposition.TOKEN for field in NAMES):
        # With another key a task would have another token, and the record of a resumed run would be in two parts.
        changes["key"] = keyring.primary
    return changes
