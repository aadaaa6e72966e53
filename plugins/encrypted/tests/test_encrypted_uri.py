# SPDX-License-Identifier: Apache-2.0
"""Can only the owner follow an encrypted address, whichever handler gave it?"""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from strongroom import ConstantHandler, Flow, JSONHandler, ResultHandler, ResultStore, Slot, task
from strongroom._memory_backend import MemoryBackend
from strongroom._padding import pad
from strongroom._plugins import installed_plugins
from strongroom.abc import JSONValue
from strongroom.errors import DamagedError, NotFoundError, NotSupportedError, SealError
from strongroom.hookspecs import Register, hookimpl
from strongroom.keyring import Key, Keyring, bind
from strongroom.project import Project
from strongroom.testing import ResultHandlerTests
from strongroom_encrypted.uri import EncryptedURI

SLOT = Slot("0" * 32, "salaries", 2)


class Elsewhere(ResultHandler):
    """Somebody's own handler: values in files, addresses that tell a lot."""

    id = "elsewhere"

    def write(self, value: object, slot: Slot) -> JSONValue:
        path = Path(f"salaries-of-somebody-{slot.run_id}").absolute()
        path.write_text(json.dumps(value))
        return f"file://{path}"

    def read(self, reference: JSONValue, slot: Slot) -> object:
        return json.loads(Path(str(reference).removeprefix("file://")).read_text())


class Plugin:
    @hookimpl
    def strongroom_register(self, register: Register) -> None:
        register.handler("elsewhere", Elsewhere)


@pytest.fixture
def elsewhere_is_a_plugin() -> Iterator[None]:
    installed_plugins.cache_clear()
    installed_plugins(None).add("elsewhere", Plugin())
    yield
    installed_plugins.cache_clear()


class TestEncryptedURI(ResultHandlerTests):
    values = (None, 1, {"a": [1, 2.5]}, "text")

    @pytest.fixture
    def handler(self, tmp_path: Path) -> ResultHandler:
        return EncryptedURI()


def test_nothing_of_the_address_shows(isolated: Path) -> None:
    reference = EncryptedURI().write([1], SLOT)

    assert isinstance(reference, dict)
    assert set(reference) == {"sealed"}
    text = json.dumps(reference).encode() + base64.b64decode(reference["sealed"])
    for word in (b"stored", str(isolated).encode(), b"runs", b"salaries"):
        assert word not in text


def test_addresses_of_different_lengths_look_alike() -> None:
    short = EncryptedURI(JSONHandler()).write("x", SLOT)
    long = EncryptedURI(JSONHandler()).write("x" * 100, SLOT)

    assert len(json.dumps(short)) == len(json.dumps(long))


@pytest.mark.parametrize(
    "slot",
    [replace(SLOT, run_id="1" * 32), replace(SLOT, task="x"), replace(SLOT, map_index=3), replace(SLOT, field="x")],
    ids=["another run", "another task", "another child", "another field"],
)
def test_a_reference_that_was_moved_does_not_open(slot: Slot) -> None:
    handler = EncryptedURI()
    reference = handler.write([1], SLOT)

    for action in (handler.read, handler.exists, handler.delete):
        with pytest.raises(SealError):
            action(reference, slot)
    assert handler.read(reference, SLOT) == [1]


def test_a_reference_that_was_changed_or_is_somebody_elses_does_not_open() -> None:
    handler = EncryptedURI()
    reference = handler.write([1], SLOT)
    assert isinstance(reference, dict)
    sealed = bytearray(base64.b64decode(reference["sealed"]))

    for place in range(0, len(sealed), 7):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(SealError):
            handler.read({"sealed": base64.b64encode(changed).decode()}, SLOT)
    for other in (EncryptedURI(keyring=Keyring([Key.generate()])),):
        with pytest.raises(SealError):
            other.read(reference, SLOT)
    text = reference["sealed"]
    for damaged in ("!", "", f"{text[:8]}\n{text[8:]}", f"!{text}", f"{text}="):
        with pytest.raises(SealError):
            handler.read({"sealed": damaged}, SLOT)
    for none in ({"storage": "x"}, {"sealed": 5}, [text], text, None):
        assert not handler.can_read(none)
        with pytest.raises(DamagedError):
            handler.read(none, SLOT)


def test_a_reference_of_another_handler_that_wraps_does_not_open() -> None:
    class Other(EncryptedURI):
        id = "other"

    for one, other in ((EncryptedURI(), Other()), (Other(), EncryptedURI())):
        with pytest.raises(SealError):
            other.read(one.write([1], SLOT), SLOT)


@pytest.mark.parametrize(
    "inside",
    [
        *(b"", b"no json", b'["stored"]', b'["stored", {}, "more"]', b'{"handler": "json", "reference": 5}'),
        *(b'[5, "x"]', b'["json", "\xff"]', b'["json", ' + b"[" * 200_000 + b"]" * 200_000 + b"]"),
    ],
    ids=range(8),
)
def test_what_is_sealed_in_another_form_does_not_open(inside: bytes) -> None:
    context = bind("wrapped reference", EncryptedURI.id, SLOT.run_id, SLOT.task, SLOT.map_index, SLOT.field)
    sealed = Project.open().keyring.seal(pad(inside), context)

    with pytest.raises(SealError):
        EncryptedURI().read({"sealed": base64.b64encode(sealed).decode()}, SLOT)


def test_existence_and_deletion_are_those_of_the_wrapped_handler() -> None:
    handler = EncryptedURI()
    reference = handler.write([1], SLOT)

    assert handler.exists(reference, SLOT)
    handler.delete(reference, SLOT)
    assert not handler.exists(reference, SLOT)
    with pytest.raises(NotFoundError):
        handler.read(reference, SLOT)


def test_what_the_wrapped_handler_cannot_do_is_refused() -> None:
    handler = EncryptedURI(JSONHandler())
    reference = handler.write([1], SLOT)

    for action in (handler.exists, handler.delete):
        with pytest.raises(NotSupportedError, match="'json'"):
            action(reference, SLOT)


def test_a_constant_is_kept_as_what_it_is() -> None:
    handler = pickle.loads(pickle.dumps(EncryptedURI(ConstantHandler(7))))

    assert handler.read(handler.write("ignored", SLOT), SLOT) == 7


def test_a_result_of_a_store_of_ones_own_is_found(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "own", serializer="json")
    own = Project.open().reader("stored", {"storage": store.url})

    reference = EncryptedURI(own).write([1], SLOT)

    assert len(list(store.list())) == 1
    assert EncryptedURI().read(reference, SLOT) == [1]


def test_the_handler_that_a_reference_names_reads_it_whatever_is_wrapped_now(tmp_path: Path) -> None:
    one, other = (
        Project.open().reader("stored", {"storage": f"file://{tmp_path}/{name}"}) for name in ("one", "other")
    )
    stored, inline = EncryptedURI(one).write([1], SLOT), EncryptedURI(JSONHandler()).write([2], SLOT)

    for now in (EncryptedURI(one), EncryptedURI(other), EncryptedURI(JSONHandler()), EncryptedURI("json")):
        assert now.read(stored, SLOT) == [1]
        assert now.read(inline, SLOT) == [2]


def test_a_handler_of_a_plugin_is_wrapped_and_found_again_by_its_name(elsewhere_is_a_plugin: None) -> None:
    reference = EncryptedURI("elsewhere").write([1], SLOT)

    assert "salaries-of-somebody" not in json.dumps(reference)
    assert EncryptedURI().read(reference, SLOT) == [1]


@pytest.mark.parametrize("handler", ["encrypted-uri", EncryptedURI(Elsewhere())], ids=["by name", "an instance"])
def test_a_flow_keeps_its_results_so_and_no_address_leaves_even_in_clear(
    handler: ResultHandler | str, monkeypatch: pytest.MonkeyPatch, isolated: Path, elsewhere_is_a_plugin: None
) -> None:
    monkeypatch.setenv("STRONGROOM_EGRESS_RESULT", "clear")

    @task(result_handler=handler, persist_result=True, cache_result_in_memory=False)
    def salaries() -> list[int]:
        return [1, 2]

    @task
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    with Flow("a flow") as flow:
        last = total(salaries())
    backend = MemoryBackend()

    state = flow.run(backend=backend)

    assert state.result[last].result == 3
    (run_id,) = backend.runs()
    shown = [envelope.shown for envelope in backend.read(run_id)]
    assert any("encrypted-uri" in each for each in shown)
    for word in (str(isolated), "salaries-of-somebody", "runs/", '"storage"'):
        assert not [each for each in shown if word in each]
    project = Project.open()
    kept = [each for each in project.documents(backend, run_id) if getattr(each, "result", None)]
    assert project.result(kept[0].result, kept[0]).value == [1, 2]
