"""Every pool that handlers can run in, and how to run a line to its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest

from queue_consumer import Consumer, Event, Report, Supervision
from queue_consumer._port import is_async

PATIENCE = 30.0  # seconds: until a line that does not come to rest has hung


@dataclass(frozen=True)
class PoolKind:
    """One kind of pool, as arguments of a `Consumer`."""

    pool: Literal["threads", "processes", "coroutines"]
    mp_context: str | None = None
    watched: bool = False  # somebody listens, for which some pools take another path

    def __str__(self) -> str:
        return (self.mp_context or self.pool) + ("-watched" if self.watched else "")

    def consumer(self, queue: Any, handler: Callable[[Any], object], **options: Any) -> Consumer[Any]:
        """A consumer of this queue with one getter and this pool; a plain handler is fitted to it."""
        options.setdefault("max_workers", 1)
        options.setdefault("max_handlers", 2)
        # Handlers die here on purpose and by the dozen, so that they are replaced without the usual delay.
        options.setdefault("supervision", Supervision(restart_base=0.001))
        if self.mp_context is not None:
            options["mp_context"] = self.mp_context
        if self.watched:
            options.setdefault("observers", [ignore])
        return Consumer(queue, self.fit(handler), pool=self.pool, **options)

    def fit(self, handler: Callable[[Any], object]) -> Callable[[Any], object]:
        """The handler as this pool needs it."""
        if self.pool != "coroutines" or is_async(handler):
            return handler
        return Async(handler)


class Async:
    """A plain handler as an asynchronous one, that loops with a plain `for`."""

    def __init__(self, handler: Callable[[Any], object]) -> None:
        self.handler = handler

    async def __call__(self, items: Any) -> object:
        return self.handler(items)


def ignore(event: Event) -> None:
    """Listen, and do nothing about it."""


THREADS = PoolKind("threads")
COROUTINES = PoolKind("coroutines")
FORKSERVER = PoolKind("processes", "forkserver")
SPAWN = PoolKind("processes", "spawn")
FORK = PoolKind("processes", "fork")
PROCESSES = (FORKSERVER, SPAWN, FORK)
POOLS = (THREADS, COROUTINES, *PROCESSES)
WATCHED = tuple(replace(kind, watched=True) for kind in (THREADS, COROUTINES, FORKSERVER))
# How children are born makes no difference to how they handle; the slowest way is left to tests of just that.
MOST_POOLS = (THREADS, COROUTINES, FORKSERVER, FORK)
most_pools = pytest.mark.parametrize("pool", MOST_POOLS, ids=str)
every_pool = pytest.mark.parametrize("pool", POOLS, ids=str)
every_process_pool = pytest.mark.parametrize("pool", PROCESSES, ids=str)
in_process = pytest.mark.parametrize("pool", [THREADS, COROUTINES], ids=str)


def run_to_rest(consumer: Consumer[Any], after: Callable[[], object] = lambda: None) -> Report:
    """Start it, wait (`after` something) until nothing is left to do, and stop it; its report, which balances."""
    with consumer:
        after()
        assert consumer.wait_idle(PATIENCE), f"it does not come to rest: {consumer!r}"
    report = consumer.shutdown()
    assert report.balanced, str(report)
    assert report.stats.in_flight == 0, str(report)
    assert not report.leftovers, str(report)
    return report
