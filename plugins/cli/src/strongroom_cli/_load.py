# SPDX-License-Identifier: Apache-2.0
"""Which flow is in a file, and with which parameters is it to be run?"""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from strongroom import Flow
from strongroom_cli._errors import CommandError
from strongroom_cli._problems import Problem, without_engine

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType, ModuleType

__all__ = ["load_flow", "read_parameters"]


def load_flow(target: str, *, with_traceback: bool = False) -> Flow:
    """The flow that *target*, ``FILE.py`` or ``FILE.py:NAME``, means.

    Raises:
        CommandError: there is no such file or flow, or the file itself raised.
    """
    path, name = _split(target)
    flows = _flows(_imported(path, with_traceback=with_traceback))
    if name:
        return _named(flows, name, path)
    distinct = {id(flow): flow for flow in flows.values()}
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    if not flows:
        raise CommandError(f"{path} has no flow; a flow is a variable of the file, such as `with Flow(...) as flow:`")
    raise CommandError(f"{path} has several flows; say which: {', '.join(f'{path}:{each}' for each in flows)}")


def read_parameters(values: Iterable[str], file: Path | None) -> dict[str, object]:
    """The parameters of *values*, each ``NAME=VALUE``, and those of *file* that are not among them.

    Raises:
        CommandError: one cannot be read.
    """
    found: dict[str, object] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise CommandError(f"{text!r} is no parameter; write NAME=VALUE")
        if name in found:
            raise CommandError(f"the parameter {name!r} is given twice")
        found[name] = _value(value)
    return {**_from_file(file), **found} if file else found


def _split(target: str) -> tuple[Path, str]:
    file, colon, name = target.rpartition(":")
    # A colon may be part of the file's name, as in a path of Windows.
    if colon and file.endswith(".py") and not Path(target).is_file():
        return _checked(Path(file)), name
    return _checked(Path(target)), ""


def _checked(path: Path) -> Path:
    if not path.is_file():
        raise CommandError(f"{path} is not a file" if path.exists() else f"there is no file {path}")
    if path.suffix != ".py":
        raise CommandError(f"{path} is not a Python file; its name must end in .py")
    return path


def _imported(path: Path, *, with_traceback: bool) -> ModuleType:
    """The module in *path*, imported as what it is, so that its classes and functions can be pickled."""
    if path.stem in sys.modules:
        raise CommandError(f"{path} has the name of the module {path.stem!r}, which is in use; rename the file")
    loader = _Fresh(path.stem, str(path.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve(), loader=loader)
    assert spec is not None  # noqa: S101  # it was given a loader
    module = importlib.util.module_from_spec(spec)
    # As Python does it for a script: what lies beside the file can be imported.
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as exc:  # the file is the user's, and may raise anything
        _refuse(path, exc, with_traceback=with_traceback)
    return module


class _Fresh(SourceFileLoader):
    """Compiles the file as it is now.

    What Python keeps in ``__pycache__`` is told from a newer file by whole seconds: a flow that was just edited could
    run as it was before, and its cached results with it.
    """

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


def _refuse(path: Path, exc: BaseException, *, with_traceback: bool) -> NoReturn:
    if with_traceback:
        print(without_engine(exc), file=sys.stderr)  # noqa: T201
    raise CommandError(f"{path} could not be imported: {Problem.of(exc).line}") from None


def _flows(module: ModuleType) -> dict[str, Flow]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Flow)}


def _named(flows: dict[str, Flow], name: str, path: Path) -> Flow:
    by_own_name = {flow.name: flow for flow in flows.values()}
    flow = flows.get(name) or by_own_name.get(name)
    if flow is None:
        has = f"it has {', '.join(flows)}" if flows else "it has none"
        raise CommandError(f"{path} has no flow {name!r}; {has}")
    return flow


def _value(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return text


def _not_json(text: str) -> NoReturn:
    # Python's parser takes NaN and Infinity, which are not JSON.
    raise ValueError(text)


def _from_file(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_bytes(), parse_constant=_not_json)
    except OSError as exc:
        raise CommandError(f"the parameters cannot be read from {path}: {exc.strerror}") from None
    except (ValueError, RecursionError):
        raise CommandError(f"{path} is not JSON") from None
    if not isinstance(found, dict):
        raise CommandError(f"{path} must hold a JSON object: parameter names and values")
    return found
