"""Configures Sphinx for the documentation. Any warning fails the build."""

from __future__ import annotations

from ocpi_gireve import __version__

project = "ocpi-gireve"
author = "The ocpi-gireve contributors"
project_copyright = f"2026, {author}"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
# Docstrings are written in Markdown's `code`, which reStructuredText reads as a role.
default_role = "code"

html_theme = "furo"
html_title = f"ocpi-gireve {__version__}"
