# SPDX-License-Identifier: Apache-2.0
"""How much memory does it take to write and to read a big array? Measured by the system, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SIZE = 200 << 20

COMMON = """
import io, mmap, os, sys
import numpy as np
from strongroom_pickle import Pickle

class Private(io.RawIOBase):
    def __init__(self, memory):
        super().__init__()
        self.memory = memory

    def getbuffer(self):
        return memoryview(self.memory)

class Nowhere(io.RawIOBase):
    def write(self, data):
        return len(data)

def kilobytes():
    # Not getrusage: what it says of a new process may be from the one that started it.
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1])

serializer, path, size = Pickle(), sys.argv[1], int(sys.argv[2])
serializer.dump(np.ones(1 << 17), Nowhere())
serializer.load(Private(bytearray(serializer.dumps(np.ones(1 << 17)))))
"""

WRITE = """
array = np.ones(size // 8)
before = kilobytes()
with open(path, "wb", buffering=0) as sink:
    serializer.dump({"array": array}, sink)
print(kilobytes() - before)
"""

READ_PRIVATE_MEMORY = """
memory = mmap.mmap(-1, os.path.getsize(path))
with open(path, "rb", buffering=0) as source:
    source.readinto(memory)
before = kilobytes()
array = serializer.load(Private(memory))["array"]
assert array.sum() == size // 8
print(kilobytes() - before)
"""

READ_FILE = """
before = kilobytes()
with open(path, "rb") as source:
    array = serializer.load(source)["array"]
assert array.sum() == size // 8
print(kilobytes() - before)
"""


def measure(program: str, path: Path) -> int:
    """What *program* took, in bytes."""
    ran = subprocess.run(
        [sys.executable, "-c", COMMON + program, str(path), str(SIZE)], capture_output=True, check=True, text=True
    )
    return int(ran.stdout) << 10


def test_a_big_array_takes_next_to_no_memory_on_its_way(tmp_path: Path) -> None:
    path = tmp_path / "array.pickle"

    assert measure(WRITE, path) < 8 << 20
    assert SIZE < path.stat().st_size < SIZE + 4096
    assert measure(READ_PRIVATE_MEMORY, path) < 8 << 20
    assert measure(READ_FILE, path) < SIZE * 1.1
