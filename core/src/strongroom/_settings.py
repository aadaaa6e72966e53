# SPDX-License-Identifier: Apache-2.0
"""What can be set, and of which type is it?

`strongroom._settings_loading` says who sets it. No message repeats a value: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import msgspec

from strongroom.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "LIMITS",
    "PREFIX",
    "SECTIONS",
    "STORAGE",
    "TYPES",
    "VARIABLES",
    "Backend",
    "Egress",
    "Found",
    "Keys",
    "Masked",
    "Plugins",
    "Results",
    "Settings",
    "Tasks",
    "convert",
    "hint",
]

PREFIX = "STRONGROOM_"


class _Section(msgspec.Struct, frozen=True):
    def __repr__(self) -> str:
        # Names only: a representation ends up in logs, and a URL may hold a password.
        return f"{type(self).__name__}({', '.join(self.__struct_fields__)})"


class Results(_Section, frozen=True):
    """How results are kept, and which formats are read."""

    storage: str = ""
    """An fsspec URL or an absolute path; empty means the folder ``results`` under the home."""
    serializer: str = "auto"
    persist: bool = False
    suite: Literal["blake3", "hmac-sha256"] = "blake3"
    """What the tags of new records are made with; both are read."""
    require_encryption: bool = False
    """Write and read no result that is not encrypted."""
    allow: tuple[str, ...] = (
        *("arrow", "arrow.parquet", "json", "json.bytes", "pickle"),
        *("compressed", "compressed.bz2", "compressed.gzip", "compressed.lz4", "compressed.xz", "encrypted"),
    )
    """The ids of the serializers and codecs that may decode what is stored."""


class Tasks(_Section, frozen=True):
    """What holds for every task that does not say otherwise."""

    persist_result: bool | None = None
    """None leaves the decision to the flow and to ``results.persist``."""


class Plugins(_Section, frozen=True):
    """Which plugins may be loaded."""

    allow: tuple[str, ...] | None = None
    """The names of plugins; None allows all that are installed."""


class Backend(_Section, frozen=True):
    """Where the record of runs is kept."""

    id: str = ""
    """Empty means ``sql`` if that plugin is installed, else ``memory``."""
    url: str = ""
    """Empty means a database file under the home."""
    outbox_megabytes: Annotated[int, msgspec.Meta(ge=1)] = 1000
    """How much may wait on this machine, of all runs, for backends that cannot be reached."""


_Descriptor: TypeAlias = Annotated[int, msgspec.Meta(ge=3)]


class Keys(_Section, frozen=True):
    """Where the keys of the project come from."""

    source: str = "file"
    """``file``, ``environment``, ``descriptor``, or the id of a plugin's key source."""
    url: str = ""
    """What a plugin's key source is told, such as the name of a key in a key service."""
    descriptor: _Descriptor = 3
    """The number under which the program that started this one opened the keys."""


class Masked(_Section, frozen=True):
    """What the plugin ``masked`` blots out, beside what it knows by itself."""

    secrets: tuple[str, ...] = ()
    """Names of secrets, as of `strongroom.Secret`, whose values are blotted out from the beginning."""
    patterns: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


_Word: TypeAlias = Literal["clear", "mask", "token", "seal", "drop"]


class Egress(_Section, frozen=True):
    """What may leave for the backend, field by field; None leaves the default of `strongroom.documents` in force."""

    strict: bool = False
    """Tightens everything: names become tokens, and no setting or plugin lets anything else out in clear."""
    require: tuple[str, ...] = ()
    """The names of plugins without which no document leaves."""
    logs: Literal["local", "seal"] = "local"
    """Whether what tasks log stays on this machine only, or leaves sealed, too."""
    name: _Word | None = None
    task: _Word | None = None
    run_name: _Word | None = None
    parameters: _Word | None = None
    secrets: _Word | None = None
    tasks: _Word | None = None
    message: _Word | None = None
    result: _Word | None = None
    error: _Word | None = None
    error_class: _Word | None = None
    error_message: _Word | None = None
    error_notes: _Word | None = None
    error_frames: _Word | None = None
    cached_inputs: _Word | None = None
    start_time: _Word | None = None
    task_run_name: _Word | None = None
    tags: _Word | None = None
    cache: _Word | None = None


class Settings(_Section, frozen=True):
    """The settings in force."""

    home: Path
    """An absolute path; the folder need not exist."""
    results: Results
    tasks: Tasks
    plugins: Plugins
    backend: Backend
    egress: Egress
    keys: Keys
    masked: Masked
    limits: Mapping[str, int]
    """Tag -> how many tasks that have it may run at once, in all processes that share the backend."""
    storage: Mapping[str, Mapping[str, object]]
    """URL -> the options with which the storages below it are opened. From files only."""
    origins: Mapping[str, str]
    """Who set each setting, such as ``results.storage``: the name of a variable, the path of a file, or ``default``.

    Limits are there one by one, such as ``limits.db``; ``limits`` itself is there if none is set.
    """


SECTIONS: Mapping[str, type[msgspec.Struct]] = MappingProxyType(
    {
        "results": Results,
        "tasks": Tasks,
        "plugins": Plugins,
        "backend": Backend,
        "egress": Egress,
        "keys": Keys,
        "masked": Masked,
    }
)
LIMITS = "limits"
STORAGE = "storage"
_Options = dict[str, object]
_Limit = Annotated[int, msgspec.Meta(ge=1)]
TYPES: Mapping[str, object] = MappingProxyType(
    {"home": str, LIMITS: _Limit, STORAGE: _Options}
    | {f"{name}.{field.name}": field.type for name, kind in SECTIONS.items() for field in msgspec.structs.fields(kind)}
)
VARIABLES = MappingProxyType({PREFIX + key.upper().replace(".", "_"): key for key in TYPES if key != STORAGE})
_EXPECTED: Mapping[object, str] = MappingProxyType(
    {
        str: "a string",
        _Limit: "a whole number from 1",
        _Descriptor: "a whole number from 3",
        _Options: "a table of options",
        bool: "true or false",
        bool | None: "true or false",
        Literal["local", "seal"]: "local or seal",
        Literal["blake3", "hmac-sha256"]: "blake3 or hmac-sha256",
        _Word | None: "one of clear, mask, token, seal and drop",
        tuple[str, ...]: "a list of strings (in a variable: separated by commas)",
        tuple[str, ...] | None: "a list of strings (in a variable: separated by commas)",
    }
)


class Found(msgspec.Struct, frozen=True):
    """One setting as a source has it: its type is right."""

    value: object
    origin: str
    folder: Path


def convert(key: str, value: object, origin: str, *, strict: bool) -> object:
    """*value* as the setting *key* has it; not *strict* takes the text of a variable.

    Raises:
        SettingsError: the type is wrong. Names *origin* and what is expected.
    """
    kind = TYPES[key.partition(".")[0] if key.startswith((f"{LIMITS}.", f"{STORAGE}.")) else key]
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError:
        raise SettingsError(f"{origin}: {key} must be {_EXPECTED[kind]}") from None


def hint(name: str, names: Collection[str]) -> str:
    """The end of a message about an unknown *name*: the near one of *names*, or all of them."""
    # Without the prefix that all variables share: it would make any two of them look alike.
    bare = {full.removeprefix(PREFIX): full for full in sorted(names)}
    import difflib  # only a mistake needs it

    near = difflib.get_close_matches(name.removeprefix(PREFIX), bare, n=1)
    return f"; did you mean {bare[near[0]]}?" if near else f"; there are {', '.join(bare.values())}"
