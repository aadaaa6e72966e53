# SPDX-License-Identifier: Apache-2.0
"""What happens to each field on its way out, and who says so?

From weak to strong: the defaults of `strongroom.documents`, the settings ``[egress]``, ``egress.strict``, and plugins.
The last two only ever tighten.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from strongroom.documents import DISPOSITIONS, Disposition, RunDocument, StateDocument
from strongroom.errors import BrokenPluginError, EgressError, MissingPluginError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from strongroom._plugins import Plugins
    from strongroom._settings import Settings

__all__ = ["DEFAULT", "FIELDS", "NAMES", "Policy", "Rule", "allowed", "policy_of"]

_CLEAR, _MASK, _TOKEN, _SEAL, _DROP = Disposition
_ORDER = MappingProxyType({each: number for number, each in enumerate(Disposition)})

NAMES = ("name", "task")
"""The columns that may leave as tokens."""

ERROR_PARTS = ("error_class", "error_message", "error_notes", "error_frames")
"""What of an exception can be shown or dropped without the rest of it."""

# Without these a run could not be resumed, or would be resumed as another one.
_NEEDED = frozenset({"parameters", "secrets", "tasks", "result", "cached_inputs", "start_time"})

# Ids, state types, times and counts are what a backend is for; these say how the policy was kept.
_FIXED = frozenset(
    {"run_id", "map_index", "sequence", "type", "at", "run_count", "error_id", "withheld", "policy", "lines"}
)

FIELDS: Mapping[str, Disposition] = MappingProxyType(
    {
        field: what
        for kind in (RunDocument, StateDocument)
        for field, what in DISPOSITIONS[kind].items()
        if field not in _FIXED
    }
    | dict.fromkeys(ERROR_PARTS, _SEAL)
    # Of Python's own classes only: any other one is a name of the user's, and is sealed.
    | {"error_class": _CLEAR}
)
"""Each field that a policy can change, and its default."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What happens to one field."""

    field: str
    disposition: Disposition
    origin: str
    """``default``, the path of a file, the name of a variable, or ``plugin NAME``."""
    can_change: bool = True


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules in force, one for each field of documents."""

    rules: Mapping[str, Rule]

    def __getitem__(self, field: str) -> Disposition:
        return self.rules[field].disposition

    @property
    def changes(self) -> dict[str, str]:
        """Field -> disposition, where it is not the default."""
        return {
            field: rule.disposition.value
            for field, rule in self.rules.items()
            if rule.can_change and rule.disposition is not FIELDS[field]
        }

    @property
    def loosened(self) -> tuple[Rule, ...]:
        """The rules that let out more than the defaults do."""
        return tuple(
            rule
            for rule in self.rules.values()
            if rule.can_change and _ORDER[rule.disposition] < _ORDER[FIELDS[rule.field]]
        )


def allowed(field: str) -> frozenset[Disposition]:
    """The dispositions that *field* may have."""
    if field in NAMES:
        return frozenset({_CLEAR, _TOKEN})
    if field in {"error_notes", "error_frames"}:
        return frozenset({_SEAL, _DROP})
    return frozenset(Disposition) - ({_DROP} if field in _NEEDED else set())


def policy_of(settings: Settings, plugins: Plugins) -> Policy:
    """The policy in force.

    Raises:
        SettingsError: a field cannot have the disposition that the settings give it.
        EgressError: it asks for masking and no plugin masks, or a plugin's rule cannot be followed.
        PluginError: a plugin that the settings require is missing or broken.
    """
    for name in settings.egress.require:
        _check_there(plugins, name)
    rules = {rule.field: rule for rule in _from_settings(settings)}
    if settings.egress.strict:
        origin = settings.origins["egress.strict"]
        for field, rule in rules.items():
            tight = _TOKEN if field in NAMES else _SEAL
            if _ORDER[rule.disposition] < _ORDER[tight]:
                rules[field] = Rule(field, tight, f"{origin} (strict)")
    for plugin, field, word in plugins.rules():
        if field not in FIELDS or word not in {each.value for each in allowed(field)}:
            raise EgressError(f"the plugin {plugin!r} wants {field} to be {word!r}, which cannot be; remove it")
        what = Disposition(word)
        if _ORDER[what] > _ORDER[rules[field].disposition]:
            rules[field] = Rule(field, what, f"plugin {plugin}")
    masked = next((rule for rule in rules.values() if rule.disposition is _MASK), None)
    if masked is not None and not plugins.masks:
        raise EgressError(
            f"{masked.origin}: egress.{masked.field} is 'mask', and no plugin masks; pip install strongroom-masked"
        )
    fixed = {field: Rule(field, what, "default", can_change=False) for field, what in _fixed().items()}
    return Policy(MappingProxyType(fixed | rules))


def _check_there(plugins: Plugins, name: str) -> None:
    info = next((each for each in plugins.info() if each.name == name), None)
    if info is None:
        raise MissingPluginError("plugin", name, "egress.require names it, and nothing leaves without it; install it")
    if info.error:
        raise BrokenPluginError(name, f"egress.require names it, and nothing leaves without it: {info.error}")


def _from_settings(settings: Settings) -> Iterator[Rule]:
    for field, default in FIELDS.items():
        word = getattr(settings.egress, field)
        origin = settings.origins[f"egress.{field}"]
        if word is None:
            yield Rule(field, default, "default")
            continue
        if Disposition(word) not in allowed(field):
            words = ", ".join(each.value for each in Disposition if each in allowed(field))
            raise SettingsError(f"{origin}: egress.{field} can be {words}")
        yield Rule(field, Disposition(word), origin)


def _fixed() -> dict[str, Disposition]:
    found = {field: what for each in DISPOSITIONS.values() for field, what in each.items()}
    return {field: what for field, what in found.items() if field in _FIXED}


DEFAULT = Policy(
    MappingProxyType(
        {field: Rule(field, what, "default", can_change=False) for field, what in _fixed().items()}
        | {field: Rule(field, what, "default") for field, what in FIELDS.items()}
    )
)
"""The policy where nobody says anything."""
