# SPDX-License-Identifier: Apache-2.0
"""Does the command line show plugins, and take commands from them?"""

from __future__ import annotations

import json

import pytest

from .terminal import Terminal

GREETING = """
import typer
import strongroom

app = typer.Typer()

@app.command()
def greet(name: str):
    print("hello", name)

@strongroom.hookimpl
def strongroom_register(register):
    register.command("greeting", "greeting:app")
"""


@pytest.fixture
def with_plugins(terminal: Terminal) -> Terminal:
    """Two more plugins, as pip would install them: one with a command, and one that is broken."""
    for name, code in (("greeting", GREETING), ("broken", "raise RuntimeError('nothing works')")):
        terminal.write(f"{name}.py", code)
        info = terminal.folder / f"{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: its-{name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[strongroom]\n{name} = {name}\n")
    return terminal


def test_plugins_are_listed_with_what_they_bring_and_broken_ones_with_their_error(with_plugins: Terminal) -> None:
    done = with_plugins.run("plugins")
    told = {each["name"]: each for each in json.loads(with_plugins.run("plugins", "--json").out)}

    rows = {line.split()[0]: line for line in done.lines}
    assert rows["greeting"].split()[1:4] == ["1.5", "its-greeting", "command:greeting,"]
    assert "the plugin 'broken' is broken and was left out: RuntimeError: nothing works" in rows["broken"]
    assert "backend:sql" in rows["sql"]
    assert told["greeting"]["hooks"] == ["strongroom_register"]
    assert told["broken"]["error"].endswith("RuntimeError: nothing works")
    assert done.code == 0


def test_a_command_of_a_plugin_can_be_called(with_plugins: Terminal) -> None:
    done = with_plugins.run("greeting", "world")

    assert (done.code, done.out, done.err) == (0, "hello world\n", "")


def test_a_command_that_nobody_brings_is_misuse(with_plugins: Terminal) -> None:
    done = with_plugins.call("greetings")

    assert done.code == 2
    assert "No such command 'greetings'" in done.err
    assert "Traceback" not in done.err
