# SPDX-License-Identifier: Apache-2.0
"""Is each field treated as the policy says, and does a policy come from where it should?"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import json
import logging
import sys
import types
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import strongroom
from strongroom import Envelope, Flow, hookimpl, task
from strongroom._egress import Gate, open_envelope
from strongroom._error_info import error_info
from strongroom._masking import masked_document
from strongroom._memory_backend import MemoryBackend
from strongroom._padding import pad, unpad
from strongroom._plugins import Plugins
from strongroom._policy import FIELDS, Policy, allowed, policy_of
from strongroom._settings_loading import load
from strongroom.documents import Disposition, Document, ErrorInfo, Frame, LogDocument, RunDocument, StateDocument
from strongroom.errors import (
    BrokenPluginError,
    EgressError,
    MissingPluginError,
    NotResumableError,
    SealError,
    SettingsError,
)
from strongroom.keyring import Key, Keyring
from strongroom.project import Project

KEYRING = Keyring([Key(bytes(32))])
STATE = StateDocument(
    run_id="1" * 32,
    task="clean",
    name="clean it",
    type="Failed",
    at=1,
    message="no hunter2 here",
    error=ErrorInfo(
        "builtins.KeyError",
        "hunter2",
        frames=(Frame("hunter2.py", 1, "clean"),),
        notes=("a note",),
        cause=ErrorInfo("mine.Error", "because of hunter2"),
    ),
    task_run_name="clean hunter2",
    tags=("a", "hunter2"),
)
RUN = RunDocument(run_id="1" * 32, name="flow", at=1, parameters={"key": ["hunter2", 5]}, tasks=("clean",))


class Blots:
    """Blots out one word, and everything under one name."""

    @hookimpl
    def strongroom_mask(self, text: str, name: str) -> str:
        return "***" if name == "pin" else text.replace("hunter2", "***")


class Demands:
    def __init__(self, field: str, disposition: str) -> None:
        self.rule = (field, disposition)

    @hookimpl
    def strongroom_register(self, register: strongroom.Register) -> None:
        register.disposition(*self.rule)


def plugins(*added: object) -> Plugins:
    found = Plugins({})
    for number, each in enumerate(added):
        found.add(f"policy{number}", each)
    return found


def policy(tmp_path: Path, *added: object, **egress: str) -> Policy:
    env = {f"STRONGROOM_EGRESS_{name.upper()}": word for name, word in egress.items()}
    return policy_of(load(env, tmp_path), plugins(*added))


def sent(document: Document, policy: Policy, *added: object) -> Envelope:
    found: list[Envelope] = []
    Gate(KEYRING, plugins(*added), found.append, policy).send(document)
    return found[0]


def test_a_field_in_clear_is_shown_and_still_opens_from_the_seal(tmp_path: Path) -> None:
    envelope = sent(STATE, policy(tmp_path, tags="clear", message="clear"))

    assert msgspec.json.decode(envelope.shown) == {
        "tags": ["a", "hunter2"],
        "message": "no hunter2 here",
        "error_class": "builtins.KeyError",
    }
    assert open_envelope(envelope, KEYRING) == STATE


def test_by_default_nothing_is_shown_but_the_id_of_an_error_and_a_class_of_pythons(tmp_path: Path) -> None:
    well, failed = (msgspec.structs.replace(STATE, error=error) for error in (None, STATE.error))

    assert sent(well, policy(tmp_path)).shown == ""
    assert sent(msgspec.structs.replace(failed, error_id="5" * 16), policy(tmp_path)).shown == (
        '{"error_class":"builtins.KeyError","error_id":"5555555555555555"}'
    )


@pytest.mark.parametrize("field", ["message", "tags", "error", "task_run_name"])
def test_a_token_is_equal_for_equal_values_and_shows_nothing(tmp_path: Path, field: str) -> None:
    tight = policy(tmp_path, **{field: "token"})

    first, second = sent(STATE, tight), sent(STATE, tight)
    other = sent(msgspec.structs.replace(STATE, message="other", tags=(), error=None, task_run_name="x"), tight)

    assert first.shown == second.shown != other.shown
    assert "hunter2" not in first.shown
    assert open_envelope(first, KEYRING) == STATE


def test_a_dropped_field_does_not_leave_and_its_absence_is_told(tmp_path: Path) -> None:
    envelope = sent(STATE, policy(tmp_path, message="drop", error_frames="drop", error_message="drop"))

    opened = open_envelope(envelope, KEYRING)
    assert isinstance(opened, StateDocument)
    assert opened.message is None
    assert opened.error == ErrorInfo("builtins.KeyError", "", notes=("a note",), cause=ErrorInfo("mine.Error", ""))
    assert opened.withheld == ("error", "message")


def test_the_message_of_an_exception_can_be_shown(tmp_path: Path) -> None:
    shown = msgspec.json.decode(sent(STATE, policy(tmp_path, error_message="clear")).shown)

    assert shown == {"error_class": "builtins.KeyError", "error_message": "hunter2"}


def test_equal_values_in_two_fields_have_two_tokens(tmp_path: Path) -> None:
    tight = policy(tmp_path, message="token", task_run_name="token")

    shown = msgspec.json.decode(sent(msgspec.structs.replace(STATE, message="x", task_run_name="x"), tight).shown)

    assert shown["message"] != shown["task_run_name"]


def test_an_error_that_is_dropped_is_dropped_whatever_happens_to_its_parts(tmp_path: Path) -> None:
    found = policy(tmp_path, error="drop", error_message="drop")

    for document in (STATE, msgspec.structs.replace(STATE, error=None)):
        opened = open_envelope(sent(document, found), KEYRING)
        assert isinstance(opened, StateDocument)
        assert opened.error is None


def test_a_document_of_the_run_itself_has_no_task_whatever_happens_to_names(tmp_path: Path) -> None:
    assert sent(RUN, policy(tmp_path, strict="true")).task == ""


def test_what_is_dropped_is_dropped_of_every_document_that_has_it(tmp_path: Path) -> None:
    well = msgspec.structs.replace(STATE, error=None)

    opened = open_envelope(sent(well, policy(tmp_path, message="drop")), KEYRING)

    assert isinstance(opened, StateDocument)
    assert (opened.message, opened.withheld) == (None, ("message",))


def test_a_token_does_not_tell_in_which_order_a_dictionary_was_made(tmp_path: Path) -> None:
    tight = policy(tmp_path, parameters="token")
    one, other = (
        sent(msgspec.structs.replace(RUN, parameters=parameters), tight).shown
        for parameters in ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1})
    )

    assert one == other != ""


def test_names_can_be_tokens_and_our_own_readers_still_see_them(tmp_path: Path) -> None:
    envelope = sent(STATE, policy(tmp_path, strict="true"))

    assert "clean" not in envelope.task + envelope.name
    assert len(envelope.task) == len(envelope.name) == 32
    assert open_envelope(envelope, KEYRING) == STATE


@pytest.mark.parametrize(("field", "other"), [("task", "name"), ("name", "task")])
def test_one_of_the_names_can_be_a_token_and_the_other_one_in_clear(tmp_path: Path, field: str, other: str) -> None:
    envelope = sent(STATE, policy(tmp_path, **{field: "token"}))

    assert len(getattr(envelope, field)) == 32
    assert getattr(envelope, other) == getattr(STATE, other)
    assert open_envelope(envelope, KEYRING) == STATE


def test_strict_takes_back_what_is_loosened(tmp_path: Path) -> None:
    strict = policy(tmp_path, strict="true", message="clear", tags="drop")

    assert (strict["message"], strict["tags"], strict["name"]) == (
        Disposition.SEAL,
        Disposition.DROP,
        Disposition.TOKEN,
    )
    assert strict.rules["message"].origin == "STRONGROOM_EGRESS_STRICT (strict)"
    assert not strict.loosened


@pytest.mark.parametrize("settings", [{}, {"error_class": "clear"}])
def test_the_class_of_an_exception_is_shown_only_if_it_is_pythons(tmp_path: Path, settings: dict[str, str]) -> None:
    found = policy(tmp_path, **settings)
    envelope = sent(STATE, found)

    assert msgspec.json.decode(envelope.shown) == {"error_class": "builtins.KeyError"}
    assert open_envelope(envelope, KEYRING) == STATE
    # Nor where the name only looks like one of Python's: no such class, no exception, another module's, the user's.
    for kind in (
        "mine.Error",
        "builtins.patient",
        "builtins.print",
        "os.error",
        "__main__.KeyError",
        "json.hidden.X",
        "builtins.int",
    ):
        assert sent(msgspec.structs.replace(STATE, error=ErrorInfo(kind, "")), found).shown == ""


def test_the_class_of_an_exception_in_a_file_of_pythons_is_shown_and_one_of_a_library_beside_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = types.ModuleType("beside")
    beside.__spec__ = importlib.machinery.ModuleSpec(
        "beside", None, origin=str(Path(json.__file__).parent / "beside.py")
    )
    vars(beside)["Salaries"] = type("Salaries", (Exception,), {"__module__": "beside"})
    monkeypatch.setitem(sys.modules, "beside", beside)

    shown = {
        kind: sent(msgspec.structs.replace(STATE, error=ErrorInfo(kind, "")), policy(tmp_path)).shown
        for kind in ("json.decoder.JSONDecodeError", "beside.Salaries")
    }

    assert "JSONDecodeError" in shown["json.decoder.JSONDecodeError"]
    assert shown["beside.Salaries"] == ""


def test_a_module_of_the_users_that_is_called_like_one_of_pythons_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "antigravity" in sys.stdlib_module_names
    (tmp_path / "antigravity.py").write_text("class Salaries(Exception): pass")
    spec = importlib.util.spec_from_file_location("antigravity", tmp_path / "antigravity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "antigravity", module)

    envelope = sent(msgspec.structs.replace(STATE, error=error_info(module.Salaries())), policy(tmp_path))

    assert envelope.shown == ""


@pytest.mark.parametrize("settings", [{"error_class": "seal"}, {"strict": "true"}, {"error": "drop"}])
def test_the_class_of_an_exception_can_be_kept_back(tmp_path: Path, settings: dict[str, str]) -> None:
    assert sent(STATE, policy(tmp_path, **settings)).shown == ""


def test_a_token_of_the_class_of_an_exception_is_of_any_class(tmp_path: Path) -> None:
    found = policy(tmp_path, error_class="token")

    mine, pythons = (
        msgspec.json.decode(sent(msgspec.structs.replace(STATE, error=ErrorInfo(kind, "")), found).shown)["error_class"]
        for kind in ("mine.Error", "builtins.KeyError")
    )

    assert len(mine) == len(pythons) == 32
    assert mine != pythons


def test_a_mask_reaches_every_text_of_a_document(tmp_path: Path) -> None:
    for document in (STATE, RUN):
        opened = open_envelope(sent(document, policy(tmp_path), Blots()), KEYRING)

        assert "hunter2" not in str(opened)
        assert opened.withheld
    assert isinstance(opened, RunDocument)
    assert opened.parameters == {"key": ["***", 5]}


def test_a_mask_is_told_what_each_text_is_called_and_what_it_changes_is_told() -> None:
    inner = ErrorInfo("hunter2.Error", "hunter2", notes=("hunter2",), frames=(Frame("hunter2.py", 1, "hunter2"),))
    state = msgspec.structs.replace(
        STATE,
        message="hunter2",
        error=msgspec.structs.replace(inner, cause=inner, members=(inner,)),
        withheld=("cache",),
    )
    parameters = {"hunter2": "hunter2", "list": ["hunter2", 2.5, True, None], "deep": {"hunter2": "hunter2"}}
    run = msgspec.structs.replace(RUN, run_name="hunter2", parameters=parameters)
    told = set[str]()

    def mask(text: str, name: str) -> str:
        told.add(name)
        return text.replace("hunter2", "***").replace("2.5", "***")

    masked_state, masked_run = masked_document(state, mask), masked_document(run, mask)

    assert "hunter2" not in str(masked_state) + str(masked_run)
    assert told == {
        *("message", "task_run_name", "tags", "error_class", "error_message", "error_notes", "error_frames"),
        *("run_name", "", "hunter2", "list", "deep"),
    }
    assert masked_state.withheld == ("cache", "error", "message", "tags", "task_run_name")
    assert isinstance(masked_run, RunDocument)
    assert masked_run.withheld == ("parameters", "run_name")
    assert masked_run.parameters == {"***": "***", "list": ["***", "***", True, None], "deep": {"***": "***"}}


@pytest.mark.parametrize(
    "document", [STATE, RUN, LogDocument(run_id="1" * 32, at=1, lines=())], ids=["state", "run", "log"]
)
def test_a_document_with_nothing_to_mask_is_left_as_it_is(document: Document) -> None:
    assert masked_document(document, lambda text, _: text) is document


def test_only_what_a_mask_changes_is_told_as_withheld() -> None:
    found = masked_document(
        msgspec.structs.replace(RUN, run_name="x"), lambda text, name: f"{text}*{name}"[: len(text)]
    )
    named = masked_document(msgspec.structs.replace(RUN, run_name="x"), lambda text, name: "***" if name else text)

    assert found.withheld == ()
    assert named.withheld == ("parameters", "run_name")


def test_a_number_under_a_name_is_masked_like_a_text(tmp_path: Path) -> None:
    document = msgspec.structs.replace(RUN, parameters={"pin": 1234, "on": True, "in": {"pin": ["a", 2.5, True]}})

    opened = open_envelope(sent(document, policy(tmp_path), Blots()), KEYRING)

    assert isinstance(opened, RunDocument)
    assert opened.parameters == {"pin": "***", "on": True, "in": {"pin": ["***", "***", True]}}


def test_what_is_masked_in_a_name_makes_the_column_a_token(tmp_path: Path) -> None:
    envelope = sent(msgspec.structs.replace(STATE, name="clean hunter2"), policy(tmp_path), Blots())

    assert (envelope.task, len(envelope.name)) == ("clean", 32)


def test_a_masked_field_is_shown_without_what_is_blotted_out(tmp_path: Path) -> None:
    envelope = sent(STATE, policy(tmp_path, Blots(), message="mask"), Blots())

    assert msgspec.json.decode(envelope.shown)["message"] == "no *** here"


def test_to_mask_without_a_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EgressError, match=r"STRONGROOM_EGRESS_MESSAGE: egress\.message is 'mask', and no plugin masks"):
        policy(tmp_path, message="mask")


def test_a_mask_that_raises_keeps_the_document_here(tmp_path: Path) -> None:
    class Raises:
        @hookimpl
        def strongroom_mask(self, text: str) -> str:
            raise ZeroDivisionError(text)

    with pytest.raises(EgressError, match="'clean' could not be masked"):
        sent(STATE, policy(tmp_path), Raises())


def test_a_plugin_tightens_a_disposition_and_loosens_none(tmp_path: Path) -> None:
    tight = policy(tmp_path, Demands("message", "drop"), Demands("tags", "token"), tags="seal", message="clear")

    assert (tight["message"], tight["tags"]) == (Disposition.DROP, Disposition.SEAL)
    assert tight.rules["message"].origin == "plugin policy0"


@pytest.mark.parametrize("rule", [("message", "hide"), ("name", "drop"), ("parameters", "drop"), ("at", "drop")])
def test_a_rule_that_cannot_be_followed_lets_nothing_leave(tmp_path: Path, rule: tuple[str, str]) -> None:
    with pytest.raises(EgressError, match="which cannot be"):
        policy(tmp_path, Demands(*rule))


def test_what_a_resumption_needs_is_not_dropped(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"egress\.result can be clear, mask, token, seal"):
        policy(tmp_path, result="drop")


@pytest.mark.parametrize("field", ["error_notes", "error_frames"])
@pytest.mark.parametrize("word", ["clear", "mask", "token"])
def test_the_parts_of_an_error_that_nobody_shows_are_sealed_or_dropped(tmp_path: Path, field: str, word: str) -> None:
    with pytest.raises(SettingsError, match=f"egress.{field} can be seal, drop"):
        policy(tmp_path, **{field: word})


def test_without_a_required_plugin_nothing_leaves(tmp_path: Path) -> None:
    with pytest.raises(MissingPluginError, match="nothing leaves without it"):
        policy(tmp_path, require="absent")
    broken = Plugins([importlib.metadata.EntryPoint("broken", "strongroom.no_such_module", "strongroom")])
    with pytest.raises(BrokenPluginError, match="nothing leaves without it"):
        policy_of(load({"STRONGROOM_EGRESS_REQUIRE": "broken"}, tmp_path), broken)


def test_every_disposition_that_a_field_may_have_is_carried_out(tmp_path: Path) -> None:
    for field in FIELDS:
        for what in allowed(field):
            for document in (STATE, RUN):
                opened = open_envelope(sent(document, policy(tmp_path, Blots(), **{field: what.value})), KEYRING)
                assert (opened.task, opened.name) == (document.task, document.name)


def test_loosening_is_said_aloud_and_recorded(
    isolated: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("STRONGROOM_EGRESS_TAGS", "clear")
    backend = MemoryBackend()

    nothing().run(backend=backend)

    assert "tags leaves as 'clear' for whoever sees the backend: STRONGROOM_EGRESS_TAGS" in caplog.text
    (run_id,) = backend.runs()
    opening = next(Project.open().documents(backend, run_id))
    assert isinstance(opening, RunDocument)
    assert opening.policy == {"tags": "clear"}


def test_under_strict_a_run_has_no_name_in_clear_and_is_read_by_its_tasks(
    isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRONGROOM_EGRESS_STRICT", "true")
    backend = MemoryBackend()

    nothing().run(backend=backend)

    (run_id,) = backend.runs()
    assert not {"nothing", "does"} & {text for each in backend.read(run_id) for text in (each.task, each.name)}
    states = list(Project.open().documents(backend, run_id, task="does"))
    assert [each.name for each in states] == ["does"] * len(states) != []


def test_a_run_is_not_resumed_under_other_names(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = MemoryBackend()
    flow = nothing(pauses=True)
    flow.run(backend=backend)
    monkeypatch.setenv("STRONGROOM_EGRESS_STRICT", "true")

    with pytest.raises(NotResumableError, match=r"the policy for egress\.name has changed"):
        flow.resume(backend.runs()[0], backend=backend)


def test_the_local_log_has_the_text_of_an_error_beside_the_id_that_everybody_sees(
    isolated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backend = MemoryBackend()
    with Flow("fails") as flow:
        task(name="fails")(lambda: 1 / 0)()

    with caplog.at_level(logging.INFO, "strongroom"):
        flow.run(backend=backend)

    shown = [each.shown for each in backend.read(backend.runs()[0], task="fails") if each.type == "Failed"]
    error_id = msgspec.json.decode(shown[0])["error_id"]
    assert f"error {error_id} in fails" in caplog.text
    assert "division by zero" in caplog.text


def nothing(*, pauses: bool = False) -> Flow:
    def does() -> None:
        if pauses:
            raise strongroom.signals.PAUSE("wait")

    with Flow("nothing") as flow:
        task(name="does")(does)()
    return flow


@given(st.binary(max_size=3000))
def test_padding_is_undone_and_costs_little(message: bytes) -> None:
    padded = pad(message)

    assert unpad(padded) == message
    assert len(padded) <= max(256, (len(message) + 1) * 1.12)


def test_nearby_lengths_look_alike() -> None:
    assert {len(pad(bytes(length))) for length in range(255)} == {256}
    assert len({len(pad(bytes(length))) for length in range(10_000, 20_000)}) < 20


@pytest.mark.parametrize("padded", [b"", bytes(256), b"\x80", pad(b"x") + bytes(1), pad(b"x")[:-1], b"x" * 256])
def test_what_is_not_padded_does_not_open(padded: bytes) -> None:
    with pytest.raises(SealError):
        unpad(padded)
