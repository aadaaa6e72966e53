# SPDX-License-Identifier: Apache-2.0
"""Are secrets blotted out, and is the rest left as it was?"""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom import Flow, Parameter, Secret, task
from strongroom._memory_backend import MemoryBackend
from strongroom.documents import RunDocument, StateDocument
from strongroom.errors import SecretError, SettingsError
from strongroom.project import Project
from strongroom_masked import MASK, strongroom_mask
from strongroom_masked._local import MaskedStream, _masking
from strongroom_masked._masker import Masker, masker
from strongroom_masked._patterns import PATTERNS

TOKENS = [
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_" + "a1B2" * 9,
    "glpat-" + "x" * 20,
    "xoxb-1234567890-abc",
    "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.c2lnbmF0dXJl",
    "sk_live_" + "4" * 24,
    "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
]


@pytest.fixture(autouse=True)
def _fresh(isolated: Path) -> Iterator[None]:
    masker.cache_clear()
    yield
    masker.cache_clear()


@pytest.fixture
def value(monkeypatch: pytest.MonkeyPatch) -> str:
    """The value of the secret DB_PASSWORD."""
    # In base64 it has what is written otherwise in URLs.
    value = f'>>>???p/w "ä{secrets.token_hex(8)}'
    monkeypatch.setenv("DB_PASSWORD", value)
    return value


@pytest.mark.parametrize("token", TOKENS)
def test_tokens_of_common_formats_are_masked(token: str) -> None:
    assert Masker()(f"before {token} after") == f"before {MASK} after"


@pytest.mark.parametrize(("has", "pattern"), PATTERNS, ids=[has for has, _ in PATTERNS])
@settings(max_examples=20)
@given(data=st.data())
def test_what_a_pattern_is_looked_for_by_is_in_all_that_it_matches(
    has: str, pattern: re.Pattern[str], data: st.DataObject
) -> None:
    assert has in data.draw(st.from_regex(pattern))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://me:pa55@host/db", f"postgresql://{MASK}@host/db"),
        ("Authorization: Bearer abcdefgh1234", f"Authorization: {MASK} {MASK}"),
        ("password=hunter2, user=me", f"password={MASK}, user=me"),
        ('{"api_key": "a b"}', f'{{"api_key": {MASK}}}'),
        ("{'private key': 'a b'}", f"{{'private key': {MASK}}}"),
        ("API-Key : abc; PASSWORD=abc", f"API-Key : {MASK}; PASSWORD={MASK}"),
        ("nothing hidden: 1 + 1 = 2", "nothing hidden: 1 + 1 = 2"),
    ],
)
def test_what_says_that_a_secret_follows_is_kept(text: str, masked: str) -> None:
    assert Masker()(text) == masked


@pytest.mark.parametrize("name", ["password", "dbPassword", "db-token", "API_KEY", "client secret"])
def test_whatever_stands_under_the_name_of_a_secret_is_masked(name: str) -> None:
    assert Masker()("1234", name) == MASK


@pytest.mark.parametrize("name", ["passwords_seen", "token_count", "notoken", "month", ""])
def test_other_names_are_left_alone(name: str) -> None:
    assert Masker()("1234", name) == "1234"


def test_patterns_and_names_of_the_settings_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_MASKED_PATTERNS", "CUST-[0-9]+")
    monkeypatch.setenv("STRONGROOM_MASKED_NAMES", "iban,taxNumber,c++")

    assert strongroom_mask("of CUST-123", "") == f"of {MASK}"
    for name in ("iban", "her_iban", "tax_number", "TAX-NUMBER", "c++"):
        assert strongroom_mask("DE00", name) == MASK
    assert strongroom_mask("tax number: 5", "") == f"tax number: {MASK}"


@pytest.mark.parametrize(("text", "masked"), [("IBAN DE89 3704", f"IBAN {MASK}"), ("DE89 3704", MASK)])
def test_a_group_that_matches_nothing_leaves_nothing(text: str, masked: str) -> None:
    assert Masker((r"(IBAN )?DE\d\d \d+",))(text) == masked


def test_a_pattern_that_is_none_is_an_error_that_does_not_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_MASKED_PATTERNS", "hunter2(")

    with pytest.raises(SettingsError, match=r"STRONGROOM_MASKED_PATTERNS: a pattern") as caught:
        strongroom_mask("text", "")

    assert "hunter2" not in str(caught.value)


def test_a_known_value_is_masked_in_every_form(value: str) -> None:
    Secret("DB_PASSWORD").reveal()
    raw = value.encode()
    forms = [
        *(value, quote(value), quote(value, safe=""), repr(value)[1:-1]),
        *(json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]),
        *(raw.hex(), base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()),
    ]

    assert len(set(forms)) == len(forms) - (repr(value)[1:-1] == value)
    assert Masker()(" | ".join(forms)) == " | ".join([MASK] * len(forms))


def test_a_value_that_is_no_text_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BYTES", os.fsdecode(b"abc\xffdef"))
    Secret("BYTES").reveal()

    assert Masker()(f"{b'abc' + bytes([255]) + b'def'!r} {b'abc'.hex()}ff{b'def'.hex()}").endswith(f" {MASK}")


def test_of_two_values_nothing_is_left_where_one_begins_like_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ONE", "hunter"), ("OTHER", "hunter-2000")):
        monkeypatch.setenv(name, value)
        Secret(name).reveal()

    assert Masker()("hunter, hunter-2000") == f"{MASK}, {MASK}"


@pytest.mark.parametrize(("value", "masked"), [("q7z", "of q7z"), ("q7zx", f"of {MASK}")])
def test_a_value_that_is_as_short_as_a_part_of_a_word_is_left_alone(
    value: str, masked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORT", value)
    Secret("SHORT").reveal()

    assert Masker()(f"of {value}") == masked


def test_secrets_that_the_settings_name_are_known_from_the_beginning(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRONGROOM_MASKED_SECRETS", "DB_PASSWORD")

    assert strongroom_mask(f"connect with {value}", "") == f"connect with {MASK}"


def test_a_secret_that_is_not_there_lets_nothing_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_MASKED_SECRETS", "ABSENT")

    with pytest.raises(SecretError):
        strongroom_mask("text", "")


def test_a_run_is_recorded_without_secrets(value: str) -> None:
    def fails(password: Secret, note: str) -> None:
        raise ValueError(f"cannot log in with {password.reveal()}")

    with Flow("fails") as flow:
        task(name="fails")(fails)(Parameter("password"), Parameter("note"))
    backend = MemoryBackend()

    note = {"text": "ghp_" + "a" * 36, "credentials": {"user": "me", "pin": [1234]}}
    flow.run(password=Secret("DB_PASSWORD"), note=note, backend=backend)

    documents = list(Project.open().documents(backend, backend.runs()[0]))
    opening = documents[0]
    assert isinstance(opening, RunDocument)
    assert opening.parameters == {"note": {"text": MASK, "credentials": {"user": MASK, "pin": [MASK]}}}
    assert opening.secrets == {"password": "DB_PASSWORD"}
    assert [each.error.message for each in documents if isinstance(each, StateDocument) and each.error] == [
        f"cannot log in with {MASK}"
    ]
    assert value not in str(documents)


def test_log_records_are_masked_with_their_exceptions(value: str) -> None:
    make = _masking(logging.LogRecord, strongroom_mask)
    Secret("DB_PASSWORD").reveal()
    try:
        raise ValueError(value)
    except ValueError as exc:
        info = (ValueError, exc, exc.__traceback__)
    record = make("user", logging.ERROR, __file__, 1, "saw %s", (value,), info)

    text = logging.Formatter("%(message)s").format(record)

    assert value not in text
    assert value not in str(vars(record))
    assert text.startswith(f"saw {MASK}")
    assert f"ValueError: {MASK}" in text


def test_a_record_without_secrets_is_as_it_was() -> None:
    info = (ValueError, ValueError("no secret"), None)

    record = _masking(logging.LogRecord, strongroom_mask)("user", logging.INFO, __file__, 1, "saw %s", ("a",), info)

    assert (record.msg, record.args) == ("saw %s", ("a",))
    assert (record.exc_info, record.exc_text) == (info, None)


def test_what_cannot_be_masked_is_not_logged() -> None:
    def raises(text: str, name: str) -> str:
        raise ZeroDivisionError

    try:
        raise ValueError("hunter2")
    except ValueError as exc:
        info = (ValueError, exc, exc.__traceback__)
    make = _masking(logging.LogRecord, raises)

    alone = make("user", logging.INFO, __file__, 1, "hunter2", (), None)
    record = make("user", logging.INFO, __file__, 1, "saw %s", ("hunter2",), info)

    assert logging.Formatter("%(message)s").format(alone) == "[could not be masked]"
    assert logging.Formatter("%(message)s").format(record) == "[could not be masked]\n[could not be masked]"
    assert "hunter2" not in str(vars(record))


@pytest.mark.parametrize("info", [(None, None, None), None])
def test_a_record_may_say_that_there_is_no_exception(info: object) -> None:
    record = _masking(logging.LogRecord, strongroom_mask)("user", logging.INFO, __file__, 1, "saw", (), info)

    assert (record.exc_info, record.exc_text) == (info, None)


def test_what_is_printed_is_masked(value: str) -> None:
    Secret("DB_PASSWORD").reveal()
    stream = io.StringIO()

    print("saw", value, file=MaskedStream(stream, strongroom_mask))  # type: ignore[arg-type]

    assert stream.getvalue() == f"saw {MASK}\n"


def test_what_is_written_is_masked_and_counts_as_written(value: str) -> None:
    Secret("DB_PASSWORD").reveal()
    stream = io.StringIO()
    masked = MaskedStream(stream, strongroom_mask)  # type: ignore[arg-type]

    masked.writelines(["saw ", value])

    assert masked.write(value) == len(value)
    assert stream.getvalue() == f"saw {MASK}{MASK}"
    assert masked.getvalue() == stream.getvalue()  # type: ignore[operator]
