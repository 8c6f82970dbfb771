"""Queues with lanes, gates for their handlers, and what both write down.

All moments that are written down are of one clock, which is the same in every process.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from queue_consumer import Lane, Report, Stats
from support.lifecycle_handlers import LOOK, come

moment = time.monotonic_ns
BEFORE, NEVER = -math.inf, math.inf


class Job(NamedTuple):
    """An item: of which lane, which of it, how long it takes, and whether it waits at a gate or fails."""

    lane: str
    number: int
    takes: float = 0.0
    gate: str = ""
    deed: str = ""

    @property
    def name(self) -> str:
        return f"{self.lane}{self.number}"


def jobs(lane: str, count: int, takes: float = 0.0) -> list[Job]:
    return [Job(lane, number, takes) for number in range(1, count + 1)]


class Buses:
    """Several queues as one. A consumer asks nothing of it but `lanes`."""

    def __init__(self, *lanes: Lane) -> None:
        self.lanes = lanes

    @property
    def sources(self) -> list[Any]:
        return [lane.queue for lane in self.lanes]


# ------------------------------------------------------------------ the queues, and what they write down


@dataclass
class Poll:
    """One `get`: on which thread, from when to when, and what it gave. `over`: it has answered."""

    thread: int
    began: float
    answered: float = NEVER
    items: list[Any] = field(default_factory=list[Any])
    over: bool = False


class Source:
    """A queue in memory that gives `bulk` items at a time, and writes down all that is done with it.

    Its `get` takes no limit. An empty one waits for `wait` seconds, or until `interrupt` is called, which is once and
    for all.

    Args:
        on_get: called first in each `get`, with the number of the call, 1 first; what it raises `get` raises.
    """

    def __init__(
        self,
        items: Iterable[Any] = (),
        *,
        bulk: int = 10,
        wait: float = 0.01,
        on_get: Callable[[int], object] | None = None,
    ) -> None:
        self.bulk = bulk
        self.wait = wait
        self.on_get: Callable[[int], object] | None = on_get
        self.polls: list[Poll] = []
        self.given: list[Any] = []
        self.cleaned: list[Any] = []
        self.released: list[tuple[Any, float]] = []
        self.broken: list[str] = []
        self.over = threading.Event()
        self.waiting: deque[Any] = deque(items)
        self.changed = threading.Condition()
        self._open: Counter[int] = Counter()  # by id() of objects that `given` keeps: how often each is out

    def put(self, *items: Any) -> None:
        with self.changed:
            self.waiting.extend(items)
            self.changed.notify_all()

    def get(self) -> list[Any]:
        poll = Poll(threading.get_ident(), moment())
        with self.changed:
            self.polls.append(poll)
            number = len(self.polls)
            self.changed.notify_all()
        try:
            if self.on_get is not None:
                self.on_get(number)
            items = self.take()
            with self.changed:
                self.given += items
                self._open.update(map(id, items))
                poll.items = items[:]
        finally:
            poll.answered = moment()
            poll.over = True
            with self.changed:
                self.changed.notify_all()
        return items

    def take(self) -> list[Any]:
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.over.is_set(), self.wait)
            return [self.waiting.popleft() for _ in range(min(self.bulk, len(self.waiting)))]

    def interrupt(self) -> None:
        self.over.set()
        with self.changed:
            self.changed.notify_all()

    def cleanup(self, items: Sequence[Any]) -> None:
        self._back("cleanup", items)
        with self.changed:
            self.cleaned += items
            self.changed.notify_all()

    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        self._back("release", items)
        with self.changed:
            self.released += [(item, delay) for item in items]
            self.changed.notify_all()

    def inside(self) -> int:
        """How many calls of `get` there are right now."""
        return sum(not poll.over for poll in self.polls)

    def wait_for(self, fact: Callable[[], object], patience: float = 20) -> None:
        """Wait until something is true of what is written down here."""
        with self.changed:
            assert self.changed.wait_for(fact, patience), f"it does not come to be; {self!r}"

    def wait_for_cleanup(self, count: int, patience: float = 20) -> None:
        """Wait until so many are cleaned up."""
        self.wait_for(lambda: len(self.cleaned) >= count, patience)

    def wait_for_release(self, count: int) -> None:
        """Wait until so many are released."""
        self.wait_for(lambda: len(self.released) >= count)

    def wait_for_poll(self) -> None:
        """Wait until somebody is in `get`."""
        self.wait_for(self.inside)

    def _back(self, verb: str, items: Sequence[Any]) -> None:
        with self.changed:
            if not items:
                self.broken.append(f"{verb} was called with no items")
            for item in items:
                self._open[id(item)] -= 1
                if self._open[id(item)] < 0:
                    self.broken.append(f"{verb} got {item!r}, which is not of this queue, or had ended")

    def __repr__(self) -> str:
        return (
            f"<{len(self.polls)} polls, {self.inside()} inside, {len(self.waiting)} waiting, {len(self.given)} given, "
            f"{len(self.cleaned)} cleaned up, {len(self.released)} released>"
        )


def reconcile(report: Report | Stats, *sources: Source) -> Stats:
    """Fail if the line's ledger does not say what these queues saw together, or a rule of the socket was broken."""
    stats = report.stats if isinstance(report, Report) else report
    assert stats.balanced, str(stats)
    assert stats.in_flight == 0, str(stats)
    for source in sources:
        assert not source.broken, source.broken
        assert len(source.given) >= len(source.cleaned) + len(source.released), repr(source)
    assert stats.received == sum(len(source.given) for source in sources), (stats, sources)
    assert stats.cleaned + stats.dropped == sum(len(source.cleaned) for source in sources), (stats, sources)
    assert stats.released == sum(len(source.released) for source in sources), (stats, sources)
    return stats


# ------------------------------------------------------------------ the handlers, and what they write down


class Names:
    """A file of lines that handlers in any process append."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def write(self, line: str) -> None:
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, f"{line}\n".encode())
        finally:
            os.close(fd)

    def lines(self) -> list[str]:
        return self.path.read_text().split("\n")[:-1]

    def wait_for(self, fact: Callable[[list[str]], object]) -> list[str]:
        """Wait until something is true of the lines; other processes write them, which ring no bell here."""
        until = time.monotonic() + 20
        while not fact(lines := self.lines()):
            assert time.monotonic() < until, f"it never came to be of {lines[-10:]}"
            time.sleep(LOOK)  # as above
        return lines

    def wait_for_lines(self, count: int) -> list[str]:
        """Wait until there are so many."""
        return self.wait_for(lambda lines: len(lines) >= count)


class Following:
    """Writes down the name of each job as it is taken, waits where it says, and fails where it says."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def __call__(self, items: Iterator[Job]) -> None:
        for job in items:
            self.begin(job)
            while job.gate and not os.path.exists(job.gate):
                time.sleep(LOOK)  # the gate is opened by another process
            if job.takes:
                time.sleep(job.takes)  # so long does it take
            self.end(job)

    def begin(self, job: Job) -> None:
        self.names.write(job.name)
        if job.gate:
            come(job.gate)

    def end(self, job: Job) -> None:
        if job.deed == "raise":
            raise ValueError(job.name)


class FollowingAsync(Following):
    """The same, as a coroutine."""

    async def __call__(self, items: Any) -> None:  # type: ignore[override]
        async for job in items:
            self.begin(job)
            while job.gate and not os.path.exists(job.gate):
                await asyncio.sleep(LOOK)  # as above
            if job.takes:
                await asyncio.sleep(job.takes)  # as above
            self.end(job)


def following(pool: str, names: Names) -> Following:
    return FollowingAsync(names) if pool == "coroutines" else Following(names)


class Call(NamedTuple):
    """One call of a handler: in which place, from when to when, and with what."""

    place: str
    began: float
    ended: float
    items: tuple[Job, ...]


class Timed:
    """Takes as long for each job as that says, and writes down its calls."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def __call__(self, items: Iterator[Job]) -> None:
        began = moment()
        taken: list[Job] = []
        for job in items:
            taken.append(job)
            if job.takes:
                time.sleep(job.takes)  # so long does it take
        self.write(f"{os.getpid()}.{threading.get_ident()}", began, taken)

    def write(self, place: str, began: int, taken: list[Job]) -> None:
        names = " ".join(f"{job.lane}:{job.number}" for job in taken)
        self.names.write(f"{place} {began} {moment()} {names}")

    def calls(self) -> list[Call]:
        found: list[Call] = []
        for line in self.names.lines():
            place, began, ended, *names = line.split(" ")
            taken = tuple(Job(lane, int(number)) for lane, _, number in (name.partition(":") for name in names))
            found.append(Call(place, int(began), int(ended), taken))
        return found


class TimedAsync(Timed):
    """The same, as a coroutine. Its place is the name of its task, which is that of the line's handler."""

    async def __call__(self, items: Any) -> None:  # type: ignore[override]
        began = moment()
        taken: list[Job] = []
        async for job in items:
            taken.append(job)
            if job.takes:
                await asyncio.sleep(job.takes)  # as above
        task = asyncio.current_task()
        assert task is not None
        self.write(task.get_name().replace(" ", "_"), began, taken)
