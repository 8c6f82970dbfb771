"""The left socket: which verbs a queue may have, how they are found, and what the line never does with them."""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import re
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from queue_consumer import (
    CleanupError,
    CleanupFailed,
    Constant,
    Consumer,
    Queue,
    Report,
    State,
    Supervision,
    SupportsCleanup,
    SupportsRelease,
    UsageError,
    WorkerDied,
)
from queue_consumer.testing import RecordingObserver
from support.handlers import Item, follow, read_all
from support.line_pools import PATIENCE, THREADS, run_to_rest
from support.line_queues import EMPTY_TAKES, ScriptedQueue, raising

QUICK = Supervision(restart_base=0.001)


def items(count: int) -> list[Item]:
    return [Item(f"{index}") for index in range(count)]


# ---------------------------------------------------------------------------- which verbs there are


class OnlyGet:
    """All that a queue needs."""

    __slots__ = ("_bulks",)

    def __init__(self, bulks: list[list[Item]]) -> None:
        self._bulks = bulks

    def get(self) -> list[Item]:
        return self._bulks.pop() if self._bulks else []


def test_get_is_all_it_takes() -> None:
    """A class with `get` and nothing else is a queue: what is consumed is done with, what fails is left."""
    bare = OnlyGet([[Item("good"), Item("bad", "raise")]])
    report = run_to_rest(THREADS.consumer(bare, follow))
    assert (report.stats.cleaned, report.stats.left) == (1, 1)


def test_queue_without_get_is_refused() -> None:
    """What has no `get` is not a queue, and the sentence says so."""

    class Nothing:
        get = "not a method"

    for nothing in (object(), Nothing(), None):
        with pytest.raises(TypeError, match=r"queue must have a method get\(\)"):
            Consumer(nothing, read_all)


def test_get_that_needs_arguments_is_refused() -> None:
    """A `get` that cannot be called without arguments is refused where the consumer is made."""

    class Greedy:
        def get(self, count: int) -> list[Any]:
            raise AssertionError(count)

    with pytest.raises(TypeError, match=r"queue\.get must be callable without arguments"):
        Consumer(Greedy(), read_all)


class Misleading(ScriptedQueue):
    """Has attributes with the verbs' names that are not the verbs: they are none, or take other arguments."""

    cleanup = None  # type: ignore[assignment]
    attempt = 7
    identity = "no method"
    cleanup_limit = None

    def release(self) -> None:  # type: ignore[override]
        raise AssertionError("called, though it takes no items")

    def stats(self, of: str) -> dict[str, int]:
        raise AssertionError("called, though it needs an argument")

    def close(self, how: str) -> None:
        raise AssertionError("called, though it needs an argument")

    def interrupt(self, who: str) -> None:  # type: ignore[override]
        raise AssertionError("called, though it needs an argument")


def test_verb_is_there_if_it_takes_the_arguments() -> None:
    """What is not callable, or takes other arguments, is not the verb of that name: the line does without, and says so
    of those that can be called.
    """
    script = Misleading([[Item("good"), Item("bad", "raise")]])
    with pytest.warns(UserWarning, match=r"cannot be called as") as warned:
        consumer = THREADS.consumer(script, follow)
    verbs = [re.search(r"cannot be called as (.*), so", str(one.message)) for one in warned]
    assert {verb[1] for verb in verbs if verb} == {"release([], delay=0)", "stats()", "close()", "interrupt()"}
    report = run_to_rest(consumer)
    assert (report.stats.cleaned, report.stats.left, report.stats.queue) == (1, 1, {})


def test_verbs_are_looked_up_once() -> None:
    """The line looks for each verb when it is made, and never again, however many items there are."""

    class Watched(ScriptedQueue):
        def __getattribute__(self, name: str) -> Any:
            if name in verbs:
                looked_up.append(name)
            return super().__getattribute__(name)

    verbs = {"get", "cleanup", "release", "attempt", "identity", "interrupt", "close", "cleanup_limit"}
    looked_up: list[str] = []
    watched = Watched([items(10) for _ in range(10)])
    consumer = THREADS.consumer(watched, follow)
    before = list(looked_up)
    run_to_rest(consumer)
    assert looked_up == before


def test_protocols_are_never_required() -> None:
    """The protocols say what a queue is, to type checkers and `isinstance`; nothing needs to inherit them."""
    script = ScriptedQueue([])
    assert isinstance(script, Queue)
    assert isinstance(script, SupportsCleanup)
    assert isinstance(script, SupportsRelease)
    assert not isinstance(OnlyGet([]), SupportsCleanup)


def test_verbs_may_be_any_callable() -> None:
    """A verb may be a method, a function, a lambda, an object that can be called: whatever takes the arguments."""

    class Cleaner:
        def __call__(self, done: Sequence[Any]) -> None:
            cleaned.extend(done)

    def give_back(items: Sequence[Any], delay: float = 0) -> None:
        released.extend(items)

    class Assembled:
        def __init__(self) -> None:
            self.get = lambda: bulks.pop() if bulks else None
            self.cleanup = Cleaner()
            self.release = give_back

    good, bad = Item("good"), Item("bad", "raise")
    bulks, cleaned, released = [[good, bad]], list[Any](), list[Any]()
    run_to_rest(THREADS.consumer(Assembled(), follow))
    assert (cleaned, released) == ([good], [bad])


# ---------------------------------------------------------------------------- get, its limit, its failures


def test_get_with_a_limit_is_told_the_room() -> None:
    """A `get` that has a parameter `limit` is told how many items there is room for, by name; it is at least one."""

    class Limited(ScriptedQueue):
        def get(self, *, limit: int) -> Any:  # type: ignore[override]
            limits.append(limit)
            return super().get()

    limits: list[int] = []
    limited = Limited([[item] for item in items(20)])
    limited.reconcile(
        run_to_rest(THREADS.consumer(limited, read_all, max_handlers=3, messages_bulk_size=2, prefetch=4))
    )
    assert max(limits) == 10  # three handlers with two items each, and four that wait
    assert min(limits) >= 1


def test_get_with_other_defaults_is_called_without_arguments() -> None:
    """Parameters of `get` that have other names are the queue's own affair."""

    class Own(ScriptedQueue):
        def get(self, wait: float = 0.5, count: int = 3) -> Any:
            assert (wait, count) == (0.5, 3)
            return super().get()

    own = Own([items(3)])
    own.reconcile(run_to_rest(THREADS.consumer(own, read_all)))


def interrupted(script: ScriptedQueue, first: Sequence[Any], error: BaseException) -> Callable[[], Any]:
    """An answer that gives some items and then raises."""

    def iterate() -> Iterator[Any]:
        yield from script.gave(first)
        raise error

    return iterate


@pytest.mark.parametrize("error", [OSError("lost"), ValueError("odd"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_iterable_that_raises_midway(error: BaseException) -> None:
    """What an iterable gave before it raised is kept and handled; then the getter dies of it and is revived."""
    first, second = items(3), items(2)
    script = ScriptedQueue([])
    script.script = [interrupted(script, first, error), second]
    events = RecordingObserver()
    consumer = THREADS.consumer(script, read_all, observers=[events], supervision=QUICK)
    report = run_to_rest(consumer, after=script.wait_until_spent)
    script.reconcile(report)
    assert {id(item) for item in script.cleaned_up()} == {id(item) for item in [*first, *second]}
    [death] = events.of(WorkerDied)
    assert repr(error) in death.error
    assert report.stats.revived == 1


def test_iterable_that_ends_with_queue_empty() -> None:
    """`queue.Empty` out of an iterable means that it has no more; no getter dies of it."""
    first = items(3)
    script = ScriptedQueue([])
    script.script = [interrupted(script, first, queue.Empty())]
    report = run_to_rest(THREADS.consumer(script, read_all), after=script.wait_until_spent)
    script.reconcile(report)
    assert (report.stats.cleaned, report.stats.revived) == (3, 0)


@pytest.mark.parametrize("error", [OSError("lost"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_get_that_raises_kills_one_getter_for_a_while(error: BaseException) -> None:
    """Any other exception than `queue.Empty` is a broken getter: it is said aloud, revived, and nothing is lost."""
    script = ScriptedQueue([items(2), raising(error), items(2), raising(error), items(2)])
    events = RecordingObserver()
    consumer = THREADS.consumer(script, read_all, observers=[events], supervision=QUICK)
    report = run_to_rest(consumer, after=script.wait_until_spent)
    script.reconcile(report)
    assert report.stats.cleaned == 6
    assert [death.worker for death in events.of(WorkerDied)] == ["getter-1"] * 2


def test_many_threads_get_at_once() -> None:
    """`max_workers` getters call `get` at the same time, and never more."""

    class Crowded(ScriptedQueue):
        def get(self) -> Any:
            with counting:
                inside.append(threading.current_thread())
                most.append(len(inside))
                counting.notify_all()
                # Whoever came first waits here for the others, as in a long poll.
                assert counting.wait_for(lambda: max(most) >= 4, 5), "the others do not come"
            try:
                return super().get()
            finally:
                with counting:
                    inside.remove(threading.current_thread())

    counting = threading.Condition()
    inside, most = list[threading.Thread](), list[int]()
    crowded = Crowded([items(5)])
    report = run_to_rest(THREADS.consumer(crowded, read_all, max_workers=4, max_handlers=8))
    crowded.reconcile(report)
    assert (max(most), report.stats.revived) == (4, 0)


# ---------------------------------------------------------------------------- interrupt


class LongPoll(ScriptedQueue):
    """Blocks in `get` until it is interrupted, when there is nothing to give."""

    def __init__(self, script: Iterable[Any]) -> None:
        super().__init__(script)
        self.polling = threading.Event()
        self.poll = threading.Event()
        self.interrupts = 0

    def get(self) -> Any:
        if self.script:
            return super().get()
        self.polling.set()
        self.poll.wait(PATIENCE)
        return []

    def interrupt(self) -> None:
        self.interrupts += 1
        self.poll.set()


def test_interrupt_ends_the_gets_that_block() -> None:
    """A consumer that stops interrupts the `get`s that block, so that it need not wait for their end."""
    poll = LongPoll([items(3)])
    consumer = THREADS.consumer(poll, read_all)
    with consumer:
        assert poll.polling.wait(PATIENCE)
        assert poll.interrupts == 0
    report = consumer.shutdown()
    poll.reconcile(report)
    assert poll.interrupts >= 1
    assert not report.leftovers


def test_interrupt_that_raises_is_no_more_than_said() -> None:
    """An `interrupt` that raises keeps nobody from stopping."""

    class Deaf(ScriptedQueue):
        def interrupt(self) -> None:
            raise RuntimeError("not now")

    deaf = Deaf([items(3)])
    deaf.reconcile(run_to_rest(THREADS.consumer(deaf, read_all)))


# ---------------------------------------------------------------------------- cleanup and release


def test_cleanup_gets_the_very_objects() -> None:
    """`cleanup` gets the objects that `get` gave, each once, never equal ones, and is never called with none."""
    twins = [[1], [1], [1]]
    script = ScriptedQueue([list(twins), list(twins)])  # and the same objects may come twice
    script.reconcile(run_to_rest(THREADS.consumer(script, read_all, messages_bulk_size=2)))
    counts = [sum(item is twin for item in script.cleaned_up()) for twin in twins]
    assert counts == [2, 2, 2]
    assert all(script.cleaned)


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_cleanup_limit(limit: int) -> None:
    """No `cleanup` and no `release` carries more than `cleanup_limit` items."""
    chunks = [[Item("good"), Item("bad", "retry")] for _ in range(40)]
    script = ScriptedQueue([[item for chunk in chunks for item in chunk]])
    script.cleanup_limit = limit
    script.reconcile(run_to_rest(THREADS.consumer(script, follow, messages_bulk_size=10)))
    assert max(map(len, script.cleaned)) <= limit
    assert max(len(released) for released, _ in script.released) <= limit


@pytest.mark.parametrize("limit", [0, -1, True, 2.5, "10"], ids=repr)
def test_cleanup_limit_must_be_a_number(limit: object) -> None:
    """A `cleanup_limit` that is none is refused where the consumer is made."""
    script = ScriptedQueue([])
    script.cleanup_limit = limit
    with pytest.raises(ValueError, match=r"queue\.cleanup_limit must be a whole number of at least 1"):
        Consumer(script, read_all)


class Failing(ScriptedQueue):
    """Its `cleanup` fails by a script: None succeeds, an exception is raised, a number names so many as failed."""

    def __init__(self, script: Iterable[Any], faults: Iterable[BaseException | int | None]) -> None:
        super().__init__(script)
        self.faults = iter(faults)
        self.calls: list[list[Any]] = []

    def cleanup(self, items: Sequence[Any]) -> None:
        self.calls.append(list(items))
        match next(self.faults, None):
            case None:
                super().cleanup(items)
            case int(count):
                if items[count:]:
                    super().cleanup(items[count:])
                raise CleanupError(items[:count])
            case error:
                raise error


FAULTS: dict[str, BaseException] = {
    "an error": OSError("no route"),
    "a bare CleanupError": CleanupError([]),
    "SystemExit": SystemExit(1),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("times", [1, 4])
def test_cleanup_is_tried_again(times: int, fault: BaseException) -> None:
    """A `cleanup` that failed is tried again with the same objects, and never again once it succeeded."""
    failing = Failing([items(3)], [fault] * times)
    report = run_to_rest(THREADS.consumer(failing, read_all, messages_bulk_size=3))
    failing.reconcile(report)
    assert (report.stats.cleaned, report.stats.tombstoned) == (3, 0)


def test_cleanup_that_failed_partly() -> None:
    """What `CleanupError` does not name is done, and is not tried again; what it names is."""
    failing = Failing([items(4)], [2])
    report = run_to_rest(THREADS.consumer(failing, read_all, messages_bulk_size=4))
    failing.reconcile(report)
    assert report.stats.cleaned == 4
    assert [len(call) for call in failing.calls] == [4, 2]
    assert failing.calls[1] == failing.calls[0][:2]


def test_cleanup_that_always_fails() -> None:
    """After five attempts an item is given up aloud and counted as tombstoned; the room is free and others pass."""
    events = RecordingObserver()
    bad, good = items(1), items(1)
    script = ScriptedQueue([])

    class Broken(ScriptedQueue):
        def cleanup(self, items: Sequence[Any]) -> None:
            if bad[0] in items:
                attempts.append(len(items))
                raise OSError("never")
            super().cleanup(items)

    attempts: list[int] = []
    script = Broken([bad, good])
    report = run_to_rest(THREADS.consumer(script, read_all, observers=[events]))
    assert report.balanced
    assert (report.stats.cleaned, report.stats.tombstoned) == (1, 1)
    assert script.cleaned_up() == good
    final = [event.attempt for event in events.of(CleanupFailed) if event.final]
    assert (len(attempts), final) == (5, [5])


def test_bad_item_keeps_no_neighbour_back() -> None:
    """Where a `cleanup` fails for all because of one, its neighbours are cleaned up in the end, and only it is not."""

    class Fragile(ScriptedQueue):
        def cleanup(self, items: Sequence[Any]) -> None:
            if any(item.name == "bad" for item in items):
                raise OSError("one of you is bad, and I do not say who")
            super().cleanup(items)

    bulk = [*items(4), Item("bad"), *items(4)]
    fragile = Fragile([bulk])
    report = run_to_rest(THREADS.consumer(fragile, read_all, messages_bulk_size=9))
    assert (report.stats.cleaned, report.stats.tombstoned) == (8, 1)
    assert bulk[4] not in fragile.cleaned_up()


def test_release_that_always_fails() -> None:
    """What could not be given back is left, and counted so."""

    class Broken(ScriptedQueue):
        def release(self, items: Sequence[Any], delay: float = 0) -> None:
            raise OSError("never")

    broken = Broken([[Item("bad", "raise"), Item("good")]])
    report = run_to_rest(THREADS.consumer(broken, follow, messages_bulk_size=2))
    assert (report.stats.cleaned, report.stats.left, report.stats.released) == (1, 1, 0)


# ---------------------------------------------------------------------------- stats and close


class Owned(ScriptedQueue):
    def __init__(self) -> None:
        super().__init__([items(3)])
        self.closed = 0
        self.after_close: list[str] = []

    def stats(self) -> dict[str, int]:
        return {"waiting": 7}

    def close(self) -> None:
        self.closed += 1

    def cleanup(self, items: Sequence[Any]) -> None:
        if self.closed:
            self.after_close.append("cleanup")
        super().cleanup(items)


def test_queue_is_closed_once_and_last() -> None:
    """`close` is called once, when everything else has been; the queue's own figures are in `Stats.queue`."""
    owned = Owned()
    consumer = THREADS.consumer(owned, read_all)
    assert consumer.stats().queue == {"waiting": 7}
    owned.reconcile(run_to_rest(consumer))
    consumer.shutdown()
    assert (owned.closed, owned.after_close) == (1, [])


def test_queue_that_is_not_owned_stays_open() -> None:
    """With `owns_queue=False` the queue is somebody else's to close."""
    owned = Owned()
    owned.reconcile(run_to_rest(THREADS.consumer(owned, read_all, owns_queue=False)))
    assert owned.closed == 0


def test_stats_and_close_that_raise_hurt_nobody() -> None:
    """A `stats` that raises is a figure less; a `close` that raises ends nothing but itself."""

    class Cranky(ScriptedQueue):
        def stats(self) -> dict[str, int]:
            raise RuntimeError("no figures")

        def close(self) -> None:
            raise RuntimeError("stays open")

    cranky = Cranky([items(3)])
    consumer = THREADS.consumer(cranky, read_all)
    assert "no figures" in str(consumer.stats().queue)
    cranky.reconcile(run_to_rest(consumer))


# ---------------------------------------------------------------------------- verbs that are coroutines


class Asynchronous:
    """A queue whose every verb is a coroutine function; notes on which loop each ran."""

    def __init__(self, bulks: Iterable[list[Any]]) -> None:
        self.inner = ScriptedQueue(bulks)
        self.loops: set[asyncio.AbstractEventLoop] = set()
        self.called: set[str] = set()

    def _note(self, verb: str) -> None:
        self.called.add(verb)
        self.loops.add(asyncio.get_running_loop())

    async def get(self, limit: int) -> Any:
        self._note("get")
        if self.inner.script:
            return self.inner.get()
        await asyncio.sleep(EMPTY_TAKES)  # a long poll that finds nothing, only shorter
        return None

    async def cleanup(self, items: Sequence[Any]) -> None:
        self._note("cleanup")
        await asyncio.sleep(0)
        self.inner.cleanup(items)

    async def release(self, items: Sequence[Any], delay: float = 0) -> None:
        self._note("release")
        await asyncio.sleep(0)
        self.inner.release(items, delay)

    async def attempt(self, item: Any) -> int:
        self._note("attempt")
        return 1

    async def stats(self) -> dict[str, int]:
        self._note("stats")
        return {"waiting": 1}

    async def interrupt(self) -> None:
        self._note("interrupt")

    async def close(self) -> None:
        self._note("close")


def test_every_verb_may_be_a_coroutine() -> None:
    """Coroutine verbs are awaited, all on one loop, and mean what plain ones mean."""
    script = Asynchronous([[Item("good"), Item("bad", "raise")], items(5)])
    consumer = THREADS.consumer(script, follow)
    assert consumer.stats().queue == {"waiting": 1}
    report = run_to_rest(consumer)
    script.inner.reconcile(report)
    assert (report.stats.cleaned, report.stats.released) == (6, 1)
    assert script.called == {"get", "cleanup", "release", "attempt", "stats", "interrupt", "close"}
    assert len(script.loops) == 1


def test_coroutine_verbs_run_on_the_given_loop() -> None:
    """With `loop=` the verbs run on that loop, and it is not closed with the consumer."""

    async def program() -> tuple[Report, asyncio.AbstractEventLoop]:
        loop = asyncio.get_running_loop()
        async with THREADS.consumer(script, follow, loop=loop) as consumer:
            assert await consumer.await_idle(PATIENCE)
        return await consumer.ashutdown(), loop

    script = Asynchronous([items(5)])
    report, loop = asyncio.run(program())
    script.inner.reconcile(report)
    assert script.loops == {loop}


# ---------------------------------------------------------------------------- queues of the standard library


@pytest.mark.parametrize("make", [queue.Queue, queue.LifoQueue, queue.PriorityQueue, queue.SimpleQueue])
def test_standard_queues(make: Callable[[], Any]) -> None:
    """A queue of the standard library works as it is; what fails comes back and is handled again."""
    standard = make()
    for number in range(20):
        standard.put(number)
    seen: list[int] = []

    def handler(numbers: Iterator[int]) -> None:
        for number in numbers:
            seen.append(number)
            if number == 7 and seen.count(7) == 1:
                raise ValueError(number)

    consumer = THREADS.consumer(standard, handler, max_handlers=1, messages_bulk_size=5, backoff=Constant(0))
    with consumer:
        join_or_drain(standard, consumer)
        assert consumer.wait_idle(PATIENCE)
    stats = consumer.shutdown().stats
    assert (stats.received, stats.cleaned, stats.released, stats.in_flight) == (21, 20, 1, 0)
    assert sorted(seen) == sorted([*range(20), 7])
    assert standard.empty()
    standard.put("still open")
    assert standard.get() == "still open"


def join_or_drain(standard: Any, consumer: Consumer[Any]) -> None:
    """`join()` ends when `task_done` was called for everything; a queue without it is waited for otherwise."""
    if hasattr(standard, "join"):
        standard.join()
    else:
        assert consumer.wait_idle(PATIENCE)


def test_full_queue_loses_nothing() -> None:
    """What is released to a bounded queue that is full waits until it fits."""
    bounded: queue.Queue[int] = queue.Queue(maxsize=2)
    bounded.put(1)
    bounded.put(2)
    fill = iter([3, 4])
    seen: list[int] = []

    def handler(numbers: Iterator[int]) -> None:
        for number in numbers:
            seen.append(number)
            if len(seen) == 1:
                for other in fill:
                    bounded.put(other)
                raise ValueError(number)

    consumer = THREADS.consumer(bounded, handler, max_handlers=1, backoff=Constant(0))
    with consumer:
        bounded.join()
    assert consumer.shutdown().balanced
    assert sorted(seen) == [1, 1, 2, 3, 4]


def test_delayed_items_go_back_at_the_end() -> None:
    """What waits for its delay when the consumer stops is put back at once, not lost with it."""
    standard: queue.Queue[int] = queue.Queue()
    standard.put(1)

    def handler(numbers: Iterator[int]) -> None:
        raise ValueError(list(numbers))

    report = run_to_rest(THREADS.consumer(standard, handler, backoff=Constant(3600)))
    assert report.stats.released == 1
    assert standard.get_nowait() == 1


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_queue(method: str) -> None:
    """`multiprocessing.Queue` and its kin work as they are."""
    context = multiprocessing.get_context(method)
    shared: Any
    for shared in (context.Queue(), context.JoinableQueue()):
        for number in range(10):
            shared.put(number)
        consumer = THREADS.consumer(shared, read_all)
        with consumer:
            # Its feeder thread writes into a pipe, and nothing tells when it has.
            while consumer.stats().cleaned < 10:
                assert consumer.wait_idle(PATIENCE)
        report = consumer.shutdown()
        assert report.balanced
        assert report.stats.cleaned == 10
        shared.close()
        shared.join_thread()


@asynccontextmanager
async def consumed(
    numbers: asyncio.Queue[int], handler: Callable[[Any], object]
) -> AsyncGenerator[Consumer[Any], None]:
    loop = asyncio.get_running_loop()
    async with Consumer(numbers, handler, 1, 2, 5, loop=loop, backoff=Constant(0)) as consumer:
        yield consumer
        assert await consumer.await_idle(PATIENCE)


@pytest.mark.parametrize("make", [asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue])
def test_asyncio_queues(make: Callable[[], asyncio.Queue[int]]) -> None:
    """A queue of asyncio works as it is, on its producers' loop; `join()` ends when all is consumed."""
    seen: list[int] = []

    async def handler(numbers: Any) -> None:
        async for number in numbers:
            seen.append(number)
            if number == 7 and seen.count(7) == 1:
                raise ValueError(number)

    async def program() -> Report:
        numbers = make()
        async with consumed(numbers, handler) as consumer:
            for number in range(20):
                await numbers.put(number)
            await numbers.join()
        return await consumer.ashutdown()

    report = asyncio.run(program())
    assert report.balanced
    assert (report.stats.cleaned, report.stats.released) == (20, 1)
    assert sorted(seen) == sorted([*range(20), 7])


def test_asyncio_queue_with_a_plain_handler() -> None:
    """An `asyncio.Queue` may as well be consumed by threads."""

    async def program() -> Report:
        numbers: asyncio.Queue[int] = asyncio.Queue()
        async with consumed(numbers, read_all) as consumer:
            await numbers.put(1)
            await numbers.join()
        return await consumer.ashutdown()

    report = asyncio.run(program())
    assert (report.stats.cleaned, report.stats.in_flight) == (1, 0)


def test_asyncio_queue_needs_its_loop() -> None:
    """An `asyncio.Queue` without the loop of its producers is refused, and the sentence names `loop`."""
    with pytest.raises(ValueError, match=r"^loop must be the loop of the producers"):
        Consumer(asyncio.Queue(), read_all)


def test_consumer_is_not_started_twice() -> None:
    """A stopped consumer is not started again: the error says to make a new one, which works on the same queue."""
    script = ScriptedQueue([items(2)])
    consumer = THREADS.consumer(script, read_all)
    script.reconcile(run_to_rest(consumer))
    assert consumer.state is State.STOPPED
    with pytest.raises(UsageError, match="make a new Consumer"):
        consumer.start()
