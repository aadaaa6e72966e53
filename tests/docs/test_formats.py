# SPDX-License-Identifier: Apache-2.0
"""Can a result be read by a script that has never heard of strongroom, as docs/formats.md says?"""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import blake3
import numpy as np
import pytest

from strongroom import Keyring, ResultStore
from strongroom._record import Suite
from strongroom.keyring import Key
from strongroom.results import Receipt

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs/examples/read_record.py"
DECRYPT = ROOT / "docs/examples/decrypt_record.py"
PAGE = (ROOT / "docs/formats.md").read_text(encoding="utf-8")


def read(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    # Isolated: no package but the standard library is there to import.
    command = [sys.executable, "-I", "-S", str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def run(number: int) -> dict[str, Any]:
    """What the block of this number on the page defines."""
    namespace: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)[number], namespace)
    return namespace


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    keyring = Keyring.open_or_create(tmp_path / "keyring.toml")
    return ResultStore(tmp_path / "results", serializer="json", keyring=keyring, allow=())


@pytest.fixture
def receipt(store: ResultStore) -> Receipt:
    return store.write({"a": [1, 2]}, "folder/key")


def test_the_script_is_short_and_takes_the_standard_library_alone() -> None:
    assert len(SCRIPT.read_text().splitlines()) <= 40


def test_the_script_shows_the_metadata_and_takes_out_the_payload(
    store: ResultStore, receipt: Receipt, tmp_path: Path
) -> None:
    done = read(store.locate("folder/key"), tmp_path / "payload")

    shown = json.loads(done.stdout)
    assert (shown["chain"], shown["object"]) == ("json", receipt.object)
    assert shown["size"] == shown["decoded_size"] == (tmp_path / "payload").stat().st_size
    assert json.loads((tmp_path / "payload").read_text()) == {"a": [1, 2]}


def test_the_script_refuses_what_is_no_whole_record(store: ResultStore, receipt: Receipt, tmp_path: Path) -> None:
    path = Path(store.locate(receipt.key))
    path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "other").write_text("something else\n" * 10)

    assert "damaged" in read(path).stderr
    assert "no record" in read(tmp_path / "other").stderr


@pytest.mark.parametrize("suite", get_args(Suite))
def test_the_tag_is_what_the_page_says(tmp_path: Path, suite: Suite) -> None:
    keys = Keyring.open_or_create(tmp_path / "keyring.toml")
    store = ResultStore(tmp_path / "results", serializer="json", keyring=keys, allow=(), suite=suite)
    receipt = store.write({"a": [1, 2]}, "folder/key")
    pytest.importorskip("msgpack")
    namespace = run(0)
    record = Path(store.locate(receipt.key)).read_bytes()
    is_authentic, keyring = namespace["is_authentic"], str(tmp_path / "keyring.toml")

    assert is_authentic(record, receipt.key, keyring)
    assert not is_authentic(record, "folder/other", keyring)
    assert not is_authentic(record[:64] + b"x" + record[65:], receipt.key, keyring)


def test_what_a_list_holds_is_taken_out_as_the_page_says(tmp_path: Path) -> None:
    keys = Keyring.open_or_create(tmp_path / "keyring.toml")
    store = ResultStore(tmp_path / "results", serializer="arrow", keyring=keys, allow=())
    value = [np.arange(3), {"half": np.arange(4) / 2}]

    parts, tree = run(1)["parts_of"](store.read(store.write(value).key).payload().read())

    assert [np.load(io.BytesIO(part)).tolist() for part in parts] == [[0, 1, 2], [0.0, 0.5, 1.0, 1.5]]
    assert tree == {"is": "list", "items": [0, {"is": "dict", "keys": ["half"], "items": [1]}]}


def test_a_pickle_is_put_together_as_the_page_says(tmp_path: Path) -> None:
    keys = Keyring.open_or_create(tmp_path / "keyring.toml")
    store = ResultStore(tmp_path / "results", serializer="pickle", keyring=keys, allow=())
    value = {"set": {1, 2}, "arrays": [np.arange(9_999), np.arange(20_001.0)]}

    payload = store.read(store.write(value).key).payload().read()

    assert payload.count(b"B\0\0\0\0\0\0\0") >= 2
    found = run(2)["unpickled"](payload)
    assert found["set"] == {1, 2}
    assert all(map(np.array_equal, found["arrays"], value["arrays"]))


SECRET = bytes(range(32))
WRAPPING = blake3.blake3(SECRET, derive_key_context="strongroom 1 wrap the key of a record").hexdigest()


def an_encrypted_store(tmp_path: Path, chain: str) -> ResultStore:
    return ResultStore(tmp_path / "results", serializer=chain, keyring=Keyring([Key(SECRET)]), allow=())


def decrypt(*arguments: str | Path, key: str = WRAPPING) -> subprocess.CompletedProcess[str]:
    # Whatever is imported of ours fails here.
    blocked = (
        "import sys, runpy; sys.modules['strongroom'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    )
    command = [sys.executable, "-c", blocked, str(DECRYPT), *map(str, arguments)]
    return subprocess.run(command, input=key, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    "name",
    [
        f"runs/{'a' * 32}/{'b' * 32}",
        "short",
        "k" * 32,
        f"{'long' * 50}/{'long' * 20}",
        "\N{GREEK SMALL LETTER MU}" * 20,
    ],
)
def test_a_script_with_the_library_cryptography_alone_decrypts_a_result_given_its_key(
    tmp_path: Path, name: str
) -> None:
    store = an_encrypted_store(tmp_path, "encrypted/json")
    # More than one chunk, so that it matters that all of them are there.
    store.write(["x" * 50_000, 1], name)

    done = decrypt(store.locate(name), name, tmp_path / "out")

    assert (done.returncode, done.stderr) == (0, "")
    assert b"x" * 50_000 not in Path(store.locate(name)).read_bytes()
    assert json.loads((tmp_path / "out").read_text()) == ["x" * 50_000, 1]


def test_what_was_compressed_after_it_was_encrypted_is_decrypted_once_that_is_undone(tmp_path: Path) -> None:
    store = an_encrypted_store(tmp_path, "compressed.gzip/encrypted/json")
    store.write([1, 2], "name")
    place = store.locate("name")

    refused = decrypt(place, "name", tmp_path / "out")
    read(place, tmp_path / "payload.gz")
    (tmp_path / "payload").write_bytes(gzip.decompress((tmp_path / "payload.gz").read_bytes()))
    done = decrypt(place, "name", tmp_path / "out", tmp_path / "payload")

    assert refused.stderr.startswith(f"{place} is compressed.gzip/encrypted/json: give a PAYLOAD, ")
    assert refused.stderr.count("\n") == 1
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "out").read_text()) == [1, 2]


def test_the_scripts_refuse_in_one_line_what_they_cannot_do(tmp_path: Path) -> None:
    store = an_encrypted_store(tmp_path, "encrypted/json")
    an_encrypted_store(tmp_path, "json").write(1, "plain")
    store.write([1, 2], "name")
    place, out = store.locate("name"), tmp_path / "out"
    (tmp_path / "other").write_text("something else")

    refused = {
        "is not encrypted: it is json": decrypt(store.locate("plain"), "plain", out),
        "the key or its NAME is another one": decrypt(place, "other", out),
        "or it is damaged": decrypt(place, "name", out, key="00" * 32),
        "was not decrypted: non-hexadecimal": decrypt(place, "name", out, key="no key"),
        "was not decrypted: key must be 32 bytes": decrypt(place, "name", out, key="00"),
        "was not decrypted: Expecting value": decrypt(tmp_path / "other", "other", out),
        "was not decrypted: [Errno 2] No such file": decrypt(tmp_path / "none", "none", out),
        "was not read: [Errno 2] No such file": read(tmp_path / "none"),
        "was not read: [Errno 17] File exists": read(place, tmp_path / "other"),
    }

    for said, done in refused.items():
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    assert "RECORD NAME OUT" in decrypt(place).stderr
    assert "RECORD [OUT]" in read().stderr
    assert not out.exists()
