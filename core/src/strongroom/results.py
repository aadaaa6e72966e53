# SPDX-License-Identifier: Apache-2.0
"""Where are results kept, and how are they read back?"""

from __future__ import annotations

import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom import _record, _rewriting
from strongroom._chain import AUTO, Chain, as_chain, unpacks_to_too_much
from strongroom._garbage import Collected, Collecting, Garbage, Marks, References, RunReferences
from strongroom._mapped import MappedFiles
from strongroom._place import as_place
from strongroom._plugins import installed_plugins
from strongroom._reading import Reading
from strongroom._result import NoResult, Result
from strongroom._storage import Entry, check_key, open_storage
from strongroom._stored import Checked, Metadata, Receipt, ResultRecord
from strongroom.abc import CodecContext, Slot
from strongroom.errors import (
    DamagedError,
    SerializationError,
    SettingsError,
)
from strongroom.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from strongroom._place import Where
    from strongroom._plugins import Plugins
    from strongroom._record import Suite
    from strongroom.abc import Serializer

__all__ = [
    "Chain",
    "Checked",
    "Collected",
    "Entry",
    "Garbage",
    "Metadata",
    "NoResult",
    "Receipt",
    "References",
    "Result",
    "ResultRecord",
    "ResultStore",
    "RunReferences",
]

_DATA_KEY_SIZE = 32
_GRACE = timedelta(days=1)


class ResultStore:
    """Results as authenticated records in one storage.

    A reader accepts only records whose chain consists of ids in *allow* or in its own *serializer*; what lies in
    storage has no say in that. A reader whose *serializer* encrypts, or that was told to *require_encryption*, takes
    no plain record.
    """

    def __init__(
        self,
        storage: Where,
        *,
        serializer: str | Serializer | Chain = AUTO,
        keyring: Keyring | None = None,
        allow: Collection[str] | None = None,
        require_encryption: bool | None = None,
        suite: Suite | None = None,
        plugins: Plugins | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Use the records at *storage*.

        That is a folder, an fsspec URL, (URL, options), (file system, folder), or a path of universal_pathlib. What is
        not given comes from the settings: keyring, ``results.allow``, ``results.suite``, ``plugins.allow``, options of
        the storage.

        Raises:
            SettingsError: encryption is required, and *serializer* does not encrypt; *storage* is none; *allow* is one
                text, or *suite* is unknown.
        """
        place = as_place(storage)
        if isinstance(allow, str):
            raise SettingsError(f"allow is a set of ids; write {{{allow!r}}}")
        if suite is not None and suite not in _record.SUITES:
            raise SettingsError(f"there is no suite {suite!r}; there are {', '.join(_record.SUITES)}")
        if keyring is None or allow is None or plugins is None or require_encryption is None or suite is None:
            from strongroom import _key_choice, _settings_loading  # runs have read them, and give all of this

            settings = _settings_loading.load(os.environ, Path.cwd())
            keyring = keyring or Keyring.from_source(_key_choice.key_source(settings))
            allow = settings.results.allow if allow is None else allow
            suite = suite or settings.results.suite
            plugins = plugins or installed_plugins(settings.plugins.allow)
            if require_encryption is None:
                require_encryption = settings.results.require_encryption
            place = place.options_with(settings.storage)
        self._place = place
        self._storage = open_storage(place)
        self._plugins = plugins
        self._chain = as_chain(serializer, plugins)
        if require_encryption and not self._chain.encrypts:
            chain = self._chain.id
            raise SettingsError(f"results.require_encryption is set: use the chain 'encrypted/{chain}', not {chain!r}")
        self._keyring = keyring
        self._suite: Suite = sys.intern(suite)  # type: ignore[assignment]  # the same text
        self._allow = frozenset(allow) | frozenset(self._chain.id.split("/"))
        self._clock = clock
        self._files = MappedFiles(clock)
        self._reading = Reading(self._chain, self._allow, keyring, plugins, self._files)

    def __reduce__(self) -> tuple[object, ...]:
        self._place.check_for_other_processes()
        options = {"serializer": self._chain, "keyring": self._keyring, "allow": self._allow, "plugins": self._plugins}
        return _reopened, (self.url, {**options, "require_encryption": False, "suite": self._suite})

    @property
    def url(self) -> str:
        """The URL of the storage."""
        return self._storage.url

    @property
    def chain(self) -> str:
        """The chain that `write` uses, such as ``auto`` or ``compressed/json``."""
        return self._chain.id

    def locate(self, key: str) -> str:
        """The place of *key* as a person would look it up."""
        return self._storage.locate(key)

    def key_for(self, slot: Slot) -> str:
        """The key of the result of *slot*: always the same one, so that whoever lost a reference finds the record.

        A folder for each run keeps together what belongs together; what the task is called does not show.
        """
        return _slot_key(slot, self._keyring)

    def keys_for(self, slot: Slot) -> Iterator[str]:
        """`key_for`, and then the keys that *slot* had before the keyring was rotated, the latest first."""
        yield self.key_for(slot)
        yield from (_slot_key(slot, older) for older in self._keyring.older())

    def write(
        self,
        value: object,
        key: str | None = None,
        *,
        expires: int | None = None,
        fingerprints: Mapping[str, str] | None = None,
    ) -> Receipt:
        """Keep *value* under *key*, replacing what was there, or under a new random key.

        It is durable when this returns. From *expires* on, in microseconds since 1970-01-01 UTC, it may be deleted.

        Raises:
            TypeError: *expires* is no number of microseconds.
            SerializationError: the serializer cannot keep it.
            StorageError: the storage cannot; *key* is as it was.
        """
        if expires is not None and type(expires) is not int:
            # It would be written as it is, and nobody could read the record.
            raise TypeError(f"expires is in microseconds since 1970, an int; this is a {type(expires).__name__}")
        id_ = os.urandom(16).hex()
        key = check_key(f"results/{id_}" if key is None else key)
        chain = self._chain.for_value(value, self._plugins)
        self._check_is_allowed(chain)
        header = _record.Header(
            chain=chain.id,
            object=id_,
            key=self._keyring.primary,
            created=self._clock() // 1000,
            suite=self._suite,
            expires=expires,
            fingerprints=dict(fingerprints or {}),
        )
        codec_context = CodecContext(_record.codec_binding(key, id_))
        if chain.encrypts:
            codec_context = CodecContext(codec_context.binding, data_key=os.urandom(_DATA_KEY_SIZE))
            header = _record.with_data_key(header, codec_context.data_key, key, self._keyring)
        with self._storage.create(key) as sink:
            writer = _record.RecordWriter(sink, header, _record.bound_to(key), self._keyring)
            try:
                decoded_size = chain.dump(value, writer.payload, codec_context)
                payload_size, size = writer.finish(decoded_size)
                if unpacks_to_too_much(payload_size, decoded_size or 0):
                    reason = "it gets so small that no reader would unpack it; keep it without the last codec"
                    raise SerializationError(chain.id, reason)
            except BaseException:
                writer.abandon()
                raise
        receipt = Receipt(self._storage.url, key, id_, chain.id, size)
        self._plugins.result_written(receipt)
        return receipt

    def _check_is_allowed(self, chain: Chain) -> None:
        """Complain about what the same store would not read: `AUTO` may have chosen it for one value."""
        assert chain.serializer is not None  # noqa: S101  # it was chosen
        if chain is not self._chain and chain.serializer.id not in self._allow:
            needed = chain.serializer.id
            raise SerializationError(AUTO, f"{needed!r} would, but results.allow lacks it; allow it, or choose another")

    def read(
        self, key: str, *, allow: Collection[str] = (), object_: str | None = None, size: int | None = None
    ) -> ResultRecord:
        """The record under *key*; *allow* names further ids of serializers and codecs to accept.

        All of it is authenticated before this returns, and nothing of it is decoded before that. One that has expired
        is read for as long as it is there: a run that is resumed needs what it refers to. If *object_* is
        given, only that record is accepted, not a later one under the same key; if *size* is given, only one of so
        many bytes, so that a planted file cannot take more memory than the record would.

        Raises:
            NotFoundError: there is none.
            NotEncryptedError: it is plain, and this reader takes encrypted ones only.
            DamagedError: its bytes are not those that were written under this key.
        """
        location = self._storage.locate(key)
        source, stored_size = self._storage.open(key)
        with source:
            if size is not None and stored_size != size:
                raise DamagedError(location)
            return self._reading.read(source, stored_size, key=key, location=location, object_=object_, allow=allow)

    def former(self, key_id: str | None = None) -> Iterator[str]:
        """The keys of all records under *key_id*, or under any but the primary. Nothing is verified for that."""
        return _rewriting.former(self._storage, self._keyring, key_id)

    def rewrite(self, key: str) -> bool:
        """Tag the record under *key* with the primary key, and wrap its data key with it; False if that is so already.

        It keeps its id, size and payload, so references still lead to it. It is replaced as a whole or not at all, so
        this may be stopped at any point and done again. Let nobody write to *key* meanwhile: that could be lost.

        Raises:
            DamagedError: the record is not authentic; it is left as it is.
        """
        return _rewriting.rewrite(self._storage, key, self._keyring)

    def unverified_metadata(self, key: str) -> Metadata:
        """What the first line of the record under *key* says, read without its payload and so not authenticated.

        Raises:
            NotFoundError: there is none.
            DamagedError: what is there is no record.
        """
        source, size = self._storage.open(key)
        with source:
            header, _ = _record.read_header(source, self.locate(key))
        return Metadata.of(key, size, header)

    def exists(self, key: str) -> bool:
        """True if there is a record under *key*; its payload is not read.

        Raises:
            DamagedError: something else is there.
        """
        if not self._storage.exists(key):
            return False
        self.unverified_metadata(key)
        return True

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """What lies in the folder *prefix* and below it, in no order and without opening any of it."""
        return self._storage.walk(prefix)

    def delete(self, key: str) -> None:
        """See to it that there is nothing under *key*, whether or not there was. A state may still refer to it."""
        self._storage.delete(key)

    def check(self, key: str) -> Metadata:
        """Read and authenticate all of the record under *key* in little memory, decoding nothing.

        Raises:
            NotFoundError: there is none.
            DamagedError: its bytes are not those that were written under this key, or with a key that is not here.
        """
        location = self.locate(key)
        source, size = self._storage.open(key)
        with source:
            header = _record.authenticate(
                source, size, location=location, context=_record.bound_to(key), keyring=self._keyring
            )
        return Metadata.of(key, size, header)

    def verify(self, prefix: str = "") -> Iterator[Checked]:
        """Check every record in the folder *prefix* and below, in the order of `list`; what is damaged stops nothing.

        Of a storage that has to be waited for, up to eight are read at once, and no more than sixteen are ahead of the
        one that is asked for.
        """
        from strongroom._checking import check_all  # with its threads it takes longer to import than all of this

        return check_all(self._storage, prefix, self.check)

    def collect_garbage(
        self,
        references: References | None = None,
        *,
        grace: timedelta = _GRACE,
        only_user: bool = False,
        dry_run: bool = False,
        tell: Callable[[Garbage], object] = lambda _: None,
        watch: Callable[[str], object] = lambda _: None,
    ) -> Collected:
        """Delete what is of no use to anybody any more, and has not been for longer than *grace*.

        That is what has expired, what killed writers left behind, and, with *references*, what the tasks of runs that
        have ended wrote and no state refers to. The latter is only marked at first, and deleted by the next collection.
        Records under keys of your own are never deleted unless they have expired.

        Args:
            references: what is in use, such as ``Project.open().references(backend)``. Of runs that it does not know
                nothing is deleted, for they may be somebody else's.
            grace: longer than any clock here is wrong, and than the backend was ever out of reach.
            only_user: no runs but those that *references* knows write to this storage; what others wrote is nobody's.
            dry_run: delete nothing, and write nothing.
            tell: called with each piece of garbage.
            watch: called with each key before it is looked at, or deleted.

        Raises:
            ReferencesError: it is not known what is in use; nothing that could be was deleted.
        """
        if grace < timedelta(0):
            raise ValueError("a period of grace is not negative")
        return Collecting(
            self._with(Marks()),
            self._storage,
            now=self._clock() // 1000,
            grace=grace // timedelta(microseconds=1),
            dry_run=dry_run,
            tell=tell,
            watch=watch,
        ).run(references, only_user=only_user)

    def _with(self, serializer: Serializer) -> ResultStore:
        """The same store for values of one kind."""
        twin = object.__new__(ResultStore)
        chain, allow = Chain((), serializer), frozenset({serializer.id})
        reading = Reading(chain, allow, self._keyring, self._plugins, self._files)
        vars(twin).update(vars(self), _chain=chain, _allow=allow, _reading=reading)
        return twin


def _reopened(url: str, options: Mapping[str, Any]) -> ResultStore:
    from strongroom._settings_loading import load

    return ResultStore(as_place(url).options_with(load(os.environ, Path.cwd()).storage), **options)


def _slot_key(slot: Slot, keyring: Keyring) -> str:
    return f"runs/{slot.run_id}/{keyring.token('slot', slot.run_id, slot.task, slot.map_index, slot.field)}"
