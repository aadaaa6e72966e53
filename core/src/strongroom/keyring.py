# SPDX-License-Identifier: Apache-2.0
"""Which keys does a project have, and how are bytes sealed and opened with them?

One construction each, and no options:

- subkeys: BLAKE3 in its key-derivation mode, one context string for each purpose (BLAKE3 paper, section 2.3);
- sealing: Cobblestone-256 (C2SP chunked encryption), which derives a fresh key for each message from a random salt,
  commits to its key and authenticates a context; version byte and key id go before it;
- tags and tokens: keyed BLAKE3.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
import stat
import threading
import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import blake3
import msgspec
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

from strongroom.errors import KeyringError, SealError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

__all__ = ["KEYRING_FILE", "SEAL_OVERHEAD", "Key", "Keyring", "bind"]

KEYRING_FILE = "keyring.toml"
"""The name of the keyring in the home."""

_SECRET_SIZE = 32
_KEY_ID_SIZE = 8
_SEAL_VERSION = b"\x01"
_SEAL_PREFIX = len(_SEAL_VERSION) + _KEY_ID_SIZE

SEAL_OVERHEAD = _SEAL_PREFIX + 72
"""How many bytes longer the sealed form of a message of less than 16 KiB is."""

# Each subkey has one purpose, and a new purpose gets a new string: these are never changed or used twice.
_PURPOSES = MappingProxyType(
    {
        "id": "strongroom 1 key id",
        "seal": "strongroom 1 seal a document",
        "wrap": "strongroom 1 wrap the key of a record",
        "tag": "strongroom 1 tag a record",
        "cache": "strongroom 1 name a cached result",
        "token": "strongroom 1 replace a text by a token",
    }
)


def bind(purpose: str, *parts: str | int | bytes | None) -> bytes:
    """*purpose* and *parts* as bytes that no other purpose and parts have.

    MessagePack writes the type and length of each part before it, so that parts cannot run into each other.
    """
    return msgspec.msgpack.encode((purpose, *parts))


@dataclass(frozen=True, slots=True)
class Key:
    """One secret and the subkeys derived from it. Nothing of it shows in a repr."""

    secret: bytes = field(repr=False)
    id: str = field(init=False)
    _subkeys: dict[str, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.secret) != _SECRET_SIZE:
            raise KeyringError(f"a key has {_SECRET_SIZE} bytes, this one has {len(self.secret)}")
        subkeys = {
            purpose: blake3.blake3(self.secret, derive_key_context=text).digest() for purpose, text in _PURPOSES.items()
        }
        object.__setattr__(self, "_subkeys", subkeys)
        # The id is derived, so that a wrong key is told by its name before anything is tried with it.
        object.__setattr__(self, "id", subkeys["id"][:_KEY_ID_SIZE].hex())

    def __reduce__(self) -> NoReturn:
        # A key in a pickle would be a key in storage, or on its way to somebody.
        raise KeyringError("keys are not pickled; open the keyring where it is needed")

    @classmethod
    def generate(cls) -> Key:
        """A new key from the operating system's random numbers."""
        return cls(secrets.token_bytes(_SECRET_SIZE))

    def subkey(self, purpose: str) -> bytes:
        """The 32-byte key for one purpose: ``seal``, ``wrap``, ``tag``, ``cache`` or ``token``."""
        return self._subkeys[purpose]


class Keyring:
    """The keys of one project: the first one seals, all of them open."""

    def __init__(self, keys: Sequence[Key], *, path: Path | None = None) -> None:
        """Use *keys*; *path* is the file that they are in, if they are in one."""
        if not keys:
            raise KeyringError("a keyring needs at least one key")
        self._primary = keys[0]
        self._keys = {key.id: key for key in keys}
        self._prefix = _SEAL_VERSION + bytes.fromhex(self._primary.id)
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        # Keys do not travel: another process of their owner reads them where they are.
        if self._path is None:
            raise KeyringError("keys that are in no file do not leave their process; put them into the home's keyring")
        return _from_file, (str(self._path.absolute()),)

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._keys)}, primary {self._primary.id}>"

    @property
    def primary(self) -> str:
        """The id of the key that seals and tags."""
        return self._primary.id

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the primary first."""
        return tuple(self._keys)

    def seal(self, message: bytes, context: bytes) -> bytes:
        """*message* encrypted and authenticated, to be opened only with the same *context*.

        Sealing the same message twice gives different bytes. Make *context* with `bind`.
        """
        return self._close("seal", message, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed with *context*.

        Raises:
            SealError: the bytes were changed, moved to another context, or sealed with a key that is not here.
        """
        return self._open("seal", sealed, context)

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """*data_key*, sealed for *context* with a subkey that seals nothing but keys."""
        return self._close("wrap", data_key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The data key that was wrapped for *context*.

        Raises:
            SealError: the bytes were changed, moved to another context, or wrapped with a key that is not here.
        """
        return self._open("wrap", wrapped, context)

    def _close(self, purpose: str, message: bytes, context: bytes) -> bytes:
        encryptor = Cobblestone256Encryptor(self._primary.subkey(purpose), context)
        return b"".join((self._prefix, encryptor.update(message), encryptor.finalize()))

    def _open(self, purpose: str, sealed: bytes, context: bytes) -> bytes:
        if sealed[: len(_SEAL_VERSION)] != _SEAL_VERSION:
            raise SealError
        key = self._keys.get(sealed[len(_SEAL_VERSION) : _SEAL_PREFIX].hex())
        if key is None:
            raise SealError
        decryptor = Cobblestone256Decryptor(key.subkey(purpose), context)
        try:
            # Nothing is given out before the last chunk is authenticated, so a cut message is never half a message.
            return decryptor.update(sealed[_SEAL_PREFIX:]) + decryptor.finalize()
        except (InvalidTag, ValueError):
            raise SealError from None

    def tag_key(self, key_id: str) -> bytes:
        """The key for the tags of records under the key *key_id*.

        Raises:
            SealError: that key is not here.
        """
        key = self._keys.get(key_id)
        if key is None:
            raise SealError
        return key.subkey("tag")

    def token(self, purpose: str, *parts: str | int | bytes | None) -> str:
        """32 hexadecimal digits that stand for *parts*: equal for equal parts, and telling nothing without the key."""
        return blake3.blake3(bind(purpose, *parts), key=self._primary.subkey("token")).digest(16).hex()

    def tokens(self, purpose: str, *parts: str | int | bytes | None) -> tuple[str, ...]:
        """`token` under each of the keys, the primary first."""
        bound = bind(purpose, *parts)
        return tuple(blake3.blake3(bound, key=key.subkey("token")).digest(16).hex() for key in self._keys.values())

    def cache_key(self, *parts: str | int | bytes | None) -> str:
        """32 hexadecimal digits that name a cached result; nobody without the key can test guesses."""
        return blake3.blake3(bind("cache", *parts), key=self._primary.subkey("cache")).digest(16).hex()

    @classmethod
    def open_or_create(cls, path: Path) -> Keyring:
        """The keyring in the file *path*; made there, with one new key, if there is none.

        Raises:
            KeyringError: the file cannot be used, others may read it, or it is damaged.
        """
        with contextlib.suppress(FileNotFoundError):
            return cls(_read(path), path=path)
        _create(path)
        return cls(_read(path), path=path)


def _from_file(path: str) -> Keyring:
    """The keyring in the file *path*, in a process that was told of it."""
    try:
        status = Path(path).stat()
        return _known(path, (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    except FileNotFoundError:
        # A new one would be of no use: it could open nothing.
        raise KeyringError(f"the keyring {path!r} is gone; restore it from a backup") from None


@lru_cache(maxsize=8)
def _known(path: str, _stamp: tuple[int, ...]) -> Keyring:
    """The keyring in *path*, read once for each *_stamp*, which changes whenever the file does."""
    return Keyring(_read(Path(path)), path=Path(path))


def _read(path: Path) -> list[Key]:
    try:
        with path.open("rb") as file:
            _check_permissions(path, os.fstat(file.fileno()))
            document = tomllib.load(file)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise KeyringError(f"the keyring {str(path)!r} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        # The parser's message quotes the line, and the line may be a secret.
        raise KeyringError(f"the keyring {str(path)!r} is damaged; restore it from a backup") from None
    return _keys_of(document, path)


def _check_permissions(path: Path, status: os.stat_result) -> None:
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KeyringError(f"others may read the keyring {str(path)!r}; close it: chmod 600 {str(path)!r}")
    if status.st_uid not in {os.geteuid(), 0}:
        raise KeyringError(f"the keyring {str(path)!r} belongs to another user; copy it and set STRONGROOM_HOME")


def _keys_of(document: dict[str, object], path: Path) -> list[Key]:
    if document.get("version") != 1:
        raise KeyringError(f"the keyring {str(path)!r} has a version that this strongroom does not know; upgrade it")
    entries = document.get("keys")
    primary = document.get("primary")
    if set(document) != {"version", "primary", "keys"} or not isinstance(entries, dict) or primary not in entries:
        raise KeyringError(f"the keyring {str(path)!r} is damaged; restore it from a backup")
    keys = [_key_of(id_, entry, path) for id_, entry in entries.items()]
    return sorted(keys, key=lambda key: key.id != primary)


def _key_of(id_: str, entry: object, path: Path) -> Key:
    try:
        key = Key(base64.b64decode(entry["secret"], validate=True))  # type: ignore[index]  # TypeError is caught
    except (KeyError, TypeError, ValueError, binascii.Error, KeyringError):
        raise KeyringError(f"the key {id_!r} in {str(path)!r} is damaged; restore it from a backup") from None
    if key.id != id_:
        raise KeyringError(f"the key {id_!r} in {str(path)!r} is not the key of that name; restore it from a backup")
    return key


def _create(path: Path) -> None:
    """Write a new keyring, whole or not at all; of two writers at once the first wins."""
    key = Key.generate()
    text = (
        "# The keys of this project. Whoever has them can open everything; without them nothing can be opened.\n"
        f'version = 1\nprimary = "{key.id}"\n\n'
        f'[keys.{key.id}]\nsecret = "{base64.b64encode(key.secret).decode()}"\n'
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            # A link fails where a rename would replace: somebody else's new keyring may already be in use.
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
            _fsync_folders(path.parent)
        finally:
            temporary.unlink()
    except OSError as exc:
        raise KeyringError(f"the keyring {str(path)!r} cannot be made: {exc.strerror}") from exc


def _fsync_folders(folder: Path) -> None:
    """Make the names in *folder* durable, and its own: results that outlive a power cut need their key."""
    for each in (folder, folder.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
