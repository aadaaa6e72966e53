# SPDX-License-Identifier: Apache-2.0
"""Does a serializer give back what it was given, as `strongroom.Serializer` says?"""

from __future__ import annotations

import io
import pickle
import re
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, ClassVar, cast

import pytest

from strongroom.errors import SerializationError
from strongroom.testing._files import BufferSource, PlainSink, TricklingSource
from strongroom.testing._same import difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from strongroom.abc import Serializer

__all__ = ["ID", "SerializerTests", "ValueTests", "cuts", "parametrize"]

ID = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")

_SMALL = 256
_ENDS = 24
_ENOUGH_TO_TELL = 8
"""What a value shows as in so few characters may stand in a message by chance."""


def parametrize(metafunc: pytest.Metafunc, name: str, values: Sequence[object]) -> None:
    """Run the test once for each of *values*, under names that are the same in every process."""
    if name in metafunc.fixturenames:
        metafunc.parametrize(name, values, ids=[f"{i}-{type(value).__name__}" for i, value in enumerate(values)])


def cuts(size: int) -> Iterator[int]:
    """Where to cut *size* bytes off: everywhere if they are few, else near both ends and here and there between."""
    if size <= _SMALL:
        yield from range(size)
    else:
        yield from range(_ENDS)
        yield from range(_ENDS, size - _ENDS, size // _ENDS)
        yield from range(size - _ENDS, size)


class _Canary:
    """An object that says so when bytes bring it back to life."""

    sang: ClassVar[bool] = False

    def __reduce__(self) -> tuple[object, ...]:
        return _sing, ()


def _sing() -> None:
    _Canary.sang = True


class ValueTests:
    """What tests of serializers and of result handlers have in common: values that have to come back."""

    values: Sequence[object] = ()

    def difference(self, expected: object, actual: object) -> str | None:
        """A sentence about how the two differ, or None. Override it for types that know better than pickle."""
        return difference(expected, actual)

    def check(self, expected: object, actual: object) -> None:
        """Fail unless *actual* is *expected*, type for type."""
        found = self.difference(expected, actual)
        if found:
            pytest.fail(found)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Try each value on its own."""
        parametrize(metafunc, "value", self.values)


class SerializerTests(ValueTests):
    """What every serializer does. Subclass it, name the serializer and some values, and run pytest.

    ::

        class TestMsgPack(SerializerTests):
            serializer = MsgPack()
            values = (None, 1, "text", {"a": [1, 2]})

    Name a value of each type that it keeps, odd ones included. For a serializer that needs more than that to be made,
    `serializer` can be a property.
    """

    serializer: Serializer
    refused: Sequence[object] = ()
    """Values that it must not take, because they would not come back unchanged."""

    notices_truncation: ClassVar[bool] = True
    """False for a format whose beginning can be a whole value too. Records are checked before they are read, so that
    is no danger, but a mistake less that would be seen."""

    def test_there_are_values_to_try(self) -> None:
        assert self.values, "name some values that the serializer keeps"

    def test_its_id_can_stand_in_a_record(self) -> None:
        assert ID.fullmatch(self.serializer.id), "letters, digits, '-', '_' and single dots"
        assert self.serializer.id != "auto", "this is the name of the choice between serializers"

    def test_a_value_comes_back_type_for_type(self, value: object) -> None:
        self.check(value, self.serializer.loads(self.serializer.dumps(value)))

    def test_it_travels_to_another_process(self, value: object) -> None:
        clone = cast("Serializer", pickle.loads(pickle.dumps(self.serializer)))

        assert (type(clone), clone.id) == (type(self.serializer), self.serializer.id)
        self.check(value, clone.loads(self.serializer.dumps(value)))

    def test_using_it_does_not_change_it(self) -> None:
        before = pickle.dumps(self.serializer)

        for value in self.values:
            self.serializer.loads(self.serializer.dumps(value))

        assert pickle.dumps(self.serializer) == before

    def test_all_it_needs_of_a_sink_is_that_it_can_be_written_to(self, value: object) -> None:
        sink = PlainSink()

        self.serializer.dump(value, cast("BinaryIO", sink))

        assert not sink.closed, "the sink belongs to the caller"
        self.check(value, self.serializer.loads(bytes(sink.written)))

    def test_it_leaves_alone_what_was_written_before(self, value: object) -> None:
        sink = io.BytesIO()
        sink.write(b"before")

        self.serializer.dump(value, sink)

        assert sink.getvalue().startswith(b"before")
        self.check(value, self.serializer.loads(sink.getvalue()[len(b"before") :]))

    def test_it_reads_from_a_source_that_gives_a_little_at_a_time(self, value: object) -> None:
        source = TricklingSource(self.serializer.dumps(value))

        self.check(value, self.serializer.load(cast("BinaryIO", source)))

        assert not source.closed, "the source belongs to the caller"

    @pytest.mark.parametrize("memory", [bytes, bytearray])
    def test_it_reads_from_memory(self, value: object, memory: type[bytes | bytearray]) -> None:
        source = BufferSource(memory(self.serializer.dumps(value)))

        self.check(value, self.serializer.load(cast("BinaryIO", source)))

        assert not source.closed, "the source belongs to the caller"

    def test_it_does_not_change_the_value(self, value: object) -> None:
        before = self.serializer.loads(self.serializer.dumps(value))

        self.serializer.dump(value, cast("BinaryIO", PlainSink()))

        self.check(before, value)

    def test_bytes_that_were_cut_off_give_no_other_value(self, value: object) -> None:
        data = self.serializer.dumps(value)
        if not self.notices_truncation:
            return
        for size in cuts(len(data)):
            found = None
            with suppress(Exception):  # whatever a decoder says to broken bytes is fine
                found = self.difference(value, self.serializer.loads(data[:size]))
            assert found is None, f"the first {size} of {len(data)} bytes are another value: {found}"

    def test_what_would_not_come_back_is_refused_without_quoting_it(self) -> None:
        for value in self.refused:
            with pytest.raises(SerializationError) as caught:
                self.serializer.dump(value, cast("BinaryIO", PlainSink()))
            shown = repr(value)
            assert len(shown) <= _ENOUGH_TO_TELL or shown not in str(caught.value), "an error never holds data"

    def test_it_says_whether_loading_may_run_code(self) -> None:
        assert type(self.serializer.executes_code) is bool
        if self.serializer.executes_code:
            return
        _Canary.sang = False
        with suppress(Exception):  # not to take it is the best answer
            self.serializer.loads(self.serializer.dumps(_Canary()))
        assert not _Canary.sang, "loading ran code that the bytes chose: set executes_code"
