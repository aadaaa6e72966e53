# SPDX-License-Identifier: Apache-2.0
"""Is there a kept result of a task that can be used instead of running it, and who computes it if there is none?"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from strongroom._base_state import put
from strongroom._cache_key import CacheKey
from strongroom._cache_policies import IsolationLevel
from strongroom._handlers import StoredHandler
from strongroom._interrupts import RunEnds, pause
from strongroom._turn import leases_for, wait_for_turn
from strongroom.caching import duration_only, never_use
from strongroom.documents import CacheInfo
from strongroom.errors import HandlerError, NotFoundError, StrongroomError
from strongroom.results import Receipt, Result, ResultRecord
from strongroom.states import Cached

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from strongroom._leases import Held
    from strongroom._run import Run
    from strongroom._task import Task
    from strongroom._transactions import OpenTransaction

__all__ = ["TaskCache"]

_log = logging.getLogger("strongroom")


class TaskCache:
    """The kept result that may stand for one run of a task: looked for, waited for, or written.

    Raises:
        DefinitionError: the task keeps its results where a cache cannot.
        SerializationError: an input or the task's source cannot be told from others.
    """

    def __init__(
        self,
        task: Task,
        run: Run,
        inputs: Mapping[str, object],
        map_index: int = -1,
        transaction: OpenTransaction | None = None,
        *,
        sleep: Callable[[float], None] = pause,
    ) -> None:
        self._task = task
        self._map_index = map_index
        self._run = run
        # To leave an input out is to give it the value that the task has for it.
        self._inputs = inputs = {**defaults, **inputs} if (defaults := task.defaults()) else inputs
        self._transaction = transaction
        self._sleep = sleep
        self._handler = _handler(task, run)
        self._validator = task.cache_validator or duration_only
        self._key = CacheKey.of(task, run, inputs)
        self._held: Held | None = None
        self._resources: ExitStack | None = None
        self._said = ("", False) if self._key else ("cache_key_fn gave no key", False)
        self._told = ("", False)

    @property
    def is_on(self) -> bool:
        """False if the task's ``cache_key_fn`` said that this run is not to be cached."""
        return self._key is not None

    def read(self) -> Cached | None:
        """The kept result, if there is one that has not expired and that the validator accepts.

        One that cannot be read counts as none, and a warning says why.
        """
        if self._key is None:
            return None
        if self._task.refresh_cache or self._validator is never_use:
            return self._miss("refresh_cache is set" if self._task.refresh_cache else "the validator is never_use")
        try:
            return self._judge(self._find(self._key.path))
        except NotFoundError:
            return self._read_older()
        except StrongroomError as exc:
            return self._unreadable(str(exc))

    def _read_older(self) -> Cached | None:
        """What was kept under the name that the result had before the keys were rotated."""
        for keyring in self._run.project.keyring.older():
            key = CacheKey.of(self._task, self._run, self._inputs, keyring)
            try:
                if key is not None:
                    return self._judge(self._find(key.path))
            except NotFoundError:
                continue
            except StrongroomError as exc:
                return self._unreadable(str(exc))
        return self._miss("nothing is kept under its key")

    def take_turn(self) -> Cached | None:
        """Wait for the right to compute; a result if another run has computed it meanwhile.

        The right lasts until `release`. It is had at once where nobody can say who computes: then several may.

        Raises:
            DefinitionError: the task insists that only one computes.
            BackendError: that is so, and the backend cannot be asked now.
        """
        if self._key is None or self._task.refresh_cache or self._validator is never_use:
            return None
        self._resources = ExitStack()
        leases = leases_for(self._task, self._run, self._resources)
        if leases is None:
            return None
        policy = self._task.cache_policy
        insist = policy is not None and policy.isolation_level is IsolationLevel.SERIALIZABLE
        name = self._run.project.keyring.lease("turn", self._handler.store.url, self._key.path)
        turn = wait_for_turn(leases, name, self.read, self._rest, insist=insist)
        if isinstance(turn, Cached):
            self._said = ("another run computed it while this one waited", True)
            return turn
        self._held = turn
        return None

    def write(self, value: object) -> Result:
        """Keep *value* for later runs; for this one alone if another run has got the turn meanwhile.

        Raises:
            HandlerError: it cannot be kept.
        """
        assert self._key is not None  # noqa: S101  # is_on was asked
        if self._held is not None and self._held.lost:
            # Whoever has the turn now may have written already, and what is older must not look like the newest.
            self._said = ("the turn to compute was lost, so the result was kept for this run only", False)
            return Result(value, self._handler).serialize(self._run.slot(self._task, self._map_index))
        store, path = self._handler.store, self._key.path
        if self._transaction is not None:
            path = store.key_for(self._run.slot(self._task, self._map_index))
        expires = None
        if self._task.cache_for is not None:
            expires = int(self._run.clock() * 1e6) + self._task.cache_for // timedelta(microseconds=1)
        try:
            receipt = store.write(value, path, expires=expires, fingerprints=self._key.fingerprints)
        except Exception as exc:  # serializers and storages are plugins: whatever they raise, the result was not kept
            raise HandlerError(self._handler.id, "write", exc) from exc
        return self._result(value, receipt)

    def release(self) -> None:
        """Give the turn back; nothing happens if there is none."""
        held, self._held = self._held, None
        if held is not None:
            held.release()
        if self._resources is not None:
            self._resources.close()

    def news(self) -> CacheInfo | None:
        """What was decided, and why; None if that was told before."""
        if self._said == self._told:
            return None
        self._told = self._said
        reason, hit = self._said
        if self._key is None:
            return CacheInfo(key="", hit=hit, reason=reason, parts={})
        return CacheInfo(key=self._key.path, hit=hit, reason=reason, parts=dict(self._key.parts))

    def _rest(self, seconds: float) -> None:
        """Wait for a moment, unless the run ends: nobody knows for how long another one computes."""
        if self._run.stopping.is_set():
            raise RunEnds
        self._run.listen()
        self._sleep(seconds)

    def _find(self, path: str) -> ResultRecord:
        store = self._handler.store
        if self._transaction is None:
            return store.read(path)
        receipt = self._transaction.find(path)
        if receipt is None or receipt.storage != store.url:
            raise NotFoundError(store.locate(path))
        return store.read(receipt.key, object_=receipt.object)

    def _judge(self, record: ResultRecord) -> Cached | None:
        metadata = record.metadata
        expires = metadata.expires
        if expires is not None and self._run.clock() * 1e6 >= expires:
            return self._miss("what is kept under its key has expired")
        state = Cached(
            "used the result of an earlier run",
            cached_result_expiration=None if expires is None else datetime.fromtimestamp(expires / 1e6, UTC),
            fingerprints=metadata.fingerprints,
        )
        if not self._validator(state, self._inputs, self._run.parameters):
            return self._miss("the validator did not accept what is kept under its key")
        try:
            value = record.result
        except StrongroomError as exc:
            return self._unreadable(str(exc))
        except Exception as exc:  # a serializer is a plugin: whatever it raises, there is no value
            return self._unreadable(f"its serializer raised {type(exc).__name__}")
        receipt = Receipt(self._handler.store.url, metadata.key, metadata.object, metadata.chain, metadata.size)
        result = self._result(value, receipt)
        self._said = ("the result that is kept under its key is used", True)
        # The validator has seen it without its value; nobody else has seen it yet.
        put(state, "_result", result.forget_value() if self._run.forgets(self._task) else result)
        return state

    def _result(self, value: object, receipt: Receipt) -> Result:
        if self._transaction is not None and self._key is not None:
            self._transaction.stage(self._key.path, receipt)
        slot = self._run.slot(self._task, self._map_index)
        return Result.from_reference(receipt.to_reference(), self._handler, slot, value=value)

    def _miss(self, reason: str) -> Cached | None:
        self._said = (reason, False)
        return None

    def _unreadable(self, problem: str) -> Cached | None:
        # Whoever waits looks again and again: once is enough to be told.
        if self._said[0] != (reason := f"what is kept under its key cannot be read: {problem}"):
            _log.warning("a cached result of the task %r is left out and computed again: %s", self._task.slug, problem)
        return self._miss(reason)


def _handler(task: Task, run: Run) -> StoredHandler:
    storage = task.cache_policy.key_storage if task.cache_policy else None
    handler = run.handler(task, {}) if storage is None else run.stored(task, storage)
    assert isinstance(handler, StoredHandler)  # noqa: S101  # `Run.check` has seen to that
    return handler
