"""How long it takes to import the package, to start a consumer, and to stop one that is idle."""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from time import perf_counter
from typing import Any

import workloads
from contender import POOLS, Contender, Pool, Sample
from queue_consumer import Consumer
from queues import BlockingQueue

TOPIC = "start and stop"

_IMPORT = """
from time import perf_counter
started = perf_counter()
import queue_consumer
print(perf_counter() - started)
"""


def importing(times: int) -> Sample:
    """The import alone, each time in a new interpreter; the first, which compiles, is not kept.

    Compiled modules are kept in a folder of our own, since an environment may forbid it elsewhere.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-c", _IMPORT]
        took = [float(subprocess.check_output(command, env=environment)) for _ in range(times + 1)]
    return {"items": times, "import": statistics.median(took[1:])}


def line(times: int, *, pool: Pool) -> Sample:
    """Starts a consumer whose `get()` blocks, lets it fall idle, and stops it; medians."""
    handler: Any = workloads.async_loop if pool == "coroutines" else workloads.loop
    starts: list[float] = []
    stops: list[float] = []
    for _ in range(times):
        consumer: Consumer[Any] = Consumer(BlockingQueue[Any](), handler, pool=pool)
        before = perf_counter()
        consumer.start()
        starts.append(perf_counter() - before)
        time.sleep(0.3)  # that everybody sleeps cannot be waited for: nothing happens when they do
        before = perf_counter()
        report = consumer.shutdown()
        stops.append(perf_counter() - before)
        if not report.balanced:
            raise AssertionError(str(report))
    return {"items": times, "start": statistics.median(starts), "stop": statistics.median(stops)}


CONTENDERS = [
    Contender(topic=TOPIC, kind="ours", name="import queue_consumer", measure=importing, items=5, few=1),
    *(
        Contender(
            topic=TOPIC,
            kind="ours",
            name=f"idle consumer, {pool}",
            measure=functools.partial(line, pool=pool),
            items=3,
            few=1,
        )
        for pool in POOLS
    ),
]
