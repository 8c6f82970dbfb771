"""The public names, where they are defined, and under which of them the reference has what several offer.   (pure)

Objects are defined in private files and offered by public modules; type hints, as Sphinx sees them, tell of the former.
"""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import Any

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
        if is_definition(value) and value.__module__.startswith("queue_consumer"):  # aliases say typing
            found[f"{value.__module__}.{value.__qualname__}"] = public
    return found


@cache
def short() -> dict[str, str]:
    """Public names as one writes them, of the core before the others."""
    found: dict[str, str] = {}
    for public in documented().values():
        found.setdefault(public.rpartition(".")[2], public)
    return found
