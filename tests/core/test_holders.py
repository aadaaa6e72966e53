# SPDX-License-Identifier: Apache-2.0
"""A lease is given back for its holder only if that is certainly gone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from strongroom import _boot
from strongroom._holders import holding_here, left_here
from strongroom.abc import Lease

RUN = "0123456789abcdef" * 2
LEASE = Lease("name", 0, RUN, 7)


def left_by_a_process_that_died(home: Path) -> None:
    pid = os.fork()
    if pid == 0:
        with holding_here(home, RUN, LEASE):
            os._exit(0)
    os.waitpid(pid, 0)


def test_the_lease_of_a_process_that_died_is_told(isolated: Path) -> None:
    left_by_a_process_that_died(isolated)

    assert left_here(isolated, RUN) == LEASE


def test_nothing_is_told_of_one_that_lives_or_came_to_its_end(isolated: Path) -> None:
    with holding_here(isolated, RUN, LEASE):
        assert left_here(isolated, RUN) is None
    assert left_here(isolated, RUN) is None
    assert list((isolated / "running").iterdir()) == []


def test_a_copy_of_a_home_and_another_machine_know_nothing(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with holding_here(isolated, RUN, LEASE):
        shutil.copytree(isolated, "copy")
        assert left_here(Path("copy"), RUN) is None
    left_by_a_process_that_died(isolated)

    monkeypatch.setattr(_boot, "_FILE", Path("absent"))

    assert left_here(isolated, RUN) is None


def test_whoever_takes_the_place_of_one_that_died_is_the_next_one_that_lives(isolated: Path) -> None:
    left_by_a_process_that_died(isolated)

    with holding_here(isolated, RUN, LEASE):
        assert left_here(isolated, RUN) is None


@pytest.mark.parametrize("name", ["../keyring.toml", "/etc/passwd", "", RUN.upper(), f"{RUN}/x"])
def test_no_name_leads_to_another_file(isolated: Path, name: str) -> None:
    isolated.mkdir()
    (isolated / "keyring.toml").write_text("keys")

    with holding_here(isolated, name, LEASE):
        assert left_here(isolated, name) is None

    assert (isolated / "keyring.toml").read_text() == "keys"
    assert [path.name for path in isolated.iterdir()] == ["keyring.toml"]


def test_what_is_written_there_by_others_is_nothing(isolated: Path) -> None:
    left_by_a_process_that_died(isolated)
    (isolated / "running" / RUN).write_bytes(b"\xff{")

    assert left_here(isolated, RUN) is None
