# SPDX-License-Identifier: Apache-2.0
"""Which names may a template such as ``report-{parameters[month]}`` use, and what does it become?"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from strongroom.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["check_template", "fill_template"]

_FORMATTER = string.Formatter()


def _fields(template: str) -> list[tuple[str, str]]:
    """The first name and the rest of each field, such as ``("parameters", "[month]")``."""
    fields = []
    for _, name, spec, _ in _FORMATTER.parse(template):
        if name is not None:
            end = min((name.find(mark) for mark in ".[" if mark in name), default=len(name))
            fields.append((name[:end], name[end:]))
            # How it is formatted may itself be a template, such as in ``{day:{width}}``.
            fields += _fields(spec or "")
    return fields


def check_template(template: str, names: Collection[str], parameters: Collection[str], *, what: str) -> None:
    """Complain before the run if *template* uses a name that will not be there.

    Raises:
        DefinitionError: it names something unknown, or an attribute; *what* says whose template it is.
    """
    try:
        fields = _fields(template)
    except ValueError as exc:
        raise DefinitionError(f"{what} is no template: {exc}") from None
    for first, rest in fields:
        if first not in names:
            known = ", ".join(sorted(names))
            raise DefinitionError(f"{what} uses {{{first}}}, which is unknown; it may use {known}")
        # Attributes lead from any value to everything in the process; items only to what the value holds.
        if "." in rest:
            raise DefinitionError(f"{what} uses an attribute in {{{first}{rest}}}; only [items] are allowed")
        if first == "parameters" and rest.removeprefix("[").partition("]")[0] not in parameters:
            raise DefinitionError(f"{what} uses {{{first}{rest}}}, but the flow has no such parameter")


def outline(template: str) -> str:
    """*template* with a letter for each of its fields: what is wrong with that is wrong whatever they hold."""
    return "".join(text + ("x" if name is not None else "") for text, name, _, _ in _FORMATTER.parse(template))


def fill_template(template: str, values: Mapping[str, object]) -> str:
    """*template* with its fields replaced; it was checked before."""
    return _FORMATTER.vformat(template, (), values)
