# SPDX-License-Identifier: Apache-2.0
"""Which commands and options are there?

A command is imported when it is called: this module must stay quick to import, for ``--help`` and completion.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module, metadata
from pathlib import Path  # noqa: TC003  # typer looks at annotations when it runs
from typing import Annotated

import typer

from strongroom_cli._app_keys import keys
from strongroom_cli._errors import CommandError, reported
from strongroom_cli._options import AsJSON, Prefix, RunArgument, Storage, Traceback  # noqa: TC001  # as `Path`
from strongroom_cli._outbox_commands import outbox

__all__ = ["app", "start"]

# No rich here: it takes as long to import as all the rest. No pretty exceptions: they print local values, and so data.
app = typer.Typer(
    name="strongroom",
    help="Run data pipelines whose data stays with you, and look at what they did.",
    epilog="Plugins may bring more commands; `strongroom plugins` lists them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
egress = typer.Typer(help="What has left for the backend.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(egress, name="egress")
cache = typer.Typer(help="What is kept for later runs.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(cache, name="cache")
store = typer.Typer(help="What lies in storage.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(store, name="store")
app.add_typer(keys, name="keys")
app.add_typer(outbox, name="outbox")


def start() -> None:
    """Run the command that the arguments of this process name."""
    # Python has none where a program is started with a closed one; what is opened next would get its number.
    sys.stdout, sys.stderr = (each or open(os.devnull, "w") for each in (sys.stdout, sys.stderr))  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character shows its code; that is no reason to fail.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # what Python opened for us
    _run_command_of_plugin(sys.argv[1:])
    app(prog_name="strongroom")


def _version(wanted: bool) -> None:  # noqa: FBT001  # typer's way to call it
    if wanted:
        typer.echo(f"strongroom {metadata.version('strongroom-cli')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Run data pipelines whose data stays with you, and look at what they did."""


@app.command()
@reported
def run(
    file: Annotated[str, typer.Argument(metavar="FILE.py[:FLOW]", help="Where the flow is.")],
    values: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Parameters.")] = None,
    *,
    parameters: Annotated[Path | None, typer.Option(metavar="FILE.json", help="More parameters: an object.")] = None,
    executor: Annotated[str, typer.Option(help="Where tasks run: sync, threads, or a plugin's.")] = "sync",
    as_json: AsJSON = False,
    traceback: Traceback = False,
) -> None:
    """Run a flow. A VALUE is JSON if it can be read as that, else it is text."""
    from strongroom_cli import _run

    _run.run(file, values or [], parameters, executor=executor, as_json=as_json, with_traceback=traceback)


@app.command()
@reported
def resume(
    run: RunArgument,
    file: Annotated[str, typer.Argument(metavar="FILE.py[:FLOW]", help="Where its flow is.")],
    *,
    executor: Annotated[str, typer.Option(help="Where tasks run: sync, threads, or a plugin's.")] = "sync",
    as_json: AsJSON = False,
    traceback: Traceback = False,
) -> None:
    """Go on with a run that was stopped, paused or killed. What was kept is not computed again."""
    from strongroom_cli import _run

    _run.resume(run, file, executor=executor, as_json=as_json, with_traceback=traceback)


@app.command()
@reported
def cancel(
    run: RunArgument,
    *,
    seconds: Annotated[float, typer.Option(min=0, help="How long to wait until it has stopped.")] = 60,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Stop a run that another process works on, as ctrl-C there would."""
    from strongroom_cli import _cancel

    _cancel.cancel(run, seconds=seconds, as_json=as_json)


@app.command()
@reported
def draw(
    file: Annotated[str, typer.Argument(metavar="FILE.py[:FLOW]", help="Where the flow is.")],
    *,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="For Mermaid, not for Graphviz.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it: .dot, .mmd, or a picture: .svg, .png, .pdf.")
    ] = None,
    traceback: Traceback = False,
) -> None:
    """Draw a flow without running it. Its names are drawn, and never a value."""
    from strongroom_cli import _draw

    _draw.draw(file, mermaid=mermaid, out=out, with_traceback=traceback)


@app.command()
@reported
def runs(
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """List the runs."""
    from strongroom_cli import _runs

    _runs.runs(limit, as_json=as_json)


@app.command()
@reported
def show(run: RunArgument, *, as_json: AsJSON = False, traceback: Traceback = False) -> None:
    """Show what happened in a run. That is states, times, errors, and where the results lie."""
    from strongroom_cli import _show

    _show.show(run, as_json=as_json, with_traceback=traceback)


@app.command()
@reported
def verify(
    run: RunArgument,
    *,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Check that the record of a run is what was sent. Nothing may be edited, left out, put in or put elsewhere."""
    from strongroom_cli import _verify

    _verify.verify(run, as_json=as_json)


@app.command()
@reported
def read(
    run: RunArgument,
    task: Annotated[str, typer.Argument(metavar="TASK", help="As `strongroom show` names it.")],
    *,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result to FILE as it is stored.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The same, to standard output.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE; print bytes on a terminal.")] = False,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Print the result of a task."""
    from strongroom_cli import _read

    if raw + as_json + (out is not None) > 1:
        raise CommandError("--out, --raw and --json exclude each other")
    _read.read(run, task, out=out, raw=raw, force=force, as_json=as_json)


@app.command()
@reported
def logs(
    run: RunArgument,
    *,
    task: Annotated[str, typer.Option(metavar="TASK", help="Of this task only.")] = "",
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Print what the tasks of a run logged. Printed texts are there if the task has log_stdout."""
    from strongroom_cli import _logs

    _logs.logs(run, task, as_json=as_json)


@egress.command("show")
@reported
def show_egress(
    run: RunArgument,
    *,
    full: Annotated[bool, typer.Option("--full", help="All sealed bytes, not only the first.")] = False,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Print every byte that the backend holds of a run. Nothing is opened for that, and no key is needed."""
    from strongroom_cli import _egress

    _egress.show(run, full=full, as_json=as_json)


@egress.command("explain")
@reported
def explain_egress(
    *,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Print how each field of a document leaves. Beside it stands which setting or plugin says so."""
    from strongroom_cli import _policy

    _policy.explain(as_json=as_json)


@egress.command("diff")
@reported
def diff_egress(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Other settings, such as a strongroom.toml.")],
    *,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Print what would leave otherwise with the settings in FILE."""
    from strongroom_cli import _policy

    _policy.diff(file, as_json=as_json)


@cache.command("explain")
@reported
def explain_cache(
    run: RunArgument,
    task: Annotated[str, typer.Argument(metavar="TASK", help="As `strongroom show` names it.")],
    *,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Say why a task used a cached result or not. What has changed since the run before is said, too."""
    from strongroom_cli import _cache

    _cache.explain(run, task, as_json=as_json)


@store.command("ls")
@reported
def list_store(
    prefix: Prefix = "",
    *,
    storage: Storage = None,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """List what is kept. What the first line of each record says is shown, and not authenticated."""
    from strongroom_cli import _store

    _store.ls(_folder(prefix), storage, as_json=as_json)


@store.command("verify")
@reported
def verify_store(
    prefix: Prefix = "",
    *,
    storage: Storage = None,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Authenticate every record. The exit code is 1 if one is damaged."""
    from strongroom_cli import _store

    _store.verify(_folder(prefix), storage, as_json=as_json)


def _folder(prefix: str) -> str:
    """*prefix* without the slash that completing it in a shell puts behind it."""
    return prefix.removesuffix("/") or prefix


@store.command("gc")
@reported
def collect_store(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing; say what would be deleted.")] = False,
    grace: Annotated[float, typer.Option(metavar="HOURS", help="Only what is older than that.")] = 24,
    only_user: Annotated[
        bool, typer.Option("--only-user", help="No other backend's runs use this storage; unknown runs are over.")
    ] = False,
    storage: Storage = None,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Delete what nobody needs any more.

    That is what has expired, what killed writers left, and what no state of an ended run refers to. The last of these
    is marked first, and deleted by the next collection that finds it unused.
    """
    from strongroom_cli import _store

    _store.collect(storage, grace=grace, only_user=only_user, dry_run=dry_run, as_json=as_json)


@app.command()
@reported
def plugins(
    *,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """List the plugins and what they bring, the broken ones too."""
    from strongroom_cli import _plugins

    _plugins.plugins(as_json=as_json)


@app.command()
@reported
def doctor(
    *,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each check may take.")] = 20,
    as_json: AsJSON = False,
    traceback: Traceback = False,  # noqa: ARG001  # `reported` looks at it
) -> None:
    """Say what is wrong with this installation, and what to do.

    Settings, keys, plugins, storage, backend, outbox and clock are checked.
    """
    from strongroom_cli import _doctor

    _doctor.doctor(seconds=seconds, as_json=as_json)


@reported
def _run_command_of_plugin(arguments: list[str]) -> None:
    """Run the command that is called, and leave, if a plugin brings it."""
    name = arguments[0] if arguments else "-"
    own = {command.callback.__name__ for command in app.registered_commands if command.callback}
    # To look among the plugins is to load them all, so ours come first.
    if name.startswith("-") or name in own or name in {"cache", "egress", "keys", "outbox", "store"}:
        return
    from strongroom.project import Project

    target = Project.open().plugins.commands().get(name)
    if target is not None:
        module, _, attribute = target.partition(":")
        getattr(import_module(module), attribute)(args=arguments[1:], prog_name=f"strongroom {name}")
