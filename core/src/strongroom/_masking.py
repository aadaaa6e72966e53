# SPDX-License-Identifier: Apache-2.0
"""Where in a document are texts that a plugin may blot something out of?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec

from strongroom.documents import ErrorInfo, RunDocument, StateDocument

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom.documents import Document

    Mask: TypeAlias = Callable[[str, str], str]

__all__ = ["masked_document", "masked_value"]


def masked_document(document: Document, mask: Mask) -> Document:
    """*document* with every text in it that is the user's as *mask* leaves it; itself if nothing changes.

    Slugs and references stay as they are: without them nothing is found again. They are sealed.
    """
    if isinstance(document, StateDocument):
        changed = _changed_in_state(document, mask)
    elif isinstance(document, RunDocument):
        found: dict[str, object] = {"run_name": masked_value(document.run_name, mask, "run_name")}
        found["parameters"] = masked_value(document.parameters, mask)
        changed = {field: value for field, value in found.items() if value != getattr(document, field)}
    else:
        return document
    if not changed:
        return document
    return msgspec.structs.replace(document, **changed, withheld=tuple(sorted({*document.withheld, *changed})))


def _changed_in_state(document: StateDocument, mask: Mask) -> dict[str, object]:
    """The texts that *mask* changes. Most states have no more than a message, and one or two are written for a task."""
    changed: dict[str, object] = {}
    if (text := document.message) and (masked := mask(text, "message")) != text:
        changed["message"] = masked
    if (error := document.error) is not None and (masked_error := _masked_error(error, mask)) != error:
        changed["error"] = masked_error
    if (text := document.task_run_name) and (masked := mask(text, "task_run_name")) != text:
        changed["task_run_name"] = masked
    if (tags := document.tags) and (masked_tags := tuple(mask(tag, "tags") for tag in tags)) != tags:
        changed["tags"] = masked_tags
    return changed


def masked_value(value: object, mask: Mask, *names: str) -> object:
    """Plain JSON with its texts and numbers, and the keys of its objects, as *mask* leaves them.

    *names* are the keys that *value* stands under, the outermost first; what stands in a list has those of the list.
    """
    if isinstance(value, str):
        return _masked_text(value, mask, names)
    if isinstance(value, Mapping):
        found = cast("Mapping[str, object]", value)
        return {mask(key, ""): masked_value(item, mask, *names, key) for key, item in found.items()}
    if isinstance(value, (list, tuple)):
        return [masked_value(item, mask, *names) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        text = str(value)
        masked = _masked_text(text, mask, names)
        return value if masked == text else masked
    return value


def _masked_text(text: str, mask: Mask, names: tuple[str, ...]) -> str:
    for name in names or ("",):
        text = mask(text, name)
    return text


def _masked_error(error: ErrorInfo, mask: Mask) -> ErrorInfo:
    return msgspec.structs.replace(
        error,
        kind=mask(error.kind, "error_class"),
        message=mask(error.message, "error_message"),
        frames=tuple(
            msgspec.structs.replace(
                frame, file=mask(frame.file, "error_frames"), function=mask(frame.function, "error_frames")
            )
            for frame in error.frames
        ),
        notes=tuple(mask(note, "error_notes") for note in error.notes),
        cause=None if error.cause is None else _masked_error(error.cause, mask),
        members=tuple(_masked_error(member, mask) for member in error.members),
    )
