# SPDX-License-Identifier: Apache-2.0
"""Was a decoder called, or code run, while something was read?"""

from __future__ import annotations

import re
import sys
import threading
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, BinaryIO

from strongroom import Codec, CodecContext, Register, Serializer, hookimpl
from strongroom._plugins import Plugins, installed_plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CODECS", "EVERY_CODEC", "SERIALIZERS", "anything_outside", "code_that_runs", "watched_plugins"]

SERIALIZERS = ("arrow", "arrow.parquet", "json", "pickle")
CODECS = ("compressed", "compressed.lz4", "compressed.gzip", "compressed.bz2", "compressed.xz")
EVERY_CODEC = (*CODECS, "encrypted")

_EVENTS = frozenset(
    {
        *("compile", "exec", "import", "marshal.loads", "pickle.find_class"),
        *("ctypes.dlopen", "os.exec", "os.fork", "os.posix_spawn", "os.system", "socket.connect", "subprocess.Popen"),
    }
)

# The parser of literals compiles, too, and runs nothing: so not "compile".
_OUTSIDE = re.compile(r"(import|exec|open|pickle\.find_class|(ctypes|marshal|os|shutil|socket|subprocess|urllib)\..*)")


class _Watched(Serializer):
    """A serializer that notes when it is asked to load."""

    def __init__(self, inner: Serializer, calls: list[str]) -> None:
        self.id = inner.id
        self._inner = inner
        self._calls = calls

    def dump(self, value: object, sink: BinaryIO) -> None:
        self._inner.dump(value, sink)

    def load(self, source: BinaryIO) -> object:
        self._calls.append(self.id)
        return self._inner.load(source)


class _WatchedCodec(Codec):
    """A codec that notes when it is asked for a reader."""

    def __init__(self, inner: Codec, calls: list[str]) -> None:
        self.id = inner.id
        self.encrypts = inner.encrypts
        self._inner = inner
        self._calls = calls

    def writer(self, sink: BinaryIO, context: CodecContext) -> BinaryIO:
        return self._inner.writer(sink, context)

    def reader(self, source: BinaryIO, context: CodecContext) -> BinaryIO:
        self._calls.append(self.id)
        return self._inner.reader(source, context)


class _Brings:
    """A plugin of these things."""

    def __init__(self, *things: Serializer | Codec) -> None:
        self._things = things

    @hookimpl
    def strongroom_register(self, register: Register) -> None:
        """Offer them."""
        for thing in self._things:
            if isinstance(thing, Serializer):
                register.serializer(thing)
            else:
                register.codec(thing)


def watched_plugins(calls: list[str]) -> Plugins:
    """The real serializers and codecs, each of which adds its id to *calls* when it is asked to decode."""
    real, watched = installed_plugins(None), Plugins(())
    things = [
        *(_Watched(real.serializer(id_), calls) for id_ in SERIALIZERS),
        *(_WatchedCodec(real.codec(id_), calls) for id_ in EVERY_CODEC),
    ]
    for name in sorted({thing.id.partition(".")[0] for thing in things}):
        watched.add(name, _Brings(*(thing for thing in things if thing.id.partition(".")[0] == name)))
    return watched


@contextmanager
def code_that_runs() -> Iterator[list[str]]:
    """The audit events of this thread that mean that code is loaded or run, while the block runs."""
    with _listening(_EVENTS.__contains__) as noted:
        yield noted


@contextmanager
def anything_outside() -> Iterator[list[str]]:
    """As `code_that_runs`, and whatever else reaches out of this process's memory: files, programs, the network."""
    with _listening(lambda event: _OUTSIDE.fullmatch(event) is not None) as noted:
        yield noted


@contextmanager
def _listening(wanted: Callable[[str], bool]) -> Iterator[list[str]]:
    noted: list[str] = []
    listener = _listener()
    listener.noted, listener.wanted = noted, wanted
    try:
        yield noted
    finally:
        listener.noted = None


class _Listener(threading.local):
    """An audit hook, in the one thread that listens."""

    noted: list[str] | None = None
    wanted: Callable[[str], bool]

    def __call__(self, event: str, _: tuple[object, ...]) -> None:
        if self.noted is not None and self.wanted(event):
            self.noted.append(event)


@cache
def _listener() -> _Listener:
    # An audit hook stays until the process ends, so there is one, which listens only when it is asked to.
    listener = _Listener()
    sys.addaudithook(listener)
    return listener
