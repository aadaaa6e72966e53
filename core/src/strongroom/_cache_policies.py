# SPDX-License-Identifier: Apache-2.0
"""Under which key is a result kept?"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from strongroom._place import as_place
from strongroom.abc import SupportsLeases
from strongroom.errors import DefinitionError, SettingsError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

__all__ = [
    "DEFAULT",
    "FLOW_PARAMETERS",
    "INPUTS",
    "NO_CACHE",
    "RUN_ID",
    "TASK_SOURCE",
    "CachePolicy",
    "IsolationLevel",
    "Part",
]

T = TypeVar("T")


class IsolationLevel(enum.StrEnum):
    """What runs that compute one key at the same time see of each other."""

    READ_COMMITTED = "READ_COMMITTED"
    """Each computes unless there is a result already; the last one's result stays. A result is never half there."""
    SERIALIZABLE = "SERIALIZABLE"
    """One computes and the others wait for its result; a task for which nobody can grant that fails."""


class Part(enum.StrEnum):
    """What a key can be made of, besides the task's name."""

    INPUTS = "inputs"
    TASK_SOURCE = "source"
    FLOW_PARAMETERS = "parameters"
    RUN_ID = "run"


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """What the key of a result is made of: equal for whatever may use the same result.

    ``INPUTS + TASK_SOURCE`` takes both, ``INPUTS - "verbose"`` leaves an input out; the order does not matter. The
    task's name is part of every key, so that tasks with equal inputs do not get each other's results.
    """

    parts: frozenset[Part] = frozenset()
    left_out: frozenset[str] = frozenset()
    """Names of inputs that do not count."""
    key_storage: str | Path | None = None
    lock_manager: SupportsLeases | None = None
    isolation_level: IsolationLevel | None = None

    def __bool__(self) -> bool:
        """False if there is nothing to make a key of, so that nothing is cached."""
        return bool(self.parts)

    def __add__(self, other: CachePolicy) -> CachePolicy:
        """The policy of both; `NO_CACHE` adds nothing.

        Raises:
            DefinitionError: the two are configured in different ways.
        """
        if not isinstance(other, CachePolicy):
            return NotImplemented
        return CachePolicy(
            self.parts | other.parts,
            self.left_out | other.left_out,
            _either("key_storage", self.key_storage, other.key_storage),
            _either("lock_manager", self.lock_manager, other.lock_manager),
            _either("isolation_level", self.isolation_level, other.isolation_level),
        )

    def __sub__(self, name: str) -> CachePolicy:
        """The same without the input *name*."""
        if not isinstance(name, str):
            return NotImplemented
        return dataclasses.replace(self, left_out=self.left_out | {name})

    def configure(
        self,
        *,
        key_storage: str | Path | None = None,
        lock_manager: SupportsLeases | None = None,
        isolation_level: IsolationLevel | str | None = None,
    ) -> Self:
        """The same policy, kept differently; what is not given stays as it is.

        Args:
            key_storage: where the cached results lie, an fsspec URL or a folder, rather than in the result storage.
            lock_manager: who decides which run computes: anything with the ``acquire``, ``renew`` and ``release`` of
                `SupportsLeases`; by default the backend.
            isolation_level: by default one run computes and the others wait, wherever the backend can decide which.

        Raises:
            DefinitionError: one of them cannot be that.
        """
        if lock_manager is not None and not isinstance(lock_manager, SupportsLeases):
            raise DefinitionError("a lock_manager has the methods acquire, renew and release of SupportsLeases")
        if isolation_level is not None and isolation_level not in list(IsolationLevel):
            raise DefinitionError(f"isolation_level is one of {', '.join(IsolationLevel)}")
        if key_storage is not None:
            try:
                as_place(key_storage)
            except SettingsError as exc:
                raise DefinitionError(f"key_storage: {exc}") from None
        level = None if isolation_level is None else IsolationLevel(isolation_level)
        return dataclasses.replace(
            self,
            key_storage=key_storage if key_storage is not None else self.key_storage,
            lock_manager=lock_manager if lock_manager is not None else self.lock_manager,
            isolation_level=level if level is not None else self.isolation_level,
        )


def _either(what: str, one: T, other: T) -> T:
    if one is not None and other is not None and one != other:
        raise DefinitionError(f"two cache policies that are added have a different {what}; configure their sum instead")
    return other if one is None else one


NO_CACHE = CachePolicy()
"""Keep nothing for later runs."""

INPUTS = CachePolicy(frozenset({Part.INPUTS}))
"""The values of the task's inputs."""

TASK_SOURCE = CachePolicy(frozenset({Part.TASK_SOURCE}))
"""The task's source, with what it uses: functions, classes, values of globals and closures."""

FLOW_PARAMETERS = CachePolicy(frozenset({Part.FLOW_PARAMETERS}))
"""The values of the flow's parameters."""

RUN_ID = CachePolicy(frozenset({Part.RUN_ID}))
"""The run: other runs do not use the result, retries and a resumed run do."""

DEFAULT = INPUTS + TASK_SOURCE + RUN_ID
"""The same inputs and source in the same run."""
