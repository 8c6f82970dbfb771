"""Consumers with something wrong about them, for `check` to find."""

from __future__ import annotations

from typing import Any

from queue_consumer import BackendError, Consumer, MemoryQueue
from support.lifecycle_handlers import act


class Bare:
    """A queue that only gives."""

    def get(self) -> list[str]:
        raise AssertionError("check consumes nothing")


class Leased(Bare):
    """Its leases cannot be renewed."""

    lease = 30.0

    def cleanup(self, items: list[Any]) -> None:
        raise AssertionError("check consumes nothing")


class QueueNotFound(BackendError):
    """By the name of what adapters raise."""


def good() -> Consumer[Any]:
    class Whole(Leased):
        lease = 600.0

    return Consumer(Whole(), act, pool="processes", time_limit=60)


def bare() -> Consumer[Any]:
    return Consumer(Bare(), act, time_limit=5)


def short_lease() -> Consumer[Any]:
    return Consumer(Leased(), act, time_limit=60, pool="processes")


def unpicklable() -> Consumer[Any]:
    return Consumer(MemoryQueue(), lambda items: None, pool="processes")


def not_there() -> Consumer[Any]:
    raise QueueNotFound("there is no queue orders")


class Absent:
    """A handler that another process does not find."""

    def __reduce__(self) -> tuple[Any, ...]:
        return vanished, ()

    def __call__(self, items: Any) -> None:
        raise AssertionError("check consumes nothing")


def vanished() -> None:
    raise ImportError("no module named 'only_here'")


def not_importable() -> Consumer[Any]:
    return Consumer(Leased(), Absent(), pool="processes")
