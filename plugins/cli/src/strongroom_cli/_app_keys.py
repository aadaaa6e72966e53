# SPDX-License-Identifier: Apache-2.0
"""Which commands are there for keys? Quick to import, as `_app` is."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom_cli._errors import reported
from strongroom_cli._options import AsJSON, Storage, Traceback  # noqa: TC001  # typer looks at annotations when it runs

__all__ = ["keys"]

keys = typer.Typer(help="The keys of the project.", no_args_is_help=True, rich_markup_mode=None)


@keys.command("show")
@reported
def show_keys(
    *,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """List the keys by their ids. No secret is shown."""
    from strongroom_cli import _keys

    _keys.show(as_json=as_json)


@keys.command("rotate")
@reported
def rotate_keys(
    *,
    stage: Annotated[bool, typer.Option("--stage", help="Only add the key; the next call lets it seal.")] = False,
    rewrite: Annotated[bool, typer.Option("--rewrite", help="Bring the stored results to the new key.")] = False,
    storage: Storage = None,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Seal with a new key from now on. The old ones go on opening what they sealed."""
    from strongroom_cli import _keys

    _keys.rotate(storage, stage=stage, with_rewrite=rewrite, as_json=as_json)


@keys.command("rewrite")
@reported
def rewrite_keys(
    *,
    storage: Storage = None,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Bring stored results to the key that seals now. It goes on where it was stopped."""
    from strongroom_cli import _keys

    _keys.rewrite(storage, as_json=as_json)


@keys.command("retire")
@reported
def retire_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="An id, or the beginning of one.")],
    *,
    storage: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="One more storage to look into; may be given again.", show_default=False),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Give up documents that need the key, and what only a plugin finds.")
    ] = False,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Remove an old key for ever. It stays while records or documents need it. Let no flow run meanwhile."""
    from strongroom_cli import _retire

    _retire.retire(key, storage or (), force=force, as_json=as_json)
