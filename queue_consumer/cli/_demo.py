"""`demo`: a line at work on orders in memory, with trouble planted, and accounted for at the end."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence

from queue_consumer import Constant, Consumer, Idle, MemoryQueue, Supervision, current

from ._exits import Exit
from ._options import Option, count
from ._progress import Progress

NAME = "demo"
SUMMARY = "show a line at work: failures and deaths are planted, and accounted for"
EXAMPLES = """\
  queue-consumer demo                    threads, then processes
  queue-consumer demo --items 100000     for longer"""

POOLS = ("threads", "processes")
FAILS, KILLS = 100, 997  # every so many: an order that fails the first time, one that kills its process the first time


def options() -> Sequence[Option]:
    return (Option("--items", "so many orders", count(10), 5000, shown="N"),)


def handle(orders: Iterator[int]) -> None:
    """Some orders fail the first time that they come, and some kill the process that they are handled in."""
    for order in orders:
        if current().attempt != 1:
            continue
        if order % KILLS == KILLS // 2 and multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        if order % KILLS == KILLS // 2 or order % FAILS == FAILS // 2:
            raise ValueError("the first time it fails")


def run(arguments: argparse.Namespace) -> int:
    # What goes wrong here is meant to, and the log would say so hundreds of times.
    log = logging.getLogger("queue_consumer")
    log.propagate, before = False, log.propagate
    try:
        good = [demonstrate(pool, arguments.items) for pool in POOLS]
    finally:
        log.propagate = before
    print("everything agrees" if all(good) else "SOMETHING DOES NOT AGREE")
    return int(Exit.CLEAN if all(good) else Exit.UNEXPECTED)


def demonstrate(pool: str, items: int) -> bool:
    queue = MemoryQueue(range(items), wait=0.05)
    planted = len([order for order in range(items) if order % FAILS == FAILS // 2 or order % KILLS == KILLS // 2])
    kills = len([order for order in range(items) if order % KILLS == KILLS // 2]) if pool == "processes" else 0
    consumer = Consumer(
        queue,
        handle,
        max_workers=1,
        max_handlers=2,
        messages_bulk_size=10,
        with_thread_executor=pool == "threads",
        backoff=Constant(0.05),
        stop_when=Idle(0.3),
        supervision=Supervision(restart_base=0.01),
    )
    progress = Progress(pool, items)
    began = time.monotonic()
    with consumer:
        while consumer.state.value == "running":
            progress(consumer.stats().cleaned)
            consumer.wait_idle(0.05)
            if consumer.stats().cleaned >= items:
                break
        took = time.monotonic() - began
    report = consumer.shutdown()
    progress(report.stats.cleaned)
    progress.end()
    stats = report.stats
    cleaned = stats.cleaned == queue.stats()["cleaned"] == items
    rows = {
        f"{items:,} orders were put in, and so many cleaned up, each once": cleaned,
        f"{planted:,} were to fail once, and came again": stats.failed == stats.released == planted,
        f"{kills} processes were to be killed, and so many replaced": stats.revived == kills,
        "the ledger balances, and nothing is left": report.balanced and not report.leftovers,
    }
    print(f"{pool}: {report} in {took:.1f} s")
    for words, true in rows.items():
        print(f"  {'✔' if true else '✘'} {words}")
    return all(rows.values())
