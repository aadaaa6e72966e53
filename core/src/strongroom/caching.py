# SPDX-License-Identifier: Apache-2.0
"""May a kept result be used again?

A cache policy gives the key that results are kept under, and a cache validator judges what is found there.

A cache validator is any callable ``(state, inputs, parameters) -> bool``: the `Cached` state that would be, the
inputs of the task and the parameters of the flow, by name. Those here are asked only about results that have not
expired.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from strongroom._cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    RUN_ID,
    TASK_SOURCE,
    CachePolicy,
    IsolationLevel,
)
from strongroom.states import Cached

__all__ = [
    "DEFAULT",
    "FLOW_PARAMETERS",
    "INPUTS",
    "NO_CACHE",
    "RUN_ID",
    "TASK_SOURCE",
    "CachePolicy",
    "CacheValidator",
    "Fingerprints",
    "IsolationLevel",
    "all_inputs",
    "all_parameters",
    "duration_only",
    "never_use",
    "partial_inputs_only",
    "partial_parameters_only",
]

CacheValidator = Callable[[Cached, Mapping[str, object], Mapping[str, object]], bool]


class Fingerprints(Protocol):
    """Which fingerprints a validator compares: those of some inputs and parameters, made when the result is kept."""

    inputs: Collection[str] | None
    """Names of inputs; None is all of them."""
    parameters: Collection[str] | None
    """Names of parameters; None is all of them."""


@dataclass(frozen=True, slots=True)
class _Unchanged:
    """Accepts a result whose fingerprints of these inputs and parameters are the present ones.

    The engine compares them, since it has the key; by then what is left to say is yes.
    """

    inputs: tuple[str, ...] | None = ()
    parameters: tuple[str, ...] | None = ()

    def __call__(self, state: Cached, inputs: Mapping[str, object], parameters: Mapping[str, object]) -> bool:  # noqa: ARG002
        return True


def never_use(state: Cached, inputs: Mapping[str, object], parameters: Mapping[str, object]) -> bool:  # noqa: ARG001
    """Compute each time."""
    return False


duration_only: CacheValidator = _Unchanged()
"""Use any result that has not expired."""

all_inputs: CacheValidator = _Unchanged(inputs=None)
"""Use a result that was computed from the same inputs."""

all_parameters: CacheValidator = _Unchanged(parameters=None)
"""Use a result that was computed in a run with the same parameters."""


def partial_inputs_only(validate_on: Collection[str]) -> CacheValidator:
    """Use a result that was computed from the same inputs of these names, whatever the others were."""
    return _Unchanged(inputs=tuple(validate_on))


def partial_parameters_only(validate_on: Collection[str]) -> CacheValidator:
    """Use a result that was computed in a run with the same parameters of these names, whatever the others were."""
    return _Unchanged(parameters=tuple(validate_on))
