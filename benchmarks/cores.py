"""Which core does what: the client of a measurement on the first, the server that it talks to on the last."""

from __future__ import annotations

import os

ANY = -1


def client_core() -> int:
    return min(all_cores())


def server_core() -> int:
    """Another one than the client's, if there is another."""
    return max(all_cores())


def all_cores() -> set[int]:
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else {0}


def pin(core: int) -> None:
    """Keep this process, and what it starts from now on, on one core, where the system can do that."""
    if core != ANY and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
