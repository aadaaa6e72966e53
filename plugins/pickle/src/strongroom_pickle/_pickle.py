# SPDX-License-Identifier: Apache-2.0
"""How does any object become bytes, without a copy of what is big in it?"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, BinaryIO

from strongroom.abc import Serializer
from strongroom.errors import SerializationError
from strongroom_pickle._items import ItemReader, ItemWriter
from strongroom_pickle._memory import memory_of

if TYPE_CHECKING:
    from strongroom_pickle._pickler import Pickler

__all__ = ["Pickle"]


class Pickle(Serializer):
    """Whatever pickle keeps, and functions and classes that it would not find again.

    What offers its memory to pickle (an array of numpy's, for example) is written straight from there, and read into
    memory of its own, so that it can be changed if it could be before. If the source is private memory, the value is
    made of views of it.

    Functions and classes of the program itself, of a notebook or of another function travel with their code, by
    cloudpickle; only the same version of Python reads them for certain. All others travel by name, as always.
    """

    id = "pickle"
    executes_code = True
    zero_copy = True

    def dump(self, value: object, sink: BinaryIO) -> None:
        """Write *value*, in pieces.

        Raises:
            SerializationError: something in it cannot be pickled; the message names its type.
        """
        from strongroom_pickle._pickler import Pickler

        items = ItemWriter(sink)
        pickler = Pickler(items, items.add_buffer)
        try:
            pickler.dump(value)
        except MemoryError:
            raise
        except Exception as exc:  # the value's own code, which may raise anything
            if exc is items.error:
                raise
            raise SerializationError(self.id, _reason(exc, pickler)) from exc
        items.finish()

    def load(self, source: BinaryIO) -> object:
        """Read the value. **This runs whatever code the bytes ask for**: only bytes that are authentic may come here.

        Raises:
            SerializationError: the bytes are not in this format, or not all of them are there.
            Exception: whatever the code of the value raises; an ImportError or AttributeError if it is not there.
        """
        items = ItemReader(memory_of(source))
        value: object = pickle.Unpickler(items.file, buffers=items.buffers()).load()  # noqa: S301  # see above
        items.finish()
        return value


def _reason(error: Exception, pickler: Pickler) -> str:
    if RecursionError in (type(error), type(error.__cause__)):
        return "it is nested too deeply"
    return f"{pickler.last.__qualname__} cannot be pickled; leave it out, or make it in the task that needs it"
