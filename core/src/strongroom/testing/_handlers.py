# SPDX-License-Identifier: Apache-2.0
"""Does a result handler keep what it is given, as `strongroom.ResultHandler` says?"""

from __future__ import annotations

import pickle
import uuid
from typing import TYPE_CHECKING, ClassVar, cast

import msgspec
import pytest

from strongroom._plain_json import not_plain_json
from strongroom.abc import Slot, SupportsDelete, SupportsExists, SupportsUnwrap
from strongroom.errors import NotFoundError, StrongroomError
from strongroom.testing._serializers import ID, ValueTests

if TYPE_CHECKING:
    from strongroom.abc import JSONValue, ResultHandler

__all__ = ["ResultHandlerTests"]

_FOREIGN: tuple[JSONValue, ...] = (None, True, -1, "nowhere", [], {}, {"key": None}, [[[]]])


def _a_slot(field: str = "result") -> Slot:
    return Slot(uuid.uuid4().hex, "load-1", map_index=3, field=field)


class ResultHandlerTests(ValueTests):
    """What every result handler does. Subclass it, give the fixture `handler` and some values, and run pytest.

    ::

        class TestMyHandler(ResultHandlerTests):
            values = (None, 1, {"a": [1, 2]})

            @pytest.fixture
            def handler(self, tmp_path):
                return MyHandler(tmp_path)

    What a handler offers beyond reading and writing, `SupportsExists`, `SupportsDelete` and `SupportsUnwrap`, is tested
    if it is there.
    """

    takes_any_reference: ClassVar[bool] = False
    """True for a handler whose reference is the value itself, so that there is none that it could refuse."""

    @pytest.fixture
    def handler(self) -> ResultHandler:
        """Override to give the handler."""
        raise NotImplementedError

    def test_there_are_two_values_to_try(self) -> None:
        assert len(self.values) > 1, "name some values that the handler keeps"

    def test_its_id_can_stand_in_a_document(self, handler: ResultHandler) -> None:
        assert ID.fullmatch(handler.id), "letters, digits, '-', '_' and single dots"

    def test_a_value_comes_back_by_its_reference(self, handler: ResultHandler, value: object) -> None:
        slot = _a_slot()

        self.check(value, handler.read(handler.write(value, slot), slot))

    def test_a_reference_is_plain_json_and_works_in_another_process(
        self, handler: ResultHandler, value: object
    ) -> None:
        slot = _a_slot()
        reference = handler.write(value, slot)

        assert not_plain_json(reference) is None
        travelled = msgspec.json.decode(msgspec.json.encode(reference))
        clone = cast("ResultHandler", pickle.loads(pickle.dumps(handler)))
        assert clone.can_read(travelled)
        self.check(value, clone.read(travelled, slot))

    def test_each_slot_has_its_own_value(self, handler: ResultHandler) -> None:
        slots = [_a_slot(), _a_slot(), _a_slot("x")]
        kept = [(value, handler.write(value, slot), slot) for value, slot in zip(self.values, slots, strict=False)]

        for value, reference, slot in kept:
            self.check(value, handler.read(reference, slot))

    def test_an_old_reference_never_leads_to_a_later_value(self, handler: ResultHandler) -> None:
        slot = _a_slot()
        first = handler.write(self.values[0], slot)
        last = handler.write(self.values[1], slot)

        self.check(self.values[1], handler.read(last, slot))
        try:
            found = handler.read(first, slot)
        except StrongroomError:
            return
        self.check(self.values[0], found)

    @pytest.mark.parametrize("reference", _FOREIGN, ids=repr)
    def test_what_is_no_reference_of_its_own_is_refused(self, handler: ResultHandler, reference: JSONValue) -> None:
        if self.takes_any_reference:
            pytest.skip("every reference of this handler is a value")

        with pytest.raises(StrongroomError):
            handler.read(reference, _a_slot())

    def test_it_says_what_the_handler_answered_that_it_wraps(self, handler: ResultHandler) -> None:
        if not isinstance(handler, SupportsUnwrap):
            pytest.skip("this handler does not wrap another one")
        slot = _a_slot()
        reference = handler.write(self.values[0], slot)

        wrapped = handler.unwrap(reference, slot)

        assert ID.fullmatch(wrapped.handler), "the id of the other handler"
        assert not_plain_json(wrapped.reference) is None
        assert wrapped.reference != reference

    def test_it_says_whether_a_value_is_there(self, handler: ResultHandler) -> None:
        if not isinstance(handler, SupportsExists):
            pytest.skip("this handler does not say whether a value is there")
        slot = _a_slot()

        assert handler.exists(handler.write(self.values[0], slot), slot)

    def test_a_value_that_was_deleted_is_gone(self, handler: ResultHandler) -> None:
        if not isinstance(handler, SupportsDelete):
            pytest.skip("this handler does not delete")
        slot, other = _a_slot(), _a_slot()
        reference, kept = handler.write(self.values[0], slot), handler.write(self.values[1], other)

        handler.delete(reference, slot)
        handler.delete(reference, slot)

        with pytest.raises(NotFoundError):
            handler.read(reference, slot)
        self.check(self.values[1], handler.read(kept, other))
        if isinstance(handler, SupportsExists):
            assert not handler.exists(reference, slot)
