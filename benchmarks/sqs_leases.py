"""Ten thousand messages in flight, each hidden for 30 seconds: how many calls a second keep them so.

The same number of calls a second is due for a thousand that are hidden for 3 seconds; with these it is tried whether
they are kept where each of the calls takes as long as over a network.
And a keeper that cannot keep up: calls that renew take so long that fewer messages can be held than come.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from time import monotonic
from typing import Any

from contender import Contender, Sample
from queue_consumer import Consumer, Event, LeasesBehind
from queue_consumer_sqs import SQSQueue
from sqs_stand import BODY, Plain, Stand

TOPIC = "SQS leases"
HELD, FAR = "10,000 messages in flight, 30 s", "1,000 messages in flight, 3 s, 20 ms away"
BEHIND = "a keeper that cannot keep up"
LEASE, LEASE_FAR = 30, 3
NETWORK = 0.02  # seconds that a renewal takes longer
ENOUGH = 1_000  # messages; with fewer, it is but a look whether all runs
PERIODS = 2  # each half a lease, in which every message is renewed once
RENEW = "ChangeMessageVisibilityBatch"

SHORT_LEASE = 4
SLOW_CALL = 1.6  # seconds that a call takes that renews ten: eight at a time hold a hundred messages for half a lease
PACE = 24  # messages a second that come
LOOK = 0.25


class Holding:
    """A handler that does not come to an end until the gate is opened."""

    def __init__(self) -> None:
        self.gate = threading.Event()

    def __call__(self, messages: Iterator[Any]) -> None:
        for _ in messages:
            self.gate.wait()


def held(items: int, *, lease: int, latency: float = 0.0) -> Sample:
    """Fetches so many, holds them for some periods, and asks the service whether any is to be seen."""
    periods = PERIODS if items >= ENOUGH else 1
    lease = lease if items >= ENOUGH else 2
    handler = Holding()
    with Stand() as stand:
        name = stand.queue(items)
        stand.slow_down(RENEW, latency)
        queue = SQSQueue(name, endpoint_url=stand.endpoints[0], visibility_timeout=lease, batch_size=100)
        consumer: Consumer[Any] = Consumer(queue, handler, 2, 1, prefetch=items)
        consumer.start()
        while (stats := consumer.stats()).in_flight + stats.lost < items:
            time.sleep(0.05)  # only the statistics know
        full = monotonic()
        seen = 0
        while not (renewals := stand.calls(RENEW)):
            time.sleep(0.2)  # the proxy rings no bell here
        since = max(full, renewals[0].began)
        until = since + periods * lease / 2
        while monotonic() < until:
            seen += len(stand.plain.receive(stand.url(name)))  # what is not hidden any more, another consumer is given
            time.sleep(0.5)  # so often is it looked at
        stats = consumer.stats()
        beats = [call for call in stand.calls(RENEW) if since <= call.began < until]
        handler.gate.set()
        report = consumer.shutdown()
    if not report.balanced:
        raise AssertionError(str(report))
    by_second = Counter(int(call.began - since) for call in beats)
    return {
        "items": items,
        "seconds": until - since,
        "heartbeats": len(beats) / (until - since),
        "busiest_second": max(by_second.values(), default=0),
        "renewed": sum(call.count for call in beats) / items,
        "expired": seen + stats.lost,
    }


def behind(seconds: int, *, prefetch: int = 400) -> Sample:
    """Messages come for so many seconds, and none is done with; the keeper can hold but a part of them."""
    handler = Holding()
    told: list[tuple[float, int]] = []

    def listen(event: Event) -> None:
        if isinstance(event, LeasesBehind):
            told.append((monotonic(), consumer.stats().in_flight))

    with Stand() as stand:
        name = stand.queue()
        plain = Plain(stand.server)
        stand.slow_down(RENEW, SLOW_CALL)
        queue = SQSQueue(name, endpoint_url=stand.endpoints[0], visibility_timeout=SHORT_LEASE)
        consumer: Consumer[Any] = Consumer(queue, handler, 1, 1, prefetch=prefetch, observers=[listen])
        began = monotonic()
        consumer.start()
        words: Counter[str] = Counter()
        held_at_most = 0
        while (elapsed := monotonic() - began) < seconds:
            plain.send(stand.url(name), [BODY] * int(PACE * LOOK))
            stats = consumer.stats()
            words[stats.fetching] += 1
            held_at_most = max(held_at_most, stats.in_flight)
            time.sleep(LOOK)  # so they come
        stats = consumer.stats()
        handler.gate.set()
        report = consumer.shutdown()
    return {
        "items": PACE * seconds,
        "said_after": told[0][0] - began if told else float(seconds),
        "held_when_said": told[0][1] if told else 0,
        "said": len(told),
        "in_flight_at_most": held_at_most,
        "came": int(PACE * elapsed),
        "held_back": words["leases are behind"] / max(1, words.total()),
        "lost": stats.lost,
        "balanced": report.balanced,
    }


CONTENDERS = [
    Contender(
        topic=TOPIC,
        name=HELD,
        kind="ours",
        measure=functools.partial(held, lease=LEASE),
        items=10_000,
        few=100,
        rounds=1,
    ),
    Contender(
        topic=TOPIC,
        name=FAR,
        kind="ours",
        measure=functools.partial(held, lease=LEASE_FAR, latency=NETWORK),
        items=1_000,
        few=50,
        rounds=1,
    ),
    Contender(topic=TOPIC, name=BEHIND, kind="ours", measure=behind, items=12, few=4, rounds=1),
]
