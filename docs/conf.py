"""How the site is made of this folder. `make docs` builds it; `making/` has what is our own."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "adapters")]

project = "queue_consumer"
author = "the queue_consumer authors"
project_copyright = author
html_title = project

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "making.pages",
    "making.docstrings",
    "making.names",
    "making.commands",
    "making.llms",
    "making.links",
]
exclude_patterns = ["README.md"]  # it is the front page, and index.md says how

# Prose
myst_heading_anchors = 4
myst_links_external_new_tab = False
suppress_warnings = ["myst.header"]  # a document that is included may begin with any heading
copybutton_exclude = ".linenos, .gp, .go"
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"  # output is not for copying
highlight_language = "text"

# Reference
default_role = "code"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

# The network is not needed, neither to build the site nor to read it: so what others document is not linked. Nor is
# what is private and stands in a signature, nor type variables.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(?!queue_consumer).*|.*\._.*|.*\.[A-Z]"),
    (r"py:class", r"queue_consumer\.handlers\.Each.*"),  # what each() returns: said there, and not to be named
]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "sidebar_hide_name": False,
    "light_css_variables": {
        "font-stack": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
        "font-stack--monospace": "ui-monospace, SFMono-Regular, Menlo, 'DejaVu Sans Mono', monospace",
    },
}
pygments_style = "default"
pygments_dark_style = "github-dark"
