# SPDX-License-Identifier: Apache-2.0
"""Which hooks are there, and what may an implementation of each rely on?

A plugin is a module that an entry point of the group ``strongroom`` names; the entry point's name is the plugin's
name. The module implements any of these hooks with `strongroom.hookimpl`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from strongroom.abc import Backend, Codec, Executor, KeySource, ResultHandler, Serializer

__all__ = ["PROJECT", "Register", "hookimpl", "hookspec"]

PROJECT = "strongroom"
"""The name of the pluggy project, of the entry-point group, and the prefix of every hook."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """What a plugin is handed so that it can say what it brings.

    Every id starts with the plugin's name. If one call is refused, nothing of the plugin is registered.
    """

    def serializer(self, serializer: Serializer) -> None:
        """Offer *serializer* under its id; it may stand last in a chain."""

    def codec(self, codec: Codec) -> None:
        """Offer *codec* under its id; it may stand before another codec or a serializer in a chain."""

    def handler(self, id_: str, factory: Callable[[], ResultHandler]) -> None:
        """Offer a result handler for ``result_handler="id"``; *factory* is called when somebody asks for it."""

    def backend(self, id_: str, factory: Callable[[str], Backend]) -> None:
        """Offer a backend; *factory* gets the URL from the settings."""

    def executor(self, id_: str, factory: Callable[[], Executor]) -> None:
        """Offer an executor for ``flow.run(executor="id")``."""

    def key_source(self, id_: str, factory: Callable[[str, Path], KeySource]) -> None:
        """Offer a place that keys come from, for the setting ``keys.source``.

        *factory* gets the setting ``keys.url``, and the home, a folder that it may keep a file in.
        """

    def disposition(self, field: str, disposition: str) -> None:
        """Have *field* of documents leave no looser than by *disposition*: ``token``, ``seal`` or ``drop``.

        A rule that is looser than the settings changes nothing; one that *field* cannot have lets nothing leave.
        """

    def command(self, id_: str, target: str) -> None:
        """Offer a subcommand of the command line: *target* is ``module:attribute`` of a typer application."""


@hookspec(historic=True)
def strongroom_register(register: Register) -> None:
    """Say what the plugin brings. Called once, when something of the plugin is first needed."""


@hookspec(firstresult=True)
def strongroom_choose_serializer(value: object) -> str | None:
    """The id of the serializer that should keep *value* in an ``auto`` chain, or None to leave it to the others.

    Asked for every value, so it must not import anything heavy to say no. Claim only what comes back unchanged.
    """


@hookspec(firstresult=True)
def strongroom_fingerprint(value: object) -> bytes | None:
    """Bytes that stand for *value* in a cache key, or None to leave it to the others.

    Equal for values of the same type and content, in every process, and for no others: a digest of the content will
    do, and the type's name is added to it. It never leaves as it is. Asked for values of types that strongroom itself
    does not know, so it must not import anything heavy to say no. Raise `SerializationError` for a value of a known
    type that cannot be told from others.
    """


@hookspec
def strongroom_outgoing(document: object) -> object:
    """See a document before it is sealed, and return None or a tightened copy of it.

    The copy has the same type and identity. Raise to veto: the document does not leave, and the task fails,
    of which its state handlers hear.
    """


@hookspec
def strongroom_mask(text: str, name: str) -> str:  # type: ignore[empty-body]  # a hook's contract has no body
    """*text* with what is secret in it blotted out; the same text if there is nothing.

    Asked for the texts of a document before it is sealed, and for whatever is shown or logged here. *name* is what the
    text stands for: the key or the name of the parameter that has it, or ``message``, ``tags``, ``log`` and the like;
    empty if it has none. Each implementation sees what the one before it left. If it raises, the text does not leave.
    """


@hookspec
def strongroom_state_changed(subject: object, old: object, new: object) -> None:
    """A task or flow (*subject*) went from state *old* to state *new*. Called in the process that runs it."""


@hookspec
def strongroom_result_written(receipt: object) -> None:
    """A result was written to storage; *receipt* is a `strongroom.results.Receipt`."""
