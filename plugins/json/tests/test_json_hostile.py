# SPDX-License-Identifier: Apache-2.0
"""What happens to bytes that the serializer would not have written?"""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import SerializationError
from strongroom.testing import difference
from strongroom_json import JSON

TAGS = (
    *("tuple", "set", "frozenset", "dict", "int", "float", "str", "bytes", "date", "datetime", "time", "timedelta"),
    *("Decimal", "UUID", "PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
)


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        (b'{"$module":"os"}', "does not know"),
        (b'{"$":1}', "does not know"),
        (b'{"$version":2,"value":1}', "beside a tag"),
        (b'{"$tuple":[1],"$set":[1]}', "beside a tag"),
        (b'{"$tuple":[1],"a":1}', "beside a tag"),
        (b'{"$tuple":[1],"$$a":1}', "beside a tag"),
        (b'{"$tuple":[1],"$tuple":[2]}', "key twice"),
        (b'{"\\u0024module":"os"}', "does not know"),
        (b'{"$tuple":{"$tuple":[1]}}', "a tuple has a content"),
        (b'{"$tuple":"ab"}', "a tuple has a content"),
        (b'{"$set":[1,1]}', "a set has a content"),
        (b'{"$set":[[1]]}', "a set has a content"),
        (b'{"$set":[1,true]}', "a set has a content"),
        (b'{"$dict":[[1,2],[1,3]]}', "a dict has a content"),
        (b'{"$dict":[[1,2,3]]}', "a dict has a content"),
        (b'{"$dict":{"a":1}}', "a dict has a content"),
        (b'{"$dict":[[[],1]]}', "a dict has a content"),
        (b'{"$int":"7"}', "an? int has a content"),
        (b'{"$int":7}', "an? int has a content"),
        (b'{"$int":"0x_f"}', "an? int has a content"),
        (b'{"$float":"1.5"}', "a float has a content"),
        (b'{"$float":"NAN"}', "a float has a content"),
        (b'{"$bytes":"a"}', "a bytes has a content"),
        (b'{"$bytes":"YQ==YQ=="}', "a bytes has a content"),
        (b'{"$bytes":"YR=="}', "a bytes has a content"),
        (b'{"$str":"/w=="}', "a str has a content"),
        (b'{"$date":"20260131"}', "a date has a content"),
        (b'{"$date":"2026-02-30"}', "a date has a content"),
        (b'{"$datetime":"2026-01-31"}', "a datetime has a content"),
        (b'{"$datetime":["2026-01-31T00:00:00",{}]}', "a datetime has a content"),
        (b'{"$datetime":["2026-01-31T00:00:00",{"fold":2}]}', "a datetime has a content"),
        (b'{"$datetime":["2026-01-31T00:00:00",{"zone":"../../etc/passwd"}]}', "a datetime has a content"),
        (b'{"$datetime":["2026-01-31T00:00:00",{"zone":"/etc/passwd"}]}', "a datetime has a content"),
        (b'{"$datetime":["2026-01-31T00:00:00",{"zone":"some.module/name"}]}', "a datetime has a content"),
        (b'{"$datetime":["2026-01-31T00:00:00",{"zone":1}]}', "a datetime has a content"),
        (b'{"$datetime":["2026-01-31T00:00:00",{"zone":"Europe"}]}', "a datetime has a"),
        (b'{"$datetime":["2026-01-31T00:00:00",{"zone":"No/Where"}]}', "pip install tzdata"),
        (b'{"$datetime":["2026-01-31T00:00:00",{"name":"CET"}]}', "a datetime has a content"),
        (b'{"$datetime":["2026-01-31T00:00:00+01:00",{"what":1}]}', "a datetime has a content"),
        (b'{"$timedelta":[1,2]}', "a timedelta has a content"),
        (b'{"$timedelta":[1.0,2,3]}', "a timedelta has a content"),
        (b'{"$timedelta":[0,100000,0]}', "a timedelta has a content"),
        (b'{"$timedelta":[9999999999,0,0]}', "a timedelta has a content"),
        (b'{"$Decimal":" 1"}', "a Decimal has a content"),
        (b'{"$Decimal":"1_0"}', "a Decimal has a content"),
        (b'{"$Decimal":"1E+9999999999999999999999"}', "a Decimal has a content"),
        (b'{"$UUID":"{12345678123456781234567812345678}"}', "a UUID has a content"),
        (b'{"$UUID":["00000000-0000-0000-0000-000000000005","sure"]}', "a UUID has a content"),
        (b'{"$UUID":["00000000-0000-0000-0000-000000000005","unknown"]}', "a UUID has a content"),
        (b'{"$PurePosixPath":"a//b"}', "a PurePosixPath has a content"),
        (b'{"$a":NaN}', "a number that is not JSON"),
        (b"NaN", "not JSON"),
        (b"[1", "not JSON"),
        (b"", "not JSON"),
        (b"[1]\n[2]", "not JSON"),
        (b'"\xff"', "not JSON"),
        (b'"$\xff"', "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b'{"$tuple":[' * 100_000 + b"]}" * 100_000, "too deeply"),
    ],
    ids=lambda part: part[:50].decode(errors="replace") if type(part) is bytes else "",
)
def test_it_is_refused_with_the_reason(stored: bytes, why: str) -> None:
    with pytest.raises(SerializationError, match=why) as caught:
        JSON().loads(stored + b"\n")

    # The error of a decoder holds the document, so it must not hang on ours.
    assert caught.value.__suppress_context__


def test_bytes_without_their_end_are_refused() -> None:
    with pytest.raises(SerializationError, match="the end is missing"):
        JSON().loads(b"12")


def test_the_words_for_what_is_wrong_quote_nothing() -> None:
    with pytest.raises(SerializationError) as caught:
        JSON().loads(b'{"$canary":"canary"}\n')

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("tag", TAGS)
@given(
    content=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("fold zname$"), inner, max_size=3),
    )
)
def test_any_content_of_a_tag_is_read_or_refused(tag: str, content: object) -> None:
    stored = b'{"$%b":%b}\n' % (tag.encode(), JSON().dumps(content).strip())

    try:
        value = JSON().loads(stored)
    except SerializationError:
        return
    assert difference(value, JSON().loads(JSON().dumps(value))) is None


IMPORTS = """
import sys
from strongroom.errors import SerializationError
from strongroom_json import JSON

JSON().loads(JSON().dumps((1, {2: 3})))
before = set(sys.modules)
for stored in (b'{"$os.path":1}', b'{"$datetime":["2026-01-31T00:00:00",{"zone":"this/that"}]}', b'{"$this":"this"}'):
    try:
        JSON().loads(stored + b"\\n")
    except SerializationError:
        pass
print(sorted(name for name in set(sys.modules) - before if not name.startswith(("importlib", "tzdata", "zipfile"))))
"""


def test_nothing_is_imported_that_the_bytes_name() -> None:
    ran = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, check=True, text=True)

    assert "this" not in ran.stdout
    assert "os.path" not in ran.stdout
