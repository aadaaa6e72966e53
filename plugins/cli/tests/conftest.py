# SPDX-License-Identifier: Apache-2.0
"""What do the tests of the command line share: a terminal, and runs to look at?"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from .terminal import Terminal

FLOWS = """
from strongroom import Flow, Parameter, Serializer, context, task


class Lines(Serializer):
    id = "mine"

    def dump(self, value, sink):
        sink.write("\\n".join(value).encode())

    def load(self, source):
        return source.read().decode().split("\\n")


@task(persist_result=True)
def table(rows):
    return {"secret-column": list(range(rows))}


@task
def total(table):
    print("the total is computed")
    return sum(table["secret-column"])


@task(max_retries=1)
def download():
    if context.task_run_count == 1:
        raise OSError("the first\\nattempt fails")


@task(result_serializer=Lines())
def own_format():
    return ["a", "b"]


@task(result_handler="json", persist_result=True)
def inline():
    return [1, 2]


with Flow("good") as good:
    rows = Parameter("rows", default=3)
    total(table(rows))
    download()
    own_format()
    inline()


def divide(number):
    return number / 0


@task
def breaks(number):
    return divide(number)


@task
def never(value):
    return value


with Flow("bad") as bad:
    never(breaks(Parameter("number", default=1)))
"""


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A terminal in an empty folder, which has the file ``flows.py``."""
    terminal = Terminal(tmp_path)
    terminal.write("flows.py", FLOWS)
    return terminal


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    """A terminal in whose home the flow ``good`` was run, and then ``bad``; not to be changed."""
    terminal = Terminal(tmp_path_factory.mktemp("lived"))
    terminal.write("flows.py", FLOWS)
    assert terminal.run("run", "flows.py:good", "rows=4").code == 0
    assert terminal.run("run", "flows.py:bad").code == 1
    return terminal


@pytest.fixture
def copy_of_lived(lived: Terminal, tmp_path: Path) -> Terminal:
    """The same, to be changed."""
    shutil.copytree(lived.folder, tmp_path / "copy")
    return Terminal(tmp_path / "copy")
