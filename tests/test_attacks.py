"""Rules that only an attacker would think to break: each stands here because a script had broken it."""

# It reaches into the workings of the line, to set up what hardly ever happens by itself.
# mypy: disable-error-code="attr-defined,unused-ignore"
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import contextvars
import errno
import functools
import logging
import os
import queue as std
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import Mock

import psutil
import pytest

from queue_consumer import (
    ChunkHandled,
    CleanupError,
    Constant,
    Consumer,
    HandlerStuck,
    MemoryQueue,
    Retry,
    State,
    Supervision,
    UsageError,
    WorkerDied,
    WorkerRevived,
)
from queue_consumer import _cleaner as cleaner_module
from queue_consumer import _drain as drain_module
from queue_consumer._bells import Bell
from queue_consumer._cleaner import Cleaner, Hand
from queue_consumer._pools import _driving as driving
from queue_consumer._pools import _wire as wire
from queue_consumer._pools._births import BIRTH, Template
from queue_consumer._pools.threads import ThreadHandler
from queue_consumer._standard_queues import StandardQueue
from support.lifecycle import PATIENCE, ProbeQueue, consumer_of, in_thread, reconcile, until
from support.lifecycle_handlers import Gate, act
from support.line_queues import ScriptedQueue

NEVER = 10_000.0  # seconds: a delay that no test sees the end of
NOW = Supervision(restart_base=1e-6)  # revive at once


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleanups are tried again after a thousandth of the usual time."""
    monkeypatch.setattr(cleaner_module, "FIRST_RETRY", 0.0001)


def handle(items: Iterator[Any]) -> None:
    for _ in items:
        pass


# ---------------------------------------------------------------------------- odd items, odd lists


class Array:
    """As with arrays of numbers: to compare gives no answer, and has no truth."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]


class Blaming(ScriptedQueue):
    """Its first cleanup fails for some of the items, and says for which."""

    def __init__(self, items: list[Any], blamed: list[Any]) -> None:
        super().__init__([items])
        self.blamed: list[Any] | None = blamed
        self.calls: list[list[Any]] = []

    def cleanup(self, items: Sequence[Any]) -> None:
        self.calls.append(list(items))
        blamed, self.blamed = self.blamed, None
        if blamed is not None:
            left = Counter(map(id, blamed))
            good: list[Any] = []
            for item in items:
                left[id(item)] -= 1
                if left[id(item)] < 0:
                    good.append(item)
            super().cleanup(good)
            raise CleanupError(blamed)
        super().cleanup(items)


def cleaned_by(queue: Blaming) -> list[list[int]]:
    """Run it empty; what each cleanup was called with, by identity."""
    with Consumer(queue, handle, max_workers=1, max_handlers=1) as consumer:
        queue.wait_until_spent()
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    queue.reconcile(report)
    assert report.stats.revived == 0
    return [list(map(id, call)) for call in queue.calls]


def test_items_that_cannot_be_compared_are_cleaned_up_once() -> None:
    """A `CleanupError` about items whose `==` raises kills no cleaner, and those that it does not name have ended."""
    items = [Array(), Array(), Array()]
    assert cleaned_by(Blaming(items, [items[1]])) == [list(map(id, items)), [id(items[1])]]


def test_equal_items_are_not_blamed_for_each_other() -> None:
    """Of items that are equal only the one that `CleanupError` names is cleaned up again."""
    items = [["equal"], ["equal"], ["equal"]]
    assert cleaned_by(Blaming(items, [items[1]])) == [list(map(id, items)), [id(items[1])]]


def test_an_object_that_came_twice_is_blamed_as_often_as_named() -> None:
    """The same object twice in a bulk is two items: named once, one of them has failed."""
    item = object()
    assert cleaned_by(Blaming([item, item], [item])) == [[id(item), id(item)], [id(item)]]


@pytest.mark.parametrize("verb", ["cleanup", "release"])
def test_a_queue_may_do_what_it_likes_with_the_list_it_is_given(verb: str) -> None:
    """A verb that empties the list it was called with changes nothing in the books."""

    class Emptying(ScriptedQueue):
        def cleanup(self, items: Any) -> None:
            super().cleanup(items)
            items.clear()

        def release(self, items: Any, delay: float = 0) -> None:
            super().release(items, delay)
            items.clear()

    def handler(items: Iterator[Any]) -> None:
        if verb == "release":
            raise Retry
        handle(items)

    queue = Emptying([["a", "b", "c"]])
    with Consumer(queue, handler, max_workers=1, max_handlers=1) as consumer:
        queue.wait_until_spent()
        assert consumer.wait_idle(PATIENCE)
    queue.reconcile(consumer.shutdown())


class Seconds:
    """A number of seconds of a kind that has no hash, as arrays of one number are."""

    __hash__ = None  # type: ignore[assignment]

    def __ge__(self, other: object) -> bool:
        return True

    def __float__(self) -> float:
        return 7.0


@pytest.mark.parametrize("how", ["retry", "fail"])
def test_delays_may_be_any_kind_of_number(how: str) -> None:
    """Whatever number a handler gives as a delay, the item goes back with it."""

    def handler(items: Any) -> None:
        for item in items:
            if how == "retry":
                raise Retry(Seconds())  # type: ignore[arg-type]
            items.fail(item, delay=Seconds())

    queue = ProbeQueue(["a"])
    consumer = Consumer(queue, handler, max_handlers=1, receipt="explicit" if how == "fail" else None)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).released == 1
    assert queue.called("release") == [(["a"], 7.0)]


class Lazy:
    """Stands for something that is not there: whatever it is asked, it raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("working outside of context")


@pytest.mark.parametrize("kind", [Mock, Lazy])
def test_results_that_answer_to_any_name_mean_nothing(kind: type) -> None:
    """A handler's result is not asked anything itself: one that has any attribute, or raises for each, is ignored."""

    def handler(items: Iterator[Any]) -> object:
        handle(items)
        return kind()

    queue = ProbeQueue(["a", "b"])
    with Consumer(queue, handler, max_handlers=1) as consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.revived) == (2, 0)


def test_a_log_handler_that_raises_costs_no_item() -> None:
    """An item that fails goes back, also if saying so raises in a log handler of the program's."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the log is full")

    queue = ProbeQueue(["raise:", "ok"])
    consumer, _ = consumer_of("threads", queue, backoff=Constant(NEVER))
    logger, broken = logging.getLogger("queue_consumer"), Broken()
    logger.addHandler(broken)
    try:
        with consumer:
            assert consumer.wait_idle(PATIENCE)
        stats = reconcile(consumer.shutdown(), queue)
    finally:
        logger.removeHandler(broken)
    assert (stats.cleaned, stats.released, stats.revived) == (1, 1, 0)


# ---------------------------------------------------------------------------- the cleaner


def test_a_cleaner_that_dies_in_the_middle_repeats_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cleaner had cleaned up before it died is not cleaned up again by the one in its place."""
    again = Hand._again
    deaths: list[str] = []

    def dies_once(self: Hand, *arguments: Any) -> None:
        if not deaths:
            deaths.append(self.name)
            raise RuntimeError("a bug of ours")
        again(self, *arguments)

    monkeypatch.setattr(Hand, "_again", dies_once)
    monkeypatch.setattr(cleaner_module, "LINGER", 0.2)  # so that all of it is one errand
    failures = iter([None, OSError("not now")])

    def on_cleanup(_: list[Any]) -> None:
        error = next(failures, None)
        if error is not None:
            raise error

    queue = ProbeQueue(["a", "b", "c"], bulk=3, on_cleanup=on_cleanup)
    queue.cleanup_limit = 1  # type: ignore[attr-defined]
    consumer, events = consumer_of("threads", queue, messages_bulk_size=3, supervision=NOW)
    consumer._stations.cleaner.call_took = 1e-6
    with consumer:
        events.wait_for(WorkerRevived)
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).cleaned == 3
    assert Counter(call[0][0] for call in queue.called("cleanup")) == {"a": 1, "b": 2, "c": 1}


def cleaner_of(queue: Any) -> tuple[Consumer[Any], Cleaner, Hand]:
    """The cleaner of a consumer that does not run, and a hand of it."""
    consumer = Consumer(queue, handle, max_workers=1)
    cleaner = consumer._stations.cleaner
    hand = Hand(cleaner, "cleaner-1")
    cleaner.hands = [hand]
    return consumer, cleaner, hand


def test_two_who_take_from_the_cleaner_lose_nothing() -> None:
    """When the time is up two threads take what is to be cleaned up: what one finds gone, the other has."""

    class Shrinking(deque[Any]):
        def __len__(self) -> int:
            return super().__len__() + 2  # as it was before somebody else took two

    consumer, cleaner, hand = cleaner_of(MemoryQueue())
    cleaner.done[consumer._lanes[0]] = Shrinking(["a", "b", "c"])
    cleaner.take(100, hand.hand)
    assert [errand.items for errand in hand.hand] == [["a", "b", "c"]]


def test_what_a_cleaner_takes_is_in_its_hand_at_once() -> None:
    """At no moment is what waits for cleanup neither waiting nor in a hand: the drain would take it for done."""
    consumer, cleaner, hand = cleaner_of(MemoryQueue())
    seen: list[bool] = []

    class Watched(deque[Any]):
        def popleft(self) -> Any:
            item = super().popleft()
            seen.append(cleaner.work_left())
            return item

    cleaner.closing = True
    consumer._lanes[0].largest_bulk = 2
    cleaner.done[consumer._lanes[0]] = Watched(["a", "b"])
    cleaner.gather(hand.hand)
    assert seen == [True, True]
    assert cleaner.work_left()


def test_what_comes_back_from_a_last_call_is_accounted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cleanup that fails just when the time is up is not tried again after the end, and its items are named."""
    gate = threading.Event()
    give_up = Cleaner.give_up

    def slowly(self: Cleaner) -> list[Any]:
        late = give_up(self)
        if not gate.is_set():
            gate.set()
            until(lambda: self._later or self.waiting, "the call has failed")
        return late

    def on_cleanup(_: list[Any]) -> None:
        gate.wait(PATIENCE)
        raise OSError("not now")

    monkeypatch.setattr(Cleaner, "give_up", slowly)
    monkeypatch.setattr(drain_module, "FLUSH_TIME", 0.0)
    queue = ProbeQueue(["a"], on_cleanup=on_cleanup)
    consumer, _ = consumer_of("threads", queue)
    consumer.start()
    until(lambda: queue.called("cleanup"), "it is to be cleaned up")
    report = consumer.shutdown()
    assert reconcile(report, queue).tombstoned == 1
    assert consumer._supervisor is not None
    assert not any(hand.thread.is_alive() for hand in consumer._supervisor.cleaner.hands)
    assert len(queue.called("cleanup")) == 1


def test_a_late_answer_goes_home_though_the_cleaner_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a getter sends home just when it is given up on is released, whether or not a cleaner is still there."""
    queue = ProbeQueue(["a", "b"])
    consumer = Consumer(queue, handle)
    getter, cleaner = consumer._stations.getters()[0], consumer._stations.cleaner
    consumer._line.returning = True
    send = cleaner.send

    def given_up_meanwhile(errand: Any) -> None:
        send(errand)
        getter.abandoned = True

    monkeypatch.setattr(cleaner, "send", given_up_meanwhile)
    getter.fetch_once(2)
    assert reconcile(consumer.stats(), queue).released == 2
    assert not cleaner.waiting


# ---------------------------------------------------------------------------- getters


def test_a_getter_that_sleeps_is_not_woken_by_an_old_ring() -> None:
    """A getter that sleeps because others ask goes on sleeping when it hears a ring that was about room, long ago."""

    class Counting(Bell):
        __slots__ = ("waits",)

        def wait(self, timeout: float | None = None) -> bool:
            self.waits += 1
            return super().wait(timeout)

    consumer = Consumer(MemoryQueue(), handle)
    getter, lane = consumer._stations.getters()[0], consumer._lanes[0]
    bell = getter.bell = Counting()
    bell.waits = 0
    lane.enter()
    lane.enter()
    bell.ring()
    deed = in_thread(lambda: getter._rest(1.0))
    until(lambda: bell.waits == 2, "it has lain down again")
    assert deed.is_alive()
    lane.wake_one()
    deed.result()


# ---------------------------------------------------------------------------- pools


def test_a_stray_that_dies_with_a_chunk_in_its_hands_is_buried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stuck thread whose place is taken, and that then dies, leaves no item behind."""
    gate = threading.Event()

    def dies(self: ThreadHandler, chunk: Any) -> None:
        self.held.append(chunk)
        gate.wait(PATIENCE)
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(ThreadHandler, "_watched_call", dies)
    queue = ProbeQueue(["stuck"])
    supervision = Supervision(stuck_time=0.01, stuck_limit=10, polling_time=0.01)
    consumer, events = consumer_of("threads", queue, backoff=Constant(NEVER), supervision=supervision)
    with consumer:
        events.wait_for(HandlerStuck)
        gate.set()
        until(lambda: consumer.stats().released == 1, "it is buried")
    assert reconcile(consumer.shutdown(), queue).released == 1


@pytest.mark.parametrize("name", ["handler-2", "cleaner-1", "getter-2", "supervisor"])
def test_a_start_that_runs_out_of_threads_leaves_nothing_behind(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system has no thread left, start() raises, what it had started ends, and shutdown() returns."""
    start = threading.Thread.start

    def no_more(self: threading.Thread) -> None:
        if self.name == f"queue_consumer-{name}":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", no_more)
    queue = ProbeQueue(["a", "b"])
    consumer, _ = consumer_of("threads", queue, max_workers=2, max_handlers=2)
    with pytest.raises(RuntimeError, match="can't start"):
        consumer.start()
    reconcile(in_thread(consumer.shutdown).result(), queue)
    assert consumer.state is State.STOPPED
    line = consumer._line
    until(lambda: not any(getattr(thread, "line", None) is line for thread in threading.enumerate()), "all have ended")


def test_a_start_that_failed_is_not_tried_with_the_same_consumer() -> None:
    """After a start() that failed there is nothing to start any more, and start() says so."""
    fails = functools.partial(int, "not a number")
    consumer = Consumer(MemoryQueue([1]), act, pool="processes", pool_initializer=fails)
    with pytest.raises(UsageError, match="pool_initializer"):
        consumer.start()
    with pytest.raises(UsageError, match="make a new Consumer"):
        in_thread(consumer.start).result()
    assert consumer.shutdown().balanced


def test_shutdown_does_not_wait_for_children_that_will_not_be_needed() -> None:
    """A shutdown() in the middle of start() ends children that are not ready yet, and start() returns."""
    queue = ProbeQueue(["a"])
    consumer = Consumer(
        queue, act, pool="processes", max_handlers=1, pool_initializer=functools.partial(time.sleep, 3600)
    )
    starting = in_thread(consumer.start)
    until(lambda: consumer._starter is not None, "it starts")
    report = in_thread(lambda: consumer.shutdown(0)).result()
    starting.result()
    assert report.stats.state is State.STOPPED
    reconcile(report, queue)


def test_descriptors_that_run_out_are_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system has no descriptor left, start() says so without waiting, and keeps none."""

    def no_more(*_: Any) -> Any:
        raise OSError(errno.EMFILE, "too many open files")

    consumer = Consumer(ProbeQueue(), act, pool="processes", max_handlers=2)
    Consumer(ProbeQueue(), act, pool="processes", max_handlers=1).start().shutdown()  # the forkserver has its own
    before = psutil.Process().num_fds()
    monkeypatch.setattr(socket, "socketpair", no_more)
    with pytest.raises(UsageError, match="too many open files"):
        in_thread(consumer.start).result()
    assert psutil.Process().num_fds() == before


def test_the_last_words_of_a_child_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a child said before it died counts, also if it was said and the child dead between two looks."""
    queue = ProbeQueue(["drop:"])
    consumer, events = consumer_of("processes", queue, supervision=NOW)
    pump = wire.Channel.pump

    def deaf(self: Any, timeout: float | None) -> list[bytes]:
        supervisor = consumer._supervisor
        child = supervisor.pool.handlers[0]._child if supervisor is not None else None  # type: ignore[attr-defined]
        if timeout != driving.TICK or child is None or not child.hand:
            return pump(self, timeout)
        (slot,) = child.hand
        until(lambda: child._memory.words[slot] & wire.REPORTED, "it is reported")
        child._process.kill()
        until(child.gone, "it is dead")
        return []

    monkeypatch.setattr(wire.Channel, "pump", deaf)
    with consumer:
        events.wait_for(WorkerRevived)
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.dropped, stats.failed) == (1, 0)


def test_a_template_that_the_program_has_buried_keeps_nothing_from_stopping() -> None:
    """A program that waits for all its children itself may have the template's end before us."""
    queue = ProbeQueue(["ok"])
    consumer, _ = consumer_of("processes", queue, mp_context="fork")
    with consumer:
        assert consumer.wait_idle(PATIENCE)
        template = consumer._supervisor.pool.birth._template._pid  # type: ignore[union-attr, attr-defined]
        os.kill(template, signal.SIGKILL)
        os.waitpid(template, 0)
    assert reconcile(consumer.shutdown(), queue).cleaned == 1


def test_a_late_birth_is_not_taken_for_the_next() -> None:
    """What the template says too late, of a child that nobody waits for any more, is not believed of another."""
    template = Template.__new__(Template)
    template._lock, template._births = threading.Lock(), 1
    template._sock, theirs = socket.socketpair()
    theirs.sendall(BIRTH.pack(1, 1) + BIRTH.pack(2, os.getpid()))
    with template._sock, theirs, open(os.devnull) as file:
        born = template.bear(file.fileno(), file.fileno(), file.fileno(), 0)
    assert not born.join(0)
    assert str(os.getpid()) in born.epitaph()
    born.close()


def test_handlers_are_halted_with_what_they_take_late(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A chunk that comes into a handler's hands just when it is told to halt ends at the next item all the same."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item, "ok-1", "ok-2", "ok-3"], bulk=4)
    consumer, events = consumer_of("threads", queue, messages_bulk_size=4)
    halt = ThreadHandler.halt
    halts: list[None] = []

    def too_early(self: ThreadHandler) -> None:
        halts.append(None)
        if len(halts) > 1:
            halt(self)

    monkeypatch.setattr(ThreadHandler, "halt", too_early)
    consumer.start()
    gate.wait_for()
    consumer.stop()
    until(lambda: len(halts) > 1, "it is told again")
    gate.open()
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.released) == (1, 3)
    assert len(events.of(ChunkHandled)) == 1


# ---------------------------------------------------------------------------- coroutines


def test_a_cancelled_task_leaves_no_bell_behind() -> None:
    """A handler that is cancelled while it waits is not rung any more, in the stead of one that lives."""
    queue = ProbeQueue()
    consumer, events = consumer_of("coroutines", queue, supervision=NOW)
    with consumer:
        idle = consumer._line.belt.idle
        until(lambda: len(idle) == 1, "it waits")
        loop = consumer._loop.loop
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        events.wait_for(WorkerDied)
        events.wait_for(WorkerRevived)
        assert consumer._supervisor is not None
        (handler,) = consumer._supervisor.pool.handlers
        until(lambda: list(idle) == [handler.bell], "only the new one waits")
        queue.fill(["ok"])
        until(lambda: consumer.stats().cleaned == 1, "the new one handles")
    assert reconcile(consumer.shutdown(), queue).cleaned == 1


def test_attempts_of_a_coroutine_count_for_coroutines() -> None:
    """`max_attempts` holds also where both the handler and the queue's `attempt` are coroutines."""

    class Asynchronous(ProbeQueue):
        async def attempt(self, item: Any) -> int:  # type: ignore[override]
            return 3

    buried: list[Any] = []
    queue = Asynchronous(["raise:"])
    consumer, _ = consumer_of(
        "coroutines", queue, max_attempts=3, dead_letter=lambda item, failure: buried.append(item)
    )
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).dropped == 1
    assert buried == ["raise:"]


def test_a_cancelled_arun_drains() -> None:
    """A program whose `arun` is cancelled, as Ctrl-C does it, ends when the line is down, and not in its middle."""
    queue = ProbeQueue(["a", "b"])
    consumer, events = consumer_of("threads", queue)

    async def program() -> None:
        running = asyncio.ensure_future(consumer.arun())
        while not events.of(ChunkHandled):
            await asyncio.sleep(0.002)  # nothing that happens in another thread is announced to this loop
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert consumer.state is State.STOPPED

    asyncio.run(program())
    reconcile(consumer.shutdown(), queue)


def test_handlers_see_the_context_of_an_asynchronous_start() -> None:
    """Handlers run in the context of the program, also if it was started by `async with`."""
    variable = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    def handler(items: Iterator[Any]) -> None:
        for _ in items:
            seen.append(variable.get())

    async def program() -> None:
        variable.set("set")
        async with Consumer(queue, handler, max_handlers=1) as consumer:
            assert await consumer.await_idle(PATIENCE)
        reconcile(await consumer.ashutdown(), queue)

    queue = ProbeQueue(["a"])
    asyncio.run(program())
    assert seen == ["set"]


# ---------------------------------------------------------------------------- run_once


def test_run_once_without_end_keeps_the_ledger_thin() -> None:
    """A thousand calls of run_once() cost no more memory than one."""
    queue = ProbeQueue(range(3), bulk=1)
    consumer = Consumer(queue, handle, max_workers=1, max_handlers=1)
    pages = len(consumer._ledger._tallies)
    for _ in range(3):
        assert consumer.run_once().succeeded == 1
    assert len(consumer._ledger._tallies) == pages
    assert reconcile(consumer.stats(), queue).cleaned == 3


def test_one_run_once_does_not_close_the_loop_of_another() -> None:
    """A run_once() that ends leaves the loop to one that still runs, in another thread."""

    class Asynchronous(ScriptedQueue):
        async def cleanup(self, items: Sequence[Any]) -> None:  # type: ignore[override]
            super().cleanup(items)

    gate, come = threading.Event(), threading.Event()

    def handler(items: Iterator[Any]) -> None:
        for item in items:
            if item == "slow":
                come.set()
                gate.wait(PATIENCE)

    queue = Asynchronous([["slow"], ["quick"]])
    consumer = Consumer(queue, handler, max_workers=1, max_handlers=1)
    consumer.stop()
    slow = in_thread(consumer.run_once)
    assert come.wait(PATIENCE)
    assert consumer.run_once().succeeded == 1
    consumer.shutdown()
    gate.set()
    assert slow.result().succeeded == 1
    queue.reconcile(consumer.shutdown())


# ---------------------------------------------------------------------------- queues of the standard library


def test_what_a_standard_queue_gave_before_it_raised_is_kept() -> None:
    """A queue of the standard library that breaks in the middle of a bulk loses nothing that it gave."""

    class Breaking(std.Queue[Any]):
        broken = False

        def get_nowait(self) -> Any:
            if not self.broken:
                self.broken = True
                raise OSError("the pipe is gone")
            return super().get_nowait()

    queue = Breaking()
    for item in ("a", "b"):
        queue.put(item)
    consumer, _ = consumer_of("threads", queue, supervision=NOW, prefetch=10)
    with consumer:
        until(lambda: consumer.stats().cleaned == 2, "both are handled")
    report = consumer.shutdown()
    assert report.balanced
    assert (report.stats.received, report.stats.revived) == (2, 1)


def test_an_asyncio_queue_that_is_shut_down_loses_nothing() -> None:
    """What an `asyncio.Queue` still gave when it was shut down, since 3.13, is handled; and no getter dies."""

    class QueueShutDown(Exception):
        pass

    class Closing(asyncio.Queue[Any]):
        def get_nowait(self) -> Any:
            if self.empty():
                raise QueueShutDown
            return super().get_nowait()

    async def program() -> None:
        queue = Closing()
        for item in ("a", "b"):
            queue.put_nowait(item)
        consumer = Consumer(queue, act, max_workers=1, max_handlers=1, prefetch=10, loop=asyncio.get_running_loop())
        async with consumer:
            await queue.join()
            assert await consumer.await_idle(PATIENCE)
        report = await consumer.ashutdown()
        assert report.balanced
        assert (report.stats.cleaned, report.stats.revived) == (2, 0)

    asyncio.run(program())


@pytest.mark.parametrize("owned", [True, False])
def test_what_waits_for_its_time_is_in_the_standard_queue_at_the_end(owned: bool) -> None:
    """What was released to a queue of the standard library with a delay is there again when the consumer stops."""
    queue: std.Queue[str] = std.Queue()
    queue.put("raise:")
    consumer, _ = consumer_of("threads", queue, backoff=Constant(NEVER), owns_queue=owned)
    with consumer:
        until(lambda: consumer.stats().released == 1, "it has failed")
    assert consumer.shutdown().balanced
    assert queue.get_nowait() == "raise:"


def test_what_run_once_released_is_in_the_standard_queue_after_shutdown() -> None:
    """What run_once() gave back with a delay is in the queue again after shutdown()."""
    queue: std.Queue[str] = std.Queue()
    queue.put("raise:")
    consumer, _ = consumer_of("threads", queue, backoff=Constant(NEVER))
    assert consumer.run_once().failed == 1
    assert consumer.shutdown().balanced
    assert queue.get_nowait() == "raise:"


def test_a_standard_queue_that_takes_back_only_some_says_which_not() -> None:
    """What is back in a queue of the standard library is not put there again when another could not be."""

    class Closing(std.Queue[Any]):
        def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
            if self.qsize() == 1:
                raise ValueError("it is closed")
            super().put(item, block, timeout)

    queue = Closing()
    with pytest.raises(CleanupError) as raised:
        StandardQueue(queue).release(["a", "b", "c"])
    assert raised.value.failed == ["b", "c"]
    assert queue.qsize() == 1
