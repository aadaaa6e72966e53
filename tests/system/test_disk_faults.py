# SPDX-License-Identifier: Apache-2.0
"""Is the old value intact when a disk takes only a part, is full or fails, at whichever call of a commit?"""

from __future__ import annotations

import errno
import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom import ResultStore, _local_storage
from strongroom.errors import PermanentStorageError, TransientStorageError

from . import mortal
from .mortal import KEY, a_store, value

needs_strace = pytest.mark.skipif(
    not shutil.which("strace") and os.environ.get("CI") != "true", reason="strace stops a process at a system call"
)
# Memory is no disk, and a process that cannot get any can promise nothing.
NO_DISK = {"mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "futex", "getrandom", "exit_group", "gettid"}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "results")


@pytest.fixture
def store(folder: str) -> ResultStore:
    store = a_store(folder)
    store.write(value(0), KEY)
    return store


class Forks:
    """A process that has imported everything, and forks one for each replacement: a fork takes no time to start."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def replace(self, number: int, *injected: str) -> tuple[str, list[str]]:
        """What a process says that writes version *number* while system calls go wrong as *injected* says.

        And the names of the calls that it made, from the first of the commit on.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        pid = int(process.stdout.readline().removeprefix("pid "))
        injections = [part for each in injected for part in ("-e", f"inject={each}")]
        strace = ["strace", "-p", str(pid), "-o", str(self._log), "-e", "trace=all", *injections]
        with subprocess.Popen(strace, stderr=subprocess.PIPE, text=True) as tracing:
            assert tracing.stderr is not None
            # It has stopped itself, and goes on when it is watched.
            assert "attached" in tracing.stderr.readline()
            os.kill(pid, signal.SIGCONT)
            said = list(iter(process.stdout.readline, "dead\n"))
        return "".join(said), re.findall(r"^(\w+)\(", self._log.read_text(), flags=re.MULTILINE)


@pytest.fixture
def forks(folder: str, tmp_path: Path) -> Iterator[Forks]:
    command = [sys.executable, "-B", mortal.__file__, "replace_in_forks", folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Forks(process, tmp_path / "calls")
        process.communicate(timeout=30)
    assert process.returncode == 0


def version(store: ResultStore) -> int:
    """The number of what lies under the key, which is whole."""
    found = store.read(KEY).result
    assert isinstance(found, list)
    assert found == value(found[0])
    return int(found[0])


def swept(store: ResultStore, folder: str) -> None:
    """Nothing lies there but whole records, once the rest is swept."""
    names = {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}
    assert {name for name in names if not name.rpartition("/")[2].startswith(".")} <= {KEY, "warm/up", "garbage/mark"}
    store.collect_garbage(grace=timedelta(0))
    assert {str(path.relative_to(folder)) for path in Path(folder).rglob(".*") if path.is_file()} == set()
    assert all(each.problem is None for each in store.verify())


def commit(forks: Forks) -> list[str]:
    """The calls of a commit that nobody disturbs."""
    said, calls = forks.replace(1)
    assert said == "acknowledged\n"
    assert {"openat", "write", "fsync", "rename"} <= set(calls)
    return calls


def places(calls: list[str]) -> list[tuple[str, int]]:
    """Each call: its name, and how many of that name there have been."""
    return [(name, calls[: number + 1].count(name)) for number, name in enumerate(calls)]


@needs_strace
def test_whichever_call_a_writer_dies_at_the_key_has_one_whole_version(
    store: ResultStore, folder: str, forks: Forks
) -> None:
    calls = commit(forks)
    versions = []

    for name, when in places(calls):
        store.write(value(0), KEY)
        said, _ = forks.replace(1, f"{name}:signal=SIGKILL:when={when}")
        versions.append(version(store))
        # What was acknowledged is there. What was not may be there too, if the process died before it could say so.
        assert versions[-1] == 1 or said == ""
        swept(store, folder)

    # All of one and then all of the other: the commit is one call.
    assert versions == sorted(versions)
    assert set(versions) == {0, 1}


@needs_strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT"])
def test_whichever_call_fails_it_is_an_error_or_all_is_there(
    store: ResultStore, folder: str, forks: Forks, error: str
) -> None:
    calls = commit(forks)
    renamed = calls.index("rename")
    # The last writes are those of the process that says how it went.
    last = max(number for number, name in enumerate(calls) if name == "write")
    refused = 0

    for number, (name, when) in enumerate(places(calls)):
        if name in NO_DISK or number >= last:
            continue
        store.write(value(0), KEY)
        said, _ = forks.replace(1, f"{name}:error={error}:when={when}")
        found = version(store)
        refused += said.startswith("storage ")
        assert "ESCAPED" not in said
        assert said.startswith("storage ") or (said == "acknowledged\n" and found == 1), (name, when, said)
        assert found == 0 or number > renamed or said == "acknowledged\n"
        swept(store, folder)

    assert refused >= 6


@needs_strace
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_full_disk_on_which_nothing_can_be_deleted_either_leaves_what_is_swept_later(
    store: ResultStore, folder: str, forks: Forks, error: str
) -> None:
    said, _ = forks.replace(1, f"write:error={error}:when=2", "unlink,unlinkat:error=EIO")

    assert said.startswith("storage ")
    assert version(store) == 0
    assert len(list(Path(folder).rglob(".*.tmp"))) == 1
    swept(store, folder)


class Greedy(io.FileIO):
    """A disk that takes as many bytes of each write as it likes, as real ones may, and is full at some time."""

    chance = random.Random()
    calls = 0
    full_after: int | None = None

    def write(self, data: object, /) -> int:
        cls = type(self)
        Greedy.calls += 1
        if cls.full_after is not None and Greedy.calls > cls.full_after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        some = self.chance.choice([1, 7, 4096, len(view) - 1, self.chance.randrange(1, len(view) + 1)])
        return super().write(view[: max(1, some)])


@pytest.fixture
def greedy(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Greedy]]:
    """Every record that is written from now on is such a file."""
    monkeypatch.setattr(Greedy, "chance", random.Random(5))
    monkeypatch.setattr(Greedy, "calls", 0)
    monkeypatch.setattr(Greedy, "full_after", None)
    before = _local_storage._RecordFile.__bases__
    _local_storage._RecordFile.__bases__ = (Greedy,)
    yield Greedy
    _local_storage._RecordFile.__bases__ = before


def test_a_disk_that_takes_only_parts_gets_all_of_it_in_the_end(store: ResultStore, greedy: type[Greedy]) -> None:
    for number in range(1, 30):
        before = greedy.calls
        store.write(value(number), KEY)

        assert version(store) == number
        assert greedy.calls > before + 3, "no write was a short one"


def test_a_disk_that_takes_a_part_and_then_no_more_leaves_what_was_there(
    store: ResultStore, folder: str, greedy: type[Greedy], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A record has three writes, if each is taken whole: it is full before, at and after the first bytes.
    for full_after in range(3):
        monkeypatch.setattr(greedy, "calls", 0)
        monkeypatch.setattr(greedy, "full_after", full_after)

        with pytest.raises(PermanentStorageError, match="no space is left on the device"):
            store.write(value(1), KEY)

        assert version(store) == 0
        assert list(Path(folder).rglob(".*")) == []


def test_a_limit_of_the_system_cuts_a_write_short_and_leaves_what_was_there(store: ResultStore, folder: str) -> None:
    size = Path(store.locate(KEY)).stat().st_size
    limits = sorted({1, 63, 64, 127, 128, 129, 4096, size // 2, size - 65, size - 1, size, size + 1})
    command = [sys.executable, "-B", mortal.__file__, "replace_within_limits", folder, *map(str, limits)]

    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

    said = dict(zip(limits, done.stdout.splitlines(), strict=True))
    assert [limit for limit, line in said.items() if line == "1 acknowledged"] == [size, size + 1]
    assert all("0 " in line and "larger than files may be" in line for limit, line in said.items() if limit < size)
    assert list(Path(folder).rglob(".*")) == []


def test_a_disk_that_fails_once_says_that_it_may_help_to_try_again(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        with pytest.raises(TransientStorageError):
            store.write(value(1), KEY)

    assert version(store) == 0
