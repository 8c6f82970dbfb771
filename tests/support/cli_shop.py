"""What the command line is given to run in tests. Items are as in `lifecycle_handlers`: a verb, and what about."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from queue_consumer import BackendError, Consumer, MemoryQueue, Supervision
from support.lifecycle_handlers import act, fail_to_start

FOLDER = Path(os.environ.get("CLI_SHOP", "/nonexistent"))


def gated(count: int = 1, **options: Any) -> Consumer[Any]:
    """Each of these handlers waits at the gate in the folder."""
    queue = MemoryQueue([f"wait:{FOLDER / 'gate'}"] * count, wait=0.05)
    return Consumer(queue, act, max_workers=1, max_handlers=count, **options)


def gated_in_processes() -> Consumer[Any]:
    return gated(2, pool="processes")


def gated_twice() -> Consumer[Any]:
    return gated(2)


def deaf(items: Iterator[str]) -> None:
    """Does not end, and takes no hint."""
    for _ in items:
        (FOLDER / "deaf").touch()
        threading.Event().wait()


def never_ends() -> Consumer[Any]:
    return Consumer(MemoryQueue(["item"], wait=0.05), deaf, max_workers=1, max_handlers=1)


def never_ends_in_processes() -> Consumer[Any]:
    return Consumer(MemoryQueue(["item"], wait=0.05), deaf, max_workers=1, max_handlers=1, pool="processes")


def quick(count: int = 20) -> Consumer[Any]:
    return Consumer(MemoryQueue(["ok"] * count, wait=0.05), act, max_workers=1, max_handlers=2)


def two() -> list[Consumer[Any]]:
    return [quick(3), quick(4)]


def gives_up() -> Consumer[Any]:
    """Its getter dies at every call."""

    class Broken:
        def get(self) -> list[str]:
            raise OSError("the cable is out")

    policy = Supervision(max_restarts=1, restart_base=0.01)
    return Consumer(Broken(), act, max_workers=1, max_handlers=1, supervision=policy)


def cannot_start() -> Consumer[Any]:
    """Its child processes do not come up."""
    return Consumer(MemoryQueue(), act, pool="processes", max_handlers=1, pool_initializer=fail_to_start)


def unreachable() -> Consumer[Any]:
    raise BackendError("the broker at example.invalid does not answer")


def slow_to_make() -> Consumer[Any]:
    """It takes for ever."""
    (FOLDER / "making").touch()
    threading.Event().wait()
    return quick()


def broken() -> Consumer[Any]:
    raise KeyError("no such setting")


def exits() -> Consumer[Any]:
    raise SystemExit(0)


def noting() -> Consumer[Any]:
    """Writes down the process that it runs in, once for each start."""
    (FOLDER / f"pid-{os.getpid()}").touch()
    return Consumer(MemoryQueue(wait=0.05), act, max_workers=1, max_handlers=1)


one = quick()
a_number = 7
