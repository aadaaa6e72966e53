# SPDX-License-Identifier: Apache-2.0
"""What of the address that a result handler gives may be seen? Here all but the secrets in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from strongroom.hookspecs import hookimpl
from strongroom.wrapping import WrappingHandler
from strongroom_masked._masker import masker

if TYPE_CHECKING:
    from strongroom.abc import JSONValue
    from strongroom.hookspecs import Register

__all__ = ["MaskedURI", "strongroom_register"]


class MaskedURI(WrappingHandler):
    """Keeps values with another handler, and shows its reference with what is secret blotted out.

    The reference as it is stands beside it, sealed: that is what is read back.
    """

    id = "masked-uri"

    def show(self, reference: JSONValue) -> JSONValue:
        return _masked(reference, ("",))


def _masked(value: JSONValue, names: tuple[str, ...]) -> JSONValue:
    """*value* as it may be seen where it stands under *names*, one within the other."""
    if isinstance(value, str):
        for name in names:
            value = masker()(value, name)
        return value
    if isinstance(value, Mapping):
        # What a handler has for a name may be secret, too.
        return {masker()(key): _masked(each, (*names, key)) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_masked(each, names) for each in value]
    return value


@hookimpl
def strongroom_register(register: Register) -> None:
    """Bring the result handler ``masked-uri``, which by that name wraps the handler ``stored``."""
    register.handler("masked-uri", MaskedURI)
