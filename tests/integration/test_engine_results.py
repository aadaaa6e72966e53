# SPDX-License-Identifier: Apache-2.0
"""When is a result handled, who decides where it goes, and what if that fails?"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom import (
    Flow,
    JSONHandler,
    JSONValue,
    ResultHandler,
    Serializer,
    Slot,
    State,
    context,
    signals,
    states,
)
from strongroom._plugins import installed_plugins
from strongroom.documents import StateDocument
from strongroom.errors import SerializationError
from strongroom.keyring import Key, Keyring
from strongroom.project import Project
from strongroom.results import Chain, ResultStore
from strongroom_compressed import Zstd
from strongroom_json import JSON

from .conftest import Noting, Recorded, a_task, records_under, states_of
from .doings import fails, fails_at_first, pauses, returns

Stored = Callable[[], list[Path]]


@pytest.mark.parametrize("function", [pauses, fails])
def test_the_inputs_of_what_will_run_again_are_records_that_its_state_leads_to(
    function: Callable[..., object], recorded: Recorded, project: Project, stored: Stored
) -> None:
    with Flow("flow") as flow:
        numbers = a_task(lambda: [1, 2], name="numbers")()
        text = a_task(lambda: "three", name="text")()
        a_task(lambda x, y: function(x), name="down", max_retries=1)(numbers, text)

    run = flow.run()

    waiting = next(each for each in recorded(run, "down") if each.type in {"Paused", "Retrying"})
    assert isinstance(waiting, StateDocument)
    found = {key: project.result(kept, waiting).value for key, kept in waiting.cached_inputs.items()}
    assert found == {"x": [1, 2], "y": "three"}
    assert len(stored()) == 2


@pytest.mark.parametrize("answers", [True, False], ids=["answers", "raises"])
@pytest.mark.parametrize("word", ["Paused", "Retrying"])
def test_what_a_state_handler_lets_run_again_carries_its_inputs_too(
    word: str, answers: bool, recorded: Recorded, noting: Noting
) -> None:
    def again(task: object, old: State, new: State) -> State | None:
        if not new.is_failed() or context.task_run_count > 1:
            return None
        if answers:
            return getattr(states, word)()  # type: ignore[no-any-return]
        raise {"Paused": signals.PAUSE, "Retrying": signals.RETRY}[word]

    with Flow("flow", result_handler=noting) as flow:
        up = a_task(lambda: 5, name="up")()
        a_task(fails, name="down", state_handlers=[again])(up)

    run = flow.run()

    waiting = next(each for each in recorded(run, "down") if each.type == word)
    assert isinstance(waiting, StateDocument)
    assert waiting.cached_inputs["x"].reference == "up.result"
    assert noting.notes == ["write up.result"]


def test_a_retry_gets_its_inputs_although_they_were_dropped_from_memory(noting: Noting) -> None:
    with Flow("flow") as flow:
        arguments = {"result_handler": noting, "persist_result": True, "cache_result_in_memory": False}
        up = a_task(lambda: "value", name="up", **arguments)()
        down = a_task(fails_at_first, name="down", max_retries=1)(up)

    state = states_of(flow.run())[down]

    assert state.result == "value"
    assert noting.notes == ["write up.result", "read up.result", "read up.result"]


# Who decides, strongest first: the task, the setting tasks.persist_result, the flow, the setting results.persist.
WORDS = list(itertools.product([None, True, False], [None, True, False], [None, True, False], [None, True]))


@pytest.mark.parametrize("words", WORDS, ids=str)
def test_the_strongest_word_decides_whether_a_result_is_kept(
    words: tuple[bool | None, ...], noting: Noting, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_task, of_tasks, of_flow, of_results = words
    for name, word in (("TASKS_PERSIST_RESULT", of_tasks), ("RESULTS_PERSIST", of_results)):
        if word is not None:
            monkeypatch.setenv(f"STRONGROOM_{name}", str(word).lower())
    with Flow("flow", persist_result=of_flow, result_handler=noting) as flow:
        a_task(lambda: "value", name="kept", persist_result=of_task)()

    flow.run()

    said = [word for word in words if word is not None]
    assert noting.notes == (["write kept.result"] if said and said[0] else [])


@pytest.mark.parametrize(
    "hint", [{"result_storage": "hint"}, {"result_storage_key": "key"}, {"result_serializer": "json"}], ids=str
)
def test_to_say_where_or_how_a_result_is_kept_is_to_say_that_it_is(hint: dict[str, str], tmp_path: Path) -> None:
    with Flow("flow") as flow:
        a_task(lambda: 1, name="kept", **hint)()
        a_task(lambda: 2, name="not kept", **hint, persist_result=False)()

    flow.run()

    assert len(records_under(tmp_path)) == 1


PLACES = ["task", "flow", "setting", "home"]


@pytest.mark.parametrize("strongest", PLACES)
def test_the_strongest_place_is_where_a_result_is_kept(
    strongest: str, tmp_path: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = PLACES[PLACES.index(strongest) :]
    if "setting" in given:
        monkeypatch.setenv("STRONGROOM_RESULTS_STORAGE", str(tmp_path / "setting"))
    with Flow("flow", result_storage=tmp_path / "flow" if "flow" in given else None) as flow:
        a_task(lambda: 1, persist_result=True, result_storage=tmp_path / "task" if "task" in given else None)()

    flow.run()

    (record,) = records_under(tmp_path)
    assert record.is_relative_to(isolated / "results" if strongest == "home" else tmp_path / strongest)


# What the task says, the flow, the setting, and what comes of it.
CHAINS = [
    ("compressed/json", "json", "pickle", "compressed/json"),
    (None, "compressed/json", "pickle", "compressed/json"),
    (None, None, "pickle", "pickle"),
    (None, None, None, "json"),
    (None, "compressed/auto", None, "compressed/json"),
]


@pytest.mark.parametrize("words", CHAINS, ids=str)
def test_the_strongest_word_decides_how_a_result_is_kept(
    words: tuple[str | None, ...], stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_task, of_flow, setting, chain = words
    if setting is not None:
        monkeypatch.setenv("STRONGROOM_RESULTS_SERIALIZER", setting)
    with Flow("flow", persist_result=True, result_serializer=of_flow) as flow:
        a_task(lambda: [1], result_serializer=of_task)()

    flow.run()

    assert f'"chain":"{chain}"'.encode() in stored()[0].read_bytes()


@pytest.mark.parametrize("level", [1, 19])
def test_a_chain_of_instances_keeps_the_results_of_a_task_or_of_a_flow(level: int, stored: Stored) -> None:
    chain = Chain((Zstd(level=level),), JSON())
    with Flow("flow", persist_result=True, result_serializer=chain) as flow:
        a_task(lambda: [1])()
    with Flow("flow", persist_result=True) as other:
        a_task(lambda: [1], result_serializer=chain)()

    assert flow.run().is_successful()
    assert other.run().is_successful()

    assert [b'"chain":"compressed/json"' in path.read_bytes() for path in stored()] == [True, True]


def test_a_handler_of_the_task_wins_over_one_of_the_flow(noting: Noting, tmp_path: Path) -> None:
    of_task = Noting(tmp_path)
    with Flow("flow", persist_result=True, result_handler=noting) as flow:
        a_task(lambda: 1, name="one", result_handler=of_task)()
        a_task(lambda: 2, name="two")()

    flow.run()

    assert of_task.notes == ["write one.result"]
    assert noting.notes == ["write two.result"]


def test_a_dropped_value_is_read_again_by_whoever_needs_it(noting: Noting) -> None:
    with Flow("flow", result_handler=noting, persist_result=True, cache_result_in_memory=False) as flow:
        up = a_task(lambda: [1], name="up")()
        down = a_task(lambda x: x * 2, name="down")(up)

    states_ = states_of(flow.run())

    assert not states_[up]._result.in_memory
    assert states_[down].result == [1, 1]
    assert noting.notes == ["write up.result", "read up.result", "write down.result", "read down.result"]


SECRET = "a value that must not be told"


class Opaque:
    """A value that tells itself to whoever prints it."""

    def __repr__(self) -> str:
        return SECRET


class Quotes(ResultHandler):
    """Fails with a message that quotes the value, as libraries do."""

    id = "quotes"

    def write(self, value: object, slot: Slot) -> JSONValue:
        raise RuntimeError(f"cannot keep {value}")

    def read(self, reference: JSONValue, slot: Slot) -> object:
        raise RuntimeError(f"cannot read {reference}")


class Unfinished(Serializer):
    """Fails when half of the value is written."""

    id = "unfinished"

    def dump(self, value: object, sink: object) -> None:
        sink.write(b"half of ")  # type: ignore[attr-defined]
        raise OSError(f"no room for {value}")

    def load(self, source: object) -> object:
        raise NotImplementedError


FAILURES: dict[str, tuple[dict[str, object], str]] = {
    "handler": ({"result_handler": Quotes()}, "'quotes' could not write a result: RuntimeError"),
    "serializer": ({"result_serializer": Unfinished()}, "'stored' could not write a result: OSError"),
    "format": ({"result_serializer": "json"}, "'stored' could not write a result: json cannot keep the value at"),
    "inline format": ({"result_handler": JSONHandler()}, "'json' cannot keep the value at $.key: JSON has no Opaque"),
    "storage": ({"result_storage": "/proc/nowhere"}, "'stored' could not write a result: "),
    "key": ({"result_storage_key": "{x!s:->300}"}, "'stored' could not write a result: storage refuses"),
    "key from a value": ({"result_storage_key": "{x[2]}"}, "the key of the result could not be made: IndexError"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_what_could_not_be_kept_did_not_succeed_and_the_message_does_not_tell_it(
    failure: str, recorded: Recorded, isolated: Path
) -> None:
    arguments, reason = FAILURES[failure]
    with Flow("flow") as flow:
        kept = a_task(lambda x: {"key": Opaque()}, name="kept", persist_result=True, **arguments)([1])
        a_task(returns, name="down")(kept)

    run = flow.run()

    state = states_of(run)[kept]
    assert type(state) is states.Failed
    assert reason in str(state.message)
    assert SECRET not in str(state.message)
    assert [each.type for each in recorded(run, "kept")] == ["Running", "Failed"]
    assert [each.type for each in recorded(run, "down")] == ["TriggerFailed"]
    assert records_under(isolated) == []
    assert not list(isolated.rglob("*.tmp"))


def test_a_result_that_cannot_be_kept_is_tried_again_like_any_failure(tmp_path: Path) -> None:
    class Once(Noting):
        def write(self, value: object, slot: Slot) -> JSONValue:
            reference = super().write(value, slot)
            if len(self.notes) == 1:
                raise TimeoutError
            return reference

    handler = Once(tmp_path)
    with Flow("flow", result_handler=handler) as flow:
        kept = a_task(lambda: "value", name="kept", persist_result=True, max_retries=1)()

    assert type(states_of(flow.run())[kept]) is states.Success
    assert len(handler.notes) == 2


def test_an_input_that_cannot_be_read_fails_the_task_that_needs_it(recorded: Recorded, tmp_path: Path) -> None:
    class Forgets(Noting):
        def read(self, reference: JSONValue, slot: Slot) -> object:
            raise LookupError(SECRET)

    with Flow("flow", result_handler=Forgets(tmp_path)) as flow:
        up = a_task(lambda: 1, name="up", persist_result=True, cache_result_in_memory=False)()
        down = a_task(returns, name="down")(up)

    state = states_of(flow.run())[down]

    assert type(state) is states.Failed
    assert (
        state.message == "an input could not be read: the result handler 'noting' could not read a result: LookupError"
    )
    assert [each.type for each in recorded(task="down")] == ["Failed"]


def test_inputs_that_cannot_be_kept_for_a_retry_end_the_task(recorded: Recorded) -> None:
    with Flow("flow", result_handler=Quotes()) as flow:
        up = a_task(lambda: SECRET, name="up")()
        down = a_task(fails_at_first, name="down", max_retries=1)(up)

    state = states_of(flow.run())[down]

    assert type(state) is states.Failed
    assert "the inputs for the next try could not be kept" in str(state.message)
    assert SECRET not in str(state.message)
    assert [each.type for each in recorded(task="down")] == ["Running", "Failed", "Failed"]


def test_a_kept_result_is_found_again_by_another_project(recorded: Recorded, isolated: Path) -> None:
    with Flow("flow") as flow:
        a_task(lambda: {"a": [1, 2.5, None]}, name="kept", result_storage_key="reports/{flow_name}")()

    run: State = flow.run()

    success = recorded(run, "kept")[-1]
    assert isinstance(success, StateDocument)
    assert success.result is not None
    assert Project.open().result(success.result, success).value == {"a": [1, 2.5, None]}
    assert (isolated / "results/reports/flow").is_file()


@pytest.mark.parametrize("chain", ["auto", "compressed/auto"])
def test_what_the_same_reader_would_refuse_is_refused_when_it_is_written(chain: str, tmp_path: Path) -> None:
    keyring = Keyring([Key(bytes(32))])
    store = ResultStore(tmp_path, serializer=chain, keyring=keyring, allow={"json"}, plugins=installed_plugins(None))

    with pytest.raises(SerializationError, match="'pickle' would, but"):
        store.write(object)

    assert list(store.list()) == []
    assert store.read(store.write([1]).key).result == [1]
    asked = ResultStore(tmp_path, serializer="pickle", keyring=keyring, allow=(), plugins=installed_plugins(None))
    assert asked.read(asked.write(object).key).result is object
