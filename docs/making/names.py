"""The public names: where they are documented, links to them, and whether one was forgotten.

Objects are defined in private files and offered by public modules; type hints, as Sphinx sees them, tell of the
former. A name that the text writes as code is linked to the reference, once a page.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

log = logging.getLogger(__name__)

# The front doors. What two of them offer is documented under the first.
MODULES = (
    "queue_consumer",
    "queue_consumer.handlers",
    "queue_consumer.policies",
    "queue_consumer.observers",
    "queue_consumer.memory",
    "queue_consumer.testing",
    "queue_consumer.jobs",
    "queue_consumer.jobs.testing",
    "queue_consumer.jobs.pytest_plugin",
    "queue_consumer.subscribers",
    "queue_consumer.subscribers.patterns",
    "queue_consumer.subscribers.mega",
    "queue_consumer.telemetry",
    "queue_consumer.telemetry.names",
    "queue_consumer.telemetry.prometheus",
    "queue_consumer.telemetry.otel",
    "queue_consumer.cli.schemes",
    "queue_consumer_sqs",
    "queue_consumer_sqs.aio",
    "queue_consumer_sqs.testing",
)
TOO_COMMON = {"match", "eq", "gt", "lt", "in_", "event", "Queue", "Task", "Call", "Event", "Memory", "Options", "Lane"}


@cache
def documented() -> dict[str, str]:
    """Every public name, and the one under which the reference has it: `queue_consumer.memory.MemoryQueue` is
    `queue_consumer.MemoryQueue`."""
    found: dict[str, str] = {}
    first: dict[int, str] = {}
    for module in MODULES:
        members = importlib.import_module(module)
        for name in members.__all__:
            value = getattr(members, name)
            if isinstance(value, ModuleType):
                continue
            same = first.setdefault(id(value), f"{module}.{name}") if is_definition(value) else f"{module}.{name}"
            found[f"{module}.{name}"] = same
    return found


def is_definition(value: Any) -> bool:
    return hasattr(value, "__module__") and hasattr(value, "__qualname__")


@cache
def homes() -> dict[str, str]:
    """Where objects are defined, and the public names of those: `queue_consumer._consumer.Consumer`."""
    found: dict[str, str] = {}
    for public in documented().values():
        module, _, name = public.rpartition(".")
        value = getattr(importlib.import_module(module), name)
        if is_definition(value):
            found[f"{value.__module__}.{value.__qualname__}"] = public
    return found


@cache
def short() -> dict[str, str]:
    """Public names as one writes them, of the core before the others."""
    found: dict[str, str] = {}
    for public in documented().values():
        found.setdefault(public.rpartition(".")[2], public)
    return found


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
        link = addnodes.pending_xref(
            "", refdomain="py", reftype="obj", reftarget=public, refdoc=docname, refwarn=True
        )
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
