# SPDX-License-Identifier: Apache-2.0
"""Do result handlers keep what they are given, and does the conformance kit see those that do not?"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from strongroom import Flow, task
from strongroom._handlers import ConstantHandler, JSONHandler, StoredHandler
from strongroom._memory_backend import MemoryBackend
from strongroom._plugins import Plugins
from strongroom.abc import JSONValue, ResultHandler, Slot
from strongroom.errors import DamagedError, DefinitionError, HandlerError, NotFoundError, NotSupportedError
from strongroom.keyring import Key, Keyring
from strongroom.results import NoResult, Result, ResultStore
from strongroom.testing import ResultHandlerTests
from strongroom.testing._executor_tasks import Literal

if TYPE_CHECKING:
    from collections.abc import Callable

SLOT = Slot("0" * 32, "load-1")


class Folder(ResultHandler):
    """Python literals in a folder, each in a file of its own: short, real, and right."""

    id = "folder"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, value: object, slot: Slot) -> JSONValue:
        path = self.path(value, slot)
        path.write_text(repr(value))
        return path.name

    def read(self, reference: JSONValue, slot: Slot) -> object:
        try:
            return ast.literal_eval(self.found(reference).read_text())
        except FileNotFoundError:
            raise NotFoundError("folder") from None

    def exists(self, reference: JSONValue, slot: Slot) -> bool:
        return self.found(reference).exists()

    def delete(self, reference: JSONValue, slot: Slot) -> None:
        self.found(reference).unlink(missing_ok=True)

    def path(self, value: object, slot: Slot) -> Path:
        """Where the value is put."""
        return self._folder / f"{slot.run_id}-{slot.field}-{len(list(self._folder.iterdir()))}"

    def found(self, reference: JSONValue) -> Path:
        """Where the value is."""
        if not isinstance(reference, str):
            raise DamagedError("folder")
        return self._folder / reference


class TestStored(ResultHandlerTests):
    values = (None, [1, 2], "text", {"a": (1.5, b"x")})

    @pytest.fixture
    def handler(self, tmp_path: Path) -> ResultHandler:
        keyring = Keyring.open_or_create(tmp_path / "keyring.toml")
        return StoredHandler(
            ResultStore(tmp_path / "results", serializer=Literal(), keyring=keyring, allow=(), plugins=Plugins({}))
        )


class TestJSON(ResultHandlerTests):
    values = (None, [1, 2], "text", {"a": 1.5})
    takes_any_reference = True

    @pytest.fixture
    def handler(self) -> ResultHandler:
        return JSONHandler()


class TestFolder(ResultHandlerTests):
    values = (None, [1, 2], "text", {"a": 1.5})

    @pytest.fixture
    def handler(self, tmp_path: Path) -> ResultHandler:
        return Folder(tmp_path)


class OneForAll(Folder):
    def path(self, value: object, slot: Slot) -> Path:
        return self._folder / "value"


class TheLatest(Folder):
    def path(self, value: object, slot: Slot) -> Path:
        return self._folder / f"{slot.run_id}-{slot.field}"


class GivesAPath(Folder):
    def write(self, value: object, slot: Slot) -> JSONValue:
        return self._folder / str(super().write(value, slot))  # type: ignore[return-value]  # the mistake


class TakesAnything(Folder):
    def read(self, reference: JSONValue, slot: Slot) -> object:
        return super().read(reference, slot) if isinstance(reference, str) and "-" in reference else None


class StaysHere(Folder):
    def __reduce__(self) -> str:
        raise TypeError


class SaysNo(Folder):
    def exists(self, reference: JSONValue, slot: Slot) -> bool:
        return False


class KeepsAll(Folder):
    def delete(self, reference: JSONValue, slot: Slot) -> None:
        return


class DeletesAll(Folder):
    def delete(self, reference: JSONValue, slot: Slot) -> None:
        for path in self._folder.iterdir():
            path.unlink()


class DeletesOnce(Folder):
    def delete(self, reference: JSONValue, slot: Slot) -> None:
        self.found(reference).unlink()


@pytest.mark.parametrize(
    ("handler", "name", "arguments"),
    [
        (OneForAll, "each_slot_has_its_own_value", ()),
        (TheLatest, "an_old_reference_never_leads_to_a_later_value", ()),
        (GivesAPath, "a_reference_is_plain_json_and_works_in_another_process", ([1],)),
        (StaysHere, "a_reference_is_plain_json_and_works_in_another_process", ([1],)),
        (TakesAnything, "what_is_no_reference_of_its_own_is_refused", (7,)),
        (SaysNo, "it_says_whether_a_value_is_there", ()),
        (KeepsAll, "a_value_that_was_deleted_is_gone", ()),
        (DeletesAll, "a_value_that_was_deleted_is_gone", ()),
        (DeletesOnce, "a_value_that_was_deleted_is_gone", ()),
    ],
)
def test_a_mistake_of_a_handler_is_seen(
    handler: Callable[[Path], ResultHandler], name: str, arguments: tuple[object, ...], tmp_path: Path
) -> None:
    check = getattr(TestFolder(), f"test_{name}")
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()

    check(Folder(good), *arguments)
    with pytest.raises((AssertionError, pytest.fail.Exception, TypeError, OSError)):
        check(handler(bad), *arguments)


def test_a_kept_result_can_be_looked_for_and_deleted(tmp_path: Path) -> None:
    kept = Result([1], Folder(tmp_path)).serialize(SLOT).forget_value()

    assert kept.exists()
    kept.delete()

    assert not kept.exists()
    with pytest.raises(HandlerError, match="there is no result"):
        _ = kept.value


def test_a_record_that_took_the_place_of_another_is_not_deleted_by_the_reference_to_that(tmp_path: Path) -> None:
    store = ResultStore(
        tmp_path, serializer=Literal(), keyring=Keyring([Key(bytes(32))]), allow=(), plugins=Plugins({})
    )
    first, last = (Result(value, StoredHandler(store)).serialize(SLOT).forget_value() for value in (1, 2))

    first.delete()

    assert not first.exists()
    assert last.value == 2


def test_a_handler_that_cannot_look_or_delete_says_so() -> None:
    kept = Result(1, ConstantHandler(1)).serialize(SLOT)

    assert kept.exists()
    with pytest.raises(NotSupportedError, match="'constant'"):
        kept.forget_value().exists()
    with pytest.raises(NotSupportedError, match="'constant'"):
        kept.delete()


def test_what_was_never_kept_is_not_deleted() -> None:
    with pytest.raises(HandlerError, match="could not delete"):
        Result(1).delete()
    with pytest.raises(HandlerError, match="could not delete"):
        NoResult.delete()


@pytest.mark.parametrize("asked", [{"result_serializer": "literal"}, {"result_storage": "there"}])
@pytest.mark.parametrize("handler", [ConstantHandler(1), "json"], ids=lambda handler: str(handler)[:4])
def test_what_the_handler_of_a_task_does_not_take_is_refused_before_the_run(
    asked: dict[str, str], handler: ResultHandler | str
) -> None:
    (name,) = asked
    with Flow("f") as flow:
        task(lambda: 1, name="t", result_handler=handler, **asked)()  # type: ignore[call-overload]

    with pytest.raises(DefinitionError, match=rf"'t' has a {name}, which its result handler '\w+' does not take"):
        flow.run(backend=MemoryBackend())
