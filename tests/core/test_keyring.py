# SPDX-License-Identifier: Apache-2.0
"""Keys, sealing and opening."""

from __future__ import annotations

import os
import pickle
import stat
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import _sealing
from strongroom._key_file import _check_permissions
from strongroom._sealing import SEALING_OVERHEAD, Sealing
from strongroom.errors import KeyringError, SealError
from strongroom.keyring import SEAL_OVERHEAD, Key, KeyFile, Keyring, bind

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

SECRET = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keyring.toml"


@given(st.binary(max_size=40_000), st.binary(max_size=100))
def test_what_is_sealed_opens_with_its_context(message: bytes, context: bytes) -> None:
    keyring = Keyring([Key(SECRET)])

    assert keyring.open(keyring.seal(message, context), context) == message


def test_every_flipped_bit_is_refused() -> None:
    keyring = Keyring([Key(SECRET)])
    sealed = keyring.seal(b"message", b"context")

    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealError):
            keyring.open(bytes(changed), b"context")


def test_every_truncation_is_refused() -> None:
    keyring = Keyring([Key(SECRET)])
    sealed = keyring.seal(b"message", b"context")

    for size in range(len(sealed)):
        with pytest.raises(SealError):
            keyring.open(sealed[:size], b"context")


def test_another_context_does_not_open() -> None:
    keyring = Keyring([Key(SECRET)])

    with pytest.raises(SealError):
        keyring.open(keyring.seal(b"message", bind("a", "bc")), bind("a", "b", "c"))


def test_another_key_does_not_open() -> None:
    sealed = Keyring([Key(SECRET)]).seal(b"message", b"")

    with pytest.raises(SealError):
        Keyring([Key.generate()]).open(sealed, b"")


def test_an_old_key_still_opens_and_the_primary_seals() -> None:
    old, new = Key(SECRET), Key.generate()
    sealed = Keyring([old]).seal(b"message", b"")

    keyring = Keyring([new, old])

    assert keyring.primary == new.id
    assert keyring.open(sealed, b"") == b"message"
    assert keyring.seal(b"x", b"")[1:9].hex() == new.id


def test_sealing_twice_gives_different_bytes_of_the_stated_length() -> None:
    keyring = Keyring([Key(SECRET)])

    first, second = keyring.seal(b"message", b""), keyring.seal(b"message", b"")

    assert first != second
    assert len(first) == len(b"message") + SEAL_OVERHEAD


def test_messages_of_one_keyring_share_a_wrapped_data_key_and_never_a_nonce() -> None:
    keyring = Keyring([Key(SECRET)])
    sealed = [keyring.seal(b"message", b"context") for _ in range(1000)]

    wrapped = len(sealed[0]) - len(b"message") - SEALING_OVERHEAD
    assert len({each[:wrapped] for each in sealed}) == 1
    assert len({each[wrapped : wrapped + 12] for each in sealed}) == len(sealed)
    assert Keyring([Key(SECRET)]).seal(b"message", b"context")[:wrapped] != sealed[0][:wrapped]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
def test_a_fork_seals_with_a_data_key_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = Keyring([Key(SECRET)])
    before = keyring.seal(b"message", b"context")
    # The system gives the id of a process that has ended to another one, which may be a fork of a fork of it.
    monkeypatch.setattr(os, "getpid", lambda: 1)
    read, write = os.pipe()

    pid = os.fork()
    if pid == 0:
        if child := os.fork():
            os.waitpid(child, 0)
        os.write(write, keyring.seal(b"message", b"context"))
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        data = file.read()
    forked = [data[: len(before)], data[len(before) :]]
    after = keyring.seal(b"message", b"context")

    assert before[:113] == after[:113]
    assert len({each[:113] for each in (before, *forked)}) == 3
    assert {keyring.open(each, b"context") for each in forked} == {b"message"}


def test_threads_never_seal_with_one_nonce() -> None:
    keyring = Keyring([Key(SECRET)])
    keyring.seal(b"message", b"context")

    def trace(frame: FrameType, event: str, arg: object) -> object:
        if frame.f_code is not Sealing.seal.__code__:
            return None
        # At each line another thread has its turn.
        time.sleep(0.0005)
        return trace

    def seal(count: int) -> list[bytes]:
        sys.settrace(trace)
        return [keyring.seal(b"message", b"context") for _ in range(count)]

    with ThreadPoolExecutor(4) as pool:
        sealed = [each for found in pool.map(seal, [20] * 4) for each in found]

    assert len({each[:125] for each in sealed}) == len(sealed)


def test_a_data_key_is_renewed_after_so_many_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sealing, "_MOST_MESSAGES", 3)
    keyring = Keyring([Key(SECRET)])

    sealed = [keyring.seal(b"message", b"context") for _ in range(7)]

    assert [each[:113] for each in sealed] == [*[sealed[0][:113]] * 3, *[sealed[3][:113]] * 3, sealed[6][:113]]
    assert len({each[:113] for each in sealed}) == 3
    assert {keyring.open(each, b"context") for each in sealed} == {b"message"}


def test_a_message_does_not_open_behind_the_data_key_of_another() -> None:
    first, second = Keyring([Key(SECRET)]), Keyring([Key(SECRET)])
    one, other = first.seal(b"message", b"context"), second.seal(b"message", b"context")

    with pytest.raises(SealError):
        first.open(one[:113] + other[113:], b"context")


def test_the_wrapped_key_of_a_record_seals_no_message() -> None:
    keyring = Keyring([Key(SECRET)])
    data_key, sealed = bytes(range(32)), keyring.seal(b"message", b"context")

    for wrapped in (keyring.wrap(data_key, bind("data key")), keyring.wrap(data_key, b"")):
        assert len(wrapped) == 113
        forged = Sealing(wrapped, data_key).seal(b"message", b"context")
        with pytest.raises(SealError):
            keyring.open(forged, b"context")
        with pytest.raises(SealError):
            keyring.open(wrapped + sealed[113:], b"context")


def test_no_secret_shows() -> None:
    key = Key(SECRET)

    for text in (repr(key), repr(Keyring([key])), str(key)):
        assert SECRET.hex() not in text
        assert repr(SECRET)[2:-1] not in text


def test_keys_do_not_go_into_a_pickle(path: Path) -> None:
    for secret in (Key(SECRET), Keyring([Key(SECRET)])):
        with pytest.raises(KeyringError):
            pickle.dumps(secret)

    keyring = Keyring.open_or_create(path)
    pickled = pickle.dumps(keyring)

    assert pickle.loads(pickled).ids == keyring.ids
    assert keyring._keys[keyring.primary].secret not in pickled


def test_what_is_made_with_a_key_and_written_down_stays_what_it_is() -> None:
    keyring = Keyring([Key(SECRET)])
    sealed = b"\x01" + bytes.fromhex(keyring.primary) + b"sealed"

    assert keyring.primary == "585e4f08658c152f"
    assert keyring.token("slot", "a", 1, None, b"x") == "4a2fe8896a74085662d32604c773b41e"
    assert keyring.cache_key("a") == "b5c5534829bfa0744c50066a98d8ae55"
    assert keyring.lease("turn", "a") == "07aae072d80729d6ebeaa1744c7a995d"
    assert keyring.link(bytes(16), sealed).hex() == "72694477fb4d1abd34e2b0e5a54fd350"


def test_purposes_have_different_subkeys() -> None:
    key = Key(SECRET)
    purposes = ("id", "seal", "wrap", "tag", "tag hmac-sha256", "cache", "token", "link")

    assert len({key.subkeys[purpose] for purpose in purposes}) == len(purposes)


def test_tokens_are_equal_for_equal_parts_only() -> None:
    keyring = Keyring([Key(SECRET)])

    assert keyring.token("name", "ab", "c") == keyring.token("name", "ab", "c")
    assert keyring.token("name", "ab", "c") != keyring.token("name", "a", "bc")
    assert keyring.token("name", "ab") != Keyring([Key.generate()]).token("name", "ab")


def test_a_keyring_is_made_once_and_closed_to_others(path: Path) -> None:
    first = Keyring.open_or_create(path)

    assert Keyring.open_or_create(path).ids == first.ids
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["keyring.toml"]


def test_a_keyring_is_on_the_disk_before_it_has_its_name_and_then_the_name_is(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, synced = os.fsync, list[tuple[int, int, bool]]()

    def watched(descriptor: int) -> None:
        status = os.fstat(descriptor)
        has_its_name = path.exists() and path.stat().st_ino == status.st_ino
        synced.append((status.st_ino, status.st_size, has_its_name))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    source = KeyFile(path)
    for change in (source.create, source.add):
        synced.clear()
        change()

        file, *folders = synced
        assert file == (path.stat().st_ino, path.stat().st_size, False)
        assert [inode for inode, *_ in folders] == [path.parent.stat().st_ino, path.parent.parent.stat().st_ino]


def test_a_key_is_removed_unless_it_seals_or_is_none(path: Path) -> None:
    first = Keyring.open_or_create(path).primary
    source = KeyFile(path)
    added = source.add()

    for key_id, why in ((first, "seals"), ("f" * 16, "has no key")):
        with pytest.raises(KeyringError, match=why):
            source.remove(key_id)
    source.remove(added)

    assert Keyring.open_or_create(path).ids == (first,)


def test_a_folder_in_the_place_of_a_keyring_is_named(path: Path) -> None:
    path.mkdir(parents=True)

    with pytest.raises(KeyringError, match="cannot be read"):
        KeyFile(path).load()


@pytest.mark.parametrize("left", ["heads.d/12", "logs/1.jsonl", "outbox/box/00000000", "results/runs/1"])
def test_a_keyring_that_others_need_is_not_replaced_by_a_new_one(path: Path, left: str) -> None:
    Keyring.open_or_create(path)
    (path.parent / left).parent.mkdir(parents=True)
    (path.parent / left).touch()
    path.rename(path.with_name("aside"))

    with pytest.raises(KeyringError, match="is gone, and what lies beside it"):
        Keyring.open_or_create(path)

    assert not path.exists()
    path.with_name("aside").rename(path)
    Keyring.open_or_create(path)


def test_what_stands_in_the_way_of_a_keyring_is_named(path: Path) -> None:
    with pytest.raises(KeyringError, match="cannot be changed: No such file"):
        KeyFile(path).add()
    path.parent.mkdir()
    with pytest.raises(KeyringError, match="is gone; restore it"):
        KeyFile(path).add()
    path.touch(0o600)
    with pytest.raises(KeyringError, match="cannot be made"):
        KeyFile(path / "keyring.toml").create()


def test_many_first_users_at_once_get_one_keyring(path: Path) -> None:
    seen: list[str] = []
    barrier = threading.Barrier(8)

    def first_use() -> None:
        barrier.wait()
        seen.append(Keyring.open_or_create(path).primary)

    threads = [threading.Thread(target=first_use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == 8
    assert len(set(seen)) == 1


def test_a_keyring_that_others_may_read_is_refused(path: Path) -> None:
    Keyring.open_or_create(path)
    path.chmod(0o640)

    with pytest.raises(KeyringError, match="chmod 600"):
        Keyring.open_or_create(path)


def test_a_keyring_of_somebody_else_is_refused(path: Path) -> None:
    mode, owner = 0o100600, os.geteuid() + 1

    with pytest.raises(KeyringError, match="belongs to another user"):
        _check_permissions(path, os.stat_result((mode, 0, 0, 1, owner, 0, 0, 0, 0, 0)))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("version = 1", "version = 2"),
        lambda text: text.replace("[keys.", "[keys.0"),
        lambda text: text.replace('secret = "', 'secret = "AAAA'),
        lambda text: text[: len(text) // 2],
        lambda text: text + "other = 1\n",
        lambda text: text + "[more]\n",
        lambda text: text.partition("\n[keys.")[0] + '\nkeys = 1\n# secret = ""\n',
        lambda text: text.partition("\n[keys.")[0] + f"\n[keys]\n{text.split('primary = ')[1].split()[0]} = 1\n",
        lambda text: text.encode() + b"# \xff\n",
        lambda _: "",
    ],
)
def test_a_damaged_keyring_is_refused_and_not_replaced(path: Path, change: object) -> None:
    Keyring.open_or_create(path)
    text = path.read_text()
    secret = text.split('secret = "')[1].split('"')[0]
    changed = change(text)  # type: ignore[operator]
    path.write_bytes(changed if isinstance(changed, bytes) else changed.encode())
    damaged = path.read_bytes()

    with pytest.raises(KeyringError) as caught:
        Keyring.open_or_create(path)

    assert secret not in str(caught.value)
    assert path.read_bytes() == damaged


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(KeyringError, match="cannot be made"):
        Keyring.open_or_create(tmp_path / "keyring.toml")


def test_a_new_key_opens_before_it_seals(path: Path) -> None:
    old = Keyring.open_or_create(path)
    source = KeyFile(path)

    added = source.add()
    reader = Keyring.open_or_create(path)
    source.promote(added)
    writer = Keyring.open_or_create(path)

    assert (reader.primary, set(reader.ids)) == (old.primary, {old.primary, added})
    assert writer.ids == (added, old.primary)
    assert reader.open(writer.seal(b"message", b""), b"") == b"message"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_who_runs_for_long_opens_what_a_newer_key_sealed_and_goes_on_with_its_own(path: Path) -> None:
    running = Keyring.open_or_create(path)
    first = running.primary
    source = KeyFile(path)
    source.promote(source.add())
    sealed = Keyring.open_or_create(path).seal(b"message", b"")

    assert running.open(sealed, b"") == b"message"
    assert running.primary == first
    assert running.seal(b"x", b"")[1:9].hex() == first


def test_names_of_older_keys_can_be_made_again(path: Path) -> None:
    names = []
    source = KeyFile(path)
    for _ in range(3):
        keyring = Keyring.open_or_create(path)
        names.insert(0, keyring.cache_key("value", "x"))
        source.promote(source.add())
    newest = Keyring.open_or_create(path)

    assert [older.cache_key("value", "x") for older in newest.older()] == names
    assert len({newest.lease("run", "x"), keyring.lease("run", "x")}) == 1
    assert newest.cache_key("value", "x") not in names
    assert newest.tokens("task", "x") == tuple(each.token("task", "x") for each in (newest, *newest.older()))


def test_what_only_one_may_do_has_one_name_whichever_keys_there_are(path: Path) -> None:
    source = KeyFile(path)
    names = [Keyring.open_or_create(path).lease("run", "x")]
    for change in (source.add, source.add, lambda: source.promote(Keyring.open_or_create(path).ids[1])):
        change()
        keyring = Keyring.open_or_create(path)
        names += [keyring.lease("run", "x"), *(older.lease("run", "x") for older in keyring.older())]

    assert len(names) == 1 + 2 + 3 + 3
    assert len(set(names)) == 1


def test_many_who_add_keys_at_once_lose_none(path: Path) -> None:
    first = Keyring.open_or_create(path).primary
    added: list[str] = []
    threads = [threading.Thread(target=lambda: added.append(KeyFile(path).add())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(Keyring.open_or_create(path).ids) == {first, *added}
    assert len(added) == 8


def test_a_process_that_is_told_of_a_keyring_seals_with_the_same_key(path: Path) -> None:
    pickled = pickle.dumps(keyring := Keyring.open_or_create(path))
    source = KeyFile(path)
    source.promote(source.add())

    assert pickle.loads(pickled).primary == keyring.primary


def test_a_process_with_other_keys_is_refused(path: Path) -> None:
    pickled = pickle.dumps(Keyring.open_or_create(path))
    path.unlink()
    Keyring.open_or_create(path)

    with pytest.raises(KeyringError, match="other keys"):
        pickle.loads(pickled)


def test_when_a_key_was_made_is_kept(path: Path) -> None:
    keyring = Keyring.open_or_create(path)

    created = keyring.created(keyring.primary)

    assert created is not None
    assert abs((datetime.now(UTC) - created).total_seconds()) < 60


def test_a_keyring_without_keys_is_refused() -> None:
    with pytest.raises(KeyringError, match="at least one key"):
        Keyring([])


def test_a_key_that_is_not_there_cannot_seal(path: Path) -> None:
    Keyring.open_or_create(path)

    with pytest.raises(KeyringError, match="no key"):
        KeyFile(path).promote("0" * 16)
