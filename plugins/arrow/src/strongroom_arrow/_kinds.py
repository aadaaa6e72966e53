# SPDX-License-Identifier: Apache-2.0
"""Which module makes a value of a stream? It depends on the kind that the stream names, from a closed list."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, Protocol

from strongroom.errors import PluginError
from strongroom_arrow import _streams

if TYPE_CHECKING:
    import pyarrow as pa

    from strongroom_arrow._bytes import Content
    from strongroom_arrow._layout import Description
    from strongroom_arrow._streams import Parts

__all__ = ["Kind", "Tabular", "load"]


class Kind(Protocol):
    """What a module that keeps values of one package offers."""

    def check(self, value: object) -> None:
        """Raise SerializationError if *value* would not come back unchanged."""

    def dump(self, value: object, sink: BinaryIO) -> None:
        """Write *value*, or raise SerializationError."""


class Tabular(Kind, Protocol):
    """One whose values are batches of rows."""

    def parts(self, value: object) -> Parts:
        """What `dump` writes of *value*: a schema, batches and what they stand for."""


def load(content: Content, *, known: bool) -> object:
    """The value in the Arrow stream *content*; *known* if the same bytes were loaded before.

    Raises:
        PayloadError: it is not one whole stream of this plugin.
        PluginError: the value is of a package that is not installed here.
    """
    return made(*_streams.read(content, known=known))


def made(table: pa.Table, description: Description) -> object:
    """The value that *table* was made of.

    Raises:
        PayloadError: its columns are not those of the value that *description* names.
        PluginError: the value is of a package that is not installed here.
    """
    package = description.kind.partition(".")[0]
    try:
        if package == "pandas":
            from strongroom_arrow import _pandas

            return _pandas.load(table, description)
        if package == "polars":
            from strongroom_arrow import _polars

            return _polars.load(table, description)
    except ModuleNotFoundError as exc:
        if exc.name != package:
            raise
        raise PluginError(f"the result is a {description.kind}; to read it, pip install {package}") from exc
    from strongroom_arrow import _tables

    return _tables.load(table, description)
