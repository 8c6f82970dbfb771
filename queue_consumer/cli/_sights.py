"""What `top` shows of a consumer: figures from what it answers now and answered last. Pure: no clock, no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

__all__ = ["Sight", "lines_of", "sights_of"]

ENDS = ("cleaned", "dropped", "released", "left", "tombstoned", "lost", "abandoned")


@dataclass(frozen=True)
class Sight:
    """One consumer at one moment.

    Attributes:
        where: the socket.
        rate_in, rate_out: items a second that came and that ended, since the last look.
        busy: handlers that are, and for how long the one has been that has its item the longest.
        troubled: workers that are stuck, or dead, with their stacks if these were asked for.
        calls, dollars: of the queue's service, all told; None where it has no meter.
    """

    name: str
    where: str
    pid: int
    pool: str
    state: str
    fetching: str
    max_handlers: int
    stats: Mapping[str, Any]
    rate_in: float = 0.0
    rate_out: float = 0.0
    busy: int = 0
    oldest: float = 0.0
    lanes: Sequence[Mapping[str, Any]] = ()
    workers: Sequence[Mapping[str, Any]] = ()
    troubled: Sequence[Mapping[str, Any]] = ()
    calls: Mapping[str, int] = field(default_factory=dict[str, int])
    dollars: float | None = None

    @property
    def counts(self) -> str:
        """The ledger in words; what is 0 is left out, but for what came and what is in flight."""
        names = ("received", *ENDS, "failed", "duplicates")
        shown = [f"{name} {self.stats[name]:,}" for name in names if self.stats[name] or name == "received"]
        return ", ".join(shown)

    @property
    def price(self) -> str:
        """The calls of the service and their price, in words; empty where nobody counts them."""
        if self.dollars is None:
            return ""
        calls = ", ".join(f"{name} {count:,}" for name, count in self.calls.items())
        return f"{calls or 'none'}: about ${self.dollars:.6f}"


def sights_of(where: str, answer: Mapping[str, Any], before: Mapping[str, Sight], seconds: float) -> list[Sight]:
    """What is to be seen at one socket. `before`: at the last look, `seconds` ago, by name."""
    return [
        sight_of(where, answer["pid"], consumer, before.get(consumer["name"]), seconds)
        for consumer in answer["consumers"]
    ]


def sight_of(where: str, pid: int, consumer: Mapping[str, Any], before: Sight | None, seconds: float) -> Sight:
    stats: Mapping[str, Any] = consumer["stats"]
    handlers = [worker for worker in consumer["workers"] if worker["kind"] == "handler"]
    busy = [worker for worker in handlers if worker["doing"] in ("busy", "stuck", "ending")]
    usual = ("idle", "busy", "ending")
    calls: dict[str, int] = {}
    dollars: list[float] = []
    for found, cost in meters(stats["queue"]):
        dollars.append(cost)
        for kind, count in found.items():
            calls[kind] = calls.get(kind, 0) + count
    known = before is not None and before.pid == pid and seconds > 0
    return Sight(
        name=consumer["name"],
        where=where,
        pid=pid,
        pool=consumer["pool"],
        state=stats["state"],
        fetching=stats["fetching"],
        max_handlers=consumer["max_handlers"],
        stats=stats,
        rate_in=(stats["received"] - before.stats["received"]) / seconds if known and before else 0.0,
        rate_out=(ended(stats) - ended(before.stats)) / seconds if known and before else 0.0,
        busy=len(busy),
        oldest=max((worker["seconds"] for worker in busy), default=0.0),
        lanes=consumer["lanes"],
        workers=consumer["workers"],
        troubled=[worker for worker in handlers if worker["doing"] not in usual],
        calls=calls,
        dollars=sum(dollars) if dollars else None,
    )


def ended(stats: Mapping[str, Any]) -> int:
    return sum(stats[name] for name in ENDS)


def meters(queue: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, int], float]]:
    """Calls and dollars, of a queue or of each of several."""
    if isinstance(queue.get("calls"), Mapping):
        yield queue["calls"], float(queue.get("dollars") or 0.0)
        return
    for inner in queue.values():
        if isinstance(inner, Mapping):
            yield from meters(cast("Mapping[str, Any]", inner))


def lines_of(sight: Sight) -> Iterator[str]:
    """A consumer in plain lines."""
    stats = sight.stats
    yield (
        f"{sight.name} (pid {sight.pid}) {sight.state}: in {sight.rate_in:.1f}/s, out {sight.rate_out:.1f}/s, "
        f"in flight {stats['in_flight']:,}; {sight.counts}"
    )
    yield (
        f"  {sight.busy} of {sight.max_handlers} handlers busy in {sight.pool}, longest {sight.oldest:.1f} s; "
        f"restarts {stats['revived']}, stuck {stats['stuck']}; fetching: {sight.fetching}"
    )
    for lane in sight.lanes:
        if lane["name"]:
            name = f"lane {lane['name']} ({lane['priority']:g})"
            yield f"  {name}: {lane['waiting']} waiting; fetching: {lane['fetching']}"
        else:
            yield f"  {lane['waiting']} waiting on the belt"
    if sight.price:
        yield f"  calls: {sight.price}"
    for worker in sight.troubled:
        what = f" with {worker['item']}" if worker["item"] else ""
        yield f"  {worker['name']} {worker['doing']}{what} for {worker['seconds']:.1f} s"
        for line in worker["stack"].rstrip().splitlines():
            yield f"    {line}"
