# SPDX-License-Identifier: Apache-2.0
"""Are errors one tree, and do they survive the way to another process?"""

from __future__ import annotations

import errno
import os
import pickle
import re

import pytest

from strongroom import errors

EXAMPLES = (
    errors.CycleError(["a", "b"]),
    errors.NotSupportedError("flying", instead="walk"),
    errors.MissingPluginError("serializer", "json", "install it"),
    errors.BrokenPluginError("json", "it raised"),
    errors.PluginConflictError("codec", "zip", "one", "two"),
    errors.SealError(),
    errors.SerializationError("json", "too deep", where="$.a"),
    errors.HandlerError("stored", "write", ValueError("the value")),
    errors.FormatNotAllowedError("pickle", "place"),
    errors.NotFoundError("place"),
    errors.DamagedError("place"),
    errors.NotEncryptedError("place"),
    errors.TransientStorageError("place", OSError(5, "broken")),
    errors.PermanentStorageError("place", "read-only"),
    errors.UnknownRunError("f00"),
    errors.NotResumableError("f00", "it has ended"),
    errors.RecordedError("builtins.ValueError", "as it was"),
    errors.ReferencesError("a" * 32, "a document is missing"),
    errors.TaskTimeoutError(1.5, goes_on=True),
    errors.ExecutorError("a message"),
    errors.WorkerDiedError(-9),
    errors.TransferError("a thing", ValueError("a value"), instead="do this"),
    *(
        getattr(errors, name)("a message")
        for name in ("SettingsError", "DefinitionError", "ParameterError", "PluginError", "KeyringError", "EgressError")
    ),
    *(
        getattr(errors, name)("a message")
        for name in ("BackendError", "BackendUnavailableError", "StorageError", "DrawingError")
    ),
    errors.OutboxDamagedError("/home/outbox/00000000", "it is empty"),
    errors.OutboxFullError("the outbox is full", "empty it", has_begun=True),
    errors.SecretError("a message"),
    errors.StrongroomError("a message"),
)


def test_every_error_has_an_example_here() -> None:
    assert {type(error).__name__ for error in EXAMPLES} == set(errors.__all__)


def test_the_tree_at_the_top_of_the_module_names_every_error_with_its_parents() -> None:
    drawn = dict(re.findall(r"─ (\w+)(?: \((\w+)\))?", errors.__doc__ or ""))

    assert {"StrongroomError", *drawn} == set(errors.__all__)
    for name, builtin in drawn.items():
        assert not builtin or builtin in {parent.__name__ for parent in getattr(errors, name).__mro__}


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_keeps_its_message_its_facts_and_its_notes_when_it_is_pickled(error: errors.StrongroomError) -> None:
    error.add_note("seen")

    other = pickle.loads(pickle.dumps(error))

    assert type(other) is type(error)
    assert (str(other), vars(other)) == (str(error), vars(error))


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_a_message_is_one_line(error: errors.StrongroomError) -> None:
    assert len(str(error).splitlines()) == 1


def test_the_text_of_a_foreign_error_is_not_repeated() -> None:
    for error in (
        errors.HandlerError("stored", "write", ValueError("canary")),
        errors.TransientStorageError("place", ValueError("canary")),
    ):
        assert "canary" not in str(error)
        assert "ValueError" in str(error)


def test_of_a_number_of_the_system_is_told_what_the_system_says_and_not_what_a_server_had_a_library_say() -> None:
    error = errors.TransientStorageError("place", OSError(errno.EBUSY, "canary"))

    assert str(error) == f"storage failed for 'place' (OSError: {os.strerror(errno.EBUSY)}); trying again may help"
