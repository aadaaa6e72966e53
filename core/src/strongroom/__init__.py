# SPDX-License-Identifier: Apache-2.0
"""Data pipelines whose data stays in its owner's hands: the public API."""

from __future__ import annotations

from strongroom import caching, signals, states, triggers
from strongroom._executors import SyncExecutor, ThreadExecutor
from strongroom._flow import Flow, flow
from strongroom._handlers import ConstantHandler, JSONHandler, NullHandler
from strongroom._task import Parameter, Task, task
from strongroom.abc import Backend, Codec, CodecContext, Envelope, Executor, JSONValue, ResultHandler, Serializer, Slot
from strongroom.context import context
from strongroom.hookspecs import Register, hookimpl
from strongroom.keyring import Keyring
from strongroom.results import NoResult, Result, ResultStore
from strongroom.states import State

__all__ = [
    "Backend",
    "Codec",
    "CodecContext",
    "ConstantHandler",
    "Envelope",
    "Executor",
    "Flow",
    "JSONHandler",
    "JSONValue",
    "Keyring",
    "NoResult",
    "NullHandler",
    "Parameter",
    "Register",
    "Result",
    "ResultHandler",
    "ResultStore",
    "Serializer",
    "Slot",
    "State",
    "SyncExecutor",
    "Task",
    "ThreadExecutor",
    "caching",
    "context",
    "flow",
    "hookimpl",
    "signals",
    "states",
    "task",
    "triggers",
]
