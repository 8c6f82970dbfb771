"""The handlers that are measured, at module level, where child processes can import them."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import Any

NAP = 0.01

latencies: list[float] = []
LATENCIES_FILE = "QUEUE_CONSUMER_BENCH_LATENCIES"
LATENCY = struct.Struct("d")

gate = threading.Event()


def loop(items: Iterable[Any]) -> None:
    """Reads and does nothing: what remains is the line."""
    for _ in items:
        pass


async def async_loop(items: Iterable[Any]) -> None:
    for _ in items:
        pass


def one(item: Any) -> None:
    """What executors and peers call for each item."""


def acknowledge(items: Any) -> None:
    """The no-op of `receipt="explicit"`."""
    for item in items:
        items.ack(item)


def nap(items: Iterable[Any]) -> None:
    for _ in items:
        time.sleep(NAP)


def work(items: Iterable[int]) -> None:
    """Takes 0 to 5 ms an item, the same item always as long."""
    for item in items:
        time.sleep(item * 7919 % 1000 * 5e-6)


def wait_at_the_gate(items: Iterable[Any]) -> None:
    for _ in items:
        gate.wait()


# The items of a latency run are the moments at which they were put. perf_counter is one clock for all
# processes of a machine on Linux, macOS and Windows, so that a child may subtract its parent's moments from
# its own.


def note_latency(items: Iterable[float]) -> None:
    for put_at in items:
        latencies.append(perf_counter() - put_at)


async def note_latency_async(items: Iterable[float]) -> None:
    for put_at in items:
        latencies.append(perf_counter() - put_at)


def write_latency(items: Iterable[float]) -> None:
    """As `note_latency`, for a child process: what it notes goes to a file, after the moment was taken."""
    for put_at in items:
        latency = perf_counter() - put_at
        with open(os.environ[LATENCIES_FILE], "ab", buffering=0) as file:
            file.write(LATENCY.pack(latency))


def written_latencies() -> Iterator[float]:
    with open(os.environ[LATENCIES_FILE], "rb") as file:
        for (latency,) in LATENCY.iter_unpack(file.read()):
            yield latency
