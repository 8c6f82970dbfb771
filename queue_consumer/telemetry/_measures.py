"""What events and the ledger come to in numbers: read once, for whichever library is to count them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from queue_consumer import (
    BulkReceived,
    ChunkHandled,
    ChunkStarted,
    CleanupFailed,
    Event,
    HandlerStuck,
    ItemsCleaned,
    Stalled,
    State,
    Stats,
    WorkerDied,
)

from . import names
from .names import Metric

__all__ = ["Measure", "Source", "measures_of", "readings_of"]

FATES = ("cleaned", "dropped", "released", "left", "tombstoned", "lost", "abandoned")


class Measure(NamedTuple):
    """So much, so many times, of one metric."""

    metric: Metric
    value: float
    attributes: Mapping[str, str]
    times: int = 1


class Source:
    """Where numbers come from: what all of one consumer's have in common.

    Args:
        name: of the consumer.
        system: what kind of broker, as the conventions have it: `aws_sqs`, `rabbitmq`, …
        destination: the queue's name, for items that do not say it (by an attribute `queue`).
    """

    def __init__(self, name: str = "", system: str = "", destination: str = "") -> None:
        self.name, self.system, self.destination = name, system, destination
        self.stats: Callable[[], Stats] | None = None  # known from the start of the consumer on

    def common(self, destination: str | None = None) -> dict[str, str]:
        return {
            names.CONSUMER: self.name,
            names.SYSTEM: self.system,
            names.DESTINATION: self.destination if destination is None else destination,
        }

    def queue_of(self, item: Any) -> str:
        queue = getattr(item, "queue", None)
        return queue if isinstance(queue, str) and queue else self.destination

    def by_queue(self, items: Sequence[Any]) -> Counter[str]:
        return Counter(map(self.queue_of, items))


def measures_of(event: Event, source: Source) -> Iterator[Measure]:
    """What one event adds."""
    match event:
        case BulkReceived():
            receive = {names.OPERATION_NAME: "receive"}
            yield Measure(names.OPERATION, event.took, {**source.common(), **receive, names.OPERATION_TYPE: "receive"})
            for queue, count in source.by_queue(event.items).items():
                yield Measure(names.CONSUMED, count, {**source.common(queue), **receive})
        case ChunkStarted():
            for queue, count in source.by_queue(event.items).items():
                yield Measure(names.ON_BELT, event.on_belt, source.common(queue), count)
        case ChunkHandled():
            yield from handled(event, source)
        case ItemsCleaned():
            settle = {names.OPERATION_NAME: "cleanup", names.OPERATION_TYPE: "settle"}
            yield Measure(names.OPERATION, event.took, {**source.common(), **settle})
        case CleanupFailed():
            yield Measure(names.CLEANUP_FAILED, 1, source.common())
        case WorkerDied():
            yield Measure(names.DIED, 1, source.common())
        case HandlerStuck():
            yield Measure(names.STUCK_TOLD, 1, source.common())
        case Stalled():
            yield Measure(names.STALLED_TOLD, 1, source.common())
        case _:
            pass


def handled(event: ChunkHandled, source: Source) -> Iterator[Measure]:
    """An item's share of its handler call; those that were handed on were not handled.

    A call has one failure: items of it that failed otherwise are counted under that.
    """
    kind = "retry" if event.failure is None else event.failure.kind
    groups = ((event.consumed, ""), (event.failed, kind), (event.dropped, "drop"))
    total = sum(len(items) for items, _ in groups)
    for items, error in groups:
        for queue, count in source.by_queue(items).items():
            attributes = {**source.common(queue), names.OPERATION_NAME: "process", names.ERROR_TYPE: error}
            yield Measure(names.PROCESS, event.took / total, attributes, count)


def readings_of(stats: Stats, source: Source) -> Iterator[Measure]:
    """What the ledger and the queue's meter say now."""
    common = source.common()
    for metric, value in (
        (names.RECEIVED, stats.received),
        (names.FAILED, stats.failed),
        (names.DUPLICATES, stats.duplicates),
        (names.IN_FLIGHT, stats.in_flight),
        (names.REVIVED, stats.revived),
        (names.STUCK, stats.stuck),
        (names.FETCHING, stats.fetching == "yes"),
        (names.RUNNING, stats.state is State.RUNNING),
    ):
        yield Measure(metric, float(value), common)
    for fate in FATES:
        yield Measure(names.ENDED, getattr(stats, fate), {**common, names.FATE: fate})
    for queue, meter in meters(stats.queue, source.destination):
        for call, count in meter["calls"].items():
            yield Measure(names.CALLS, count, {**source.common(queue), names.CALL: call})
        if isinstance(meter.get("dollars"), (int, float)):
            yield Measure(names.COST, meter["dollars"], source.common(queue))


def meters(given: Mapping[str, Any], name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The meters of a queue, or of each of several, by name."""
    if isinstance(given.get("calls"), Mapping):
        yield name, given
        return
    for inner_name, inner in given.items():
        if isinstance(inner, Mapping):
            yield from meters(cast("Mapping[str, Any]", inner), str(inner_name))
