# SPDX-License-Identifier: Apache-2.0
"""Is there a kept result of a task that can be used instead of running it?"""

from __future__ import annotations

import itertools
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from strongroom import caching
from strongroom._fingerprint import canonical, canonical_source
from strongroom._handlers import StoredHandler
from strongroom.context import context
from strongroom.errors import DefinitionError, HandlerError, StrongroomError
from strongroom.results import Metadata, Receipt, Result
from strongroom.states import Cached

if TYPE_CHECKING:
    from collections.abc import Mapping

    from strongroom._run import Run
    from strongroom._task import Task
    from strongroom.abc import JSONValue

__all__ = ["TaskCache"]

_log = logging.getLogger("strongroom")


class TaskCache:
    """The kept results of one task, for one run of it.

    They lie in the task's result storage, in a folder for each cache key, under a name for each combination of what
    the validator compares: what is computed again for the same combination replaces the record.

    Raises:
        DefinitionError: the task keeps its results where a cache cannot.
        SerializationError: an input or the task's source cannot be told from others.
    """

    def __init__(self, task: Task, run: Run, inputs: Mapping[str, object]) -> None:
        self._task = task
        self._run = run
        self._inputs = inputs
        if task.result_storage_key is not None:
            raise DefinitionError(f"the task {task.slug!r} is cached, so it cannot have a result_storage_key")
        handler = run.handler(task, {})
        if not isinstance(handler, StoredHandler):
            raise DefinitionError(f"the task {task.slug!r} is cached, so its result handler must be 'stored'")
        self._handler = handler
        self._validator = task.cache_validator or caching.duration_only
        self._folder = self._cache_folder()
        self._fingerprints = self._present_fingerprints() if self._folder else {}

    @property
    def is_on(self) -> bool:
        """False if the task's ``cache_key_fn`` said that this run is not to be cached."""
        return self._folder is not None

    def read(self) -> Cached | None:
        """The newest kept result that has not expired and that the validator accepts."""
        if self._folder is None or self._task.refresh_cache:
            return None
        for metadata in self._candidates(self._folder):
            state = self._state(metadata)
            if self._validator(state, self._inputs, self._run.parameters):
                try:
                    value = self._handler.store.read(metadata.key, object_=metadata.object).result
                except StrongroomError as exc:
                    self._warn(exc)
                else:
                    return state.replace(result=self._result(value, self._reference(metadata)))
        return None

    def write(self, value: object) -> Result:
        """Keep *value* for later runs.

        Raises:
            HandlerError: it cannot be kept.
        """
        pairs = itertools.chain.from_iterable(sorted(self._fingerprints.items()))
        name = self._run.project.keyring.token("cached", *pairs)
        expires = None
        if self._task.cache_for is not None:
            expires = int(self._run.clock() * 1e6) + self._task.cache_for // timedelta(microseconds=1)
        try:
            receipt = self._handler.store.write(
                value, f"{self._folder}/{name}", expires=expires, fingerprints=self._fingerprints
            )
        except Exception as exc:  # serializers and storages are plugins: whatever they raise, the result was not kept
            raise HandlerError(self._handler.id, "write", exc) from exc
        return self._result(value, receipt.to_reference())

    def _cache_folder(self) -> str | None:
        task, keyring = self._task, self._run.project.keyring
        if task.cache_key_fn is not None:
            key = task.cache_key_fn(context, self._inputs)
            if key is not None and not isinstance(key, str):
                raise DefinitionError(f"cache_key_fn of the task {task.slug!r} gave a {type(key).__name__}, not a str")
            return None if key is None else f"cache/{keyring.cache_key('function', key)}"
        if task.cache_key is not None:
            return f"cache/{keyring.cache_key('key', task.cache_key)}"
        return f"cache/{keyring.cache_key('source', task.name, canonical_source(task.run))}"

    def _present_fingerprints(self) -> dict[str, str]:
        """For what the validator compares: a token for the name -> a keyed fingerprint of the value."""
        chosen = [("input", self._inputs, getattr(self._validator, "inputs", ()))]
        chosen.append(("parameter", self._run.parameters, getattr(self._validator, "parameters", ())))
        keyring = self._run.project.keyring
        return {
            keyring.token(kind, name): keyring.cache_key("value", canonical(values.get(name), f"${{{name}}}"))
            for kind, values, names in chosen
            for name in (values if names is None else names)
        }

    def _candidates(self, folder: str) -> list[Metadata]:
        """What is kept, not expired, and computed from what the validator compares; the newest first."""
        now = int(self._run.clock() * 1e6)
        found = []
        for key in self._handler.store.keys(folder):
            try:
                metadata = self._handler.store.unverified_metadata(key)
            except StrongroomError as exc:
                self._warn(exc)
                continue
            alive = metadata.expires is None or now < metadata.expires
            if alive and metadata.fingerprints == self._fingerprints:
                found.append(metadata)
        return sorted(found, key=lambda metadata: metadata.created, reverse=True)

    def _state(self, metadata: Metadata) -> Cached:
        expires = metadata.expires
        return Cached(
            "used the result of an earlier run",
            cached_result_expiration=None if expires is None else datetime.fromtimestamp(expires / 1e6, UTC),
            fingerprints=metadata.fingerprints,
        )

    def _reference(self, metadata: Metadata) -> dict[str, JSONValue]:
        store = self._handler.store
        return Receipt(store.url, metadata.key, metadata.object, metadata.chain, metadata.size).to_reference()

    def _result(self, value: object, reference: JSONValue) -> Result:
        return Result.from_reference(reference, self._handler, self._run.slot(self._task), value=value)

    def _warn(self, error: StrongroomError) -> None:
        _log.warning("a cached result of the task %r is left out and computed again: %s", self._task.slug, error)
