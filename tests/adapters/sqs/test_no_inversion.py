"""No lower message is started while a higher one lies there, whatever the way to the service is like.

Schedules at random, on a server: buses of two to four queues, whose calls take up to 200 ms longer, each its own time;
messages that come alone and in bursts; and handlers that take up to 60 ms for each. The judge knows nothing of the
line but when a bulk was on the belt. All else it takes from the log of the proxy, which says when each answer was
delivered, and from what the handlers wrote down; `lane_order` says what can be concluded from that, and what not.

`SQS_SCHEDULES=1000` goes through a thousand of them, in some minutes.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from queue_consumer import BulkReceived, Consumer, Event, Report, Strict
from queue_consumer_sqs import Bus, PriorityBuses, SQSMessage
from support.lane_order import Journal
from support.lanes import Call, Job, Poll
from support.proxied import Proxied
from support.sqs_calls import Call as Seen
from support.sqs_proxy import Proxy

pytest_plugins = ["support.proxied_fixtures"]

SCHEDULES = int(os.environ.get("SQS_SCHEDULES", "48"))
ON_ONE_LINE = 8  # schedules, one after the other
AT_ONCE = 6  # lines
LATENCIES = ((0.0, 0.0), (0.0, 0.05), (0.0, 0.2))  # seconds, of which each call draws its own
LASTS = 0.4  # seconds in which the messages of a schedule come
LONGEST = 0.06  # seconds that a handler takes for one
PATIENCE = 60.0


def job_of(body: str) -> Job:
    lane, _, number = body.partition(":")
    return Job(lane, int(number))


class Clerk:
    """Handles messages, and writes down each call: on which thread, from when to when, and with what."""

    def __init__(self, seed: str) -> None:
        self.calls: list[Call] = []
        self._dice = random.Random(seed)
        self._changed = threading.Condition()

    def __call__(self, messages: Iterator[SQSMessage]) -> None:
        began = time.monotonic()
        taken: list[Job] = []
        for message in messages:
            taken.append(job_of(message.body))
            time.sleep(LONGEST * self._dice.random())  # so long does it take
        call = Call(str(threading.get_ident()), began, time.monotonic(), tuple(taken))
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()

    @property
    def handled(self) -> int:
        return sum(len(call.items) for call in self.calls)

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.handled >= count, PATIENCE), f"{self.handled} of {count}"


class Hearing:
    """Writes down when each message was on the belt: the getter tells of it afterwards."""

    def __init__(self) -> None:
        self.belted: dict[Job, float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, BulkReceived):
            now = time.monotonic()
            self.belted.update((job_of(message.body), now) for message in event.items)


class Rig:
    """A line with buses, drawn by a seed, and schedules that it goes through."""

    def __init__(self, seed: str, proxied: Proxied, proxies: Sequence[Proxy]) -> None:
        dice = random.Random(seed)
        self._dice = dice
        self._proxied = proxied
        self.clerk = Clerk(seed)
        self.hearing = Hearing()
        self.urls = {lane: proxied.make() for lane in "ABCD"[: dice.randrange(2, 5)]}
        self.priorities = {lane: dice.choice((0, 1, 1, 2, 5)) for lane in self.urls}
        if len(set(self.priorities.values())) == 1:
            self.priorities["A"] += 3
        self.proxies = {lane: dice.choice(proxies) for lane in self.urls}
        self.handlers = dice.choice((1, 1, 2, 3))
        self._numbers = itertools.count(1)
        self._size = dice.choice((1, 1, 2))
        self._policy = dice.choice((Strict(), Strict(right_of_way=0)))
        self._look_ahead: Any = dice.choice(("bulk", "bulk", "message"))

    def go(self, schedules: int) -> Report:
        """Go through so many schedules; raises if a message is not handled, or the ledger does not balance."""
        buses = [
            Bus(
                lane,
                self.priorities[lane],
                [url.rpartition("/")[2]],
                endpoint_url=self.proxies[lane].endpoint_url,
                session=self._proxied.session,
            )
            for lane, url in self.urls.items()
        ]
        queue = PriorityBuses(buses, look_ahead=self._look_ahead)
        consumer = Consumer(
            queue,
            self.clerk,
            1,
            self.handlers,
            self._size,
            lane_policy=self._policy,
            observers=[self.hearing],
        )
        sent = 0
        with consumer:
            for _ in range(schedules):
                sent += self._play()
                self.clerk.wait_for(sent)
        report = consumer.shutdown()
        assert report.balanced, str(report)
        assert report.stats.cleaned == sent, str(report)
        return report

    def _play(self) -> int:
        """Send the messages of one schedule, each in its time; how many."""
        arrivals = sorted(
            (LASTS * self._dice.random(), lane, self._dice.choice((1, 1, 2, 5)))
            for lane in self.urls
            for _ in range(self._dice.choice((0, 1, 1, 2)))
        )
        began = time.monotonic()
        for due, lane, count in arrivals:
            time.sleep(max(0.0, began + due - time.monotonic()))  # it comes when it comes
            self._proxied.send(self.urls[lane], *(f"{lane}:{next(self._numbers)}" for _ in range(count)))
        return sum(count for _, _, count in arrivals)

    def journal(self) -> Journal:
        """What was written down, as the judge of lanes reads it."""
        queues = {url.rpartition("/")[2]: lane for lane, url in self.urls.items()}
        polls: dict[str, list[Poll]] = {lane: [] for lane in self.urls}
        for proxy in set(self.proxies.values()):
            for receive in proxy.calls("ReceiveMessage", where=lambda call: call.queue in queues):
                polls[queues[receive.queue]].append(poll_of(receive))
        return Journal(self.priorities, polls, self.clerk.calls, self.hearing.belted)


def poll_of(receive: Seen) -> Poll:
    """One receive: the line cannot have had its messages before it was delivered."""
    items = [job_of(body) for body in receive.bodies] if receive.delivered else []
    return Poll(0, receive.began, receive.ended or float("inf"), items, over=bool(receive.ended))


def choices(journal: Journal) -> int:
    """How often the line had to choose: a message was started before one of a lower lane that lay there, too."""
    facts = journal.facts()
    return sum(
        journal.priorities[high.lane] > journal.priorities[low.lane]
        and low.belted < high.after
        and high.began < low.after
        for high in facts
        for low in facts
    )


def batches(rigs: Iterable[str]) -> Iterator[tuple[str, ...]]:
    names = iter(rigs)
    while batch := tuple(itertools.islice(names, AT_ONCE)):
        yield batch


@pytest.mark.timeout(60 + 4 * SCHEDULES)
def test_no_lower_message_is_started_while_a_higher_one_lies_there(proxied: Proxied) -> None:
    """Whatever the calls take, there is no inversion in any schedule; and it was not for want of occasions."""
    chosen = 0
    for batch in batches(f"rig {number}" for number in range(-(-SCHEDULES // ON_ONE_LINE))):
        with ExitStack() as opened:
            proxies = [
                opened.enter_context(Proxy(proxied.endpoint_url, latency=latency, seed=number))
                for number, latency in enumerate(LATENCIES)
            ]
            rigs = [Rig(seed, proxied, proxies) for seed in batch]
            with ThreadPoolExecutor(AT_ONCE) as lines:
                for going in [lines.submit(rig.go, ON_ONE_LINE) for rig in rigs]:
                    going.result()
            for seed, rig in zip(batch, rigs, strict=True):
                journal = rig.journal()
                assert journal.inversions() == [], seed
                chosen += choices(journal)
    assert chosen >= SCHEDULES / 4
