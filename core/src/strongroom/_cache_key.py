# SPDX-License-Identifier: Apache-2.0
"""Which key does a result of a task have in this run, and what is the key made of?"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping  # msgspec looks at it
from typing import TYPE_CHECKING

import msgspec

from strongroom._cache_policies import Part
from strongroom._fingerprint import canonical, uses_nothing
from strongroom._function_task import FunctionTask
from strongroom._task import Task
from strongroom.caching import duration_only
from strongroom.context import context
from strongroom.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from strongroom._run import Run
    from strongroom.keyring import Keyring

__all__ = ["CacheKey"]

# The name of the only record in its folder, where nothing is compared.
_ANY = "any"
# What a key is made of, beside the name of the task, where nobody has said it.
_SOURCE_ALONE = frozenset({Part.TASK_SOURCE})


class CacheKey(msgspec.Struct, frozen=True):
    """Where the one result lies that may stand for a run of a task.

    There is a folder for each key that the task, its policy or its function gives, and in it a record for each
    combination of what the validator compares: to be computed again for the same combination replaces the record, and
    another combination has another one.
    """

    path: str
    """The key of the record in its store."""
    parts: Mapping[str, str]
    """What the path follows from, such as ``input x`` -> a keyed fingerprint of its value."""
    fingerprints: Mapping[str, str]
    """What the validator compares: a token for the name -> a keyed fingerprint of the value."""

    @classmethod
    def of(cls, task: Task, run: Run, inputs: Mapping[str, object], keyring: Keyring | None = None) -> CacheKey | None:
        """The key for *task* in *run* with these *inputs*; None if its ``cache_key_fn`` said that there is none.

        *keyring* is another one than the run's where somebody looks for what was kept before the keys were rotated.

        Raises:
            DefinitionError: ``cache_key_fn`` gave something else than a text.
            SerializationError: what the key is made of cannot be told from others.
        """
        keyring = keyring or run.project.keyring
        maker = _Maker(task, run, inputs, keyring)
        parts = maker.key_parts()
        if parts is None:
            return None
        folder = keyring.cache_key("parts", *_flat(parts))
        validator = task.cache_validator
        compared = {} if validator is None or validator is duration_only else maker.compared_parts(validator)
        if not compared:
            return cls(f"cache/{folder}/{_ANY}", parts, compared)
        fingerprints = {keyring.token("compared", label): each for label, each in compared.items()}
        name = keyring.token("cached", *_flat(fingerprints))
        return cls(f"cache/{folder}/{name}", {**parts, **compared}, fingerprints)


class _Maker:
    def __init__(self, task: Task, run: Run, inputs: Mapping[str, object], keyring: Keyring) -> None:
        self._keyring = keyring
        self._task = task
        self._run = run
        self._inputs = inputs
        self._foreign = run.project.plugins.fingerprint
        # Under other keys everything has other prints.
        self._known = run.prints if keyring is run.project.keyring else {}

    def key_parts(self) -> dict[str, str] | None:
        task = self._task
        if task.cache_key_fn is not None:
            key = task.cache_key_fn(context, self._inputs)
            if key is not None and not isinstance(key, str):
                raise DefinitionError(f"cache_key_fn of the task {task.slug!r} gave a {type(key).__name__}, not a str")
            return None if key is None else {"cache_key_fn": self._print(key, "its key")}
        if task.cache_key is not None:
            return {"cache_key": self._print(task.cache_key, "cache_key")}
        # Two tasks of one source, or with one input, do not stand for each other: their names tell them apart.
        parts = {"task": self._name()}
        policy = task.cache_policy
        chosen = _SOURCE_ALONE if policy is None or not policy.parts else policy.parts
        if Part.TASK_SOURCE in chosen:
            parts["source"] = self._source()
        if Part.RUN_ID in chosen:
            parts["run"] = self._print(self._run.id, "run id")
        if Part.INPUTS in chosen:
            left_out = policy.left_out if policy is not None else frozenset()
            inputs = {k: v for k, v in self._inputs.items() if k not in left_out} if left_out else self._inputs
            self._add_named("input", inputs, parts)
        if Part.FLOW_PARAMETERS in chosen:
            self._add_named("parameter", self._run.parameters, parts)
        return parts

    def _name(self) -> str:
        name = self._task.name
        if (known := self._known.get(name)) is None:
            known = self._known[name] = (None, self._keyring.cache_key("name", name))
        return known[1]

    def compared_parts(self, validator: Callable[..., bool]) -> dict[str, str]:
        parts: dict[str, str] = {}
        for kind, values in (("input", self._inputs), ("parameter", self._run.parameters)):
            names = getattr(validator, f"{kind}s", ())
            chosen = values if names is None else {name: values.get(name) for name in names}
            self._add_named(kind, chosen, parts)
        return parts

    def _add_named(self, kind: str, values: Mapping[str, object], parts: dict[str, str]) -> None:
        for name, value in values.items():
            parts[f"{kind} {name}"] = self._print(value, f"${{{name}}}")

    def _source(self) -> str:
        task = self._task
        if isinstance(task, FunctionTask):
            function = task.run
            # What a function uses may have changed since it was last called. One that uses nothing has not changed.
            if not uses_nothing(function):
                return self._print(function, task.name)
            known = self._known.get(function)
            # By identity: code is hashed and compared by all its instructions.
            if known is None or known[0] is not function.__code__:
                known = self._known[function] = (function.__code__, self._print(function, task.name))
            return known[1]
        # What an instance of a subclass was made with decides what it does as much as its source.
        own = {
            name: self._print(value, f"{task.name}.{name}")
            for name, value in vars(task).items()
            if name not in _attributes_of_every_task()
        }
        return self._print((type(task), own), task.name)

    def _print(self, value: object, where: str) -> str:
        return self._keyring.cache_key("value", canonical(value, where, foreign=self._foreign))


def _flat(pairs: Mapping[str, str]) -> Iterator[str]:
    return itertools.chain.from_iterable(sorted(pairs.items()))


@functools.cache
def _attributes_of_every_task() -> frozenset[str]:
    return frozenset(vars(Task(name="any")))
