"""How long an item that finds the line idle waits for its handler: from `put()` to its first line."""

from __future__ import annotations

import functools
import os
import queue
import statistics
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any

import workloads
from contender import POOLS, Contender, Pool, Sample, cpus
from queue_consumer import Consumer
from queues import BlockingQueue

TOPIC = "latency"
SPACING = 0.002


def percentiles(latencies: list[float]) -> Sample:
    cuts = statistics.quantiles(latencies, n=100, method="inclusive")
    return {"items": len(latencies), "p50": cuts[49], "p99": cuts[98], "max": max(latencies)}


def _settle() -> None:
    # That every thread and child has gone to sleep cannot be waited for: nothing happens when it has.
    time.sleep(0.3)


def _put_spaced(items: int, put: Any) -> None:
    for _ in range(items):
        put(perf_counter())
        time.sleep(SPACING)


def bare_thread(items: int) -> Sample:
    """A thread that waits on a `SimpleQueue`: the wake-up that nobody can avoid."""
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def handle() -> None:
        while (item := inbox.get()) is not None:
            workloads.note_latency([item])

    thread = threading.Thread(target=handle)
    thread.start()
    _settle()
    _put_spaced(items, inbox.put)
    inbox.put(None)
    thread.join()
    return percentiles(workloads.latencies)


def executor(items: int) -> Sample:
    with ThreadPoolExecutor(cpus()) as pool:
        for _ in range(cpus()):
            pool.submit(workloads.one, None)
        _settle()
        _put_spaced(items, lambda item: pool.submit(workloads.note_latency, [item]))
    return percentiles(workloads.latencies)


def line(items: int, *, pool: Pool) -> Sample:
    handler: Any = {
        "threads": workloads.note_latency,
        "processes": workloads.write_latency,
        "coroutines": workloads.note_latency_async,
    }[pool]
    source = BlockingQueue[float](items)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[workloads.LATENCIES_FILE] = os.path.join(folder, "latencies")
        consumer: Consumer[float] = Consumer(source, handler, pool=pool)
        consumer.start()
        _settle()
        _put_spaced(items, source.put)
        source.finished.wait()
        report = consumer.shutdown()
        if not report.balanced:
            raise AssertionError(str(report))
        return percentiles(list(workloads.written_latencies()) if pool == "processes" else workloads.latencies)


CONTENDERS = [
    Contender(topic=TOPIC, kind="bare", name="bare thread", measure=bare_thread, items=2_000, few=20),
    Contender(topic=TOPIC, kind="executor", name="ThreadPoolExecutor", measure=executor, items=2_000, few=20),
    *(
        Contender(
            topic=TOPIC,
            kind="ours",
            name=f"idle {pool}",
            measure=functools.partial(line, pool=pool),
            items=2_000,
            few=20,
        )
        for pool in POOLS
    ),
]
