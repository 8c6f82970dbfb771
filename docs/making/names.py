"""Links to the public names, and whether the reference has forgotten one.

A name that the text writes as code is linked to the reference, once a page.
"""

from __future__ import annotations

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from .public import documented, homes, short

log = logging.getLogger(__name__)

TOO_COMMON = {"match", "eq", "gt", "lt", "in_", "event", "Queue", "Task", "Call", "Event", "Memory", "Options", "Lane"}


def lead_to_public_names(doctree: nodes.document) -> None:
    """References tell of the public name: also those that tell of the private file, or of a bare name."""
    for reference in doctree.findall(addnodes.pending_xref):
        if reference.get("refdomain") == "py":
            target = reference["reftarget"]
            own = documented().get(f"{reference.get('py:module')}.{target}")
            public = homes().get(target) or documented().get(target) or own or short().get(target)
            if public is not None:
                reference["reftarget"] = public
                reference["refspecific"] = False


def link_mentions(doctree: nodes.document, docname: str) -> None:
    """The first mention of a public name on a page, as code, leads to the reference."""
    seen: set[str] = set()
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext().removesuffix("()")
        public = short().get(name)
        around = literal.parent
        if public is None or name in seen or name in TOO_COMMON:
            continue
        if isinstance(around, nodes.title | nodes.reference | addnodes.pending_xref | addnodes.download_reference):
            continue
        seen.add(name)
        link = addnodes.pending_xref("", refdomain="py", reftype="obj", reftarget=public, refdoc=docname, refwarn=True)
        around.replace(literal, link)
        link += literal


def link_names(app: Sphinx, doctree: nodes.document) -> None:
    link_mentions(doctree, app.env.current_document.docname)
    lead_to_public_names(doctree)


def all_are_there(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of each public name that the reference has forgotten."""
    known = set(env.domains.python_domain.objects)
    for public in sorted(set(documented().values()) - known):
        log.warning("the reference does not have %s", public)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", link_names)
    app.connect("env-check-consistency", all_are_there)
    return {"parallel_read_safe": True}
