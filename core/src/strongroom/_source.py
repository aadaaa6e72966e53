# SPDX-License-Identifier: Apache-2.0
"""What is a function or a class made of: which text, and which names from outside?

The answers are the same in every Python version: the text is that of the file, and names are looked for in nested
code too, since versions differ in what they compile to code of its own.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import sys
import textwrap
import types
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["class_functions", "class_text", "function_text", "global_names", "library_of"]

_GLOBALS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTES = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_INSTALLED = frozenset({"site-packages", "dist-packages"})


# Reading and taking apart a source takes longer than all the rest of finding a cached result. It is read once: a file
# that changes while the process runs is not what the process runs.
@functools.lru_cache(maxsize=4096)
def function_text(code: types.CodeType, file: str) -> str | None:  # noqa: ARG001  # equal code may be of two files
    """The text of the function with this *code*, from its decorators on; None if it cannot be had."""
    try:
        if code.co_name == "<lambda>":
            return _lambda_text(code)
        return textwrap.dedent(inspect.getsource(code))
    except (OSError, TypeError, SyntaxError):
        return None


@functools.lru_cache(maxsize=1024)
def class_text(kind: type) -> str | None:
    """The text of the class; None if it cannot be had."""
    try:
        return textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError, SyntaxError):
        return None


@functools.lru_cache(maxsize=4096)
def global_names(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    """The global names that *code* uses, each with the attributes that it follows from there, in order.

    ``helpers.clean(x)`` is ``("helpers", "clean")``.
    """
    found = set(_chains(dis.get_instructions(code)))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found.update(global_names(constant))
    return tuple(sorted(found))


@functools.lru_cache(maxsize=1024)
def library_of(module: str) -> str | None:
    """The library that *module* belongs to, with its version if it was installed; None if it is the user's own.

    What a library has under a name is the same wherever the library is the same.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == "builtins":
        return "Python"
    if top == "strongroom" or top.startswith("strongroom_"):
        return top
    found = sys.modules.get(top)
    places = [str(getattr(found, "__file__", None) or ""), *map(str, getattr(found, "__path__", ()))]
    if not any(_INSTALLED.intersection(PurePath(place).parts) for place in places):
        return None
    return f"{top} {_version(top)}"


def class_functions(kind: type) -> Iterator[tuple[str, types.FunctionType]]:
    """The functions that somebody wrote into the class, by name.

    What was generated, or put there by a decorator of a library, follows from the text of the class.
    """
    for name, attribute in sorted(vars(kind).items()):
        parts = [attribute, *(getattr(attribute, part, None) for part in ("fget", "fset", "fdel", "__func__", "func"))]
        for part in parts:
            if isinstance(part, types.FunctionType) and _is_written(part):
                yield name, part


def _is_written(function: types.FunctionType) -> bool:
    generated = function.__code__.co_filename.startswith("<")
    return not generated and library_of(str(function.__globals__.get("__name__"))) is None


def _chains(instructions: Iterable[dis.Instruction]) -> Iterator[tuple[str, ...]]:
    chain: tuple[str, ...] = ()
    for instruction in instructions:
        if chain and instruction.opname in _ATTRIBUTES:
            chain = (*chain, instruction.argval)
            continue
        if chain:
            yield chain
        # The body of a class looks up the name of its module; what that is called is no part of a source.
        starts = instruction.opname in _GLOBALS and instruction.argval != "__name__"
        chain = (instruction.argval,) if starts else ()
    if chain:
        yield chain


def _lambda_text(code: types.CodeType) -> str | None:
    """The text of a lambda alone: there may be others on its line."""
    text = "".join(inspect.findsource(code)[0])
    positions = [each for each in code.co_positions() if None not in each and each[2:] != (0, 0)]
    if not positions:
        # Python 3.12 keeps no columns for a body that is a constant: then it must be the only one that begins there.
        there = [each for each in _lambdas(text) if each.lineno == code.co_firstlineno]
        return ast.get_source_segment(text, there[0]) if len(there) == 1 else None
    start = min((line, column) for line, _, column, _ in positions if line is not None and column is not None)
    end = max((line, column) for _, line, _, column in positions if line is not None and column is not None)
    around = [each for each in _lambdas(text) if _span(each)[0] <= start and end <= _span(each)[1]]
    # The code of a lambda is that of its body, so a body that begins and ends where the code does settles it.
    exact = [each for each in around if _span(each.body) == (start, end)]
    found = exact or around
    return ast.get_source_segment(text, found[0]) if len(found) == 1 else None


@functools.lru_cache(maxsize=16)
def _lambdas(text: str) -> tuple[ast.Lambda, ...]:
    return tuple(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Lambda))


def _span(node: ast.expr) -> tuple[tuple[int, int], tuple[int, int]]:
    return (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)


def _version(package: str) -> str:
    from importlib import metadata  # slow to import, and few sources name a library

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        names = metadata.packages_distributions().get(package, [])
        return " ".join(f"{name} {metadata.version(name)}" for name in sorted(set(names)))
