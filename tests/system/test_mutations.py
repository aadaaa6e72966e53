# SPDX-License-Identifier: Apache-2.0
"""Is a larger record that was changed at random refused, every time, before any decoder sees a byte of it?"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from strongroom import Keyring, ResultStore
from strongroom.errors import DamagedError
from strongroom.keyring import Key

from .watching import EVERY_CODEC, SERIALIZERS, code_that_runs, watched_plugins

ROUNDS = 200_000 if os.environ.get("STRONGROOM_TEST_LONG") else 2_000
KEY = "reports/monthly"
VALUES = {
    "json": [{"name": f"customer {number}", "price": number / 7} for number in range(400)],
    "arrow.parquet": pa.table({"a": np.random.default_rng(7).random(5000)}),
    "pickle": {number: (str(number), float(number)) for number in range(1500)},
}
ARRAY = np.random.default_rng(7).random(5000)
CHAINS = (
    *SERIALIZERS,
    *(f"compressed/{serializer}" for serializer in SERIALIZERS),
    *(f"{c}/json" for c in EVERY_CODEC[1:]),
)


def flip(good: bytes, chance: random.Random) -> bytes:
    changed = bytearray(good)
    for _ in range(chance.choice([1, 1, 2, 10])):
        changed[chance.randrange(len(good))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def overwrite(good: bytes, chance: random.Random) -> bytes:
    at, size = chance.randrange(len(good)), chance.choice([1, 4, 8, 64, 1000])
    return good[:at] + chance.randbytes(size) + good[at + size :]


def cut(good: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(good))
    return good[:at] + good[at + chance.choice([1, 8, 64, 1000, len(good)]) :]


def repeat(good: bytes, chance: random.Random) -> bytes:
    start, end = sorted(chance.sample(range(len(good) + 1), 2))
    return good[:end] + good[start:]


def exchange(good: bytes, chance: random.Random) -> bytes:
    one, two, three = sorted(chance.sample(range(len(good) + 1), 3))
    return good[:one] + good[two:three] + good[one:two] + good[three:]


def blocks(good: bytes, chance: random.Random) -> bytes:
    """As a disk or a network mixes them up."""
    parts = [good[at : at + 512] for at in range(0, len(good), 512)]
    one, two = chance.sample(range(len(parts)), 2)
    parts[one] = chance.choice([parts[two], bytes(len(parts[one]))])
    return b"".join(parts)


CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (flip, overwrite, cut, repeat, exchange, blocks)


@pytest.mark.long
@pytest.mark.parametrize("chain", CHAINS)
def test_a_record_that_was_changed_at_random_is_refused(chain: str, tmp_path: Path) -> None:
    calls: list[str] = []
    allow, plugins = {*SERIALIZERS, *EVERY_CODEC}, watched_plugins(calls)
    store = ResultStore(tmp_path, serializer=chain, keyring=Keyring([Key.generate()]), allow=allow, plugins=plugins)
    store.write(VALUES.get(chain.rpartition("/")[2], ARRAY), KEY)
    path = Path(store.locate(KEY))
    good = path.read_bytes()
    _ = store.read(KEY).result
    assert calls
    calls.clear()
    chance = random.Random(chain)
    believed = []

    with path.open("r+b", buffering=0) as file:
        for number in range(ROUNDS // len(CHAINS) + 1):
            changed = chance.choice(CHANGES)(good, chance)
            if changed == good:
                continue
            file.seek(0)
            file.write(changed)
            file.truncate()
            with code_that_runs() as events:
                refused = refuses(store)
            if not refused or calls or events:
                believed.append(number)

    assert believed == []


def refuses(store: ResultStore) -> bool:
    try:
        _ = store.read(KEY).result
    except DamagedError:
        return True
    return False
