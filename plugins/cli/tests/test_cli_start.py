# SPDX-License-Identifier: Apache-2.0
"""Does the command start quickly, and fail politely?"""

from __future__ import annotations

import os
import shlex
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


@pytest.mark.parametrize("group", [[], ["cache"], ["egress"], ["keys"], ["outbox"], ["store"]], ids=" ".join)
def test_the_list_of_commands_cuts_no_sentence(terminal: Terminal, group: list[str]) -> None:
    done = terminal.see(*group, "--help", width=80)

    assert done.code == 0
    assert "..." not in done.plain.partition("Commands:")[2]


def test_a_home_that_is_a_file_is_misuse(terminal: Terminal) -> None:
    terminal.write("home", "")

    done = terminal.run("runs")

    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"strongroom: error: the home {str(terminal.home)!r} cannot be made: File exists; name another folder\n"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_is_closed_is_named(terminal: Terminal) -> None:
    terminal.home.mkdir(mode=0)

    done = terminal.run("outbox")

    assert done.code == 1
    assert done.err == (
        f"strongroom: error: {str(terminal.home / 'outbox')!r}: Permission denied; see to its permissions\n"
    )


def test_output_that_cannot_be_written_is_a_failure(terminal: Terminal) -> None:
    done = shell(terminal, "plugins > /dev/full")

    assert done.returncode == 1
    assert done.stderr == "strongroom: error: standard output cannot be written: No space left on device\n"


def test_a_run_goes_on_when_its_output_cannot_be_written(terminal: Terminal) -> None:
    terminal.write("one.py", "from strongroom import Flow, task\nwith Flow('one') as flow:\n    task(lambda: 1)()\n")

    done = shell(terminal, "run one.py > /dev/full")

    assert done.returncode == 0
    assert "the run goes on, and standard output cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_command_without_outputs_works_and_has_its_exit_code(terminal: Terminal, closed: str) -> None:
    good, bad = shell(terminal, f"outbox {closed}"), shell(terminal, f"show nothing {closed}")

    assert (good.returncode, bad.returncode) == (0, 2)
    assert "Traceback" not in good.stderr + bad.stderr


def shell(terminal: Terminal, line: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a command that a shell starts, with outputs of its own."""
    command = f"{shlex.quote(sys.executable)} -m strongroom_cli {line}"
    return subprocess.run(
        ["sh", "-c", command],
        cwd=terminal.folder,
        env=terminal.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
