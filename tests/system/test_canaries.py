# SPDX-License-Identifier: Apache-2.0
"""Does anything of the user's get into the backend's files in clear? Random secrets, one in every place, say no.

That a secret is not found would be worth nothing if the scanner were blind, or if the secret never got near a document:
`test_scanner.py` shows that the one is not so, and a run without sealing, here, that the other is not.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from strongroom import Flow, Keyring, context
from strongroom._policy import FIELDS, allowed
from strongroom.documents import Disposition
from strongroom.project import Project

from .scanner import Canary, Finding, Scanner, letters, snapshot
from .surfaces import NEVER_SENT, SEALED, a_task, flows, parameters


class Ran:
    """The flows were run with secrets of their own; what the backend had on disk was looked at twice."""

    def __init__(self, home: Path, executor: str) -> None:
        self.home = home
        self.told: dict[str, Canary] = {name: make() for name, make in {**SEALED, **NEVER_SENT}.items()}
        project = Project.open()
        with (
            closing(project.open_backend()) as backend,
            context({str(self.told["context key"]): self.told["context value"]}),
        ):
            for flow in flows(self.told, home):
                given = parameters(self.told) if flow.parameters else {}
                with suppress(KeyboardInterrupt):
                    flow.run(given, executor=executor, backend=backend)
            self.states = {document.type for run in backend.runs() for document in backend.read(run)}
            self.while_open = snapshot(home, home / "while open")
        self.afterwards = snapshot(home, home / "afterwards")

    @property
    def found(self) -> list[Finding]:
        scanner = Scanner(self.told)
        return scanner.scan(self.while_open) + scanner.scan(self.afterwards)


@pytest.fixture(params=["sync", "threads"])
def run(request: pytest.FixtureRequest, isolated: Path) -> Callable[[], Ran]:
    return lambda: Ran(isolated, request.param)


@pytest.mark.parametrize("strict", ["false", "true"])
def test_no_secret_is_in_the_files_of_the_backend(
    run: Callable[[], Ran], strict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRONGROOM_EGRESS_STRICT", strict)

    ran = run()

    assert not ran.found
    assert {"strongroom.db", "strongroom.db-wal"} <= set(ran.while_open)
    assert {"Success", "Cached", "Failed", "TriggerFailed", "Retrying", "Skipped", "Paused", "Cancelled"} <= ran.states


def test_without_the_seal_each_secret_that_a_document_tells_is_found_and_no_other(
    run: Callable[[], Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The id of the key stays in front: links between states are made with the key that it names.
    monkeypatch.setattr(Keyring, "seal", lambda self, message, context: b"\1" + bytes.fromhex(self.primary) + message)

    ran = run()

    assert {finding.canary for finding in ran.found} == set(SEALED)


def test_with_a_policy_that_lets_everything_out_nearly_every_secret_is_shown(
    isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for field in FIELDS:
        if Disposition.CLEAR in allowed(field):
            monkeypatch.setenv(f"STRONGROOM_EGRESS_{field.upper()}", "clear")

    ran = Ran(isolated, "sync")

    found = {finding.canary for finding in ran.found}
    assert found <= set(SEALED)
    assert len(found) >= 0.95 * len(SEALED), set(SEALED) - found


@pytest.mark.parametrize("how", ["token", "drop"])
def test_a_token_and_nothing_at_all_show_no_secret(isolated: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    for field in FIELDS:
        if Disposition(how) in allowed(field):
            monkeypatch.setenv(f"STRONGROOM_EGRESS_{field.upper()}", how)

    assert not Ran(isolated, "sync").found


def test_what_is_not_sent_is_where_it_belongs(
    run: Callable[[], Ran], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    ran = run()

    stored = {str(path): path.read_bytes() for path in ran.home.rglob("*") if is_record(path)}
    assert {"value", "constant input", "result kept in the document"} <= {
        finding.canary for finding in Scanner(ran.told).scan(stored)
    }
    assert str(ran.told["log line"]) in caplog.text
    assert str(ran.told["printed line"]) in capfd.readouterr().out


@pytest.mark.parametrize(("strict", "seen"), [("false", {"flow", "task"}), ("true", set())])
def test_the_name_of_a_task_and_of_a_flow_leaves_in_clear_unless_the_policy_is_strict(
    isolated: Path, monkeypatch: pytest.MonkeyPatch, strict: str, seen: set[str]
) -> None:
    monkeypatch.setenv("STRONGROOM_EGRESS_STRICT", strict)
    secrets = {"flow": letters(), "task": letters()}
    with Flow(secrets["flow"]) as flow:
        a_task(lambda: 1, name=secrets["task"])()

    flow.run()

    found = Scanner(secrets).scan(snapshot(isolated, isolated / "copy"))
    assert {finding.canary for finding in found} == seen


def test_no_cache_key_and_no_input_that_is_compared_shows_in_the_name_or_header_of_a_record(
    run: Callable[[], Ran],
) -> None:
    ran = run()
    hidden = {name: ran.told[name] for name in ("cache_key", "cache_key_fn", "input that is compared")}
    records = [path for path in ran.home.rglob("*") if is_record(path)]

    shown = {str(path): str(path).encode() + b"\n" + path.read_bytes().split(b"\n")[0] for path in records}

    assert sum("/cache/" in name for name in shown) > len(hidden)
    assert not Scanner(hidden).scan(shown)


def is_record(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(b"strongroom/1 ")
