# SPDX-License-Identifier: Apache-2.0
"""Do keys come from a file, the environment and a descriptor, and from nowhere else?"""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING

import pytest

from strongroom import KeySource, Register, ResultStore, _held_keys, hookimpl
from strongroom._plugins import installed_plugins
from strongroom.errors import KeyringError, MissingPluginError, SettingsError
from strongroom.keyring import DescriptorKeys, EnvironmentKeys, KeyFile, Keyring, lend_keys, take_lent_keys
from strongroom.project import Project
from strongroom.testing import KeySourceTests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHOW = "from strongroom.project import Project; print(Project.open().keyring.primary)"


@pytest.fixture(autouse=True)
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_held_keys, "_held", {})


@pytest.fixture
def text(tmp_path: Path) -> str:
    """The text of a keyring with two keys."""
    path = tmp_path / "elsewhere" / "keyring.toml"
    Keyring.open_or_create(path)
    source = KeyFile(path)
    source.promote(source.add())
    return path.read_text()


@pytest.fixture
def in_environment(text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STRONGROOM_KEYS_SOURCE", "environment")
    monkeypatch.setenv("STRONGROOM_KEYRING", text)
    return text


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """Opens a text as the program would have it that is started with it; gives the number."""
    opened: list[tuple[int, os.stat_result]] = []

    def _open(text: str) -> int:
        path = tmp_path / "opened"
        path.write_text(text)
        number = os.open(path, os.O_RDONLY)
        os.set_inheritable(number, True)
        opened.append((number, os.fstat(number)))
        return number

    yield _open
    for number, status in opened:
        # What was read is closed, and its number may be that of something else by now.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(number), status):
                os.close(number)


def primary_of(text: str) -> str:
    return text.split('primary = "')[1].split('"', maxsplit=1)[0]


def secrets_of(text: str) -> list[str]:
    return [part.split('"')[0] for part in text.split('secret = "')[1:]]


class TestFile(KeySourceTests):
    @pytest.fixture
    def source(self, tmp_path: Path) -> KeySource:
        return KeyFile(tmp_path / "home" / "keyring.toml")

    @pytest.fixture
    def unusable(self, tmp_path: Path) -> list[KeySource]:
        damaged, open_to_all, folder = (tmp_path / name for name in ("damaged", "open", "folder"))
        damaged.write_text("version = 1\n")
        damaged.chmod(0o600)
        open_to_all.write_text("")
        open_to_all.chmod(0o644)
        folder.mkdir()
        return [KeyFile(damaged), KeyFile(open_to_all), KeyFile(folder)]


class TestEnvironment(KeySourceTests):
    @pytest.fixture
    def source(self, in_environment: str) -> KeySource:
        return EnvironmentKeys()

    @pytest.fixture
    def unusable(self) -> list[KeySource]:
        return [EnvironmentKeys()]


class TestDescriptor(KeySourceTests):
    @pytest.fixture
    def source(self, text: str, opened: Callable[[str], int]) -> KeySource:
        return DescriptorKeys(opened(text))

    @pytest.fixture
    def unusable(self, opened: Callable[[str], int]) -> list[KeySource]:
        return [DescriptorKeys(opened("")), DescriptorKeys(opened("x" * (2 << 20))), DescriptorKeys(987)]


def test_keys_of_the_environment_are_used_and_nothing_is_written(in_environment: str, isolated: Path) -> None:
    keyring = Project.open().keyring

    assert keyring.primary == primary_of(in_environment)
    assert len(keyring.ids) == 2
    assert not (isolated / "keyring.toml").exists()


def test_the_variable_is_gone_once_the_keys_are_taken(in_environment: str) -> None:
    assert "STRONGROOM_KEYRING" in os.environ

    first = Project.open().keyring
    there = subprocess.run(["env"], check=True, capture_output=True, text=True).stdout

    assert "STRONGROOM_KEYRING" not in os.environ
    assert not [secret for secret in secrets_of(in_environment) if secret in there]
    assert Project.open().keyring.ids == first.ids


def test_a_variable_that_takes_one_line_has_the_text_in_base64(
    text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STRONGROOM_KEYS_SOURCE", "environment")
    monkeypatch.setenv("STRONGROOM_KEYRING", base64.b64encode(text.encode()).decode())

    store = ResultStore(tmp_path / "results", allow=())

    assert store._keyring.primary == primary_of(text)


def test_a_variable_that_is_set_anew_is_taken_again(in_environment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Project.open().keyring
    source = KeyFile("elsewhere/keyring.toml")
    source.promote(source.add())
    monkeypatch.setenv("STRONGROOM_KEYRING", source.path.read_text())
    newer = Project.open().keyring

    assert newer.primary != running.primary
    assert running.open(newer.seal(b"message", b""), b"") == b"message"


def test_a_variable_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_KEYS_SOURCE", "environment")

    with pytest.raises(KeyringError, match="no keys in the variable STRONGROOM_KEYRING: set it to the text"):
        _ = Project.open().keyring


def test_keys_in_the_variable_are_not_passed_over(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("STRONGROOM_KEYRING", text)

    with pytest.raises(SettingsError, match="set STRONGROOM_KEYS_SOURCE=environment") as caught:
        Project.open()

    assert not [secret for secret in secrets_of(text) if secret in str(caught.value)]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda _: "", "damaged"),
        (lambda _: "c2VjcmV0", "damaged"),
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: text.replace('secret = "', 'secret = "!'), "damaged"),
        (lambda text: text.replace('secret = "', 'secret = "AAAA'), "has 32 bytes, this one has 35"),
        (lambda text: text.replace("[keys.", "[keys.0"), "damaged"),
        (lambda text: text.replace(secrets_of(text)[0], base64.b64encode(bytes(32)).decode()), "of that name"),
        (lambda text: text.replace("version = 1", "version = 2"), "upgrade"),
    ],
    ids=["empty", "something", "half", "no base64", "too long", "other ids", "another key", "later"],
)
def test_what_is_no_keyring_is_refused_and_no_secret_said(
    in_environment: str, monkeypatch: pytest.MonkeyPatch, change: Callable[[str], str], said: str
) -> None:
    monkeypatch.setenv("STRONGROOM_KEYRING", change(in_environment))

    with pytest.raises(KeyringError, match=said) as caught:
        _ = Project.open().keyring

    assert "STRONGROOM_KEYRING" in str(caught.value)
    assert not [secret for secret in secrets_of(in_environment) if secret in str(caught.value)]
    assert str(caught.value).isprintable()
    whole = "".join(traceback.format_exception(caught.value))
    assert not [secret for secret in secrets_of(in_environment) if secret in whole]


def test_a_descriptor_is_read_once_and_closed(text: str, opened: Callable[[str], int]) -> None:
    number = opened(text)
    source = DescriptorKeys(number)

    keyring = Keyring.from_source(source)

    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    assert Keyring.from_source(DescriptorKeys(number)).ids == keyring.ids


def test_a_file_that_the_program_opened_itself_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own"
    path.write_text(text)
    with path.open("rb") as file:
        with pytest.raises(KeyringError, match=rf"start the program with {file.fileno()}<keyring.toml"):
            Keyring.from_source(DescriptorKeys(file.fileno()))

        assert file.read().decode() == text


def test_a_descriptor_comes_from_the_shell(text: str, tmp_path: Path) -> None:
    path = tmp_path / "keyring"
    path.write_text(text)
    environment = {**os.environ, "STRONGROOM_KEYS_SOURCE": "descriptor"}
    command = ["sh", "-c", f"cat {path} | (exec {sys.executable} -c '{SHOW}' 3<&0)"]

    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)

    assert done.stdout.strip() == primary_of(text)


def test_a_number_that_is_a_standard_stream_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_KEYS_DESCRIPTOR", "0")

    with pytest.raises(SettingsError, match="a whole number from 3"):
        Project.open()


def test_keys_are_lent_to_a_process_that_cannot_get_them_itself(
    in_environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled = pickle.dumps(Project.open().keyring)
    lent = lend_keys()
    monkeypatch.setattr(_held_keys, "_held", {})
    Keyring.from_source.__globals__["_loaded"].cache_clear()
    assert lend_keys() == b""
    with pytest.raises(KeyringError):
        pickle.loads(pickled)

    take_lent_keys(lent)

    assert pickle.loads(pickled).primary == primary_of(in_environment)


def test_keys_in_a_file_are_not_lent(isolated: Path) -> None:
    assert Project.open().keyring.primary
    assert lend_keys() == b""


class Vault:
    """A plugin whose keys come from a file of the given name."""

    @hookimpl
    def strongroom_register(self, register: Register) -> None:
        register.key_source("vault", lambda url, home: KeyFile(home / url))


def test_a_plugin_brings_a_source(monkeypatch: pytest.MonkeyPatch, isolated: Path) -> None:
    monkeypatch.setenv("STRONGROOM_KEYS_SOURCE", "vault")
    monkeypatch.setenv("STRONGROOM_KEYS_URL", "a-name")
    installed_plugins.cache_clear()
    installed_plugins(None).add("vault", Vault())
    try:
        assert Project.open().keyring.source == KeyFile(isolated / "a-name")
    finally:
        installed_plugins.cache_clear()


def test_a_source_that_nobody_brings_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_KEYS_SOURCE", "nobody")

    with pytest.raises(
        MissingPluginError, match="there is no key-source 'nobody'; known here: descriptor, environment, file"
    ):
        _ = Project.open().keyring
