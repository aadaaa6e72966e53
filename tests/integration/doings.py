# SPDX-License-Identifier: Apache-2.0
"""What can a task do with its input? These are told by name to whatever runs them, in other processes, too."""

from __future__ import annotations

from strongroom import context, signals

__all__ = ["fails", "fails_at_first", "loops", "pauses", "retries_at_first", "returns", "skips"]


def fails_at_first(x: object) -> object:
    if context.task_run_count == 1:
        raise ValueError
    return x


def retries_at_first(x: object) -> object:
    if context.task_run_count == 1:
        raise signals.RETRY
    return x


def pauses(x: object) -> object:
    raise signals.PAUSE


def skips(x: object) -> object:
    raise signals.SKIP


def fails(x: object) -> object:
    raise ValueError


def loops(x: object) -> object:
    if context.loop_count < 3:
        raise signals.LOOP(result=1)
    return x


def returns(x: object) -> object:
    return x
