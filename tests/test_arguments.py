"""Every argument of a consumer: what it means, and the sentence with which a wrong one is refused."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import pickle
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, NamedTuple

import pytest

from queue_consumer import (
    Aging,
    BulkReceived,
    CallbackFailed,
    ChunkStarted,
    Consumer,
    ConsumerStarted,
    Exponential,
    ItemsCleaned,
    MaxItems,
    MemoryQueue,
    Supervision,
    each,
)
from queue_consumer.testing import RecordingObserver
from support.handlers import Item, follow, read_all
from support.line_pools import FORK, PATIENCE, THREADS, run_to_rest
from support.line_queues import ScriptedQueue


async def asynchronous(items: Any) -> None:
    async for _ in items:
        pass


def no_arguments() -> None: ...


def two_arguments(items: Any, more: Any) -> None: ...


def keyword_only(items: Any, *, more: Any) -> None: ...


def with_default(items: Any, more: int = 1) -> None:
    read_all(items)


def any_arguments(*args: Any, **kwargs: Any) -> None:
    read_all(*args)


def bury(item: Any, failure: Any) -> None: ...


# ---------------------------------------------------------------------------- what is refused


class Wrong(NamedTuple):
    """Values that a parameter refuses, with what error, and what its sentence says is allowed."""

    name: str
    values: tuple[Any, ...]
    error: type[Exception]
    allowed: str


NAN, ENDLESS = float("nan"), float("inf")
WRONG = (
    Wrong("max_workers", (0, -1), ValueError, "a whole number of at least 1, or None"),
    Wrong("max_workers", (2.0, "2", True), TypeError, "a whole number of at least 1, or None"),
    Wrong("max_handlers", (0, -1), ValueError, "a whole number of at least 1, or None"),
    Wrong("max_handlers", (2.0, "2", True), TypeError, "a whole number of at least 1, or None"),
    Wrong("messages_bulk_size", (0, -1), ValueError, "a whole number of at least 1"),
    Wrong("messages_bulk_size", (None, 1.5, "1", True), TypeError, "a whole number of at least 1"),
    Wrong("worker_polling_time", (-1, NAN, ENDLESS), ValueError, "a number of seconds of at least 0"),
    Wrong("worker_polling_time", (None, "1", True), TypeError, "a number of seconds of at least 0"),
    Wrong("pool_initializer", (7, "init", follow), TypeError, "callable without arguments, or None"),
    Wrong("with_thread_executor", (None, 1, "yes"), TypeError, "a bool"),
    Wrong("pool", ("thread", 1), ValueError, "one of 'threads', 'processes', 'coroutines', or None"),
    Wrong("receipt", ("auto", 1, True), ValueError, "one of 'advance', 'return', 'explicit'"),
    Wrong("prefetch", (-1,), ValueError, "a whole number of at least 0, or None"),
    Wrong("prefetch", (1.5, "all", True), TypeError, "a whole number of at least 0, or None"),
    Wrong("backoff", (1, no_arguments), TypeError, "callable with the number of the attempt, or None"),
    Wrong("time_limit", (0, -1, NAN), ValueError, "a number of seconds above 0, or None"),
    Wrong("time_limit", ("1", True), TypeError, "a number of seconds above 0, or None"),
    Wrong("max_attempts", (0,), ValueError, "a whole number of at least 1, or None"),
    Wrong("max_attempts", (1.5, "3", True), TypeError, "a whole number of at least 1, or None"),
    Wrong("dead_letter", (7, follow), TypeError, "callable with an item and its failure, or None"),
    Wrong("stop_when", (30, no_arguments), TypeError, "callable with Stats, or None"),
    Wrong("supervision", (60, {"stuck_time": 1}), TypeError, "a Supervision, or None"),
    Wrong("observers", (7, [7], [no_arguments]), TypeError, "callables of one event"),
    Wrong("loop", ("loop",), TypeError, "an asyncio event loop, or None"),
    Wrong("owns_queue", (None,), TypeError, "a bool"),
    Wrong("key", (7, no_arguments), TypeError, "callable with an item, or None"),
    Wrong("lane_policy", ("loose", ""), ValueError, "'strict', Strict(...), Aging(every=...), or None"),
    Wrong("lane_policy", (7, Aging, True), TypeError, "'strict', Strict(...), Aging(every=...), or None"),
)
CASES = [(row, value) for row in WRONG for value in row.values]


@pytest.mark.parametrize(
    ("row", "value"), CASES, ids=[f"{row.name}={value!r}".split(" at 0x")[0] for row, value in CASES]
)
def test_wrong_argument_is_refused(row: Wrong, value: Any) -> None:
    """A wrong argument is refused where the consumer is made, by name, with its value and what is allowed."""
    with pytest.raises(row.error) as caught:
        Consumer(ScriptedQueue([]), read_all, **{row.name: value})
    sentence = str(caught.value)
    assert sentence.startswith(row.name)
    assert row.allowed in sentence
    assert repr(value).strip("[]") in sentence


def test_every_parameter_is_checked() -> None:
    """No parameter of the constructor is missing in the table of wrong arguments or has a test of its own."""
    elsewhere = {"self", "queue", "handler", "mp_context"}
    parameters = inspect.signature(Consumer.__init__).parameters
    assert {row.name for row in WRONG} == set(parameters) - elsewhere


@pytest.mark.parametrize(
    ("value", "error"), [("forks", ValueError), (7, (ValueError, TypeError)), ("", ValueError)], ids=repr
)
def test_mp_context_is_checked(value: Any, error: type[Exception]) -> None:
    """A start method that does not exist is refused, and those that do are named."""
    with pytest.raises(error, match="mp_context must be one of") as caught:
        Consumer(ScriptedQueue([]), read_all, pool="processes", mp_context=value)
    assert repr(value) in str(caught.value)
    assert "'spawn'" in str(caught.value)


@pytest.mark.parametrize("pool", ["threads", "coroutines"])
def test_mp_context_without_processes(pool: Any) -> None:
    """A start method for a pool that starts no process is a mistake, and is said to be one."""
    handler = asynchronous if pool == "coroutines" else read_all
    with pytest.raises(ValueError, match=r"mp_context is for pool='processes'; got 'spawn'"):
        Consumer(ScriptedQueue([]), handler, pool=pool, mp_context="spawn")


@pytest.mark.parametrize(("name", "value"), [("max_attempts", 3), ("dead_letter", bury)])
def test_max_attempts_and_dead_letter_go_together(name: str, value: Any) -> None:
    """Attempts with nowhere to go, or a place for dead letters that none reaches, is a mistake."""
    with pytest.raises(ValueError, match="max_attempts and dead_letter go together"):
        Consumer(MemoryQueue(), read_all, **{name: value})


def test_max_attempts_needs_a_queue_that_counts() -> None:
    """Where the queue does not say how often an item was delivered, attempts cannot be limited."""
    with pytest.raises(ValueError, match=r"max_attempts needs a queue with attempt\(item\)"):
        Consumer(ScriptedQueue([]), read_all, max_attempts=3, dead_letter=bury)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("blocking", 1, TypeError),
        ("polling_time", 0, ValueError),
        ("polling_time", "1", TypeError),
        ("stuck_time", -1, ValueError),
        ("stuck_limit", -1, ValueError),
        ("stuck_limit", 1.5, TypeError),
    ],
)
def test_arguments_of_supervise_are_checked(name: str, value: Any, error: type[Exception]) -> None:
    """`supervise` refuses wrong arguments as the constructor does, and starts nothing then."""
    consumer: Consumer[Any] = Consumer(ScriptedQueue([]), read_all)
    with pytest.raises(error, match=f"{name} must be .*got {value!r}"):
        consumer.supervise(**{name: value})
    assert consumer.shutdown().balanced


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), ("25", TypeError), (float("nan"), ValueError)])
def test_timeout_of_shutdown_is_checked(value: Any, error: type[Exception]) -> None:
    """A timeout that is no number of seconds is refused; the consumer goes on."""
    consumer: Consumer[Any] = Consumer(ScriptedQueue([]), read_all)
    with pytest.raises(error, match="timeout must be a number of seconds of at least 0"):
        consumer.shutdown(value)


# ---------------------------------------------------------------------------- handlers


def generator(items: Iterator[Any]) -> Iterator[Any]:
    yield from items


async def asynchronous_generator(items: Any) -> AsyncIterator[Any]:
    async for item in items:
        yield item


def calls_generator(items: Any) -> object:
    return generator(items)


def calls_asynchronous(items: Any) -> object:
    return asynchronous(items)


class Generating:
    def __call__(self, items: Iterator[Any]) -> Iterator[Any]:
        yield from items

    def method(self, items: Iterator[Any]) -> Iterator[Any]:
        yield from items


REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (None, "handler must be a function of an iterator of items"),
    "not callable": (7, "handler must be a function of an iterator of items; got 7"),
    "generator function": (generator, "must not be a generator function"),
    "asynchronous generator function": (asynchronous_generator, "must not be a generator function"),
    "object that is one": (Generating(), "must not be a generator function"),
    "method that is one": (Generating().method, "must not be a generator function"),
    "partial of one": (functools.partial(generator), "must not be a generator function"),
    "no argument": (no_arguments, "handler must take one argument, an iterator of items"),
    "two arguments": (two_arguments, "handler must take one argument"),
    "keyword-only argument": (keyword_only, "handler must take one argument"),
    "class that takes none": (object, "handler must take one argument"),
}


@pytest.mark.parametrize(("handler", "sentence"), REFUSED.values(), ids=REFUSED)
def test_handler_that_cannot_work_is_refused(handler: Any, sentence: str) -> None:
    """What would never run, or cannot be called, is refused where the consumer is made, with what to do."""
    with pytest.raises(TypeError, match=r"^handler ") as caught:
        Consumer(ScriptedQueue([]), handler)
    assert sentence in str(caught.value)


class Handling:
    def __call__(self, items: Iterator[Any]) -> None:
        read_all(items)

    def method(self, items: Iterator[Any]) -> None:
        read_all(items)

    @classmethod
    def of_class(cls, items: Iterator[Any]) -> None:
        read_all(items)


ACCEPTED: dict[str, Any] = {
    "function": read_all,
    "lambda": lambda items: read_all(items),  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    "object": Handling(),
    "method": Handling().method,
    "class method": Handling.of_class,
    "partial": functools.partial(read_all),
    "with defaults": with_default,
    "of any arguments": any_arguments,
    "built-in": list,
    "each": each(str),
}


@pytest.mark.parametrize("handler", ACCEPTED.values(), ids=ACCEPTED)
def test_anything_that_takes_an_iterator_is_a_handler(handler: Any) -> None:
    """A handler may be whatever can be called with one argument."""
    queue = ScriptedQueue([[Item("1"), Item("2")]])
    report = run_to_rest(THREADS.consumer(queue, handler, messages_bulk_size=2))
    queue.reconcile(report)
    assert report.stats.cleaned == 2


@pytest.mark.parametrize(
    "make",
    [calls_generator, calls_asynchronous],
    ids=["generator", "awaitable"],
)
def test_handler_that_turns_out_to_run_nothing(make: Callable[[Any], object], caplog: pytest.LogCaptureFixture) -> None:
    """A handler that returns a generator or an awaitable fails its chunk, with a sentence that says what to do."""
    queue = ScriptedQueue([[Item("1"), Item("2")]])
    report = run_to_rest(THREADS.consumer(queue, make, messages_bulk_size=2))
    queue.reconcile(report)
    assert (report.stats.failed, report.stats.released, report.stats.cleaned) == (2, 2, 0)
    assert "nothing of it has run" in caplog.text
    assert "loop over the items instead of yielding" in caplog.text


@pytest.mark.parametrize(
    "options", [{"pool": "threads"}, {"pool": "processes"}, {"with_thread_executor": False}], ids=str
)
def test_async_handler_in_another_pool(options: dict[str, Any]) -> None:
    """An `async def` runs in coroutines and nowhere else; asking for another pool is a mistake."""
    with pytest.raises(ValueError, match="pool must be 'coroutines' for an async handler"):
        Consumer(ScriptedQueue([]), asynchronous, **options)


def test_plain_handler_in_coroutines() -> None:
    """Coroutines need an `async def`."""
    with pytest.raises(ValueError, match="pool='coroutines' needs a handler that is an async def"):
        Consumer(ScriptedQueue([]), read_all, pool="coroutines")


class AsynchronousObject:
    async def __call__(self, items: Any) -> None:
        await asynchronous(items)


@pytest.mark.parametrize(
    "handler",
    [asynchronous, AsynchronousObject(), functools.partial(asynchronous)],
    ids=["function", "object", "partial"],
)
def test_async_handler_is_recognised(handler: Any) -> None:
    """An `async def`, an object whose call is one, or a partial of one runs in coroutines without being asked to."""
    queue = ScriptedQueue([[Item("1"), Item("2")]])
    with Consumer(queue, handler, max_workers=1) as consumer:
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    queue.reconcile(report)
    assert report.stats.cleaned == 2


class WithHandler(ScriptedQueue):
    """A queue that brings its own handler along."""

    def __init__(self, script: list[list[Item]]) -> None:
        super().__init__(script)
        self.handled: list[Item] = []

    def handler(self, items: Iterator[Item]) -> None:
        for item in items:
            self.handled.append(item)


def test_handler_of_the_queue() -> None:
    """Where no handler is given, the queue's own is used."""
    queue = WithHandler([[Item("1")]])
    with Consumer(queue, max_workers=1) as consumer:
        assert consumer.wait_idle(PATIENCE)
    queue.reconcile(consumer.shutdown())
    assert queue.handled == queue.given


def test_explicit_handler_wins() -> None:
    """A handler that is given wins over the queue's own."""
    queue = WithHandler([[Item("1")]])
    queue.reconcile(run_to_rest(THREADS.consumer(queue, read_all)))
    assert queue.handled == []


class WithReceipt:
    """A handler that says itself which receipt it needs."""

    receipt = "return"

    def __call__(self, items: Iterator[Item]) -> None:
        follow(items)


@pytest.mark.parametrize(("given", "cleaned"), [(None, 1), ("return", 1), ("advance", 2)])
def test_receipt_of_the_handler(given: Any, cleaned: int) -> None:
    """A handler object may say which receipt it needs; the constructor's argument wins."""
    queue = ScriptedQueue([[Item("1"), Item("2", "raise"), Item("3")]])
    report = run_to_rest(THREADS.consumer(queue, WithReceipt(), receipt=given, messages_bulk_size=3))
    queue.reconcile(report)
    assert report.stats.cleaned == cleaned


def test_receipt_of_the_handler_is_checked() -> None:
    """A receipt that does not exist is refused wherever it comes from."""
    handler = WithReceipt()
    handler.receipt = "later"
    with pytest.raises(ValueError, match="receipt must be one of 'advance', 'return', 'explicit'; got 'later'"):
        Consumer(ScriptedQueue([]), handler)


# ---------------------------------------------------------------------------- handlers that cannot travel


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
@pytest.mark.parametrize("name", ["handler", "pool_initializer"])
def test_what_a_child_cannot_import_is_refused(name: str, method: str) -> None:
    """A lambda or a closure cannot be sent to a child; that is said where the consumer is made, and by whose name."""

    def closure(*items: Any) -> None: ...

    options: dict[str, Any] = {"handler": read_all, "pool_initializer": None, name: closure}
    with pytest.raises(TypeError, match=f"^{name} must be importable by a child process") as caught:
        Consumer(ScriptedQueue([]), pool="processes", mp_context=method, **options)
    assert "closure" in str(caught.value)
    assert isinstance(caught.value.__cause__, (pickle.PicklingError, AttributeError))


def test_fork_takes_what_cannot_be_sent() -> None:
    """With `fork` a child has everything its parent has: a closure is as good as any handler."""
    told: list[str] = []
    queue = ScriptedQueue([[Item("1"), Item("2")]])
    report = run_to_rest(FORK.consumer(queue, lambda items: told.extend(item.name for item in items)))
    queue.reconcile(report)
    assert report.stats.cleaned == 2
    assert told == []  # what it told stayed in the child


# ---------------------------------------------------------------------------- what the predecessor had


def test_first_eight_parameters_never_change() -> None:
    """The predecessor's eight parameters keep names, order and defaults; all others go by name only."""
    parameters = list(inspect.signature(Consumer.__init__).parameters.values())[1:]
    assert [(parameter.name, parameter.default) for parameter in parameters[:8]] == [
        ("queue", inspect.Parameter.empty),
        ("handler", None),
        ("max_workers", None),
        ("max_handlers", None),
        ("messages_bulk_size", 1),
        ("worker_polling_time", 0),
        ("pool_initializer", None),
        ("with_thread_executor", True),
    ]
    assert all(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters[:8])
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters[8:])


def test_arguments_by_position() -> None:
    """`Consumer(queue, handler, 2, 2, 10, 0, init, True)` means what it always meant."""
    started: list[int] = []
    queue = ScriptedQueue([[Item(f"{index}") for index in range(20)]])
    with Consumer(queue, read_all, 2, 2, 10, 0, lambda: started.append(1), True) as consumer:
        while consumer.stats().cleaned < 20:
            assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    queue.reconcile(report)
    assert report.stats.cleaned == 20
    assert len(started) == 2


def test_arguments_of_supervise_by_position() -> None:
    """`supervise(blocking, polling_time, stuck_time, stuck_limit)`, in this order, with the documented defaults."""
    parameters = list(inspect.signature(Consumer.supervise).parameters.values())[1:]
    assert [(parameter.name, parameter.default) for parameter in parameters] == [
        ("blocking", False),
        ("polling_time", 1),
        ("stuck_time", 60),
        ("stuck_limit", None),
    ]


@pytest.mark.parametrize("with_threads", [True, False])
def test_with_thread_executor(with_threads: bool) -> None:
    """`with_thread_executor` chooses between threads and processes, unless `pool` says."""
    events = RecordingObserver()
    queue = ScriptedQueue([])
    with Consumer(queue, read_all, 1, 1, 1, 0, None, with_threads, observers=[events]):
        pass
    [started] = events.of(ConsumerStarted)
    assert started.pool == ("threads" if with_threads else "processes")


def test_pool_wins_over_with_thread_executor() -> None:
    """What `pool` says holds."""
    events = RecordingObserver()
    with Consumer(ScriptedQueue([]), read_all, with_thread_executor=False, pool="threads", observers=[events]):
        pass
    [started] = events.of(ConsumerStarted)
    assert started.pool == "threads"


def test_workers_default_to_the_cpus_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """`max_workers` and `max_handlers` default to the CPUs this process may use, read when the consumer is made."""
    events = RecordingObserver()
    allowed: Callable[[int], set[int]] = lambda pid: {0, 1, 2}  # noqa: E731
    monkeypatch.setattr(os, "sched_getaffinity", allowed, raising=False)
    with Consumer(ScriptedQueue([]), read_all, observers=[events]):
        pass
    [started] = events.of(ConsumerStarted)
    assert (started.getters, started.handlers) == (3, 3)


# ---------------------------------------------------------------------------- what the others mean


def test_pool_initializer_runs_once_in_each_worker() -> None:
    """`pool_initializer` is called once for each pool worker, before it handles anything, and in no getter."""
    names: list[str] = []
    queue = ScriptedQueue([[Item("1")]])
    consumer = THREADS.consumer(
        queue,
        read_all,
        max_handlers=3,
        max_workers=2,
        pool_initializer=lambda: names.append(threading.current_thread().name),
    )
    queue.reconcile(run_to_rest(consumer))
    assert len(names) == len(set(names)) == 3
    assert all("handler" in name for name in names)


@pytest.mark.parametrize("first", [[Item("1")], []], ids=["something", "nothing"])
def test_worker_polling_time_pauses_after_every_get(first: list[Item]) -> None:
    """A getter sleeps `worker_polling_time` after each `get`, whether it brought something or not; `stop` wakes it."""
    queue = ScriptedQueue([first, [Item("2")]])
    events = RecordingObserver()
    with Consumer(queue, read_all, 1, 1, 1, 3600, observers=[events]):
        events.wait_for(ItemsCleaned if first else BulkReceived)
    assert len(events.of(BulkReceived)) == 1
    assert len(queue.script) == 1
    assert queue.cleaned == ([first] if first else [])


def test_prefetch_of_none_waits_on_no_belt() -> None:
    """With `prefetch=0` no more is asked for than the handlers can take at once."""
    limits: list[int] = []

    class Limited(ScriptedQueue):
        def get(self, limit: int = 0) -> Any:
            limits.append(limit)
            return super().get()

    queue = Limited([[Item(f"{index}")] for index in range(50)])
    consumer = THREADS.consumer(queue, read_all, max_handlers=2, messages_bulk_size=3, prefetch=0)
    queue.reconcile(run_to_rest(consumer))
    assert max(limits) == 6


@pytest.mark.parametrize("wrong", [-1, "soon", None, float("nan"), ZeroDivisionError()], ids=repr)
def test_backoff_that_gives_nonsense(wrong: Any) -> None:
    """A back-off that raises, or gives what is no number of seconds, is said aloud, and the default is used."""

    def backoff(attempt: int) -> Any:
        if isinstance(wrong, Exception):
            raise wrong
        return wrong

    queue = ScriptedQueue([[Item("bad", "raise")]])
    events = RecordingObserver()
    queue.reconcile(run_to_rest(THREADS.consumer(queue, follow, backoff=backoff, observers=[events])))
    [(_, delay)] = queue.released
    assert delay == 1
    [failed] = events.of(CallbackFailed)
    assert failed.callback == "backoff"


def test_backoff_by_attempt() -> None:
    """The back-off is told how often the item was delivered; where none is given it is exponential."""

    class Counting(ScriptedQueue):
        def attempt(self, item: Item) -> int:
            return int(item.name)

    asked: list[int] = []

    def backoff(attempt: int) -> float:
        asked.append(attempt)
        return attempt * 10

    for chosen in (backoff, None):
        queue = Counting([[Item("1", "raise")], [Item("5", "raise")], [Item("99", "raise")]])
        queue.reconcile(run_to_rest(THREADS.consumer(queue, follow, max_handlers=1, backoff=chosen)))
        delays = {int(items[0].name): delay for items, delay in queue.released}
        if chosen is not None:
            assert delays == {1: 10, 5: 50, 99: 990}
        else:
            longest = {attempt: Exponential(base=1, max=300).longest(attempt) for attempt in delays}
            assert all(longest[attempt] / 2 <= delay <= longest[attempt] for attempt, delay in delays.items())
    assert asked == [1, 5, 99]


def test_attempt_that_raises_counts_as_the_first() -> None:
    """An `attempt` that raises is said aloud; the item takes its way as if it had come for the first time."""

    class Broken(ScriptedQueue):
        def attempt(self, item: Item) -> int:
            raise RuntimeError("lost count")

    queue = Broken([[Item("bad", "raise")]])
    events = RecordingObserver()
    asked: list[int] = []

    def backoff(attempt: int) -> float:
        asked.append(attempt)
        return 4

    queue.reconcile(run_to_rest(THREADS.consumer(queue, follow, backoff=backoff, observers=[events])))
    assert (asked, [delay for _, delay in queue.released]) == ([1], [4])
    assert "queue.attempt" in str(events.of(CallbackFailed))


def test_stop_when() -> None:
    """The supervisor stops the consumer when `stop_when` says so."""
    queue = MemoryQueue(range(100))
    report = Consumer(queue, read_all, 1, 1, stop_when=MaxItems(100)).run()
    assert report.balanced
    assert report.stats.cleaned == 100


def test_observers_may_be_one_or_many() -> None:
    """`observers` takes callables, or a single one."""
    for count, observers in ((1, RecordingObserver()), (2, [RecordingObserver(), RecordingObserver()])):
        queue = ScriptedQueue([[Item("1")]])
        queue.reconcile(run_to_rest(THREADS.consumer(queue, read_all, observers=observers)))
        listening = observers if isinstance(observers, list) else [observers]
        assert len(listening) == count
        assert all(len(observer.of(ChunkStarted)) == 1 for observer in listening)


def test_supervision_is_a_value() -> None:
    """A `Supervision` is checked where it is made, field by field, and two consumers may share it."""
    for name, value in (("polling_time", 0), ("stuck_time", -1), ("stuck_limit", -1), ("recycle_after", 0)):
        with pytest.raises(ValueError, match=f"Supervision: {name} must be .*got {value!r}"):
            Supervision(**{name: value})
    shared = Supervision(stuck_limit=0)
    first: Consumer[Any] = Consumer(ScriptedQueue([]), read_all, supervision=shared)
    first.supervise(stuck_limit=5)
    first.shutdown()
    assert shared.stuck_limit == 0


def test_loop_is_where_handlers_run() -> None:
    """With `loop=` coroutine handlers run on that loop."""

    async def program() -> None:
        async with Consumer(queue, handler, 1, loop=asyncio.get_running_loop()) as consumer:
            assert await consumer.await_idle(PATIENCE)
        queue.reconcile(await consumer.ashutdown())
        assert loops == {asyncio.get_running_loop()}

    async def handler(items: Any) -> None:
        loops.add(asyncio.get_running_loop())
        async for _ in items:
            pass

    loops: set[Any] = set()
    queue = ScriptedQueue([[Item("1"), Item("2")]])
    asyncio.run(program())
