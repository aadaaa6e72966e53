# SPDX-License-Identifier: Apache-2.0
"""Do encrypted results keep their secret, and is nothing else taken for one?"""

from __future__ import annotations

import base64
import io
import json
import pickle
from pathlib import Path

import blake3
import msgspec
import numpy as np
import pytest
from cryptography.cobblestone import Cobblestone256Decryptor

from strongroom import Flow, _record, task, transaction
from strongroom._plugins import installed_plugins
from strongroom.caching import INPUTS
from strongroom.errors import DamagedError, FormatNotAllowedError, NotEncryptedError, SettingsError
from strongroom.keyring import Key, Keyring
from strongroom.project import Project
from strongroom.results import ResultStore

SECRET = bytes(range(32))
CANARY = "a canary that nobody else should see"


def a_store(folder: Path, serializer: str = "encrypted/json", secret: bytes = SECRET, **options: object) -> ResultStore:
    return ResultStore(folder, serializer=serializer, keyring=Keyring([Key(secret)]), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("chain", "value"),
    [
        ("encrypted/json", {"text": CANARY}),
        ("encrypted/pickle", [CANARY] * 3),
        ("encrypted/compressed/arrow", np.arange(300_000.0)),
        ("compressed/encrypted/json", CANARY),
        ("encrypted/auto", CANARY * 10_000),
    ],
)
def test_a_value_comes_back_and_does_not_show(tmp_path: Path, chain: str, value: object) -> None:
    store = a_store(tmp_path, chain)

    store.write(value, "key")

    with store.read("key") as record:
        assert np.array_equal(record.result, value)  # type: ignore[arg-type]
    stored = (tmp_path / "key").read_bytes()
    assert CANARY.encode() not in stored
    assert SECRET not in stored
    assert base64.b64encode(SECRET) not in stored


def test_each_record_has_a_key_of_its_own(tmp_path: Path) -> None:
    store = a_store(tmp_path)

    for key in ("one", "two"):
        store.write(CANARY, key)

    headers = [json.loads((tmp_path / key).read_bytes().split(b"\n")[0][13:]) for key in ("one", "two")]
    assert headers[0]["wrapped"] != headers[1]["wrapped"]


@pytest.mark.parametrize("allow", [(), ("json", "pickle")])
def test_a_plain_record_is_refused_where_an_encrypted_one_is_expected(tmp_path: Path, allow: tuple[str, ...]) -> None:
    a_store(tmp_path, "json").write("planted", "key")

    with pytest.raises(NotEncryptedError, match="not encrypted"):
        a_store(tmp_path, allow=("json",)).read("key", allow=allow)


def test_no_decoder_sees_a_plain_record_that_claims_to_be_encrypted(tmp_path: Path) -> None:
    a_store(tmp_path, "json").write("planted", "key")
    path = tmp_path / "key"
    line, rest = path.read_bytes().split(b"\n", 1)
    header = json.loads(line[13:]) | {"chain": "encrypted/json", "wrapped": "AAAA"}
    forged = b"strongroom/1 " + json.dumps(header, separators=(",", ":")).encode()
    path.write_bytes(forged + b" " * (-(len(forged) + 1) % 64) + b"\n" + rest)

    with pytest.raises(DamagedError):
        a_store(tmp_path).read("key")


def test_a_plain_record_that_has_a_key_in_its_first_line_is_not_decoded(tmp_path: Path) -> None:
    keyring, sink = Keyring([Key(SECRET)]), io.BytesIO()
    header = _record.Header(chain="json", object="0" * 32, key=keyring.primary, created=0)
    with_key = _record.with_data_key(header, bytes(32), "key", keyring)
    writer = _record.RecordWriter(sink, with_key, _record.bound_to("key"), keyring)
    writer.payload.write(installed_plugins(None).serializer("json").dumps("planted"))
    writer.finish()
    (tmp_path / "key").write_bytes(sink.getvalue())

    for reader in (a_store(tmp_path, allow=("json",)), a_store(tmp_path, "json")):
        record = reader.read("key")
        with pytest.raises(DamagedError):
            _ = record.result


def test_a_project_that_requires_encryption_neither_writes_nor_reads_plain_results(tmp_path: Path) -> None:
    env = {"STRONGROOM_HOME": str(tmp_path), "STRONGROOM_RESULTS_REQUIRE_ENCRYPTION": "true"}
    plain = Project.open(env, tmp_path)
    encrypted = Project.open(env | {"STRONGROOM_RESULTS_SERIALIZER": "encrypted/auto"}, tmp_path)

    with pytest.raises(SettingsError, match="use the chain 'encrypted/auto'"):
        plain.store()
    with pytest.raises(SettingsError, match="use the chain 'encrypted/json'"):
        encrypted.store(serializer="json")
    encrypted.store().write(CANARY, "key")
    assert encrypted.store().read("key").result == CANARY


def test_who_does_not_allow_encryption_decodes_nothing(tmp_path: Path) -> None:
    a_store(tmp_path).write(CANARY, "key")

    record = a_store(tmp_path, "json", allow=()).read("key")

    assert record.metadata.chain == "encrypted/json"
    with pytest.raises(FormatNotAllowedError, match=r"results\.allow"):
        _ = record.result


def test_records_that_changed_places_and_other_keys_are_refused(tmp_path: Path) -> None:
    store = a_store(tmp_path)
    for key in ("one", "two"):
        store.write(key, key)
    one = (tmp_path / "one").read_bytes()
    (tmp_path / "one").write_bytes((tmp_path / "two").read_bytes())

    with pytest.raises(DamagedError):
        store.read("one")
    (tmp_path / "one").write_bytes(one)
    with pytest.raises(DamagedError):
        a_store(tmp_path, secret=bytes(32)).read("one")
    assert store.read("one").result == "one"


def test_every_changed_byte_of_a_record_is_refused_before_any_decoder(tmp_path: Path) -> None:
    a_store(tmp_path).write(CANARY, "key")
    path = tmp_path / "key"
    whole = path.read_bytes()
    reader = a_store(tmp_path, allow=("json",))

    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises((DamagedError, NotEncryptedError)):
            reader.read("key")


def test_a_key_that_was_wrapped_for_another_record_does_not_open_this_one(tmp_path: Path) -> None:
    """Whoever holds the tag key alone cannot have a payload opened in another place."""
    keyring = Keyring([Key(SECRET)])
    wrapped = keyring.wrap(bytes(32), b"one")

    with pytest.raises(Exception, match="do not open"):
        keyring.unwrap(wrapped, b"two")
    with pytest.raises(Exception, match="do not open"):
        keyring.open(wrapped, b"one")


def test_a_store_that_encrypts_travels_and_still_refuses_plain_records(tmp_path: Path) -> None:
    keyring = Keyring.open_or_create(tmp_path / "keyring.toml")
    ResultStore(tmp_path / "r", serializer="json", keyring=keyring).write("planted", "key")
    store = ResultStore(tmp_path / "r", serializer="encrypted/json", keyring=keyring)

    with pytest.raises(NotEncryptedError):
        pickle.loads(pickle.dumps(store)).read("key")


def test_a_flow_keeps_its_results_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_HOME", str(tmp_path))

    @task(result_serializer="encrypted/auto")
    def secret() -> str:
        return CANARY

    with Flow("keeps secrets") as flow:
        kept = secret()
    state = flow.run()

    assert state.result[kept].result == CANARY
    stored = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    assert len(stored) == 1
    assert b'"chain":"encrypted/' in stored[0].read_bytes()
    assert not any(CANARY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_transactions_work_where_encryption_is_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_HOME", str(tmp_path))
    monkeypatch.setenv("STRONGROOM_RESULTS_REQUIRE_ENCRYPTION", "true")
    monkeypatch.setenv("STRONGROOM_RESULTS_SERIALIZER", "encrypted/auto")
    calls: list[int] = []

    @task(cache_policy=INPUTS)
    def secret(x: int) -> str:
        calls.append(x)
        return CANARY

    with Flow("commits") as flow, transaction(key="all"):
        secret(1)

    assert flow.run().is_successful()
    assert flow.run().is_successful()
    assert calls == [1]
    assert not any(CANARY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_an_encrypted_record_opens_with_cryptography_alone(tmp_path: Path) -> None:
    """What docs/formats.md says, step by step."""
    a_store(tmp_path).write(CANARY, "folder/key")
    record = (tmp_path / "folder" / "key").read_bytes()

    end = record.index(b"\n") + 1
    header = json.loads(record[13:end])
    payload = record[end:-48]
    wrap_key = blake3.blake3(SECRET, derive_key_context="strongroom 1 wrap the key of a record").digest()
    wrapped = base64.b64decode(header["wrapped"])
    assert wrapped[:9] == b"\x01" + bytes.fromhex(header["key"])
    unwrap = Cobblestone256Decryptor(wrap_key, msgspec.msgpack.encode(("wrap", "folder/key", header["object"])))
    data_key = unwrap.update(wrapped[9:]) + unwrap.finalize()
    decrypt = Cobblestone256Decryptor(data_key, msgspec.msgpack.encode(("codec", "folder/key", header["object"])))
    assert json.loads(decrypt.update(payload) + decrypt.finalize()) == CANARY
