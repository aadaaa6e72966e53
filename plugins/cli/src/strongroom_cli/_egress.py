# SPDX-License-Identifier: Apache-2.0
"""What does the backend hold of a run, byte for byte?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.text import Text

from strongroom_cli._errors import printable
from strongroom_cli._history import find_run, open_record
from strongroom_cli._output import Output, moment, print_json
from strongroom_cli._traffic import CLEAR, Traffic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from strongroom import Envelope

__all__ = ["show"]

_FIRST = 16
_PLAIN = re.compile(r"[\w-]+")


def show(run: str, *, full: bool, as_json: bool) -> None:
    """Print every column of every row of *run*. Nothing is opened: this is what anybody sees who has the database."""
    with open_record() as (project, backend):
        envelopes = project.envelopes(backend, find_run(project, backend, run))
        if as_json:
            print_json(_json(envelopes))
        else:
            _print(envelopes, Output(), full=full)


def _print(envelopes: Iterable[Envelope], output: Output, *, full: bool) -> None:
    traffic = Traffic()
    for envelope in envelopes:
        traffic.add(envelope)
        output.pieces([Text(f"{column}={_shown(envelope, column)}") for column in CLEAR])
        sealed = envelope.sealed if full else envelope.sealed[:_FIRST]
        more = "..." if len(sealed) < len(envelope.sealed) else ""
        output.line(f"sealed, {len(envelope.sealed)} bytes: {sealed.hex()}{more}", style="dim", indent="  ")
    output.line()
    output.line(f"in all {traffic}")


def _shown(envelope: Envelope, column: str) -> str:
    value = getattr(envelope, column)
    if column == "at":
        return f"{value} ({moment(value)})"
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        # The backend is anybody's: what stands there must not be able to look like another column.
        return printable(repr(value))
    return str(value)


def _json(envelopes: Iterable[Envelope]) -> dict[str, object]:
    traffic, documents = Traffic(), []
    for envelope in envelopes:
        traffic.add(envelope)
        documents.append({column: getattr(envelope, column) for column in CLEAR} | {"sealed": envelope.sealed.hex()})
    return {"documents": documents, "totals": traffic.to_json()}
