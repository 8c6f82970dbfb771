"""Working on queues, in a line or two: one queue, several in threads, or each in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from queue_consumer import Consumer, Lane, Receipts, Report, UsageError

from ._fleet import Fleet

__all__ = ["Several", "work", "work_in_processes"]


class Several:
    """Several queues in the place of one; they take turns."""

    def __init__(self, queues: Sequence[Any]) -> None:
        self.lanes = [queue if isinstance(queue, Lane) else Lane(queue, 0, name_of(queue)) for queue in queues]


def name_of(queue: Any) -> str:
    name = getattr(queue, "name", "")
    return name if isinstance(name, str) else ""


def work(handler: Callable[[Receipts[Any]], object], queues: Sequence[Any], options: dict[str, Any]) -> Report:
    """Work on these in threads of this process, until told to stop."""
    if not queues or queues[0] is None:
        raise UsageError("there is no queue to work on: give one to work(...), or to Jobs(queue=...)")
    return Consumer(queues[0] if len(queues) == 1 else Several(queues), handler, **options).run()


def work_in_processes(
    handler: Callable[[Receipts[Any]], object], queues: Sequence[Any], options: dict[str, Any], mp_context: Any
) -> list[Report | None]:
    """Work on each of these in a process of its own, until all have stopped."""
    if not queues:
        raise UsageError("there are no queues to work on: give them to work(..., processes=True)")
    return Fleet(handler, queues, options, mp_context).run()
