# SPDX-License-Identifier: Apache-2.0
"""Data pipelines whose data stays in its owner's hands: the public API."""

from __future__ import annotations

from strongroom import caching, signals, states, triggers
from strongroom._branching import case, merge, switch
from strongroom._cancelling import cancel_run
from strongroom._debugging import raise_on_exception
from strongroom._executors import SyncExecutor, ThreadExecutor
from strongroom._flow import Flow
from strongroom._function_flow import flow
from strongroom._function_task import task
from strongroom._grouping import transaction
from strongroom._handlers import ConstantHandler, JSONHandler, NullHandler, SecretHandler
from strongroom._inputs import Constant, Parameter, flatten, unmapped
from strongroom._task import Task
from strongroom._transactions import OpenTransaction, current_transaction
from strongroom.abc import (
    Backend,
    Codec,
    CodecContext,
    Envelope,
    Executor,
    JSONValue,
    KeySource,
    ResultHandler,
    Serializer,
    Slot,
)
from strongroom.context import context
from strongroom.hookspecs import Register, hookimpl
from strongroom.keyring import Keyring
from strongroom.results import NoResult, Result, ResultStore
from strongroom.secret import Secret
from strongroom.states import State

__all__ = [
    "Backend",
    "Codec",
    "CodecContext",
    "Constant",
    "ConstantHandler",
    "Envelope",
    "Executor",
    "Flow",
    "JSONHandler",
    "JSONValue",
    "KeySource",
    "Keyring",
    "NoResult",
    "NullHandler",
    "OpenTransaction",
    "Parameter",
    "Register",
    "Result",
    "ResultHandler",
    "ResultStore",
    "Secret",
    "SecretHandler",
    "Serializer",
    "Slot",
    "State",
    "SyncExecutor",
    "Task",
    "ThreadExecutor",
    "caching",
    "cancel_run",
    "case",
    "context",
    "current_transaction",
    "flatten",
    "flow",
    "hookimpl",
    "merge",
    "raise_on_exception",
    "signals",
    "states",
    "switch",
    "task",
    "transaction",
    "triggers",
    "unmapped",
]
