"""`memory://module:object`: a `MemoryQueue` of a module, to try the commands on; it lives as long as the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import TypeIs

from queue_consumer import MemoryQueue

from ._target import thing_at
from .schemes import Address, Finding, Told, address_of

__all__ = ["MemoryScheme", "MemoryTools"]


class MemoryTools:
    """A queue in memory."""

    peek_cost = ""

    def __init__(self, name: str, queue: MemoryQueue[Any]) -> None:
        self.name = name
        self._queue = queue

    def depth(self) -> Mapping[str, int]:
        stats = self._queue.stats()
        return {"visible": stats["waiting"], "delayed": stats["delayed"], "in flight": stats["in_flight"]}

    def peek(self, limit: int) -> Sequence[Any]:
        found = self._take(limit)
        self._queue.release(found)
        return found

    def _take(self, most: int) -> list[Any]:
        found: list[Any] = []
        while len(found) < most and self._queue.stats()["waiting"]:
            found += self._queue.get(most - len(found))
        return found

    def send(self, entries: Sequence[Mapping[str, Any]], told: Told) -> None:
        self._queue.put_many(entries)
        told(len(entries))

    def purge(self, told: Told) -> int:
        found = self._take(self._queue.stats()["waiting"])
        self._queue.cleanup(found)
        told(len(found))
        return len(found)

    def destination(self, to: str | None) -> str:
        if to is None:
            raise ValueError(f"--to must say where to: the messages of {self.name} do not know where they came from")
        return to

    def redrive(self, to: str | None, *, limit: int | None, rate: int | None, told: Told) -> int:
        target = queue_at(address_of(self.destination(to)))
        waiting = self._queue.stats()["waiting"]
        found = self._take(waiting if limit is None else min(limit, waiting))
        target.fill(found)
        self._queue.cleanup(found)
        told(len(found))
        return len(found)

    def close(self) -> None:
        pass


class MemoryScheme:
    """See `queue_consumer.cli.schemes.Scheme`."""

    def open(self, address: Address) -> MemoryTools:
        return MemoryTools(f"memory://{address.name}", queue_at(address))

    def check(self, queue: Any, *, time_limit: float | None, buried: bool) -> list[Finding] | None:
        if not isinstance(queue, MemoryQueue):
            return None
        return [
            Finding(
                kind="advice",
                what="The queue is a MemoryQueue.",
                why="What is in it is gone when the process ends.",
                do="Use it for tests and programs of one process; put a broker's queue in its place for the rest.",
            )
        ]


def queue_at(address: Address) -> MemoryQueue[Any]:
    if not address.name:
        return MemoryQueue()
    found: Any = thing_at(address.name)
    if not is_memory_queue(found):
        raise ValueError(f"memory://{address.name} must be a MemoryQueue; it is {type(found).__name__!r}")
    return found


def is_memory_queue(found: object) -> TypeIs[MemoryQueue[Any]]:
    return isinstance(found, MemoryQueue)
