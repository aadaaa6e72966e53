# SPDX-License-Identifier: Apache-2.0
"""Is every batch that was acknowledged there, whole, after the process died or its disk failed?

Run as a script, this file is the process that dies.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom import Envelope
from strongroom.errors import BackendError
from strongroom_sql.backend import SQLBackend

# Several statements long, so that a batch could be cut in two if it were not one transaction.
BATCH = 1100
LIMIT = 2 << 20


def a_batch(run_id: str, number: int) -> list[Envelope]:
    first = number * BATCH
    return [
        Envelope(run_id, "task", -1, sequence, "state", "task", "Success", sequence, 1, b"sealed" * 10)
        for sequence in range(first, first + BATCH)
    ]


def append_for_ever(url: str, run_id: str) -> None:
    """Append batches, and say each number once it is acknowledged, until an error or the end of the process."""
    with SQLBackend(url) as backend:
        try:
            for number in range(10_000):
                backend.append(a_batch(run_id, number))
                os.write(1, b"%d\n" % number)
        except BackendError as error:
            os.write(1, f"{error}\n".encode())


def die_again_and_again(url: str) -> None:
    """For each run id that is read, fork a process that appends to it; say its pid, and when it has died."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            append_for_ever(url, line.strip())
            os._exit(0)
        os.write(1, b"pid %d\n" % pid)
        os.waitpid(pid, 0)
        os.write(1, b"dead\n")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/strongroom.db"


def this_file_as_a_script(*arguments: str) -> list[str]:
    return [sys.executable, __file__, *arguments]


@pytest.fixture
def mortals(url: str) -> Iterator[subprocess.Popen[str]]:
    command = this_file_as_a_script("die_again_and_again", url)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.communicate(timeout=120)
    assert process.returncode == 0


def acknowledged_before_a_kill(process: subprocess.Popen[str], run_id: str, *, kill_after: int, spin: float) -> int:
    """How many batches were acknowledged to a process that was killed *spin* seconds after number *kill_after*."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{run_id}\n")
    process.stdin.flush()
    pid, acknowledged = 0, 0
    for line in process.stdout:
        if line == "dead\n":
            return acknowledged
        if line.startswith("pid "):
            pid = int(line.split()[1])
        else:
            acknowledged += 1
        if pid and acknowledged >= kill_after:
            until = time.perf_counter() + spin
            while time.perf_counter() < until:
                pass  # to sleep could not end at so exact an instant
            os.kill(pid, signal.SIGKILL)
            kill_after = 1 << 30
    pytest.fail("the process that forks has ended")


def test_a_killed_process_loses_no_acknowledged_batch_and_leaves_no_part_of_one(
    url: str, mortals: subprocess.Popen[str]
) -> None:
    instants = random.Random(20)
    acknowledged = {}
    for number in range(20):
        run_id = f"{number:032x}"
        acknowledged[run_id] = acknowledged_before_a_kill(
            mortals, run_id, kill_after=instants.randrange(4), spin=instants.uniform(0, 0.02)
        )

    with SQLBackend(url) as backend:
        kept = {run_id: [document.sequence for document in backend.read(run_id)] for run_id in acknowledged}

    for run_id, batches in acknowledged.items():
        # The last batch may be there although the process died before it could say so.
        assert kept[run_id] in [list(range(BATCH * batches)), list(range(BATCH * (batches + 1)))]


def outcome(command: list[str]) -> tuple[int, str]:
    """How many batches *command* had acknowledged, and the error that stopped it."""
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    *numbers, error = ran.stdout.splitlines()
    assert numbers == [str(number) for number in range(len(numbers))]
    return len(numbers), error


def test_a_full_disk_is_an_error_and_what_was_acknowledged_stays(url: str) -> None:
    run_id = "f" * 32

    acknowledged, error = outcome(this_file_as_a_script("append_on_a_small_disk", url, run_id))

    assert acknowledged > 0
    assert "strongroom.db' could not be read or written; check its disk" in error
    with SQLBackend(url) as backend:
        assert len(list(backend.read(run_id))) == acknowledged * BATCH
        backend.append(a_batch(run_id, acknowledged))
        assert len(list(backend.read(run_id))) == (acknowledged + 1) * BATCH


@pytest.mark.skipif(not shutil.which("strace") and os.environ.get("CI") != "true", reason="strace makes fsync fail")
def test_no_batch_is_acknowledged_that_the_disk_did_not_confirm(url: str) -> None:
    SQLBackend(url).close()
    fail_from_the_fifth_on = "inject=fsync,fdatasync:error=EIO:when=5+"
    strace = ["strace", "-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", fail_from_the_fifth_on]

    acknowledged, error = outcome([*strace, *this_file_as_a_script("append_for_ever", url, "f" * 32)])

    assert acknowledged < 5
    assert "could not be read or written" in error


def append_on_a_small_disk(url: str, run_id: str) -> None:
    """`append_for_ever` where no file can grow beyond a limit."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    append_for_ever(url, run_id)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
