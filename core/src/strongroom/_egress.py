# SPDX-License-Identifier: Apache-2.0
"""How does a document leave, and how does one come back? This gate is the only way out and in."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from strongroom._disposing import Disposing, show
from strongroom._padding import pad, unpad
from strongroom._policy import DEFAULT
from strongroom.abc import Envelope
from strongroom.documents import DISPOSITIONS, Document
from strongroom.errors import EgressError, SealError
from strongroom.keyring import SEAL_OVERHEAD, bind

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom._disposing import Disposed
    from strongroom._plugins import Plugins
    from strongroom._policy import Policy
    from strongroom.keyring import Keyring

__all__ = ["Gate", "open_envelope"]

_CLEAR = ("run_id", "task", "map_index", "sequence", "name", "type", "at", "run_count")
_MAX_SEALED = 64 << 20


class _Plan:
    """How the documents of one type are taken apart and put together again."""

    def __init__(self, kind: type[Document]) -> None:
        names = tuple(field for field in kind.__struct_fields__ if field not in _CLEAR)
        hints = get_type_hints(kind, include_extras=False)
        self.type = kind
        self.clear: Callable[[Document | Envelope], tuple[Any, ...]] = operator.attrgetter(*_CLEAR)
        self.carried: Callable[[Document], tuple[object, ...]] = operator.attrgetter(*names)
        self.names = names
        self.all_names = _CLEAR + names
        # What stands in the columns of the names may be a token, and then the names themselves are sealed.
        shape = msgspec.defstruct(
            "Sealed",
            [("true", tuple[str, str] | None), *((name, hints[name]) for name in names)],
            array_like=True,
            forbid_unknown_fields=True,
        )
        self.decode = msgspec.msgpack.Decoder(shape).decode


_PLANS = {kind.kind: _Plan(kind) for kind in DISPOSITIONS}
_encode = msgspec.msgpack.Encoder().encode


class Gate:
    """Seals what leaves, and lets nothing else out. Safe to use from several threads."""

    def __init__(
        self, keyring: Keyring, plugins: Plugins, put: Callable[[Envelope], None], policy: Policy = DEFAULT
    ) -> None:
        self._keyring = keyring
        self._plugins = plugins
        self._put = put
        self._disposing = Disposing(policy, keyring, plugins)

    def send(self, document: Document) -> None:
        """Let *document* out: in clear what may be seen, everything else sealed.

        Raises:
            EgressError: a plugin vetoed it, or changed what it may not change; or it holds what cannot be written.
        """
        document = self._ask_plugins(document)
        plan = _PLANS[document.kind]
        run_id, task, map_index, sequence, name, type_, at, run_count = plan.clear(document)
        true: tuple[str, str] | None = None
        try:
            document, shown_task, shown_name, shown = self._dispose(document)
            if shown_task != task or shown_name != name:
                true = (task, name)
                task, name = shown_task, shown_name
            if error_id := getattr(document, "error_id", ""):
                shown["error_id"] = error_id
            # Bound like a column, so that nobody can show anything else.
            seen = show(shown) if shown else ""
            message = pad(_encode((true, *plan.carried(document))))
        except (TypeError, ValueError, OverflowError, RecursionError) as exc:
            # Not what it says: that may quote the value that could not be written.
            what = f"a document of {document.task or 'the run'!r} cannot be written: {type(exc).__name__}"
            raise EgressError(f"{what}; references, messages and tags are plain JSON") from exc
        if len(message) + SEAL_OVERHEAD > _MAX_SEALED:
            what = f"a document of {document.task or 'the run'!r} has {len(message)} bytes, too many to be opened again"
            raise EgressError(f"{what}; keep large values in storage, not in parameters or messages")
        kind = plan.type.kind
        columns = (run_id, task, map_index, sequence, name, type_, at, run_count, seen)
        sealed = self._keyring.seal(message, bind("document", kind, *columns))
        self._put(Envelope(run_id, task, map_index, sequence, kind, name, type_, at, run_count, sealed, seen))

    def _dispose(self, document: Document) -> Disposed:
        try:
            return self._disposing(document)
        except Exception as exc:  # a plugin's own code masks: whatever it raises, the document stays here
            raise EgressError(f"a document of {document.task or 'the run'!r} could not be masked") from exc

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
        changed = [field for field in plan.names if getattr(answer, field) is not getattr(document, field)]
        return msgspec.structs.replace(answer, withheld=tuple(sorted({*document.withheld, *changed} - {"withheld"})))


def open_envelope(envelope: Envelope, keyring: Keyring) -> Document:
    """The document in *envelope*, which may come from anywhere.

    Raises:
        SealError: it is not what was sent: any column or any sealed byte differs.
    """
    plan = _PLANS.get(envelope.kind)
    if plan is None or len(envelope.sealed) > _MAX_SEALED:
        raise SealError
    columns = plan.clear(envelope)
    try:
        context = bind("document", envelope.kind, *columns, envelope.shown)
    except (OverflowError, UnicodeEncodeError):
        # A number or a text that no document of ours has, or can have.
        raise SealError from None
    message = keyring.open(envelope.sealed, context)
    try:
        true, *sealed = msgspec.structs.astuple(plan.decode(unpad(message)))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise SealError from None
    fields: dict[str, Any] = dict(zip(plan.all_names, (*columns, *sealed), strict=True))
    if true is not None:
        fields["task"], fields["name"] = true
    return plan.type(**fields)
