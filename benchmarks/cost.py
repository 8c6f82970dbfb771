"""What each option costs those who use it: the same run with it and without it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Any

import workloads
from contender import Contender, Sample
from queue_consumer import each
from queue_consumer.observers import LogObserver
from queues import BulkQueue, Lanes
from throughput import consume

TOPIC = "cost"
CHUNK = 10


def _ignore(event: object) -> None:
    """An observer that does nothing: what remains is the making of the events."""


def observed(items: int, *, observer: str) -> Sample:
    if observer == "log":
        logging.getLogger("queue_consumer").addHandler(logging.NullHandler())
        return consume(items, pool="threads", messages_bulk_size=CHUNK, observers=(LogObserver(),))
    return consume(items, pool="threads", messages_bulk_size=CHUNK, observers=(_ignore,))


class _BodyQueue(BulkQueue):
    """Gives messages as a broker would: a dictionary with a kilobyte of body."""

    _BODY = "x" * 1024

    def get(self) -> Any:
        return [{"id": number, "body": self._BODY, "attributes": {}} for number in super().get()]


def bodies(items: int, *, pool: str) -> Sample:
    return consume(items, pool=pool, messages_bulk_size=CHUNK, source=_BodyQueue(items))


def lanes(items: int, *, count: int, pool: str = "threads") -> Sample:
    """So many queues, of different priorities, in the place of one."""
    return consume(items, pool=pool, messages_bulk_size=CHUNK, source=Lanes(items, count))


def keys(items: int, *, count: int, pool: str = "threads") -> Sample:
    """So many keys, in turns. A chunk holds one item of a key at most, and so one item if there is one key."""
    return consume(items, pool=pool, messages_bulk_size=CHUNK, key=lambda item: item % count)


class _KnownQueue(BulkQueue):
    """A queue that knows a message when it comes again."""

    def identity(self, item: int) -> int:
        return item


class _LeasedQueue(BulkQueue):
    """A queue whose items have a lease that nobody waits for."""

    lease = 30.0

    def extend(self, items: Sequence[int], seconds: float) -> None:
        """They are ours until then."""


def known(items: int) -> Sample:
    return consume(items, pool="threads", messages_bulk_size=CHUNK, source=_KnownQueue(items))


def leased(items: int) -> Sample:
    return consume(items, pool="threads", messages_bulk_size=CHUNK, source=_LeasedQueue(items))


def _contender(name: str, measure: Any, items: int = 1_000_000) -> Contender:
    return Contender(topic=TOPIC, kind="ours", name=name, measure=measure, items=items, few=2_000)


_threads = functools.partial(consume, pool="threads", messages_bulk_size=CHUNK)

CONTENDERS = [
    _contender("threads as they come", _threads),
    _contender("an observer that does nothing", functools.partial(observed, observer="nothing")),
    _contender("LogObserver, logger off", functools.partial(observed, observer="log")),
    _contender('receipt="return"', functools.partial(_threads, receipt="return")),
    _contender('receipt="explicit"', functools.partial(_threads, receipt="explicit", handler=workloads.acknowledge)),
    _contender("each(function)", functools.partial(_threads, handler=each(workloads.one))),
    _contender("time_limit", functools.partial(_threads, time_limit=60)),
    _contender("threads, 1 KiB messages", functools.partial(bodies, pool="threads")),
    _contender("one queue with lanes, of one", functools.partial(lanes, count=1)),
    _contender("three lanes", functools.partial(lanes, count=3), 100_000),
    *(_contender(f"keys: {count:,}", functools.partial(keys, count=count), 200_000) for count in (1, 10, 100, 1_000)),
    _contender("identity", known, 300_000),
    _contender("leases", leased, 300_000),
    _contender("processes as they come", functools.partial(consume, pool="processes", messages_bulk_size=CHUNK)),
    _contender("processes, 1 KiB messages", functools.partial(bodies, pool="processes"), 200_000),
    _contender("processes, three lanes", functools.partial(lanes, count=3, pool="processes"), 50_000),
    _contender("processes, keys: 1,000", functools.partial(keys, count=1_000, pool="processes"), 50_000),
]


def compared_with(name: str) -> str:
    """The full name of the row without the option of the row `name`."""
    pool = "processes" if "processes" in name else "threads"
    return f"{TOPIC}: {pool} as they come"
