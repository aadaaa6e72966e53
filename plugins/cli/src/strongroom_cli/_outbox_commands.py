# SPDX-License-Identifier: Apache-2.0
"""Which commands are there for the outbox? As those of `_app`, they import what they do when they are called."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom_cli._errors import reported
from strongroom_cli._options import AsJSON, Traceback  # noqa: TC001  # typer looks at annotations when it runs

__all__ = ["outbox"]

outbox = typer.Typer(rich_markup_mode=None)


@outbox.callback(invoke_without_command=True)
@reported
def show_outbox(
    call: typer.Context,
    *,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Show what waits on this machine for its backend. Without a command nothing is delivered."""
    if call.invoked_subcommand is None:
        from strongroom_cli import _outbox

        _outbox.show(as_json=as_json)


@outbox.command("deliver")
@reported
def deliver_outbox(
    *,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Deliver what waits for the backend of the settings. Every command that looks at runs does that, too."""
    from strongroom_cli import _outbox

    _outbox.deliver(as_json=as_json)


@outbox.command("discard")
@reported
def discard_outbox(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The whole id, as `strongroom outbox` shows it.")],
    *,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Throw away what waits of a run. Its record stays as the backend has it, without its newest states."""
    from strongroom_cli import _outbox

    _outbox.discard(run)
