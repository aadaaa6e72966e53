# SPDX-License-Identifier: Apache-2.0
"""Does anything of the user's get into the backend's files in clear? Random secrets, one in every place, say no.

That a secret is not found would be worth nothing if the scanner were blind, or if the secret never got near a document:
`test_scanner.py` shows that the one is not so, and a run without sealing, here, that the other is not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from strongroom import Flow, Keyring, context, task
from strongroom.project import Project

from .scanner import Canary, Finding, Scanner, letters, snapshot
from .told import NEVER_SENT, SEALED, flows, parameters


class Ran:
    """The flows were run with secrets of their own; what the backend had on disk was looked at twice."""

    def __init__(self, home: Path, executor: str) -> None:
        self.home = home
        self.told: dict[str, Canary] = {name: make() for name, make in {**SEALED, **NEVER_SENT}.items()}
        self.states: list[str] = []
        project = Project.open()
        with closing(project.open_backend()) as backend, context({str(self.told["context key"]): self.told["context value"]}):
            for flow, values in zip(flows(self.told, home), self._values(), strict=False):
                state = flow.run(values, executor=executor, backend=backend)
                self.states += [type(each).__name__ for each in state.result.values()]
            self.while_open = snapshot(home, home / "while open")
        self.afterwards = snapshot(home, home / "afterwards")

    def _values(self) -> Iterator[dict[str, object]]:
        return itertools.chain([parameters(self.told)], itertools.repeat({}))

    @property
    def found(self) -> list[Finding]:
        scanner = Scanner(self.told)
        return scanner.scan(self.while_open) + scanner.scan(self.afterwards)


@pytest.fixture(params=["sync", "threads"])
def run(request: pytest.FixtureRequest, isolated: Path) -> Callable[[], Ran]:
    return lambda: Ran(isolated, request.param)


def test_no_secret_is_in_the_files_of_the_backend(run: Callable[[], Ran]) -> None:
    ran = run()

    assert not ran.found
    assert {"strongroom.db", "strongroom.db-wal"} <= set(ran.while_open)
    assert {"Success", "Failed", "TriggerFailed", "Skipped", "Paused"} <= set(ran.states)


def test_without_the_seal_each_secret_that_a_document_tells_is_found_and_no_other(
    run: Callable[[], Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Keyring, "seal", lambda _, message, context: message)

    ran = run()

    assert {finding.canary for finding in ran.found} == set(SEALED)


def test_the_name_of_a_task_and_of_a_flow_leaves_in_clear_and_is_found(isolated: Path) -> None:
    secrets = {"flow": letters(), "task": letters()}
    with Flow(secrets["flow"]) as flow:
        task(lambda: 1, name=secrets["task"])()

    flow.run()

    found = Scanner(secrets).scan(snapshot(isolated, isolated / "copy"))
    assert {finding.canary for finding in found} == {"flow", "task"}


def test_no_cache_key_and_no_fingerprint_of_an_input_shows_in_storage(run: Callable[[], Ran]) -> None:
    ran = run()
    files = [path for path in (ran.home).rglob("*") if path.is_file()]
    records = [path for path in files if path.read_bytes().startswith(b"strongroom/1 ")]
    hidden = {name: ran.told[name] for name in ("cache_key", "cache_key_fn", "input that is compared")}

    names_and_headers = {str(path): str(path).encode() + b"\n" + path.read_bytes().split(b"\n")[0] for path in records}

    assert sum("/cache/" in name for name in names_and_headers) > len(hidden)
    assert not Scanner(hidden).scan(names_and_headers)
