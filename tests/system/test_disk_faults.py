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
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from strongroom import ResultStore, _local_storage
from strongroom.errors import PermanentStorageError, StorageError, TransientStorageError

from . import mortal
from .mortal import KEY, LARGE, a_large_store, a_store, large, value

needs_strace = pytest.mark.skipif(
    not shutil.which("strace") and os.environ.get("CI") != "true", reason="strace stops a process at a system call"
)
LONG = bool(os.environ.get("STRONGROOM_TEST_LONG"))
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
        assert process.stdout is not None
        pid = self._begin(str(number))
        injections = [part for each in injected for part in ("-e", f"inject={each}")]
        strace = ["strace", "-p", str(pid), "-o", str(self._log), "-e", "trace=all", *injections]
        with subprocess.Popen(strace, stderr=subprocess.PIPE, text=True) as tracing:
            assert tracing.stderr is not None
            # It has stopped itself, and goes on when it is watched.
            assert "attached" in tracing.stderr.readline()
            os.kill(pid, signal.SIGCONT)
            said = list(iter(process.stdout.readline, "dead\n"))
        return "".join(said), re.findall(r"^(\w+)\(", self._log.read_text(), flags=re.MULTILINE)

    def replace_and_die(self, number: int, when: int, how: str) -> str:
        """What a process says that dies "before" or "after" it lets the disk begin for the *when*-th time."""
        assert self._process.stdout is not None
        os.kill(self._begin(f"{number} {when} {how}"), signal.SIGCONT)
        return "".join(iter(self._process.stdout.readline, "dead\n"))

    def _begin(self, line: str) -> int:
        """The process that stands still before it does what *line* says."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline().removeprefix("pid "))


@pytest.fixture
def forks(folder: str, tmp_path: Path) -> Iterator[Forks]:
    yield from forking(folder, tmp_path, "small")


@pytest.fixture
def large_store(folder: str) -> ResultStore:
    store = a_large_store(folder)
    store.write(large(0), KEY)
    return store


@pytest.fixture
def large_forks(folder: str, tmp_path: Path) -> Iterator[Forks]:
    yield from forking(folder, tmp_path, "large")


def forking(folder: str, tmp_path: Path, size: str) -> Iterator[Forks]:
    command = [sys.executable, "-B", mortal.__file__, "replace_in_forks", folder, size]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Forks(process, tmp_path / "calls")
        process.communicate(timeout=120)
    assert process.returncode == 0


def version(store: ResultStore) -> int:
    """The number of what lies under the key, which is whole."""
    with store.read(KEY) as record:
        found = record.result
    assert isinstance(found, list | bytes)
    number = int(found[0])
    assert found == (value(number) if isinstance(found, list) else large(number))
    return number


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
    command = [sys.executable, "-B", mortal.__file__, "replace_within_limits", folder, "small", *map(str, limits)]

    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)

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


def syncing() -> list[threading.Thread]:
    """The threads that help to write a record; a task of another test may still run in one of its own."""
    return [each for each in threading.enumerate() if each.name.startswith(("strongroom-sync", "strongroom-hash"))]


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT"])
@pytest.mark.parametrize("when", [1, 2, 3])
def test_a_large_record_of_which_the_disk_cannot_keep_the_beginning_leaves_what_was_there(
    large_store: ResultStore, folder: str, monkeypatch: pytest.MonkeyPatch, error: str, when: int
) -> None:
    fsync, early = os.fsync, list[int]()

    def fails(descriptor: int) -> None:
        # As the system has it, an error is told once: each later sync of the same file finds nothing wrong.
        if threading.current_thread().name == "strongroom-sync":
            early.append(descriptor)
            if len(early) == when:
                raise OSError(getattr(errno, error), "injected")
        fsync(descriptor)

    said = ""
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        try:
            large_store.write(large(1), KEY)
        except StorageError as failure:
            said = str(failure)

    # How often the disk is told to begin depends on how quick it is, but once it always is.
    assert (said != "") == (len(early) >= when)
    assert early
    reason = {"EIO": "trying again may help", "ENOSPC": "left on the device"}.get(error, "")
    assert said == "" or reason in said
    assert version(large_store) == (0 if said else 1)
    assert list(Path(folder).rglob(".*")) == []
    assert syncing() == []


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("when", [1, 2, 3])
def test_a_writer_that_dies_while_the_disk_begins_with_a_large_record_leaves_what_was_there(
    large_store: ResultStore, folder: str, large_forks: Forks, when: int, how: str
) -> None:
    said = large_forks.replace_and_die(1, when, how)

    assert said in ("", "acknowledged\n")
    assert when > 1 or said == ""
    assert version(large_store) == (1 if said else 0)
    swept(large_store, folder)


# What is left out asks for memory, or for the time.
SOME = {"openat", "write", "fsync", "close", "rename", "futex", "clone3", "clone"}
A_FEW = {("clone3", 1), ("clone", 1), ("write", 1), ("write", 4), ("rename", 1)}


@needs_strace
@pytest.mark.long
@pytest.mark.parametrize("injected", ["signal=SIGKILL", "error=ENOSPC", "error=EIO"])
def test_whichever_call_of_a_large_commit_goes_wrong_the_key_has_one_whole_version(
    large_store: ResultStore, folder: str, large_forks: Forks, injected: str
) -> None:
    said, calls = large_forks.replace(1)
    assert said == "acknowledged\n"
    some = [place for place in places(calls) if place[0] in SOME]
    # The threads take turns, so that no two commits make quite the same calls.
    chosen = some if LONG else [place for place in some if place in A_FEW]
    assert len(chosen) >= 3
    writes = calls[: calls.index("rename")].count("write")

    for name, when in chosen:
        if name in NO_DISK and "error" in injected:
            continue
        large_store.write(large(0), KEY)
        said, _ = large_forks.replace(1, f"{name}:{injected}:when={when}")
        assert "ESCAPED" not in said
        # What was acknowledged is there; what was not may be there too, if only the last step failed.
        assert version(large_store) == 1 or said != "acknowledged\n", (name, when, said)
        assert version(large_store) == 0 or name != "write" or when > writes, (name, when, said)
        swept(large_store, folder)


def test_a_disk_that_takes_only_parts_of_a_large_record_gets_all_of_it_in_the_end(
    large_store: ResultStore, greedy: type[Greedy]
) -> None:
    before = greedy.calls

    large_store.write(large(1), KEY)

    assert version(large_store) == 1
    assert greedy.calls > before + 12, "no write was a short one"


@pytest.mark.parametrize("full_after", [0, 1, 3, 4, 6, 7])
def test_a_disk_that_is_full_in_the_middle_of_a_large_record_leaves_what_was_there(
    large_store: ResultStore, folder: str, greedy: type[Greedy], monkeypatch: pytest.MonkeyPatch, full_after: int
) -> None:
    monkeypatch.setattr(greedy, "full_after", full_after)

    with pytest.raises(PermanentStorageError, match="no space is left on the device"):
        large_store.write(large(1), KEY)

    assert version(large_store) == 0
    assert list(Path(folder).rglob(".*")) == []
    assert syncing() == []


def test_a_limit_in_the_middle_of_a_large_record_leaves_what_was_there(large_store: ResultStore, folder: str) -> None:
    size = Path(large_store.locate(KEY)).stat().st_size
    limits = [4 << 20, (8 << 20) + 1, LARGE, size - 1, size]
    command = [sys.executable, "-B", mortal.__file__, "replace_within_limits", folder, "large", *map(str, limits)]

    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)

    said = done.stdout.splitlines()
    assert said[-1] == "1 acknowledged"
    assert all(line.startswith("0 ") and "larger than files may be" in line for line in said[:-1])
    assert list(Path(folder).rglob(".*")) == []
