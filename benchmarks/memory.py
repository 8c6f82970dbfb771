"""Whether memory stays flat while a million items pass, and what an item in flight costs besides itself."""

from __future__ import annotations

import functools
import gc
import resource
import sys
import threading
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import workloads
from contender import Contender, Sample
from queue_consumer import Consumer
from queues import BULK, BulkQueue
from throughput import consume

TOPIC = "memory"


def resident() -> int:
    """Bytes of this process in memory; where the system does not tell, the most there ever were."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def flat(items: int, **options: Any) -> Sample:
    """How much the process grew between the first fifth of the items and the last."""
    early_at = items // 5
    seen: dict[str, int] = {}

    def look(cleaned: int) -> None:
        if cleaned >= early_at and "early" not in seen:
            seen["early"] = resident()
        if cleaned >= items:
            seen["late"] = resident()

    consume(items, source=BulkQueue(items, each_cleanup=look), **options)
    return {
        "items": items,
        "early": seen["early"],
        "late": seen["late"],
        "growth": seen["late"] - seen["early"],
    }


class _Held:
    """Gives the very objects it was made with, ten at a time, once the door is open."""

    def __init__(self, items: Sequence[object]) -> None:
        self.door = threading.Event()
        self._items = items
        self._next = 0
        self._getting = threading.Lock()
        self._interrupted = threading.Event()

    def get(self) -> Sequence[object]:
        # Nobody's first get() may wait for long without an answer: that would look like a broken queue.
        if not self.door.wait(0.1):
            return ()
        with self._getting:
            bulk = list(self._items[self._next : self._next + BULK])
            self._next += len(bulk)
        if not bulk:
            self._interrupted.wait(0.1)
        return bulk

    def interrupt(self) -> None:
        self._interrupted.set()
        self.door.set()

    def cleanup(self, items: Sequence[object]) -> None:
        """Nothing to do: the items stay in the list that they came from."""


def in_flight(items: int, *, chunk: int) -> Sample:
    """Python's own count of the bytes that a belt full of waiting items takes, the items not included."""
    source = _Held([object() for _ in range(items)])
    consumer: Consumer[object] = Consumer(
        source, workloads.wait_at_the_gate, pool="threads", prefetch=items, messages_bulk_size=chunk
    )
    gc.collect()
    tracemalloc.start()
    consumer.start()
    gc.collect()
    empty, _ = tracemalloc.get_traced_memory()
    source.door.set()
    while consumer.stats().in_flight < items:
        time.sleep(0.01)  # nobody is told when the belt is full: only the statistics know
    gc.collect()
    full, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    workloads.gate.set()
    report = consumer.shutdown()
    if not report.balanced:
        raise AssertionError(str(report))
    return {"items": items, "bytes": full - empty, "per_item": (full - empty) / items}


CONTENDERS = [
    *(
        Contender(
            topic=TOPIC,
            kind="ours",
            name=f"a million items, {pool}",
            measure=functools.partial(flat, pool=pool, messages_bulk_size=chunk),
            items=1_000_000,
            few=2_000,
        )
        for pool, chunk in (("threads", 1), ("processes", 10))
    ),
    *(
        Contender(
            topic=TOPIC,
            kind="ours",
            name=f"in flight, chunk of {chunk}",
            measure=functools.partial(in_flight, chunk=chunk),
            items=20_000,
            few=500,
        )
        for chunk in (1, 10)
    ),
]
