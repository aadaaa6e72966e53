# SPDX-License-Identifier: Apache-2.0
"""What does a flow say about the results of its tasks?"""

from __future__ import annotations

import msgspec

from strongroom._chain import Chain
from strongroom._place import Where
from strongroom.abc import ResultHandler, Serializer

__all__ = ["Keeping"]


class Keeping(msgspec.Struct, frozen=True):
    """What a flow says about the results of its tasks; None where it says nothing."""

    persist_result: bool | None = None
    result_handler: ResultHandler | str | None = None
    result_storage: Where | None = None
    result_serializer: str | Serializer | Chain | None = None
    cache_result_in_memory: bool | None = None
