# SPDX-License-Identifier: Apache-2.0
"""Do bytes come back as they are, in the memory that they take, whatever lies around them?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from strongroom import Keyring, ResultStore
from strongroom.keyring import Key
from strongroom.testing import SerializerTests, vector
from strongroom_json import Bytes, strongroom_choose_serializer

FOLDER = Path(__file__).parents[3] / "tests" / "vectors" / "json"
LARGE = bytes(range(256)) * (1 << 12)


class TestBytes(SerializerTests):
    serializer = Bytes()
    values = (b"", b"\0\xff\n", LARGE)
    refused = (None, "text that is no bytes", bytearray(b"not quite bytes"), memoryview(b"nor this"), [b"x"])
    # Any bytes are bytes.
    notices_truncation = False


def test_the_payload_is_the_bytes_themselves() -> None:
    stored = vector(FOLDER / "bytes.bin", lambda: Bytes().dumps(b"\x89PNG\r\n\0\xff"))

    assert stored == Bytes().dumps(stored) == Bytes().loads(stored) == b"\x89PNG\r\n\0\xff"


def test_a_megabyte_of_bytes_is_kept_as_it_is_and_less_as_json() -> None:
    assert strongroom_choose_serializer(LARGE[:-1]) == "json"
    assert strongroom_choose_serializer(LARGE) == "json.bytes"
    assert strongroom_choose_serializer([LARGE]) == "json"
    assert strongroom_choose_serializer(bytearray(LARGE)) is None


@pytest.mark.parametrize("chain", ["auto", "compressed/auto", "encrypted/auto"])
def test_a_reader_that_allows_no_pickle_reads_large_bytes(chain: str, tmp_path: Path) -> None:
    store = ResultStore(
        tmp_path, serializer=chain, keyring=Keyring([Key(bytes(32))]), allow=("json", "json.bytes", "compressed")
    )
    receipt = store.write(LARGE)

    assert receipt.chain == chain.replace("auto", "json.bytes")
    assert store.read(receipt.key).result == LARGE


PROGRAM = """
import os, sys
from strongroom import Keyring, ResultStore
from strongroom.keyring import Key

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))

def reset():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return peak()

store = ResultStore(sys.argv[1], serializer=sys.argv[2] + "auto", keyring=Keyring([Key(bytes(32))]))
small, value = os.urandom(2 << 20), os.urandom(100 << 20)
store.write(small, "small")
store.read("small").result
before = reset()
store.write(value, "value")
writing = peak() - before
del value
before = reset()
kept = store.read("value").result
print(writing, (peak() - before) / len(kept))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a high-water mark when asked")
@pytest.mark.parametrize("codecs", ["", "compressed/", "encrypted/"])
def test_large_bytes_are_written_and_read_in_the_memory_that_they_take(codecs: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), codecs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    writing, reading = done.stdout.split()

    assert int(writing) < 8 << 20
    assert float(reading) < 1.1
