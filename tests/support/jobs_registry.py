"""A registry that child processes can import, with tasks that leave a trace in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from queue_consumer import MemoryMessage, MemoryQueue
from queue_consumer.jobs import Jobs

jobs = Jobs()


def trace(line: str) -> None:
    """Write a line, whole, to the file that the job's context names: a child has the environment of its birth."""
    with open(jobs.context["trace"], "ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


def traced(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@jobs.task("note")
def note(text: str, times: int = 1) -> None:
    trace(f"{text} x{times}")


@jobs.task("anote")
async def anote(text: str) -> None:
    trace(f"async {text}")


@jobs.task("where", pass_context=True)
def where(context: Mapping[str, Any] | None = None) -> None:
    trace(f"{(context or {}).get('ip')} {jobs.context.get('ip')}")


@jobs.task("fails")
def fails() -> None:
    raise LookupError("as it should")


@jobs.task("dies_once")
def dies_once(mark: str) -> None:
    """The process that runs it for the first time dies."""
    path = Path(mark)
    if not path.exists():
        path.touch()
        os._exit(7)
    trace("lived")


def opened(path: str, parent: int) -> MemoryQueue[MemoryMessage]:
    """A queue with two jobs, as a process of its own opens it."""
    queue = MemoryQueue()
    with jobs.context(trace=path):
        note.options(queue=queue).delay(f"of {'parent' if os.getpid() == parent else 'child'}")
        anote.options(queue=queue).delay("of it")
    return queue


def deadly(path: str, mark: str) -> MemoryQueue[MemoryMessage]:
    """A queue with a job that kills its first worker."""
    queue = MemoryQueue()
    with jobs.context(trace=path):
        dies_once.options(queue=queue).delay(mark)
        note.options(queue=queue).delay("after it")
    return queue


other = Jobs()  # one that has no tasks
