# SPDX-License-Identifier: Apache-2.0
"""What do the tests of the whole engine share? A project with the real backend, and a look at what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from strongroom import JSONValue, ResultHandler, Slot, State
from strongroom._plugins import installed_plugins
from strongroom.documents import Document
from strongroom.project import Project


class Calls(ResultHandler):
    """Keeps values in a dictionary, and notes what it is asked for."""

    id = "calls"

    def __init__(self) -> None:
        self.kept: dict[str, object] = {}
        self.written: list[tuple[str, object]] = []
        self.read_again: list[str] = []

    def write(self, value: object, slot: Slot) -> JSONValue:
        reference = f"{slot.task}/{len(self.kept)}"
        self.kept[reference] = value
        self.written.append((slot.task, value))
        return reference

    def read(self, reference: JSONValue, slot: Slot) -> object:
        self.read_again.append(slot.task)
        return self.kept[str(reference)]


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def project(isolated: Path) -> Project:
    return Project.open()


@pytest.fixture
def recorded(project: Project) -> Callable[..., Sequence[Document]]:
    """The documents of a run, by default the last one, of one task or all, as the database has them."""

    def recorded(run: State | None = None, task: str | None = None) -> Sequence[Document]:
        with closing(project.open_backend()) as backend:
            run_id = str(run.context["run_id"]) if run is not None else backend.runs(limit=1)[0]
            return list(project.documents(backend, run_id, task=task))

    return recorded


@pytest.fixture
def plugin() -> Iterator[Callable[[object], None]]:
    """Adds an object to the installed plugins for the length of the test."""
    plugins, names = installed_plugins(None), list[str]()

    def add(object_: object) -> None:
        names.append(f"of-a-test-{len(names)}")
        plugins.add(names[-1], object_)

    yield add
    for name in names:
        plugins.remove(name)


def records_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.read_bytes().startswith(b"strongroom/1 ")]


@pytest.fixture
def stored(isolated: Path) -> Callable[[], list[Path]]:
    """The records in the storage of the home."""
    return lambda: records_under(isolated / "results")
