"""Schedules of several lanes at random, and how the order is judged that they come to be handled in.

Nobody outside the line sees it decide what to start next. But every decision lies between moments that are seen: the
handler was not free before its last call had ended, and the chunk was not there before `get` had it; and by the time
that the call begins, it is made. So of two decisions it can often be said which came first, and only then are they
judged: a machine that is slow, or stops between two lines, makes no inversion where there is none.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from queue_consumer import Aging, BulkReceived, Consumer, Event, Lane, Report, Strict
from support.lanes import BEFORE, NEVER, Buses, Call, Job, Names, Poll, Source, Timed, TimedAsync, moment, reconcile

# ------------------------------------------------------------------ how an order is judged


class Hearing:
    """An observer that writes down when each bulk was on the belt: it is told of it by the getter, afterwards."""

    def __init__(self) -> None:
        self.belted: dict[Job, float] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, BulkReceived):
            now = moment()
            self.belted.update((job._replace(takes=0.0), now) for job in event.items)


class Fact(NamedTuple):
    """What is known of one call from outside.

    The chunk was taken after `free`, when its handler had nothing else in hand, and not before `got`, when the last of
    its items came out of its queue. It lay on the belt at `belted`, and had been taken at `began`.
    """

    lane: str
    names: str
    free: float
    got: float
    belted: float
    began: float

    @property
    def after(self) -> float:
        """It was taken after this."""
        return max(self.free, self.got)


@dataclass
class Journal:
    """What is known of one run, from the books of the queues and the handlers."""

    priorities: Mapping[str, float]
    polls: Mapping[str, Sequence[Poll]]
    calls: Sequence[Call]
    heard: Mapping[Job, float] = field(
        default_factory=dict[Job, float]
    )  # when items were on the belt, if anybody heard

    def facts(self) -> list[Fact]:
        """What is known of each call, in the order in which they began."""
        got: dict[Job, float] = {}
        belted: dict[Job, float] = {}
        for polls in self.polls.values():
            for poll in polls:
                # Who asks for more has put away what it was given.
                later = (other.began for other in polls if other.thread == poll.thread and other.began > poll.answered)
                put_away = min(later, default=NEVER)
                for job in poll.items:
                    plain = job._replace(takes=0.0)
                    got[plain] = poll.answered
                    belted[plain] = min(put_away, self.heard.get(plain, NEVER))
        free: dict[str, float] = {}
        facts: list[Fact] = []
        for call in sorted(self.calls, key=lambda call: call.began):
            facts.append(
                Fact(
                    lane=call.items[0].lane,
                    names="+".join(job.name for job in call.items),
                    free=free.get(call.place, BEFORE),
                    got=max(got[job] for job in call.items),
                    belted=max(belted[job] for job in call.items),
                    began=call.began,
                )
            )
            free[call.place] = call.ended
        return facts

    def inversions(self) -> list[str]:
        """Items that were started while one of a higher lane waited.

        It waited: it lay on the belt before the lower one can have been taken; and whoever started it had its hands
        full until after the lower one was begun, so that it was not in anybody's hands either.
        """
        facts = self.facts()
        return [
            f"{low.names} was taken while {high.names} lay there"
            for low in facts
            for high in facts
            if self.priorities[high.lane] > self.priorities[low.lane]
            and high.belted < low.after
            and high.free > low.began
        ]

    def trespasses(self) -> list[str]:
        """Items that were started while a higher lane, whose last answer was not empty, still waited for the next.

        For a right of way that lasts longer than any poll, and lanes with one getter.
        """
        found: list[str] = []
        facts = self.facts()
        for lane, polls in self.polls.items():
            for poll, following in zip(polls, [*polls[1:], Poll(0, NEVER)], strict=True):
                if not poll.items:
                    continue
                heard = min(self.heard.get(job._replace(takes=0.0), NEVER) for job in poll.items)
                begins, ends = min(heard, following.began), following.answered
                found += [
                    f"{low.names} was taken while {lane} was asking for what comes after {poll.items[-1].name}"
                    for low in facts
                    if self.priorities[low.lane] < self.priorities[lane] and begins < low.after and low.began < ends
                ]
        return found

    def delays(self, every: int) -> list[str]:
        """Items of lanes that waited for their turn for more hand-overs than that."""
        found: list[str] = []
        facts = self.facts()
        last: dict[str, float] = {}
        for mine in facts:
            waits = max(mine.belted, last.get(mine.lane, BEFORE))
            others = [
                other.names
                for other in facts
                if other.lane != mine.lane and other.after > waits and other.began < mine.after
            ]
            if len(others) >= every:
                found.append(f"{mine.names} was behind {len(others)} others: {', '.join(others)}")
            last[mine.lane] = mine.began
        return found


# ------------------------------------------------------------------ schedules at random

SCALE = 0.02  # of the times that a schedule is made of; so many of them can be gone through
LATENCY = 0.2 * SCALE  # seconds that a poll takes at most


@dataclass(frozen=True, kw_only=True)
class Road:
    """One lane of a schedule: its polls, and what arrives when."""

    name: str
    priority: float
    bulk: int
    latency: float
    waits: bool  # a poll of an empty queue waits for a while
    arrivals: tuple[tuple[float, Job], ...]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What one run is like."""

    seed: str
    roads: tuple[Road, ...]
    handlers: int
    size: int
    getters: int
    policy: Strict | Aging | str | None
    heard: bool

    @property
    def priorities(self) -> dict[str, float]:
        return {road.name: road.priority for road in self.roads}


def draw(seed: str, runs: int = 1) -> Schedule:
    """The schedule of a seed: `runs` times as long as one."""
    dice = random.Random(seed)
    lanes = dice.randrange(2, 6)
    policy = dice.choice(
        (
            None,
            "strict",
            Strict(right_of_way=0),
            Strict(right_of_way=60),
            Strict(right_of_way=60),
            Aging(every=lanes + 3),
        )
    )
    slow = dice.choice((0.0, 0.05, 0.15)) * SCALE  # what a handler takes, at most
    roads = [
        Road(
            name="ABCDE"[lane],
            priority=dice.choice((0, 1, 1, 2, 2.5, 10, -1)),
            bulk=dice.choice((1, 2, 5, 10)),
            latency=dice.choice((0.0, LATENCY / 10, LATENCY)) * dice.random(),
            waits=dice.random() < 0.5,
            arrivals=tuple(arrivals(dice, "ABCDE"[lane], slow, runs)),
        )
        for lane in range(lanes)
    ]
    return Schedule(
        seed=seed,
        roads=tuple(roads),
        handlers=dice.choice((1, 1, 2, 3)),
        size=dice.choice((1, 1, 1, 2, 3)),
        getters=dice.choice((1, 1, 1, 2)),
        policy=policy,
        heard=dice.random() < 0.6,
    )


def arrivals(dice: random.Random, lane: str, slow: float, runs: int) -> Iterator[tuple[float, Job]]:
    """Some at once, in bursts, or now and then."""
    number = 0
    for run in range(runs):
        start = run * 0.5 * SCALE
        for _ in range(dice.choice((1, 1, 2, 4))):
            due = start + dice.choice((0.0, dice.random() * 0.5 * SCALE))
            for _ in range(dice.choice((1, 1, 3, 5))):
                number += 1
                yield due, Job(lane, number, slow * dice.random())


class Roadside(Source):
    """The queue of one lane of a schedule: what it gives is there from its time on."""

    def __init__(self, road: Road) -> None:
        super().__init__(bulk=road.bulk)
        self._road = road
        self._latency = road.latency
        self._arrivals = deque(sorted(road.arrivals))
        self.total = len(self._arrivals)
        self.start = NEVER
        self._taking = threading.Lock()

    def take(self) -> list[Job]:
        """What is there in the middle of the poll."""
        if self._latency:
            self.over.wait(self._latency / 2)
        items = self._arrived()
        if not items and (self._road.waits or not self._arrivals):
            next_due = self._arrivals[0][0] + self.start - time.monotonic() if self._arrivals else 60
            self.over.wait(min(max(next_due, 0), 60 if self._is_over() else LATENCY))
            items = self._arrived()
        if self._latency:
            self.over.wait(self._latency / 2)
        return items

    def _is_over(self) -> bool:
        """Nothing will come any more, and whoever asked last was told so: he has no right of way to wait for."""
        answers = [poll for poll in self.polls if poll.over]
        return not self._arrivals and bool(answers) and not max(answers, key=lambda poll: poll.answered).items

    def _arrived(self) -> list[Job]:
        with self._taking:
            elapsed = time.monotonic() - self.start
            found: list[Job] = []
            while self._arrivals and len(found) < self.bulk and self._arrivals[0][0] <= elapsed:
                found.append(self._arrivals.popleft()[1])
            return found


@dataclass(frozen=True)
class Journey:
    """A schedule that was gone through: what was written down, and how it ended."""

    schedule: Schedule
    journal: Journal
    report: Report

    def complaints(self) -> list[str]:
        """What was not as it should be about the order."""
        policy = self.schedule.policy
        if isinstance(policy, Aging):
            return self.journal.delays(policy.every)
        found = self.journal.inversions()
        if isinstance(policy, Strict) and policy.right_of_way > 1 and self.schedule.getters == 1:
            found += self.journal.trespasses()
        return found


def travel(schedule: Schedule, pool: str, folder: Path) -> Journey:
    """Go through a schedule with a consumer of its own, until everything is cleaned up."""
    hearing = Hearing()
    roads = {road.name: Roadside(road) for road in schedule.roads}
    handler = (TimedAsync if pool == "coroutines" else Timed)(Names(folder / schedule.seed.replace(" ", "-")))
    options: dict[str, Any] = {"pool": pool}
    if schedule.policy is not None:
        options["lane_policy"] = schedule.policy
    if pool == "processes":
        options["mp_context"] = "fork"
    consumer = Consumer[Job](
        Buses(*(Lane(roads[road.name], road.priority, road.name) for road in schedule.roads)),
        handler,
        schedule.getters,
        schedule.handlers,
        schedule.size,
        observers=[hearing] if schedule.heard else [],
        **options,
    )
    with consumer:
        start = time.monotonic()
        for road in roads.values():
            road.start = start
        for road in roads.values():
            road.wait_for_cleanup(road.total, 60)
    report = consumer.shutdown()
    reconcile(report, *roads.values())
    polls = {name: road.polls for name, road in roads.items()}
    return Journey(schedule, Journal(schedule.priorities, polls, handler.calls(), hearing.belted), report)
