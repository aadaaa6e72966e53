# SPDX-License-Identifier: Apache-2.0
"""In which places can a user's program have a secret, and which flows put one into each of them?"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO

from strongroom import (
    Flow,
    JSONHandler,
    JSONValue,
    Parameter,
    ResultHandler,
    Serializer,
    Slot,
    caching,
    context,
    signals,
    states,
    task,
)

from .scanner import accented, digits, letters, octets, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from strongroom import State
    from strongroom._task import FunctionTask

    from .scanner import Canary

    Secrets = Mapping[str, Canary]

__all__ = ["NEVER_SENT", "SEALED", "a_task", "flows", "parameters"]

SEALED: dict[str, Callable[[], Canary]] = {
    "parameter": letters,
    "parameter, accented": accented,
    "parameter, quoted": quoted,
    "parameter, number": digits,
    "parameter, key": accented,
    "parameter, default": letters,
    "tag": accented,
    "name of a task run": letters,
    "state message": quoted,
    "key in storage": letters,
    "storage of a task": accented,
    "storage of a flow": letters,
    "serializer": letters,
    "handler": letters,
    "reference": accented,
    "key of a reference": letters,
    "result kept in the document": digits,
    "input of a retry": letters,
    "exception": letters,
    "exception, accented": accented,
    "exception, number": digits,
    "exception, bytes": octets,
    "exception, cause": letters,
    "exception, context": letters,
    "exception, note": quoted,
    "exception, class": letters,
    "exception of a group": letters,
    "message of a group": letters,
    "function": letters,
    "file": accented,
    "exception of a trigger": letters,
    "exception of a state handler": letters,
    "exception of a result handler": letters,
    "exception of a cache key": letters,
    "exception before a retry": letters,
    "FAIL": letters,
    "RETRY": accented,
    "SKIP": letters,
    "PAUSE": letters,
    "SKIP of a trigger": letters,
    "exit": letters,
    "interrupt": letters,
    "exception of the flow's state handler": letters,
}
"""What a document tells, sealed. A test shows that each of these does get into one."""

NEVER_SENT: dict[str, Callable[[], Canary]] = {
    "value": letters,
    "value, accented": accented,
    "value, number": digits,
    "value, bytes": octets,
    "value, key": letters,
    "result that is a text": accented,
    "result that is a number": digits,
    "constant input": letters,
    "log line": letters,
    "printed line": accented,
    "context key": letters,
    "context value": letters,
    "cache_key_fn": letters,
    "cache_key": letters,
    "input that is compared": letters,
    "local variable": letters,
    "source line": letters,
}
"""What no document tells, sealed or not."""


def a_task(function: Callable[..., object], **arguments: Any) -> FunctionTask:  # noqa: ANN401  # whatever `task` takes
    """A task of *function*, in one call."""
    return task(**arguments)(function)


def parameters(told: Secrets) -> dict[str, object]:
    """What the first flow is run with."""
    inner = [told["parameter, accented"], told["parameter, quoted"], told["parameter, number"]]
    return {"first": told["parameter"], "second": {told["parameter, key"]: inner}}


def flows(told: Secrets, folder: Path) -> list[Flow]:
    """Flows that succeed, fail, retry, skip, pause and are interrupted, with a secret wherever one can be."""
    keeps = _keeps(told, folder)
    # Twice, because the second run uses what the first one kept.
    return [_succeeds(told, folder), keeps, keeps, _fails(told), _fails_elsewhere(told), _waits(told), _stops(told)]


class Repr(Serializer):
    """Python's own words for a value, under an id of the user's choice."""

    def __init__(self, id_: str) -> None:
        self.id = id_

    def dump(self, value: object, sink: BinaryIO) -> None:
        sink.write(repr(value).encode())

    def load(self, source: BinaryIO) -> object:
        return source.read().decode()


class Elsewhere(ResultHandler):
    """Answers with a reference of the user's choice."""

    def __init__(self, id_: str, reference: JSONValue) -> None:
        self.id = id_
        self._reference = reference

    def write(self, value: object, slot: Slot) -> JSONValue:
        return self._reference

    def read(self, reference: JSONValue, slot: Slot) -> object:
        return None


class Refuses(Elsewhere):
    """Fails, and quotes the value that it failed on, as libraries do."""

    def write(self, value: object, slot: Slot) -> JSONValue:
        raise ValueError(f"cannot keep {value!r}")


def _succeeds(told: Secrets, folder: Path) -> Flow:
    """A run in which every task does what it should, and says a lot."""
    message = str(told["state message"])

    @task(tags=[str(told["tag"])], task_run_name="{mark} of {parameters[first]}", state_handlers=[_says(message)])
    def says(mark: object, first: object, second: object, third: object) -> dict[object, object]:
        logging.getLogger("user").error("saw %s", told["log line"])
        context.logger.error("saw %s", told["log line"])
        print(told["printed line"])  # noqa: T201
        return {told["value, key"]: [told["value, accented"], told["value, number"], told["value, bytes"]]}

    with Flow("succeeds", result_storage=folder / str(told["storage of a flow"])) as flow:
        given = [Parameter("first"), Parameter("second"), Parameter("third", told["parameter, default"])]
        says(told["name of a task run"], *given)
        a_task(lambda: told["result that is a text"], name="text")()
        a_task(lambda: told["result that is a number"], name="number")()
    return flow


def _says(message: str) -> Callable[[object, State, State], State | None]:
    return lambda _, __, new: new.replace(message=message) if type(new) is states.Success else None


def _keeps(told: Secrets, folder: Path) -> Flow:
    """A run in which results are kept, here and there, and used again."""
    value = str(told["value"])
    arguments: list[dict[str, object]] = [
        {"result_storage_key": str(told["key in storage"]) + "/{x}"},
        {"result_storage": folder / str(told["storage of a task"])},
        {"result_serializer": Repr(str(told["serializer"]))},
        {"persist_result": True, "result_handler": _elsewhere(told)},
        {"cache_key_fn": lambda _, __: told["cache_key_fn"]},
        {"cache_for": timedelta(hours=1), "cache_key": told["cache_key"]},
    ]
    with Flow("keeps", result_storage=folder / str(told["storage of a flow"]), persist_result=True) as flow:
        for each in arguments:
            a_task(lambda x: (value, x), name="keeps", **each)(x="x")
        inline = a_task(lambda: told["result kept in the document"], name="inline", result_handler=JSONHandler())()
        a_task(lambda x, y: (x, y), name="uses", cache_for=timedelta(hours=1))(inline, told["constant input"])
        _compares(told)
    return flow


def _elsewhere(told: Secrets) -> Elsewhere:
    return Elsewhere(str(told["handler"]), {str(told["key of a reference"]): [str(told["reference"])]})


def _compares(told: Secrets) -> None:
    """A cached task whose inputs are fingerprinted."""
    compared = a_task(lambda x: x, name="compares", cache_key="compares", cache_validator=caching.all_inputs)
    compared(told["input that is compared"])


def _fails(told: Secrets) -> Flow:
    """A run in which tasks raise whatever can be raised."""
    raised = [
        ValueError(told["exception"], told["exception, accented"], told["exception, number"], told["exception, bytes"]),
        type(str(told["exception, class"]), (Exception,), {})(),
        ExceptionGroup(str(told["message of a group"]), [KeyError(told["exception of a group"])]),
        signals.FAIL(str(told["FAIL"])),
        SystemExit(told["exit"]),
    ]
    with Flow("fails") as flow:
        for error in raised:
            a_task(_raiser(error), name="raises")()
        a_task(lambda: _chained(told), name="chained")()
        a_task(_compiled(str(told["function"]), str(told["file"]), str(told["source line"])), name="compiled")()
    return flow


def _raiser(error: BaseException) -> Callable[[], object]:
    def run() -> object:
        raise error

    return run


def _chained(told: Secrets) -> object:
    secret = told["local variable"]
    try:
        try:
            raise KeyError(told["exception, context"])
        except KeyError:
            raise LookupError(told["exception, cause"])  # noqa: B904  # a context is what this is about
    except LookupError as exc:
        error = ValueError(f"a text of {len(str(secret))} letters")
        error.add_note(str(told["exception, note"]))
        raise error from exc


def _compiled(function: str, file: str, line: str) -> Callable[[], object]:
    """A function with a name, a file and a source line of the user's choice, that raises."""
    names: dict[str, Callable[[], object]] = {}
    exec(compile(f"def {function}():\n    raise ValueError(len('{line}'))", file, "exec"), names)
    return names[function]


def _fails_elsewhere(told: Secrets) -> Flow:
    """A run in which what stands around a task raises."""

    def raises(what: str) -> Callable[..., object]:
        def run(*_: object) -> object:
            raise ValueError(told[what])

        return run

    def nothing() -> None:
        pass

    with Flow("fails elsewhere", on_failure=raises("exception of the flow's state handler")) as flow:
        a_task(nothing, trigger=raises("exception of a trigger"))()
        a_task(nothing, state_handlers=[raises("exception of a state handler")])()
        a_task(nothing, cache_key_fn=raises("exception of a cache key"))()
        refuses = Refuses("refuses", None)
        a_task(
            lambda: told["exception of a result handler"], name="kept", persist_result=True, result_handler=refuses
        )()
    return flow


def _waits(told: Secrets) -> Flow:
    """A run in which tasks retry, skip and pause."""

    def second_time(first: Exception) -> Callable[..., object]:
        def run(x: object) -> object:
            if context.task_run_count == 1:
                raise first
            return x

        return run

    with Flow("waits") as flow:
        x = a_task(lambda: told["input of a retry"], name="inline", result_handler="json")()
        a_task(second_time(ValueError(told["exception before a retry"])), name="fails once", max_retries=1)(x)
        a_task(second_time(signals.RETRY(str(told["RETRY"]))), name="retries")(x)
        skipped = a_task(_raiser(signals.SKIP(str(told["SKIP"]))), name="skips")()
        a_task(lambda x: x, name="skipped, too")(skipped)
        a_task(lambda x: x, name="trigger skips", trigger=_trigger(signals.SKIP(str(told["SKIP of a trigger"]))))(x)
        a_task(_raiser(signals.PAUSE(str(told["PAUSE"]))), name="pauses")()
    return flow


def _stops(told: Secrets) -> Flow:
    """A run that somebody interrupts."""
    with Flow("stops") as flow:
        a_task(_raiser(KeyboardInterrupt(told["interrupt"])), name="interrupted")()
    return flow


def _trigger(signal: signals.Signal) -> Callable[..., object]:
    def trigger(_: object) -> object:
        raise signal

    return trigger
