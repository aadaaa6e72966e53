# SPDX-License-Identifier: Apache-2.0
"""What do the tests of the whole engine share? A project with the real backend, and a look at what was recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from strongroom import JSONValue, ResultHandler, Slot, State, Task, task
from strongroom._function_task import FunctionTask
from strongroom._plugins import installed_plugins
from strongroom.documents import Document, StateDocument
from strongroom.project import Project

Recorded = Callable[..., Sequence[Document]]
"""The documents of a run, by default the last one, of one task or all, as the database has them."""


def a_task(function: Callable[..., object], **arguments: Any) -> FunctionTask:  # noqa: ANN401  # whatever `task` takes
    """A task of *function*, in one call."""
    return task(**arguments)(function)


def states_of(run: State) -> Mapping[Task, State]:
    """The states of the tasks of a run."""
    found = run.result
    assert isinstance(found, dict)
    return found


def types(documents: Sequence[Document]) -> list[str]:
    """The types of the states among *documents*."""
    return [document.type for document in documents if isinstance(document, StateDocument)]


def raises(error: BaseException) -> Callable[..., object]:
    """What raises *error*, whatever inputs it gets."""

    def run(**_: object) -> object:
        raise error

    return run


class Noting(ResultHandler):
    """Keeps values in files, and notes in one more what it is asked for, whichever process asks."""

    id = "noting"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, value: object, slot: Slot) -> JSONValue:
        name = f"{slot.task}{'' if slot.map_index < 0 else slot.map_index}.{slot.field.replace(' ', '-')}"
        (self.folder / name).write_text(json.dumps(value))
        self._note("write", name)
        return name

    def read(self, reference: JSONValue, slot: Slot) -> object:
        self._note("read", str(reference))
        return json.loads((self.folder / str(reference)).read_text())

    def _note(self, *words: str) -> None:
        file = os.open(self.folder / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, " ".join((*words, "\n")).encode())
        os.close(file)

    @property
    def notes(self) -> list[str]:
        """What it was asked for, such as ``write up.result``."""
        path = self.folder / "notes"
        return [line.strip() for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def noting(tmp_path: Path) -> Noting:
    folder = tmp_path / "noted"
    folder.mkdir()
    return Noting(folder)


@pytest.fixture
def project(isolated: Path) -> Project:
    return Project.open()


@pytest.fixture
def recorded(project: Project) -> Recorded:
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
