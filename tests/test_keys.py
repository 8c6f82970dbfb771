"""Items of equal keys: one at a time and in order, whatever happens; and different keys side by side.

Order is judged by what handlers in all processes append to one file; see `support.keys`.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from queue_consumer import (
    CallbackFailed,
    Constant,
    Consumer,
    Drop,
    Failure,
    Lane,
    MemoryQueue,
    Report,
    Result,
    Retry,
    Supervision,
    each,
)
from queue_consumer.testing import RecordingObserver
from support.keys import Doing, DoingAsync, Judge, Keyed, Receipt, keyed
from support.lanes import Buses, Job, Names, Source, following, jobs, reconcile
from support.lifecycle import PATIENCE, until
from support.lifecycle import reconcile as reconcile_memory
from support.lifecycle_handlers import Gate

POOLS = ("threads", "coroutines", "processes")
every_pool = pytest.mark.parametrize("pool", POOLS)


def lane_of(job: Job) -> str:
    """The key of a job."""
    return job.lane


def key_of(item: Any) -> str:
    """The key of what `keyed` makes."""
    key: str = item.body.key
    return key


class Stage:
    """A consumer of a source whose items have keys, with handlers that follow them."""

    def __init__(self, pool: str, folder: Path, items: list[Any], **options: Any) -> None:
        self.names = Names(folder / "names")
        self.source = Source(items, bulk=1000)
        self.events = RecordingObserver()
        options = {"pool": pool, "max_workers": 1, "max_handlers": 2, "key": lane_of, "backoff": Constant(7), **options}
        if pool == "processes":
            options = {"mp_context": "fork", "supervision": Supervision(restart_base=0.001), **options}
        handler = options.pop("handler", None) or following(pool, self.names)
        self.consumer: Consumer[Any] = Consumer(
            options.pop("queue", self.source), handler, observers=[self.events], **options
        )

    def run_to_rest(self, during: Callable[[], object] = lambda: None) -> list[str]:
        """Start it, wait until everything has its fate, stop it; the names of what was taken, in order."""
        with self.consumer:
            during()
            assert self.consumer.wait_idle(PATIENCE), f"it does not come to rest: {self.consumer!r}"
        self.stop()
        return self.names.lines()

    def stop(self) -> Report:
        report = self.consumer.shutdown()
        reconcile(report, self.source)
        return report

    def released(self) -> list[tuple[str, float]]:
        return [(job.name, delay) for job, delay in self.source.released]


# ---------------------------------------------------------------------------- in order, whatever happens


class Ordeal:
    """An ordered queue full of keyed messages, and consumers whose handlers fail, hang about and die."""

    def __init__(self, pool: str, folder: Path, keys: int, items: int, *, naughty: float = 0.15) -> None:
        self.seed = random.SystemRandom().randrange(1_000_000)
        dice = random.Random(self.seed)
        print(f"seed {self.seed}")  # shown when the test fails
        self.pool = pool
        self.items = keyed(keys, items, self.seed)
        self.names = Names(folder / "names")
        self.queue = MemoryQueue(bulk=dice.choice((1, 10, 50)), wait=0.02, ordered=True)
        self.queue.put_many({"body": item, "group": item.key} for item in self.items)
        self.receipt: Receipt = dice.choice(("advance", "advance", "return", "explicit"))
        self.size = dice.choice((1, 3, 10))
        self.prefetch = dice.choice((None, None, 0, 20))
        kind = DoingAsync if pool == "coroutines" else Doing
        self.handler = kind(
            self.names, self.seed, naughty=naughty, kills=pool == "processes" and naughty > 0, receipt=self.receipt
        )
        self.received = 0

    def consumer(self, **options: Any) -> Consumer[Any]:
        options["pool"] = self.pool
        if self.pool == "processes":
            options["mp_context"] = "fork"
        return Consumer(
            self.queue,
            self.handler,
            2,
            3,
            self.size,
            receipt=self.receipt,
            prefetch=self.prefetch,
            backoff=Constant(0.001),
            supervision=Supervision(restart_base=0.001, restart_limit=0.01),
            **options,
        )

    def to_the_end(self, during: Callable[[], object] = lambda: None) -> None:
        """Until all is done; then the order is judged."""
        consumer = self.consumer()
        with consumer:
            until(lambda: (during(), self.queue.stats()["cleaned"] == len(self.items))[1], "everything is cleaned up")
        self.book(consumer.shutdown())
        judge = Judge(self.names.lines())
        assert not judge.complaints, f"seed {self.seed}: {judge.complaints[:3]}"
        assert not judge.missing(self.items)

    def book(self, report: Report) -> None:
        """The books of a consumer that has stopped."""
        assert report.balanced, str(report)
        assert report.stats.in_flight == 0, str(report)
        assert not report.leftovers, str(report)
        self.received += report.stats.received
        assert self.queue.stats()["got"] == self.received, (self.queue.stats(), str(report))
        assert self.queue.stats()["in_flight"] == 0, (self.queue.stats(), str(report))


@every_pool
@pytest.mark.parametrize("keys", [1, 10, 100, 1_000])
def test_each_key_is_in_order_under_failures_and_deaths(pool: str, keys: int, tmp_path: Path) -> None:
    """One at a time and in order, though handlers raise, ask for retries, return early, and die by SIGKILL."""
    Ordeal(pool, tmp_path, keys, max(150, min(2 * keys, 1_000))).to_the_end()


@every_pool
@pytest.mark.parametrize("keys", [1, 10, 100, 1_000])
def test_each_key_is_in_order_when_nothing_happens(pool: str, keys: int, tmp_path: Path) -> None:
    """The same where all goes well, and so fast that chunks could travel many at a time."""
    Ordeal(pool, tmp_path, keys, 500 if keys == 1 else 2_000, naughty=0.0).to_the_end()


@pytest.mark.parametrize("keys", [1, 10, 100])
def test_each_key_is_in_order_when_children_are_killed(keys: int, tmp_path: Path) -> None:
    """Children that are killed from outside, at any line, let go of their keys; what they held comes first again."""
    ordeal = Ordeal("processes", tmp_path, keys, 400, naughty=0.05)
    killed: list[int] = []

    def kill_one() -> None:
        lines = ordeal.names.lines()
        pids = [int(line.split(" ")[1].partition(".")[0]) for line in lines[-1:]]
        if len(lines) > 20 * (len(killed) + 1) and pids and pids[0] not in killed and len(killed) < 10:
            killed.append(pids[0])
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[0], signal.SIGKILL)

    ordeal.to_the_end(kill_one)
    assert killed


@every_pool
@pytest.mark.parametrize("keys", [1, 10, 1_000])
def test_each_key_is_in_order_across_shutdowns(pool: str, keys: int, tmp_path: Path) -> None:
    """What one consumer gives back when it is stopped the next one begins with."""
    ordeal = Ordeal(pool, tmp_path, keys, 400, naughty=0.05)
    for stop in (20, 60, 150):
        consumer = ordeal.consumer()
        with consumer:
            ordeal.names.wait_for_lines(stop)
            # Of threads what runs is waited for; from the others it can be taken.
            report = consumer.shutdown(PATIENCE if pool == "threads" else random.choice((0, 0.01, PATIENCE)))
        ordeal.book(report)
    ordeal.to_the_end()


@every_pool
def test_two_consumers_of_one_queue_keep_its_order(pool: str, tmp_path: Path) -> None:
    """An ordered queue keeps a key with one consumer at a time, and each of them in order."""
    ordeal = Ordeal(pool, tmp_path, 20, 300, naughty=0.1)
    other = ordeal.consumer()
    with other:
        consumer = ordeal.consumer()
        with consumer:
            until(lambda: ordeal.queue.stats()["cleaned"] == len(ordeal.items), "everything is cleaned up")
    reports = consumer.shutdown(), other.shutdown()
    assert all(report.balanced and not report.stats.in_flight for report in reports), reports
    assert sum(report.stats.received for report in reports) == ordeal.queue.stats()["got"]
    judge = Judge(ordeal.names.lines())
    assert not judge.complaints, f"seed {ordeal.seed}: {judge.complaints[:3]}"
    assert not judge.missing(ordeal.items)


@every_pool
@pytest.mark.parametrize("keys", [3, 50])
def test_a_queue_that_knows_no_keys_gives_them_in_order_where_nothing_fails(
    pool: str, keys: int, tmp_path: Path
) -> None:
    """With a `key` of the consumer's, the order of a plain queue is kept; after a failure, one at a time still."""
    for naughty in (0.0, 0.1):
        folder = tmp_path / str(naughty)
        folder.mkdir()
        ordeal = Ordeal(pool, folder, keys, 300, naughty=naughty)
        ordeal.queue = MemoryQueue(bulk=10, wait=0.02)
        ordeal.queue.put_many({"body": item} for item in ordeal.items)
        consumer = ordeal.consumer(key=key_of)
        with consumer:
            until(lambda: ordeal.queue.stats()["cleaned"] == len(ordeal.items), "everything is cleaned up")  # noqa: B023
        ordeal.book(consumer.shutdown())
        judge = Judge(ordeal.names.lines(), in_order=not naughty)
        assert not judge.complaints, f"seed {ordeal.seed}: {judge.complaints[:3]}"
        assert not judge.missing(ordeal.items)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        pytest.param(["took 1.1 a 0", "did 1.1 a 0", "end 1.1", "took 1.2 a 1"], "", id="one after the other"),
        pytest.param(["took 1.1 a 0", "end 1.1", "took 1.2 a 0"], "", id="once more"),
        pytest.param(["took 1.1 a 0", "took 2.2 b 0", "end 2.2", "end 1.1"], "", id="different keys"),
        pytest.param(["took 1.1 a 0", "did 1.1 a 0", "took 1.1 a 1"], "one call holds", id="two in a chunk"),
        pytest.param(["took 1.1 a 0", "did 1.1 a 0", "took 1.2 a 1", "end 1.1"], "was held", id="two at once"),
        pytest.param(["took 1.1 a 0", "took 2.2 a 0"], "", id="the first was killed"),
        pytest.param(["took 1.1 a 0", "end 1.1", "took 1.2 a 1"], "was begun last", id="over one that failed"),
        pytest.param(["took 1.1 a 1"], "was done last", id="the second first"),
    ],
)
def test_the_judge_tells_what_is_out_of_order(lines: list[str], complaint: str) -> None:
    """Two of a key at once, or one too early, is told; whatever else happens is not."""
    complaints = Judge(lines).complaints
    assert bool(complaints) == bool(complaint)
    assert all(complaint in found for found in complaints)


def test_the_judge_tells_what_is_missing() -> None:
    """What nobody has done is not in order either."""
    assert Judge(["took 1.1 a 0", "did 1.1 a 0"]).missing(keyed(1, 2, 0)) == [Keyed("k0", 0), Keyed("k0", 1)]
    assert Judge(["took 1.1 k0 0", "did 1.1 k0 0"]).missing(keyed(1, 2, 0)) == [Keyed("k0", 1)]


# ---------------------------------------------------------------------------- side by side


@every_pool
def test_different_keys_run_in_parallel(pool: str, tmp_path: Path) -> None:
    """As many keys as there are handlers are in hand at once."""
    gate = Gate(tmp_path)
    items = [Job(key, number, gate=str(tmp_path / "gate")) for number in (1, 2) for key in "ABCD"]
    stage = Stage(pool, tmp_path, items, max_handlers=4)

    def during() -> None:
        gate.wait_for(4)
        assert sorted(stage.names.lines()) == ["A1", "B1", "C1", "D1"]
        gate.open()

    assert len(stage.run_to_rest(during)) == 8


def no_key(job: Job) -> None:
    """The key of what has none."""


@every_pool
def test_what_has_no_key_waits_for_nobody(pool: str, tmp_path: Path) -> None:
    """A key of `None` is no key: such items run side by side."""
    gate = Gate(tmp_path)
    items = [Job("A", number, gate=str(tmp_path / "gate")) for number in range(4)]
    stage = Stage(pool, tmp_path, items, max_handlers=4, key=no_key)

    def during() -> None:
        gate.wait_for(4)
        gate.open()

    assert len(stage.run_to_rest(during)) == 4


@every_pool
@pytest.mark.parametrize("size", [1, 3])
def test_an_item_waits_for_its_key_and_others_do_not(pool: str, size: int, tmp_path: Path) -> None:
    """While one is in hand its successors wait, however many handlers are free, and other keys go on."""
    gate = Gate(tmp_path)
    keys = "ABCDEF"  # some of them may share the call of the one that waits
    items = [Job("A", 1, gate=str(tmp_path / "gate")), *jobs("A", 5)[1:]]
    items += [job for key in keys[1:] for job in jobs(key, 5)]
    stage = Stage(pool, tmp_path, items, max_handlers=4, messages_bulk_size=size)

    def during() -> None:
        gate.wait_for()
        others = {job.name for key in keys[size:] for job in jobs(key, 5)}
        stage.names.wait_for(lambda names: others <= {*names})
        assert not {"A2", "A3", "A4", "A5"} & {*stage.names.lines()}
        gate.open()

    names = stage.run_to_rest(during)
    assert all([name for name in names if name[0] == key] == [f"{key}{n}" for n in range(1, 6)] for key in keys)


@every_pool
def test_a_key_is_free_when_the_call_that_held_it_has_ended(pool: str, tmp_path: Path) -> None:
    """An item that is done with still holds its key, as long as its call is busy with another."""
    gate = Gate(tmp_path)
    items = [*jobs("A", 1), Job("B", 1, gate=str(tmp_path / "gate"))]
    stage = Stage(pool, tmp_path, items, messages_bulk_size=2)

    def during() -> None:
        gate.wait_for()
        stage.source.put(*jobs("A", 2)[1:], *jobs("C", 2), *jobs("D", 2))
        stage.names.wait_for(lambda names: {"C1", "C2", "D1", "D2"} <= {*names})
        assert stage.names.lines()[:2] == ["A1", "B1"]
        assert "A2" not in stage.names.lines()
        gate.open()

    assert sorted(stage.run_to_rest(during)) == ["A1", "A2", "B1", "C1", "C2", "D1", "D2"]


@every_pool
def test_a_chunk_never_holds_two_of_a_key(pool: str, tmp_path: Path) -> None:
    """However large chunks may be, each has an item of a key at most, and those without a key fill it up."""
    names = Names(tmp_path / "calls")
    handler = (ListingAsync if pool == "coroutines" else Listing)(names)
    items = [*jobs("A", 6), *jobs("B", 3), *jobs("-", 4)]
    stage = Stage(pool, tmp_path, items, handler=handler, messages_bulk_size=10, key=key_or_none)
    stage.run_to_rest()
    calls = [line.split(" ") for line in names.lines()]
    assert sorted(name for call in calls for name in call) == sorted(job.name for job in items)
    assert all(
        len({name[0] for name in call if name[0] != "-"}) == sum(name[0] != "-" for name in call) for call in calls
    )
    assert max(map(len, calls)) > 1


def key_or_none(job: Job) -> str | None:
    return None if job.lane == "-" else job.lane


class Listing:
    """Writes down what each call was given."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def __call__(self, items: Iterator[Job]) -> None:
        self.names.write(" ".join(job.name for job in items))


class ListingAsync(Listing):
    """The same, as a coroutine."""

    async def __call__(self, items: Any) -> None:  # type: ignore[override]
        self.names.write(" ".join([job.name async for job in items]))


# ---------------------------------------------------------------------------- when one fails


@every_pool
@pytest.mark.parametrize("size", [1, 4])
def test_those_behind_one_that_failed_are_released_after_it(pool: str, size: int, tmp_path: Path) -> None:
    """In order, with at least its delay, and none of them is handled before it; other keys go on."""
    items = [Job("A", 1, deed="raise"), *jobs("A", 4)[1:], *jobs("B", 4)]
    stage = Stage(pool, tmp_path, items, messages_bulk_size=size)
    names = stage.run_to_rest()
    assert [name for name in names if name[0] == "A"] == ["A1"]
    assert [name for name in names if name[0] == "B"] == ["B1", "B2", "B3", "B4"]
    assert [name for name, _ in stage.released()] == ["A1", "A2", "A3", "A4"]
    assert all(delay >= 7.0 for _, delay in stage.released())


@every_pool
def test_one_in_the_middle_fails(pool: str, tmp_path: Path) -> None:
    """Those before it are done, those behind it are released."""
    items = [*jobs("A", 2), Job("A", 3, deed="raise"), *jobs("A", 5)[3:]]
    stage = Stage(pool, tmp_path, items)
    assert stage.run_to_rest() == ["A1", "A2", "A3"]
    assert stage.released() == [("A3", 7.0), ("A4", 7.0), ("A5", 7.0)]
    assert [job.name for job in stage.source.cleaned] == ["A1", "A2"]


def ask_for_retry(items: Iterator[Job]) -> None:
    for job in items:
        if job.deed == "raise":
            raise Retry(3.0)


async def ask_for_retry_async(items: Any) -> None:
    async for job in items:
        if job.deed == "raise":
            raise Retry(3.0)


@every_pool
def test_a_retry_keeps_back_those_behind_it(pool: str, tmp_path: Path) -> None:
    """They come no sooner than the one that asked to come later."""
    handler = ask_for_retry_async if pool == "coroutines" else ask_for_retry
    stage = Stage(pool, tmp_path, [Job("A", 1, deed="raise"), *jobs("A", 3)[1:], *jobs("B", 1)], handler=handler)
    stage.run_to_rest()
    assert [name for name, _ in stage.released()] == ["A1", "A2", "A3"]
    assert stage.released()[0] == ("A1", 3.0)
    assert all(delay >= 3.0 for _, delay in stage.released())
    assert [job.name for job in stage.source.cleaned] == ["B1"]


def drop(items: Iterator[Job]) -> None:
    for job in items:
        if job.deed == "raise":
            raise Drop("as told")


async def drop_async(items: Any) -> None:
    async for job in items:
        if job.deed == "raise":
            raise Drop("as told")


@every_pool
def test_one_that_is_dropped_keeps_nobody_back(pool: str, tmp_path: Path) -> None:
    """It is done with for good, and the next of its key goes on."""
    items = [Job("A", 1, deed="raise"), *jobs("A", 3)[1:]]
    stage = Stage(pool, tmp_path, items, handler=drop_async if pool == "coroutines" else drop)
    stage.run_to_rest()
    assert stage.released() == []
    assert sorted(job.name for job in stage.source.cleaned) == ["A1", "A2", "A3"]
    assert stage.consumer.stats().dropped == 1


class Killing:
    """Kills its process with the items that say so."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def __call__(self, items: Iterator[Job]) -> None:
        for job in items:
            self.names.write(job.name)
            if job.deed == "raise":
                os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("size", [1, 3])
def test_the_death_of_a_child_keeps_back_those_behind_what_it_held(size: int, tmp_path: Path) -> None:
    """The item that killed it fails, and its key with it; what else the child was given goes to another."""
    items = [Job("A", 1, deed="raise"), *jobs("B", 3), *jobs("A", 3)[1:], *jobs("C", 3)]
    names = Names(tmp_path / "killing")
    stage = Stage("processes", tmp_path, items, messages_bulk_size=size, handler=Killing(names))
    stage.run_to_rest()
    assert [name for name in names.lines() if name[0] == "A"] == ["A1"]
    assert [name for name, _ in stage.released()] == ["A1", "A2", "A3"]
    assert all(delay >= 7.0 for _, delay in stage.released())
    assert sorted(job.name for job in stage.source.cleaned) == ["B1", "B2", "B3", "C1", "C2", "C3"]


@every_pool
def test_what_stood_behind_a_failed_item_in_its_chunk_keeps_its_place(pool: str, tmp_path: Path) -> None:
    """It was never shown to a handler, so it goes to the next one, before its own successors."""
    items = [*jobs("A", 1), Job("B", 1, deed="raise"), *jobs("C", 1), *jobs("C", 4)[1:]]
    stage = Stage(pool, tmp_path, items, messages_bulk_size=3, max_handlers=1)
    names = stage.run_to_rest()
    assert [name for name in names if name[0] == "C"] == ["C1", "C2", "C3", "C4"]
    assert stage.released() == [("B1", 7.0)]


class Leaving:
    """Takes one, and returns."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def __call__(self, items: Iterator[Job]) -> None:
        self.names.write(next(items).name)


class LeavingAsync(Leaving):
    """The same, as a coroutine."""

    async def __call__(self, items: Any) -> None:  # type: ignore[override]
        self.names.write((await anext(items)).name)


@every_pool
def test_what_a_handler_did_not_take_comes_before_its_successors(pool: str, tmp_path: Path) -> None:
    """It is handed on, keeping its key; and where it is given back at last, its successors are given back behind it."""
    names = Names(tmp_path / "leaving")
    handler = (LeavingAsync if pool == "coroutines" else Leaving)(names)
    items = [*jobs("A", 2), *jobs("B", 2), *jobs("C", 2)]
    stage = Stage(pool, tmp_path, items, handler=handler, messages_bulk_size=3, max_handlers=1)
    stage.run_to_rest()
    for key in "ABC":
        order = [name for name in names.lines() if name[0] == key]
        back = [name for name, _ in stage.released() if name[0] == key]
        assert order + back == [f"{key}1", f"{key}2"]


def test_dead_letters_keep_nobody_back_for_ever(tmp_path: Path) -> None:
    """What went to the dead letters is done with; its successors are handled, in order."""
    queue = MemoryQueue(ordered=True)
    for number in range(5):
        queue.put(number, group="A")
    buried: list[int] = []
    done: list[int] = []

    @each
    def handle(item: Any) -> None:
        if item.body == 1:
            raise ValueError(item.body)
        done.append(item.body)

    consumer = Consumer[Any](
        queue,
        handle,
        1,
        2,
        max_attempts=2,
        dead_letter=lambda item, failure: buried.append(item.body),
        backoff=Constant(0.001),
    )
    with consumer:
        until(lambda: queue.stats()["cleaned"] == 5, "everything is cleaned up")
    reconcile_memory(consumer.shutdown(), queue)
    assert (done, buried) == ([0, 2, 3, 4], [1])


# ---------------------------------------------------------------------------- shutdown


@every_pool
def test_shutdown_gives_back_what_waits_for_its_key_in_order(pool: str, tmp_path: Path) -> None:
    """At once, without a delay; the one in hand is let finish."""
    gate = Gate(tmp_path)
    items = [Job("A", 1, gate=str(tmp_path / "gate")), *jobs("A", 5)[1:]]
    stage = Stage(pool, tmp_path, items)
    stage.consumer.start()
    gate.wait_for()
    stage.consumer.stop()
    stage.source.wait_for_release(4)
    gate.open()
    stage.stop()
    assert stage.released() == [("A2", 0), ("A3", 0), ("A4", 0), ("A5", 0)]
    assert [job.name for job in stage.source.cleaned] == ["A1"]


# ---------------------------------------------------------------------------- keys that are no good


def bad_key(job: Job) -> Any:
    if job.deed == "key raises":
        raise LookupError("no key")
    if job.deed == "key cannot be hashed":
        return [job.lane]
    if job.deed == "key exits":
        raise SystemExit(3)
    return job.lane


@every_pool
@pytest.mark.parametrize("deed", ["key raises", "key cannot be hashed", "key exits"])
def test_a_key_that_is_no_good_fails_its_item_only(pool: str, deed: str, tmp_path: Path) -> None:
    """It is released with the back-off, without having been shown to a handler, and somebody is told of it."""
    items = [*jobs("A", 2), Job("A", 3, deed=deed), *jobs("A", 5)[3:], *jobs("B", 2)]
    stage = Stage(pool, tmp_path, items, key=bad_key)
    names = stage.run_to_rest()
    assert sorted(names) == ["A1", "A2", "A4", "A5", "B1", "B2"]
    assert stage.released() == [("A3", 7.0)]
    assert stage.consumer.stats().failed == 1
    assert [event.callback for event in stage.events.of(CallbackFailed)] == ["key"]
    assert not stage.consumer.stats().revived


# ---------------------------------------------------------------------------- room


@every_pool
@pytest.mark.parametrize("prefetch", [0, 5, 40])
def test_a_hot_key_does_not_flood_the_belt(pool: str, prefetch: int, tmp_path: Path) -> None:
    """What waits for its key uses room, so that no more is fetched than of anything else."""
    gate = Gate(tmp_path)
    items = [Job("A", 1, gate=str(tmp_path / "gate")), *jobs("A", 300)[1:]]
    stage = Stage(pool, tmp_path, items, prefetch=prefetch, max_handlers=3)
    stage.source.bulk = 10

    def during() -> None:
        gate.wait_for()
        until(lambda: stage.consumer.stats().fetching == "no room", "there is no room")
        assert len(stage.source.given) <= 3 + prefetch + stage.source.bulk
        gate.open()

    assert stage.run_to_rest(during) == [job.name for job in jobs("A", 300)]


@every_pool
def test_a_hot_key_does_not_flood_its_lane(pool: str, tmp_path: Path) -> None:
    """With several lanes as with one: what waits for its key is looked ahead, and that is a bulk at most."""
    gate = Gate(tmp_path)
    hot = Source([Job("A", 1, gate=str(tmp_path / "gate")), *jobs("A", 300)[1:]], bulk=10)
    other = Source(bulk=10)
    names = Names(tmp_path / "names")
    options: dict[str, Any] = {"key": lane_of, "pool": pool}
    lanes = Buses(Lane(hot, 0, "hot"), Lane(other, 0, "other"))
    consumer = Consumer[Job](lanes, following(pool, names), 1, 3, **options)
    with consumer:
        gate.wait_for()
        other.put(*jobs("B", 50))
        other.wait_for_cleanup(50)  # meanwhile there were always handlers that had nothing to do
        assert len(hot.given) <= 1 + 2 * hot.bulk  # the one in hand; a bulk that waits; one that was under way
        gate.open()
        assert consumer.wait_idle(PATIENCE)
    reconcile(consumer.shutdown(), hot, other)
    assert [name for name in names.lines() if name[0] == "A"] == [job.name for job in jobs("A", 300)]


@pytest.mark.parametrize("way", ["constructor", "queue"])
def test_a_keyed_lane_has_one_getter(way: str, tmp_path: Path) -> None:
    """However many are asked for: two would make a race of the order."""

    class Ordered(Source):
        def ordering_key(self, item: Job) -> str:
            return item.lane

    source = Ordered(jobs("A", 200), bulk=1) if way == "queue" else Source(jobs("A", 200), bulk=1)
    stage = Stage("threads", tmp_path, [], queue=source, max_workers=4, key=lane_of if way == "constructor" else None)
    stage.source = source
    assert stage.run_to_rest() == [job.name for job in jobs("A", 200)]
    assert len({poll.thread for poll in source.polls}) == 1


# ---------------------------------------------------------------------------- whose key it is


class WithKey(Source):
    """A queue that has a key of its own, and counts how often it is asked."""

    asked = 0

    def ordering_key(self, item: Any) -> str:
        self.asked += 1
        return "queue"


class HandlerWithKey:
    """A handler that has a key of its own."""

    asked = 0

    def __call__(self, items: Iterator[Any]) -> None:
        for _ in items:
            pass

    def key(self, item: Any) -> str:
        self.asked += 1
        return "handler"


def read_all(items: Iterator[Any]) -> None:
    for _ in items:
        pass


@pytest.mark.parametrize("whose", ["constructor", "handler", "queue"])
def test_the_key_is_the_constructors_or_the_handlers_or_the_queues(whose: str, tmp_path: Path) -> None:
    """Whoever knows best: the constructor's key wins over the handler's, and that over the queue's."""
    queue, asked = WithKey(jobs("A", 5)), [0]
    handler = HandlerWithKey()

    def key(item: Any) -> str:
        asked[0] += 1
        return "constructor"

    stage = Stage(
        "threads",
        tmp_path,
        [],
        queue=queue,
        handler=read_all if whose == "queue" else handler,
        key=key if whose == "constructor" else None,
    )
    stage.source = queue
    stage.run_to_rest()
    expected = {"constructor": (5, 0, 0), "handler": (0, 5, 0), "queue": (0, 0, 5)}[whose]
    assert (asked[0], handler.asked, queue.asked) == expected


def test_each_lane_has_the_key_of_its_queue(tmp_path: Path) -> None:
    """A lane with keys beside one without: the one is in order, the other runs side by side."""
    gate = Gate(tmp_path)
    path = str(tmp_path / "gate")

    class Ordered(Source):
        def ordering_key(self, item: Job) -> str:
            return "one"

    fifo = Ordered([Job("F", 1, gate=path), *jobs("F", 4)[1:]])
    plain = Source([Job("P", number, gate=path) for number in range(2)])
    names = Names(tmp_path / "names")
    consumer = Consumer[Job](Buses(Lane(fifo, 0, "fifo"), Lane(plain, 0, "plain")), following("threads", names), 4, 4)
    with consumer:
        gate.wait_for(3)
        assert sorted(names.lines()) == ["F1", "P0", "P1"]
        gate.open()
        assert consumer.wait_idle(PATIENCE)
    reconcile(consumer.shutdown(), fifo, plain)
    assert [name for name in names.lines() if name[0] == "F"] == ["F1", "F2", "F3", "F4"]
    assert len({poll.thread for poll in fifo.polls}) == 1


@every_pool
def test_a_failure_keeps_back_its_key_in_its_own_lane(pool: str, tmp_path: Path) -> None:
    """With lanes as without: what is behind a failed item goes home behind it, to its own queue."""
    names = Names(tmp_path / "names")
    sources = [Source([Job(lane, 1, deed="raise"), *jobs(lane, 3)[1:]]) for lane in "AB"]
    lanes = Buses(*(Lane(source, 0, str(number)) for number, source in enumerate(sources)))
    options: dict[str, Any] = {"key": lane_of, "pool": pool, "backoff": Constant(7)}
    consumer = Consumer[Job](lanes, following(pool, names), 1, 2, **options)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    reconcile(consumer.shutdown(), *sources)
    assert sorted(names.lines()) == ["A1", "B1"]
    for source, lane in zip(sources, "AB", strict=True):
        assert [(job.name, delay) for job, delay in source.released] == [(f"{lane}{n}", 7.0) for n in (1, 2, 3)]


# ---------------------------------------------------------------------------- other ways to run


def test_run_once_keeps_the_order_of_a_key(tmp_path: Path) -> None:
    """Of one bulk, too: those behind one that failed are released after it."""
    source = Source([Job("A", 1, deed="raise"), *jobs("A", 3)[1:], *jobs("B", 2)])
    names = Names(tmp_path / "names")
    consumer = Consumer[Job](source, following("threads", names), 1, 2, key=lane_of, backoff=Constant(7))
    assert consumer.run_once() == Result(succeeded=2, failed=3)
    assert sorted(names.lines()) == ["A1", "B1", "B2"]
    assert [(job.name, delay) for job, delay in source.released] == [("A1", 7.0), ("A2", 7.0), ("A3", 7.0)]
    report = consumer.shutdown()
    assert report.balanced


def test_a_slow_key_does_not_keep_others_from_being_idle(tmp_path: Path) -> None:
    """`wait_idle` waits for what waits for its key as for anything else."""
    gate = Gate(tmp_path)
    stage = Stage("threads", tmp_path, [Job("A", 1, gate=str(tmp_path / "gate")), *jobs("A", 2)[1:]])

    def during() -> None:
        gate.wait_for()
        assert not stage.consumer.wait_idle(0.05)
        gate.open()

    assert stage.run_to_rest(during) == ["A1", "A2"]


def no_argument() -> str:
    return "none"


def two_arguments(one: Any, other: Any) -> str:
    return "two"


@pytest.mark.parametrize("key", ["lane", 5, no_argument, two_arguments])
def test_a_key_that_cannot_be_called_with_an_item_is_refused(key: Any) -> None:
    """In a sentence that names it, its value, and what is allowed."""
    with pytest.raises(TypeError) as refused:
        Consumer(MemoryQueue(), HandlerWithKey(), key=key)
    assert all(word in str(refused.value) for word in ("key", "callable", "item", repr(key)))


def test_room_is_given_back_by_what_is_released_behind_a_failed_item(tmp_path: Path) -> None:
    """A key that fails again and again does not use up the room of the others."""
    lock = threading.Lock()
    seen: list[str] = []

    def handle(items: Iterator[Job]) -> None:
        for job in items:
            with lock:
                seen.append(job.lane)
            if job.lane == "A":
                raise ValueError(job.name)

    items = [job for number in range(100) for job in (Job("A", number), Job("B", number))]
    source = Source(items, bulk=10)
    consumer = Consumer[Job](source, handle, 1, 2, prefetch=0, key=lane_of, backoff=Constant(7))
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    reconcile(consumer.shutdown(), source)
    assert seen.count("B") == 100
    assert len(source.released) == 100


def test_of_a_key_nothing_begins_before_the_dead_letters_have_what_failed() -> None:
    """Whether they take it is not known before: if they do not, it goes back, and must come first."""
    asked, taken = threading.Event(), threading.Event()
    seen: list[str] = []
    other = threading.Event()

    def handle(items: Iterator[Any]) -> None:
        for message in items:
            seen.append(message.body)
            if message.body == "a1":
                raise ValueError
            if message.body == "b1":
                other.set()

    def dead_letter(message: Any, failure: Failure) -> None:
        asked.set()
        taken.wait(PATIENCE)

    queue: MemoryQueue[Any] = MemoryQueue(ordered=True)
    for body in ("a1", "a2", "b1"):
        queue.put(body, group=body[0])
    consumer = Consumer(queue, handle, max_handlers=1, prefetch=10, max_attempts=1, dead_letter=dead_letter)
    with consumer:
        assert asked.wait(PATIENCE)
        assert other.wait(PATIENCE)
        assert "a2" not in seen
        taken.set()
        assert consumer.wait_idle(PATIENCE)
    assert consumer.shutdown().balanced
    assert sorted(seen) == ["a1", "a2", "b1"]
