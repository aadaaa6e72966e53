# SPDX-License-Identifier: Apache-2.0
"""Is what is secret in an address blotted out where it shows, and does the address still lead to the value?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from strongroom import Flow, JSONHandler, ResultHandler, Secret, Slot, task
from strongroom._memory_backend import MemoryBackend
from strongroom.abc import JSONValue
from strongroom.errors import SealError
from strongroom.project import Project
from strongroom.testing import ResultHandlerTests
from strongroom_masked import MASK, masker
from strongroom_masked.uri import MaskedURI

SLOT = Slot("0" * 32, "salaries", 2)


@pytest.fixture(autouse=True)
def settings_are_read_anew() -> Iterator[None]:
    masker.cache_clear()
    yield
    masker.cache_clear()


class Elsewhere(ResultHandler):
    """Somebody's own handler, whose addresses have a password and a number of a customer in them."""

    id = "elsewhere"

    def write(self, value: object, slot: Slot) -> JSONValue:
        Path(slot.run_id).write_text(json.dumps(value))
        address = f"sftp://me:canary@host/CUST-12345678/{slot.run_id}"
        return {
            "address": address,
            "token": "canary",
            "pwd": [{"is": "canary"}],
            "parts": [{"CUST-87654321": 1}],
            "size": 3,
            "whole": True,
        }

    def read(self, reference: JSONValue, slot: Slot) -> object:
        assert isinstance(reference, dict)
        assert "canary" in reference["address"]
        return json.loads(Path(reference["address"].rpartition("/")[2]).read_text())


class TestMaskedURI(ResultHandlerTests):
    values = (None, 1, {"a": [1, 2.5]}, "text")

    @pytest.fixture
    def handler(self) -> ResultHandler:
        return MaskedURI()


def test_an_address_shows_without_what_is_secret_and_still_leads_to_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_MASKED_PATTERNS", "CUST-[0-9]{8}")
    handler = MaskedURI(Elsewhere())

    reference = handler.write([1, 2], SLOT)

    assert isinstance(reference, dict)
    assert reference["shown"] == {
        "address": f"sftp://{MASK}@host/{MASK}/{SLOT.run_id}",
        "token": MASK,
        "pwd": [{"is": MASK}],
        "parts": [{MASK: 1}],
        "size": 3,
        "whole": True,
    }
    assert handler.read(reference, SLOT) == [1, 2]


def test_known_secrets_are_blotted_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "secret-bucket")
    Secret("BUCKET").reveal()

    reference = MaskedURI(JSONHandler()).write("s3://secret-bucket/x", SLOT)

    assert isinstance(reference, dict)
    assert reference["shown"] == f"s3://{MASK}/x"


def test_what_is_shown_is_never_read_back_and_a_moved_reference_does_not_open() -> None:
    handler = MaskedURI()
    reference = handler.write([1], SLOT)
    other = handler.write([2], replace(SLOT, map_index=3))
    assert isinstance(reference, dict)
    assert isinstance(other, dict)

    assert handler.read({**reference, "shown": other["shown"]}, SLOT) == [1]
    with pytest.raises(SealError):
        handler.read(other, SLOT)
    assert handler.exists(reference, SLOT)
    handler.delete(reference, SLOT)
    assert not handler.exists(reference, SLOT)


def test_a_flow_shows_masked_addresses_to_the_backend_where_references_leave_in_clear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STRONGROOM_EGRESS_RESULT", "clear")

    @task(result_handler=MaskedURI(Elsewhere()), persist_result=True, cache_result_in_memory=False)
    def salaries() -> list[int]:
        return [1, 2]

    with Flow("a flow") as flow:
        kept = salaries()
    backend = MemoryBackend()

    state = flow.run(backend=backend)

    assert state.result[kept].result == [1, 2]
    (run_id,) = backend.runs()
    shown = "".join(envelope.shown for envelope in backend.read(run_id))
    assert f"sftp://{MASK}@host" in shown
    assert "canary" not in shown
    assert Project.open().plugins.handler("masked-uri").id == "masked-uri"
