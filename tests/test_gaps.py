"""Rules that no other test was found to hold: each stands here because a mutant had survived without it."""

from __future__ import annotations

import contextvars
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from queue_consumer import (
    BulkReceived,
    CallbackFailed,
    ChunkStarted,
    Constant,
    Consumer,
    MemoryQueue,
    Observer,
    Receipts,
    State,
    Supervision,
    UsageError,
    WorkerDied,
    WorkerRevived,
    _drain,
    _standard_queues,
    current,
    each,
)
from queue_consumer._belt import Belt, Share
from queue_consumer._chunk import Chunk
from queue_consumer._cleaner import Hand
from queue_consumer._ledger import Ledger
from queue_consumer._standard_queues import StandardQueue
from queue_consumer._supervision import Sighting
from queue_consumer._supervisor import Supervisor
from support.lifecycle import PATIENCE, POOLS, ProbeQueue, consumer_of, in_thread, reconcile, until
from support.lifecycle_handlers import Gate, act
from support.line_pools import ignore

NEVER = 10_000.0  # seconds: a delay that no test sees the end of

# ---------------------------------------------------------------------------- sockets


def test_standard_queues_get_released_items_back_after_their_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is released to a queue of the standard library is not got again before its delay is over."""
    time_now = [0.0]
    monkeypatch.setattr(_standard_queues, "time", SimpleNamespace(monotonic=lambda: time_now[0]))
    standard: queue.Queue[str] = queue.Queue()
    wrapped = StandardQueue(standard)
    wrapped.release(["late"], 5)
    wrapped.release(["soon"], 0)
    assert wrapped.get(2) == ["soon"]
    time_now[0] = 5.0
    assert wrapped.get(2) == ["late"]


def test_standard_queues_give_as_much_as_there_is_room_for() -> None:
    """One `get` of a queue of the standard library takes what is there, up to the room."""
    standard: queue.Queue[int] = queue.Queue()
    for number in range(5):
        standard.put(number)
    wrapped = StandardQueue(standard)
    assert wrapped.get(3) == [0, 1, 2]
    assert wrapped.get(3) == [3, 4]


def test_current_is_the_item_taken_last() -> None:
    """`current()` gives the item that the handler holds, wherever in the chunk that is; outside there is none."""
    seen: list[tuple[str, str]] = []

    def handler(items: Iterator[str]) -> None:
        for item in items:
            seen.append((item, current().item))

    Consumer(MemoryQueue(["a", "b", "c"], bulk=3), handler, messages_bulk_size=3, max_handlers=1).run_once()
    assert seen == [("a", "a"), ("b", "b"), ("c", "c")]
    with pytest.raises(UsageError, match="only in a handler"):
        current()


def test_empty_is_no_broken_getter() -> None:
    """A `get` that raises `queue.Empty` says that there is nothing: no getter dies of it, and it is asked again."""

    def on_get(number: int) -> None:
        if number % 2:
            raise queue.Empty

    probe = ProbeQueue(["ok"], on_get=on_get)
    consumer, events = consumer_of("threads", probe)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    assert events.of(WorkerDied) == []
    stats = reconcile(consumer.shutdown(), probe)
    assert (stats.cleaned, stats.revived) == (1, 0)


def test_cpus_are_those_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many CPUs this process may use is asked anew whenever a consumer is made."""
    allowed: set[int] = set()
    of_now: Callable[[int], set[int]] = lambda pid: allowed  # noqa: E731
    monkeypatch.setattr(os, "sched_getaffinity", of_now, raising=False)
    for cpu in range(3):
        allowed.add(cpu)
        options = Consumer(MemoryQueue(), act)._options
        assert (options.getters, options.handlers) == (cpu + 1, cpu + 1)


@pytest.mark.parametrize("meant", [0, 1, 2])
def test_of_equal_items_the_very_one_is_acknowledged(meant: int) -> None:
    """`ack` concerns the object that was passed, wherever in the chunk its equals are."""
    items = [["equal"], ["equal"], ["equal"]]
    receipts = Receipts[Any](Chunk(items, None))
    assert list(receipts) == items
    receipts.ack(items[meant])
    assert list(receipts.decided) == [meant]


def test_an_iterator_gives_nothing_after_its_call_in_children(tmp_path: Path) -> None:
    """What a child's handler did not take cannot be had from the iterator once the call is over."""
    seen = tmp_path / "seen"
    kept: list[Iterator[int]] = []

    def handler(items: Iterator[int]) -> None:
        late = [item for old in kept for item in old]
        first = next(items)
        kept.append(items)
        with seen.open("a") as file:
            file.write(f"{first} {late}\n")

    numbers = MemoryQueue(range(6), bulk=3)
    consumer = Consumer(
        numbers, handler, 1, 1, 3, pool="processes", mp_context="fork", backoff=Constant(NEVER), observers=()
    )
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    reconcile(consumer.shutdown(), numbers)
    assert {line.split(" ", 1)[1] for line in seen.read_text().splitlines()} == {"[]"}


# ---------------------------------------------------------------------------- cleanup and room


def test_no_cleanup_carries_more_than_the_largest_bulk() -> None:
    """A queue that names no `cleanup_limit` is not asked to take back more at once than it gave at once."""
    inside, let_go = threading.Event(), threading.Event()

    def on_cleanup(items: list[Any]) -> None:
        inside.set()
        assert let_go.wait(PATIENCE)

    probe = ProbeQueue([f"ok-{number}" for number in range(50)], bulk=7, on_cleanup=on_cleanup)
    consumer = Consumer(probe, act, max_workers=1, max_handlers=1, messages_bulk_size=7)
    with consumer:
        assert inside.wait(PATIENCE)
        until(lambda: consumer._ledger.total("freed") == 50, "all wait for cleanup")
        let_go.set()
        assert consumer.wait_idle(PATIENCE)
    assert max(len(call[0]) for call in probe.called("cleanup")) == 7
    assert reconcile(consumer.shutdown(), probe).cleaned == 50


def test_no_release_carries_more_than_the_limit() -> None:
    """`cleanup_limit` holds for `release`, too, however much goes back at once when the consumer stops."""
    inside, let_go = threading.Event(), threading.Event()

    class Limited(ProbeQueue):
        cleanup_limit = 3

    def handler(items: Iterator[str]) -> None:
        for _ in items:
            inside.set()
            assert let_go.wait(PATIENCE)

    probe = Limited(["held", *["behind"] * 10], bulk=11)
    consumer, _ = consumer_of("threads", probe, handler=handler, prefetch=10)
    consumer.start()
    assert inside.wait(PATIENCE)
    consumer.stop()
    until(lambda: len(probe.called("release")) == 4, "all that waited went back")
    let_go.set()
    assert [len(call[0]) for call in probe.called("release")] == [3, 3, 3, 1]
    assert reconcile(consumer.shutdown(), probe).released == 10


def test_a_revived_cleaner_goes_on_where_the_dead_one_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cleaner that dies in the middle of several calls is replaced by one that makes only those that are left."""
    inside, let_go, deaths = threading.Event(), threading.Event(), list[str]()
    again = Hand._again

    def die_once(self: Hand, *arguments: Any) -> None:
        if not deaths:
            deaths.append(self.name)
            raise MemoryError
        again(self, *arguments)

    def fail_for_the_middle(items: list[str], delay: float) -> None:
        if "behind-4" in items and not deaths:
            raise ConnectionError("down")

    class Limited(ProbeQueue):
        cleanup_limit = 3

    def handler(items: Iterator[str]) -> None:
        for _ in items:
            inside.set()
            assert let_go.wait(PATIENCE)

    monkeypatch.setattr(Hand, "_again", die_once)
    behind = [f"behind-{number}" for number in range(9)]
    probe = Limited(["held", *behind], bulk=10, on_release=fail_for_the_middle)
    consumer, _ = consumer_of("threads", probe, handler=handler, prefetch=9)
    consumer.start()
    assert inside.wait(PATIENCE)
    consumer.stop()
    until(lambda: consumer.stats().released == 9, "all that waited went back")
    let_go.set()
    assert [call[0] for call in probe.called("release")] == [behind[:3], behind[3:6], behind[3:6], behind[6:]]
    assert reconcile(consumer.shutdown(), probe).released == 9
    assert len(deaths) == 1


@pytest.mark.parametrize("without", [(), ("release",)], ids=["released", "left"])
def test_room_is_given_back_exactly_once(without: tuple[str, ...]) -> None:
    """When nothing is in flight there is just as much room as in the beginning, whatever became of the items."""
    probe = ProbeQueue(["ok", "raise", "drop", "retry", "ok"], bulk=5, without=without)
    consumer, _ = consumer_of("threads", probe, messages_bulk_size=2, backoff=Constant(NEVER))
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    reconcile(consumer.shutdown(), probe)
    assert (consumer._ledger.outstanding(), consumer._ledger.backlog()) == (0, 0)


def a_belt(handlers: int, size: int, prefetch: int | None) -> tuple[Belt, Ledger, list[Share]]:
    """A belt, its ledger, and the shares of three getters."""
    ledger = Ledger()
    belt = Belt(ledger, lane=None, handlers=handlers, size=size, prefetch=prefetch)
    lane = SimpleNamespace(largest_bulk=1)
    belt.shares += [Share(True, lane), Share(True, lane), Share(True, lane)]
    return belt, ledger, list(belt.shares)


def test_room_is_shared_among_getters() -> None:
    """What one getter was promised is not promised to another, and together they get no more than there is."""
    belt, ledger, shares = a_belt(handlers=2, size=1, prefetch=4)
    assert [belt.ask(share, 1.0) for share in shares] == [True, True, True]
    assert sum(share.left for share in shares) == 6
    shares[0].left = 0
    ledger.open().received = 2  # it has brought what it was promised
    assert not belt.ask(shares[0], 1.0)
    assert shares[0].left == 0


def test_a_quick_getter_takes_all_the_room() -> None:
    """A getter that brings ten items in a tenth of a millisecond needs no company, and is given all the room."""
    belt, _, shares = a_belt(handlers=2, size=1, prefetch=98)
    for share in shares:
        share.limited, share.took, share.brought = False, 0.0001, 10
    assert belt.ask(shares[1], 1.0)
    assert shares[1].left == 100


@pytest.mark.parametrize(("limited", "lent"), [(False, 90), (True, 0)])
def test_room_is_borrowed_from_a_getter_that_is_not_heard_of(limited: bool, lent: int) -> None:
    """Of one whose get takes long no more than a bulk is expected, if it was not told that it may bring more."""
    belt, _, shares = a_belt(handlers=2, size=1, prefetch=98)
    quiet, other = shares[:2]
    quiet.lane.largest_bulk = 10
    quiet.limited, quiet.left, quiet.began = limited, 100, 1.0
    assert not belt.ask(other, 1.01)
    assert belt.ask(other, 2.0) == bool(lent)
    assert other.left + shares[2].open() <= lent
    assert (quiet.lent, quiet.open()) == (lent, 100 - lent)


def test_one_blocked_get_does_not_starve_the_others() -> None:
    """A getter that was quick, and then hangs in `get` with all the room in its hands, holds up nobody."""
    hanging, freed = threading.Event(), threading.Event()

    class Hanging:
        calls = 0
        lock = threading.Lock()

        def get(self) -> list[int]:
            with self.lock:
                self.calls += 1
                call = self.calls
            if call == 50:
                hanging.set()
                freed.wait(PATIENCE)
            return list(range(10)) if call <= 5_000 else []

        def interrupt(self) -> None:
            freed.set()

    with Consumer(Hanging(), each(hash), max_workers=2, max_handlers=2) as consumer:
        assert hanging.wait(PATIENCE)
        until(lambda: consumer.stats().cleaned >= 49_000, "all the others were handled")
        assert not freed.is_set()
    assert consumer.shutdown().balanced


def test_what_a_getter_has_lent_it_does_not_bring() -> None:
    """Room that others took over while a `get` hung is theirs: its getter comes back with a bulk, and then stops."""
    both, freed, done = threading.Barrier(2), threading.Event(), threading.Event()

    class Hanging:
        calls = 0
        lock = threading.Lock()

        def get(self) -> list[int]:
            with self.lock:
                self.calls += 1
                call = self.calls
            if call <= 2:
                both.wait(PATIENCE)  # so that each of the two getters has its half of the room
            if call == 2:
                freed.wait(PATIENCE)
            return list(range(10))

        def interrupt(self) -> None:
            freed.set()
            done.set()

    def handler(items: Iterator[int]) -> None:
        for _ in items:
            done.wait(PATIENCE)

    with Consumer(Hanging(), handler, max_workers=2, max_handlers=2, prefetch=98) as consumer:
        until(lambda: consumer.stats().received >= 90, "one has brought its half, and of the other all but a bulk")
        freed.set()
        until(lambda: consumer.stats().received > 90 and consumer.stats().fetching == "no room", "the other is back")
        assert consumer.stats().received == 100
    assert consumer.shutdown().balanced


@pytest.mark.parametrize(
    ("handled", "seconds", "prefetch"),
    [(1_000, 0.5, 100), (1_000, 1.0, 50), (10_000_000, 0.5, 4096), (0, 0.5, 10), (50, 0.5, 10)],
)
def test_adaptive_prefetch_is_what_the_pool_handles_in_a_window(handled: int, seconds: float, prefetch: int) -> None:
    """The belt holds what was handled in 50 ms of late: never less than one round, never more than 4,096 items."""
    belt, ledger, shares = a_belt(handlers=2, size=5, prefetch=None)
    assert belt.prefetch == 10
    assert belt.ask(shares[0], 1.0)
    tally = ledger.open()
    tally.received = tally.freed = handled
    assert belt.ask(shares[1], 1.0 + seconds)
    assert belt.prefetch == prefetch


def test_getters_stop_while_cleanup_is_behind() -> None:
    """When more than ten rounds wait for cleanup no more is got, and `fetching` says so, until they are done."""
    let_go = threading.Event()
    probe = ProbeQueue([f"ok-{number}" for number in range(100)], bulk=1, on_cleanup=lambda _: let_go.wait(PATIENCE))
    consumer, _ = consumer_of("threads", probe, prefetch=0)
    with consumer:
        until(
            lambda: consumer.stats().fetching == "cleanup is behind" or probe.stats()["waiting"] == 0,
            "getters have stopped, or got everything",
        )
        assert consumer.stats().received <= 12  # ten rounds of one, and one more, and one on its way
        let_go.set()
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), probe).cleaned == 100


# ---------------------------------------------------------------------------- the ledger


def held_everywhere() -> tuple[ProbeQueue, Consumer[Any], threading.Event]:
    """A running consumer with one item in the cleaner's hands, one in a handler's, and two on the belt."""
    let_go, cleaning, handling = threading.Event(), threading.Event(), threading.Event()

    def on_cleanup(items: list[Any]) -> None:
        cleaning.set()
        assert let_go.wait(PATIENCE)

    def handler(items: Iterator[str]) -> None:
        for item in items:
            if item == "held":
                handling.set()
                assert let_go.wait(PATIENCE)

    probe = ProbeQueue(["ok"], on_cleanup=on_cleanup)
    consumer, _ = consumer_of("threads", probe, handler=handler, prefetch=5)
    consumer.start()
    assert cleaning.wait(PATIENCE)
    probe.fill(["held", "behind", "behind"])
    assert handling.wait(PATIENCE)
    until(lambda: len(consumer._line.belt.waiting) == 2, "two wait")
    return probe, consumer, let_go


def test_in_flight_counts_what_every_station_holds() -> None:
    """What waits on the belt, what a handler holds and what is being cleaned up are all in flight."""
    probe, consumer, let_go = held_everywhere()
    stats = consumer.stats()
    assert (stats.received, stats.in_flight, stats.ended) == (4, 4, 0)
    let_go.set()
    assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), probe).cleaned == 4


def test_a_ledger_that_lost_an_item_does_not_balance() -> None:
    """`in_flight` is counted, not computed: an item that no station holds and no end counts is missed."""
    probe, consumer, let_go = held_everywhere()
    lost = consumer._line.belt.waiting.pop()
    stats = consumer.stats()
    consumer._line.belt.waiting.append(lost)
    assert (stats.received, stats.in_flight, stats.balanced) == (4, 3, False)
    assert consumer.stats().balanced
    let_go.set()
    assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), probe).cleaned == 4


# ---------------------------------------------------------------------------- pools


@pytest.mark.parametrize("pool", POOLS)
def test_max_handlers_run_at_once(pool: str, tmp_path: Path) -> None:
    """As many handlers run at the same time as there are places, in every pool."""
    gate = Gate(tmp_path)
    probe = ProbeQueue([gate.item] * 3)
    consumer, _ = consumer_of(pool, probe, max_handlers=3)
    with consumer:
        gate.wait_for(3)
        gate.open()
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), probe).cleaned == 3


def test_pool_initializer_runs_in_replacements(tmp_path: Path) -> None:
    """A thread that is put into the place of a stuck one runs `pool_initializer`, too, before it handles anything."""
    gate, initialized = Gate(tmp_path), list[int]()
    probe = ProbeQueue([gate.item])
    consumer, events = consumer_of(
        "threads",
        probe,
        pool_initializer=lambda: initialized.append(threading.get_ident()),
        supervision=Supervision(stuck_time=0.01, stuck_limit=1),
    )
    with consumer:
        events.wait_for(WorkerRevived)
        probe.fill(["ok"])
        until(lambda: consumer.stats().cleaned == 1, "the new thread has handled something")
        assert len(set(initialized)) == len(initialized) == 2
        gate.open()
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), probe).cleaned == 2


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.mark.parametrize("observers", [[], [ignore]], ids=["unobserved", "observed"])
@pytest.mark.parametrize("pool", ["threads", "coroutines"])
def test_each_call_runs_in_a_copy_of_the_context_of_start(pool: str, observers: list[Observer]) -> None:
    """A call sees the context variables of `start()`, and nothing of what another call has set."""
    seen: list[str] = []

    def handler(items: Iterator[str]) -> None:
        for item in items:
            seen.append(variable.get())
            variable.set(item)

    async def handler_async(items: Iterator[str]) -> None:
        handler(items)

    probe = ProbeQueue(["a", "b", "c"])
    consumer = Consumer(probe, handler if pool == "threads" else handler_async, 1, 1, observers=observers)
    token = variable.set("of start()")
    try:
        consumer.start()
    finally:
        variable.reset(token)
    assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), probe).cleaned == 3
    assert seen == ["of start()"] * 3


def test_a_stuck_handler_does_not_keep_the_interpreter_from_exiting() -> None:
    """A program whose handler never returns comes to its end all the same."""
    program = (
        "import threading\n"
        "from queue_consumer import Consumer, MemoryQueue\n"
        "inside = threading.Event()\n"
        "def handler(items):\n"
        "    for _ in items:\n"
        "        inside.set()\n"
        "        threading.Event().wait()\n"
        "consumer = Consumer(MemoryQueue(['stuck']), handler).start()\n"
        "assert inside.wait(20)\n"
        "print(consumer.shutdown(timeout=0).stats.abandoned)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def told(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_with_fork_replacements_come_from_the_template(tmp_path: Path) -> None:
    """With "fork" no child is forked off this process, which has threads; all have one parent, replacements too."""
    parents = tmp_path / "parents"

    def handler(items: Iterator[str]) -> None:
        for item in items:
            with parents.open("a") as file:
                file.write(f"{os.getppid()}\n")
            if item == "die":
                os._exit(1)

    probe = ProbeQueue(["die", "ok"])
    quick = Supervision(restart_base=0.001)
    consumer, _ = consumer_of(
        "processes", probe, handler=handler, mp_context="fork", supervision=quick, backoff=Constant(NEVER)
    )
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    reconcile(consumer.shutdown(), probe)
    first, second = told(parents)
    assert first == second != str(os.getpid())


def test_a_child_that_had_consumed_something_is_replaced_at_once() -> None:
    """A pool worker that dies after it had consumed something is replaced without any delay."""

    def handler(items: Iterator[str]) -> None:
        for item in items:
            if item == "die":
                os._exit(1)

    probe = ProbeQueue(["ok", "die"])
    consumer, events = consumer_of("processes", probe, handler=handler, mp_context="fork", backoff=Constant(NEVER))
    with consumer:
        [death] = events.wait_for(WorkerDied)
        assert consumer.wait_idle(PATIENCE)
    assert death.revive_in == 0
    assert reconcile(consumer.shutdown(), probe).failed == 1


def test_the_supervisor_outlives_a_stumble(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in one walk round the line is told of, and the next walk does what this one has not."""
    sightings, stumbles = Supervisor._sightings, list[str]()

    def stumble_once(self: Supervisor) -> list[Sighting]:
        if not stumbles:
            stumbles.append(self.name)
            raise RuntimeError("a mistake")
        return sightings(self)

    def on_get(number: int) -> None:
        if number == 1:
            raise ConnectionError("down")

    monkeypatch.setattr(Supervisor, "_sightings", stumble_once)
    probe = ProbeQueue(["ok"], on_get=on_get)
    quick = Supervision(polling_time=0.01, restart_base=0.001)
    consumer, events = consumer_of("threads", probe, supervision=quick)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    assert [failed.callback for failed in events.of(CallbackFailed)] == ["supervision"]
    stats = reconcile(consumer.shutdown(), probe)
    assert (stats.cleaned, stats.revived) == (1, 1)


# ---------------------------------------------------------------------------- stopping, and what is told


def test_stop_waits_for_nobody() -> None:
    """`stop()` returns though another thread is in the middle of `start()`: it takes no lock."""
    consumer, _ = consumer_of("threads", ProbeQueue())
    with consumer._starting:
        in_thread(consumer.stop).result()
    assert consumer.state is State.STOPPED


def test_wait_idle_waits_for_a_cleanup_that_takes_long() -> None:
    """While something is being cleaned up the line is not idle, however often a `get` comes back empty."""
    inside, let_go = threading.Event(), threading.Event()

    def on_cleanup(items: list[Any]) -> None:
        inside.set()
        assert let_go.wait(PATIENCE)

    probe = ProbeQueue(["ok"], on_cleanup=on_cleanup, wait=0.001)
    consumer, events = consumer_of("threads", probe)
    with consumer:
        assert inside.wait(PATIENCE)
        waiting = in_thread(lambda: (consumer.wait_idle(PATIENCE), let_go.is_set()))
        events.wait_for(BulkReceived, len(events.of(BulkReceived)) + 3)
        let_go.set()
        assert waiting.result() == (True, True)
    assert reconcile(consumer.shutdown(), probe).cleaned == 1


def test_a_drain_looks_often_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between two looks of a drain grow from half a millisecond to 20 ms: what is idle stops at once."""
    waits: list[float] = []
    drain = _drain.Drain.__new__(_drain.Drain)
    drain._line = cast(Any, SimpleNamespace(minder=SimpleNamespace(wait=waits.append)))
    monkeypatch.setattr(_drain, "now", lambda: 100.0)
    for passed in (0, 0.004, 0.04, 10):
        drain._glance(100.0 - passed)
    assert waits == pytest.approx([0.0005, 0.001, 0.01, 0.02])


def test_what_waits_is_finished_where_there_is_no_release(tmp_path: Path) -> None:
    """What waits on the belt when the drain begins is handled, if the queue cannot take it back."""
    gate = Gate(tmp_path)
    probe = ProbeQueue([gate.item, "ok-1", "ok-2"], bulk=3, without=["release"])
    consumer, _ = consumer_of("threads", probe, prefetch=10)
    consumer.start()
    gate.wait_for()
    until(lambda: len(consumer._line.belt.waiting) == 2, "two wait")
    consumer.stop()
    assert consumer._supervisor is not None
    assert consumer._supervisor.draining.wait(PATIENCE)
    gate.open()
    stats = reconcile(consumer.shutdown(), probe)
    assert (stats.cleaned, stats.left) == (3, 0)


def test_no_get_follows_one_that_was_running_at_the_stop() -> None:
    """A getter whose `get` comes back after the stop asks no more, though there is room and more to be had."""
    inside, let_go = threading.Event(), threading.Event()

    def on_get(number: int) -> None:
        if number == 2:
            inside.set()
            assert let_go.wait(PATIENCE)

    probe = ProbeQueue(["ok"] * 5, bulk=1, on_get=on_get)
    consumer, _ = consumer_of("threads", probe, prefetch=10)
    consumer.start()
    assert inside.wait(PATIENCE)
    consumer.stop()
    let_go.set()
    assert reconcile(consumer.shutdown(), probe).received == 2
    assert len(probe.called("get")) == 2


def test_nothing_of_an_abandoned_thread_counts_later(tmp_path: Path) -> None:
    """Whatever an abandoned handler does when it goes on, nothing is counted, told or sent to the queue."""
    gate = Gate(tmp_path)
    probe = ProbeQueue([gate.item])

    def handler(items: Iterator[str]) -> None:
        act(items)
        raise ValueError("late")

    consumer, events = consumer_of("threads", probe, handler=handler)
    consumer.start()
    gate.wait_for()
    reconcile(consumer.shutdown(timeout=0), probe)
    told, calls = len(events.events), list(probe.calls)
    gate.open()
    until(lambda: not line_threads(), "the thread has ended")
    stats = reconcile(consumer.stats(), probe)
    assert (stats.abandoned, stats.failed, stats.in_flight) == (1, 0, 0)
    assert (len(events.events), probe.calls) == (told, calls)


def line_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("queue_consumer")]


def test_durations_are_those_of_what_they_name() -> None:
    """`on_belt` counts from when a chunk was put there: not less than it waited, not more than there was time."""
    began = time.monotonic()
    inside, let_go = threading.Event(), threading.Event()

    def handler(items: Iterator[str]) -> None:
        for _ in items:
            inside.set()
            assert let_go.wait(PATIENCE)

    probe = ProbeQueue(["first", "second"], bulk=2)
    consumer, events = consumer_of("threads", probe, handler=handler, prefetch=1)
    with consumer:
        assert inside.wait(PATIENCE)
        waits = time.monotonic()
        time.sleep(0.01)  # it waits on the belt meanwhile; that a time passes is what is tested
        waited = time.monotonic() - waits
        let_go.set()
        assert consumer.wait_idle(PATIENCE)
    first, second = events.of(ChunkStarted)
    assert 0 <= first.on_belt <= second.on_belt
    assert waited <= second.on_belt <= time.monotonic() - began
    assert reconcile(consumer.shutdown(), probe).cleaned == 2


def test_a_failure_is_logged_without_the_items(caplog: pytest.LogCaptureFixture) -> None:
    """What the line logs of a handler, a cleanup, a release and a deadline that failed never shows an item."""
    caplog.set_level(0, logger="queue_consumer")
    inside, let_go = threading.Event(), threading.Event()
    failing = [OSError("not now")] * 2

    def fail_twice(*_: Any) -> None:
        if failing:
            raise failing.pop()

    def handler(items: Iterator[str]) -> None:
        for item in items:
            if item.startswith("bad"):
                raise ValueError("no")
            if item.startswith("stuck"):
                inside.set()
                let_go.wait(PATIENCE)

    secrets = [f"{kind}: secret" for kind in ("good", "bad", "good", "stuck")]
    probe = ProbeQueue(secrets, bulk=2, on_cleanup=fail_twice, on_release=fail_twice)
    consumer, _ = consumer_of("threads", probe, handler=handler, messages_bulk_size=2, backoff=Constant(NEVER))
    consumer.start()
    assert inside.wait(PATIENCE)
    until(lambda: consumer.stats().ended == 2, "the first two have come to their ends")
    reconcile(consumer.shutdown(timeout=0), probe)
    let_go.set()
    said = [record.getMessage() for record in caplog.records]
    assert [word for word in ("ValueError: no", "not now", "abandoned") if not any(word in line for line in said)] == []
    assert [line for line in said if "secret" in line] == []
