# SPDX-License-Identifier: Apache-2.0
"""What does this plugin bring? The executor ``processes``: tasks in processes of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom import hookimpl

if TYPE_CHECKING:
    from strongroom import Executor, Register

__all__ = ["strongroom_register"]


def _make() -> Executor:
    # Only who runs tasks in processes pays for the import.
    from strongroom_processes.executor import ProcessExecutor

    return ProcessExecutor()


@hookimpl
def strongroom_register(register: Register) -> None:
    """Offer the executor ``processes``, with as many processes as this one may use cores."""
    register.executor("processes", _make)
