# SPDX-License-Identifier: Apache-2.0
"""In which places can a user's program have a secret, and which of them does a document tell?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from .canaries import IDENTIFIERS, PLAIN_JSON, SHORT_TEXTS, TEXTS, VALUES, Canary, make

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ROUNDS", "SURFACES", "Surface", "Told", "pairs"]


class Surface(NamedTuple):
    """One place, and the types of values that can stand there."""

    kinds: tuple[str, ...]
    shows: Literal["document", "log", "nowhere"]
    """What tells it, sealed: a document, a document of logs, or none at all. A test shows that it is so."""


def _of(shows: Literal["document", "log", "nowhere"], **kinds: str) -> Iterator[tuple[str, Surface]]:
    """*shows*, and then lines of names for each of the sets of types."""
    sets = {"values": VALUES, "json": PLAIN_JSON, "texts": TEXTS, "short": SHORT_TEXTS, "names": IDENTIFIERS}
    sets["passwords"] = tuple(kind for kind in TEXTS if kind != "64 KiB")
    for which, names in kinds.items():
        for name in names.strip().splitlines():
            yield name.strip(), Surface(sets[which], shows)


SURFACES: Mapping[str, Surface] = dict(
    [
        *_of(
            "document",
            values="""
                exception
                exception, second argument
                exception, cause
                exception, context
                exception of a group
                exception of a group in a group
                exception of a trigger
                exception of a state handler
                exception of on_failure
                exception of a result handler, writing
                exception of a result handler, reading
                exception of a cache key
                exception of a cache validator
                exception of a template
                exception before a retry
                exception of a mapped child
                exception after a timeout of another
                exception of the flow's state handler
                exception of a plugin
                exit
                interrupt
                exception before the process is killed
                exception while the backend is down
            """,
            json="""
                parameter
                parameter, in a list
                parameter, default
                parameter of a run that is killed
                parameter of a run that is cancelled
                parameter while the backend is down
                result kept in the document
                result of a mapped child kept in the document
                reference
                input of a retry
                input of a pause
            """,
            texts="""
                parameter, key
                tag
                name of a task run
                name of a mapped task run
                name of a task run that is cancelled
                state message
                state message of a cache hit
                state message in a run that is killed
                state message in a run that is cancelled
                state message while the backend is down
                state message of a plugin
                exception, note
                message of a group
                key of a reference
                FAIL
                RETRY
                SKIP
                PAUSE
                SUCCESS
                TRIGGERFAIL
                VALIDATIONFAIL
                LOOP
                CANCEL
                SKIP of a trigger
                FAIL of a state handler
                key of a transaction
            """,
            short="""
                key in storage
                storage of a task
                storage of a flow
                file
            """,
            names="""
                serializer
                handler
                exception, class
                function
            """,
        ),
        *_of(
            "log",
            values="""
                log line, argument
                log line of an exception
            """,
            texts="""
                log line
                log line of a mapped child
                log line in a run that is killed
                log line while the backend is down
                printed line that is logged
            """,
        ),
        *_of(
            "nowhere",
            values="""
                result
                result that is kept
                result of a mapped child
                result of SUCCESS
                result of LOOP
                mapped item
                constant input
                input of a task that times out
                context value
                local variable
                global variable
                default of an argument
                attribute of an exception
                exception that cannot be told
                exception of a plugin that is only told
                log line, extra
            """,
            json="""
                input that is compared
                input of a cached task
            """,
            texts="""
                printed line
                printed line on standard error
                warning
                context key
                cache_key
                cache_key_fn
                option of a storage
                source line
                docstring of a task
                docstring of a flow
                environment
                argument of the program
                name of a thread
                name of a process
            """,
            names="""
                class of a state
                class of the state of a mapped task
            """,
            passwords="""
                secret
                secret in an exception
                secret in a state message
                secret in a log line
            """,
        ),
    ]
)
"""Name of the place -> what can stand there."""

ROUNDS = max(len(surface.kinds) for surface in SURFACES.values())
"""After so many rounds each surface has had each type that fits."""


def pairs(rounds: int) -> set[tuple[str, str]]:
    """The surfaces, each with the types that it has in so many rounds."""
    return {(name, _kind(number, place, name)) for number in range(rounds) for place, name in enumerate(SURFACES)}


def _kind(number: int, place: int, name: str) -> str:
    kinds = SURFACES[name].kinds
    return kinds[(number + place) % len(kinds)]


class Told:
    """What a user's program holds in one round: a secret of its own on each surface."""

    def __init__(self, number: int) -> None:
        self.kinds = {name: _kind(number, place, name) for place, name in enumerate(SURFACES)}
        self.canaries: dict[str, Canary] = {name: make(kind) for name, kind in self.kinds.items()}

    def __getitem__(self, name: str) -> object:
        return self.canaries[name].value

    def text(self, name: str) -> str:
        """The same where a text is wanted."""
        return str(self.canaries[name])

    def named(self) -> Iterator[tuple[tuple[str, str], Canary]]:
        """Each secret under the name of its surface and its type."""
        for name, canary in self.canaries.items():
            yield (name, self.kinds[name]), canary
