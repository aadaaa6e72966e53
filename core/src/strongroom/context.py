# SPDX-License-Identifier: Apache-2.0
"""What does running code know about the run that it belongs to?

`context` answers. It is one context variable that holds an immutable mapping, so that threads and asyncio tasks do not
see each other's keys. An asyncio task starts with the keys of whoever made it. A new thread starts with none: run it
through `contextvars.copy_context`, as strongroom's executors do. Another process is handed ``context.to_dict()`` and
enters it by `Context.use`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from strongroom.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextvars import Token
    from typing import NoReturn

__all__ = ["ENGINE_KEYS", "Context", "context", "date_keys"]

_NOTHING: Mapping[str, object] = MappingProxyType({})
_current: ContextVar[Mapping[str, object]] = ContextVar("strongroom.context", default=_NOTHING)


class Context(Mapping[str, object]):
    """The keys of the present run, as attributes and as items. There is one, `context`.

    The attributes below are filled in by the engine while a flow is run. Other keys are the user's::

        with context(customer="abc"):
            flow.run()          # context.customer is "abc" in every task

    A key that has the name of a method, such as ``items``, can be had as an item only.
    """

    __slots__ = ()

    # A task that names `context` is the same task whatever its context holds: what it reads there are no inputs.
    __strongroom_fingerprint__ = "strongroom.context"

    date: datetime
    """When the run started; a run that is resumed keeps it."""
    today: str
    """The day of `date`, as ``YYYY-MM-DD``."""
    yesterday: str
    tomorrow: str
    today_nodash: str
    """The day of `date`, as ``YYYYMMDD``."""
    yesterday_nodash: str
    tomorrow_nodash: str
    scheduled_start_time: datetime
    """When the run should have started."""
    flow_name: str
    run_id: str
    parameters: Mapping[str, object]
    """The values of the flow's parameters in this run."""
    task_name: str
    task_full_name: str
    """The task's name and, in a mapped task, its map index."""
    task_slug: str
    task_run_id: str
    task_run_count: int
    """How often the task was started in this run, this time included."""
    map_index: int | None
    """From 0 in children of a mapped task; None in other tasks."""
    task_tags: frozenset[str]
    loop_count: int
    """Which round of a looping task this is, from 1."""
    loop_result: object
    """What the round before gave with its LOOP signal; None if it gave nothing, and in the first one."""
    resume: bool
    """True while a task is run because somebody resumed it."""
    logger: logging.Logger
    """The logger ``strongroom.task.<task_name>``, or ``strongroom`` outside of tasks. It is always there.

    What a task says there is kept with its run, on this machine, from the level INFO on unless the logger
    ``strongroom.task`` has another.
    """

    def __call__(self, keys: Mapping[str, object] = _NOTHING, /, **more_keys: object) -> _Scope:
        """Add keys for the length of a ``with`` block; then everything is as it was before.

        Raises:
            DefinitionError: a key belongs to the engine.
        """
        added = {**keys, **more_keys}
        taken = ENGINE_KEYS.intersection(added)
        if taken:
            raise DefinitionError(
                f"the engine itself fills in the context's {', '.join(sorted(taken))}; choose another name"
            )
        return _Nested(added)

    def use(self, keys: Mapping[str, object]) -> _Scope:
        """Have exactly *keys* for the length of a ``with`` block, those of the engine included.

        This is how the engine enters a task, and how a test can set the scene for one. The mapping is not copied, so
        it must not change until the block ends.
        """
        return _Scope(keys)

    def to_dict(self) -> dict[str, object]:
        """The keys and values, to be used in another thread or process. The logger is made anew there."""
        return dict(_current.get())

    def __getitem__(self, key: str) -> object:
        keys = _current.get()
        # A logger takes longer to find than a whole task may, and most tasks never ask for it.
        return _logger(keys) if key == "logger" and key not in keys else keys[key]

    def __iter__(self) -> Iterator[str]:
        return iter({**_current.get(), "logger": None})

    def __len__(self) -> int:
        return len(_current.get().keys() | {"logger"})

    def __getattr__(self, name: str) -> object:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the context has no key {name!r}; it has {', '.join(sorted(self))}") from None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"the context is not assigned to; use `with context({name}=...):`")

    def __repr__(self) -> str:
        # Names only: a repr ends up in logs, where no value of the user's belongs.
        return f"<Context: {', '.join(sorted(self))}>"

    def __reduce__(self) -> str:
        return "context"


ENGINE_KEYS = frozenset(Context.__annotations__)
"""The keys that the engine fills in; users cannot set them by ``context(...)``."""


class _Scope:
    """Replaces the keys while a ``with`` block is open. It is entered once."""

    __slots__ = ("_keys", "_token")

    def __init__(self, keys: Mapping[str, object]) -> None:
        self._keys = keys

    def __enter__(self) -> Context:
        self._token: Token[Mapping[str, object]] = _current.set(self._keys)
        return context

    def __exit__(self, *error: object) -> None:
        _current.reset(self._token)


class _Nested(_Scope):
    """Adds to the keys that are there when the block is entered."""

    __slots__ = ()

    def __enter__(self) -> Context:
        self._token = _current.set(MappingProxyType({**_current.get(), **self._keys}))
        return context


context = Context()


def date_keys(now: datetime) -> dict[str, object]:
    """The keys ``date``, ``today``, ``yesterday``, ``tomorrow`` and those without dashes, for a run that starts *now*.

    Days are those of *now*'s own time zone.

    Raises:
        DefinitionError: *now* does not know its time zone.
    """
    if now.utcoffset() is None:
        raise DefinitionError("a run starts at a time that knows its time zone, such as datetime.now(timezone.utc)")
    keys: dict[str, object] = {"date": now}
    for name, days in (("yesterday", -1), ("today", 0), ("tomorrow", 1)):
        day = (now.date() + timedelta(days)).isoformat()
        keys |= {name: day, f"{name}_nodash": day.replace("-", "")}
    return keys


def _logger(keys: Mapping[str, object]) -> logging.Logger:
    return logging.getLogger(f"strongroom.task.{keys['task_name']}" if "task_name" in keys else "strongroom")
