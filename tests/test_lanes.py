"""Several queues at one line: whose turn it is, who has to wait, and that each item goes home to its own queue.

What came first is read off what the queues and the handlers write down themselves; see `support.lane_order` for how
an inversion is told from a machine that is slow.
"""

from __future__ import annotations

import asyncio
import math
import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from queue_consumer import (
    Aging,
    BulkReceived,
    Constant,
    Consumer,
    Lane,
    MemoryQueue,
    Result,
    State,
    Strict,
    Supervision,
    WorkerDied,
    WorkerRevived,
    current,
)
from queue_consumer._chunk import Chunk
from queue_consumer._lanes import Sorter
from queue_consumer.testing import RecordingObserver
from support.lane_order import Fact, Journal, draw, travel
from support.lanes import BEFORE, Buses, Call, Job, Names, Poll, Source, following, jobs, reconcile
from support.lifecycle import PATIENCE, ProbeQueue, until
from support.lifecycle_handlers import Gate

POOLS = ("threads", "coroutines", "processes")
every_pool = pytest.mark.parametrize("pool", POOLS)
LONG = 60.0  # seconds of a right of way that no test sees the end of


def has(item: Any, bulk: BulkReceived) -> bool:
    return item in bulk.items


class Stage:
    """A consumer of several sources with handlers that follow their items, and what there is to wait for."""

    def __init__(self, pool: str, folder: Path, *lanes: Lane, **options: Any) -> None:
        self.names = Names(folder / "names")
        self.sources = [lane.queue for lane in lanes]
        self.events = RecordingObserver()
        options = {"pool": pool, "max_workers": 1, "max_handlers": 1, "backoff": Constant(0), **options}
        if pool == "processes":
            options = {"mp_context": "fork", **options}
        handler = options.pop("handler", None) or following(pool, self.names)
        self.consumer: Consumer[Any] = Consumer(Buses(*lanes), handler, observers=[self.events], **options)

    def on_the_belt(self, *items: Any) -> None:
        """Wait until these have been fetched and lie on the belt."""
        for item in items:
            self.events.wait_for(BulkReceived, timeout=PATIENCE, where=partial(has, item))

    def run_to_rest(self, during: Callable[[], object] = lambda: None) -> list[str]:
        """Start it, wait until everything is cleaned up or released, stop it; the names of what was handled."""
        with self.consumer:
            during()
            assert self.consumer.wait_idle(PATIENCE), f"it does not come to rest: {self.consumer!r}"
        self.stop()
        return self.names.lines()

    def stop(self) -> None:
        reconcile(self.consumer.shutdown(), *self.sources)


# ---------------------------------------------------------------------------- no inversion


def never_the_lower_one(pool: str, folder: Path, count: int, runs: int = 1, at_once: int = 1) -> None:
    """Go through so many schedules, `runs` of them with each consumer, and judge the order."""
    first = random.SystemRandom().randrange(1_000_000)
    print(f"first seed {first}")

    def one(number: int) -> list[str]:
        seed = f"{pool} {first + number}"
        try:
            journey = travel(draw(seed, runs), pool, folder)
        except BaseException as error:
            raise AssertionError(f"the schedule of seed {seed!r}: {draw(seed, runs)}") from error
        return [f"seed {seed!r}: {complaint}; {journey.schedule}" for complaint in journey.complaints()]

    with ThreadPoolExecutor(at_once) as together:
        complaints = [complaint for found in together.map(one, range(count // runs)) for complaint in found]
    assert not complaints, f"{len(complaints)} complaints, the first: {complaints[0]}"


@pytest.mark.timeout(300)
def test_no_inversion_with_threads(tmp_path: Path) -> None:
    """In 1,100 random schedules no lower item is taken while a higher lane has one fetched and a handler is free.

    Nor while a higher lane has the right of way; and with `Aging` no lane waits longer than that says.
    """
    never_the_lower_one("threads", tmp_path, 1_100, at_once=4)


@pytest.mark.timeout(300)
def test_no_inversion_with_coroutines(tmp_path: Path) -> None:
    """The same of 700 schedules whose handlers are coroutines."""
    never_the_lower_one("coroutines", tmp_path, 700, at_once=4)


@pytest.mark.timeout(300)
def test_no_inversion_with_processes(tmp_path: Path) -> None:
    """The same of 200 schedules with child processes, by what the children wrote down."""
    never_the_lower_one("processes", tmp_path, 200, runs=5)


def a_journal(*calls: Call, belted: int = 5) -> Journal:
    """H1 and L1 came out of their queues at 1, and were on the belt at `belted`."""
    polls = {lane: [Poll(1, 0, 1, jobs(lane, 1), True)] for lane in "HL"}
    heard = {job: belted for lane in "HL" for job in jobs(lane, 1)}
    return Journal({"H": 1, "L": 0}, polls, calls, heard)


X, H1, L1 = Job("X", 1), Job("H", 1), Job("L", 1)


def with_x(journal: Journal) -> Journal:
    """With an item of the lowest lane that was there from the beginning."""
    polls = {**journal.polls, "X": [Poll(1, -2, -1, [X], True)]}
    return Journal({**journal.priorities, "X": 0}, polls, journal.calls, journal.heard)


@pytest.mark.parametrize(
    ("before", "low", "high", "inverted"),
    [
        pytest.param([("a", 9)], ("a", 10, 20), ("a", 21, 22), True, id="one handler, free when both lay there"),
        pytest.param([("a", 4)], ("a", 10, 20), ("a", 21, 22), False, id="it may have decided before it lay there"),
        pytest.param([("a", 9)], ("a", 23, 24), ("a", 21, 22), False, id="the higher one was first"),
        pytest.param([("a", 9), ("b", 9)], ("a", 10, 20), ("b", 11, 22), False, id="the other may have had it in hand"),
        pytest.param([("a", 9), ("b", 15)], ("a", 10, 20), ("b", 16, 22), True, id="the other had its hands full"),
        pytest.param([], ("a", 10, 20), ("a", 21, 22), False, id="it was there before either"),
    ],
)
def test_the_judge_tells_an_inversion(
    before: list[tuple[str, int]], low: tuple[str, int, int], high: tuple[str, int, int], inverted: bool
) -> None:
    """An inversion is told where there must have been one, and nowhere else."""
    calls = [Call(place, 0, ended, (X,)) for place, ended in before]
    calls += [Call(*low, (L1,)), Call(*high, (H1,))]
    assert bool(with_x(a_journal(*calls)).inversions()) == inverted


@pytest.mark.parametrize(
    ("second", "free", "trespassed"),
    [
        pytest.param(Poll(1, 6, 30, [], True), 9, True, id="while it was asking"),
        pytest.param(Poll(1, 6, 8, [], True), 9, False, id="it had its answer"),
        pytest.param(Poll(1, 6, 30, [], True), 3, False, id="it may have decided before"),
        pytest.param(None, 9, True, id="it never asked again"),
    ],
)
def test_the_judge_tells_a_trespass(second: Poll | None, free: int, trespassed: bool) -> None:
    """A right of way that was not given is told, and nothing else."""
    journal = with_x(a_journal(Call("a", 0, free, (X,)), Call("b", 7, 8, (H1,)), Call("a", 10, 20, (L1,))))
    if second is not None:
        journal.polls = {**journal.polls, "H": [*journal.polls["H"], second]}
    assert bool(journal.trespasses()) == trespassed


@pytest.mark.parametrize(("every", "late"), [(3, True), (4, False)])
def test_the_judge_tells_a_turn_that_comes_too_late(every: int, late: bool) -> None:
    """A lane that waits is behind fewer hand-overs than `every`, or that is told."""
    polls = {lane: [Poll(1, -2, -1, jobs(lane, 4), True), Poll(1, 0, 99, [], True)] for lane in "HL"}
    order = [*jobs("H", 4), L1]
    calls = [Call("a", 10 * turn, 10 * turn + 5, (job,)) for turn, job in enumerate(order, 1)]
    assert bool(Journal({"H": 1, "L": 0}, polls, calls).delays(every)) == late


def test_what_is_not_heard_of_is_on_the_belt_when_its_getter_asks_again() -> None:
    """Without an observer the moment of the next `get` on that thread stands for that of the belt."""
    polls = {"L": [Poll(1, 0, 1, [L1], True), Poll(2, 2, 9, [], True), Poll(1, 3, 9, [], True)]}
    (fact,) = Journal({"L": 0}, polls, [Call("a", 5, 6, (L1,))]).facts()
    assert fact == Fact(lane="L", names="L1", free=BEFORE, got=1, belted=3, began=5)


def test_a_seed_makes_one_schedule() -> None:
    """What is printed is what was gone through, and everything is drawn."""
    schedules = [draw(str(seed)) for seed in range(300)]
    assert schedules == [draw(str(seed)) for seed in range(300)]
    assert {len(schedule.roads) for schedule in schedules} == {2, 3, 4, 5}
    assert {schedule.handlers for schedule in schedules} == {1, 2, 3}
    assert {str(schedule.policy) for schedule in schedules} >= {"None", "strict", str(Strict(right_of_way=60))}


# ---------------------------------------------------------------------------- priority


@every_pool
def test_the_higher_lane_goes_first(pool: str, tmp_path: Path) -> None:
    """What is urgent goes next, before all that was fetched long ago; also where chunks could travel many at a time."""
    gate = Gate(tmp_path)
    low = Source([*jobs("L", 200), Job("L", 201, gate=str(tmp_path / "gate")), Job("L", 202), Job("L", 203)], bulk=500)
    high = Source()
    stage = Stage(pool, tmp_path, Lane(low, 0, "low"), Lane(high, 5, "high"))

    def during() -> None:
        gate.wait_for()
        high.put(*jobs("H", 3))
        stage.on_the_belt(*jobs("H", 3))
        gate.open()

    assert stage.run_to_rest(during)[200:] == ["L201", "H1", "H2", "H3", "L202", "L203"]


@every_pool
@pytest.mark.parametrize("size", [1, 2])
def test_every_level_goes_before_the_one_below(pool: str, size: int, tmp_path: Path) -> None:
    """Priorities are numbers of any kind, greater ones first, however the lanes are listed."""
    gate = Gate(tmp_path)
    sources = {name: Source() for name in "ABCD"}
    sources["A"].put(Job("A", 0, gate=str(tmp_path / "gate")), *jobs("A", 4))
    priorities = {"A": -1, "B": 10, "C": 2.5, "D": 0}
    lanes = [Lane(sources[name], priority, name) for name, priority in priorities.items()]
    stage = Stage(pool, tmp_path, *lanes, messages_bulk_size=size)

    def during() -> None:
        gate.wait_for()
        for name in "DCB":  # from below, since what is higher would keep lower ones from being fetched
            sources[name].put(*jobs(name, 4))
            stage.on_the_belt(Job(name, 1))
        gate.open()

    order = "".join(name[0] for name in stage.run_to_rest(during))
    assert order == "A" * size + "BBBBCCCCDDDD" + "A" * (5 - size)


@every_pool
def test_five_urgent_items_that_arrive_during_the_fourth_slow_one_go_next(pool: str, tmp_path: Path) -> None:
    """L L L L H H H H H L …, also if a poll takes 120 ms and brings one at a time: the lane has the right of way."""
    gate = Gate(tmp_path)
    low = Source([*jobs("L", 3), Job("L", 4, gate=str(tmp_path / "gate")), *jobs("L", 9)[4:]])
    high = Source(bulk=1, wait=0)
    high.on_get = lambda number: high.over.wait(0.12)
    stage = Stage(pool, tmp_path, Lane(low, 0, "low"), Lane(high, 1, "high"), lane_policy=Strict(right_of_way=LONG))

    def during() -> None:
        gate.wait_for()
        high.put(*jobs("H", 5))
        stage.on_the_belt(*jobs("H", 1))
        gate.open()

    order = "".join(name[0] for name in stage.run_to_rest(during))
    assert order == "LLLLHHHHHLLLLL"


@every_pool
def test_a_lane_whose_last_answer_was_not_empty_has_the_right_of_way(pool: str, tmp_path: Path) -> None:
    """While it asks for more, lower items wait although they are here and a handler is free."""
    low = Source()
    high = Source(jobs("H", 1), bulk=1)
    asking, answer = threading.Event(), threading.Event()

    def on_get(number: int) -> None:
        if number == 2:
            asking.set()
            assert answer.wait(PATIENCE)

    high.on_get = on_get
    stage = Stage(pool, tmp_path, Lane(low, 0, "low"), Lane(high, 1, "high"), lane_policy=Strict(right_of_way=LONG))

    def during() -> None:
        assert asking.wait(PATIENCE)
        high.wait_for(lambda: high.cleaned)  # so that the handler is free
        low.put(*jobs("L", 1))
        stage.on_the_belt(*jobs("L", 1))
        time.sleep(0.1)  # that something is not started is not announced to anybody
        high.put(*jobs("H", 2)[1:])
        answer.set()

    assert stage.run_to_rest(during) == ["H1", "H2", "L1"]


@every_pool
@pytest.mark.parametrize("right_of_way", [0, 0.05, 0.15])
def test_the_right_of_way_does_not_last_for_ever(pool: str, right_of_way: float, tmp_path: Path) -> None:
    """A poll that hangs, of a lane that had something, keeps lower ones waiting only for a while."""
    low, high = Source(jobs("L", 5)), Source(jobs("H", 3), bulk=1)
    high.on_get = lambda number: high.over.wait(PATIENCE) if number > 3 else None
    stage = Stage(
        pool, tmp_path, Lane(low, 0, "low"), Lane(high, 1, "high"), lane_policy=Strict(right_of_way=right_of_way)
    )
    with stage.consumer:
        low.wait_for_cleanup(5)
        high.wait_for_cleanup(3)
        high.wait_for(lambda: len(high.polls) == 4)
        assert high.inside() == 1
    stage.stop()
    assert Counter(stage.names.lines()) == Counter(["H1", "H2", "H3", "L1", "L2", "L3", "L4", "L5"])


def test_the_right_of_way_is_counted_from_the_answer_and_anew_from_the_next_poll() -> None:
    """So long after the answer it ends, if nobody asks; whoever asks has as long for the next answer."""
    time_now = [100.0]
    high, low = (SimpleNamespace(priority=priority, key=None) for priority in (1, 0))
    sorter = Sorter([low, high], Strict(right_of_way=10), 1, lambda: time_now[0])
    sorter.asking(high)
    sorter.append(Chunk(["L1"], low))
    assert sorter.popleft().items == ["L1"]  # that nothing is known yet gives no right
    sorter.answered(high, True)
    sorter.append(Chunk(["L2"], low))

    def waits() -> float | None:
        with pytest.raises(IndexError):
            sorter.popleft()
        return sorter.patience()

    time_now[0] = 109.0
    assert waits() == 1.0
    time_now[0] = 109.5
    sorter.asking(high)
    time_now[0] = 119.0
    assert waits() == 0.5
    time_now[0] = 119.6
    assert sorter.popleft().items == ["L2"]


def test_the_right_of_way_is_only_over_lower_lanes() -> None:
    """A lane of the same priority, or of a higher one, waits for nobody's next answer."""
    low, one, other, high = (SimpleNamespace(priority=priority, key=None) for priority in (0, 1, 1, 2))
    sorter = Sorter([low, one, other, high], Strict(right_of_way=10), 1, lambda: 0.0)
    sorter.answered(one, True)
    for lane in (low, other, high):
        sorter.append(Chunk([lane], lane))
    assert [sorter.popleft().items, sorter.popleft().items] == [[high], [other]]
    with pytest.raises(IndexError):
        sorter.popleft()


@every_pool
def test_a_long_poll_of_an_empty_lane_delays_no_other(pool: str, tmp_path: Path) -> None:
    """All of a lane is handled while the only poll of a higher one hangs; an answer that never came gives no right."""
    low, high = Source(jobs("L", 30)), Source(wait=PATIENCE)
    stage = Stage(pool, tmp_path, Lane(high, 9, "high"), Lane(low, 0, "low"), lane_policy=Strict(right_of_way=LONG))
    with stage.consumer:
        low.wait_for_cleanup(30)
        high.wait_for(lambda: len(high.polls) == 1)
        assert high.inside() == 1
        high.put(*jobs("H", 1))  # and it is no slower for it
        high.wait_for_cleanup(1)
    stage.stop()


# ---------------------------------------------------------------------------- equal priorities


class Refilled:
    """A handler that ends when every lane of its consumer has something on the belt again, or has come to its end."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.lanes: dict[str, Source] = {}
        self.started: Counter[str] = Counter()
        self.belted: Counter[str] = Counter()
        self.changed = threading.Condition()

    def __call__(self, items: Iterator[Job]) -> None:
        with self.changed:
            for job in items:
                self.names.write(job.name)
                self.started[job.lane] += 1
            assert self.changed.wait_for(self.full, PATIENCE), f"{self.belted} on the belt, {self.started} started"

    def full(self) -> bool:
        return all(
            self.belted[name] > self.started[name] or self.started[name] == source.total  # type: ignore[attr-defined]
            for name, source in self.lanes.items()
        )

    def observe(self, event: Any) -> None:
        if isinstance(event, BulkReceived):
            with self.changed:
                self.belted.update(job.lane for job in event.items)
                self.changed.notify_all()


class Turns:
    """One handler, and lanes that always have something waiting when it chooses."""

    def __init__(self, folder: Path, priorities: dict[str, float], count: int, **options: Any) -> None:
        self.names = Names(folder / "names")
        handler = Refilled(self.names)
        self.sources = {name: Source(jobs(name, count), bulk=4) for name in priorities}
        for name, source in self.sources.items():
            source.total = count  # type: ignore[attr-defined]
            handler.lanes[name] = source
        lanes = [Lane(self.sources[name], priority, name) for name, priority in priorities.items()]
        self.consumer = Consumer[Job](Buses(*lanes), handler, 1, 1, observers=[handler.observe], **options)

    def take(self) -> str:
        """The lanes in the order of their items."""
        with self.consumer:
            assert self.consumer.wait_idle(PATIENCE), f"it does not come to rest: {self.consumer!r}"
        reconcile(self.consumer.shutdown(), *self.sources.values())
        return "".join(name[0] for name in self.names.lines())


@pytest.mark.parametrize("names", ["AB", "ABC", "ABCDE"])
def test_equal_priorities_take_turns(names: str, tmp_path: Path) -> None:
    """As long as all of them have something waiting, none has two turns while another has none."""
    order = Turns(tmp_path, dict.fromkeys(names, 3), 20).take()
    # The first is chosen when the others may not be there yet.
    rounds = [order[start : start + len(names)] for start in range(1, len(order) - 2 * len(names), len(names))]
    assert all(set(one) == set(names) for one in rounds), order


@every_pool
def test_equal_priorities_take_turns_by_chunks(pool: str, tmp_path: Path) -> None:
    """A turn is a handler call, whatever its size and wherever it runs."""
    gate = Gate(tmp_path)
    first = Job("A", 1, gate=str(tmp_path / "gate"))
    one, other = Source([first, *jobs("A", 13)[1:]], bulk=13), Source(jobs("B", 12), bulk=12)
    other.on_get = lambda number: gate.wait_for()  # so that the other is the first
    stage = Stage(pool, tmp_path, Lane(one, 1, "A"), Lane(other, 1, "B"), messages_bulk_size=3)

    def during() -> None:
        gate.wait_for()
        stage.on_the_belt(Job("B", 1))
        gate.open()

    order = "".join(name[0] for name in stage.run_to_rest(during))
    assert order == "AAABBB" * 4 + "A"


@every_pool
def test_equal_lanes_take_turns_below_a_higher_one(pool: str, tmp_path: Path) -> None:
    """Turns are among equals: the higher lane goes first, and they go on where they were."""
    gate = Gate(tmp_path)
    first = Job("A", 1, gate=str(tmp_path / "gate"))
    one, other, high = Source([first, *jobs("A", 4)[1:]]), Source(jobs("B", 4)), Source()
    other.on_get = lambda number: gate.wait_for()  # as above
    stage = Stage(pool, tmp_path, Lane(one, 0, "A"), Lane(high, 1, "H"), Lane(other, 0, "B"))

    def during() -> None:
        gate.wait_for()
        stage.on_the_belt(Job("B", 1))
        high.put(*jobs("H", 3))
        stage.on_the_belt(Job("H", 1))
        gate.open()

    assert "".join(name[0] for name in stage.run_to_rest(during)) == "AHHHBABABAB"


# ---------------------------------------------------------------------------- aging


@pytest.mark.parametrize(("lanes", "every"), [(2, 2), (2, 5), (3, 3), (3, 10), (5, 5), (5, 7)])
def test_aging_gives_a_waiting_lane_a_turn_in_time(lanes: int, every: int, tmp_path: Path) -> None:
    """However many are higher, a lane that has something waiting is behind fewer than `every` hand-overs."""
    names = "ABCDE"[:lanes]
    order = Turns(
        tmp_path, {name: -number for number, name in enumerate(names)}, 20, lane_policy=Aging(every=every)
    ).take()
    for name in names:
        turns = [0, *(turn for turn, lane in enumerate(order, 1) if lane == name)]  # the first may be taken alone
        assert all(later - turn <= every + (turn == 0) for turn, later in pairwise(turns)), (name, order)


def test_aging_is_still_priority(tmp_path: Path) -> None:
    """A turn that nobody has to be given for its age is that of the highest lane."""
    order = Turns(tmp_path, {"H": 1, "L": 0}, 40, lane_policy=Aging(every=10)).take()
    assert order[:44].count("H") > 35, order


@every_pool
def test_aging_lets_a_low_lane_live_beside_one_that_never_ends(pool: str, tmp_path: Path) -> None:
    """A lane that is never empty does not keep a lower one from being fetched and handled."""
    endless = Source(jobs("H", 100_000), bulk=2)
    low = Source(jobs("L", 5))
    stage = Stage(
        pool, tmp_path, Lane(endless, 1, "high"), Lane(low, 0, "low"), lane_policy=Aging(every=4), max_handlers=2
    )
    with stage.consumer:
        low.wait_for_cleanup(5)
    stage.stop()


# ---------------------------------------------------------------------------- what is fetched


@every_pool
def test_low_lanes_stop_fetching_while_higher_ones_fill_every_handler(pool: str, tmp_path: Path) -> None:
    """Their messages stay where others can see them, and are fetched again once there is somebody to handle them."""
    high = Source(jobs("H", 150, takes=0.002), bulk=150)  # one bulk, so that at no time a handler has none
    low = Source(wait=0.006)  # it waits by itself, so that nobody asks it less and less often
    stage = Stage(pool, tmp_path, Lane(high, 1, "high"), Lane(low, 0, "low"), max_handlers=2)
    with stage.consumer:
        stage.names.wait_for(lambda names: len(names) >= 10)
        before = len(low.polls)
        low.put(*jobs("L", 5))
        stage.names.wait_for(lambda names: len(names) >= 140)
        asked, taken = len(low.polls) - before, len(low.given)
        low.wait_for_cleanup(5)
        # One may have been under way, and it may have seen the five.
        assert asked <= 1
        assert taken in (0, 5)
    stage.stop()
    assert high.cleaned


def test_what_is_not_fetched_can_be_had_by_others(tmp_path: Path) -> None:
    """While one consumer is busy with what is urgent, another takes the rest, with no receive count burnt."""
    gate = Gate(tmp_path)
    high = Source([Job("H", number, gate=str(tmp_path / "gate")) for number in range(2)])
    low = ProbeQueue(wait=0)
    handler = following("threads", Names(tmp_path / "names"))
    consumer = Consumer[Job](Buses(Lane(high, 1, "high"), Lane(low, 0, "low")), handler, 1, 2)

    def a_while() -> None:
        """The high lane is asked again and again: the line had occasion to ask the low one."""
        polls = len(high.polls)
        high.wait_for(lambda: len(high.polls) > polls + 3)

    with consumer:
        gate.wait_for(2)
        a_while()  # one poll of the low lane may have been under way
        before = low.called("get")
        low.fill(jobs("L", 10))
        a_while()
        assert low.called("get") == before
        taken = MemoryQueue.get(low, limit=10)
        assert [low.attempt(job) for job in taken] == [1] * 10
        low.cleanup(taken)
        gate.open()
    report = consumer.shutdown()
    assert report.balanced
    assert report.stats.cleaned == report.stats.received == 2
    assert len(high.cleaned) == 2


@pytest.mark.parametrize("getters", [1, 3])
@pytest.mark.parametrize("size", [1, 4])
def test_a_lane_looks_ahead_by_one_bulk(getters: int, size: int, tmp_path: Path) -> None:
    """What is fetched of a lane and waits is a bulk at most, besides what is in the hands of handlers."""
    sources = [Source(jobs(name, 200), bulk=10) for name in "AB"]
    most: Counter[str] = Counter()
    started: Counter[str] = Counter()
    lock = threading.Lock()

    def handle(items: Iterator[Job]) -> None:
        for job in items:
            with lock:
                started[job.lane] += 1
                for source in sources:
                    name = source.given[0].lane if source.given else ""
                    most[name] = max(most[name], len(source.given) - started[name])

    lanes = [Lane(source, 1, name) for source, name in zip(sources, "AB", strict=True)]
    consumer = Consumer[Job](Buses(*lanes), handle, getters, 2, size)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    reconcile(consumer.shutdown(), *sources)
    # In hand: two chunks. Each thread looks at the books of the queues later than at its own.
    assert max(most.values()) <= 10 + 2 * size, most


def test_pause_stops_the_fetching_of_every_lane(tmp_path: Path) -> None:
    """`pause` and `resume` are for all lanes alike."""
    sources = [Source(wait=0.005) for _ in "AB"]
    stage = Stage("threads", tmp_path, Lane(sources[0], 1, "a"), Lane(sources[1], 0, "b"))
    with stage.consumer:
        for source in sources:
            source.wait_for_poll()
        stage.consumer.pause()
        until(lambda: stage.consumer.stats().fetching == "paused", "nothing is fetched")
        until(lambda: not any(source.inside() for source in sources), "the last polls have come back")
        for source, name in zip(sources, "AB", strict=True):
            source.put(*jobs(name, 2))
        before = [len(source.polls) for source in sources]
        assert not stage.consumer.wait_idle(0.1), "nobody asks whether there is anything"
        assert [len(source.polls) for source in sources] == before
        stage.consumer.resume()
        for source in sources:
            source.wait_for_cleanup(2)
    stage.stop()


def test_wait_idle_waits_for_every_lane(tmp_path: Path) -> None:
    """It is idle when the last `get` of each lane came back empty; one that is still out may bring something."""
    here, there = Source(jobs("A", 3)), Source()
    asking, answer = threading.Event(), threading.Event()

    def on_get(number: int) -> None:
        asking.set()
        assert answer.wait(PATIENCE)

    there.on_get = on_get
    stage = Stage("threads", tmp_path, Lane(here, 0, "here"), Lane(there, 0, "there"))
    with stage.consumer:
        assert asking.wait(PATIENCE)
        here.wait_for_cleanup(3)
        assert not stage.consumer.wait_idle(0.1)
        there.put(*jobs("B", 1))
        answer.set()
        assert stage.consumer.wait_idle(PATIENCE)
        assert len(there.cleaned) == 1
    stage.stop()


# ---------------------------------------------------------------------------- one lane's trouble


@every_pool
def test_a_lane_whose_queue_fails_is_revived_alone(pool: str, tmp_path: Path) -> None:
    """Its getter dies and is replaced, again and again; the getters of the others live on, and so does everybody."""
    high, low = Source(jobs("H", 40), bulk=1), Source(jobs("L", 40), bulk=1)

    def on_get(number: int) -> None:
        if number % 2 == 0 and number < 12:
            raise ConnectionError(f"poll {number} is lost")

    high.on_get = on_get
    stage = Stage(
        pool,
        tmp_path,
        Lane(low, 0, "low"),
        Lane(high, 1, "high"),
        lane_policy=Strict(right_of_way=LONG),
        supervision=Supervision(restart_base=0.001),
    )
    names = stage.run_to_rest()
    assert sorted(names) == sorted(job.name for job in [*jobs("H", 40), *jobs("L", 40)])
    assert len(stage.events.of(WorkerDied)) == len(stage.events.of(WorkerRevived)) == 5
    assert len({poll.thread for poll in low.polls}) == 1
    assert len({event.worker for event in stage.events.of(WorkerDied)}) == 1


@every_pool
def test_a_lane_that_fails_for_good_delays_no_other(pool: str, tmp_path: Path) -> None:
    """A lane that had something and then only fails has no right of way any more."""
    high, low = Source(jobs("H", 1), bulk=1), Source(jobs("L", 20))

    def on_get(number: int) -> None:
        if number > 1:
            raise ConnectionError("the broker is gone")

    high.on_get = on_get
    stage = Stage(pool, tmp_path, Lane(high, 1, "high"), Lane(low, 0, "low"), lane_policy=Strict(right_of_way=LONG))
    with stage.consumer:
        stage.events.wait_for(WorkerDied)
        low.wait_for_cleanup(20)
        high.wait_for_cleanup(1)
    stage.stop()


def test_two_consumers_share_nothing(tmp_path: Path) -> None:
    """What is urgent in one keeps nobody waiting in the other, by whatever names; and one lives when the other ends."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    gate = Gate(tmp_path)
    busy = Source([Job("H", 1, gate=str(tmp_path / "gate"))], bulk=1)
    behind = Source(jobs("L", 3))
    behind.on_get = lambda number: gate.wait_for()  # so that what is urgent is the first
    policy = Strict(right_of_way=LONG)
    one = Stage("threads", tmp_path / "one", Lane(busy, 1, "high"), Lane(behind, 0, "low"), lane_policy=policy)
    free, ahead = Source(jobs("M", 3)), Source()
    two = Stage("threads", tmp_path / "two", Lane(ahead, 1, "high"), Lane(free, 0, "low"), lane_policy=policy)
    with two.consumer:
        with one.consumer:
            gate.wait_for()
            free.wait_for_cleanup(3)
            assert not behind.cleaned
            gate.open()
            behind.wait_for_cleanup(3)
        assert two.consumer.state is State.RUNNING
        free.put(*jobs("M", 5)[3:])
        free.wait_for_cleanup(5)
    one.stop()
    two.stop()
    assert one.consumer.stats().received == 4
    assert two.consumer.stats().received == 5


# ---------------------------------------------------------------------------- the way home


@every_pool
def test_everything_goes_back_to_its_own_queue(pool: str, tmp_path: Path) -> None:
    """What is done is cleaned up where it came from, and what failed is released there."""
    sources = {name: Source() for name in "AB"}
    for name, source in sources.items():
        source.put(*jobs(name, 2), Job(name, 3, deed="raise"), *jobs(name, 5)[3:])
    stage = Stage(pool, tmp_path, *(Lane(source, 0, name) for name, source in sources.items()), max_handlers=2)
    stage.run_to_rest()
    for name, source in sources.items():
        assert sorted(job.number for job in source.cleaned) == [1, 2, 4, 5]
        assert [(job.name, delay) for job, delay in source.released] == [(f"{name}3", 0.0)]


@every_pool
@pytest.mark.parametrize("size", [1, 3])
def test_equal_items_of_two_lanes_are_not_mixed_up(pool: str, size: int, tmp_path: Path) -> None:
    """The very same objects in two queues: each queue gets back as many as it gave."""
    everything = jobs("X", 60)
    sources = [MemoryQueue[Job](everything, bulk=5) for _ in range(3)]
    handler = following(pool, Names(tmp_path / "names"))
    lanes = Buses(*(Lane(source, 0, str(number)) for number, source in enumerate(sources)))
    consumer = Consumer[Job](lanes, handler, 2, 2, size, pool=pool)  # type: ignore[arg-type]
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    assert report.balanced
    assert report.stats.cleaned == 180
    for source in sources:
        assert (source.stats()["cleaned"], source.stats()["in_flight"]) == (60, 0)


@every_pool
def test_shutdown_returns_each_item_to_its_own_queue(pool: str, tmp_path: Path) -> None:
    """What lies on the belt goes home at once, without a delay, and what runs is let finish."""
    gate = Gate(tmp_path)
    given = {name: [Job(name, number, gate=str(tmp_path / "gate")) for number in range(8)] for name in "ABC"}
    sources = {name: Source(items, bulk=8) for name, items in given.items()}
    lanes = [Lane(source, 1, name) for name, source in sources.items()]
    stage = Stage(pool, tmp_path, *lanes, max_handlers=2)
    stage.consumer.start()
    gate.wait_for(2)
    stage.on_the_belt(*(items[0] for items in given.values()))
    stage.consumer.stop()
    for source in sources.values():
        source.wait_for_release(6)
    gate.open()
    stage.stop()
    for name, source in sources.items():
        assert {delay for _, delay in source.released} == {0}
        assert {job.lane for job, _ in source.released} == {name}
        assert len(source.cleaned) + len(source.released) == 8
    assert sum(len(source.cleaned) for source in sources.values()) == 2


@every_pool
def test_shutdown_interrupts_every_lane(pool: str, tmp_path: Path) -> None:
    """Nobody waits for the long poll of any lane, and no getter is abandoned."""
    sources = [Source(wait=PATIENCE) for _ in range(3)]
    stage = Stage(pool, tmp_path, *(Lane(source, 0, str(number)) for number, source in enumerate(sources)))
    with stage.consumer:
        for source in sources:
            source.wait_for_poll()
    report = stage.consumer.shutdown()
    assert not report.leftovers
    assert all(source.over.is_set() and not source.inside() for source in sources)
    stage.stop()


@every_pool
def test_shutdown_releases_what_a_late_poll_brings(pool: str, tmp_path: Path) -> None:
    """A poll that was out when the line was asked to stop brings its items back home."""
    late, other = Source(jobs("A", 3)), Source(jobs("B", 2))
    asking, answer = threading.Event(), threading.Event()

    def on_get(number: int) -> None:
        asking.set()
        assert answer.wait(PATIENCE)

    late.on_get = on_get
    stage = Stage(pool, tmp_path, Lane(late, 1, "late"), Lane(other, 0, "other"))
    stage.consumer.start()
    assert asking.wait(PATIENCE)
    other.wait_for_cleanup(2)
    stage.consumer.stop()
    assert late.over.wait(PATIENCE)
    answer.set()
    stage.stop()
    assert [(job.name, delay) for job, delay in late.released] == [("A1", 0), ("A2", 0), ("A3", 0)]


@pytest.mark.parametrize("without", ["cleanup", "release"])
def test_each_lane_has_its_own_verbs(without: str, tmp_path: Path) -> None:
    """A queue that cannot take back, or needs no cleanup, may stand beside one that can and does."""
    poor, rich = Source(), Source()
    for name, source in (("P", poor), ("R", rich)):
        source.put(*jobs(name, 3), Job(name, 4, deed="raise"))
    setattr(poor, without, None)
    stage = Stage("threads", tmp_path, Lane(poor, 0, "poor"), Lane(rich, 0, "rich"))
    with stage.consumer:
        assert stage.consumer.wait_idle(PATIENCE)
    stats = stage.consumer.shutdown().stats
    assert stats.balanced
    assert (stats.received, stats.in_flight, stats.failed) == (8, 0, 2)
    assert (stats.cleaned, stats.left + stats.released) == (6, 2)
    assert len(rich.cleaned) == 3
    assert len(rich.released) == 1
    assert stats.left == (1 if without == "release" else 0)


# ---------------------------------------------------------------------------- once


def test_run_once_asks_each_lane_once_and_handles_the_higher_first(tmp_path: Path) -> None:
    """One `get` of each, the items by priority, and home they go."""
    names = Names(tmp_path / "names")
    low, high = Source([*jobs("L", 2), Job("L", 3, deed="raise")]), Source(jobs("H", 2))
    lanes = Buses(Lane(low, 0, "low"), Lane(high, 1, "high"))
    consumer = Consumer[Job](lanes, following("threads", names), 1, 2, backoff=Constant(7))
    assert consumer.run_once() == Result(succeeded=4, failed=1)
    assert names.lines() == ["H1", "H2", "L1", "L2", "L3"]
    assert [len(source.polls) for source in (low, high)] == [1, 1]
    assert [(job.name, delay) for job, delay in low.released] == [("L3", 7.0)]
    reconcile(consumer.shutdown(), low, high)


def test_run_once_raises_what_a_lane_raised_after_the_others_are_handled(tmp_path: Path) -> None:
    """What other lanes gave is not held up by it."""
    names = Names(tmp_path / "names")
    broken, whole = Source(on_get=broken_get), Source(jobs("A", 3))
    lanes = Buses(Lane(broken, 1, "broken"), Lane(whole, 0, "whole"))
    consumer = Consumer[Job](lanes, following("threads", names), 1, 2)
    with pytest.raises(ConnectionError, match="the broker is gone"):
        consumer.run_once()
    assert names.lines() == ["A1", "A2", "A3"]
    reconcile(consumer.shutdown(), broken, whole)


def broken_get(number: int) -> None:
    raise ConnectionError("the broker is gone")


# ---------------------------------------------------------------------------- what is known of lanes


class Telling:
    """Writes down of each item what `current()` says."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def __call__(self, items: Iterator[Any]) -> None:
        for _ in items:
            self.tell()

    def tell(self) -> None:
        now = current()
        self.names.write(f"{now.item.lane} {now.lane} {now.attempt}")


class TellingAsync(Telling):
    """The same, as a coroutine."""

    async def __call__(self, items: Any) -> None:  # type: ignore[override]
        async for _ in items:
            await asyncio.sleep(0)
            self.tell()


class Counting(Source):
    """A queue that counts deliveries, and says that each is the seventh."""

    def attempt(self, item: Any) -> int:
        return 7


@every_pool
def test_current_knows_the_lane(pool: str, tmp_path: Path) -> None:
    """`current().lane` is the name of the lane that the item came from, and `attempt` is of that lane's queue."""
    names = Names(tmp_path / "names")
    handler = (TellingAsync if pool == "coroutines" else Telling)(names)
    lanes = Lane(Source(jobs("A", 3)), 0, "alpha"), Lane(Counting(jobs("B", 3)), 0, "beta")
    stage = Stage(pool, tmp_path, *lanes, handler=handler)
    with stage.consumer:
        assert stage.consumer.wait_idle(PATIENCE)
    stage.stop()
    assert Counter(names.lines()) == {"A alpha None": 3, "B beta 7": 3}


def test_stats_show_what_each_queue_says(tmp_path: Path) -> None:
    """`Stats.queue` maps the name of each lane to what its queue's `stats` say."""
    queues = {"one": MemoryQueue([1, 2, 3]), "two": MemoryQueue([4])}
    consumer = Consumer[Any](Buses(*(Lane(each, 0, name) for name, each in queues.items())), read_all, 1, 1)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
        assert consumer.stats().queue == {name: each.stats() for name, each in queues.items()}
    report = consumer.shutdown()
    assert report.balanced
    assert report.stats.cleaned == 4


def test_an_outer_queue_may_speak_for_all_lanes(tmp_path: Path) -> None:
    """If the object that has the lanes has `stats` itself, that is what is shown."""

    class Meter(Buses):
        def stats(self) -> dict[str, Any]:
            return {"calls": 42}

    consumer = Consumer[Any](Meter(Lane(MemoryQueue([1]), 0, "one")), read_all, 1, 1)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
        assert consumer.stats().queue == {"calls": 42}
    report = consumer.shutdown()
    assert report.balanced
    assert report.stats.cleaned == 1


def test_the_outer_get_is_not_called(tmp_path: Path) -> None:
    """Where there are lanes, they are what is asked."""

    class Outer(Buses):
        def get(self) -> Any:
            raise AssertionError("nobody should ask")

        closed = 0

        def close(self) -> None:
            self.closed += 1

    outer = Outer(Lane(MemoryQueue([1, 2]), 0, "one"), Lane(MemoryQueue([3]), 1, "two"))
    consumer = Consumer[Any](outer, read_all, 1, 1)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    assert report.balanced
    assert report.stats.cleaned == 3
    assert outer.closed == 1


def test_what_an_outer_queue_says_may_be_said_by_coroutines(tmp_path: Path) -> None:
    """`stats` and `close` of the object that has the lanes may be coroutine functions, as those of any queue."""

    class Outer(Buses):
        closed = 0

        async def stats(self) -> dict[str, Any]:
            return {"calls": 42}

        async def close(self) -> None:
            self.closed += 1

    outer = Outer(Lane(MemoryQueue([1]), 0, "one"))
    with Consumer[Any](outer, read_all, 1, 1) as consumer:
        assert consumer.wait_idle(PATIENCE)
        assert consumer.stats().queue == {"calls": 42}
    assert outer.closed == 1


def read_all(items: Iterator[Any]) -> None:
    for _ in items:
        pass


@every_pool
def test_lanes_may_be_of_any_kind(pool: str, tmp_path: Path) -> None:
    """A queue of the standard library, one with coroutine verbs and a `MemoryQueue`, side by side."""

    class Async:
        def __init__(self) -> None:
            self.waiting, self.cleaned = jobs("C", 3), list[Any]()

        async def get(self) -> list[Job]:
            await asyncio.sleep(0.005)  # a poll that takes a while
            items, self.waiting = self.waiting, []
            return items

        async def cleanup(self, items: Any) -> None:
            self.cleaned += items

    standard: queue.Queue[Job] = queue.Queue()
    for job in jobs("A", 3):
        standard.put(job)
    memory, own = MemoryQueue(jobs("B", 3)), Async()
    names = Names(tmp_path / "names")
    lanes = Buses(Lane(standard, 0, "a"), Lane(memory, 1, "b"), Lane(own, 2, "c"))
    consumer = Consumer[Job](lanes, following(pool, names), 1, 1, pool=pool)  # type: ignore[arg-type]
    with consumer:
        standard.join()  # `cleanup` calls `task_done`
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    assert report.balanced
    assert report.stats.cleaned == 9
    assert memory.stats()["cleaned"] == len(own.cleaned) == 3
    assert sorted(names.lines()) == [f"{lane}{number}" for lane in "ABC" for number in (1, 2, 3)]


def test_one_lane_is_enough(tmp_path: Path) -> None:
    """A queue with a single lane is that queue."""
    stage = Stage("threads", tmp_path, Lane(Source(jobs("A", 20))))
    assert stage.run_to_rest() == [job.name for job in jobs("A", 20)]


def test_lanes_may_come_from_a_generator(tmp_path: Path) -> None:
    """`lanes` is any iterable, and is gone through once."""

    class Once:
        def __init__(self) -> None:
            self.queues = [MemoryQueue([1]), MemoryQueue([2])]
            self.lanes = (Lane(each, 0, str(number)) for number, each in enumerate(self.queues))

    consumer = Consumer[Any](Once(), read_all, 1, 1)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    assert report.balanced
    assert report.stats.cleaned == 2


# ---------------------------------------------------------------------------- what is refused


def of(*lanes: Any) -> Any:
    outer = Buses()
    outer.lanes = lanes
    return outer


def two() -> Any:
    return of(Lane(MemoryQueue(), 0, "a"), Lane(MemoryQueue(), 1, "b"))


def consumer_of(queue: Any, **options: Any) -> Callable[[], object]:
    return lambda: Consumer(queue(), nothing_of, **options)


def nothing_of(items: Any) -> None:
    """A handler."""


REFUSED: list[tuple[str, Callable[[], object], type[Exception], tuple[str, ...]]] = [
    ("no lanes", consumer_of(lambda: of()), ValueError, ("lanes", "at least one")),
    ("not a lane", consumer_of(lambda: of(MemoryQueue())), TypeError, ("lanes", "Lane", "MemoryQueue")),
    ("not iterable", consumer_of(lambda: with_lanes(5)), TypeError, ("lanes", "Lane", "5")),
    ("no get", consumer_of(lambda: of(Lane(5))), TypeError, ("get", "5")),
    ("priority of text", lambda: Lane(MemoryQueue(), "high"), TypeError, ("priority", "number", "'high'")),  # type: ignore[arg-type]
    ("priority of None", lambda: Lane(MemoryQueue(), None), TypeError, ("priority", "number", "None")),  # type: ignore[arg-type]
    ("priority of bool", lambda: Lane(MemoryQueue(), True), TypeError, ("priority", "number", "True")),
    ("priority of nothing", lambda: Lane(MemoryQueue(), math.nan), ValueError, ("priority", "number", "nan")),
    ("a name of bytes", lambda: Lane(MemoryQueue(), 0, b"a"), TypeError, ("name", "str", "b'a'")),  # type: ignore[arg-type]
    (
        "the same name",
        consumer_of(lambda: of(Lane(MemoryQueue(), 0, "a"), Lane(MemoryQueue(), 1, "a"))),
        ValueError,
        ("name", "'a'"),
    ),
    (
        "an unknown policy",
        consumer_of(two, lane_policy="fair"),
        ValueError,
        ("lane_policy", "'strict'", "Aging", "'fair'"),
    ),
    ("a policy of a number", consumer_of(two, lane_policy=3), TypeError, ("lane_policy", "'strict'", "Aging", "3")),
    ("a policy's class", consumer_of(two, lane_policy=Strict), TypeError, ("lane_policy", "Strict")),
    ("too little age", lambda: Aging(every=0), ValueError, ("every", "at least 1", "0")),
    ("half an age", lambda: Aging(every=2.5), TypeError, ("every", "whole number", "2.5")),  # type: ignore[arg-type]
    ("age of bool", lambda: Aging(every=True), TypeError, ("every", "whole number", "True")),
    ("less age than lanes", consumer_of(two, lane_policy=Aging(every=1)), ValueError, ("every", "2", "1")),
    ("a right of way before", lambda: Strict(right_of_way=-1), ValueError, ("right_of_way", "at least 0", "-1")),
    ("a right of way of text", lambda: Strict(right_of_way="1"), TypeError, ("right_of_way", "number", "'1'")),  # type: ignore[arg-type]
    ("an endless right of way", lambda: Strict(right_of_way=math.inf), ValueError, ("right_of_way", "inf")),
]


def with_lanes(lanes: Any) -> Any:
    outer = Buses()
    outer.lanes = lanes
    return outer


@pytest.mark.parametrize(("make", "error", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_is_wrong_is_refused_in_a_sentence(
    make: Callable[[], object], error: type[Exception], words: tuple[str, ...]
) -> None:
    """It names the parameter, the value, and what is allowed."""
    with pytest.raises(error) as refused:
        make()
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_lanes_and_policies_are_values() -> None:
    """They show what they are, and the policies compare by it; `Lane` has defaults for all but its queue."""
    source = MemoryQueue[Any]()
    lane = Lane(source)
    assert (lane.queue, lane.priority, lane.name) == (source, 0, "")
    assert Strict() == Strict(right_of_way=0.15)
    assert Aging(every=3) == Aging(every=3) != Aging(every=4)
    assert repr(Aging(every=3)) == "Aging(every=3)"
    with pytest.raises(AttributeError):
        Aging(every=3).every = 4  # type: ignore[misc]


def test_nobody_waits_to_look_at_a_sorter() -> None:
    """A signal handler may interrupt whoever holds its lock, and look, as `stats()` does."""
    one = SimpleNamespace(priority=0, key=None)
    sorter = Sorter([one], Strict(), 1, lambda: 0.0)
    sorter.append(Chunk(["item"], one))
    with sorter._lock, ThreadPoolExecutor(1) as threads:
        assert threads.submit(list, sorter).result(20)[0].items == ["item"]
