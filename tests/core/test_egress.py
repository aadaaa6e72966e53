# SPDX-License-Identifier: Apache-2.0
"""What leaves, and in what form: documents and the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import pytest

import strongroom
from strongroom import _egress, documents
from strongroom._egress import Gate, open_envelope
from strongroom._error_info import error_info
from strongroom._padding import pad
from strongroom._plugins import Plugins
from strongroom.documents import DISPOSITIONS, Disposition, Document, KeptResult, RunDocument, StateDocument
from strongroom.errors import EgressError, SealError
from strongroom.keyring import Key, Keyring, bind

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom import Envelope

KEYRING = Keyring([Key(bytes(32))])
STATE = StateDocument(
    run_id="1" * 32,
    task="clean",
    sequence=1,
    name="clean",
    type="Failed",
    at=1_700_000_000_000_000,
    run_count=2,
    message="a secret message",
    result=KeptResult("stored", {"key": "a/b", "size": 3}),
    error=error_info(ValueError("a secret value")),
    cached_inputs={"x": KeptResult("stored", {"key": "c"}, "result", "load")},
    task_run_name="a secret name",
    tags=("a secret tag",),
)
RUN = RunDocument(run_id="1" * 32, name="flow", at=1, parameters={"month": [1, None, "x"]}, tasks=("a", "b"))


def _send(document: Document, plugins: Plugins | None = None) -> list[Envelope]:
    sent: list[Envelope] = []
    Gate(KEYRING, plugins or Plugins({}), sent.append).send(document)
    return sent


def _plugin(answer: Callable[[object], object]) -> Plugins:
    class Plugin:
        @strongroom.hookimpl
        def strongroom_outgoing(self, document: object) -> object:
            return answer(document)

    plugins = Plugins({})
    plugins.add("policy", Plugin())
    return plugins


def test_every_field_has_a_disposition_and_these_are_all() -> None:
    found = {
        kind.__name__: {name: what.value for name, what in fields.items()} for kind, fields in DISPOSITIONS.items()
    }

    columns = dict.fromkeys(("run_id", "task", "map_index", "sequence", "name", "type", "at", "run_count"), "clear")
    columns["withheld"] = "seal"
    assert found == {
        "RunDocument": columns | dict.fromkeys(("run_name", "parameters", "secrets", "tasks", "policy"), "seal"),
        "StateDocument": columns
        | {"error_id": "clear"}
        | dict.fromkeys(("message", "result", "error", "cached_inputs", "start_time"), "seal")
        | dict.fromkeys(("task_run_name", "tags", "cache"), "seal"),
        "LogDocument": columns | {"lines": "seal"},
    }


def test_a_field_without_a_disposition_is_an_error() -> None:
    class Careless(Document, frozen=True, kw_only=True):
        note: str = ""

    class Undecided(Document, frozen=True, kw_only=True):
        note: Annotated[str, Disposition.SEAL, Disposition.CLEAR] = ""

    class Part(msgspec.Struct):
        inner: str

    for kind in (Careless, Undecided):
        with pytest.raises(TypeError, match="note needs one disposition"):
            documents._dispositions(kind)
    with pytest.raises(TypeError, match="inner needs one disposition"):
        documents._dispositions(Part)


def test_there_is_no_struct_beside_those_whose_fields_are_decided() -> None:
    structs = {each for each in vars(documents).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)}

    assert structs == {Document, *DISPOSITIONS, *documents.PARTS}
    assert {what for fields in documents.PARTS.values() for what in fields.values()} == {Disposition.SEAL}


@pytest.mark.parametrize("document", [STATE, RUN])
def test_what_is_sent_opens_to_what_it_was(document: Document) -> None:
    (envelope,) = _send(document)

    assert open_envelope(envelope, KEYRING) == document


def test_only_the_columns_are_in_clear() -> None:
    (envelope,) = _send(STATE)

    assert b"secret" not in msgspec.msgpack.encode(envelope)
    assert (envelope.task, envelope.type, envelope.run_count) == ("clean", "Failed", 2)


def test_the_same_document_twice_gives_different_bytes() -> None:
    assert _send(STATE)[0].sealed != _send(STATE)[0].sealed


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": "2" * 32},
        {"task": "other"},
        {"map_index": 0},
        {"sequence": 2},
        {"kind": "run"},
        {"kind": "other"},
        {"name": "other"},
        {"type": "Success"},
        {"at": 0},
        {"run_count": 1},
        {"sealed": b""},
        {"shown": '{"message":"other"}'},
        # What no document of ours has.
        {"task": "\ud800"},
        {"sequence": -(1 << 70)},
    ],
)
def test_a_changed_column_does_not_open(change: dict[str, object]) -> None:
    (envelope,) = _send(STATE)

    with pytest.raises(SealError):
        open_envelope(msgspec.structs.replace(envelope, **change), KEYRING)


def test_sealed_bytes_that_are_no_document_do_not_open() -> None:
    (envelope,) = _send(STATE)
    columns = [getattr(envelope, name) for name in envelope.__struct_fields__ if name not in {"kind", "sealed"}]
    for message in (b"", b"\xc0", b"\x91" * 5000, msgspec.msgpack.encode([1] * 7), msgspec.msgpack.encode([None] * 8)):
        forged = KEYRING.seal(pad(message), bind("document", "state", *columns))
        with pytest.raises(SealError):
            open_envelope(msgspec.structs.replace(envelope, sealed=forged), KEYRING)


def test_a_plugin_may_tighten() -> None:
    (envelope,) = _send(STATE, _plugin(lambda document: msgspec.structs.replace(document, message=None)))

    assert open_envelope(envelope, KEYRING) == msgspec.structs.replace(STATE, message=None, withheld=("message",))


def test_a_plugin_that_raises_keeps_the_document_here() -> None:
    def veto(document: object) -> None:
        raise ZeroDivisionError

    sent: list[Envelope] = []
    with pytest.raises(EgressError, match="'clean'"):
        Gate(KEYRING, _plugin(veto), sent.append).send(STATE)

    assert not sent


@pytest.mark.parametrize(
    "answer",
    [
        RUN,
        "text",
        msgspec.structs.replace(STATE, task="other"),
        msgspec.structs.replace(STATE, name=STATE.message),
        msgspec.structs.replace(STATE, type="Success"),
    ],
)
def test_a_plugin_cannot_make_it_another_document(answer: object) -> None:
    with pytest.raises(EgressError, match="changed the type"):
        _send(STATE, _plugin(lambda _: answer))


def test_what_no_reader_would_open_is_not_sent() -> None:
    with pytest.raises(EgressError, match="too many to be opened again"):
        _send(msgspec.structs.replace(STATE, message="x" * (64 << 20)))


@pytest.mark.parametrize(
    "fields", [b"\xa1\xff\x80", b"\xa0\x81\xa1x" + b"\x91" * 1_000_000 + b"\xc0"], ids=["no text", "deep"]
)
def test_what_only_whoever_has_the_key_could_have_sealed_does_not_open_either(fields: bytes) -> None:
    (envelope,) = _send(RUN)
    columns = [getattr(envelope, name) for name in envelope.__struct_fields__ if name not in {"kind", "sealed"}]
    # Names that are no token, nothing withheld; the name of the run, the parameters; no secrets, tasks and policy.
    message = b"\x97\xc0\x90" + fields + b"\x80\x90\x80"
    forged = KEYRING.seal(pad(message), bind("document", "run", *columns))

    with pytest.raises(SealError):
        open_envelope(msgspec.structs.replace(envelope, sealed=forged), KEYRING)


def test_more_than_a_reader_takes_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    (envelope,) = _send(STATE)
    monkeypatch.setattr(_egress, "_MAX_SEALED", len(envelope.sealed))
    assert open_envelope(envelope, KEYRING) == STATE
    monkeypatch.setattr(_egress, "_MAX_SEALED", len(envelope.sealed) - 1)

    with pytest.raises(SealError):
        open_envelope(envelope, KEYRING)


def _endless() -> object:
    endless: list[object] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    ("reference", "error"),
    [
        (object(), "TypeError"),
        ("\ud800 canary", "UnicodeEncodeError"),
        (1 << 64, "OverflowError"),
        (_endless(), "RecursionError"),
    ],
    ids=["no JSON", "no text", "a long number", "no end"],
)
def test_what_cannot_be_written_is_not_sent_and_not_quoted(reference: object, error: str) -> None:
    with pytest.raises(EgressError, match=f"'clean' cannot be written: {error}") as caught:
        _send(msgspec.structs.replace(STATE, result=KeptResult("mine", reference)))

    assert "canary" not in str(caught.value)


def test_an_exception_becomes_inert_data_without_source_or_locals() -> None:
    def inner() -> None:
        local = "a local value"
        raise KeyError(local[:0])

    try:
        try:
            inner()
        except KeyError as exc:
            exc.add_note("a note")
            raise RuntimeError("outer") from exc
    except RuntimeError as exc:
        info = error_info(exc)

    assert (info.kind, info.message) == ("builtins.RuntimeError", "outer")
    assert info.cause is not None
    assert info.cause.kind == "builtins.KeyError"
    assert info.cause.notes == ("a note",)
    assert info.cause.frames[-1].function.endswith("inner")
    for hidden in (b"a local value", b"local[:0]"):
        assert hidden not in msgspec.json.encode(info)


def test_a_group_and_an_endless_chain_are_bounded() -> None:
    error: BaseException = ValueError("first")
    for _ in range(100):
        outer = ValueError("more")
        outer.__cause__ = error
        error = outer
    group = ExceptionGroup("several", [error, ValueError("x" * 100_000)])  # type: ignore[list-item]

    info = error_info(group)

    assert len(info.members) == 2
    assert len(msgspec.json.encode(info)) < 50_000
