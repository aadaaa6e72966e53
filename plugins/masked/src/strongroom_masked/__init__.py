# SPDX-License-Identifier: Apache-2.0
"""Blots secrets out of documents, logs and what is printed on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.hookspecs import hookimpl
from strongroom_masked._local import mask_local_output
from strongroom_masked._masker import MASK, masker

if TYPE_CHECKING:
    from strongroom.hookspecs import Register

__all__ = ["MASK", "strongroom_mask", "strongroom_register"]


@hookimpl
def strongroom_register(register: Register) -> None:  # noqa: ARG001  # it brings nothing that has an id
    """Mask what this process logs, and what it prints on a terminal, from now on."""
    mask_local_output(strongroom_mask)


@hookimpl
def strongroom_mask(text: str, name: str) -> str:
    """*text* without known secrets, tokens of common formats, and whatever stands under the name of a secret."""
    return masker()(text, name)
