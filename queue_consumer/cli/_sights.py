"""What `top` shows of a consumer: figures from what it answers now and answered last. Pure: no clock, no terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ._plain import plain

__all__ = ["Sight", "lines_of", "sights_of", "stack_of", "title_of"]

ENDS = ("cleaned", "dropped", "released", "left", "tombstoned", "lost", "abandoned")


@dataclass(frozen=True)
class Sight:
    """One consumer at one moment.

    Attributes:
        where: the socket.
        rate_in, rate_out: items a second that came and that ended, since the last look.
        busy, stuck: handlers that are, at this moment; a stuck thread may have lost its place, and count beside it.
        oldest: for how long that handler has had its item that has it the longest.
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
    stuck: int = 0
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
    def worth_a_look(self) -> Sequence[Mapping[str, Any]]:
        """Handlers in trouble; and those that are busy, if their stacks were asked for."""
        shown = [worker for worker in self.workers if worker["kind"] == "handler" and worker["stack"]]
        return [*self.troubled, *(worker for worker in shown if worker not in self.troubled)]

    @property
    def price(self) -> str:
        """The calls of the service and their price, in words; empty where nobody counts them."""
        if self.dollars is None:
            return ""
        calls = ", ".join(f"{name} {count:,}" for name, count in self.calls.items())
        return f"{calls or 'none'}: about ${self.dollars:.6f}"


def sights_of(
    where: str, answer: Mapping[str, Any], before: Mapping[str, Sight], seconds: float, stacks: bool = False
) -> list[Sight]:
    """What is to be seen at one socket.

    Args:
        before: at the last look, `seconds` ago, by name.
        stacks: those of all busy handlers, and not only of those that are in trouble.
    """
    given = cleaned(answer)
    return [
        sight_of(where, given["pid"], consumer, before.get(consumer["name"]), seconds, stacks)
        for consumer in given["consumers"]
    ]


def cleaned(answer: Any, keep: str = "") -> Any:
    """The same without what would have a terminal do more than show it: ids and names are other people's words."""
    if isinstance(answer, str):
        return plain(answer, keep)
    if isinstance(answer, Mapping):
        entries = cast("Mapping[str, Any]", answer).items()
        return {plain(name): cleaned(value, "\n" if name == "stack" else "") for name, value in entries}
    if isinstance(answer, list):
        return [cleaned(value) for value in cast("Sequence[Any]", answer)]
    return answer


LINE_ITSELF = ("/queue_consumer/", "/threading.py", "/multiprocessing/", "/asyncio/", "/runpy.py", "<frozen runpy>")


def stack_of(worker: Mapping[str, Any]) -> list[str]:
    """Where a worker stands, in lines, from where the line has called the handler."""
    frames: list[list[str]] = []
    for line in worker["stack"].rstrip().splitlines():
        if line.startswith("  File ") or not frames:
            frames.append([])
        frames[-1].append(line)
    first = next((at for at, frame in enumerate(frames) if not any(mark in frame[0] for mark in LINE_ITSELF)), 0)
    return [line for frame in frames[first:] for line in frame]


def sight_of(
    where: str, pid: int, consumer: Mapping[str, Any], before: Sight | None, seconds: float, stacks: bool
) -> Sight:
    stats: Mapping[str, Any] = consumer["stats"]
    handlers = [worker for worker in consumer["workers"] if worker["kind"] == "handler"]
    busy = [worker for worker in handlers if worker["doing"] in ("busy", "ending")]
    stuck = [worker for worker in handlers if worker["doing"] == "stuck"]
    troubled = [worker for worker in handlers if worker["doing"] not in ("idle", "busy", "ending")]
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
        stuck=len(stuck),
        oldest=max((worker["seconds"] for worker in (*busy, *stuck)), default=0.0),
        lanes=consumer["lanes"],
        workers=[worker if stacks or worker in troubled else {**worker, "stack": ""} for worker in consumer["workers"]],
        troubled=troubled,
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
    stuck = f"stuck {sight.stuck}" + (f" ({stats['stuck']} in all)" if stats["stuck"] != sight.stuck else "")
    yield (
        f"{sight.name} (pid {sight.pid}) {sight.state}: in {sight.rate_in:.1f}/s, out {sight.rate_out:.1f}/s, "
        f"in flight {stats['in_flight']:,}; {sight.counts}"
    )
    yield (
        f"  {sight.busy} of {sight.max_handlers} handlers busy in {sight.pool}, longest {sight.oldest:.1f} s; "
        f"restarts {stats['revived']}, {stuck}; fetching: {sight.fetching}"
    )
    for lane in sight.lanes:
        if lane["name"]:
            name = f"lane {lane['name']} ({lane['priority']:g})"
            yield f"  {name}: {lane['waiting']} waiting; fetching: {lane['fetching']}"
        else:
            yield f"  {lane['waiting']} waiting on the belt"
    if sight.price:
        yield f"  calls: {sight.price}"
    for worker in sight.worth_a_look:
        yield f"  {title_of(worker)}"
        for line in stack_of(worker):
            yield f"    {line}"


def title_of(worker: Mapping[str, Any]) -> str:
    what = f" with {worker['item']}" if worker["item"] else ""
    return f"{worker['name']} {worker['doing']}{what} for {worker['seconds']:.1f} s"
