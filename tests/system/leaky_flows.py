# SPDX-License-Identifier: Apache-2.0
"""Which flows put a secret into each of the places where a user's program can have one?"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import threading
import warnings
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from strongroom import (
    Flow,
    JSONHandler,
    Parameter,
    Secret,
    caching,
    context,
    signals,
    states,
    task,
    transaction,
)
from strongroom.caching import INPUTS

from .leaky_parts import Elsewhere, Fails, Repr, Unformattable, UntellableError, a_task, says_of_success

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from strongroom import State

    from .surfaces import Told

__all__ = ["flows"]

_SECRETS = ("secret", "secret in an exception", "secret in a state message", "secret in a log line")


def flows(told: Told, folder: Path) -> Iterator[tuple[Flow, Mapping[str, object]]]:
    """Flows that end in every way that there is, with a secret wherever one can be; and their parameters."""
    os.environ.update({_variable(name): told.text(name) for name in (*_SECRETS, "environment")})
    sys.argv.append(told.text("argument of the program"))
    yield _succeeds(told, folder), _parameters(told)
    keeps = _keeps(told, folder)
    # Twice, because the second run uses what the first one kept.
    yield keeps, {}
    yield keeps, {}
    for make in (_fails, _fails_elsewhere, _waits, _signals, _maps, _times_out, _plugged, _stops):
        yield make(told), {}


def _parameters(told: Told) -> dict[str, object]:
    return {
        "first": told["parameter"],
        "second": {told.text("parameter, key"): [told["parameter, in a list"]]},
        "secret": Secret(_variable("secret")),
    }


def _variable(name: str) -> str:
    return f"CANARY_{name.upper().replace(' ', '_')}"


def _succeeds(told: Told, folder: Path) -> Flow:
    """A run in which every task does what it should, and says a lot."""
    tags = [told.text("tag")]
    handlers = [says_of_success(told.text("state message"))]

    @task(tags=tags, task_run_name="{mark} of {parameters[first]}", state_handlers=handlers)
    def says(mark: object, given: object, secret: Secret) -> object:
        return _say(told, secret.reveal())

    says.__doc__ = told.text("docstring of a task")
    with Flow("succeeds", result_storage=folder / told.text("storage of a flow")) as flow:
        given = [Parameter("first"), Parameter("second"), Parameter("third", told["parameter, default"])]
        says(told.text("name of a task run"), given, Parameter("secret"))
        a_task(_log_prints(told), name="prints", log_stdout=True)()
    flow.__doc__ = told.text("docstring of a flow")
    return flow


def _say(told: Told, secret: str) -> object:
    """Everything that a task can say, and does not raise."""
    logging.getLogger("user").error("saw %s", told.text("log line"))
    context.logger.error("saw %s", told.text("log line"))
    context.logger.info("saw %s", told["log line, argument"])
    context.logger.info("saw it", extra={"seen": told["log line, extra"]})
    context.logger.info("saw %s", Secret(_variable("secret in a log line")).reveal())
    try:
        raise LookupError(told["log line of an exception"])
    except LookupError:
        context.logger.exception("saw it")
    print(told.text("printed line"))  # noqa: T201
    print(told.text("printed line on standard error"), file=sys.stderr)  # noqa: T201
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: print(message, file=sys.stderr)  # noqa: T201  # what Python does
        warnings.warn(told.text("warning"), stacklevel=1)
    return [told["result"], len(secret)]


def _log_prints(told: Told) -> Callable[[], object]:
    return lambda: print(told.text("printed line that is logged"))  # noqa: T201


def _says_of_hit(message: str) -> Callable[[object, State, State], State | None]:
    return lambda _, __, new: new.replace(message=message) if isinstance(new, states.Cached) else None


def _keeps(told: Told, folder: Path) -> Flow:
    """A run in which results are kept, here and there, and used again."""
    value = told["result that is kept"]
    elsewhere = Elsewhere(told.text("handler"), {told.text("key of a reference"): [told["reference"]]})  # type: ignore[list-item]
    arguments: list[dict[str, object]] = [
        {"result_storage_key": told.text("key in storage").replace("{", "{{") + "/{x}"},
        {"result_storage": folder / told.text("storage of a task")},
        {"result_storage": ("memory://leaky", {"token": told.text("option of a storage")})},
        {"result_serializer": Repr(told.text("serializer"))},
        {"persist_result": True, "result_handler": elsewhere},
        {"cache_key_fn": lambda _, __: told.text("cache_key_fn")},
        {
            "cache_for": timedelta(hours=1),
            "cache_key": told.text("cache_key"),
            "state_handlers": [_says_of_hit(told.text("state message of a cache hit"))],
        },
    ]
    with Flow("keeps", result_storage=folder / told.text("storage of a flow"), persist_result=True) as flow:
        for each in arguments:
            a_task(lambda x: (value, x), name="keeps", **each)(x="x")
        inline = a_task(lambda: told["result kept in the document"], name="inline", result_handler=JSONHandler())()
        a_task(lambda x, y: len(str((x, y))), name="uses", cache_for=timedelta(hours=1))(inline, told["constant input"])
        compares = a_task(lambda x: len(str(x)), name="compares", cache_key="it", cache_validator=caching.all_inputs)
        compares(told["input that is compared"])
        with transaction(key=told.text("key of a transaction")):
            a_task(lambda x: len(str(x)), name="in transaction", cache_policy=INPUTS)(told["input of a cached task"])
    return flow


def _fails(told: Told) -> Flow:
    """A run in which tasks raise whatever can be raised."""
    with_attribute = ValueError("it is not told")
    with_attribute.seen = told["attribute of an exception"]  # type: ignore[attr-defined]
    inner = ExceptionGroup("inner", [KeyError(told["exception of a group in a group"])])
    raised = [
        ValueError(told["exception"], told["exception, second argument"]),
        type(told.text("exception, class"), (Exception,), {})(),
        ExceptionGroup(told.text("message of a group"), [KeyError(told["exception of a group"]), inner]),
        with_attribute,
        UntellableError(told["exception that cannot be told"]),
        signals.FAIL(told.text("FAIL")),
        SystemExit(told["exit"]),
    ]
    with Flow("fails") as flow:
        for error in raised:
            a_task(_raises(error), name="raises")()
        a_task(lambda: _chained(told), name="chained")()
        a_task(_compiled(told), name="compiled")()
        a_task(_reveals("secret in an exception"), name="reveals")()
        a_task(lambda: _named(told), name="named")()
        a_task(lambda: 1, name="of a class", state_handlers=[_of_class(told.text("class of a state"))])()
        of_class = _of_class(told.text("class of the state of a mapped task"))
        a_task(lambda x: x, name="all of a class", state_handlers=[of_class]).map([1, 2])
        says = _says_revealed("secret in a state message")
        a_task(lambda: 1, name="says what it reveals", state_handlers=[says])()
    return flow


def _named(told: Told) -> None:
    """Raise in a thread and a process with names of the user's."""
    thread, process = threading.current_thread(), multiprocessing.current_process()
    before = thread.name, process.name
    thread.name, process.name = told.text("name of a thread"), told.text("name of a process")
    try:
        context.logger.info("from %s", "here")
        raise ValueError("it has names")  # the frames of this one are recorded
    finally:
        thread.name, process.name = before


def _of_class(name: str) -> Callable[[object, State, State], State | None]:
    """What makes states of a class of the user's, which is called *name*, of those that succeed."""
    classes = {each: type(name, (each,), {}) for each in (states.Success, states.Mapped)}

    def change(_: object, __: State, new: State) -> State | None:
        kind = classes.get(type(new))
        return None if kind is None else kind(new.message, result=new.result)

    return change


def _reveals(name: str) -> Callable[[], object]:
    def run() -> object:
        raise ValueError(f"the password {Secret(_variable(name)).reveal()} was refused")

    return run


def _says_revealed(name: str) -> Callable[[object, State, State], State | None]:
    return lambda _, __, new: new.replace(message=f"with {Secret(_variable(name)).reveal()}")


def _raiser(error: BaseException) -> Callable[..., object]:
    def run(*_: object) -> object:
        raise error

    return run


def _raises(error: BaseException) -> Callable[[], object]:
    """As `_raiser`, for a task, which takes nothing."""

    def run() -> object:
        raise error

    return run


def _chained(told: Told, default: object = None) -> object:
    secret = told["local variable"]
    try:
        try:
            raise KeyError(told["exception, context"])
        except KeyError:
            raise LookupError(told["exception, cause"])  # noqa: B904  # a context is what this is about
    except LookupError as exc:
        error = ValueError(f"a text of {len(str(secret))} letters")
        error.add_note(told.text("exception, note"))
        raise error from exc


def _compiled(told: Told) -> Callable[[], object]:
    """A function with a name, a file, a source line, a global and a default of the user's choice, that raises."""
    names: dict[str, Any] = {"told": told["global variable"], "default": told["default of an argument"]}
    function, line = told.text("function"), told.text("source line")
    source = f"def {function}(given=default):\n    raise ValueError(len(str(told)) + len({line!r}))"
    exec(compile(source, told.text("file"), "exec"), names)
    # A name is written in NFKC, whatever it was in the source.
    found: Callable[[], object] = next(each for name, each in names.items() if callable(each) and name != "told")
    return found


def _fails_elsewhere(told: Told) -> Flow:
    """A run in which what stands around a task raises."""

    def raises(what: str) -> Callable[..., object]:
        return _raiser(ValueError(told[what]))

    def nothing() -> None:
        pass

    read = a_task(nothing, name="unread", persist_result=True, cache_result_in_memory=False)
    read.result_handler = Fails(reading=told["exception of a result handler, reading"])
    named = a_task(lambda x: x, name="unnamed", task_run_name="{x}")
    with Flow("fails elsewhere", on_failure=raises("exception of the flow's state handler")) as flow:
        a_task(nothing, trigger=raises("exception of a trigger"))()
        a_task(nothing, state_handlers=[raises("exception of a state handler")])()
        a_task(_raises(ValueError("told")), on_failure=raises("exception of on_failure"))()
        a_task(nothing, cache_key_fn=raises("exception of a cache key"))()
        a_task(nothing, state_handlers=[_signalling(signals.FAIL(told.text("FAIL of a state handler")))])()
        fails = Fails(writing=told["exception of a result handler, writing"])
        a_task(nothing, name="kept", persist_result=True, result_handler=fails)()
        a_task(lambda x: x, name="reads")(read())
        named(Unformattable(told["exception of a template"]))
        key = {"cache_key": "judged", "cache_for": timedelta(hours=1)}
        first = a_task(nothing, name="judged", **key)()
        judge = raises("exception of a cache validator")
        a_task(lambda x: x, name="judged again", cache_key="judged", cache_validator=judge)(first)
    return flow


def _signalling(raised: signals.Signal) -> Callable[..., object]:
    def handler(_: object, __: object, new: object) -> object:
        if isinstance(new, states.Success):
            raise raised
        return None

    return handler


def _waits(told: Told) -> Flow:
    """A run in which tasks retry, skip and pause."""

    def second_time(first: Exception) -> Callable[..., object]:
        def run(x: object) -> object:
            if context.task_run_count == 1:
                raise first
            return x

        return run

    with Flow("waits") as flow:
        x = a_task(lambda: told["input of a retry"], name="inline", result_handler="json")()
        y = a_task(lambda: told["input of a pause"], name="inline, too", result_handler="json")()
        a_task(second_time(ValueError(told["exception before a retry"])), name="fails once", max_retries=1)(x)
        a_task(second_time(signals.RETRY(told.text("RETRY"))), name="retries")(x)
        skipped = a_task(_raises(signals.SKIP(told.text("SKIP"))), name="skips")()
        a_task(lambda x: x, name="skipped, too")(skipped)
        skips = _raiser(signals.SKIP(told.text("SKIP of a trigger")))
        a_task(lambda x: x, name="trigger skips", trigger=skips)(x)
        a_task(second_time(signals.PAUSE(told.text("PAUSE"))), name="pauses")(y)
    return flow


def _signals(told: Told) -> Flow:
    """A run in which tasks say by a signal how they ended."""
    success = signals.SUCCESS(told.text("SUCCESS"), result=told["result of SUCCESS"])

    def loops() -> object:
        if context.loop_count == 1:
            raise signals.LOOP(told.text("LOOP"), result=told["result of LOOP"])
        return 1

    with Flow("signals") as flow:
        a_task(_raises(success), name="succeeds")()
        a_task(_raises(signals.TRIGGERFAIL(told.text("TRIGGERFAIL"))), name="trigger fails")()
        a_task(_raises(signals.VALIDATIONFAIL(told.text("VALIDATIONFAIL"))), name="validation fails")()
        a_task(_raises(signals.CANCEL(told.text("CANCEL"))), name="cancels")()
        a_task(loops, name="loops")()
    return flow


def _maps(told: Told) -> Flow:
    """A run of mapped tasks, of which some children fail."""
    items = [told["mapped item"], told["mapped item"]]

    def child(x: object, name: object) -> object:
        context.logger.info(told.text("log line of a mapped child").replace("%", "%%"))
        if context.map_index:
            raise ValueError(told["exception of a mapped child"])
        return told["result of a mapped child"]

    with Flow("maps") as flow:
        name = told.text("name of a mapped task run")
        a_task(child, name="child", task_run_name="{name}").map(items, name=_unmapped(name))
        kept = told["result of a mapped child kept in the document"]
        a_task(lambda x: kept, name="kept", persist_result=True, result_handler="json").map([1, 2])
    return flow


def _unmapped(value: object) -> object:
    from strongroom import unmapped

    return unmapped(value)


def _times_out(told: Told) -> Flow:
    """A run in which a task takes too long, and another one fails while its thread goes on."""
    is_over = threading.Event()

    def waits(x: object) -> None:
        is_over.wait()

    def fails(x: object) -> None:
        is_over.set()
        raise ValueError(told["exception after a timeout of another"])

    with Flow("times out") as flow:
        slow = a_task(waits, name="slow", timeout=0.02)(told["input of a task that times out"])
        a_task(fails, name="fails", trigger=lambda _: True)(slow)
    return flow


def _plugged(told: Told) -> Flow:
    """A run about which a plugin has something to say: see `Plugin`."""
    with Flow("plugged") as flow:
        a_task(lambda: 1, name="vetoed")()
        a_task(lambda: 1, name="said")()
    return flow


def _stops(told: Told) -> Flow:
    """A run that somebody interrupts."""
    name = told.text("name of a task run that is cancelled")
    with Flow("stops") as flow:
        a_task(lambda x: _interrupt(told), name="interrupted", task_run_name="{x}")(name)
    return flow


def _interrupt(told: Told) -> object:
    raise KeyboardInterrupt(told["interrupt"])
