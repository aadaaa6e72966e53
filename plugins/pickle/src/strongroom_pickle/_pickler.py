# SPDX-License-Identifier: Apache-2.0
"""What does pickle keep by name, and what would it not find again under that name?

pickle writes a class or a function as a name to import. For one of ``__main__`` that is a trap: the bytes look fine,
and fail in the next process, which has another ``__main__``. For a lambda or a local class there is no name at all.

All that pickle ever writes by name passes through `Pickler.reducer_override` first: classes, functions, and objects
whose ``__reduce__`` answers with a name. There each is asked where it is from. So nothing needs to be pickled twice or
searched for names afterwards, and what lists, numbers and texts are made of does not even pass through.
"""

from __future__ import annotations

import io
from pickle import PicklingError
from types import FunctionType
from typing import TYPE_CHECKING

import cloudpickle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pickle import PickleBuffer

    from strongroom_pickle._items import ItemWriter

__all__ = ["PROTOCOL", "Pickler"]

PROTOCOL = 5

# These cloudpickle would turn into something else: bytes, and a file in memory.
_NOT_THE_SAME = (memoryview, io.TextIOWrapper)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it publishes no types
    """Pickles by value what would not be found by name, and everything else as pickle does."""

    def __init__(self, file: ItemWriter, buffer_callback: Callable[[PickleBuffer], bool]) -> None:
        # A dict of its own: the one that cloudpickle has is a ChainMap, and is asked for every object.
        self.dispatch_table = {**cloudpickle.Pickler.dispatch_table}
        for kind in _NOT_THE_SAME:
            self.dispatch_table.pop(kind, None)
        super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
        self._last: object = None

    @property
    def last(self) -> type:
        """The type that was looked at last: if pickling failed, this is where."""
        return self._last if isinstance(self._last, type) else type(self._last)

    def reducer_override(self, obj: object) -> object:
        """How *obj* is taken apart, or NotImplemented to leave that to pickle."""
        self._last = obj
        kind = type(obj)
        if kind is FunctionType or issubclass(kind, type):
            return super().reducer_override(obj)
        if kind.__module__ == "__main__" and kind not in self.dispatch_table and _answers_for_itself(kind):
            reduced = obj.__reduce_ex__(PROTOCOL)
            if isinstance(reduced, str):
                raise PicklingError("it is known by its name in __main__, where no other process finds it")
            return reduced
        return NotImplemented


def _answers_for_itself(kind: type) -> bool:
    own = (vars(base) for base in kind.__mro__[:-1])
    return any("__reduce_ex__" in names or "__reduce__" in names for names in own)
