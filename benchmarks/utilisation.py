"""How busy 64 handlers are kept that each sleep 10 ms an item, against 64 bare threads that do the same."""

from __future__ import annotations

import queue
import threading
from time import perf_counter
from typing import Any

import workloads
from contender import Contender, Sample, rate
from throughput import consume

TOPIC = "utilisation"
HANDLERS = 64


def bare_threads(items: int) -> Sample:
    """The work is there before the threads are: they have nothing to wait for but their sleep."""
    work: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for item in range(items):
        work.put(item)
    for _ in range(HANDLERS):
        work.put(None)

    def handle() -> None:
        while (item := work.get()) is not None:
            workloads.nap([item])

    threads = [threading.Thread(target=handle) for _ in range(HANDLERS)]
    started = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rate(items, perf_counter() - started)


def line(items: int) -> Sample:
    return consume(items, handler=workloads.nap, pool="threads", max_handlers=HANDLERS)


CONTENDERS = [
    Contender(
        topic=TOPIC,
        kind="bare",
        name=f"{HANDLERS} bare threads",
        measure=bare_threads,
        items=HANDLERS * 200,
        few=HANDLERS * 2,
    ),
    Contender(
        topic=TOPIC,
        kind="ours",
        name=f"{HANDLERS} handlers",
        measure=line,
        items=HANDLERS * 200,
        few=HANDLERS * 2,
    ),
]
