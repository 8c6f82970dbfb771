"""Calls per message, by how many messages a second are done: full batches where that is many, and what is left of them.

All lines run side by side in one process, each with a queue of its own that never runs empty; they sleep nearly all of
the time. The first seconds are not counted: a line asks for whole batches once it has seen its pace.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import Any, NamedTuple

from contender import Contender, Sample
from queue_consumer import Consumer
from queue_consumer_sqs import SQSQueue
from sqs_stand import Seen, Stand

TOPIC = "SQS calls"
NAME = "calls per message"
RATES = (1, 2, 5, 10, 20, 60, 200)  # messages a second
FULL = 60  # from so many on, every call should be of ten
HANDLERS = (1, 4)
SETTLING = 3.0  # seconds
LATE = 0.25  # seconds that a handler makes up for at most
SPARE = 60  # messages that are in the queue beyond those that are handled


def metric(handlers: int, rate: int) -> str:
    return f"{handlers} at {rate}"


class Napping:
    """A handler that is done with so many messages a second, together with its equals, if there are so many."""

    def __init__(self, rate: float, handlers: int) -> None:
        self._nap = handlers / rate
        self._due: dict[int, float] = {}
        self.done: dict[int, int] = {}  # by thread

    def __call__(self, messages: Iterator[Any]) -> None:
        thread = threading.get_ident()
        for _ in messages:
            # What it was late by it makes up for, or the pace would be that of the machine.
            due = max(self._due.get(thread, 0.0) + self._nap, monotonic() + self._nap - LATE)
            self._due[thread] = due
            time.sleep(max(0.0, due - monotonic()))
            self.done[thread] = self.done.get(thread, 0) + 1


class Line(NamedTuple):
    """A queue, and who consumes it."""

    name: str
    handler: Napping
    consumer: Consumer[Any]

    @property
    def handled(self) -> int:
        return sum(list(self.handler.done.values()))


def measure(seconds: int) -> Sample:
    """Calls per message of each line in the last of so many seconds."""
    settling = min(SETTLING, seconds / 2)
    with Stand() as stand:
        lines: dict[str, Line] = {}
        for handlers, rate in itertools.product(HANDLERS, RATES):
            name = stand.queue(math.ceil(rate * (seconds + 1)) + SPARE)
            queue = SQSQueue(name, endpoint_url=stand.endpoints[0])
            handler = Napping(rate, handlers)
            lines[metric(handlers, rate)] = Line(name, handler, Consumer(queue, handler, handlers, handlers))
        for line in lines.values():
            line.consumer.start()
        time.sleep(settling)  # there is nothing to see when they have come to their pace
        since, before = monotonic(), {what: line.handled for what, line in lines.items()}
        time.sleep(seconds - settling)  # so long is the measurement
        until, after = monotonic(), {what: line.handled for what, line in lines.items()}
        calls = stand.calls()
        for line in lines.values():
            line.consumer.stop()
        for line in lines.values():
            report = line.consumer.shutdown()
            if not report.balanced:
                raise AssertionError(str(report))
    found: dict[str, float] = {"items": len(lines)}
    for what, line in lines.items():
        mine = [call for call in calls if call.queue == line.name and since <= call.began < until]
        found[what] = per_message(mine)
        found[f"pace of {what}"] = (after[what] - before[what]) / (until - since)
    return found


def per_message(calls: Sequence[Seen]) -> float:
    """Receives for a message that came, and deletes for one that went, since these are seldom the same."""
    receives = [call for call in calls if call.operation == "ReceiveMessage"]
    deletes = [call for call in calls if call.operation.startswith("Delete")]
    others = len(calls) - len(receives) - len(deletes)
    came, went = sum(call.count for call in receives), sum(call.count for call in deletes)
    return len(receives) / max(came, 1) + (len(deletes) + others) / max(went, 1)


CONTENDERS = [Contender(topic=TOPIC, name=NAME, kind="ours", measure=measure, items=10, few=2)]
