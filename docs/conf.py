# SPDX-License-Identifier: Apache-2.0
"""How are the docs built? ``python -m sphinx -n -W docs docs/_build/html``."""

from __future__ import annotations

import itertools
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "strongroom"
project_copyright = "the authors of strongroom"
version = release = metadata.version("strongroom")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "changelog", "examples"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"strongroom {release}"

# Docstrings put names between single backticks for people who read them in an editor, so they are no links.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True}
autodoc_typehints_format = "short"
autoclass_content = "both"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# A field may be called like a builtin, such as `object`, which then has two targets.
suppress_warnings = ["ref.python"]
# Links into the docs of Python and of other packages would need the network, and private modules have no page. Names
# of our public modules must resolve.
nitpick_ignore_regex = [("py:.*", r"(?!strongroom\.).*|.*\._.*")]


def _prepare(_app: Sphinx, what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Show the trees that some docstrings draw as they are drawn, and sentences with a colon as sentences."""
    paragraphs = [list(group) for _, group in itertools.groupby(lines, key=bool)]
    # Napoleon takes what stands before a colon in an attribute's first line for its type; it has an annotation.
    lines[:] = [""] if what in {"attribute", "data", "property"} else []
    for paragraph in paragraphs:
        if any("─ " in line for line in paragraph):
            lines.extend(["::", "", *(f"    {line}" for line in paragraph)])
        else:
            lines.extend(paragraph)


def setup(app: Sphinx) -> None:
    """Called by sphinx."""
    app.connect("autodoc-process-docstring", _prepare, priority=400)  # before napoleon
