# SPDX-License-Identifier: Apache-2.0
"""What becomes of sealed logs under a policy, and with plugins that have a say in what leaves?"""

from __future__ import annotations

import logging

import msgspec
import pytest

from strongroom import Envelope, Flow, context, hookimpl, task
from strongroom._memory_backend import MemoryBackend
from strongroom._policy import FIELDS, allowed
from strongroom.documents import Disposition, Document, LogDocument
from strongroom.project import Project

SAID = ["patient 4711 came", "patient 4712 came"]


@pytest.fixture(autouse=True)
def _sealed_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_EGRESS_LOGS", "seal")


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


def run(backend: MemoryBackend, *plugins: object) -> tuple[bool, list[Envelope]]:
    """Whether a run that logs succeeded, and what left of its logs."""

    def says() -> None:
        for line in SAID:
            context.logger.info(line)

    with Flow("flow") as flow:
        task(name="says")(says)()
    project = Project.open()
    for number, plugin in enumerate(plugins):
        project.plugins.add(f"of logs {number}", plugin)
    try:
        state = flow.run(backend=backend)
    finally:
        for number, _ in enumerate(plugins):
            project.plugins.remove(f"of logs {number}")
    (run_id,) = backend.runs()
    return state.is_successful(), [each for each in backend.read(run_id) if each.kind == "log"]


def opened(envelopes: list[Envelope]) -> list[LogDocument]:
    documents = [Project.open().open_document(each) for each in envelopes]
    assert all(isinstance(each, LogDocument) for each in documents)
    return documents  # type: ignore[return-value]


def texts(envelopes: list[Envelope]) -> list[str]:
    return [line.text for document in opened(envelopes) for line in document.lines]


def local(backend: MemoryBackend) -> list[str]:
    return [line.text for line in Project.open().logs(backend.runs()[0])]


@pytest.mark.parametrize("word", ["clear", "token", "seal", "drop", "strict"])
def test_lines_leave_sealed_and_whole_whatever_the_policy_says_of_other_fields(
    backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    if word == "strict":
        monkeypatch.setenv("STRONGROOM_EGRESS_STRICT", "true")
    for field in FIELDS:
        if word != "strict" and Disposition(word) in allowed(field):
            monkeypatch.setenv(f"STRONGROOM_EGRESS_{field.upper()}", word)

    succeeded, logs = run(backend)

    assert succeeded
    assert texts(logs) == SAID
    assert {line.task for document in opened(logs) for line in document.lines} == {"says"}
    assert {(each.task, each.name, each.shown) for each in logs} == {("", "", "")}
    assert not any(b"patient" in each.sealed for each in logs)


def test_a_plugin_may_take_away_from_lines_and_that_is_told(backend: MemoryBackend) -> None:
    class Shortens:
        @hookimpl
        def strongroom_outgoing(self, document: Document) -> Document | None:
            if not isinstance(document, LogDocument):
                return None
            lines = tuple(msgspec.structs.replace(line, text=line.text.split()[0]) for line in document.lines)
            return msgspec.structs.replace(document, lines=lines)

    succeeded, logs = run(backend, Shortens())

    assert succeeded
    assert texts(logs) == ["patient", "patient"]
    assert [document.withheld for document in opened(logs)] == [("lines",)]
    assert local(backend) == SAID


@pytest.mark.parametrize("change", [{"task": "says"}, {"sequence": 7}, {"name": "patient"}, None])
def test_lines_that_a_plugin_keeps_back_or_spoils_stay_here_and_the_run_goes_on(
    backend: MemoryBackend, caplog: pytest.LogCaptureFixture, change: dict[str, object] | None
) -> None:
    class Vetoes:
        @hookimpl
        def strongroom_outgoing(self, document: Document) -> Document | None:
            if not isinstance(document, LogDocument):
                return None
            if change is None:
                raise ValueError("patient 4711")
            return msgspec.structs.replace(document, **change)

    succeeded, logs = run(backend, Vetoes())

    assert succeeded
    assert not logs
    assert local(backend) == SAID
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len([text for text in told if "leaves no longer, and is kept on this machine only" in text]) == 1
    assert not any("patient" in text for text in told)


def test_lines_are_masked_before_they_are_written_anywhere(backend: MemoryBackend) -> None:
    class Blots:
        @hookimpl
        def strongroom_mask(self, text: str) -> str:
            return text.replace("4711", "***")

    succeeded, logs = run(backend, Blots())

    assert succeeded
    assert texts(logs) == local(backend) == ["patient *** came", SAID[1]]


def test_lines_that_cannot_be_masked_are_written_nowhere(backend: MemoryBackend) -> None:
    class Raises:
        @hookimpl
        def strongroom_mask(self, text: str, name: str) -> str:
            if name == "log":
                raise ValueError(text)
            return text

    succeeded, logs = run(backend, Raises())

    assert succeeded
    assert not any("patient" in text for text in (*texts(logs), *local(backend)))
    assert len(local(backend)) == len(SAID)
