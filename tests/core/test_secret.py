# SPDX-License-Identifier: Apache-2.0
"""Does a secret show anywhere but where it is asked for?"""

from __future__ import annotations

import ast
import copy
import dataclasses
import json
import logging
import pickle
import pprint
import subprocess
import sys
import traceback
from pathlib import Path

import msgspec
import pytest

from strongroom import Flow, Parameter, Secret, SecretHandler, Slot, signals, task
from strongroom._fingerprint import canonical
from strongroom._memory_backend import MemoryBackend
from strongroom.caching import INPUTS
from strongroom.documents import RunDocument, StateDocument
from strongroom.errors import DamagedError, SecretError, SerializationError
from strongroom.project import Project
from strongroom.secret import _know, known_secrets, lend_secrets

SLOT = Slot("1" * 32, "task")


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> Secret:
    monkeypatch.setenv("DB_PASSWORD", "hunter2-secret")
    return Secret("DB_PASSWORD")


def test_its_value_is_in_no_text_of_it_and_in_no_pickle(secret: Secret, caplog: pytest.LogCaptureFixture) -> None:
    assert secret.reveal() == "hunter2-secret"

    logging.getLogger("user").error("saw %s and %r", secret, secret)
    texts = [repr(secret), str(secret), f"{secret}", f"{secret!s:>40}", str([secret]), caplog.text]

    assert not any("hunter2" in text for text in texts)
    assert b"hunter2" not in pickle.dumps(secret)
    assert pickle.loads(pickle.dumps(secret)) == secret


@dataclasses.dataclass(frozen=True)
class Login:
    user: str
    password: Secret


def test_no_dataclass_copy_or_json_of_it_has_its_value(secret: Secret) -> None:
    secret.reveal()
    login = Login("me", secret)
    texts = [repr(login), f"{login}", str(dataclasses.asdict(login)), repr(copy.deepcopy(login)), pprint.pformat(login)]
    texts += [ascii(login), f"{login.password} {login!r:>40}"]

    for encode in (json.dumps, msgspec.json.encode, msgspec.to_builtins):
        with pytest.raises(TypeError) as caught:
            encode({"login": secret})
        texts.append(str(caught.value))
    texts.append(json.dumps(login.password, default=repr))

    assert not any("hunter2" in text for text in texts)
    assert dataclasses.asdict(login)["password"] == secret
    assert not hasattr(secret, "__dict__")
    assert b"hunter2" not in pickle.dumps(login)


def test_no_traceback_that_shows_local_values_has_it_but_where_it_was_revealed(secret: Secret) -> None:
    def fails(password: Secret) -> None:
        raise ValueError(f"{password!r} was refused")

    with pytest.raises(ValueError, match="was refused") as caught:
        fails(secret)

    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "DB_PASSWORD" in shown
    assert "hunter2" not in shown


def test_it_is_told_from_others_by_its_name_in_a_cache_key(secret: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    before = canonical([secret])
    monkeypatch.setenv("DB_PASSWORD", "another-secret")
    secret.reveal()

    assert canonical([secret]) == before
    assert canonical([Secret("API_TOKEN")]) != before
    assert canonical(["DB_PASSWORD"]) != before
    assert b"hunter2" not in before


def test_a_task_that_takes_one_is_cached_and_its_value_is_nowhere_in_storage(isolated: Path, secret: Secret) -> None:
    pytest.importorskip("strongroom_json")  # something has to write what is cached
    calls = []

    def fetches(password: Secret) -> int:
        calls.append(password.reveal())
        return 1

    with Flow("cached") as flow:
        task(name="fetches", cache_policy=INPUTS)(fetches)(secret)
    for _ in range(2):
        assert flow.run(backend=MemoryBackend()).is_successful()

    assert calls == ["hunter2-secret"]
    files = [path for path in isolated.rglob("*") if path.is_file()]
    assert files
    assert not any(b"hunter2" in path.read_bytes() for path in files)


def test_what_is_known_here_can_be_known_in_another_process_of_ones_own() -> None:
    code = (
        "import sys; from strongroom.secret import _know, known_secrets, lend_secrets, take_lent_secrets; "
        "take_lent_secrets(sys.stdin.buffer.read()); print(ascii(sorted(known_secrets())))"
    )
    odd = b"not \xff text".decode("utf-8", "surrogateescape")
    for value in ("hunter2-l\u00e4nt", odd):
        _know(value)

    done = subprocess.run([sys.executable, "-c", code], input=lend_secrets(), capture_output=True, check=True)

    assert set(ast.literal_eval(done.stdout.decode())) == known_secrets() >= {odd}


def test_it_is_read_afresh_and_known_once_it_was_revealed(secret: Secret, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "another-secret")

    assert secret.reveal() == "another-secret"
    assert "another-secret" in known_secrets()


def test_it_may_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("in a file\n")

    assert Secret(f"file:{tmp_path / 'db'}").reveal() == "in a file"


@pytest.mark.parametrize("name", ["ABSENT_SECRET", "file:/absent/secret"])
def test_one_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(SecretError, match=name):
        Secret(name).reveal()


@pytest.mark.parametrize("name", ["", "file:", "file:/hunter2\0", "hunter2!", "a value", "a=b"])
def test_what_is_no_name_may_be_a_value_and_is_not_repeated(name: str) -> None:
    with pytest.raises(SecretError) as caught:
        Secret(name)

    assert not name or name not in str(caught.value).replace("file: and", "")


def test_its_handler_keeps_the_name(secret: Secret) -> None:
    reference = SecretHandler().write(secret, SLOT)

    assert reference == {"secret": "DB_PASSWORD"}
    assert SecretHandler().read(reference, SLOT) == secret


def test_its_handler_keeps_nothing_else() -> None:
    with pytest.raises(SerializationError, match="not a Secret"):
        SecretHandler().write("text", SLOT)
    with pytest.raises(DamagedError):
        SecretHandler().read("text", SLOT)


def test_a_parameter_and_a_result_leave_as_names_and_come_back_when_the_run_is_resumed(
    isolated: Path, secret: Secret
) -> None:
    told: list[str] = []

    def passes(password: Secret) -> Secret:
        return password

    def pauses(password: Secret) -> None:
        if not told:
            told.append("")
            raise signals.PAUSE("wait")
        told.append(password.reveal())

    with Flow("secret", persist_result=True) as flow:
        task(name="pauses")(pauses)(task(name="passes")(passes)(Parameter("password")))
    backend = MemoryBackend()
    flow.run(password=secret, backend=backend)

    flow.resume(backend.runs()[0], backend=backend)

    documents = list(Project.open().documents(backend, backend.runs()[0]))
    assert told == ["", "hunter2-secret"]
    assert isinstance(documents[0], RunDocument)
    assert (documents[0].parameters, documents[0].secrets) == ({}, {"password": "DB_PASSWORD"})
    assert "hunter2" not in str(documents)
    kept = [each.result for each in documents if isinstance(each, StateDocument) and each.task == "passes"]
    assert {result.handler for result in kept if result} == {"secret"}


def test_a_default_may_be_a_secret(isolated: Path, secret: Secret) -> None:
    with Flow("secret") as flow:
        length = task(name="length")(lambda password: len(password.reveal()))(Parameter("password", secret))

    state = flow.run(backend=MemoryBackend())

    assert state.result[length].result == len("hunter2-secret")
