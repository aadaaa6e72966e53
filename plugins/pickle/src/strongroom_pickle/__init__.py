# SPDX-License-Identifier: Apache-2.0
"""Which values does the plugin take, and what does it bring?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.hookspecs import hookimpl
from strongroom_pickle._pickle import Pickle

if TYPE_CHECKING:
    from strongroom.hookspecs import Register

__all__ = ["Pickle", "strongroom_choose_serializer", "strongroom_register"]


@hookimpl
def strongroom_register(register: Register) -> None:
    """Bring the serializer ``pickle``."""
    register.serializer(Pickle())


@hookimpl(trylast=True)
def strongroom_choose_serializer(value: object) -> str:  # noqa: ARG001  # whatever it is
    """Take what nobody else took. That it cannot be pickled either is found out by trying."""
    return Pickle.id
