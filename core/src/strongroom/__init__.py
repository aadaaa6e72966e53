# SPDX-License-Identifier: Apache-2.0
"""Data pipelines whose data stays in its owner's hands: the public API."""

from __future__ import annotations

from strongroom.abc import Backend, Codec, CodecContext, Envelope, Executor, ResultHandler, Serializer, Slot
from strongroom.hookspecs import Register, hookimpl

__all__ = [
    "Backend",
    "Codec",
    "CodecContext",
    "Envelope",
    "Executor",
    "Register",
    "ResultHandler",
    "Serializer",
    "Slot",
    "hookimpl",
]
