"""What is measured: a name, a topic, and a function that measures it once in a process of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Sample = Mapping[str, float]
"""What one measurement gave, by metric; a throughput has `items`, `seconds` and `rate`."""


Pool = Literal["threads", "processes", "coroutines"]
POOLS: tuple[Pool, ...] = ("threads", "processes", "coroutines")


class NotInstalled(Exception):
    """The peer to be measured cannot be imported here; the message says which and why."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One row of a table.

    `measure(items)` runs in a fresh process, so that nobody inherits the threads, the garbage or the
    imports of another. `items` lasts for a second or so on a common machine; `few` is for a look whether
    all runs.
    """

    topic: str
    name: str
    kind: str  # "bare" | "executor" | "peer" | "ours": its colour, and whether --no-peers leaves it out
    measure: Callable[[int], Sample]
    items: int
    few: int
    rounds: int | None = None  # so many at most: it takes long, and looks five times or more within each

    @property
    def full_name(self) -> str:
        return f"{self.topic}: {self.name}"


def rate(items: int, seconds: float) -> Sample:
    """The sample of a throughput."""
    return {"items": items, "seconds": seconds, "rate": items / seconds}


def cpus() -> int:
    """The CPUs that this process may use: the default of `max_handlers`, and so everybody's workers."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
