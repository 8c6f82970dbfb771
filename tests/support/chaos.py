"""One run of everything that can go wrong at once, drawn from a seed, and the books compared afterwards.

A `Plan` says what the run is like: which pool, which receipts, how many of everything, lanes, keys and leases, what
the queues and the handlers do wrong, and how it ends. `run` carries it out. Three parties keep books of their own: the
consumer's ledger, the queues (`FaultyQueue`), and the handlers, in a file that survives them. They must agree.

The same seed makes the same plan and the same misdeeds of each item. The order in which threads and processes come to
run is the machine's, so a failure that depends on it may take some repetitions to come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from queue_consumer import (
    Aging,
    Consumer,
    Drop,
    Event,
    Failed,
    Failure,
    Lane,
    MaxItems,
    MemoryQueue,
    Report,
    Retry,
    Stats,
    Supervision,
    SupervisionError,
    current,
)
from queue_consumer.testing import CHAOS, FaultyQueue, Handling
from queue_consumer.testing._books import Books
from support.deaths import nothing_left_behind

PATIENCE = 60.0  # seconds after which a run that has not come to rest has hung
SLOW = 0.01  # seconds that a slow handler takes
LIMIT = 0.4  # seconds after which a hanging handler is ended, where that can be done
HANG = float("inf")

Delivery: TypeAlias = tuple[str, str]  # of which item, and the how-manieth
End: TypeAlias = Literal["rest", "shutdown", "stop twice", "stop in a handler", "enough"]
PoolName: TypeAlias = Literal["threads", "coroutines", "processes"]
POOLS: tuple[PoolName, ...] = ("threads", "coroutines", "processes")

DEEDS = (
    "slow",
    "raise",
    "exit",
    "interrupt",
    "retry",
    "drop",
    "return",
    "fail",
    "forget",
    "raise after the end",
    "read ahead",
    "kill",
    "leave",
    "linger",
)
LINGER = 0.6  # seconds that a lingering handler takes, or until its lease is lost: longer than any lease here


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one run is like."""

    seed: int
    pool: PoolName
    context: str | None
    receipt: Literal["advance", "return", "explicit"]
    items: int
    bulk: int
    size: int
    getters: int
    handlers: int
    prefetch: int | None
    naughty: float  # how likely an item is that its handler does wrong
    tries: int  # from this delivery on every item is handled well
    hangs: bool  # handlers hang, or are stopped
    replaces: bool  # and their places are given away
    initializer: bool  # one that sometimes raises
    lanes: tuple[float, ...]  # their priorities; a single one is a plain queue
    aging: int | None  # of the lane policy; None: strict
    groups: int  # of each lane, in which the order is to be kept; 0: there is no order
    lease: float | None
    age: float | None  # of leases
    without: tuple[str, ...]
    chances: dict[str, dict[str, float]]
    max_attempts: int | None
    observer: Literal["none", "quiet", "raises", "stops"]
    pauses: bool
    kills: int  # of children, from outside
    end: End
    after: int  # so many items received, before it ends
    timeout: float

    def __str__(self) -> str:
        return ", ".join(f"{each.name}={getattr(self, each.name)!r}" for each in fields(self))


def draw(seed: int, pool: PoolName | None = None) -> Plan:
    """The plan of a seed."""
    dice = random.Random(f"chaos {seed}")
    drawn: PoolName = dice.choice(POOLS)
    pool = pool or drawn
    context = dice.choice(("fork", "fork", "fork", "forkserver", "spawn")) if pool == "processes" else None
    ends: tuple[End, ...] = ("rest", "rest", "shutdown", "shutdown", "stop twice", "stop in a handler", "enough")
    end = dice.choice(ends)
    hangs = dice.random() < 0.2
    if hangs and pool == "threads" and end == "rest":
        end = "shutdown"  # a thread that hangs cannot be brought to rest
    calls = {verb: dict(faults) for verb, faults in CHAOS.items()}
    if dice.random() < 0.2:
        calls["get"]["raise"] = 0.3
    if dice.random() < 0.2:
        calls["cleanup"]["raise"] = 0.3
    if dice.random() < 0.2:
        calls["release"]["raise"] = 0.3
    if dice.random() < 0.3:
        calls["attempt"] = {"raise": 0.2}
    if dice.random() < 0.1:
        calls["identity"] = {"raise": 0.2}
    if end != "rest" and dice.random() < 0.4:
        calls["get"][dice.choice(("hang", "late", "deaf"))] = 0.05
    if dice.random() < 0.3:
        calls["get"]["duplicate"] = 0.2
    if dice.random() < 0.3:
        calls["extend"] = {"raise": 0.3, "lost": 0.2, "partly": 0.2, "slow": 0.1}
    without = tuple(verb for verb in ("release", "attempt", "identity", "interrupt", "extend") if dice.random() < 0.07)
    items = dice.randrange(1, 300)
    lanes = tuple(float(dice.randrange(3)) for _ in range(dice.choice((1, 1, 1, 2, 3))))
    lease = dice.choice((None, None, 0.2, 0.3, 0.5))
    groups = dice.choice((0, 0, 1, 5, 50))
    if groups and dice.random() < 0.6:
        calls["get"]["duplicate"] = 0.0  # so that the order can be kept
    return Plan(
        seed=seed,
        pool=pool,
        context=context,
        receipt=dice.choice(("advance", "advance", "return", "explicit")),
        items=items,
        bulk=dice.choice((1, 3, 10, 50)),
        size=dice.choice((1, 1, 2, 7, 42)),
        getters=dice.randrange(1, 4),
        handlers=dice.randrange(1, 5) if pool != "processes" else dice.randrange(1, 4),
        prefetch=dice.choice((None, None, 0, 1, 20)),
        naughty=dice.choice((0.0, 0.02, 0.1, 0.4)),
        tries=dice.choice((2, 3, 4)),
        hangs=hangs,
        replaces=dice.random() < 0.5,
        initializer=pool != "processes" and dice.random() < 0.15,
        lanes=lanes,
        aging=dice.choice((None, len(lanes), 10)) if len(lanes) > 1 else None,
        groups=groups,
        lease=lease,
        age=dice.choice((None, None, None, 0.7)) if lease is not None else None,
        without=without,
        chances=calls if dice.random() < 0.9 else {},
        max_attempts=dice.choice((None, None, 1, 3)) if "attempt" not in without else None,
        observer=dice.choice(("none", "none", "quiet", "raises", "stops" if end != "rest" else "quiet")),
        pauses=dice.random() < 0.3,
        kills=dice.choice((0, 0, 1, 5)) if pool == "processes" else 0,
        end=end,
        after=dice.randrange(0, items + 1),
        timeout=dice.choice((0, 0.05, 0.5, 10.0)),
    )


# ------------------------------------------------------------------ the handlers, and what they write down


class Notes:
    """A file to which handlers in any process append what they did with which delivery of which item.

    "did": it is done with, or dropped. "void": and yet it is not consumed, since the call came to a bad end.
    "consumed": by all that the call knew when it ended. "died": it is about to take the process with it. "buried": as
    a dead letter. "took" and "over": it was taken, and its call has ended, with the time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def write(self, what: str, items: Sequence[Any]) -> None:
        """Lines that survive the process that writes them."""
        if items:
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
            try:
                lines = [f"{os.getpid()} {what} {item.id} {item.attempt}\n" for item in items]
                os.write(fd, "".join(lines).encode())
            finally:
                os.close(fd)

    def pids(self) -> list[int]:
        """Of the processes that wrote, in order."""
        return [int(line.split()[0]) for line in self.path.read_text().splitlines()]

    def time(self, what: str, items: Sequence[Any]) -> None:
        """As `write`, with what the clock says, which is one for all processes."""
        self.write(f"{what}@{time.monotonic()!r}", items)

    def of(self, kind: str) -> Counter[Delivery]:
        lines = map(str.split, self.path.read_text().splitlines())
        return Counter((id, attempt) for _, what, id, attempt in lines if what == kind)

    def handlings(self) -> list[Handling]:
        """When which delivery was in a handler's hands. A call that was killed has ended as soon as it began, for
        all that we know.
        """
        times: dict[str, dict[Delivery, float]] = {"took": {}, "over": {}}
        for _, what, id, attempt in map(str.split, self.path.read_text().splitlines()):
            kind, _, moment = what.partition("@")
            if moment:
                times[kind][id, attempt] = float(moment)
        good = self.of("did").keys() - self.of("void").keys()
        return [
            Handling(id, took, times["over"].get((id, attempt), took), (id, attempt) in good)
            for (id, attempt), took in times["took"].items()
        ]


class Planned(Exception):
    """What handlers here raise."""


class Troublemaker:
    """A handler that does to each item what the seed says, and writes down what it is done with.

    Before a call ends it writes down what it consumed by the rules of the receipt; a call that is ended from outside
    does not come to that.
    """

    def __init__(self, plan: Plan, notes: Notes) -> None:
        self.plan = plan
        self.notes = notes
        self.receipt = plan.receipt

    def deed(self, item: Any) -> str:
        """What is to be done at this delivery of this item."""
        plan = self.plan
        dice = random.Random(f"{plan.seed} {item.body} {item.attempt}")
        if item.attempt >= plan.tries or dice.random() >= plan.naughty:
            return ""
        return dice.choice((*DEEDS, "hang", "freeze") if plan.hangs else DEEDS)

    def steps(self, items: Any) -> Generator[float, None, object]:
        """One call, pausing for so many seconds at each step; `HANG` is for ever."""
        taken: list[Any] = []
        try:
            return (yield from self.take(items, taken))
        finally:
            if self.plan.groups:
                self.notes.time("over", taken)

    def take(self, items: Any, taken: list[Any]) -> Generator[float, None, object]:
        failed: list[Any] = []
        acked: list[Any] = []
        late = False
        for item in items:
            taken.append(item)
            if self.plan.groups:
                self.notes.time("took", [item])
            deed = self.deed(item)
            late = late or deed == "raise after the end"
            before = taken[:-1]
            match deed:
                case "slow":
                    yield SLOW
                case "hang":
                    yield HANG
                case "linger" if self.plan.lease is not None:
                    until = time.monotonic() + LINGER
                    while not current().lost and time.monotonic() < until:
                        yield SLOW
                case "freeze" | "kill" | "leave" if self.plan.pool == "processes":
                    self.notes.write("died", [item])
                    self.voided(before if self.receipt == "return" else [])
                    self.die(deed)
                case "raise" | "exit" | "interrupt" | "retry" | "drop" | "freeze" | "kill" | "leave":
                    if deed == "drop":
                        self.notes.write("did", [item])
                    self.voided(before if self.receipt == "return" else [])
                    self.consumed(before if self.receipt == "advance" else [], acked)
                    raise self.error(deed)
                case "read ahead" if self.receipt != "advance":
                    rest = list(items)
                    taken += rest
                    if self.plan.groups:
                        self.notes.time("took", rest)
                    self.notes.write("did", rest)
                    for each in rest if self.receipt == "explicit" else ():
                        items.ack(each)
                        acked.append(each)
                case _:
                    pass
            if self.receipt == "explicit":
                if deed == "fail":
                    items.fail(item)
                elif deed != "forget":
                    self.notes.write("did", [item])
                    items.ack(item)
                    acked.append(item)
            else:
                self.notes.write("did", [item])
                failed += [item] if deed == "fail" else []
            if deed == "return":
                break
        else:
            if late:
                self.voided(taken)
                self.consumed([], acked)
                raise Planned("raise after the end")
        self.voided(failed)
        self.consumed([item for item in taken if item not in failed], acked)
        return Failed(failed) if failed else None

    def consumed(self, by_rule: list[Any], acked: list[Any]) -> None:
        self.notes.write("consumed", acked if self.receipt == "explicit" else by_rule)

    def voided(self, items: list[Any]) -> None:
        self.notes.write("void", [] if self.receipt == "explicit" else items)

    def error(self, deed: str) -> BaseException:
        match deed:
            case "exit":
                return SystemExit(3)
            case "interrupt":
                return KeyboardInterrupt()
            case "retry":
                return Retry(0)
            case "drop":
                return Drop("as planned")
            case _:
                return Planned(deed)

    def die(self, deed: str) -> None:
        if deed == "leave":
            os._exit(3)
        os.kill(os.getpid(), signal.SIGSTOP if deed == "freeze" else signal.SIGKILL)


class InThread(Troublemaker):
    """For threads; those that hang do so until `released` is set."""

    def __init__(self, plan: Plan, notes: Notes, stage: Stage) -> None:
        super().__init__(plan, notes)
        self.stage = stage

    def __call__(self, items: Any) -> object:
        self.stage.handling()
        return walk(self.steps(items), self.stage.released.wait)


class InProcess(Troublemaker):
    """For processes."""

    def __call__(self, items: Any) -> object:
        return walk(self.steps(items), time.sleep)


class InTask(InThread):
    """For coroutines."""

    async def __call__(self, items: Any) -> object:
        self.stage.handling()
        with contextlib.closing(self.steps(items)) as steps:  # if it is cancelled, at once
            while True:
                await asyncio.sleep(0)
                try:
                    pause = next(steps)
                except StopIteration as end:
                    return end.value
                await asyncio.sleep(min(pause, PATIENCE))  # the plan says how slow this handler is


def walk(steps: Generator[float, None, object], wait: Callable[[float], object]) -> object:
    """Go through a call, waiting where it says."""
    while True:
        try:
            pause = next(steps)
        except StopIteration as end:
            return end.value
        wait(min(pause, PATIENCE))


# ------------------------------------------------------------------ the queues


class All:
    """Several `MemoryQueue`s as `Books` see one: what they hold together."""

    def __init__(self, queues: Sequence[MemoryQueue[Any]]) -> None:
        self._queues = queues
        self.lease = queues[0].lease

    def holds(self, item: Any) -> bool:
        return any(queue.holds(item) for queue in self._queues)

    def stats(self) -> dict[str, int]:
        each = [queue.stats() for queue in self._queues]
        return {name: sum(figures[name] for figures in each) for name in each[0]}


class Queues:
    """The queues of one run: a lane each, with one set of books."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.each: list[FaultyQueue] = []
        for number in range(len(plan.lanes)):
            queue = MemoryQueue(bulk=plan.bulk, wait=0.01, lease=plan.lease, ordered=bool(plan.groups))
            queue.put_many(
                {"body": item, "group": f"{number}-{item % plan.groups}" if plan.groups else None}
                for item in range(number, plan.items, len(plan.lanes))
            )
            seed = f"{plan.seed} {number}"
            self.each.append(FaultyQueue(queue, seed=seed, chances=plan.chances, without=plan.without, slow=SLOW))
        together: Any = All([each.queue for each in self.each])
        self.books = Books(together)
        for each in self.each:
            each._books = self.books

    @property
    def socket(self) -> Any:
        """What the consumer is given."""
        return self if len(self.each) > 1 else self.each[0]

    @property
    def lanes(self) -> list[Lane]:
        return [Lane(each, priority) for each, priority in zip(self.each, self.plan.lanes, strict=True)]

    def at_rest(self, consumer: Consumer[Any]) -> bool:
        """Whether nothing can be got, now or in a while, and nothing is about to come back.

        What the consumer gave up may yet come again, when its lease has ended.
        """
        within_reach = any(each.queue.stats()["delayed"] or self.within_reach(each.queue) for each in self.each)
        got = sum(each.queue.stats()["got"] for each in self.each)
        stats = consumer.stats()
        return not within_reach and not stats.in_flight and stats.received == got

    def within_reach(self, queue: MemoryQueue[Any]) -> int:
        """How many wait; of groups those that are not kept back by one that is held."""
        return len(queue._waiting) if queue.ordered else queue.stats()["waiting"]

    def kept_back(self) -> int:
        """How many wait for one that is held."""
        return sum(each.queue.stats()["waiting"] - self.within_reach(each.queue) for each in self.each)

    def let_go(self) -> None:
        """Wake whatever blocks in them."""
        for each in self.each:
            each.wake()
            FaultyQueue.interrupt(each)  # which the consumer may not have known of

    @property
    def cleaned(self) -> set[Any]:
        return self.each[0].cleaned


# ------------------------------------------------------------------ the run


@dataclass
class Stage:
    """What goes on around the line in one run, in the process of the consumer."""

    plan: Plan
    notes: Notes
    released: threading.Event = field(default_factory=threading.Event)  # lets go of handlers that hang
    initialized: int = 0
    told: int = 0
    killed: int = 0
    consumer: Consumer[Any] = field(init=False)

    def initialize(self) -> None:
        """An initializer that raises every third time."""
        self.initialized += 1
        if self.initialized % 3 == 2:
            raise Planned("initializer")

    def observe(self, event: Event) -> None:
        self.told += 1
        if self.told > self.plan.after:
            if self.plan.observer == "raises":
                raise Planned("observer")
            if self.plan.observer == "stops":
                self.consumer.stop()

    def handling(self) -> None:
        if self.plan.end == "stop in a handler" and self.consumer.stats().received >= self.plan.after:
            self.consumer.shutdown()

    def bury(self, item: Any, failure: Failure) -> None:
        """A dead-letter box that is out of order at times."""
        if random.Random(f"{self.plan.seed} bury {item.body} {item.attempt}").random() < 0.2:
            raise Planned("dead_letter")
        self.notes.write("buried", [item])

    def kill_one(self) -> None:
        """Kill the child that was last heard of."""
        pids = [pid for pid in self.notes.pids() if pid != os.getpid()]
        if pids and self.killed < self.plan.kills:
            self.killed += 1
            with contextlib.suppress(OSError):
                os.kill(pids[-1], signal.SIGKILL)


class Outcry(logging.Handler):
    """Listens for what must never be said."""

    NEVER = ("stumbled", "does not balance", "cleaner-", "its parent stumbled")

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if any(word in text for word in self.NEVER) and "does not end and is abandoned" not in text:
            self.heard.append(self.format(record))


def run(plan: Plan) -> Stats:
    """Carry out a plan.

    Raises:
        AssertionError: the books do not agree, or something was left behind.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        stack.enter_context(nothing_left_behind())
        outcry = Outcry()
        log = logging.getLogger("queue_consumer")
        log.addHandler(outcry)
        stack.callback(log.removeHandler, outcry)
        propagates, log.propagate = log.propagate, False
        stack.callback(setattr, log, "propagate", propagates)

        notes = Notes(folder / "notes")
        queues = Queues(plan)
        stage = Stage(plan, notes)
        stage.consumer = make(plan, queues, stage, notes)
        try:
            report = live(plan, stage, queues)
        finally:
            stage.released.set()
            stage.consumer.stop()  # if it has failed, what it left must not disturb the next run
            queues.let_go()
        end_of_threads()
        stats = stage.consumer.stats()
        assert report.balanced, str(report)
        assert stats.in_flight == 0, str(stats)
        assert not outcry.heard, "\n".join(outcry.heard)
        reconcile(plan, stage, queues, stats)
        return stats


def make(plan: Plan, queues: Queues, stage: Stage, notes: Notes) -> Consumer[Any]:
    handler: Any
    match plan.pool:
        case "threads":
            handler = InThread(plan, notes, stage)
        case "coroutines":
            handler = InTask(plan, notes, stage)
        case "processes":
            handler = InProcess(plan, notes)
    limits: dict[str, Any] = {}
    if plan.hangs and not (plan.replaces and plan.pool == "threads"):
        limits["time_limit"] = LIMIT
    if plan.aging is not None:
        limits["lane_policy"] = Aging(every=plan.aging)
    return Consumer(
        queues.socket,
        handler,
        plan.getters,
        plan.handlers,
        plan.size,
        pool=plan.pool,
        mp_context=plan.context,
        prefetch=plan.prefetch,
        backoff=lambda attempt: 0.001 * attempt,
        pool_initializer=stage.initialize if plan.initializer else None,
        max_attempts=plan.max_attempts,
        dead_letter=None if plan.max_attempts is None else stage.bury,
        stop_when=MaxItems(max(1, plan.after)) if plan.end == "enough" else None,
        supervision=Supervision(
            polling_time=0.05,
            restart_base=0.001,
            restart_limit=0.01,
            stuck_time=LIMIT if plan.hangs and plan.replaces else None,
            recycle_after=25 if plan.seed % 5 == 0 else None,
            max_lease_age=plan.age,
        ),
        observers=() if plan.observer == "none" else [stage.observe],
        **limits,
    )


def live(plan: Plan, stage: Stage, queues: Queues) -> Report:
    """Start the consumer, disturb it, and end it as planned."""
    consumer = stage.consumer.start()
    wait_until(stage, lambda: consumer.stats().received >= plan.after)
    if plan.end == "rest":
        consumer.resume()
        until = time.monotonic() + PATIENCE
        # Idle is not yet at rest: a queue that says it has nothing may be lying here, and what is delayed will come.
        while not (consumer.wait_idle(0.2) and queues.at_rest(consumer)):
            stage.kill_one()
            assert time.monotonic() < until, f"it does not come to rest: {consumer!r}"
    elif plan.end == "stop twice":
        other = threading.Thread(target=quietly, args=(consumer, plan.timeout))
        other.start()
        consumer.stop()
        other.join()
    try:
        return consumer.shutdown(plan.timeout)
    except SupervisionError as error:
        if not plan.hangs:
            raise
        report: Report = error.report  # more are stuck than may be: that is how it ends, then
        return report


def quietly(consumer: Consumer[Any], timeout: float) -> None:
    with contextlib.suppress(SupervisionError):
        consumer.shutdown(timeout)


def wait_until(stage: Stage, fact: Callable[[], bool]) -> None:
    """Wait for something that rings no bell, and meanwhile be a nuisance.

    Not for ever, since what hangs may prevent it.
    """
    consumer, plan = stage.consumer, stage.plan
    until = time.monotonic() + (2 * LIMIT if plan.hangs or plan.chances else PATIENCE)
    while not fact() and time.monotonic() < until and consumer.state.value == "running":
        if plan.pauses:
            consumer.pause()
        time.sleep(0.002)  # the ledger rings no bell
        consumer.resume()
        stage.kill_one()


def end_of_threads() -> None:
    """Wait for those that were abandoned, now that nothing keeps them any more."""
    for thread in threading.enumerate():
        if thread.name.startswith("queue_consumer"):
            thread.join(10)


def reconcile(plan: Plan, stage: Stage, queues: Queues, stats: Stats) -> None:
    """What the handlers say, against what the queues say."""
    notes, cleaned = stage.notes, queues.cleaned
    did = (id for id, _ in (notes.of("did") | notes.of("buried")).elements())
    # Of leases that ran out the line learns by its own clock, a little before the queue.
    queues.each[0].reconcile(stats, handled=did, let_go=0 if plan.lease is None else stats.lost)

    often = [key for key, count in notes.of("did").items() if count > 1]
    assert not often, f"handled twice, and delivered once: {often}"
    good = (notes.of("did").keys() - notes.of("void").keys()) | notes.of("buried").keys()
    false = cleaned - {id for id, _ in good}
    assert not false, f"cleaned up, and not consumed: {sorted(false)}"

    consumed = {id for id, _ in notes.of("consumed")} - cleaned
    # A child may be killed between its last note and the end of its call.
    deaths = stage.killed + (stats.stuck + stats.failed if plan.hangs else 0)
    excused = stats.tombstoned + stats.abandoned + stats.left + stats.lost + deaths * plan.size
    some = f"{len(consumed)}: {', '.join(sorted(consumed)[:10])}"
    assert len(consumed) <= excused, f"consumed, but not cleaned up: {some}; {stats}"
    if plan.end == "rest":
        open_ = plan.items - len(cleaned)
        held = stats.left + stats.tombstoned + stats.lost
        if held:
            held += queues.kept_back()
        assert open_ <= held, f"{open_} were not cleaned up, and nobody says why: {stats}"
    if plan.groups and keeps_order(stats):
        queues.each[0].check_order(notes.handlings(), buried={id for id, _ in notes.of("buried")})


def keeps_order(stats: Stats) -> bool:
    """Whether the order can be kept: what is lost, or comes twice, brings along those behind it when it likes."""
    return stats.lost == 0
