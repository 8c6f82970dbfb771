"""Leases: whatever the line holds it renews, in batches and in time; and what it has lost it lets go of.

The queue's clock stands still unless a test says otherwise, so that leases are lost only on command; and what the
line does about them is judged by the calls that the queue wrote down.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from queue_consumer import (
    BulkReceived,
    CleanupFailed,
    Consumer,
    Event,
    ItemsLost,
    ItemsReleased,
    Lane,
    LeaseLost,
    LeasesBehind,
    MemoryQueue,
    Retry,
    State,
    Supervision,
    WorkerDied,
    WorkerRevived,
    current,
)
from queue_consumer import _cleaner as cleaner_module
from queue_consumer import _drain as drain_module
from queue_consumer import _keeper as keeper_module
from queue_consumer._keeper import Keeper, Renewer
from queue_consumer._line import now
from queue_consumer.testing import ManualClock, RecordingObserver
from support.custody import (
    LEASE,
    LOOK,
    PATIENCE,
    LeasedQueue,
    among,
    at_once,
    at_rest,
    at_work,
    books,
    jobs_of,
    line_of,
    pause,
)
from support.lifecycle import in_thread, until
from support.line_pools import THREADS, PoolKind, most_pools

ABSENT = 0.2  # seconds to wait for what must not come: nothing announces that it stays away
LONG = 60.0  # seconds of a lease that no test sees the half of


def keepers() -> list[threading.Thread]:
    """The threads that renew leases, of all consumers."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("queue_consumer-keeper")]


def after_long(attempt: int) -> float:
    """A back-off that no test sees the end of."""
    return LONG


# ---------------------------------------------------------------------------- what may be asked for


@pytest.mark.parametrize(
    ("lease", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ("30", TypeError),
        (True, TypeError),
        (object(), TypeError),
    ],
)
def test_a_lease_is_a_number_of_seconds(lease: Any, error: type[Exception]) -> None:
    """A queue whose `lease` is not a number of seconds above 0 is refused, in a sentence that names it."""
    queue = MemoryQueue([1])
    queue.lease = lease
    with pytest.raises(error, match="lease"):
        Consumer(queue, list)


@pytest.mark.parametrize("lease", [None, 1, 0.5, 43_200])
def test_a_lease_may_be_absent(lease: float | None) -> None:
    """None is no lease; whole numbers of seconds and fractions are leases."""
    queue = MemoryQueue([1])
    queue.lease = lease
    assert Consumer(queue, list).state is State.NEW


@pytest.mark.parametrize(("age", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError), (True, TypeError)])
def test_the_age_of_leases_is_a_number_of_seconds(age: Any, error: type[Exception]) -> None:
    """`Supervision(max_lease_age=…)` is a number of seconds above 0, or None, which is the default."""
    assert Supervision().max_lease_age is None
    assert Supervision(max_lease_age=5).max_lease_age == 5
    with pytest.raises(error, match="max_lease_age"):
        Supervision(max_lease_age=age)


def test_a_consumer_without_leases_has_no_keeper(tmp_path: Path) -> None:
    """Who has no lease, or nothing to renew one by, has no thread for it."""
    for queue in (LeasedQueue(["hold 1"], lease=None), LeasedQueue(["hold 1"], lease=LONG, without=["extend"])):
        jobs = jobs_of(THREADS, tmp_path)
        consumer, _ = line_of(THREADS, queue, jobs)
        with at_work(consumer, jobs):
            jobs.wait("begun hold 1 #1")
            assert not keepers()
            jobs.open()
            assert consumer.wait_idle(PATIENCE)
        assert books(consumer.shutdown(), queue).cleaned == 1


# ---------------------------------------------------------------------------- renewal


@most_pools
def test_whatever_is_held_is_renewed(pool: PoolKind, tmp_path: Path) -> None:
    """What waits on the belt, what is being handled and what waits for cleanup: each is extended again and again."""
    unblock = threading.Event()
    queue = LeasedQueue(
        ["ok 1", "ok 2", "hold 3", "ok 4", "ok 5"], on_cleanup=lambda _: unblock.wait(PATIENCE), cleanup_limit=1
    )
    jobs = jobs_of(pool, tmp_path)
    consumer, events = line_of(pool, queue, jobs)
    with at_work(consumer, jobs):
        jobs.wait("done ok 2 #1", "begun hold 3 #1")
        held = [queue.delivery(body) for body in ("ok 2", "hold 3", "ok 4", "ok 5")]  # the first is in a cleanup
        queue.wait_for_renewals(*held, times=3)
        jobs.open()
        unblock.set()
        assert consumer.wait_idle(PATIENCE)
    stats = books(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.lost, stats.failed) == (5, 0, 0)
    assert not events.of(ItemsLost)
    assert {call.seconds for call in queue.extensions} == {LEASE}
    at_rest(queue)


@pytest.mark.parametrize(("limit", "most"), [(3, 3), (None, 7), (100, 100)])
def test_renewals_go_in_batches(limit: int | None, most: int, tmp_path: Path) -> None:
    """One call extends as much as a cleanup may carry, or as one `get` has brought where the queue does not say."""
    bodies = ["hold 0", *(f"ok {number}" for number in range(1, 21))]
    queue = LeasedQueue(bodies, bulk=7, cleanup_limit=limit)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        held = [queue.delivery(body) for body in bodies]
        queue.wait_for_renewals(*held, times=2)
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    assert max(len(call.items) for call in queue.extensions) <= most
    assert max(len(call.items) for call in queue.extensions) > 1
    for call in queue.extensions:
        assert len({id(item) for item in call.items}) == len(call.items), "an item stands in one call twice"
    assert books(consumer.shutdown(), queue).cleaned == len(bodies)


def test_ten_thousand_items_are_renewed_by_few_calls() -> None:
    """10,000 items in flight at a lease of 30 s take at most 75 calls per second, of 10 items each: 2,250 in the time
    of a lease, however long that is; and none of them is lost.
    """
    lease, count = 7.0, 10_000
    renewed: list[list[float]] = [[] for _ in range(count)]
    sizes: list[int] = []
    twice, gate, counting = threading.Semaphore(0), threading.Event(), threading.Lock()

    class Quick(MemoryQueue[Any]):
        cleanup_limit = 10

    def extend(items: Sequence[Any], seconds: float) -> None:
        with counting:
            sizes.append(len(items))
            for item in items:
                times = renewed[int(item)]
                times.append(now())
                if len(times) == 2:
                    twice.release()

    def handle(items: Iterator[Any]) -> None:
        for _ in items:
            gate.wait(PATIENCE)

    queue = Quick(range(count), bulk=10, lease=lease, clock=ManualClock())
    queue.extend = extend
    consumer = Consumer(queue, handle, 1, 1, prefetch=count)
    with consumer:
        try:
            until(lambda: consumer.stats().received == count, "everything is held")
            assert all(twice.acquire(timeout=3 * PATIENCE) for _ in range(count)), "not all were renewed twice"
        finally:
            gate.set()
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    assert report.balanced
    assert (report.stats.cleaned, report.stats.lost, report.stats.in_flight) == (count, 0, 0)

    assert max(sizes) <= 10
    assert sum(sizes) / len(sizes) >= 9, "calls went out half empty"
    # A slow machine makes the time longer between two calls for an item, and not the calls more.
    leases = sum(times[1] - times[0] for times in renewed) / lease / count
    assert count / 10 / leases <= 2_250


def test_what_has_ended_is_renewed_no_more(tmp_path: Path) -> None:
    """After its cleanup or its release, an item is in no `extend`; those that are still held go on."""
    queue = LeasedQueue(["hold 0", "ok 1", "hold-fail:b 2", "ok 3"])
    jobs = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs, max_handlers=2, backoff=after_long)
    with at_work(consumer, jobs):
        jobs.wait("begun hold 0 #1", "begun hold-fail:b 2 #1")
        queue.wait_for_renewals(queue.delivery("ok 3"))
        jobs.open("b")
        events.wait_for(ItemsReleased, timeout=PATIENCE)
        until(lambda: consumer.stats().cleaned == 2, "two are cleaned up")
        queue.wait_for_renewals(queue.delivery("hold 0"))  # a call that began before them may run until now
        ended = [queue.delivery(body) for body in ("ok 1", "hold-fail:b 2", "ok 3")]
        before = [queue.extended(item) for item in ended]
        queue.wait_for_renewals(queue.delivery("hold 0"), times=3)
        assert [queue.extended(item) for item in ended] == before
        jobs.open()
        until(lambda: consumer.stats().cleaned == 3, "the rest is cleaned up")
    stats = books(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.released, stats.lost) == (3, 1, 0)


@most_pools
def test_a_late_heartbeat_never_undoes_a_back_off(pool: PoolKind, tmp_path: Path) -> None:
    """A release waits for an `extend` of its item that is running, and none begins after it."""
    inside, violated = threading.Event(), threading.Event()

    def extend(items: list[Any]) -> None:
        if any(item.body == "hold-fail 1" for item in items) and not inside.is_set():
            inside.set()
            violated.wait(ABSENT)  # that no release comes meanwhile is not announced by anything

    def release(items: list[Any], delay: float) -> None:
        violated.set()

    queue = LeasedQueue(["hold-fail 1", "ok 2"], on_extend=extend, on_release=release)
    jobs = jobs_of(pool, tmp_path)
    consumer, events = line_of(pool, queue, jobs, backoff=after_long)
    with at_work(consumer, jobs):
        jobs.wait("begun hold-fail 1 #1")
        assert inside.wait(PATIENCE)
        jobs.open()  # it fails while its lease is being extended
        [released] = events.wait_for(ItemsReleased, timeout=PATIENCE)
        [failed] = released.items
        after = queue.extended(failed)
        until(lambda: consumer.stats().cleaned == 1, "the other one is cleaned up")
        queue.put("hold:b 3")
        jobs.wait("begun hold:b 3 #1")
        queue.wait_for_renewals(queue.delivery("hold:b 3"), times=2)
        assert queue.extended(failed) == after
        assert queue.stats()["delayed"] == 1, "the back-off was undone"
        jobs.open("b")
        until(lambda: consumer.stats().cleaned == 2, "the last one is cleaned up")
    stats = books(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.released, stats.failed) == (2, 1, 1)


def test_a_verb_may_be_a_coroutine(tmp_path: Path) -> None:
    """An `async def extend` runs on the loop, like every other verb."""

    class Asynchronous(LeasedQueue):
        async def prolong(self, items: Sequence[Any], seconds: float) -> None:
            self.extending(items, seconds)

    queue = Asynchronous(["hold 1", "ok 2"])
    queue.extend = queue.prolong  # type: ignore[assignment]
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        queue.wait_for_renewals(queue.delivery("hold 1"), queue.delivery("ok 2"), times=2)
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    assert books(consumer.shutdown(), queue).cleaned == 2


def test_an_answer_that_took_longer_than_a_lease_is_not_late(tmp_path: Path) -> None:
    """A lease may begin as early as the `get` was called, or as late as it answered: what a long poll brings is renewed
    at once, and not lost on arrival.
    """

    class LongPoll(LeasedQueue):
        def get(self, limit: int | None = None) -> list[Any]:
            take(1.5 * LEASE)  # a poll is over when its time is
            return super().get(limit)

    queue = LongPoll(["hold 1", "ok 2"])
    jobs = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        jobs.wait("begun hold 1 #1")
        queue.wait_for_renewals(queue.delivery("hold 1"), queue.delivery("ok 2"), times=2)
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    assert jobs.handled() == ["hold 1 #1", "ok 2 #1"]
    assert not events.of(LeasesBehind)
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost) == (2, 2, 0)
    at_rest(queue)


def take(seconds: float) -> None:
    """Be a call that takes so long."""
    threading.Event().wait(seconds)


class Lanes:
    """Several queues as one."""

    def __init__(self, *lanes: Lane) -> None:
        self.lanes = lanes


def test_every_lane_is_renewed() -> None:
    """A lane whose renewals take so long that some are always due does not keep those of another waiting."""
    gate = threading.Event()
    bodies = [f"slow {number}" for number in range(10)]
    slow = LeasedQueue(bodies, lease=1.0, cleanup_limit=1, on_extend=lambda _: take(0.1))
    other = LeasedQueue(["other 1"], lease=2.0)
    events = RecordingObserver()

    def handle(items: Iterator[Any]) -> None:
        for _ in items:
            gate.wait(PATIENCE)

    lanes = Lanes(Lane(slow, 1, "slow"), Lane(other, 0, "other"))
    consumer = Consumer(lanes, handle, 2, 2, messages_bulk_size=10, receipt="return", observers=[events])
    with consumer:
        try:
            other.wait_for_renewals(other.delivery("other 1"), times=3)
        finally:
            gate.set()
        assert consumer.wait_idle(PATIENCE)
    assert other.cleaned(other.delivery("other 1"))
    assert not any(among(other.delivery("other 1"), event.items) for event in events.of(ItemsLost))
    stats = consumer.shutdown().stats
    assert stats.balanced
    assert stats.in_flight == 0


# ---------------------------------------------------------------------------- several hands


class Turnstile:
    """Holds up calls until so many are in it at one time; and then lets everybody through."""

    def __init__(self, count: int) -> None:
        self._barrier = threading.Barrier(count)

    def __call__(self, items: list[Any]) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            self._barrier.wait(PATIENCE)
            self._barrier.abort()


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_slow_calls_are_made_side_by_side(kind: str, tmp_path: Path) -> None:
    """While calls take long and more is due, another thread makes the next one; coroutines run side by side as well."""
    count = 6
    bodies = ["hold 0", *(f"ok {number}" for number in range(1, count))]
    turnstile, arrived = Turnstile(count), 0

    class Asynchronous(LeasedQueue):
        async def prolong(self, items: Sequence[Any], seconds: float) -> None:
            nonlocal arrived
            arrived += 1
            while arrived < count:
                await asyncio.sleep(LOOK)  # the others are threads, that ring nothing here
            self.extending(items, seconds)

    if kind == "def":
        queue = LeasedQueue(bodies, lease=3.0, cleanup_limit=1, on_extend=turnstile)
    else:
        queue = Asynchronous(bodies, lease=3.0, cleanup_limit=1)
        queue.extend = queue.prolong  # type: ignore[assignment]
    jobs = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        queue.wait_for_renewals(*map(queue.delivery, bodies))
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    assert not events.of(ItemsLost)
    assert books(consumer.shutdown(), queue).cleaned == count
    assert not keepers()


def test_quick_calls_need_no_more_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread until something is renewed; then two, of which one leads; and no third while calls are quick."""
    monkeypatch.setattr(keeper_module, "MOMENT", PATIENCE)  # however slow the machine, no call is
    gate = threading.Event()
    crew: set[int] = set()
    bodies = [f"ok {number}" for number in range(20)]

    def extend(_: list[Any]) -> None:
        take(0.005)  # or the next would never be due meanwhile
        crew.add(len(keepers()))

    queue = LeasedQueue(bodies, lease=2.0, cleanup_limit=1, on_extend=extend)

    def handle(items: Iterator[Any]) -> None:
        for _ in items:
            gate.wait(PATIENCE)

    consumer = Consumer(queue, handle, 1, 1, prefetch=100)
    with consumer:
        try:
            assert len(keepers()) == 1
            queue.wait_for_renewals(*map(queue.delivery, bodies))
        finally:
            gate.set()
        assert consumer.wait_idle(PATIENCE)
    assert crew == {2}
    assert consumer.shutdown().balanced


def test_a_call_that_never_returns_holds_up_its_batch_alone(tmp_path: Path) -> None:
    """Even where until then no second thread was needed: whoever makes a call leaves another one behind who leads."""
    inside, unblock = threading.Event(), threading.Event()

    def extend(items: list[Any]) -> None:
        if items[0].body == "hold:stuck 1":
            inside.set()
            unblock.wait(PATIENCE)

    queue = LeasedQueue(["hold:stuck 1"], lease=1.0, on_extend=extend)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs, max_handlers=2)
    with at_work(consumer, jobs):
        assert inside.wait(PATIENCE)
        queue.put("hold 2")
        queue.wait_for_renewals(queue.delivery("hold 2"), times=3)
        unblock.set()
        jobs.open("stuck")
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    assert not queue.violations
    assert consumer.shutdown().balanced


def test_calls_that_never_return_hold_up_their_lane_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a lane has as many calls as it may and none of them returns, the leases of that lane are behind and of no
    other, whose items are renewed.
    """
    monkeypatch.setattr(keeper_module, "CALLS", 2)
    unblock, gate = threading.Event(), threading.Event()
    stuck = LeasedQueue(["a 1", "a 2", "a 3"], lease=1.0, cleanup_limit=1, on_extend=lambda _: unblock.wait(PATIENCE))
    other = LeasedQueue(["b 1"], lease=1.0)
    events = RecordingObserver()

    def handle(items: Iterator[Any]) -> None:
        for _ in items:
            gate.wait(PATIENCE)

    lanes = Lanes(Lane(stuck, 1, "stuck"), Lane(other, 0, "other"))
    consumer = Consumer(lanes, handle, 2, 4, observers=[events], receipt="return")
    with consumer:
        try:
            stuck.wait_for(lambda: stuck.extending_now() == 2, "all calls of the lane run")
            events.wait_for(LeasesBehind, timeout=PATIENCE)
            other.wait_for_renewals(other.delivery("b 1"), times=3)
            assert stuck.extending_now() == 2
        finally:
            unblock.set()
            gate.set()
        assert consumer.wait_idle(PATIENCE)
    assert not any(among(other.delivery("b 1"), event.items) for event in events.of(ItemsLost))
    assert consumer.shutdown().balanced


def test_what_calls_side_by_side_find_lost_is_told_once(tmp_path: Path) -> None:
    """Of several calls that find losses at one time, each loss is told once, and what is on the belt leaves it once."""
    count = 6
    bodies = ["hold 0", *(f"ok {number}" for number in range(1, count))]
    turnstile = Turnstile(count - 1)

    def extend(items: list[Any]) -> None:
        if items[0].body != "hold 0" and items[0].attempt == 1:
            turnstile(items)
            raise LeaseLost(items)

    queue = LeasedQueue(bodies, lease=1.0, cleanup_limit=1, on_extend=extend, without=["identity"])
    jobs = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs, prefetch=count)
    with at_work(consumer, jobs):
        lost = [queue.delivery(body) for body in bodies[1:]]
        until(lambda: consumer.stats().lost == count - 1, "all of them are lost")
        queue.expire(lost)  # and so they come again
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    told = Counter(id(item) for event in events.of(ItemsLost) for item in event.items)
    assert told == Counter(map(id, lost))
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost) == (2 * count - 1, count, count - 1)
    at_rest(queue)


def test_slow_renewals_and_back_offs_side_by_side(tmp_path: Path) -> None:
    """With renewals of all lengths on several threads while items fail and go back, no item is in two calls of the
    queue at one time, and none is renewed after its end.
    """
    count, dice = 60, random.Random(7)
    lock, ended, late = threading.Lock(), set[int](), list[Any]()

    def extend(items: list[Any]) -> None:
        with lock:
            late.extend(item for item in items if id(item) in ended)
            seconds = dice.random() * 0.05
        take(seconds)

    def release(items: list[Any], delay: float) -> None:
        with lock:
            ended.update(map(id, items))

    queue = LeasedQueue(
        (f"ok {number}" for number in range(count)), lease=2.0, cleanup_limit=3, on_extend=extend, on_release=release
    )

    def handle(items: Iterator[Any]) -> None:
        for item in items:
            with lock:
                seconds = 0.5 + dice.random() * 0.5
            take(seconds)  # until some time about its renewal
            if item.attempt == 1:
                raise Retry(0)

    def come_again(event: Event) -> None:
        if isinstance(event, ItemsLost):  # as they are if the machine stands still for longer than a lease
            queue.expire(event.items)

    consumer = Consumer(queue, handle, 4, count, prefetch=count, backoff=at_once, observers=[come_again])
    with consumer:
        until(lambda: consumer.wait_idle(PATIENCE) and queue.empty(), "everything is done")
    stats = books(consumer.shutdown(), queue)
    assert stats.cleaned == count
    assert queue.releases
    assert queue.extensions
    assert not late
    at_rest(queue)


# ---------------------------------------------------------------------------- what goes wrong with it


@pytest.mark.parametrize("error", [OSError("no answer"), LeaseLost([]), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_an_extend_that_raises_does_no_harm(error: BaseException, tmp_path: Path) -> None:
    """Whatever `extend` raises is tried again soon: the keeper lives, and nothing is lost."""
    calls: list[None] = []

    def extend(_: list[Any]) -> None:
        calls.append(None)
        if len(calls) <= 2:
            raise error

    queue = LeasedQueue(["hold 1", "ok 2"], lease=3.0, on_extend=extend)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        jobs.wait("begun hold 1 #1")
        queue.wait_for(lambda: len(calls) > 3, "two calls that succeed")
        assert len(keepers()) == 2, "one that calls, and one that leads meanwhile"
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    assert not events.of(WorkerDied)
    assert not events.of(ItemsLost)
    assert books(consumer.shutdown(), queue).cleaned == 2


@pytest.mark.parametrize("where", ["_take", "_renew"])
def test_a_keeper_that_dies_is_revived(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread that renews leases is minded like any other: when it has ended another takes its place, however
    often that happens.
    """
    works, deaths = getattr(Renewer, where), threading.Semaphore(0)

    def dies_at_times(self: Renewer) -> Any:
        result = works(self)
        if deaths.acquire(blocking=False):
            raise RuntimeError("a bug of ours")
        return result

    monkeypatch.setattr(Renewer, where, dies_at_times)
    queue = LeasedQueue(["hold 1", "ok 2"], lease=2.0)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        held = [queue.delivery("hold 1"), queue.delivery("ok 2")]
        for number in (1, 2):
            queue.wait_for_renewals(*held)
            deaths.release()
            events.wait_for(WorkerRevived, number, PATIENCE)
        queue.wait_for_renewals(*held)
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    dead = [death.worker for death in events.of(WorkerDied)]
    assert {"keeper-1", "keeper-2"} >= set(dead)
    assert [revival.worker for revival in events.of(WorkerRevived)] == dead
    stats = books(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.lost, stats.revived) == (2, 0, 2)
    assert not keepers()


def test_what_a_dead_keeper_had_in_hand_is_renewed_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch whose thread died before it made the call is taken by another soon, though that one is not revived."""
    works, deaths = Renewer._renew, threading.Semaphore(2)

    def dies_first(self: Renewer) -> None:
        if deaths.acquire(blocking=False):
            raise RuntimeError("a bug of ours")
        works(self)

    monkeypatch.setattr(Renewer, "_renew", dies_first)
    monkeypatch.setattr(Keeper, "replace", lambda self, dead: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    queue = LeasedQueue(["hold 1", "ok 2", "ok 3"], lease=2.0, cleanup_limit=2)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        queue.wait_for_renewals(*(queue.delivery(body) for body in ("hold 1", "ok 2", "ok 3")), times=2)
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    assert {death.worker for death in events.of(WorkerDied)} == {"keeper-1", "keeper-2"}
    assert not events.of(ItemsLost)
    assert books(consumer.shutdown(), queue).cleaned == 3


def test_those_that_are_not_named_were_extended(tmp_path: Path) -> None:
    """Of a batch of which some leases are lost, the others are held on to; names of strangers mean nothing."""
    strangers: list[Any] = [object()]

    def extend(items: list[Any]) -> None:
        if strangers:
            raise LeaseLost([strangers.pop()])

    queue = LeasedQueue(["hold 1", "ok 2", "ok 3"], on_extend=extend, without=["identity"])
    jobs = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs, prefetch=2)
    with at_work(consumer, jobs):
        first, second, third = (queue.delivery(body) for body in ("hold 1", "ok 2", "ok 3"))
        queue.wait_for_renewals(first, second, third, times=2)
        queue.expire([second])
        [lost] = events.wait_for(ItemsLost, timeout=PATIENCE)
        assert among(second, lost.items)
        assert len(lost.items) == 1
        queue.wait_for_renewals(first, third, times=2)
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    assert queue.cleaned(first)
    assert queue.cleaned(third)
    assert not queue.asked_to_clean(second)
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost) == (4, 3, 1)
    at_rest(queue)


# ---------------------------------------------------------------------------- lost leases


@most_pools
def test_what_is_lost_on_the_belt_is_never_handed_over(pool: PoolKind, tmp_path: Path) -> None:
    """An item whose lease is lost while it waits is somebody else's: no handler sees it, and it counts as lost."""
    bodies = ["hold 0", "ok 1", "ok 2", "ok 3"]
    queue = LeasedQueue(bodies, without=["identity"])
    jobs = jobs_of(pool, tmp_path)
    consumer, events = line_of(pool, queue, jobs, prefetch=3)  # so that there is room for no more
    with at_work(consumer, jobs):
        jobs.wait("begun hold 0 #1")
        lost = [queue.delivery(body) for body in ("ok 1", "ok 3")]
        queue.wait_for_renewals(*lost)
        queue.expire(lost)
        queue.wait_for_renewals(*lost)  # of which the line learns that they are lost
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    told = events.of(ItemsLost)
    assert all(among(item, lost) for event in told for item in event.items)
    assert sorted(jobs.handled()) == ["hold 0 #1", "ok 1 #2", "ok 2 #1", "ok 3 #2"]
    assert not any(map(queue.asked_to_clean, lost))
    assert not any(map(queue.was_given_back, lost))
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.duplicates) == (6, 4, 2, 0)
    at_rest(queue)


@most_pools
def test_a_handler_can_see_that_its_lease_is_lost(pool: PoolKind, tmp_path: Path) -> None:
    """While it is handled, `current().lost` becomes true. A success is not cleaned up then, but remembered: when the
    message comes again it is cleaned up on sight.
    """
    queue = LeasedQueue(["watch 1", "ok 2"])
    jobs = jobs_of(pool, tmp_path)
    consumer, events = line_of(pool, queue, jobs, prefetch=0)
    with at_work(consumer, jobs):
        jobs.wait("begun watch 1 #1")
        first = queue.delivery("watch 1")
        pause(consumer)
        queue.expire([first])
        jobs.wait("lost watch 1 #1")
        until(lambda: consumer.stats().lost == 1, "it has come to its end")
        consumer.resume()
        assert consumer.wait_idle(PATIENCE)
    assert jobs.notes("begun") == ["watch 1 #1", "ok 2 #1"]
    assert not queue.asked_to_clean(first)
    assert not queue.was_given_back(first)
    assert queue.cleaned(queue.delivery("watch 1", 2))
    [lost] = events.of(ItemsLost)
    assert lost.items == (first,)
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.duplicates) == (3, 2, 1, 1)
    at_rest(queue)


@most_pools
def test_a_lost_item_that_fails_is_lost_and_no_more(pool: PoolKind, tmp_path: Path) -> None:
    """What failed after its lease was lost is not given back, since it is not ours, and not remembered either: when
    it comes again it is handled again.
    """
    queue = LeasedQueue(["watch-fail 1"])
    jobs = jobs_of(pool, tmp_path)
    consumer, _ = line_of(pool, queue, jobs, prefetch=0)
    with at_work(consumer, jobs):
        jobs.wait("begun watch-fail 1 #1")
        first = queue.delivery("watch-fail 1")
        pause(consumer)
        queue.expire([first])
        until(lambda: consumer.stats().lost == 1, "it has come to its end")
        consumer.resume()
        jobs.wait("begun watch-fail 1 #2")
        queue.expire([queue.delivery("watch-fail 1", 2)])  # or it would watch for ever
        assert consumer.wait_idle(PATIENCE)
    assert jobs.handled() == ["watch-fail 1 #1", "watch-fail 1 #2"]
    assert not queue.was_given_back(first)
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.released, stats.lost, stats.failed) == (3, 1, 0, 2, 1)
    at_rest(queue)


def test_without_identity_a_success_after_the_loss_is_handled_again(tmp_path: Path) -> None:
    """Nothing can be remembered of what has no identity; it is not cleaned up all the same."""
    queue = LeasedQueue(["watch 1"], without=["identity"])
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs, prefetch=0)
    with at_work(consumer, jobs):
        for attempt in (1, 2):
            jobs.wait(f"begun watch 1 #{attempt}")
            queue.expire([queue.delivery("watch 1", attempt)])
            jobs.wait(f"lost watch 1 #{attempt}")
        jobs.wait("begun watch 1 #3")
        consumer.stop()
        queue.expire([queue.delivery("watch 1", 3)])
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost) == (3, 0, 3)


def test_lost_is_said_of_the_item_that_is_held(tmp_path: Path) -> None:
    """In a chunk of several, `current().lost` is about the one that the handler holds, and each is settled by its
    own lease.
    """
    queue = LeasedQueue(["hold 1", "watch 2", "hold:b 3"], without=["identity"])
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs, messages_bulk_size=3, prefetch=0)
    with at_work(consumer, jobs):
        jobs.wait("begun hold 1 #1")
        jobs.open()
        jobs.wait("begun watch 2 #1")
        queue.expire([queue.delivery("watch 2")])
        jobs.wait("lost watch 2 #1", "begun hold:b 3 #1")
        jobs.open("b")
        jobs.wait("begun watch 2 #2")
        queue.expire([queue.delivery("watch 2", 2)])
        consumer.stop()
    assert jobs.notes("done") == ["hold 1 #1", "hold:b 3 #1"]
    stats = books(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.lost) == (2, 2)


@most_pools
def test_what_is_lost_behind_the_item_in_hand(pool: PoolKind, tmp_path: Path) -> None:
    """An item of a running chunk that is lost before it is its turn: the handler does not see it, or sees that it is
    lost; and it is not cleaned up.
    """
    queue = LeasedQueue(["hold 1", "ok 2"], without=["identity"])
    jobs = jobs_of(pool, tmp_path)
    consumer, events = line_of(pool, queue, jobs, messages_bulk_size=2, prefetch=0)
    with at_work(consumer, jobs):
        jobs.wait("begun hold 1 #1")
        second = queue.delivery("ok 2")
        queue.expire([second])
        until(lambda: queue.extended(second) and not queue.running(second), "the line was told")
        queue.wait_for_renewals(queue.delivery("hold 1"))  # and has had the time to do something about it
        jobs.open()
        events.wait_for(ItemsLost, timeout=PATIENCE)
        assert consumer.wait_idle(PATIENCE)
    assert "ok 2 #1" not in jobs.notes("done")
    assert not queue.asked_to_clean(second)
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost) == (3, 2, 1)
    at_rest(queue)


def test_what_is_lost_while_it_waits_for_cleanup(tmp_path: Path) -> None:
    """It is not cleaned up any more, but remembered, and cleaned up on sight when it comes again."""
    unblock = threading.Event()
    queue = LeasedQueue(["ok 1", "ok 2"], on_cleanup=lambda _: unblock.wait(PATIENCE), cleanup_limit=1)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs, prefetch=0)
    with at_work(consumer, jobs):
        jobs.wait("done ok 2 #1")
        second = queue.delivery("ok 2")
        pause(consumer)  # so that it does not come again before its loss is noticed
        queue.wait_for_renewals(second)
        queue.expire([second])
        queue.wait_for_renewals(second)
        unblock.set()
        events.wait_for(ItemsLost, timeout=PATIENCE)
        consumer.resume()
        assert consumer.wait_idle(PATIENCE)
    assert jobs.handled() == ["ok 1 #1", "ok 2 #1"]
    assert not queue.asked_to_clean(second)
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.duplicates) == (3, 2, 1, 1)
    at_rest(queue)


def test_a_loss_between_two_attempts_of_a_cleanup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cleanup that failed is not tried again once the lease is lost: the item is lost, and not tombstoned."""
    monkeypatch.setattr(cleaner_module, "FIRST_RETRY", LEASE)

    def cleanup(items: list[Any]) -> None:
        if items[0].attempt == 1:
            queue.expire(items)
            raise OSError("not now")

    queue = LeasedQueue(["ok 1"], on_cleanup=cleanup)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs)
    with at_work(consumer, jobs):
        events.wait_for(CleanupFailed, timeout=PATIENCE)
        assert consumer.wait_idle(PATIENCE)
    assert jobs.handled() == ["ok 1 #1"]
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.tombstoned, stats.duplicates) == (2, 1, 1, 0, 1)
    at_rest(queue)


@most_pools
def test_what_comes_again_after_its_loss_is_renewed_again(pool: PoolKind, tmp_path: Path) -> None:
    """A message that was lost while it is handled and has come again is held by its newer delivery: that is renewed,
    and cleaned up.
    """
    queue = LeasedQueue(["hold 1"])
    jobs = jobs_of(pool, tmp_path)
    consumer, _ = line_of(pool, queue, jobs)
    with at_work(consumer, jobs):
        jobs.wait("begun hold 1 #1")
        first = queue.delivery("hold 1")
        queue.wait_for_renewals(first)
        pause(consumer)
        queue.expire([first])
        queue.wait_for_renewals(first)  # in vain, for it is lost
        consumer.resume()
        second = queue.delivery("hold 1", 2)
        queue.wait_for_renewals(second, times=3)
        jobs.open()
        assert consumer.wait_idle(PATIENCE)
    assert jobs.notes("begun") == ["hold 1 #1"]
    assert queue.cleaned(second)
    assert not queue.asked_to_clean(first)
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.duplicates) == (2, 1, 1, 1)
    at_rest(queue)


# ---------------------------------------------------------------------------- leases that nobody can renew


@most_pools
def test_a_lease_that_cannot_be_renewed_runs_out(pool: PoolKind, tmp_path: Path) -> None:
    """With `lease` and no `extend`, nothing is handed over or cleaned up after its lease ran out; what was done in
    vain is remembered.
    """
    queue = LeasedQueue(["watch 0", "ok 1", "ok 2"], without=["extend"])
    jobs = jobs_of(pool, tmp_path)
    consumer, events = line_of(pool, queue, jobs, prefetch=2)
    with at_work(consumer, jobs):
        first = [queue.delivery(body) for body in ("watch 0", "ok 1", "ok 2")]
        jobs.wait("lost watch 0 #1")  # and the others were got with it
        events.wait_for(ItemsLost, timeout=PATIENCE)
        until(lambda: sum(len(event.items) for event in events.of(ItemsLost)) == 3, "all are lost")
        queue.expire(first)  # the line did not wait to be told
        assert consumer.wait_idle(PATIENCE)
    assert jobs.notes("begun") == ["watch 0 #1", "ok 1 #2", "ok 2 #2"]
    assert not any(map(queue.asked_to_clean, first))
    assert not any(map(queue.was_given_back, first))
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.duplicates) == (6, 3, 3, 1)
    at_rest(queue)


def test_a_lease_that_is_never_extended_runs_out(tmp_path: Path) -> None:
    """An `extend` that raises for a whole lease loses it: nothing may be cleaned up by then."""
    trouble = threading.Event()
    trouble.set()

    def extend(_: list[Any]) -> None:
        if trouble.is_set():
            raise OSError("no answer")

    queue = LeasedQueue(["watch 0", "ok 1"], on_extend=extend)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs, prefetch=1)
    with at_work(consumer, jobs):
        first = [queue.delivery(body) for body in ("watch 0", "ok 1")]
        jobs.wait("lost watch 0 #1")
        trouble.clear()
        until(lambda: sum(len(event.items) for event in events.of(ItemsLost)) == 2, "both are lost")
        queue.expire(first)
        assert consumer.wait_idle(PATIENCE)
    assert jobs.notes("begun") == ["watch 0 #1", "ok 1 #2"]
    assert not any(map(queue.asked_to_clean, first))
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.duplicates) == (4, 2, 2, 1)
    at_rest(queue)


def test_what_is_held_for_too_long_is_let_go(tmp_path: Path) -> None:
    """Beyond `max_lease_age` nothing is renewed: what waits on the belt is released with no delay, and what is being
    handled loses its lease.
    """
    queue = LeasedQueue(["watch 0", "ok 1", "ok 2"])
    jobs = jobs_of(THREADS, tmp_path)
    supervision = Supervision(max_lease_age=2 * LEASE)
    consumer, events = line_of(THREADS, queue, jobs, prefetch=2, supervision=supervision)
    with at_work(consumer, jobs):
        running, *waiting = (queue.delivery(body) for body in ("watch 0", "ok 1", "ok 2"))
        queue.wait_for(lambda: all(map(queue.was_given_back, waiting)), "the belt is released")
        jobs.wait("lost watch 0 #1")
        extended = queue.extended(running)
        queue.expire([running])  # the line did not wait to be told
        assert consumer.wait_idle(PATIENCE)
    assert extended >= 1, "it was renewed while it was young"
    assert queue.extended(running) == extended
    assert all(queue.was_given_back(item) == [0] for item in waiting)
    assert all(event.delay == 0 for event in events.of(ItemsReleased))
    assert jobs.handled()[0] == "watch 0 #1"
    assert sorted(note.partition(" #")[0] for note in jobs.handled()) == ["ok 1", "ok 2", "watch 0"]
    stats = books(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.lost, stats.failed) == (3, 1, 0)
    assert stats.released >= 2
    at_rest(queue)


# ---------------------------------------------------------------------------- more than can be renewed


def test_more_than_can_be_renewed_lowers_intake_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """When renewals come late, the line says so (`LeasesBehind`, `fetching`) and fetches no more, until they are in
    time again; then it goes on, and everything is done.
    """
    monkeypatch.setattr(keeper_module, "CALLS", 1)
    slow, gate = threading.Event(), threading.Event()
    slow.set()
    count = 400

    def extend(_: list[Any]) -> None:
        if slow.is_set():
            threading.Event().wait(0.05)  # a call that takes long: 20 of them a second, for 10 items each

    queue = LeasedQueue((f"ok {number}" for number in range(count)), lease=2.0, cleanup_limit=10, on_extend=extend)
    events = RecordingObserver()

    def handle(items: Iterator[Any]) -> None:
        for _ in items:
            gate.wait(PATIENCE)

    consumer = Consumer(queue, handle, 1, 1, prefetch=count, observers=[events])
    with consumer:
        behind = events.wait_for(LeasesBehind, timeout=PATIENCE)[0]
        assert behind.late > 0
        until(lambda: consumer.stats().fetching == "leases are behind", "it says why it does not fetch")
        slow.clear()
        until(lambda: consumer.stats().fetching != "leases are behind", "it has recovered")
        gate.set()
        assert consumer.wait_idle(PATIENCE)
    stats = books(consumer.shutdown(), queue)
    assert stats.fetching == "stopped"
    assert stats.cleaned == count
    at_rest(queue)


def test_a_getter_that_has_room_stops_when_leases_are_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much room there is, nothing is fetched while leases are behind, but for the `get` that runs by then; and
    when they are in time again, the rest of it is used.
    """
    monkeypatch.setattr(keeper_module, "CALLS", 1)
    unblock, gate = threading.Event(), threading.Event()
    late: list[int] = []  # how much was given by the time it was said

    class Endless(LeasedQueue):
        def get(self, limit: int | None = None) -> list[Any]:
            take(0.001)
            self.put("more")
            return super().get(limit)

    queue = Endless(lease=1.0, bulk=1, on_extend=lambda _: unblock.wait(PATIENCE))

    def handle(items: Iterator[Any]) -> None:
        for _ in items:
            gate.wait(PATIENCE)

    def note(event: Event) -> None:
        if isinstance(event, LeasesBehind):
            late.append(len(queue.given))

    consumer = Consumer(queue, handle, 1, 1, prefetch=1_000_000, observers=[note])
    with consumer:
        try:
            until(lambda: late and consumer.stats().fetching == "leases are behind", "it says why it does not fetch")
            assert consumer.stats().received <= late[0] + 2
        finally:
            unblock.set()
        until(lambda: consumer.stats().received > late[0] + 2, "it goes on fetching")
        consumer.stop()
        gate.set()
    assert consumer.shutdown().balanced


def test_what_has_ended_does_not_keep_the_line_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renewals that came late for items which have ended by then are none: the line fetches on."""
    monkeypatch.setattr(keeper_module, "CALLS", 1)
    inside, unblock = threading.Event(), threading.Event()

    def extend(_: list[Any]) -> None:
        inside.set()
        unblock.wait(PATIENCE)

    queue = LeasedQueue(["hold 1", "hold 2"], lease=1.0, cleanup_limit=1, on_extend=extend)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs, max_handlers=2)
    with at_work(consumer, jobs):
        assert inside.wait(PATIENCE)  # and the other one waits for it
        jobs.open()
        until(lambda: consumer.stats().cleaned == 2, "both are cleaned up")
        pause(consumer)
        take(0.6)  # until the second renewal is late: what does not come is not announced
        unblock.set()
        until(lambda: not queue.extending_now(), "the late call has returned")
        take(ABSENT)  # for what the keeper makes of it, which is nothing that anybody could see
        consumer.resume()
        queue.put("ok 3")
        until(lambda: "ok 3 #1" in jobs.handled(), "the next one is handled")
        assert consumer.wait_idle(PATIENCE)
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost) == (3, 3, 0)
    at_rest(queue)


def test_what_comes_again_during_its_release_is_renewed() -> None:
    """The same object, given again before the `release` of it has returned, is held anew: it is renewed, and not
    lost.
    """
    again = threading.Event()

    class Slow(LeasedQueue):
        def release(self, items: Sequence[Any], delay: float = 0) -> None:
            super().release(items, delay)
            again.wait(PATIENCE)

    queue = Slow()
    queue.fill(["plain"])
    seen: list[bool] = []

    def handle(items: Iterator[Any]) -> None:
        for item in items:
            if not seen:
                seen.append(False)
                raise Retry(0)
            again.set()
            enough = queue.extended(item) + 3
            until(lambda: queue.extended("plain") >= enough or current().lost, "it was renewed")  # noqa: B023
            seen.append(current().lost)

    consumer = Consumer(queue, handle, 2, 2, prefetch=10)
    with consumer:
        try:
            until(lambda: len(seen) == 2, "it is handled")
        finally:
            again.set()
        assert consumer.wait_idle(PATIENCE)
    assert seen == [False, False]
    stats = consumer.shutdown().stats
    assert stats.balanced
    assert (stats.received, stats.cleaned, stats.released, stats.lost, stats.in_flight) == (2, 1, 1, 0, 0)


# ---------------------------------------------------------------------------- the end


@most_pools
def test_leases_are_renewed_until_the_line_has_ended(pool: PoolKind, tmp_path: Path) -> None:
    """During the drain, what is being handled and what waits for cleanup is renewed as before; then the keeper ends."""
    unblock = threading.Event()
    queue = LeasedQueue(["hold 1", "hold 2", "hold:b 3"], on_cleanup=lambda _: unblock.wait(PATIENCE), cleanup_limit=1)
    jobs = jobs_of(pool, tmp_path)
    consumer, events = line_of(pool, queue, jobs, max_handlers=3)
    consumer.start()
    jobs.wait("begun hold 1 #1", "begun hold 2 #1", "begun hold:b 3 #1")
    held = [queue.delivery(body) for body in ("hold 1", "hold 2", "hold:b 3")]
    shutdown = in_thread(consumer.shutdown)
    until(lambda: consumer.state is State.DRAINING, "it drains")
    queue.wait_for_renewals(*held, times=2)
    jobs.open()
    until(lambda: len(jobs.handled()) == 2, "two wait for cleanup")
    queue.wait_for(lambda: queue.cleanups, "one is being cleaned up")
    waiting = [item for item in held[:2] if not queue.asked_to_clean(item)]
    queue.wait_for_renewals(held[2], *waiting, times=2)
    jobs.open("b")
    queue.wait_for_renewals(*waiting)
    unblock.set()
    stats = books(shutdown.result(), queue)
    assert (stats.cleaned, stats.lost) == (3, 0)
    assert not keepers()
    assert not events.of(ItemsLost)
    at_rest(queue)


@pytest.mark.parametrize("stuck", [1, 3])
def test_an_extend_that_never_returns_does_not_keep_the_line(
    stuck: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keepers stuck in the queue's `extend` at the end are left behind by name, and shutdown() returns: it waits for
    all of them together no longer than for one.
    """
    waited: list[float] = []
    joins = Renewer.join

    def join(self: Renewer, timeout: float) -> None:
        waited.append(timeout)
        joins(self, timeout)

    monkeypatch.setattr(Renewer, "join", join)
    monkeypatch.setattr(keeper_module, "GRACE", 0.3)
    unblock = threading.Event()
    bodies = [f"hold {number}" for number in range(stuck)]
    queue = LeasedQueue(bodies, lease=LONG / 20, cleanup_limit=1, on_extend=lambda _: unblock.wait(PATIENCE))
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs, max_handlers=stuck)
    consumer.start()
    try:
        queue.wait_for(lambda: queue.extending_now() == stuck, "the calls run")
        jobs.open()
        report = in_thread(consumer.shutdown).result()
    finally:
        unblock.set()
    assert report.balanced
    assert sorted(left.where for left in report.leftovers) == [f"keeper-{number}" for number in range(1, stuck + 1)]
    assert all("unblock.wait" in left.stack for left in report.leftovers)
    assert sum(seconds == 0.0 for seconds in waited) >= stuck - 1
    until(lambda: not keepers(), "they have come back and ended")


def test_what_is_lost_is_not_abandoned_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of items that were to be cleaned up by one call which hangs at the end, a lost one is lost, and the other one is
    abandoned; each is counted once.
    """
    monkeypatch.setattr(drain_module, "FLUSH_TIME", 0.3)
    unblock = threading.Event()
    queue = LeasedQueue(["hold 1", "ok 2"], bulk=2, without=["identity"], on_cleanup=lambda _: unblock.wait(PATIENCE))
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs, messages_bulk_size=2, receipt="return", prefetch=0)
    consumer.start()
    try:
        jobs.wait("begun hold 1 #1")
        pause(consumer)
        queue.expire([queue.delivery("ok 2")])
        queue.wait_for_renewals(queue.delivery("hold 1"), times=2)
        jobs.open()
        queue.wait_for(lambda: queue.cleanups, "the first is being cleaned up")
        report = in_thread(consumer.shutdown).result()
    finally:
        jobs.over.touch()
        unblock.set()
    assert report.balanced, str(report)
    stats = report.stats
    assert (stats.received, stats.lost, stats.abandoned, stats.in_flight) == (2, 1, 1, 0)
    until(lambda: not threads_of_lines(), "the thread that was abandoned has ended")


def test_nothing_is_released_after_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cleaner that waits for an `extend` which hangs, so as to release its item, does not do it when it was given up:
    what the report says is final.
    """
    monkeypatch.setattr(drain_module, "FLUSH_TIME", 0.3)
    inside, unblock = threading.Event(), threading.Event()

    def extend(_: list[Any]) -> None:
        inside.set()
        unblock.wait(PATIENCE)

    queue = LeasedQueue(["hold-fail 1"], lease=4.0, on_extend=extend)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs)
    consumer.start()
    try:
        assert inside.wait(PATIENCE)
        jobs.open()
        until(lambda: consumer.stats().failed == 1, "it has failed")
        report = in_thread(consumer.shutdown).result()
    finally:
        jobs.over.touch()
        unblock.set()
    until(lambda: not threads_of_lines(), "the threads that were abandoned have ended")
    assert report.balanced, str(report)
    assert report.stats.received == report.stats.released + report.stats.abandoned == 1
    assert consumer.stats().released == report.stats.released == len(queue.releases)


def threads_of_lines() -> list[threading.Thread]:
    """The threads of consumers, that run or were abandoned."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("queue_consumer")]


def test_run_once_renews_what_it_holds(tmp_path: Path) -> None:
    """One bulk in the calling thread: what it holds is renewed by a keeper, which ends with it."""
    queue = LeasedQueue(["hold 1", "ok 2"])
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs, messages_bulk_size=2)
    once = in_thread(consumer.run_once)
    jobs.wait("begun hold 1 #1")
    queue.wait_for(lambda: len(queue.extensions) >= 3, "leases were renewed again and again")
    jobs.open()
    assert once.result().succeeded == 2
    assert not keepers()
    assert books(consumer.stats(), queue).cleaned == 2


def test_run_onces_side_by_side_are_all_renewed(tmp_path: Path) -> None:
    """Of several run_once() at once each has its leases renewed, whichever ends first."""
    queue = LeasedQueue(["hold:a 1"], bulk=1)
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs)
    onces = [in_thread(consumer.run_once)]
    try:
        jobs.wait("begun hold:a 1 #1")
        queue.put("hold:b 2")
        onces.append(in_thread(consumer.run_once))
        jobs.wait("begun hold:b 2 #1")
        queue.wait_for_renewals(queue.delivery("hold:a 1"), queue.delivery("hold:b 2"), times=2)
        jobs.open("b")
        assert onces[1].result().succeeded == 1
        queue.wait_for_renewals(queue.delivery("hold:a 1"), times=3)
    finally:
        jobs.over.touch()
    assert onces[0].result().succeeded == 1
    stats = books(consumer.stats(), queue)
    assert (stats.cleaned, stats.lost) == (2, 0)


def test_run_once_does_not_clean_up_what_was_lost(tmp_path: Path) -> None:
    """A lease that is lost in the middle of run_once() is lost there as well: seen by the handler, and not cleaned
    up. The next run_once() remembers that it was done.
    """
    queue = LeasedQueue(["watch 1"])
    jobs = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs)
    once = in_thread(consumer.run_once)
    jobs.wait("begun watch 1 #1")
    queue.expire([queue.delivery("watch 1")])
    jobs.wait("lost watch 1 #1")
    assert once.result().succeeded == 0
    assert consumer.run_once().succeeded == 1
    assert jobs.handled() == ["watch 1 #1"]
    stats = books(consumer.stats(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.duplicates) == (2, 1, 1, 1)
    at_rest(queue)


# ---------------------------------------------------------------------------- everything at once


class Loser:
    """An observer that loses leases as fast as they are given: of every third item of each bulk."""

    def __init__(self, queue: LeasedQueue) -> None:
        self.queue = queue

    def __call__(self, event: Event) -> None:
        if isinstance(event, BulkReceived):
            self.queue.expire(event.items[::3])


@most_pools
def test_losses_in_a_busy_line(pool: PoolKind, tmp_path: Path) -> None:
    """Leases that are lost while hundreds of items pass: everything is cleaned up by one delivery or another, and
    every delivery has one fate.
    """
    count = 200
    queue = LeasedQueue((f"ok {number}" for number in range(count)), on_cleanup=None)
    jobs = jobs_of(pool, tmp_path)
    loser = Loser(queue)
    consumer, _ = line_of(pool, queue, jobs, max_handlers=2, messages_bulk_size=3, observers=[loser])
    with at_work(consumer, jobs):
        until(lambda: consumer.stats().received >= count // 2, "half is received")
        loser.queue = LeasedQueue()  # enough
        until(lambda: consumer.wait_idle(PATIENCE) and queue.empty(), "everything is done")
    stats = consumer.shutdown().stats
    assert stats.balanced
    assert stats.in_flight == 0
    assert not queue.violations, queue.violations
    assert stats.received == len(queue.given)
    assert queue.stats()["cleaned"] == count
    assert Counter(jobs.notes("begun")).most_common(1)[0][1] == 1, "one delivery was handled twice"
