"""`bench`: how much of this machine the line itself costs, with a queue in memory and handlers that do nothing.

It prints ratios to what the standard library does with the same handlers in the same run. The whole set of benchmarks,
with other libraries beside, is in the source tree: `make bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from queue_consumer import Consumer

from ._options import Option, count

NAME = "bench"
SUMMARY = "measure the line on this machine: a queue in memory, handlers that do nothing"
EXAMPLES = """\
  queue-consumer bench                         a few seconds; a table
  queue-consumer bench --items 1000000 --json  longer, for a file

Your handlers and your broker will dwarf these numbers: they tell when the line would stand in your way."""


def options() -> Sequence[Option]:
    return (
        Option("--items", "so many for each row", count(1000), 50_000, shown="N"),
        Option("--rounds", "each row is the median of so many", count(), 3, shown="N"),
        Option("--json", "print JSON", None, False),
    )


NOTHING: list[int] = []


class Supply:
    """A queue that gives ten numbers at a time, so many in all, from `go` on; `done` when all are cleaned up."""

    def __init__(self, items: int) -> None:
        self._bulks = iter([list(range(10))] * (items // 10))
        self._left = items
        self._lock = threading.Lock()
        self.go, self.done = threading.Event(), threading.Event()

    def get(self) -> list[int]:
        self.go.wait()
        return next(self._bulks, NOTHING)

    def cleanup(self, items: Sequence[int]) -> None:
        with self._lock:
            self._left -= len(items)
            if not self._left:
                self.done.set()


def nothing(items: Iterator[int]) -> None:
    for _ in items:
        pass


async def nothing_async(items: Any) -> None:
    for _ in items:
        pass


def nothing_of(item: int) -> None:
    pass


def by_executor(items: int) -> float:
    """Seconds that it takes."""
    with ThreadPoolExecutor(2) as executor:
        began = time.perf_counter()
        for future in [executor.submit(nothing_of, item) for item in range(items)]:
            future.result()
        return time.perf_counter() - began


def by_line(handler: Callable[[Any], Any], **arguments: Any) -> Callable[[int], float]:
    def run(items: int) -> float:
        supply = Supply(items)
        with Consumer(supply, handler, 2, 2, **arguments):
            began = time.perf_counter()
            supply.go.set()
            supply.done.wait()
            return time.perf_counter() - began

    return run


ROWS: dict[str, Callable[[int], float]] = {
    "concurrent.futures, threads": by_executor,
    "threads, one by one": by_line(nothing),
    "threads, chunks of 10": by_line(nothing, messages_bulk_size=10),
    "coroutines, chunks of 10": by_line(nothing_async, messages_bulk_size=10),
    "processes, one by one": by_line(nothing, pool="processes"),
    "processes, chunks of 10": by_line(nothing, pool="processes", messages_bulk_size=10),
}


def run(arguments: argparse.Namespace) -> int:
    items: int = arguments.items - arguments.items % 10
    measured: dict[str, list[float]] = {name: [] for name in ROWS}
    for number in range(arguments.rounds):  # interleaved, so that a disturbance does not fall on one row alone
        for name, row in ROWS.items():
            if sys.stderr.isatty():
                print(f"\r\x1b[Kround {number + 1}: {name} …", end="", file=sys.stderr, flush=True)
            measured[name].append(items / row(items))
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    rates = {name: statistics.median(rounds) for name, rounds in measured.items()}
    if arguments.json:
        surroundings = {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count()}
        print(json.dumps({**surroundings, "items": items, "items_per_second": measured}))
        return 0
    unit = rates["concurrent.futures, threads"]
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs; {items:,} items, 2 handlers")
    for name, rate in rates.items():
        print(f"  {name:<28} {rate:>12,.0f} items/s  {rate / unit:>6.1f}×")
    return 0
