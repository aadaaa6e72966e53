# SPDX-License-Identifier: Apache-2.0
"""Where does a result lie that a document refers to, as far as result handlers tell?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from strongroom._handlers import ConstantHandler, JSONHandler, NullHandler, SecretHandler, StoredHandler
from strongroom.abc import Slot, SupportsUnwrap, Wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from strongroom.documents import Document, KeptResult
    from strongroom.project import Project

__all__ = ["Whereabouts", "slot_of", "whereabouts"]

_KEEP_NOTHING: Final = frozenset({JSONHandler.id, NullHandler.id, ConstantHandler.id, SecretHandler.id})
_MOST: Final = 16
"""So many handlers may wrap each other; whoever goes on for ever cannot tell."""


class Whereabouts(msgspec.Struct, frozen=True):
    """Where a result lies, and what it takes to find it."""

    storage: str = ""
    """The URL of the storage with its record; empty if it has none that is known."""
    key: str = ""
    """The name of that record."""
    sealed_with: frozenset[str] = frozenset()
    """Ids of the keys that references on the way there are sealed with."""
    opaque: str = ""
    """The id of the result handler that alone knows where it lies; empty if there is none."""


def slot_of(kept: KeptResult, document: Document) -> Slot:
    """The place that *kept* was written for, as *document* carries it."""
    return Slot(document.run_id, kept.task or document.task, document.map_index, kept.field)


def whereabouts(kept: KeptResult, document: Document, project: Project) -> Whereabouts:
    """Where the result lies that *document* carries as *kept*. It fails closed: what is not certain is opaque."""
    layers = list(_layers(kept, slot_of(kept, document), project))
    last, keys = layers[-1], frozenset(layer.key for layer in layers) - {""}
    if last.handler == StoredHandler.id and isinstance(last.reference, Mapping):
        storage, key = last.reference.get("storage"), last.reference.get("key")
        if isinstance(storage, str) and isinstance(key, str):
            return Whereabouts(storage, key, keys)
    return Whereabouts(sealed_with=keys, opaque="" if last.handler in _KEEP_NOTHING else last.handler)


def _layers(kept: KeptResult, slot: Slot, project: Project) -> Iterator[Wrapped]:
    """*kept*, and what handlers that wrap another one were answered by that, as far in as they tell."""
    layer = Wrapped(kept.handler, kept.reference)
    for _ in range(_MOST):
        yield layer
        try:
            handler = project.reader(layer.handler, layer.reference)
            if not isinstance(handler, SupportsUnwrap):
                return
            layer = handler.unwrap(layer.reference, slot)  # type: ignore[arg-type]  # JSON by contract
        except Exception:  # a plugin's handler may raise anything: then nobody can tell
            return
    yield Wrapped(kept.handler, None)
