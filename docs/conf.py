"""
How the documentation is built: `make docs`.
"""

import sys
from pathlib import Path

import aiortc
from docutils.nodes import Element, reference
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

# The sources beside this file, also if another copy is installed.
sys.path.insert(0, str(Path(__file__).parent.parent))

import aiortc_restart

project = "aiortc_restart"
author = "the aiortc_restart authors"
copyright = "2026, the aiortc_restart authors"
release = version = aiortc_restart.__version__

extensions = ["sphinx.ext.autodoc"]
nitpicky = True
# What is in neither API documentation; aiortc's names are resolved below.
nitpick_ignore = [
    ("py:class", "collections.abc.Mapping"),
    ("py:exc", "OperationError"),
]

# So that pages may call names what programs call them.
rst_prolog = ".. currentmodule:: aiortc_restart"
# A docstring's `names` are code.
default_role = "literal"
autodoc_member_order = "alphabetical"
html_theme = "alabaster"
html_theme_options = {
    "description": "aiortc with ICE restart",
    "fixed_sidebar": True,
    "page_width": "1200px",
    "sidebar_width": "240px",
}
html_show_sourcelink = False

AIORTC_API = "https://aiortc.readthedocs.io/en/stable/api.html#aiortc."


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element
) -> Element | None:
    """
    Find names where they are exported, and aiortc's in its documentation.
    """
    if node["refdomain"] != "py":
        return None
    target = node["reftarget"]
    package, *_, name = target.split(".") if "." in target else ("", target)
    if package in ("", "aiortc", "aiortc_restart"):
        if f"aiortc_restart.{name}" in env.domains["py"].objects:
            return env.domains["py"].resolve_xref(
                env, node["refdoc"], app.builder, "class", f"aiortc_restart.{name}",
                node, content,
            )  # fmt: skip
        if name in aiortc.__all__:
            return reference("", "", content, internal=False, refuri=AIORTC_API + name)
    return None


def setup(app: Sphinx) -> None:
    app.add_object_type("event", "event", indextemplate="pair: %s; event")
    app.connect("missing-reference", resolve)
