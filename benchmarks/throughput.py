"""Items per second with a handler that does nothing: bare loops, executors, and this line.

The clock of the line runs from `start()` to the cleanup of the last item, as the queue itself counts it:
within it threads and processes are started, and every item is fetched, handed over, tracked, handled and
cleaned up.
"""

from __future__ import annotations

import functools
import gc
import multiprocessing
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from time import perf_counter
from typing import Any

import workloads
from contender import Contender, Sample, cpus, rate
from queue_consumer import Consumer
from queues import BULK, BulkQueue, Lanes

TOPIC = "throughput"


def consume(
    items: int,
    *,
    handler: Callable[..., object] | None = None,
    source: BulkQueue | Lanes | None = None,
    **options: Any,
) -> Sample:
    """Runs `items` items through a Consumer; raises if the ledger and the queue do not agree afterwards."""
    source = source or BulkQueue(items)
    if handler is None:
        handler = workloads.async_loop if options.get("pool") == "coroutines" else workloads.loop
    consumer: Consumer[Any] = Consumer(source, handler, **options)
    gc.collect()
    started = perf_counter()
    consumer.start()
    source.finished.wait()
    seconds = source.finished_at - started
    report = consumer.shutdown()
    if not report.balanced or report.stats.cleaned != items or source.cleaned != items:
        raise AssertionError(f"the queue saw {source.cleaned} of {items} items cleaned up; {report}")
    return rate(items, seconds)


def bare_loop(items: int, *, chunk: int) -> Sample:
    """One thread that gets, calls the handler and cleans up: nothing can be cheaper, and nothing is safer."""
    source = BulkQueue(items)
    started = perf_counter()
    for _ in range(0, items, BULK):
        bulk = source.get()
        for position in range(0, len(bulk), chunk):
            workloads.loop(iter(bulk[position : position + chunk]))
        source.cleanup(bulk)
    return rate(items, source.finished_at - started)


def bare_threads(items: int, *, chunk: int) -> Sample:
    """A getter, as many handler threads as the line has, and a cleaner, joined by `SimpleQueue`s.

    No tracking, no supervision, and no limit to what lies between them.
    """
    source = BulkQueue(items)
    to_handle: queue.SimpleQueue[Any] = queue.SimpleQueue()
    to_clean: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def get() -> None:
        for _ in range(0, items, BULK):
            bulk = source.get()
            for position in range(0, len(bulk), chunk):
                to_handle.put(bulk[position : position + chunk])
        for _ in range(cpus()):
            to_handle.put(None)

    def handle() -> None:
        while (bulk := to_handle.get()) is not None:
            workloads.loop(iter(bulk))
            to_clean.put(bulk)

    def clean() -> None:
        while source.cleaned < items:
            source.cleanup(to_clean.get())

    threads = [threading.Thread(target=target) for target in (get, clean, *[handle] * cpus())]
    started = perf_counter()
    for thread in threads:
        thread.start()
    source.finished.wait()
    seconds = source.finished_at - started
    for thread in threads:
        thread.join()
    return rate(items, seconds)


def submit(items: int, *, executor: Callable[[], Executor]) -> Sample:
    """`submit` for each item, until all are done; the futures are thrown away, which is the fastest way."""
    gc.collect()
    started = perf_counter()
    with executor() as pool:
        for item in range(items):
            pool.submit(workloads.one, item)
    return rate(items, perf_counter() - started)


def mapped(items: int, *, executor: Callable[[], Executor], chunk: int) -> Sample:
    """`map` over all items: the whole input is taken before the first result, and one failure ends it."""
    gc.collect()
    started = perf_counter()
    with executor() as pool:
        for _ in pool.map(workloads.one, range(items), chunksize=chunk):
            pass
    return rate(items, perf_counter() - started)


def threads() -> Executor:
    return ThreadPoolExecutor(cpus())


def processes(start_method: str) -> Executor:
    return ProcessPoolExecutor(cpus(), mp_context=multiprocessing.get_context(start_method))


def _executors() -> list[Contender]:
    contender = functools.partial(Contender, topic=TOPIC, kind="executor")
    made = [
        contender(
            name="ThreadPoolExecutor.submit",
            measure=functools.partial(submit, executor=threads),
            items=100_000,
            few=500,
        ),
        contender(
            name="ThreadPoolExecutor.map",
            measure=functools.partial(mapped, executor=threads, chunk=1),
            items=100_000,
            few=500,
        ),
    ]
    methods = [m for m in ("fork", "forkserver", "spawn") if m in multiprocessing.get_all_start_methods()]
    for method in methods[:2]:
        executor = functools.partial(processes, method)
        made.append(
            contender(
                name=f"ProcessPoolExecutor.submit, {method}",
                measure=functools.partial(submit, executor=executor),
                items=20_000,
                few=100,
            )
        )
    for chunk, items in ((10, 100_000), (1000, 1_000_000)):
        made.append(
            contender(
                name=f"ProcessPoolExecutor.map, chunksize {chunk}",
                measure=functools.partial(mapped, executor=functools.partial(processes, methods[0]), chunk=chunk),
                items=items,
                few=chunk * 2,
            )
        )
    return made


def _bare() -> list[Contender]:
    return [
        Contender(
            topic=TOPIC,
            kind="bare",
            name=f"{name}, chunk of {chunk}",
            measure=functools.partial(measure, chunk=chunk),
            items=items * chunk // (3 if chunk > 1 else 1),
            few=2_000,
        )
        for name, measure, items in (
            ("bare loop", bare_loop, 2_000_000),
            ("bare threads", bare_threads, 1_000_000),
        )
        for chunk in (1, 10)
    ]


def _ours() -> list[Contender]:
    return [
        Contender(
            topic=TOPIC,
            kind="ours",
            name=f"{pool}, chunk of {chunk}",
            measure=functools.partial(consume, pool=pool, messages_bulk_size=chunk),
            items=items,
            few=2_000,
        )
        for pool, chunk, items in (
            ("threads", 1, 1_000_000),
            ("threads", 10, 2_000_000),
            ("processes", 1, 500_000),
            ("processes", 10, 1_500_000),
            ("coroutines", 1, 200_000),
            ("coroutines", 10, 1_000_000),
        )
    ]


CONTENDERS = [*_bare(), *_executors(), *_ours()]
