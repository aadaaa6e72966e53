# SPDX-License-Identifier: Apache-2.0
"""Does the command start quickly, and fail politely?"""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

from .terminal import Terminal


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_imports_neither_the_engine_nor_rich_nor_a_plugin(terminal: Terminal, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "strongroom_cli", *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=terminal.environment(),
    )

    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert {name for name in imported if name.startswith("strongroom")} == {"strongroom_cli"}
    assert imported.isdisjoint({"rich", "pluggy", "msgspec", "sqlalchemy", "pyarrow"})


def test_importing_the_plugin_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import strongroom_cli; print(sorted(set(sys.modules) - before))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "['__future__', 'strongroom_cli']\n"


def test_the_version_is_the_distributions(terminal: Terminal) -> None:
    assert terminal.run("--version").out == f"strongroom {metadata.version('strongroom-cli')}\n"


def test_the_installed_script_is_the_same_command() -> None:
    (script,) = metadata.entry_points(group="console_scripts", name="strongroom")

    assert script.value == "strongroom_cli:main"
    assert callable(script.load())


def test_a_wrong_setting_is_misuse(terminal: Terminal) -> None:
    done = terminal.run("runs", STRONGROOM_RESULTS_STORRAGE="x")

    assert done.code == 2
    assert done.err == (
        "strongroom: error: STRONGROOM_RESULTS_STORRAGE is not a setting; did you mean STRONGROOM_RESULTS_STORAGE?\n"
    )


def test_an_unexpected_error_is_one_line_and_its_traceback_is_shown_without_values_when_asked_for(
    terminal: Terminal,
) -> None:
    terminal.write("sitecustomize.py", "import strongroom.project\nstrongroom.project.Project.open = lambda: 1 / 0\n")

    short = terminal.run("runs", PYTHONPATH=str(terminal.folder))
    long = terminal.run("runs", "--traceback", PYTHONPATH=str(terminal.folder))

    assert (short.code, long.code) == (1, 1)
    assert short.err == ("strongroom: error: ZeroDivisionError: division by zero; add --traceback to see where\n")
    assert "Traceback (most recent call last)" in long.err
    assert "_history.py" in long.err


def test_a_database_that_cannot_be_used_is_a_failure_and_not_misuse(terminal: Terminal) -> None:
    terminal.home.mkdir()
    (terminal.home / "strongroom.db").write_bytes(b"this is no database" * 100)

    done = terminal.run("runs")

    assert (done.code, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert line.startswith("strongroom: error: ")
