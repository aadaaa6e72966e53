# SPDX-License-Identifier: Apache-2.0
"""Which flows with secrets in them have a process that is killed, or a backend that is down?"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from strongroom import Flow, Parameter, context

from .leaky_parts import a_task, says_of_success

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .surfaces import Told

__all__ = ["cancelled", "dies", "down"]


def dies(told: Told, *, for_good: bool = True) -> tuple[Flow, Mapping[str, object]]:
    """A run whose process is killed in the middle; not *for_good*: the same flow, to go on with it."""

    def says(x: object) -> object:
        context.logger.info("%s", told.text("log line in a run that is killed"))
        return x

    def falls(x: object) -> object:
        raise ValueError(told["exception before the process is killed"])

    def dies(x: object) -> object:
        if for_good:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    with Flow("dies") as flow:
        x = Parameter("x")
        message = told.text("state message in a run that is killed")
        first = a_task(says, name="says", state_handlers=[says_of_success(message)])(x)
        failed = a_task(falls, name="falls")(first)
        a_task(dies, name="dies", trigger=lambda _: True)(failed)
    return flow, {"x": told["parameter of a run that is killed"]}


def down(told: Told) -> tuple[Flow, Mapping[str, object]]:
    """A run for whose record there is nobody."""

    def says(x: object) -> object:
        context.logger.info("%s", told.text("log line while the backend is down"))
        return x

    def falls(x: object) -> object:
        raise ValueError(told["exception while the backend is down"])

    with Flow("down") as flow:
        message = told.text("state message while the backend is down")
        x = a_task(says, name="says", state_handlers=[says_of_success(message)])(Parameter("x"))
        a_task(falls, name="falls")(x)
    return flow, {"x": told["parameter while the backend is down"]}


def cancelled(told: Told, cancel: Callable[[str], object]) -> tuple[Flow, Mapping[str, object]]:
    """A run that calls *cancel*, which has another thread cancel it, and goes on."""

    def says(x: object) -> object:
        cancel(context.run_id)
        return x

    def waits(x: object) -> object:
        # All of it is a minute, of which somebody who is in time needs a tenth of a second.
        time.sleep(0.15)
        return x

    with Flow("is cancelled") as flow:
        message = told.text("state message in a run that is cancelled")
        x = a_task(says, name="says", state_handlers=[says_of_success(message)])(Parameter("x"))
        for _ in range(400):
            x = a_task(waits, name="waits")(x)
    return flow, {"x": told["parameter of a run that is cancelled"]}
