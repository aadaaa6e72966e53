# SPDX-License-Identifier: Apache-2.0
"""Does the conformance kit see the mistakes that it is there for?"""

from __future__ import annotations

import ast
import io
import pickle
import time
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

import msgspec
import pytest

from strongroom import Codec, Serializer
from strongroom._memory_backend import MemoryBackend
from strongroom.errors import SerializationError
from strongroom.keyring import Key, KeyFile, KeySet
from strongroom.testing import CodecTests, KeySourceTests, LeaseTests, SerializerTests, difference, vector

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from strongroom.abc import CodecContext, Lease


class Literal(Serializer):
    """Python literals as text: short, real, and right."""

    id = "literal"

    def dump(self, value: object, sink: BinaryIO) -> None:
        text = repr(value)
        try:
            same = difference(value, ast.literal_eval(text)) is None
        except (SyntaxError, ValueError):
            same = False
        if not same:
            raise SerializationError(self.id, f"{type(value).__name__} is no literal")
        sink.write(f"({text})".encode())

    def load(self, source: BinaryIO) -> object:
        return ast.literal_eval(source.read().decode())


class Deflate(Codec):
    """Bytes as zlib makes them: short, real, and right."""

    id = "deflate"

    def writer(self, sink: BinaryIO, context: CodecContext) -> BinaryIO:
        return cast("BinaryIO", DeflateWriter(sink))

    def reader(self, source: BinaryIO, context: CodecContext) -> BinaryIO:
        return cast("BinaryIO", DeflateReader(source))


class DeflateWriter(io.RawIOBase):
    def __init__(self, sink: BinaryIO) -> None:
        super().__init__()
        self.sink = sink
        self.deflate = zlib.compressobj()

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        if self.closed:
            raise ValueError("write to a closed file")
        view = memoryview(data).cast("B")  # type: ignore[arg-type]  # what a file is given
        self.sink.write(self.deflate.compress(view))
        return len(view)

    def close(self) -> None:
        if not self.closed:
            self.sink.write(self.deflate.flush())
        super().close()

    def __del__(self) -> None:
        super().close()


class DeflateReader(io.RawIOBase):
    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self.source = source
        self.inflate = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, target: object, /) -> int:
        out = memoryview(target).cast("B")  # type: ignore[arg-type]  # what a file is given
        data = b""
        while not data and not self.inflate.eof:
            more = self.inflate.unconsumed_tail or self.source.read(1 << 16)
            if not more:
                raise EOFError
            data = self.inflate.decompress(more, len(out))
        if self.inflate.eof and (self.inflate.unused_data or self.source.read(1)):
            raise ValueError("more than one stream")
        out[: len(data)] = data
        return len(data)


class TestLiteral(SerializerTests):
    serializer = Literal()
    values = (None, 1, "text", b"bytes" * 100, (1, [2, {3}]), {"a": {"b": 1.5}})
    refused = (object(), [print])


class TestDeflate(CodecTests):
    codec = Deflate()


class BadId(Literal):
    id = "a/b"


class TupleBecomesList(Literal):
    def load(self, source: BinaryIO) -> object:
        value = super().load(source)
        return list(value) if type(value) is tuple else value


class ClosesTheSink(Literal):
    def dump(self, value: object, sink: BinaryIO) -> None:
        with sink:
            super().dump(value, sink)


class SeeksInTheSink(Literal):
    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.seek(0)
        super().dump(value, sink)


class ClosesTheSource(Literal):
    def load(self, source: BinaryIO) -> object:
        with source:
            return super().load(source)


class ReadsOnce(Literal):
    def load(self, source: BinaryIO) -> object:
        return ast.literal_eval(source.read(1 << 20).decode())


class WritesToTheSource(Literal):
    def load(self, source: BinaryIO) -> object:
        cast("io.BytesIO", source).getbuffer()[0] = ord("(")
        return super().load(source)


class Counts(Literal):
    count = 0

    def dump(self, value: object, sink: BinaryIO) -> None:
        self.count += 1
        super().dump(value, sink)


class CannotTravel(Literal):
    def __init__(self) -> None:
        self.lock = (character for character in "no pickle takes this")


class TakesTheStart(Literal):
    def load(self, source: BinaryIO) -> object:
        return ast.literal_eval(source.read().decode().rstrip(")") + ")")


class TakesAnything(Literal):
    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(f"({value!r})".encode())


class Quotes(Literal):
    def dump(self, value: object, sink: BinaryIO) -> None:
        raise SerializationError(self.id, repr(value))


class ChangesTheValue(Literal):
    def dump(self, value: object, sink: BinaryIO) -> None:
        super().dump(value, sink)
        if isinstance(value, list):
            value.append(None)


class RunsCode(Literal):
    def dump(self, value: object, sink: BinaryIO) -> None:
        pickle.dump(value, sink)

    def load(self, source: BinaryIO) -> object:
        return pickle.loads(source.read())


ONE = "test_a_value_comes_back_type_for_type"


@pytest.mark.parametrize(
    ("serializer", "name", "arguments"),
    [
        (BadId, "test_its_id_can_stand_in_a_record", ()),
        (TupleBecomesList, ONE, ((1, 2),)),
        (ClosesTheSink, "test_all_it_needs_of_a_sink_is_that_it_can_be_written_to", (1,)),
        (SeeksInTheSink, "test_all_it_needs_of_a_sink_is_that_it_can_be_written_to", (1,)),
        (SeeksInTheSink, "test_it_leaves_alone_what_was_written_before", ("longer than before",)),
        (ClosesTheSource, "test_it_reads_from_a_source_that_gives_a_little_at_a_time", (1,)),
        (ClosesTheSource, "test_it_reads_from_memory", (1, bytes)),
        (ReadsOnce, "test_it_reads_from_a_source_that_gives_a_little_at_a_time", ("some text",)),
        (WritesToTheSource, "test_it_reads_from_memory", ("some text", bytes)),
        (Counts, "test_using_it_does_not_change_it", ()),
        (CannotTravel, "test_it_travels_to_another_process", (1,)),
        (TakesTheStart, "test_bytes_that_were_cut_off_give_no_other_value", (12,)),
        (TakesAnything, "test_what_would_not_come_back_is_refused_without_quoting_it", ()),
        (Quotes, "test_what_would_not_come_back_is_refused_without_quoting_it", ()),
        (ChangesTheValue, "test_it_does_not_change_the_value", ([1],)),
        (RunsCode, "test_it_says_whether_loading_may_run_code", ()),
    ],
    ids=lambda part: part.__name__ if isinstance(part, type) else "",
)
def test_a_mistake_of_a_serializer_is_seen(
    serializer: Callable[[], Serializer], name: str, arguments: tuple[object, ...]
) -> None:
    class Tests(SerializerTests):
        values = (1, "text")
        refused = (bytearray(b"much too long"),)

    Tests.serializer = serializer()
    test = getattr(Tests(), name)

    with pytest.raises((Exception, pytest.fail.Exception)):
        test(*arguments)


class LeavesOutTheEnd(Deflate):
    def reader(self, source: BinaryIO, context: CodecContext) -> BinaryIO:
        return io.BytesIO(zlib.decompressobj().decompress(source.read()))


class HoldsEverything(Deflate):
    def writer(self, sink: BinaryIO, context: CodecContext) -> BinaryIO:
        return EndsWhenForgotten(sink)


class EndsWhenForgotten(io.BytesIO):
    def __init__(self, sink: BinaryIO) -> None:
        super().__init__()
        self.sink = sink

    def close(self) -> None:
        if not self.closed:
            self.sink.write(zlib.compress(self.getvalue()))
        super().close()


class ClosesTheFiles(Deflate):
    def reader(self, source: BinaryIO, context: CodecContext) -> BinaryIO:
        data = zlib.decompress(source.read())
        source.close()
        return io.BytesIO(data)


class OneByteLess(Deflate):
    def reader(self, source: BinaryIO, context: CodecContext) -> BinaryIO:
        return io.BytesIO(zlib.decompress(source.read())[:-1])


@pytest.mark.parametrize(
    ("codec", "name", "arguments"),
    [
        (LeavesOutTheEnd, "test_bytes_that_were_cut_off_are_an_error", ()),
        (LeavesOutTheEnd, "test_bytes_after_the_end_are_an_error", (b"more",)),
        (HoldsEverything, "test_memory_does_not_grow_with_the_bytes", ("zeros",)),
        (HoldsEverything, "test_a_writer_that_nobody_closes_never_looks_complete", ()),
        (ClosesTheFiles, "test_closing_leaves_the_files_below_open", ()),
        (OneByteLess, "test_bytes_come_back", (b"some bytes",)),
        (OneByteLess, "test_it_gives_out_one_byte_at_a_time", ()),
        (OneByteLess, "test_it_takes_bytes_in_pieces_of_any_size", ()),
    ],
    ids=lambda part: part.__name__ if isinstance(part, type) else "",
)
def test_a_mistake_of_a_codec_is_seen(codec: Callable[[], Codec], name: str, arguments: tuple[object, ...]) -> None:
    class Tests(CodecTests):
        pass

    Tests.codec = codec()
    test = getattr(Tests(), name)

    with pytest.raises((Exception, pytest.fail.Exception)):
        test(*arguments)


class Generous(MemoryBackend):
    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        return super().acquire(name, holder, seconds=seconds, slots=slots + 1)


class KnowsItsHolders(MemoryBackend):
    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        held = [lease for lease, _ in self._leases.values() if (lease.name, lease.holder) == (name, holder)]
        return held[0] if held else super().acquire(name, holder, seconds=seconds, slots=slots)


class Forgetful(MemoryBackend):
    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        self._epoch = 0
        return super().acquire(name, holder, seconds=seconds, slots=slots)


class LowerCase(MemoryBackend):
    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        return super().acquire(name.lower(), holder, seconds=seconds, slots=slots)


class InMilliseconds(MemoryBackend):
    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        return super().acquire(name, holder, seconds=seconds / 1000, slots=slots)


class NeverExpires(MemoryBackend):
    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        return super().acquire(name, holder, seconds=seconds + 1000, slots=slots)


class Unlocked(MemoryBackend):
    def acquire(self, name: str, holder: str, *, seconds: float, slots: int = 1) -> Lease | None:
        free = not self._is_held((name, 0), self._clock())
        time.sleep(0.001)  # another thread asks just now
        return super().acquire(name, holder, seconds=seconds, slots=slots + free)


class RenewsForNothing(MemoryBackend):
    def renew(self, lease: Lease, *, seconds: float) -> bool:
        return super().renew(lease, seconds=0.3) if seconds else super().renew(lease, seconds=seconds)


class RenewsWhatIsLost(MemoryBackend):
    def renew(self, lease: Lease, *, seconds: float) -> bool:
        held = self._leases.get((lease.name, lease.slot))
        if held is None or held[0] != lease:
            return super().renew(lease, seconds=seconds)
        self._leases[lease.name, lease.slot] = lease, self._clock() + seconds
        return True


class LooksAtTheSlotOnly(MemoryBackend):
    def release(self, lease: Lease) -> None:
        self._leases.pop((lease.name, lease.slot), None)


class LooksAtTheEpochOnly(MemoryBackend):
    def renew(self, lease: Lease, *, seconds: float) -> bool:
        held = self._leases.get((lease.name, lease.slot))
        same = held is not None and held[0].epoch == lease.epoch
        return super().renew(held[0] if held and same else lease, seconds=seconds)


class ForgetsToRelease(MemoryBackend):
    def release(self, lease: Lease) -> None:
        super().release(msgspec.structs.replace(lease, epoch=0))


class WorksWhenClosed(MemoryBackend):
    def _check_open(self) -> None:
        pass


@pytest.mark.parametrize(
    ("backend", "name", "arguments"),
    [
        (Generous, "test_what_is_held_is_given_to_nobody", ("two",)),
        (Generous, "test_there_are_as_many_as_there_are_slots", ()),
        (Generous, "test_whoever_knows_of_fewer_slots_gets_one_of_those_or_none", ()),
        (KnowsItsHolders, "test_what_is_held_is_given_to_nobody", ("one",)),
        (Forgetful, "test_each_new_holder_of_a_slot_has_a_higher_epoch", ("released",)),
        (Forgetful, "test_each_new_holder_of_a_slot_has_a_higher_epoch", ("expired",)),
        (Forgetful, "test_whoever_lost_a_lease_can_neither_renew_nor_release_that_of_the_next", ()),
        (LowerCase, "test_names_are_told_apart", ("a", "A")),
        (InMilliseconds, "test_a_lease_lasts_as_long_as_it_was_asked_for_and_no_longer", ()),
        (NeverExpires, "test_what_has_expired_is_given_to_the_next", ()),
        (Unlocked, "test_threads_that_race_never_hold_more_than_there_are_slots", ()),
        (RenewsForNothing, "test_a_renewed_lease_lasts_from_then_on", ()),
        (RenewsWhatIsLost, "test_what_has_expired_cannot_be_renewed_even_if_nobody_took_it", ()),
        (LooksAtTheSlotOnly, "test_whoever_lost_a_lease_can_neither_renew_nor_release_that_of_the_next", ()),
        (LooksAtTheSlotOnly, "test_a_lease_that_was_never_given_opens_nothing", ("holder", "two")),
        (LooksAtTheEpochOnly, "test_a_lease_that_was_never_given_opens_nothing", ("holder", "two")),
        (ForgetsToRelease, "test_what_was_given_back_is_given_again", ()),
        (ForgetsToRelease, "test_what_was_given_back_cannot_be_renewed", ()),
        (WorksWhenClosed, "test_a_closed_backend_gives_and_takes_no_leases", ("acquire",)),
        (WorksWhenClosed, "test_a_closed_backend_gives_and_takes_no_leases", ("renew",)),
        (WorksWhenClosed, "test_a_closed_backend_gives_and_takes_no_leases", ("release",)),
    ],
    ids=lambda part: part.__name__ if isinstance(part, type) else "",
)
def test_a_mistake_with_leases_is_seen(
    backend: Callable[[], MemoryBackend], name: str, arguments: tuple[object, ...]
) -> None:
    # The same test is content with a backend that makes no mistake.
    getattr(LeaseTests(), name)(MemoryBackend(), *arguments)

    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(LeaseTests(), name)(backend(), *arguments)


NAN = float("nan")


class NewEachTime(KeyFile):
    """Loads another key each time."""

    def load(self) -> KeySet:
        key = Key.generate()
        return KeySet((key,), key.id)


class NoStamp(KeyFile):
    """Does not tell that its keys have changed."""

    def stamp(self) -> object:
        return None


class SealsAtOnce(KeyFile):
    """Seals with a new key before anybody else can have it."""

    def add(self) -> str:
        added = super().add()
        self.promote(added)
        return added


class ShowsItsKeys(KeyFile):
    """Tells where the keys are by showing them."""

    @property
    def place(self) -> str:
        return self.load().keys[0].secret.hex()


class PicklesItsKeys(KeyFile):
    """Takes its keys along."""

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.path,), {"keys": [key.secret for key in self.load().keys]}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (NewEachTime, "it_gives_the_same_keys_each_time"),
        (NoStamp, "a_new_key_opens_before_it_seals"),
        (SealsAtOnce, "a_new_key_opens_before_it_seals"),
        (ShowsItsKeys, "nothing_that_is_shown_has_a_secret_in_it"),
        (PicklesItsKeys, "it_travels_without_its_keys"),
    ],
)
def test_a_mistake_of_a_key_source_is_seen(kind: type[KeyFile], name: str, tmp_path: Path) -> None:
    source = kind(tmp_path / "keyring.toml")
    source.create()
    test = getattr(KeySourceTests(), f"test_{name}")

    with pytest.raises(AssertionError):
        test(source, source) if "new_key" in name else test(source)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ([1, [2]], [1, [3]]),
        ([1], [1, 2]),
        ((1,), [1]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1: "a"}, {True: "a"}),
        ({1, "a"}, {True, "a"}),
        (slice(1), slice(2)),
    ],
)
def test_a_difference_that_python_would_overlook_is_seen(expected: object, actual: object) -> None:
    assert difference(expected, actual) is not None
    assert difference(actual, expected) is not None


def test_what_is_the_same_is_the_same() -> None:
    for make in (lambda: [NAN, {"a": (1, {2})}], lambda: {float("nan"), 1}, lambda: range(3), lambda: 1j * NAN):
        assert difference(make(), make()) is None


def test_a_value_that_contains_itself_can_be_compared() -> None:
    def loop(last: object) -> object:
        value: list[object] = [last]
        value.insert(0, value)
        return value

    assert difference(loop(1), loop(1)) is None
    assert difference(loop(1), loop(2)) is not None


def test_a_missing_vector_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"the vector v\.bin is missing"):
        vector(tmp_path / "v.bin", lambda: b"new")


def test_a_vector_is_written_when_asked_for_and_never_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_TEST_WRITE_VECTORS", "1")

    assert vector(tmp_path / "new" / "v.bin", lambda: b"first") == b"first"
    assert vector(tmp_path / "new" / "v.bin", lambda: b"second") == b"first"
