# SPDX-License-Identifier: Apache-2.0
"""Where did somebody say that results are to lie, and which options open it?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from strongroom.errors import NotSupportedError, SettingsError, StrongroomError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LOCAL", "Place", "Where", "as_place"]

LOCAL = frozenset({"", "file", "local"})
_NOTHING: Mapping[str, object] = MappingProxyType({})


class _FileSystem(Protocol):
    """A file system object of fsspec's, which publishes no types."""

    protocol: Any
    storage_args: Any
    storage_options: Any


class _UniversalPath(Protocol):
    """A path of universal_pathlib, which need not be installed."""

    @property
    def fs(self) -> Any: ...  # noqa: ANN401
    @property
    def path(self) -> str: ...
    @property
    def storage_options(self) -> Mapping[str, Any]: ...


Where: TypeAlias = (
    "str | Path | tuple[str, Mapping[str, object]] | tuple[_FileSystem, str] | _FileSystem | _UniversalPath | Place"
)
"""A folder, an fsspec URL, a URL with options, a file system with a folder in it, or a path of universal_pathlib."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A folder for records that is not open yet. What opens it shows in no representation and in no reference."""

    url: str
    """What leads there again; a path if it is a local folder."""
    options: Mapping[str, object] = field(default_factory=lambda: _NOTHING, repr=False)
    filesystem: Any = field(default=None, repr=False)
    root: str = field(default="", repr=False)
    """The folder in *filesystem*."""

    from_code: bool = False
    """True if what opens it was given in code: another process could not open it, and that may be a password."""

    def options_with(self, settings: Mapping[str, Mapping[str, object]]) -> Place:
        """This place, opened with what *settings* say of the longest URL that it lies below, too."""
        below = [prefix for prefix in settings if f"{self.url}/".startswith(f"{prefix.rstrip('/')}/")]
        if self.filesystem is not None or not below:
            return self
        return replace(self, options={**settings[max(below, key=len)], **self.options})

    def check_for_other_processes(self) -> None:
        """Complain if another process could not open this place by its URL and the settings.

        Raises:
            NotSupportedError: it is this process's memory, or was opened with what may be a secret.
        """
        if self.url.startswith("memory:"):
            raise NotSupportedError(
                f"result_storage={self.url!r} with other processes", instead="they would not see it; choose a folder"
            )
        if self.from_code:
            raise NotSupportedError(
                f"result_storage={self.url!r} with options from code, in other processes,",
                instead=f"they may be secrets; put them into the settings, as [storage.{self.url!r}]",
            )

    def resolved_options(self) -> dict[str, object]:
        """The options, with ``{env = "NAME"}`` replaced by the value of that variable.

        Raises:
            SettingsError: it is not set.
        """
        return {name: _from_environment(value, name, self.url) for name, value in self.options.items()}


def as_place(where: object) -> Place:
    """The place that *where* names.

    Raises:
        SettingsError: it is none, or its URL holds what should not be written down: a password or a query.
    """
    found: Place | None
    match where:
        case Place():
            found = where
        case str():
            found = Place(_checked(where))
        case Path():
            found = Place(str(where))
        case (str() as url, Mapping() as options):
            found = Place(_checked(url), MappingProxyType(dict(options)), from_code=True)
        case (filesystem, str() as root) if _is_filesystem(filesystem):
            found = _in_filesystem(filesystem, root)
        case filesystem if _is_filesystem(filesystem):
            found = _in_filesystem(filesystem, "")
        case _:
            found = _in_universal_path(where)
    if found is not None:
        return found
    raise SettingsError(
        f"results cannot lie in a {type(where).__name__}; name a folder, an fsspec URL, (URL, options), "
        "a file system, or (file system, folder)"
    )


def _checked(url: str) -> str:
    from urllib.parse import unquote, urlsplit  # slow to import, and few programs name a storage before they run

    if "::" in url.partition("/")[0]:
        raise SettingsError("a storage is one file system; URLs that are joined by :: are not opened")
    try:
        parts = urlsplit(url)
        _ = parts.port  # which is not looked at before
    except ValueError:
        raise SettingsError("the URL of a storage is none") from None
    # A variable that is empty must not lead to some folder on this machine.
    if not url or "\0" in url or ("://" in url and not parts.scheme):
        raise SettingsError(
            "what names a storage is empty, or not whole; name a folder, or a URL such as s3://bucket/folder"
        )
    if parts.scheme in LOCAL:
        if parts.netloc not in ("", "localhost"):
            raise SettingsError("the URL of a folder on this machine begins with three slashes: file:///folder")
        return url
    if parts.password is not None or ":" in unquote(parts.username or ""):
        raise SettingsError(
            f"the {parts.scheme} URL of a storage holds credentials; put them where its library looks, "
            "or into [storage] in the settings"
        )
    if parts.query or parts.fragment:
        raise SettingsError(f"the {parts.scheme} URL of a storage has a ? or a #; give options beside it, not in it")
    if any(part in {".", ".."} for part in unquote(parts.path).split("/")):
        raise SettingsError(f"the {parts.scheme} URL of a storage has a part . or ..; write it without")
    return _without_end(url)


def _without_end(url: str) -> str:
    """*url* without the slashes at its end, but for those that belong to its scheme: ``memory://``."""
    shorter = url.rstrip("/")
    return f"{shorter}//" if shorter.endswith(":") else shorter


def _is_filesystem(thing: object) -> bool:
    # By name: fsspec is slow to import, and whoever has such an object has imported it.
    return _is_a(thing, "AbstractFileSystem")


def _is_a(thing: object, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(thing).__mro__)


def _in_universal_path(where: object) -> Place | None:
    """The place of a path of universal_pathlib, known by what it has; None if it is none."""
    try:
        match where:
            case object(fs=filesystem, path=str() as root, storage_options=_) if _is_filesystem(filesystem):
                return _in_filesystem(filesystem, root)
    except StrongroomError:
        raise
    # To ask it for its file system is to connect, with any error that the library of that has.
    except Exception as exc:
        from strongroom._storage_errors import as_storage_error  # brings sockets, and few programs have such paths

        raise as_storage_error(exc, f"a {type(where).__name__}") from exc
    return None


def _in_filesystem(filesystem: Any, root: str) -> Place:  # noqa: ANN401
    while type(filesystem).__name__ == "DirFileSystem":
        root = "/".join(part for part in (filesystem.path.rstrip("/"), root.lstrip("/")) if part)
        filesystem = filesystem.fs
    kinds: Sequence[str] = [filesystem.protocol] if isinstance(filesystem.protocol, str) else filesystem.protocol
    root = filesystem._strip_protocol(root)  # noqa: SLF001  # what fsspec's own functions call, too
    if set(kinds) & LOCAL:
        return Place(root)
    if _is_a(filesystem, "CachingFileSystem"):
        # Its own name does not lead back to what it holds copies of.
        raise SettingsError("a storage is one file system; one that keeps copies of another is not used")
    if any(part in {".", ".."} for part in root.split("/")):
        raise SettingsError(f"the folder in a file system of the kind {kinds[0]} has a part . or ..; name it without")
    options = filesystem.storage_options
    host = options.get("host") or (filesystem.storage_args[0] if _has_host(filesystem) else "")
    user = f"{options['username']}@" if host and options.get("username") else ""
    port = f":{options['port']}" if host and options.get("port") else ""
    kind = kinds[0]
    url = root if root.startswith(f"{kind}:") else f"{kind}://{user}{host}{port}{'/' * bool(host)}{root.lstrip('/')}"
    return Place(_without_end(url), filesystem=filesystem, root=root, from_code=True)


def _has_host(filesystem: Any) -> bool:  # noqa: ANN401
    arguments = filesystem.storage_args
    return bool(arguments) and isinstance(arguments[0], str) and type(filesystem).__name__ in _WITH_HOST


_WITH_HOST = frozenset({"FTPFileSystem", "SFTPFileSystem", "SSHFileSystem", "SMBFileSystem"})


def _from_environment(value: object, name: str, url: str) -> object:
    if isinstance(value, list):
        return [_from_environment(item, name, url) for item in value]
    if not isinstance(value, Mapping):
        return value
    if set(value) != {"env"}:
        return {inner: _from_environment(item, f"{name}.{inner}", url) for inner, item in value.items()}
    variable = str(value["env"])
    if variable not in os.environ:
        raise SettingsError(f"the option {name} of {url!r} is in the variable {variable}, which is not set")
    return os.environ[variable]
