"""A registry that child processes can import, with tasks that leave a trace in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from queue_consumer import MemoryMessage, MemoryQueue
from queue_consumer.jobs import Jobs

jobs = Jobs()
TRACE = "QUEUE_CONSUMER_JOBS_TRACE"


def trace(line: str) -> None:
    """Write a line, whole, wherever this runs."""
    with open(os.environ[TRACE], "ab", buffering=0) as file:
        file.write(f"{line}\n".encode())


def traced() -> list[str]:
    path = Path(os.environ[TRACE])
    return path.read_text().splitlines() if path.exists() else []


@jobs.task("note")
def note(text: str, times: int = 1) -> None:
    trace(f"{text} x{times}")


@jobs.task("anote")
async def anote(text: str) -> None:
    trace(f"async {text}")


@jobs.task("where", pass_context=True)
def where(context: Mapping[str, Any] | None = None) -> None:
    trace(f"{dict(context or {})} {jobs.context.to_dict()}")


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


def opened() -> MemoryQueue[MemoryMessage]:
    """A queue with two jobs, as a process of its own opens it."""
    queue = MemoryQueue()
    note.options(queue=queue).delay(f"of {'child' if os.getpid() != int(os.environ['PARENT']) else 'parent'}")
    anote.options(queue=queue).delay("of it")
    return queue


def deadly() -> MemoryQueue[MemoryMessage]:
    """A queue with a job that kills its first worker."""
    queue = MemoryQueue()
    dies_once.options(queue=queue).delay(os.environ["MARK"])
    return queue


other = Jobs()  # one that has no tasks
