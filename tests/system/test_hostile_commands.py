# SPDX-License-Identifier: Apache-2.0
"""What do the commands make of a backend that gives out anything it likes: a clear line, and never its lie?"""

from __future__ import annotations

import functools
import io
import os
import random
import shutil
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

from strongroom import Flow
from strongroom._egress import _PLANS
from strongroom._memory_backend import MemoryBackend
from strongroom.project import Project
from strongroom_cli import main

from .test_hostile_backend import LIES, Lies, Record

ROUNDS = 40 if os.environ.get("STRONGROOM_TEST_LONG") else 2
FLOW = """
from datetime import timedelta

from strongroom import Flow, context, task

@task(cache_for=timedelta(hours=1))
def one():
    context.logger.info("one is said")
    return 1

@task(max_retries=1)
def two(number):
    raise ValueError(number)

with Flow("flow") as flow:
    two(one())
"""
COMMANDS = [
    ["show"],
    ["show", "--json"],
    ["verify"],
    ["verify", "--json"],
    ["read", "one"],
    ["read", "one", "--raw"],
    ["logs"],
    ["cache explain", "one"],
    ["egress show"],
    ["resume", "lied_to.py"],
]


class Says(Lies):
    """A backend whose one run is a lie."""

    def __init__(self, record: Sequence[object], run_id: str) -> None:
        super().__init__(record)  # type: ignore[arg-type]
        self.run_id = run_id

    def runs(self, *, prefix: str = "", limit: int = 20) -> Sequence[str]:
        return [self.run_id] if self.run_id.startswith(prefix) and limit else []


# Typer puts all commands together anew for each call, which takes several times as long as the call itself.
put_together = functools.cache(typer.main.get_command)


class Called:
    """What a command printed, and its exit code."""

    def __init__(self, arguments: list[str], backend: MemoryBackend | None, monkeypatch: pytest.MonkeyPatch) -> None:
        """Call a command with *backend*, or with the one of the settings."""
        out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
        with monkeypatch.context() as patch:
            if backend is not None:
                patch.setattr(Project, "open_backend", lambda _: backend)
            patch.setattr(typer.main, "get_command", put_together)
            patch.setattr(sys, "argv", ["strongroom", *arguments])
            patch.setattr(sys, "path", list(sys.path))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as left:
                main()
        # Another test has another file of that name.
        sys.modules.pop("lied_to", None)
        code = left.value.code
        self.code = code if isinstance(code, int) else 0
        self.out, self.err = (stream.buffer.getvalue().decode(errors="replace") for stream in (out, err))  # type: ignore[attr-defined]


def written_flow() -> Flow:
    """The flow that the commands are given, of which there is a file now."""
    Path("lied_to.py").write_text(FLOW)
    names: dict[str, Any] = {"__name__": "flow"}
    exec(compile(FLOW, "lied_to.py", "exec"), names)
    flow: Flow = names["flow"]
    return flow


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> list[Record]:
    """Two true records of one flow, with sealed logs."""
    monkeypatch.setenv("STRONGROOM_EGRESS_LOGS", "seal")
    flow = written_flow()
    backend = MemoryBackend()
    for _ in range(2):
        flow.run(backend=backend)
    # The first run is the one that called the task that is cached.
    return [list(backend.read(run)) for run in reversed(backend.runs())]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str], Record, str], Called]:
    """Calls a command about the run of a record."""

    def call(command: list[str], record: Record, run_id: str) -> Called:
        name, *more = command
        # What this machine has of the logs would be shown before what the backend has.
        shutil.rmtree(Path(os.environ["STRONGROOM_HOME"], "logs"), ignore_errors=True)
        return Called([*name.split(), run_id, *more], Says(record, run_id), monkeypatch)

    return call


@pytest.mark.long
@pytest.mark.parametrize("lie", LIES)
def test_no_command_takes_a_lie_for_the_record_or_falls_over_it(
    records: list[Record], call: Callable[..., Called], lie: Callable[[random.Random, Record, Record], None]
) -> None:
    it, (true, other) = random.Random(17), records
    run_id = true[0].run_id
    for number in range(ROUNDS):
        record = list(true)
        lie(it, record, other)
        for command in COMMANDS:
            done = call(command, record, run_id)

            where = (lie.__name__, number, command, done.out, done.err)
            assert "Traceback" not in done.out + done.err, where
            assert all(line.startswith("strongroom: error: ") for line in done.err.splitlines()), where
            assert "add --traceback to see where" not in done.err, where
            assert done.code in {0, 1, 2}, where
            assert bool(done.code) == bool(done.err), where
            if command[0] in {"verify", "resume"}:
                assert done.code, where


def test_true_records_are_shown_and_read(records: list[Record], call: Callable[..., Called]) -> None:
    true = records[0]

    done = {tuple(command): call(command, true, true[0].run_id) for command in COMMANDS}

    # It has ended, so that there is nothing to go on with.
    assert {command for command, each in done.items() if each.code} == {("resume", "lied_to.py")}
    assert "it has ended" in done["resume", "lied_to.py"].err
    assert "one is said" in done["logs",].out
    assert done["read", "one"].out == "1\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_decoded_that_does_not_open(
    records: list[Record], call: Callable[..., Called], monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    true = records[0]
    record = [type(each)(*_forged(each)) for each in true]

    def never(_message: bytes) -> object:
        raise AssertionError("it was decoded")

    for plan in _PLANS.values():
        monkeypatch.setattr(plan, "decode", never)
    done = call(command, record, true[0].run_id)

    assert "it was decoded" not in done.out + done.err
    assert done.code == (0 if command[0] == "egress show" else 1), done.err


def _forged(envelope: object) -> list[object]:
    """The fields of *envelope*, with something of the liar's own where it was sealed."""
    fields = [getattr(envelope, name) for name in envelope.__struct_fields__]  # type: ignore[attr-defined]
    fields[9] = b"\x01" + bytes(8) + b"\x91" * 5_000
    return fields


def test_huge_and_deep_documents_take_little_memory(records: list[Record], call: Callable[..., Called]) -> None:
    true = records[0]
    huge = [b"\x01" * (40 << 20), b"\x91" * (40 << 20), true[1].sealed[:9] + bytes(40 << 20)]

    for sealed in huge:
        record = [true[0], type(true[1])(*[*_forged(true[1])[:9], sealed, ""]), *true[2:]]
        for command in COMMANDS:
            if command[0] == "egress show":
                continue  # it prints what is there
            tracemalloc.start()
            done = call(command, record, true[0].run_id)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()

            assert peak < 200 << 20, (command, peak)
            assert "Traceback" not in done.err
