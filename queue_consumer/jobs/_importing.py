"""A registry in other processes: nothing of it travels but its name, and it is made there as it was here."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterable
from typing import Any

from queue_consumer import UsageError

__all__ = ["found", "place_of"]


def place_of(registry: Any, module: str) -> str:
    """The name of the global of a module that a registry is.

    Raises:
        PicklingError: it is none.
    """
    loaded = sys.modules.get(module)
    for name, value in list(vars(loaded).items()) if loaded is not None else []:
        if value is registry:
            return name
    raise pickle.PicklingError(
        f"{registry!r} must be importable by another process, as a global of the module that made it "
        f"({module or 'none'}) is, and it is none"
    )


def found(module: str, place: str, modules: Iterable[str], names: Iterable[str]) -> Any:
    """The registry of this name, with its tasks.

    Raises:
        UsageError: importing these modules does not register all of them.
    """
    jobs: Any = getattr(importlib.import_module(module), place)
    for name in modules:
        importlib.import_module(name)
    missing = sorted(set(names) - set(jobs.tasks))
    if missing:
        raise UsageError(
            f"another process cannot run {', '.join(map(repr, missing))}: {module}.{place} has no such tasks when "
            f"{', '.join(modules)} are imported, so they are registered somewhere else, or by a condition"
        )
    return jobs
