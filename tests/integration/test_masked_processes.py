# SPDX-License-Identifier: Apache-2.0
"""Is what a task says in a process of its own masked like what it says here, whoever knows the secret?"""

from __future__ import annotations

import contextlib
import os
import pty
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom import Backend, Flow, Secret, task
from strongroom._memory_backend import MemoryBackend
from strongroom.documents import StateDocument
from strongroom.project import Project

SCRIPT = """
import logging
import sys

from strongroom import Flow, Secret, context, task


@task
def says(value, secret):
    value = value or secret.reveal()
    print("printed", value)
    print("on standard error", value, file=sys.stderr)
    logging.getLogger("mine").warning("logged %s", value)
    context.logger.warning("said %s", value)


with Flow("flow") as flow:
    says(Secret("DB_PASSWORD").reveal() if sys.argv[1] == "here" else None, Secret("DB_PASSWORD"))

assert flow.run(executor="processes").is_successful()
"""


@pytest.fixture
def value(monkeypatch: pytest.MonkeyPatch) -> str:
    value = f"p4ss {secrets.token_hex(12)}"
    monkeypatch.setenv("DB_PASSWORD", value)
    return value


def on_a_terminal(*command: str) -> str:
    """What *command* shows on a terminal."""
    master, slave = pty.openpty()
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    out = b""
    # Linux says by an error that the other side is closed.
    with contextlib.suppress(OSError):
        while piece := os.read(master, 65536):
            out += piece
    os.close(master)
    assert process.wait() == 0, out.decode()
    return out.decode()


@pytest.mark.parametrize("where", ["here", "there"])
def test_nothing_that_a_process_prints_or_logs_shows_a_secret(tmp_path: Path, value: str, where: str) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)

    shown = on_a_terminal(sys.executable, str(tmp_path / "script.py"), where)

    for said in ("printed", "on standard error", "logged", "said"):
        assert f"{said} [masked]" in shown
    assert value not in shown


def recorded(flow: Flow, backend: Backend) -> list[str]:
    """What the log and the record of the one run of *flow* have."""
    flow.run(executor="processes", backend=backend)
    project, (run,) = Project.open(), backend.runs()
    states = [each for each in project.documents(backend, run) if isinstance(each, StateDocument)]
    errors = [each.error.message for each in states if each.error]
    return [*(line.text for line in project.logs(run)), *errors]


def fails(value: str | None) -> None:
    print("printed", value or Secret("DB_PASSWORD").reveal())  # noqa: T201
    raise ValueError(f"cannot log in with {value or Secret('DB_PASSWORD').reveal()}")


@pytest.mark.parametrize("where", ["here", "there"])
def test_the_log_and_the_record_have_no_secret_whichever_process_revealed_it(value: str, where: str) -> None:
    with Flow("flow") as flow:
        task(name="fails", log_stdout=True)(fails)(Secret("DB_PASSWORD").reveal() if where == "here" else None)

    assert recorded(flow, MemoryBackend()) == ["printed [masked]", "cannot log in with [masked]"]


def test_a_secret_that_one_process_revealed_is_masked_in_all(value: str) -> None:
    def reveals() -> int:
        return len(Secret("DB_PASSWORD").reveal())

    def says(length: int) -> None:
        raise ValueError(f"{length}: {os.environ['DB_PASSWORD']}")

    with Flow("flow") as flow:
        task(name="says", log_stdout=True)(says)(task(name="reveals")(reveals)())

    assert recorded(flow, MemoryBackend()) == [f"{len(value)}: [masked]"]
