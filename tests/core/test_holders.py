# SPDX-License-Identifier: Apache-2.0
"""A lease is given back for its holder only if that is certainly gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from strongroom import _boot
from strongroom._holders import Note, free_left
from strongroom._leases import Leases
from strongroom._memory_backend import MemoryBackend
from strongroom.abc import Lease

RUN = "0123456789abcdef" * 2
OTHER = RUN[::-1]
ONE, TWO = Lease("name", 0, RUN, 7), Lease("other", 1, RUN, 8)


def left_by_a_process_that_died(home: Path, *notes: list[Lease]) -> None:
    pid = os.fork()
    if pid == 0:
        note = Note(home, RUN)
        for leases in notes or ([ONE],):
            note.write(leases)
        os._exit(0)
    os.waitpid(pid, 0)


def freed(home: Path) -> list[Lease]:
    found: list[Lease] = []
    assert free_left(home, found.append) == bool(found)
    return found


@pytest.mark.parametrize(("notes", "last"), [([[ONE]], [ONE]), ([[ONE], [ONE, TWO], [TWO]], [TWO]), ([[ONE], []], [])])
def test_what_a_process_held_that_died_is_given_back_once(
    isolated: Path, notes: list[list[Lease]], last: list[Lease]
) -> None:
    left_by_a_process_that_died(isolated, *notes)

    assert freed(isolated) == last
    assert freed(isolated) == []


def test_nothing_is_given_back_of_one_that_lives_or_came_to_its_end(isolated: Path) -> None:
    note = Note(isolated, RUN)
    note.write([ONE])

    assert freed(isolated) == []
    note.close()
    assert freed(isolated) == []
    assert list((isolated / "running").iterdir()) == []


def test_a_copy_of_a_home_and_another_machine_know_nothing(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = Note(isolated, RUN)
    note.write([ONE])
    shutil.copytree(isolated, "copy")
    assert freed(Path("copy")) == []
    note.close()
    left_by_a_process_that_died(isolated)

    monkeypatch.setattr(_boot, "_FILE", Path("absent"))

    assert freed(isolated) == []


def test_whoever_takes_the_place_of_one_that_died_is_the_next_one_that_lives(isolated: Path) -> None:
    left_by_a_process_that_died(isolated)
    note = Note(isolated, RUN)
    note.write([TWO])

    assert freed(isolated) == []
    note.close()


@pytest.mark.parametrize("name", ["../keyring.toml", "/etc/passwd", "", RUN.upper(), f"{RUN}/x"])
def test_no_name_leads_to_another_file(isolated: Path, name: str) -> None:
    isolated.mkdir()
    (isolated / "keyring.toml").write_text("keys")

    note = Note(isolated, name)
    note.write([ONE])
    note.close()

    assert (isolated / "keyring.toml").read_text() == "keys"
    assert [path.name for path in isolated.iterdir()] == ["keyring.toml"]


@pytest.mark.parametrize("content", [b"\xff{", b"", b"\n", b"{}\n"])
def test_what_is_written_there_by_others_is_nothing(isolated: Path, content: bytes) -> None:
    left_by_a_process_that_died(isolated)
    (isolated / "running" / RUN).write_bytes(content)

    assert freed(isolated) == []


def test_a_slot_whose_holder_died_is_free_at_once(isolated: Path) -> None:
    backend = MemoryBackend()
    with Leases(backend, RUN, isolated) as leases:
        lost = backend.acquire("limit", RUN, seconds=1000)
        assert lost is not None
        assert leases.try_hold("limit") is None
        left_by_a_process_that_died(isolated, [lost])

        held = leases.try_hold("limit")

        assert held is not None
        assert held.lease.epoch > lost.epoch


def test_what_is_given_back_is_noted_no_more(isolated: Path) -> None:
    backend = MemoryBackend()
    leases, gone = Leases(backend, OTHER, isolated), list[Lease]()
    kept, back = leases.try_hold("kept"), leases.try_hold("back")
    assert kept is not None
    assert back is not None
    back.release()
    note = leases._note
    assert note is not None
    assert note._descriptor is not None
    # As the system does when the process dies.
    os.close(note._descriptor)
    note._descriptor = None

    assert free_left(isolated, gone.append)

    assert gone == [kept.lease]
    leases.close()
