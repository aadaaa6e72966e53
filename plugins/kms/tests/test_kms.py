# SPDX-License-Identifier: Apache-2.0
"""Are keys wrapped by KMS as safe as KMS, and is it said plainly what is wrong when they cannot be had?"""

from __future__ import annotations

import base64
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from strongroom import Flow, KeySource, ResultStore, task
from strongroom._plugins import installed_plugins
from strongroom.errors import KeyringError
from strongroom.keyring import KeyFile, Keyring
from strongroom.project import Project
from strongroom.testing import KeySourceTests
from strongroom_kms import KMSKeys

from .service import SECRET_ACCESS_KEY, Service, free_port


@pytest.fixture
def path(isolated: Path) -> Path:
    return isolated / "keyring-kms.toml"


@pytest.fixture
def in_force(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_KEYS_SOURCE", "kms")
    monkeypatch.setenv("STRONGROOM_KEYS_URL", name)


def refused(source: KMSKeys) -> str:
    """What is said of *source*, which must be one line without a secret, as must be all of its traceback."""
    with pytest.raises(KeyringError) as caught:
        Keyring.from_source(source)
    said = str(caught.value)
    assert said.isprintable()
    whole = "".join(traceback.format_exception(caught.value))
    assert SECRET_ACCESS_KEY not in whole
    assert "canary" not in whole
    return said


class TestKMS(KeySourceTests):
    @pytest.fixture
    def source(self, path: Path, name: str) -> KeySource:
        return KMSKeys(path, name)

    @pytest.fixture
    def unusable(self, service: Service, path: Path, name: str) -> list[KeySource]:
        Keyring.from_source(KMSKeys(path, name))
        damaged = path.with_name("damaged")
        damaged.write_text("version = 1")
        damaged.chmod(0o600)
        return [KMSKeys(path, "alias/nobody"), KMSKeys(path, service.make_key()), KMSKeys(damaged, name)]


def test_the_file_has_no_key_in_it_that_is_not_wrapped(path: Path, name: str) -> None:
    source = KMSKeys(path, name)
    Keyring.from_source(source)
    source.add()

    text = path.read_bytes()

    for key in source.load().keys:
        assert base64.b64encode(key.secret) not in text
        assert key.secret.hex().encode() not in text
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_project_with_its_keys_in_kms_is_one_for_every_process(in_force: None, path: Path, isolated: Path) -> None:
    @task(result_serializer="json")
    def kept() -> list[int]:
        return [1, 2]

    with Flow("a flow") as flow:
        value = kept()
    state = flow.run()
    receipt = ResultStore(isolated / "results").write([3])
    store = f"ResultStore({str(isolated / 'results')!r})"
    code = f"from strongroom import ResultStore; print({store}.read({receipt.key!r}).result)"

    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert state.result[value].result == [1, 2]
    assert there.stdout.strip() == "[3]"
    assert path.exists()
    assert not (isolated / "keyring.toml").exists()


def test_keys_that_a_project_has_already_are_taken_over(
    in_force: None, path: Path, isolated: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = KeyFile(isolated / "keyring.toml")
    before.create()
    before.promote(before.add())
    before.add()
    (isolated / "logs").mkdir()  # of a run that there was
    sealed = Keyring.from_source(before).seal(b"message", b"")

    keyring = Project.open().keyring

    assert keyring.open(sealed, b"") == b"message"
    assert keyring.ids == Keyring.from_source(before).ids
    assert keyring.created(keyring.primary) == Keyring.from_source(before).created(keyring.primary) is not None
    assert "delete the former" in caplog.text
    before.path.unlink()
    wrapped = KMSKeys(path, Project.open().settings.keys.url)
    assert wrapped.load().primary == keyring.primary
    path.unlink()
    with pytest.raises(KeyringError, match="is gone, and what lies beside it"):
        wrapped.create()


@pytest.mark.parametrize(
    "entry",
    [{}, {"secret": "AAAA"}, {"wrapped": "AAAA", "secret": "AAAA"}, {"wrapped": "AA!AA"}, {"wrapped": 5}],
    ids=str,
)
def test_an_entry_of_another_form_is_not_brought_to_kms(path: Path, entry: dict[str, object]) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # as `KeyFile.reveal` says, without any text
        KMSKeys(path, "alias/nobody").reveal("0" * 16, entry)

    assert not isinstance(caught.value, KeyringError)


def test_what_was_wrapped_for_one_key_does_not_pass_for_another(path: Path, name: str) -> None:
    source = KMSKeys(path, name)
    Keyring.from_source(source)
    source.add()
    first, second = (line for line in path.read_text().splitlines() if line.startswith("wrapped"))
    path.write_text(path.read_text().replace(first, "-").replace(second, first).replace("-\n", f"{second}\n"))

    assert "it was changed, or wrapped for another key" in refused(source)


def test_keys_that_somebody_has_wrapped_with_a_key_of_theirs_are_refused(
    service: Service, path: Path, name: str
) -> None:
    theirs = service.make_key()
    Keyring.from_source(KMSKeys(path, theirs))

    said = refused(KMSKeys(path, name))

    assert "does not unwrap a key of the project" in said


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("AccessDeniedException", "allow kms:Encrypt and kms:Decrypt"),
        ("NotFoundException", "no such key in that account and region"),
        ("DisabledException", "enable it"),
        ("KMSInvalidStateException", "about to be deleted"),
        ("IncorrectKeyException", "name that one in keys.url"),
        ("ExpiredTokenException", "log in anew"),
        ("UnrecognizedClientException", "log in anew"),
        ("ThrottlingException", "try again"),
        ("SomethingNewException", "KMS answers SomethingNewException"),
        ("canary, with spaces", "KMS answers what it should not"),
    ],
)
def test_a_refusal_is_said_in_one_line(refusing: Callable[[str], None], path: Path, code: str, says: str) -> None:
    refusing(code)

    said = refused(KMSKeys(path, "alias/some"))

    assert says in said
    assert "'alias/some'" in said
    assert not path.exists()


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no AWS credentials"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "only there in part"),
        ({"AWS_REGION": None, "AWS_DEFAULT_REGION": None}, "set AWS_REGION"),
        ({"AWS_PROFILE": "nobody"}, "no AWS profile"),
        ({"AWS_ENDPOINT_URL_KMS": "http://somebody:canary@127.0.0.1:{port}"}, "cannot be reached"),
        ({"AWS_ENDPOINT_URL_KMS": "canary"}, "the AWS settings are wrong"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_is_missing_here_is_said_in_one_line(
    aws: None, path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str | None], says: str
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for variable, value in variables.items():
        if value is None:
            monkeypatch.delenv(variable)
        else:
            monkeypatch.setenv(variable, value.format(port=free_port()))

    assert says in refused(KMSKeys(path, "alias/some"))


def test_who_may_not_use_the_key_gets_nothing(
    service: Service, path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = KMSKeys(path, name)
    Keyring.from_source(source)
    user = service.client("iam")
    user.create_user(UserName=path.parent.parent.name)
    made = user.create_access_key(UserName=path.parent.parent.name)["AccessKey"]

    with service.checking_who_asks():
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["SecretAccessKey"])
        forbidden = refuses_to_load(source)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
        stranger = refuses_to_load(source)

    assert "AWS does not allow it" in forbidden
    assert "see to the credentials" in stranger


def refuses_to_load(source: KMSKeys) -> str:
    with pytest.raises(KeyringError) as caught:
        source.load()
    return str(caught.value)


@pytest.mark.parametrize("name_", ["", "a b", "alias/ä", "x\n"])
def test_what_cannot_be_the_name_of_a_key_is_refused(path: Path, name_: str) -> None:
    with pytest.raises(KeyringError, match=r"keys\.url must be"):
        KMSKeys(path, name_)


def test_it_is_called_what_the_settings_call_it(path: Path) -> None:
    assert installed_plugins(None).key_source("kms", "alias/a", path.parent).id == KMSKeys(path, "alias/a").id == "kms"


def test_the_region_of_an_arn_is_asked(service: Service, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arn = service.make_key()
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.delenv("AWS_DEFAULT_REGION")

    assert Keyring.from_source(KMSKeys(path, arn)).primary


def test_nothing_of_aws_is_imported_before_it_is_asked() -> None:
    code = "import strongroom_kms, sys; print(sorted({'boto3', 'botocore', 'socket'} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "[]"
