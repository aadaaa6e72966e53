# SPDX-License-Identifier: Apache-2.0
"""Which codecs and which serializer turn a value into bytes, and back?"""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, cast

from strongroom._buffers import CHUNK, BoundedReader, CountingWriter
from strongroom._mapped import MappedReader
from strongroom.abc import Codec, CodecContext, Serializer
from strongroom.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from strongroom._plugins import Plugins

__all__ = ["AUTO", "MOST_CODECS", "Chain", "as_chain", "unpacks_to_too_much"]

AUTO = "auto"
MOST_CODECS = 16
"""Each calls the next one: with some hundred of them Python would run out of stack."""
_BUFFER = 1 << 16
_MOST_TIMES = 1 << 16
_ALWAYS_FINE = 64 << 20


@dataclass(frozen=True, slots=True)
class Chain:
    """Codecs, outermost first, then one serializer; None stands for the one that suits the value (`AUTO`)."""

    codecs: tuple[Codec, ...]
    serializer: Serializer | None
    id: str = field(init=False, compare=False)
    """Such as ``compressed/arrow``."""
    encrypts: bool = field(init=False, compare=False)
    """True if one of the codecs does."""

    def __post_init__(self) -> None:
        if not all(isinstance(codec, Codec) for codec in self.codecs):
            raise SettingsError("the first part of a chain is codecs, such as those of strongroom-compressed")
        if len(self.codecs) > MOST_CODECS:
            raise SettingsError(f"a chain has at most {MOST_CODECS} codecs, and this one has {len(self.codecs)}")
        if not isinstance(self.serializer, Serializer | None):
            raise SettingsError("the last part of a chain is a serializer, such as JSON() of strongroom-json, or None")
        # Once for each chain: both are asked for several times for each record that is read.
        last = self.serializer.id if self.serializer else AUTO
        object.__setattr__(self, "id", "/".join([*(codec.id for codec in self.codecs), last]))
        object.__setattr__(self, "encrypts", any(codec.encrypts for codec in self.codecs))

    def for_value(self, value: object, plugins: Plugins) -> Chain:
        """This chain with the serializer that *value* is written with."""
        return self if self.serializer else Chain(self.codecs, plugins.choose_serializer(value))

    def dump(self, value: object, sink: BinaryIO, context: CodecContext) -> int | None:
        """Write *value* to *sink*; returns the size before the codecs, or None if there are none."""
        assert self.serializer is not None  # noqa: S101  # for_value made sure of it
        if not self.codecs:
            self.serializer.dump(value, sink)
            return None
        files = [sink]
        for codec in self.codecs:
            files.append(codec.writer(files[-1], context))
        counter = CountingWriter(files[-1].write)
        buffered = cast("BinaryIO", io.BufferedWriter(counter, _BUFFER))
        try:
            self.serializer.dump(value, buffered)
            buffered.flush()
        except BaseException:
            counter.discard()
            raise
        # Only after the value is complete: closing a codec marks its output as complete.
        for file in reversed(files[1:]):
            file.close()
        return counter.size

    def load(self, source: BinaryIO, size: int, context: CodecContext, complaint: Callable[[], Exception]) -> object:
        """The value in *source*, which the codecs may make into *size* bytes; were it more, *complaint* is raised."""
        assert self.serializer is not None  # noqa: S101  # records never carry AUTO
        if not self.codecs:
            value = self.serializer.load(source)
            if isinstance(source, MappedReader):
                source.remember_loaded(self.serializer)
            return value
        with ExitStack() as files:
            for codec in self.codecs:
                source = files.enter_context(codec.reader(source, context))
            bounded = io.BufferedReader(BoundedReader(source, size, complaint), min(CHUNK, size + 1))
            return self.serializer.load(cast("BinaryIO", bounded))


def unpacks_to_too_much(size: int, decoded_size: int) -> bool:
    """True if no record of *size* bytes of payload may state that it becomes *decoded_size* bytes.

    What a record states is authentic, but whoever may write records could state anything. The most that zstd makes of
    a byte is 32 KiB, and what needs more is better off without the codec: so a few bytes never take gigabytes.
    """
    return decoded_size > max(_ALWAYS_FINE, size * _MOST_TIMES)


def as_chain(what: str | Serializer | Chain, plugins: Plugins) -> Chain:
    """The chain that *what* describes: ``"compressed/json"``, a serializer, or a chain.

    Raises:
        MissingPluginError: an id is not registered; the message says what to install.
        SettingsError: it is no chain.
    """
    if isinstance(what, Chain):
        return what
    if isinstance(what, Serializer):
        return Chain((), what)
    if not isinstance(what, str):
        kind = what.__qualname__ if isinstance(what, type) else f"a {type(what).__qualname__}"
        raise SettingsError(f"{kind} is no serializer and no chain; give an instance, or name it: 'compressed/json'")
    if not all(what.split("/")):
        raise SettingsError(f"{what!r} is no chain of codecs and one serializer, such as 'compressed/json'")
    *codecs, last = what.split("/")
    serializer = None if last == AUTO else plugins.serializer(last)
    return Chain(tuple(plugins.codec(id_) for id_ in codecs), serializer)
