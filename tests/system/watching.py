# SPDX-License-Identifier: Apache-2.0
"""Was a decoder called, or code run, while something was read?"""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, BinaryIO

from strongroom import Codec, CodecContext, Register, Serializer, hookimpl
from strongroom._plugins import Plugins, installed_plugins

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CODECS", "SERIALIZERS", "code_that_runs", "watched_plugins"]

SERIALIZERS = ("arrow", "json", "pickle")
CODECS = ("compressed",)

_EVENTS = frozenset(
    {
        *("compile", "exec", "import", "marshal.loads", "pickle.find_class"),
        *("ctypes.dlopen", "os.exec", "os.fork", "os.posix_spawn", "os.system", "socket.connect", "subprocess.Popen"),
    }
)


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
        self._inner = inner
        self._calls = calls

    def writer(self, sink: BinaryIO, context: CodecContext) -> BinaryIO:
        return self._inner.writer(sink, context)

    def reader(self, source: BinaryIO, context: CodecContext) -> BinaryIO:
        self._calls.append(self.id)
        return self._inner.reader(source, context)


class _Brings:
    """A plugin made of one thing."""

    def __init__(self, thing: Serializer | Codec) -> None:
        self._thing = thing

    @hookimpl
    def strongroom_register(self, register: Register) -> None:
        """Offer it."""
        if isinstance(self._thing, Serializer):
            register.serializer(self._thing)
        else:
            register.codec(self._thing)


def watched_plugins(calls: list[str]) -> Plugins:
    """The real serializers and codecs, each of which adds its id to *calls* when it is asked to decode."""
    real, watched = installed_plugins(None), Plugins(())
    for id_ in SERIALIZERS:
        watched.add(id_, _Brings(_Watched(real.serializer(id_), calls)))
    for id_ in CODECS:
        watched.add(id_, _Brings(_WatchedCodec(real.codec(id_), calls)))
    return watched


@contextmanager
def code_that_runs() -> Iterator[list[str]]:
    """The audit events of this thread that mean that code is loaded or run, while the block runs."""
    noted: list[str] = []
    listener = _listener()
    listener.noted = noted
    try:
        yield noted
    finally:
        listener.noted = None


class _Listener(threading.local):
    """An audit hook, in the one thread that listens."""

    noted: list[str] | None = None

    def __call__(self, event: str, _: tuple[object, ...]) -> None:
        if self.noted is not None and event in _EVENTS:
            self.noted.append(event)


@cache
def _listener() -> _Listener:
    # An audit hook stays until the process ends, so there is one, which listens only when it is asked to.
    listener = _Listener()
    sys.addaudithook(listener)
    return listener
