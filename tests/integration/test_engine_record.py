# SPDX-License-Identifier: Apache-2.0
"""Does the record of a run say what was done, and no more than it may? With every plugin and a real database."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from strongroom import Flow, Parameter, State, hookimpl, signals, states
from strongroom.documents import Document, RunDocument, StateDocument
from strongroom.errors import EgressError
from strongroom.project import Project
from strongroom.results import ResultStore

from .conftest import Recorded, a_task, raises, states_of, types

EXECUTORS = pytest.mark.parametrize("executor", ["sync", "threads"])


# What is recorded.


@EXECUTORS
def test_what_is_reopened_is_what_was_sent(executor: str, recorded: Recorded, plugin: Callable[[object], None]) -> None:
    sent: list[Document] = []

    class Listens:
        @hookimpl
        def strongroom_outgoing(self, document: Document) -> None:
            sent.append(document)

    plugin(Listens())
    with Flow("flow") as flow:
        first = a_task(lambda p: p, name="first", tags=["b", "a"], task_run_name="{p} in {flow_name}")(Parameter("p"))
        a_task(raises(KeyError("broken")), name="fails", max_retries=1)(x=first)
        a_task(raises(signals.SKIP("not today")), name="skips")()

    flow.run(p="Köln", executor=executor)

    assert sorted(recorded(), key=where) == sorted(sent, key=where)
    assert [document.sequence for document in recorded(task="fails")] == list(range(5))
    assert types(recorded(task="fails")) == ["Running", "Failed", "Retrying", "Running", "Failed"]
    assert [document.run_count for document in recorded(task="fails")] == [1, 1, 1, 2, 2]


def where(document: Document) -> tuple[str, int]:
    return document.task, document.sequence


def test_the_first_document_of_a_run_says_what_is_to_be_run(recorded: Recorded) -> None:
    with Flow("sales") as flow:
        month, _ = Parameter("month"), Parameter("limit", 1.5)
        a_task(lambda x: x, name="report")(month)

    flow.run({"month": {"name": "July", "days": [1, 31]}})

    opening = recorded()[0]
    assert isinstance(opening, RunDocument)
    assert opening.name == "sales"
    assert opening.parameters == {"month": {"name": "July", "days": [1, 31]}, "limit": 1.5}
    assert set(opening.tasks) == {"month", "limit", "report"}
    assert opening.tasks.index("month") < opening.tasks.index("report")


def test_a_state_of_the_users_own_class_is_recorded_as_ours_that_it_is(recorded: Recorded) -> None:
    class Sold(states.Success):
        __slots__ = ()

    class Lost(states.TimedOut):
        __slots__ = ()

    def change(_: object, __: State, new: State) -> State:
        kind = {states.Success: Sold, states.Failed: Lost}.get(type(new))  # type: ignore[call-overload]
        return new if kind is None else kind(new.message, result=new.result)

    with Flow("flow") as flow:
        a_task(lambda: 1, name="sells", state_handlers=[change])()
        a_task(raises(KeyError("x")), name="loses", state_handlers=[change])()

    run = flow.run()

    assert [type(each) for each in states_of(run).values()] == [Sold, Lost]
    assert types(recorded(task="sells")) == ["Running", "Success"]
    assert types(recorded(task="loses")) == ["Running", "TimedOut"]


def test_the_record_tells_what_a_task_was(recorded: Recorded) -> None:
    with Flow("flow") as flow:
        a_task(lambda x: x, name="work", tags=["b", "a"], task_run_name="{x[0]} in {flow_name}")(["part"])
    before = datetime.now(UTC)

    flow.run()

    for document in recorded(task="work"):
        assert isinstance(document, StateDocument)
        assert document.tags == ("a", "b")
        assert document.task_run_name == "part in flow"
        assert before.timestamp() * 1e6 - 1 <= document.at <= datetime.now(UTC).timestamp() * 1e6


def test_the_record_tells_what_was_raised_and_where(recorded: Recorded) -> None:
    def inner() -> None:
        raise KeyError("inner")

    def fails() -> None:
        try:
            inner()
        except KeyError as exc:
            error = ExceptionGroup("several", [OSError("one"), ValueError("two")])
            error.add_note("a note")
            raise error from exc

    with Flow("flow") as flow:
        a_task(fails)()

    flow.run()

    failed = recorded(task="fails")[-1]
    assert isinstance(failed, StateDocument)
    assert failed.error is not None
    assert (failed.error.kind, failed.error.notes) == ("builtins.ExceptionGroup", ("a note",))
    assert [member.message for member in failed.error.members] == ["one", "two"]
    assert failed.error.frames[-1].function.endswith("fails")
    assert failed.error.cause is not None
    assert failed.error.cause.message == "'inner'"
    assert [frame.function.rpartition(".")[2] for frame in failed.error.cause.frames] == ["fails", "inner"]


def with_notes(notes: object) -> BaseException:
    error = ValueError("the message")
    error.__notes__ = notes  # type: ignore[assignment]
    return error


def caused_by_itself() -> BaseException:
    error = ValueError("the message")
    error.__cause__ = error
    return error


def caused_by_a_thousand() -> BaseException:
    error = ValueError("0")
    for number in range(1, 1000):
        last, error = error, ValueError(str(number))
        error.__cause__ = last
    return error


ODD: dict[str, Callable[[], BaseException]] = {
    "a message that is no text": lambda: ValueError("file \udcff"),
    "a message that cannot be made": type("Odd", (Exception,), {"__str__": lambda _: 1 // 0}),
    "notes that are no list": lambda: with_notes(7),
    "notes that are no texts": lambda: with_notes([7, None, "\udcff"]),
    "itself as its cause": caused_by_itself,
    "a thousand causes": caused_by_a_thousand,
    "a very long message": lambda: ValueError("x" * 10_000_000),
}


@pytest.mark.parametrize("odd", ODD)
def test_whatever_is_raised_is_recorded_and_ends_nothing_but_its_task(odd: str, recorded: Recorded) -> None:
    with Flow("flow") as flow:
        a_task(raises(ODD[odd]()), name="odd")()
        fine = a_task(lambda: 1, name="fine")()

    state = flow.run()

    assert states_of(state)[fine].is_successful()
    failed = recorded(task="odd")[-1]
    assert isinstance(failed, StateDocument)
    assert failed.type == "Failed"
    assert failed.error is not None
    assert len(failed.error.message) < 20_000


@pytest.mark.parametrize(
    "arguments",
    [{"tags": ["\udcff"]}, {"task_run_name": "{x}"}, {"state_handlers": [lambda *_: states.Success("\udcff")]}],
    ids=list,
)
def test_what_cannot_be_recorded_fails_its_task_and_nothing_else(arguments: dict[str, object]) -> None:
    with Flow("flow") as flow:
        odd = a_task(lambda x: x, name="odd", **arguments)("\udcff")
        fine = a_task(lambda: 1, name="fine")()

    state = flow.run()

    assert states_of(state)[fine].is_successful()
    assert states_of(state)[odd].is_failed()
    assert isinstance(states_of(state)[odd].result, EgressError)
    assert "UnicodeEncodeError" in str(states_of(state)[odd].message)


# The way out.


class Guards:
    """A plugin that lets no message with a certain word out, and blots out another."""

    @hookimpl
    def strongroom_outgoing(self, document: Document) -> Document | None:
        message = getattr(document, "message", None) or ""
        if "forbidden" in message:
            raise PermissionError(message)
        return msgspec.structs.replace(document, message="***") if "private" in message else None


def test_what_a_plugin_vetoes_does_not_leave_and_its_task_fails(
    plugin: Callable[[object], None], recorded: Recorded, isolated: Path
) -> None:
    plugin(Guards())
    with Flow("flow") as flow:
        work = a_task(raises(signals.SUCCESS("a forbidden word")), name="work")()

    state = flow.run()

    assert type(states_of(state)[work]) is states.Failed
    assert isinstance(states_of(state)[work].result, EgressError)
    assert types(recorded(task="work")) == ["Running", "Failed"]
    assert "forbidden" not in str(recorded(task="work")[-1].message)  # type: ignore[attr-defined]
    assert state.is_failed()


def test_state_handlers_hear_that_a_veto_made_a_failure_of_a_state_and_cannot_change_that(
    plugin: Callable[[object], None], recorded: Recorded
) -> None:
    plugin(Guards())
    heard: list[str] = []

    def handler(_: object, old: states.State, new: states.State) -> states.State | None:
        heard.append(f"{type(old).__name__} {type(new).__name__}")
        return states.Success() if new.is_failed() else None

    with Flow("flow") as flow:
        work = a_task(raises(signals.SUCCESS("a forbidden word")), name="work", state_handlers=[handler])()

    state = flow.run()

    assert heard == ["Pending Running", "Running Success", "Success Failed"]
    assert types(recorded(task="work")) == ["Running", "Failed"]
    assert states_of(state)[work].is_failed()


def test_what_a_plugin_blots_out_is_not_recorded_but_stays_in_the_process(
    plugin: Callable[[object], None], recorded: Recorded
) -> None:
    plugin(Guards())
    with Flow("flow") as flow:
        work = a_task(raises(signals.SUCCESS("a private word")), name="work")()

    assert states_of(flow.run())[work].message == "a private word"
    assert recorded(task="work")[-1].message == "***"  # type: ignore[attr-defined]


def test_a_veto_of_the_run_itself_stops_it_before_it_starts(plugin: Callable[[object], None]) -> None:
    class NotThisFlow:
        @hookimpl
        def strongroom_outgoing(self, document: Document) -> None:
            if isinstance(document, RunDocument):
                raise PermissionError

    plugin(NotThisFlow())
    done: list[int] = []
    with Flow("flow") as flow:
        a_task(lambda: done.append(1), name="work")()

    with pytest.raises(EgressError):
        flow.run()

    assert done == []


def test_a_veto_does_not_stand_in_the_way_of_an_interrupt(plugin: Callable[[object], None], recorded: Recorded) -> None:
    class NothingOfTheEnd:
        @hookimpl
        def strongroom_outgoing(self, document: Document) -> None:
            if document.type in {"Cancelled", "Failed"}:
                raise PermissionError

    plugin(NothingOfTheEnd())
    with Flow("flow") as flow:
        a_task(raises(KeyboardInterrupt()), name="stops")()

    with pytest.raises(KeyboardInterrupt):
        flow.run()

    assert types(recorded()) == ["Running", "Running", "Cancelling"]


# The backend.


def test_a_database_that_is_taken_away_is_told_of_after_the_run_and_states_and_results_are_safe(
    isolated: Path, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    def take_away() -> str:
        (isolated / "strongroom.db").unlink()
        return "result"

    with Flow("flow") as flow:
        a_task(take_away, result_storage_key="kept")()
        a_task(lambda: "another", name="another", result_storage_key="another")()

    state = flow.run()

    assert state.is_successful()
    assert re.search(r"6 documents .* wait on this machine.*: the database .* was moved or deleted", caplog.text)
    assert [each.documents for each in project.outbox.waiting()] == [6]
    store = ResultStore(isolated / "results")
    assert [store.read(key).result for key in ("kept", "another")] == ["result", "another"]


def test_a_database_that_somebody_else_has_locked_delays_the_record_and_not_the_run(
    isolated: Path, project: Project, recorded: Recorded
) -> None:
    project.open_backend().close()
    done: list[str] = []
    with closing(sqlite3.connect(isolated / "strongroom.db", isolation_level=None, check_same_thread=False)) as other:

        def unlock(_: object, __: State, new: State) -> None:
            if new.is_finished():
                assert done == ["work"]
                other.execute("ROLLBACK")

        with Flow("flow", state_handlers=[unlock]) as flow:
            a_task(lambda: done.append("work"), name="work")()
        other.execute("BEGIN IMMEDIATE")

        flow.run()

    assert types(recorded(task="work")) == ["Running", "Success"]


@pytest.mark.parametrize(("setting", "said"), [("PLUGINS_ALLOW=json", 1), ("BACKEND_ID=memory", 0)])
def test_a_run_that_is_recorded_nowhere_says_so_once_unless_that_was_asked_for(
    setting: str, said: int, isolated: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(*f"STRONGROOM_{setting}".split("="))
    with Flow("flow") as flow:
        for number in range(3):
            a_task(lambda x: x, name="work")(number)

    assert flow.run().is_successful()

    warnings = [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert len(warnings) == said
    assert all("pip install strongroom-sql" in warning for warning in warnings)
    assert not (isolated / "strongroom.db").exists()
