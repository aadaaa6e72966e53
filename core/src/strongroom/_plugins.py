# SPDX-License-Identifier: Apache-2.0
"""Which plugins are installed, and what do they bring?"""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar, cast

from strongroom import hookspecs
from strongroom._hooks import Hooks
from strongroom.errors import BrokenPluginError, MissingPluginError, PluginConflictError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from importlib.metadata import EntryPoint
    from pathlib import Path

    from strongroom._hooks import Implementation
    from strongroom.abc import Backend, Codec, Executor, KeySource, ResultHandler, Serializer

__all__ = ["PluginInfo", "Plugins", "entry_points", "installed_plugins"]

T = TypeVar("T")

_log = logging.getLogger("strongroom")

# An id is written into records, between slashes, and read wherever they go.
_ID = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")

# Only names that we publish ourselves: a hint to install whatever name a record carries would be an attack.
_DISTRIBUTIONS = MappingProxyType(
    {
        name: f"strongroom-{name}"
        for name in ("arrow", "cli", "compressed", "encrypted", "json", "kms", "masked", "pickle", "processes", "sql")
    }
    | {"encrypted-uri": "strongroom-encrypted", "masked-uri": "strongroom-masked"}
)


# What core has itself, without a plugin, for those who ask for what there is not.
_BUILT_IN: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "executor": ("sync", "threads"),
        "handler": ("json", "null", "secret", "stored"),
        "backend": ("memory",),
        "key-source": ("file", "environment", "descriptor"),
    }
)


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What `strongroom plugins` says about one plugin."""

    name: str
    distribution: str
    version: str
    ids: tuple[str, ...]
    hooks: tuple[str, ...]
    error: str


_KINDS = ("serializer", "codec", "handler", "backend", "executor", "key-source", "command")


class _Registration:
    """What one plugin offers, until all of it is known to be good."""

    def __init__(self, plugin: str) -> None:
        self._plugin = plugin
        self.offers: dict[str, dict[str, tuple[str, object]]] = {kind: {} for kind in _KINDS}
        self.rules: list[tuple[str, str, str]] = []

    def serializer(self, serializer: Serializer) -> None:
        self._add("serializer", serializer.id, serializer)

    def codec(self, codec: Codec) -> None:
        self._add("codec", codec.id, codec)

    def handler(self, id_: str, factory: Callable[[], ResultHandler]) -> None:
        self._add("handler", id_, factory)

    def backend(self, id_: str, factory: Callable[[str], Backend]) -> None:
        self._add("backend", id_, factory)

    def executor(self, id_: str, factory: Callable[[], Executor]) -> None:
        self._add("executor", id_, factory)

    def key_source(self, id_: str, factory: Callable[[str, Path], KeySource]) -> None:
        self._add("key-source", id_, factory)

    def command(self, id_: str, target: str) -> None:
        self._add("command", id_, target)

    def disposition(self, field: str, disposition: str) -> None:
        self.rules.append((self._plugin, field, disposition))

    def _add(self, kind: str, id_: str, thing: object) -> None:
        if id_.partition(".")[0] != self._plugin:
            raise PluginError(f"its {kind} {id_!r} must be called {self._plugin!r} or {self._plugin + '.'!r}...")
        if not _ID.fullmatch(id_):
            raise PluginError(
                f"its {kind} {id_!r} may have letters, digits, '-', '_' and single dots, and nothing else"
            )
        if id_ in self.offers[kind]:
            raise PluginError(f"it registers the {kind} {id_!r} twice")
        self.offers[kind][id_] = (self._plugin, thing)


class _CurrentRegistration:
    """The `Register` that the historic hook holds on to: it passes calls on to the plugin that is being loaded."""

    def __init__(self) -> None:
        self.current: _Registration | None = None

    def __getattr__(self, name: str) -> object:
        if self.current is None:
            raise PluginError("a plugin registers only while strongroom_register is called")
        return getattr(self.current, name)


def entry_points() -> tuple[EntryPoint, ...]:
    """The plugins that are installed. Nothing of them is imported."""
    # It takes a fifth of all the time that `import strongroom` takes, which uses no plugin.
    from importlib import metadata

    return tuple(metadata.entry_points(group=hookspecs.PROJECT))


@lru_cache(maxsize=8)
def installed_plugins(allow: tuple[str, ...] | None) -> Plugins:
    """The plugins of this process that the setting ``plugins.allow`` allows; the same object for the same setting."""
    return Plugins(entry_points(), allow=allow)


class Plugins:
    """The installed and allowed plugins, each loaded when something of it is first asked for.

    A name that two distributions claim is nobody's: asking for anything of it is a `PluginConflictError`.
    Safe to use from several threads.
    """

    def __init__(self, found: Iterable[EntryPoint], *, allow: Collection[str] | None = None) -> None:
        self._found: dict[str, EntryPoint] = {}
        self._allow = None if allow is None else frozenset(allow)
        # What they offer of each kind, by its id, with the name of the plugin.
        self._offers: dict[str, dict[str, tuple[str, object]]] = {kind: {} for kind in _KINDS}
        self._rules: list[tuple[str, str, str]] = []
        self._broken: dict[str, PluginError] = {}
        for point in found:
            first = self._found.setdefault(point.name, point)
            if first is not point:
                self._broken[point.name] = PluginConflictError("plugin", point.name, _source(first), _source(point))
        self._loaded: set[str] = set()
        self._all_loaded = False
        self._lock = threading.RLock()
        self._register = _CurrentRegistration()
        self._hooks = Hooks(self._register)

    def __reduce__(self) -> tuple[object, ...]:
        # Another process has its own: the same that are installed, without what `add` added to this one.
        return installed_plugins, (None if self._allow is None else tuple(sorted(self._allow)),)

    def serializer(self, id_: str) -> Serializer:
        """The serializer with this id."""
        return self._get("serializer", id_)  # type: ignore[return-value]  # what Register.serializer took

    def codec(self, id_: str) -> Codec:
        """The codec with this id."""
        return self._get("codec", id_)  # type: ignore[return-value]  # what Register.codec took

    def handler(self, id_: str) -> ResultHandler:
        """A new result handler of this id."""
        return self._get("handler", id_)()  # type: ignore[operator, no-any-return]  # what Register.handler took

    def backend(self, id_: str, url: str) -> Backend:
        """A new backend of this id at *url*."""
        return self._get("backend", id_)(url)  # type: ignore[operator, no-any-return]  # what Register.backend took

    def executor(self, id_: str) -> Executor:
        """A new executor of this id."""
        return self._get("executor", id_)()  # type: ignore[operator, no-any-return]  # what Register.executor took

    def key_source(self, id_: str, url: str, home: Path) -> KeySource:
        """A place of this id that keys come from."""
        return self._get("key-source", id_)(url, home)  # type: ignore[operator, no-any-return]  # as above

    def commands(self) -> dict[str, str]:
        """Subcommands that plugins offer: name -> ``module:attribute``."""
        self.load_all()
        return {id_: str(target) for id_, (_, target) in self._offers["command"].items()}

    def has(self, name: str) -> bool:
        """True if the plugin *name* is installed and allowed; it is not loaded for that."""
        return name in self._names()

    def is_registered(self, kind: str, id_: str) -> bool:
        """True if *id_* can be had; loads the plugin that would bring it."""
        try:
            self._get(kind, id_)
        except PluginError:
            return False
        return True

    def choose_serializer(self, value: object) -> Serializer:
        """The serializer that keeps *value* in an ``auto`` chain."""
        self.load_all()
        id_ = cast("str | None", self._hooks.call("strongroom_choose_serializer", value=value))
        if id_ is None:
            hint = "install the one for it: pip install strongroom-json strongroom-pickle strongroom-arrow"
            raise MissingPluginError("serializer for values of the type", type(value).__qualname__, hint)
        return self.serializer(id_)

    def fingerprint(self, value: object) -> bytes | None:
        """Bytes that stand for *value* in a cache key; None if no plugin knows values of its type."""
        self.load_all()
        return cast("bytes | None", self._hooks.call("strongroom_fingerprint", value=value))

    def outgoing(self, document: T) -> T:
        """*document* as the plugins leave it. Whatever an implementation raises is passed on: it vetoes."""
        for _, look in self._in_turn("strongroom_outgoing"):
            changed = look(document)
            document = document if changed is None else cast("T", changed)
        return document

    def rules(self) -> tuple[tuple[str, str, str], ...]:
        """What plugins demand of fields on their way out: (plugin, field, disposition)."""
        self.load_all()
        return tuple(self._rules)

    @property
    def masks(self) -> bool:
        """True if a plugin blots out what is secret in texts."""
        return bool(self._in_turn("strongroom_mask"))

    def mask(self, text: str, name: str = "") -> str:
        """*text* as the plugins leave it. Whatever an implementation raises is passed on: the text may not leave.

        It is the one filter for documents, lines of logs and what is shown; *name* says what the text stands for.
        """
        if not text:
            return text
        for plugin, look in self._in_turn("strongroom_mask"):
            masked = look(text, name)
            if not isinstance(masked, str):
                raise PluginError(f"the plugin {plugin!r} masked a text with something else")
            text = masked
        return text

    def state_changed(self, subject: object, old: object, new: object) -> None:
        """Tell the plugins that *subject* went from *old* to *new*."""
        if self._in_turn("strongroom_state_changed"):
            self._notify("strongroom_state_changed", subject=subject, old=old, new=new)

    def result_written(self, receipt: object) -> None:
        """Tell the plugins that a result was written."""
        if self._in_turn("strongroom_result_written"):
            self._notify("strongroom_result_written", receipt=receipt)

    def _in_turn(self, hook: str) -> tuple[Implementation, ...]:
        if not self._all_loaded:
            self.load_all()
        return self._hooks.in_turn[hook]

    def _notify(self, hook: str, **news: object) -> None:
        try:
            self._hooks.call(hook, **news)
        except Exception as exc:  # a plugin's own code: who is only told of something has no say in it
            _log.warning("a plugin raised %s in %s; the run goes on", type(exc).__name__, hook)

    def add(self, name: str, plugin: object) -> None:
        """Use *plugin*, an object of this process rather than an installed module."""
        with self._lock:
            self._add(name, plugin)

    def remove(self, name: str) -> None:
        """Stop using what `add` added. What it registered under ids stays."""
        with self._lock:
            self._hooks.remove(name)

    def load_all(self) -> None:
        """Load every allowed plugin; a broken one is noted and left out."""
        if self._all_loaded:
            return
        with self._lock:
            for name in self._names():
                self._load(name)
            self._all_loaded = True

    def info(self) -> list[PluginInfo]:
        """All installed plugins by name, those that are broken or not allowed included."""
        self.load_all()
        return [self._info(name, point) for name, point in sorted(self._found.items())]

    def _names(self) -> Iterable[str]:
        return sorted(name for name in self._found if self._allow is None or name in self._allow)

    def _get(self, kind: str, id_: str) -> object:
        offers = self._offers[kind]
        if id_ not in offers:
            with self._lock:
                self._load(id_.partition(".")[0])
        if id_ not in offers:
            raise self._missing(kind, id_)
        return offers[id_][1]

    def _missing(self, kind: str, id_: str) -> PluginError:
        name = id_.partition(".")[0]
        if name in self._broken:
            return self._broken[name].with_traceback(None)
        if name in self._found and name not in self._names():
            hint = f"its plugin is installed but not allowed: add {name!r} to the setting plugins.allow"
        elif name not in self._found and name in _DISTRIBUTIONS:
            hint = f"install it: pip install {_DISTRIBUTIONS[name]}"
        else:
            known = sorted({*self._offers[kind], *_BUILT_IN.get(kind, ())})
            hint = f"known here: {', '.join(known)}" if known else "`strongroom plugins` lists what is installed"
        return MissingPluginError(kind, id_, hint)

    def _load(self, name: str) -> None:
        if name in self._loaded or name in self._broken or name not in self._names():
            return
        self._loaded.add(name)
        try:
            self._add(name, self._found[name].load())
        except PluginConflictError as exc:
            self._broken[name] = exc
        except Exception as exc:  # a plugin's own code: its faults must not stop the rest
            reason = str(exc) if isinstance(exc, PluginError) else f"{type(exc).__name__}: {exc}"
            self._broken[name] = BrokenPluginError(name, " ".join(reason.split()))

    def _add(self, name: str, plugin: object) -> None:
        before, registration = self._register.current, _Registration(name)
        self._register.current = registration

        def accept() -> None:
            for kind, staged in registration.offers.items():
                for id_ in sorted(staged.keys() & self._offers[kind].keys()):
                    raise PluginConflictError(kind, id_, self._offers[kind][id_][0], name)

        try:
            self._hooks.add(name, plugin, accept)
        finally:
            self._register.current = before
        for kind, staged in registration.offers.items():
            self._offers[kind].update(staged)
        self._rules += registration.rules

    def _info(self, name: str, point: EntryPoint) -> PluginInfo:
        error = str(self._broken.get(name, "" if name in self._names() else "not in the setting plugins.allow"))
        distribution = point.dist
        return PluginInfo(
            name=name,
            distribution=distribution.name if distribution else "",
            version=distribution.version if distribution else "",
            ids=tuple(self._ids_of(name)),
            hooks=self._hooks.of(name),
            error=error,
        )

    def _ids_of(self, name: str) -> Iterator[str]:
        for kind, offers in self._offers.items():
            for id_, (plugin, _) in sorted(offers.items()):
                if plugin == name:
                    yield f"{kind}:{id_}"


def _source(point: EntryPoint) -> str:
    """The distribution that an entry point comes with."""
    return point.dist.name if point.dist else point.value
