# SPDX-License-Identifier: Apache-2.0
"""Who implements a hook, and in which order are they asked? The only file that calls pluggy."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import pluggy

from strongroom import hookspecs
from strongroom.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Implementation: TypeAlias = tuple[str, Callable[..., object]]

__all__ = ["Hooks"]

# These are called one by one, each with what the one before it left, which pluggy's own call does not do.
_ONE_BY_ONE = frozenset({"strongroom_mask", "strongroom_outgoing"})


class Hooks:
    """The plugins that are in use. May be called from several threads; `add` and `remove` by one at a time."""

    def __init__(self, register: object) -> None:
        """Let each plugin that is added register itself with *register*."""
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._manager.hook.strongroom_register.call_historic(kwargs={"register": register})
        self.in_turn: Mapping[str, tuple[Implementation, ...]] = _InTurn(self._manager)
        """By hook, the plugins that implement it and their functions, in pluggy's order, which is the last first."""

    def add(self, name: str, plugin: object, accept: Callable[[], None]) -> None:
        """Use *plugin*, unless it raises, or *accept* does, which is asked once it has registered itself."""
        was_there = self._manager.has_plugin(name)
        try:
            self._manager.register(plugin, name=name)
            self._manager.check_pending()
            self._check(plugin)
            accept()
        except BaseException:
            if not was_there and self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            raise
        finally:
            self._forget()

    def remove(self, name: str) -> None:
        """Use the plugin *name* no longer."""
        self._manager.unregister(name=name)
        self._forget()

    def of(self, name: str) -> tuple[str, ...]:
        """The hooks that the plugin *name* implements."""
        plugin = self._manager.get_plugin(name)
        callers = self._manager.get_hookcallers(plugin) if plugin is not None else None
        return tuple(sorted(caller.name for caller in callers or ()))

    def call(self, hook: str, **arguments: object) -> object:
        """What pluggy's own call of *hook* answers."""
        answer: object = getattr(self._manager.hook, hook)(**arguments)
        return answer

    def _forget(self) -> None:
        # A new one: somebody may be about to put into the old one what was true before.
        self.in_turn = _InTurn(self._manager)

    def _check(self, plugin: object) -> None:
        """Refuse what pluggy accepts and then never calls, or what cannot be called one by one."""
        for name in dir(plugin):
            if name.startswith(f"{hookspecs.PROJECT}_") and callable(getattr(plugin, name)):
                options = self._manager.parse_hookimpl_opts(plugin, name)
                if options is None:
                    raise PluginError(f"its function {name} is not a hook: mark it with strongroom.hookimpl")
                if name in _ONE_BY_ONE and (options["wrapper"] or options["hookwrapper"]):
                    raise PluginError(f"its hook {name} must not be a wrapper")


class _InTurn(dict[str, tuple["Implementation", ...]]):
    """What is asked for several times for each document, and of which pluggy makes new lists each time."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        super().__init__()
        self._manager = manager

    def __missing__(self, hook: str) -> tuple[Implementation, ...]:
        caller = getattr(self._manager.hook, hook)
        self[hook] = tuple(
            (each.plugin_name, _by_place(each, caller.spec.argnames)) for each in reversed(caller.get_hookimpls())
        )
        return self[hook]


def _by_place(implementation: pluggy.HookImpl, offered: tuple[str, ...]) -> Callable[..., object]:
    """The function of *implementation*, which may name a part of what is *offered*, as one that is given all of it."""
    function: Callable[..., object] = implementation.function
    if implementation.argnames == offered:
        return function
    places = [offered.index(name) for name in implementation.argnames]
    return lambda *given: function(*(given[place] for place in places))
