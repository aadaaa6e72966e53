# SPDX-License-Identifier: Apache-2.0
"""How do values become bytes for the pipe between two processes of one owner?

As pickles that cloudpickle makes: functions and classes that the other process cannot import, such as those of a
script, travel whole. A run pickles each of them once, since that takes longer than all the rest.
"""

from __future__ import annotations

import io
import pickle
import sys
import types
from functools import lru_cache
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, TypeAlias, cast

import cloudpickle

from strongroom.crossing import as_recorded, reduce_error
from strongroom.errors import TransferError
from strongroom.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Definitions", "dumps", "loads"]

Definitions = dict[int, tuple[object, bytes | None]]
"""The id of a function or class -> itself, so that the id stays its own, and its pickle; None if it can be imported."""

_Reduced: TypeAlias = "tuple[object, object, tuple[Mapping[str, object], *tuple[object, ...]], *tuple[object, ...]]"


def dumps(value: object, what: str, *, instead: str, definitions: Definitions | None = None) -> bytes:
    """*value* as bytes; exceptions that cannot be pickled are in them as `RecordedError`.

    Args:
        value: what is to be pickled.
        what: what to call it in an error.
        instead: the way out, for the error.
        definitions: what was pickled before and is to be used again, whatever its global variables hold by now;
            added to.

    Raises:
        TransferError: it cannot be pickled.
    """
    definitions = {} if definitions is None else definitions
    try:
        return _dump(value, definitions, inert=False)
    except Exception:  # noqa: S110  # pickle and the user's classes may raise anything; it may be an exception's fault
        pass
    try:
        return _dump(value, definitions, inert=True)
    except Exception as exc:  # as above
        raise TransferError(what, exc, instead=instead) from exc


def loads(data: bytes) -> object:
    """What `dumps` made, by the same owner's process at the other end of the pipe."""
    return pickle.loads(data)  # noqa: S301  # nobody else can write to the pipe


def _dump(value: object, definitions: Definitions, *, inert: bool) -> bytes:
    sink = io.BytesIO()
    _Pickler(sink, definitions, inert=inert).dump(value)
    return sink.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle publishes no types
    def __init__(self, sink: io.BytesIO, definitions: Definitions | None, *, inert: bool) -> None:
        super().__init__(sink, protocol=5)
        self._definitions = definitions
        self._inert = inert

    def reducer_override(self, obj: object) -> object:
        if isinstance(obj, BaseException):
            # A signal stands for a state: without that it would not be the same.
            is_inert = self._inert and not isinstance(obj, Signal) and not self._is_pickled(obj)
            return reduce_error(as_recorded(obj) if is_inert else obj)
        if isinstance(obj, types.CodeType):
            # Cloudpickle leaves out which file it comes from, and so what tells somebody where an exception was raised.
            return _in_file, (*self.dispatch_table[types.CodeType](obj)[:2], obj.co_filename)
        if not isinstance(obj, (types.FunctionType, type)):
            return super().reducer_override(obj)
        if self._definitions is None:
            _travel_whole(obj.__module__)
            return super().reducer_override(obj)
        return self._definition(obj, self._definitions)

    def _is_pickled(self, error: BaseException) -> bool:
        """True if *error* itself can be pickled, whatever the others of its chain are."""
        make, arguments, (attributes, *_), *_ = cast("_Reduced", reduce_error(error))
        try:
            _Pickler(io.BytesIO(), self._definitions, inert=False).dump((make, arguments, attributes))
        except Exception:  # as in `dumps`
            return False
        return True

    def _definition(self, obj: types.FunctionType | type, definitions: Definitions) -> object:
        if id(obj) not in definitions:
            _travel_whole(obj.__module__)
            answer = super().reducer_override(obj)
            if getattr(obj, "__closure__", None):
                return answer  # what it closes over may be another value each time
            definitions[id(obj)] = (obj, None if answer is NotImplemented else self._whole(obj))
        data = definitions[id(obj)][1]
        return NotImplemented if data is None else (_define, (data,))

    def _whole(self, obj: object) -> bytes:
        sink = io.BytesIO()
        # What it uses in turn goes with it, since these may use each other.
        _Pickler(sink, None, inert=self._inert).dump(obj)
        return sink.getvalue()


def _in_file(make: Callable[..., types.CodeType], parts: tuple[object, ...], file: str) -> types.CodeType:
    return make(*parts).replace(co_filename=file)


@lru_cache(maxsize=256)
def _define(data: bytes) -> object:
    """The function or class that was pickled as *data*; the same one each time."""
    return loads(data)


def _travel_whole(name: str | None) -> None:
    """Have what the module *name* defines travel whole, if the other process could not import it."""
    if name is not None and name != "__main__" and not _is_importable(name):
        cloudpickle.register_pickle_by_value(sys.modules[name])


@lru_cache(maxsize=1024)
def _is_importable(name: str) -> bool:
    """True if the import of *name* in a new process, with the same path, gives the module that it is here."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is None:
        return True  # built in, or nothing that could travel
    path: list[str] | None = None
    spec = None
    for depth in range(1, name.count(".") + 2):
        spec = PathFinder.find_spec(".".join(name.split(".")[:depth]), path)
        if spec is None:
            # Editable installations have finders of their own, and what they find is installed there too.
            return not path and _is_installed(name)
        path = list(spec.submodule_search_locations or ())
    return spec is not None and spec.origin == file


def _is_installed(name: str) -> bool:
    finders = [finder for finder in sys.meta_path if finder is not PathFinder and hasattr(finder, "find_spec")]
    return any(finder.find_spec(name.partition(".")[0], None) is not None for finder in finders)
