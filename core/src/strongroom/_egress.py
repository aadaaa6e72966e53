# SPDX-License-Identifier: Apache-2.0
"""How does a document leave, and how does one come back? This gate is the only way out and in."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from strongroom.abc import Envelope
from strongroom.documents import DISPOSITIONS, Disposition, Document, sealed_fields
from strongroom.errors import EgressError, SealError
from strongroom.keyring import SEAL_OVERHEAD, bind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from strongroom._plugins import Plugins
    from strongroom.keyring import Keyring

__all__ = ["Gate", "open_envelope"]

_CLEAR = ("run_id", "task", "map_index", "sequence", "name", "type", "at", "run_count")
_MAX_SEALED = 64 << 20


class _Plan:
    """How the documents of one type are taken apart and put together again."""

    def __init__(self, kind: type[Document]) -> None:
        clear = [field for field, what in DISPOSITIONS[kind].items() if what is Disposition.CLEAR]
        sealed = sealed_fields(kind)
        # Columns exist for these fields only, and no other disposition is carried out yet: refuse rather than leak.
        if tuple(clear) != _CLEAR or len(clear) + len(sealed) != len(kind.__struct_fields__):
            raise TypeError(f"{kind.__name__} has a field that the gate does not know how to let out")
        hints = get_type_hints(kind, include_extras=False)
        self.type = kind
        self.clear: Callable[[Document], tuple[Any, ...]] = operator.attrgetter(*clear)
        self.sealed: Callable[[Document], tuple[object, ...]] = operator.attrgetter(*sealed)
        self.names = sealed
        shape = msgspec.defstruct(
            "Sealed", _with_defaults(kind, hints, sealed), array_like=True, forbid_unknown_fields=True
        )
        self.decode = msgspec.msgpack.Decoder(shape).decode


def _with_defaults(
    kind: type[Document], hints: dict[str, Any], names: Collection[str]
) -> Iterator[tuple[str, Any, Any]]:
    """The sealed fields; those that later versions add come last, and what was sent before has their defaults."""
    for field in msgspec.structs.fields(kind):
        if field.name in names:
            made: Any = field.default_factory
            default = field.default if made is msgspec.NODEFAULT else msgspec.field(default_factory=made)
            yield field.name, hints[field.name], default


_PLANS = {kind.kind: _Plan(kind) for kind in DISPOSITIONS}
_encode = msgspec.msgpack.Encoder().encode


class Gate:
    """Seals what leaves, and lets nothing else out. Safe to use from several threads."""

    def __init__(self, keyring: Keyring, plugins: Plugins, put: Callable[[Envelope], None]) -> None:
        self._keyring = keyring
        self._plugins = plugins
        self._put = put

    def send(self, document: Document) -> None:
        """Let *document* out: in clear what may be seen, everything else sealed.

        Raises:
            EgressError: a plugin vetoed it, or changed what it may not change; or it holds what cannot be written.
        """
        document = self._ask_plugins(document)
        plan = _PLANS[document.kind]
        columns = plan.clear(document)
        context = bind("document", plan.type.kind, *columns)
        try:
            fields = plan.sealed(document)
            # What reads like a document from before the field is one.
            message = _encode(fields if fields[-1] is not None else fields[:-1])
        except (TypeError, ValueError, OverflowError, RecursionError) as exc:
            # Not what it says: that may quote the value that could not be written.
            what = f"a document of {document.task or 'the run'!r} cannot be written: {type(exc).__name__}"
            raise EgressError(f"{what}; references, messages and tags are plain JSON") from exc
        if len(message) + SEAL_OVERHEAD > _MAX_SEALED:
            what = f"a document of {document.task or 'the run'!r} has {len(message)} bytes, too many to be opened again"
            raise EgressError(f"{what}; keep large values in storage, not in parameters or messages")
        sealed = self._keyring.seal(message, context)
        run_id, task, map_index, sequence, name, type_, at, run_count = columns
        self._put(Envelope(run_id, task, map_index, sequence, plan.type.kind, name, type_, at, run_count, sealed))

    def _ask_plugins(self, document: Document) -> Document:
        try:
            answer = self._plugins.outgoing(document)
        except Exception as exc:  # a plugin's own code: whatever it raises, the document stays here
            raise EgressError(f"a plugin did not let a document of {document.task or 'the run'!r} out") from exc
        if answer is document:
            return document
        plan = _PLANS[document.kind]
        # What is in clear stays as it was: a plugin may take away from a document, and carry nothing into the open.
        if type(answer) is not type(document) or plan.clear(answer) != plan.clear(document):
            raise EgressError("a plugin changed the type of a document or what is in clear in it; it was not sent")
        return answer


def open_envelope(envelope: Envelope, keyring: Keyring) -> Document:
    """The document in *envelope*, which may come from anywhere.

    Raises:
        SealError: it is not what was sent: any column or any sealed byte differs.
    """
    plan = _PLANS.get(envelope.kind)
    if plan is None or len(envelope.sealed) > _MAX_SEALED:
        raise SealError
    columns = [getattr(envelope, field) for field in _CLEAR]
    message = keyring.open(envelope.sealed, bind("document", envelope.kind, *columns))
    try:
        sealed = msgspec.structs.astuple(plan.decode(message))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SealError from None
    fields: dict[str, Any] = dict(zip(_CLEAR + plan.names, (*columns, *sealed), strict=True))
    return plan.type(**fields)
