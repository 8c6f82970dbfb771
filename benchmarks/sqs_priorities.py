"""Urgent messages among slow ones: how long an urgent one waits while there is a handler for it.

A hundred low messages wait, each 100 ms of work for one of two handlers; urgent ones, 5 ms each, come by one to three:
now and then, or one after the other without a pause. Of those that were at the service when the handler that came to
take them was free of its last call, it is measured how long that handler waited. (Those that come while a handler has
nothing to do, and so wait for the way and for nothing else, are counted apart.) Beside it stands the round trip of a
poll: what boto3 takes, at the same time and over the same way, to be told that a queue is empty.
"""

from __future__ import annotations

import functools
import random
import statistics
import threading
import time
from collections.abc import Iterator
from time import monotonic
from typing import Any

from contender import Contender, Sample
from queue_consumer import Consumer, Report
from queue_consumer_sqs import Bus, PriorityBuses, SQSMessage
from sqs_stand import Plain, Stand, client_of

TOPIC = "SQS priorities"
NAME, DENSE = "urgent ones now and then", "urgent ones without a pause"
LATENCIES = (0, 50, 120, 200)  # milliseconds that a call takes longer
LOWS = 100
HANDLERS = 2
LOW_TAKES, URGENT_TAKES = 0.1, 0.005
GAP, NO_GAP = 0.3, 0.08  # seconds between arrivals, on average
ENOUGH = 50  # urgent messages; with fewer, it is but a look whether all runs
PROBE = 0.5  # seconds between two looks at how long a round trip takes


class Clerk:
    """Handles messages, and writes down when each began, and since when its thread had been free."""

    def __init__(self, total: int) -> None:
        self.began: dict[str, float] = {}
        self.free: dict[str, float] = {}
        self.begun = threading.Event()
        self.finished = threading.Event()
        self._total = total
        self._last: dict[int, float] = {}

    def __call__(self, messages: Iterator[SQSMessage]) -> None:
        for message in messages:
            self.free[message.body] = self._last.get(threading.get_ident(), 0.0)
            self.began[message.body] = monotonic()
            self.begun.set()
            time.sleep(LOW_TAKES if message.bus == "low" else URGENT_TAKES)
            self._last[threading.get_ident()] = monotonic()
        if len(self.began) >= self._total:
            self.finished.set()


class Scene:
    """A line behind one latency, its two queues, and who sends the urgent messages."""

    def __init__(self, stand: Stand, proxy: int, urgent: int, lows: int, gap: float) -> None:
        self.clerk = Clerk(urgent + lows)
        self.arrived: dict[str, float] = {}
        names = {bus: stand.queue() for bus in ("low", "urgent")}
        self._plain = Plain(stand.server)
        self._url = stand.url(names["urgent"])
        self._urgent = urgent
        self._gap = gap
        self._dice = random.Random(proxy)
        self._plain.send(stand.url(names["low"]), [f"low {each}" for each in range(lows)])
        buses = [Bus("low", 1, [names["low"]]), Bus("urgent", 5, [names["urgent"]])]
        queue = PriorityBuses(buses, endpoint_url=stand.endpoints[proxy])
        self._consumer: Consumer[Any] = Consumer(queue, self.clerk, max_handlers=HANDLERS)
        self._sending = threading.Thread(target=self._send)
        self._probing = threading.Thread(target=self._probe)
        self._client = client_of(stand.endpoints[proxy])
        self._empty = stand.url(stand.queue())
        self.round_trips: list[float] = []

    def start(self) -> None:
        self._consumer.start()
        self._sending.start()
        self._probing.start()

    def _send(self) -> None:
        self.clerk.begun.wait()
        while len(self.arrived) < self._urgent:
            time.sleep(self._dice.expovariate(1 / self._gap))  # they come when they come
            first = len(self.arrived)
            some = range(first, min(self._urgent, first + self._dice.choice((1, 1, 2, 3))))
            bodies = [f"urgent {each}" for each in some]
            self._plain.send(self._url, bodies)
            self.arrived.update(dict.fromkeys(bodies, monotonic()))

    def _probe(self) -> None:
        while True:
            began = monotonic()
            self._client.receive_message(QueueUrl=self._empty, WaitTimeSeconds=0)
            self.round_trips.append(monotonic() - began)
            if self.clerk.finished.wait(PROBE):
                return

    def end(self) -> Report:
        self._sending.join()
        self.clerk.finished.wait()
        self._probing.join()
        return self._consumer.shutdown()

    def waits(self) -> list[float]:
        """Of each urgent message that was there when its handler became free, how long that waited."""
        began, free = self.clerk.began, self.clerk.free
        return [began[body] - free[body] for body, came in self.arrived.items() if came <= free[body]]

    def ways(self) -> list[float]:
        """Of each urgent message that came when its handler was free, how long it was on its way."""
        began, free = self.clerk.began, self.clerk.free
        return [max(0.0, began[body] - came) for body, came in self.arrived.items() if came > free[body]]

    def ages(self) -> list[float]:
        """Of each urgent message, how long it was there, whatever it waited for."""
        return [max(0.0, self.clerk.began[body] - came) for body, came in self.arrived.items()]


def measure(urgent: int, *, gap: float) -> Sample:
    """All latencies side by side, so many urgent messages each."""
    lows = LOWS if urgent >= ENOUGH else urgent
    with Stand(latencies=[each / 1000 for each in LATENCIES]) as stand:
        scenes = [Scene(stand, proxy, urgent, lows, gap) for proxy in range(len(LATENCIES))]
        for scene in scenes:
            scene.start()
        reports = [scene.end() for scene in scenes]
    for report in reports:
        if not report.balanced:
            raise AssertionError(str(report))
    found: dict[str, float] = {"items": urgent}
    for latency, scene in zip(LATENCIES, scenes, strict=True):
        trip = found[f"round trip at {latency}"] = statistics.median(scene.round_trips)
        for what, seconds in (("wait", scene.waits()), ("way", scene.ways()), ("age", scene.ages())):
            found[f"{what} count at {latency}"] = len(seconds)
            if len(seconds) > 1:
                cuts = statistics.quantiles(seconds, n=100, method="inclusive")
                found[f"{what} p50 at {latency}"] = cuts[49]
                found[f"{what} p99 at {latency}"] = cuts[98]
        if f"wait p99 at {latency}" in found:
            found[f"beyond at {latency}"] = found[f"wait p99 at {latency}"] - trip
    return found


CONTENDERS = [
    Contender(topic=TOPIC, name=NAME, kind="ours", measure=functools.partial(measure, gap=GAP), items=60, few=6),
    Contender(
        topic=TOPIC,
        name=DENSE,
        kind="ours",
        measure=functools.partial(measure, gap=NO_GAP),
        items=120,
        few=6,
        rounds=1,
    ),
]
