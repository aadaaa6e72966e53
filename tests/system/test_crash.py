# SPDX-License-Identifier: Apache-2.0
"""Is every result whole, and none that was acknowledged lost, when its writer is killed at any instant?"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom import ResultStore

from . import mortal
from .mortal import KEY, a_store, value

# 10,000 lives, a few hundred to a folder: what they leave is checked and deleted before it fills the disk.
FOLDERS, LIVES = (40, 250) if os.environ.get("STRONGROOM_TEST_LONG") else (1, 30)

needs_strace = pytest.mark.skipif(
    not shutil.which("strace") and os.environ.get("CI") != "true", reason="strace stops a process at a system call"
)


def mortal_as_a_script(*arguments: str) -> list[str]:
    return [sys.executable, "-B", mortal.__file__, *arguments]


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "results")


@pytest.fixture
def mortals(folder: str) -> Iterator[subprocess.Popen[str]]:
    command = mortal_as_a_script("die_again_and_again", folder)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.communicate(timeout=300)
    assert process.returncode == 0


def acknowledged_before_a_kill(
    process: subprocess.Popen[str], start: int, *, after: int, spin: float
) -> dict[str, int]:
    """Key -> version, as acknowledged to a process that was killed *spin* seconds after that many of them."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{start}\n")
    process.stdin.flush()
    acknowledged: dict[str, int] = {}
    pid = 0
    for count, line in enumerate(process.stdout):
        first, _, number = line.strip().partition(" ")
        if first == "dead":
            return acknowledged
        if first == "pid":
            pid = int(number)
        else:
            acknowledged[first] = int(number)
        if count == after:
            until = time.perf_counter() + spin
            while time.perf_counter() < until:
                pass  # to sleep could not end at so exact an instant
            assert pid > 0, "whom to kill was not said"  # 0 would be all of us
            os.kill(pid, signal.SIGKILL)
    pytest.fail("the process that forks has ended")


def keys_and_leftovers(folder: str) -> tuple[set[str], set[str]]:
    """What lies in storage: the keys, and the names of files that are no records."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    keys = {str(path.relative_to(folder)) for path in files if not path.name.startswith(".")}
    return keys, {path.name for path in files if path.name.startswith(".")}


def version(store: ResultStore, key: str = KEY) -> int:
    """The number of what lies under *key*, which is whole."""
    found = store.read(key).result
    assert isinstance(found, list)
    assert found == value(found[0])
    return int(found[0])


@pytest.mark.long
@pytest.mark.parametrize("seed", range(30, 30 + FOLDERS))
def test_a_killed_writer_leaves_whole_records_and_loses_none_that_was_acknowledged(
    folder: str, mortals: subprocess.Popen[str], seed: int
) -> None:
    store, instants = a_store(folder), random.Random(seed)
    last, kept = -1, dict[str, int]()
    for life in range(10 * LIVES):
        # On a quick disk it can take more lives until one ends while a record is being written.
        if life >= LIVES and keys_and_leftovers(folder)[1]:
            break
        first = 1000 * life
        acknowledged = acknowledged_before_a_kill(
            mortals, first, after=instants.randrange(3), spin=instants.uniform(0, 0.004)
        )
        confirmed = acknowledged.pop("current", None)
        kept.update(acknowledged)
        # The next version may be there although the process died before it could say so.
        possible = {last, first} if confirmed is None else {confirmed, confirmed + 1}
        last = version(store) if store.exists(KEY) else -1
        assert last in possible

    keys, leftovers = keys_and_leftovers(folder)
    assert {key: version(store, key) for key in kept} == kept
    # One that was not acknowledged may be there too, but then it is whole.
    assert all(version(store, key) >= 0 for key in keys)
    assert leftovers, "no life ended while a record was being written"
    assert all(name.endswith(".tmp") for name in leftovers)
    swept = store.collect_garbage(grace=timedelta(0))
    assert swept.deleted == len(leftovers)
    assert keys_and_leftovers(folder) == (keys | {"garbage/mark"}, set())
    shutil.rmtree(folder)


def replaced(folder: str, injected: str) -> str:
    """What a process says that replaces version 0 by version 1 while system calls go wrong as *injected* says."""
    a_store(folder).write(value(0), KEY)
    strace = ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", f"inject={injected}"]
    command = [*strace, *mortal_as_a_script("replace_once", folder, "1")]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


RENAMES = "rename,renameat,renameat2"
# The process has three writes before it says anything: header, payload and trailer. It syncs the file, then the folder.
BEFORE = ["write:WHAT:when=1", "write:WHAT:when=2", "write:WHAT:when=3", "fsync:WHAT:when=1", f"{RENAMES}:WHAT:when=1"]


@needs_strace
@pytest.mark.parametrize("call", BEFORE)
def test_a_writer_that_dies_before_the_commit_leaves_what_was_there(folder: str, call: str) -> None:
    said = replaced(folder, call.replace("WHAT", "signal=SIGKILL"))

    keys, leftovers = keys_and_leftovers(folder)
    assert said == ""
    assert keys == {KEY}
    assert version(a_store(folder)) == 0
    assert [name.startswith(".current.") and name.endswith(".tmp") for name in leftovers] == [True]


@needs_strace
@pytest.mark.parametrize("call", BEFORE)
def test_a_disk_that_fails_is_an_error_and_leaves_what_was_there(folder: str, call: str) -> None:
    error, reason = ("ENOSPC", "no space is left") if call.startswith("write") else ("EIO", "trying again may help")

    said = replaced(folder, call.replace("WHAT", f"error={error}"))

    assert reason in said
    assert keys_and_leftovers(folder) == ({KEY}, set())
    assert version(a_store(folder)) == 0


@needs_strace
@pytest.mark.parametrize("how", ["signal=SIGKILL", "error=EIO"])
def test_what_is_not_durable_is_not_acknowledged_although_it_is_whole(folder: str, how: str) -> None:
    said = replaced(folder, f"fsync:{how}:when=2")

    assert "acknowledged" not in said
    assert keys_and_leftovers(folder) == ({KEY}, set())
    assert version(a_store(folder)) == 1


@needs_strace
def test_a_writer_that_nobody_disturbs_replaces_what_was_there(folder: str) -> None:
    said = replaced(folder, "fsync:error=EIO:when=3")

    assert said == "acknowledged\n"
    assert version(a_store(folder)) == 1
