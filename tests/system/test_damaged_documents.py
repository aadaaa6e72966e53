# SPDX-License-Identifier: Apache-2.0
"""Is a document that somebody changed, moved or replaced in the backend's database refused when it is read?"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from strongroom import Backend, Envelope, Flow, Keyring, task
from strongroom.errors import SealError
from strongroom.project import Project

IDENTITY = ("run_id", "task", "sequence")


@dataclass(frozen=True)
class Scene:
    """Two runs of one flow in a real database, and a connection with which somebody else changes it."""

    project: Project
    backend: Backend
    runs: tuple[str, str]
    attacker: sqlite3.Connection

    def change(self, statement: str, *values: object) -> None:
        self.attacker.execute(statement, values)

    def row(self, run: int, slug: str, sequence: int = 1) -> int:
        """The number of the row of one state."""
        where = "WHERE run_id = ? AND task = ? AND sequence = ?"
        rows = self.attacker.execute(f"SELECT ordinal FROM documents {where}", (self.runs[run], slug, sequence))
        return int(rows.fetchone()[0])

    def cell(self, row: int, column: str) -> object:
        return self.attacker.execute(f"SELECT {column} FROM documents WHERE ordinal = ?", (row,)).fetchone()[0]

    def swap(self, columns: Sequence[str], one: int, other: int) -> None:
        ours, theirs = [[self.cell(row, column) for column in columns] for row in (one, other)]
        self.change("UPDATE documents SET map_index = -99 WHERE ordinal = ?", one)  # identities are unique
        for row, values in ((other, ours), (one, theirs)):
            places = ", ".join(f"{column} = ?" for column in ("map_index", *columns))
            self.change(f"UPDATE documents SET {places} WHERE ordinal = ?", -1, *values, row)

    def refused(self, *runs: str) -> bool:
        """True if one of *runs*, by default one of any, cannot be read."""
        every = [run for (run,) in self.attacker.execute("SELECT DISTINCT run_id FROM documents")]
        return any(self._is_refused(run) for run in runs or every)

    def _is_refused(self, run: str) -> bool:
        try:
            list(self.project.documents(self.backend, run))
        except SealError:
            return True
        return False


@pytest.fixture
def scene(isolated: Path) -> Iterator[Scene]:
    project = Project.open()
    with Flow("flow") as flow:
        one = task(name="one", tags=["a tag"])(lambda: "one")()
        task(name="two", persist_result=True)(lambda x: [x])(one)
    with closing(project.open_backend()) as backend:
        states = [flow.run(backend=backend) for _ in range(2)]
        runs = (str(states[0].context["run_id"]), str(states[1].context["run_id"]))
        with closing(sqlite3.connect(isolated / "strongroom.db", isolation_level=None)) as attacker:
            attacker.execute("PRAGMA synchronous = OFF")
            yield Scene(project, backend, runs, attacker)


def test_what_nobody_changed_is_read(scene: Scene) -> None:
    assert not scene.refused()
    documents = list(scene.project.documents(scene.backend, scene.runs[0]))
    assert [document.type for document in documents] == [
        "",
        "Running",
        "Running",
        "Success",
        "Running",
        "Success",
        "Success",
    ]


@pytest.mark.parametrize("slug", ["", "one", "two"])
@pytest.mark.parametrize("column", Envelope.__struct_fields__)
def test_a_change_of_any_column_is_noticed(scene: Scene, column: str, slug: str) -> None:
    row = scene.row(0, slug)
    others = {"run_id": "0" * 32, "kind": "run", "type": "Skipped", "sealed": b"\x01" + bytes(200)}
    old = scene.cell(row, column)

    scene.change(
        f"UPDATE documents SET {column} = ? WHERE ordinal = ?",
        others.get(column, old + 7 if isinstance(old, int) else f"{old}x"),
        row,
    )

    assert scene.refused()


def test_a_change_of_any_bit_of_a_sealed_blob_is_noticed(scene: Scene) -> None:
    row = scene.row(0, "one")
    sealed = scene.cell(row, "sealed")
    assert isinstance(sealed, bytes)

    accepted = []
    for position in range(len(sealed)):
        for bit in range(8):
            changed = sealed[:position] + bytes([sealed[position] ^ 1 << bit]) + sealed[position + 1 :]
            scene.change("UPDATE documents SET sealed = ? WHERE ordinal = ?", changed, row)
            if not scene.refused(scene.runs[0]):
                accepted.append((position, bit))

    assert accepted == []


def test_a_sealed_blob_that_was_cut_or_grew_is_noticed(scene: Scene) -> None:
    row = scene.row(0, "two", 0)
    sealed = scene.cell(row, "sealed")
    assert isinstance(sealed, bytes)

    accepted = []
    for changed in [*(sealed[:size] for size in range(len(sealed))), sealed + b"\0", sealed + sealed, b"\0" + sealed]:
        scene.change("UPDATE documents SET sealed = ? WHERE ordinal = ?", changed, row)
        if not scene.refused(scene.runs[0]):
            accepted.append(len(changed))

    assert accepted == []


PAIRS: dict[str, Callable[[Scene], tuple[int, int]]] = {
    "tasks": lambda scene: (scene.row(0, "one"), scene.row(0, "two")),
    "states of one task": lambda scene: (scene.row(0, "one", 0), scene.row(0, "one", 1)),
    "runs": lambda scene: (scene.row(0, "one"), scene.row(1, "one")),
    "task and flow": lambda scene: (scene.row(0, "one"), scene.row(0, "", 2)),
}


@pytest.mark.parametrize("between", PAIRS)
@pytest.mark.parametrize("columns", [IDENTITY, ("at",), ("sealed",)], ids=["identity", "time", "sealed"])
def test_what_two_rows_swap_is_noticed(scene: Scene, columns: Sequence[str], between: str) -> None:
    one, other = PAIRS[between](scene)

    scene.swap(columns, one, other)

    assert scene.refused()
    scene.swap(columns, one, other)
    assert not scene.refused()


def test_a_document_that_was_copied_into_another_run_is_noticed(scene: Scene) -> None:
    row = scene.row(0, "two")
    columns = ", ".join(Envelope.__struct_fields__[1:])

    scene.change("UPDATE documents SET run_id = 'gone' WHERE ordinal = ?", scene.row(1, "two"))
    copy = f"INSERT INTO documents (run_id, {columns}) SELECT ?, {columns} FROM documents WHERE ordinal = ?"
    scene.change(copy, scene.runs[1], row)

    assert not scene.refused(scene.runs[0])
    assert scene.refused(scene.runs[1])


def test_a_document_that_was_never_sealed_is_not_let_through(scene: Scene) -> None:
    row = scene.row(0, "one")
    sealed = scene.cell(row, "sealed")
    assert isinstance(sealed, bytes)
    plain = msgspec.msgpack.encode((None, None, None, {}, None, "", ()))

    accepted = []
    for forged in (plain, sealed[:9] + plain, b"\0" + plain, b""):
        scene.change("UPDATE documents SET sealed = ? WHERE ordinal = ?", forged, row)
        if not scene.refused(scene.runs[0]):
            accepted.append(forged)

    assert accepted == []


def test_a_document_that_somebody_else_sealed_is_not_let_through(scene: Scene, tmp_path: Path) -> None:
    stranger = Keyring.open_or_create(tmp_path / "stranger" / "keyring.toml")
    plain = msgspec.msgpack.encode((None, None, None, {}, None, "", ()))
    sealed = bytearray(stranger.seal(plain, b"whatever"))
    # Under the name of our key, which stands in the clear in every sealed blob.
    sealed[1:9] = bytes.fromhex(scene.project.keyring.primary)

    scene.change("UPDATE documents SET sealed = ? WHERE ordinal = ?", bytes(sealed), scene.row(0, "one"))

    assert scene.refused(scene.runs[0])


def test_a_backend_that_answers_with_the_documents_of_another_run_is_not_believed(scene: Scene) -> None:
    first, second = scene.runs

    class Lies:
        def read(self, run_id: str, *, task: str | None = None) -> Iterator[Envelope]:
            return scene.backend.read(second if run_id == first else run_id, task="two" if task == "one" else task)

    lying: Backend = Lies()  # type: ignore[assignment]  # all of it that is asked

    with pytest.raises(SealError):
        list(scene.project.documents(lying, first))
    with pytest.raises(SealError):
        list(scene.project.documents(lying, second, task="one"))
    assert list(scene.project.documents(lying, second))
