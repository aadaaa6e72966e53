# SPDX-License-Identifier: Apache-2.0
"""Does an exception come out of a pickle as it went in, and do keys stay where they are?"""

from __future__ import annotations

import io
import pickle
import traceback
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom import Keyring, ResultStore, Serializer, Slot
from strongroom._error_info import error_info
from strongroom._handlers import StoredHandler
from strongroom._jobs import Gathered
from strongroom.crossing import as_recorded, reduce_error, traced
from strongroom.documents import Frame
from strongroom.errors import KeyringError, NotSupportedError, TransferError, WorkerDiedError
from strongroom.keyring import Key
from strongroom.results import Result
from strongroom.signals import FAIL, RETRY
from strongroom.states import Retrying, Success


class Pickler(pickle.Pickler):
    def reducer_override(self, obj: object) -> object:
        return reduce_error(obj) if isinstance(obj, BaseException) else NotImplemented


def crossed(error: BaseException) -> BaseException:
    sink = io.BytesIO()
    Pickler(sink, 5).dump(error)
    again = pickle.loads(sink.getvalue())
    assert isinstance(again, BaseException)
    return again


class TwoPartError(Exception):
    def __init__(self, code: int, hint: str) -> None:
        super().__init__(f"{code}: {hint}")
        self.code = code


class LoudError(Exception):
    """Its own way makes another message each time."""

    def __init__(self, text: str) -> None:
        super().__init__(text + "!")


class MuteError(Exception):
    def __str__(self) -> str:
        raise ValueError


class Number(Serializer):
    id = "number"

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(str(value).encode())

    def load(self, source: BinaryIO) -> object:
        return int(source.read())


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as exc:
        return exc


@pytest.mark.parametrize(
    "error",
    [
        ValueError("text", 1),
        OSError(2, "gone", "file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        StopIteration(5),
        SystemExit(3),
        TwoPartError(7, "hint"),
        LoudError("text"),
        WorkerDiedError(-9),
        RETRY("again"),
        ExceptionGroup("several", [ValueError("one"), TwoPartError(1, "two")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_class_arguments_and_attributes_are_the_same(error: BaseException) -> None:
    again = crossed(error)

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert [name for name in dir(again) if name not in dir(error)] == []
    assert getattr(again, "code", None) == getattr(error, "code", None)


@given(st.lists(st.one_of(st.text(), st.integers(), st.binary(), st.none()), max_size=3))
def test_any_arguments_are_the_same(args: list[object]) -> None:
    assert crossed(RuntimeError(*args)).args == tuple(args)


def test_chain_and_notes_are_the_same() -> None:
    cause, context = ValueError("cause"), KeyError("context")
    error = RuntimeError("text")
    error.__cause__, error.__context__, error.__suppress_context__ = cause, context, False
    error.add_note("a note")

    again = crossed(error)

    assert (repr(again.__cause__), repr(again.__context__)) == (repr(cause), repr(context))
    assert (again.__suppress_context__, again.__notes__) == (False, ["a note"])


def test_the_traceback_names_the_same_places_and_holds_no_values() -> None:
    error = raised(TwoPartError(7, "hint"))

    again = crossed(error)

    places = [(frame.filename, frame.lineno, frame.name) for frame in traceback.extract_tb(again.__traceback__)]
    assert places == [(f.filename, f.lineno, f.name) for f in traceback.extract_tb(error.__traceback__)]
    held = [
        frame.f_locals.keys() - {"LookupError", "__builtins__"} for frame, _ in traceback.walk_tb(again.__traceback__)
    ]
    assert held == [set()]


def test_an_instruction_of_no_line_is_told_by_the_first_line_of_its_function() -> None:
    """A ctrl-C may come there, too."""
    code = compile("raise LookupError", "flow.py", "exec").replace(co_linetable=b"", co_firstlineno=7)
    with pytest.raises(LookupError) as raised_there:
        exec(code)

    for error in (raised_there.value, crossed(raised_there.value)):
        assert list(traced(error))[-1][1] == 7
        assert error_info(error).frames[-1] == Frame("flow.py", 7, "<module>")


def test_a_signal_that_is_its_own_result_comes_back_as_one() -> None:
    again = crossed(FAIL("bad"))

    assert isinstance(again, FAIL)
    assert again.state.result is again


def test_a_signal_keeps_its_state() -> None:
    again = crossed(RETRY("later"))

    assert isinstance(again, RETRY)
    assert isinstance(again.state, Retrying)


def test_what_stands_for_an_exception_has_its_name_and_message() -> None:
    recorded = as_recorded(TwoPartError(7, "hint"))

    assert (recorded.kind.rpartition(".")[2], str(recorded)) == ("TwoPartError", "7: hint")
    assert "could not be made" in as_recorded(MuteError()).message


@pytest.mark.parametrize(
    ("exitcode", "says"), [(3, "exit code 3"), (-11, "signal 11)"), (-9, "no memory left"), (None, "nobody knows")]
)
def test_a_dead_worker_says_what_is_known(exitcode: int | None, says: str) -> None:
    assert says in str(WorkerDiedError(exitcode))


def test_what_cannot_cross_is_named_without_what_pickle_quotes() -> None:
    missing = ModuleNotFoundError("No module named 'x'", name="x")

    assert "(ValueError)" in str(TransferError("a thing", ValueError("secret"), instead="do this"))
    assert "secret" not in str(TransferError("a thing", ValueError("secret"), instead="do this"))
    assert "the module 'x' cannot be imported there" in str(TransferError("a thing", missing, instead="do this"))


def test_a_store_crosses_without_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "keyring.toml"
    store = ResultStore(tmp_path / "kept", keyring=Keyring.open_or_create(path), allow=())
    key = Keyring.open_or_create(path)._primary

    data = pickle.dumps(StoredHandler(store))

    assert str(path).encode() in data
    assert key.secret not in data
    assert not any(key.subkeys[purpose] in data for purpose in ("seal", "tag", "cache", "token"))
    again = pickle.loads(data).store
    assert (again.url, again._keyring.ids) == (store.url, (key.id,))


def test_keys_that_are_in_no_file_do_not_cross() -> None:
    with pytest.raises(KeyringError, match="do not leave their process"):
        pickle.dumps(Keyring([Key.generate()]))


def test_a_keyring_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    data = pickle.dumps(Keyring.open_or_create(tmp_path / "keyring.toml"))
    (tmp_path / "keyring.toml").unlink()

    with pytest.raises(KeyringError, match="is gone"):
        pickle.loads(data)
    assert not (tmp_path / "keyring.toml").exists()


def test_storage_in_memory_does_not_cross() -> None:
    with pytest.raises(NotSupportedError, match="memory://"):
        pickle.dumps(ResultStore("memory://somewhere"))


def test_gathered_results_are_in_memory_only_if_all_of_them_are(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "kept", serializer=Number())
    handler = StoredHandler(store)
    here = Result(1, handler)
    there = Result(2, handler).serialize(Slot("0" * 32, "task")).forget_value()

    gathered = Gathered((Success(result=here), Success(result=there)), handler)

    assert not gathered.in_memory
    assert gathered.deserialize().value == [1, 2]
    assert Gathered((Success(result=here),), handler).in_memory
