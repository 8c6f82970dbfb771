"""A consumer's life: its states, and every way to start, ask, pause, stop and await it, from every place."""

from __future__ import annotations

import _thread
import asyncio
import contextvars
import os
import queue as std
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from queue_consumer import (
    BulkReceived,
    ChunkHandled,
    ChunkStarted,
    Consumer,
    ConsumerStarted,
    ConsumerStopped,
    CrashLoop,
    Event,
    ItemsCleaned,
    Report,
    Result,
    State,
    Supervision,
    UsageError,
)
from queue_consumer._lifecycle import state_of
from support.lifecycle import (
    PATIENCE,
    POOLS,
    ProbeQueue,
    Script,
    consumer_of,
    in_thread,
    reconcile,
    until,
)
from support.lifecycle_handlers import Gate

every_pool = pytest.mark.parametrize("pool", POOLS)
ITEMS = [f"ok-{number}" for number in range(20)]


def handle(items: Iterator[Any]) -> None:
    for _ in items:
        pass


# States


@pytest.mark.parametrize(
    ("started", "asked", "stopped", "state"),
    [
        (False, False, False, State.NEW),
        (True, False, False, State.RUNNING),
        (True, True, False, State.DRAINING),
        (False, True, False, State.STOPPED),
        (False, True, True, State.STOPPED),
        (True, False, True, State.STOPPED),
        (True, True, True, State.STOPPED),
    ],
)
def test_state_table(started: bool, asked: bool, stopped: bool, state: State) -> None:
    """The state follows from three facts that only ever become true."""
    assert state_of(started=started, asked=asked, stopped=stopped) is state


@every_pool
def test_the_states_of_a_life(pool: str, tmp_path: Any) -> None:
    """A consumer is new, running, draining while something is still handled, and stopped."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item])
    consumer, _ = consumer_of(pool, queue)
    seen = [consumer.state]
    consumer.start()
    seen.append(consumer.state)
    gate.wait_for()
    consumer.stop()
    seen.append(consumer.state)
    gate.open()
    report = consumer.shutdown()
    seen.append(consumer.state)
    assert seen == [State.NEW, State.RUNNING, State.DRAINING, State.STOPPED]
    assert report.stats.state is State.STOPPED
    assert reconcile(report, queue).cleaned == 1


@every_pool
def test_start_twice_is_once(pool: str) -> None:
    """`start()` of a running consumer does nothing, and returns the consumer like the first."""
    queue = ProbeQueue(ITEMS)
    consumer, events = consumer_of(pool, queue)
    assert consumer.start() is consumer.start() is consumer
    assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS)
    assert len(events.of(ConsumerStarted)) == 1


def test_start_by_many_threads_is_once() -> None:
    """Of many threads that start a consumer at once, one does, and all return when it runs."""
    queue = ProbeQueue(ITEMS)
    consumer, events = consumer_of("threads", queue)
    for deed in [in_thread(consumer.start) for _ in range(8)]:
        assert deed.result() is consumer
    assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS)
    assert len(events.of(ConsumerStarted)) == 1


def refused_to_start(consumer: Consumer[Any]) -> None:
    with pytest.raises(UsageError, match="make a new Consumer"):
        consumer.start()
    with pytest.raises(UsageError, match="make a new Consumer"):
        consumer.run()
    with pytest.raises(UsageError, match="make a new Consumer"), consumer:
        raise AssertionError("it has been entered")


def test_start_after_stop_is_refused() -> None:
    """A consumer that was stopped, before or after it ran, does not start: the sentence says to make a new one."""
    queue = ProbeQueue(ITEMS)
    never_ran, _ = consumer_of("threads", queue)
    never_ran.stop()
    refused_to_start(never_ran)
    assert queue.calls == []
    consumer, _ = consumer_of("threads", queue)
    consumer.start()
    consumer.wait_idle(PATIENCE)
    reconcile(consumer.shutdown(), queue)
    refused_to_start(consumer)
    reconcile(consumer.shutdown(), queue)


def test_start_while_draining_is_refused(tmp_path: Any) -> None:
    """A consumer that drains does not start again, neither."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item])
    consumer, _ = consumer_of("threads", queue)
    consumer.start()
    gate.wait_for()
    consumer.stop()
    refused = in_thread(lambda: refused_to_start(consumer))
    refused.join(0.05)
    gate.open()
    refused.result()
    assert reconcile(consumer.shutdown(), queue).cleaned == 1


# stop() and shutdown() in every state


def test_stop_and_shutdown_of_a_new_consumer() -> None:
    """A consumer that never ran is stopped at once, with an empty and balanced report; the queue hears nothing."""
    queue = ProbeQueue(ITEMS)
    consumer, events = consumer_of("threads", queue)
    report = consumer.shutdown()
    consumer.stop()
    assert consumer.state is State.STOPPED
    assert (report.balanced, report.provisional, report.stats.received) == (True, False, 0)
    assert consumer.shutdown().balanced
    assert (queue.calls, events.events) == ([], [])


@every_pool
def test_stop_returns_at_once_and_shutdown_waits(pool: str, tmp_path: Any) -> None:
    """`stop()` only asks: the handler still runs when it returns; `shutdown()` returns after its end."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item])
    consumer, events = consumer_of(pool, queue)
    consumer.start()
    gate.wait_for()
    consumer.stop()
    consumer.stop()
    assert events.of(ChunkHandled) == []
    waiting = in_thread(consumer.shutdown)
    assert events.of(ConsumerStopped) == []
    gate.open()
    report = waiting.result()
    assert len(events.of(ChunkHandled)) == 1
    assert not report.provisional
    assert reconcile(report, queue).cleaned == 1


@every_pool
def test_shutdown_again_gives_the_same_report(pool: str) -> None:
    """`shutdown()` and `stop()` of a stopped consumer change nothing."""
    queue = ProbeQueue(ITEMS)
    consumer, events = consumer_of(pool, queue)
    consumer.start()
    consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    consumer.stop()
    assert consumer.shutdown() is report
    assert len(events.of(ConsumerStopped)) == 1
    assert len(queue.called("close")) == 1
    reconcile(report, queue)


@every_pool
def test_shutdown_by_many_threads_at_once(pool: str, tmp_path: Any) -> None:
    """All who shut a consumer down at the same time wait, and get the same report of one shutdown."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item])
    consumer, events = consumer_of(pool, queue)
    consumer.start()
    gate.wait_for()
    deeds = [in_thread(consumer.shutdown) for _ in range(6)]
    until(lambda: consumer.state is State.DRAINING, "it drains")
    gate.open()
    reports = {id(deed.result()) for deed in deeds}
    assert len(reports) == 1
    assert len(events.of(ConsumerStopped)) == 1
    assert reconcile(consumer.shutdown(), queue).cleaned == 1


@pytest.mark.parametrize("_", range(30))
def test_shutdown_while_another_thread_starts(_: int) -> None:
    """Shut down while it starts, a consumer has never run, or is fully stopped when `shutdown()` returns."""
    queue = ProbeQueue(ITEMS)
    consumer, _events = consumer_of("threads", queue)
    both = threading.Barrier(2)

    def start() -> None:
        both.wait(PATIENCE)
        try:
            consumer.start()
        except UsageError:
            pass  # the other was first

    starting = in_thread(start)
    both.wait(PATIENCE)
    report = consumer.shutdown()
    assert consumer.state is State.STOPPED
    starting.result()
    assert consumer.state is State.STOPPED
    reconcile(report, queue)


def test_shutdown_in_the_middle_of_start_waits_for_what_is_started() -> None:
    """Who shuts down while another thread is in `start()` waits for what that starts, and gets the final report."""
    queue = ProbeQueue(ITEMS)
    started, go_on = threading.Event(), threading.Event()

    def observer(event: Event) -> None:
        if isinstance(event, ConsumerStarted):
            started.set()
            go_on.wait(PATIENCE)

    consumer, events = consumer_of("threads", queue, observers=[observer])
    starting = in_thread(consumer.start)
    assert started.wait(PATIENCE)
    stopping = in_thread(consumer.shutdown)
    until(lambda: consumer.state is State.DRAINING, "it is asked")
    assert stopping.is_alive()
    go_on.set()
    report = stopping.result()
    starting.result()
    assert not report.provisional
    assert len(events.of(ConsumerStopped)) == 1
    reconcile(report, queue)


# … from every place


class Place:
    """Calls `shutdown()` the first time that somebody comes by, and keeps what it returned."""

    def __init__(self) -> None:
        self.consumer: Consumer[Any] | None = None
        self.reports: list[Report] = []
        self.called = threading.Event()

    def __call__(self, *_: Any) -> Any:
        if not self.called.is_set() and self.consumer is not None:
            self.called.set()
            self.consumer.stop()
            self.reports.append(self.consumer.shutdown())
        return None

    def on(self, kind: type[Event]) -> Callable[[Event], None]:
        def observer(event: Event) -> None:
            if isinstance(event, kind):
                self()

        return observer


def from_handler(place: Place) -> tuple[ProbeQueue, dict[str, Any]]:
    def handler(items: Iterator[Any]) -> None:
        for _ in items:
            place()

    return ProbeQueue(ITEMS), {"handler": handler}


def from_coroutine(place: Place) -> tuple[ProbeQueue, dict[str, Any]]:
    async def handler(items: Any) -> None:
        async for _ in items:
            place()

    return ProbeQueue(ITEMS), {"handler": handler, "pool": "coroutines"}


def from_get(place: Place) -> tuple[ProbeQueue, dict[str, Any]]:
    return ProbeQueue(ITEMS, on_get=place), {}


def from_cleanup(place: Place) -> tuple[ProbeQueue, dict[str, Any]]:
    return ProbeQueue(ITEMS, on_cleanup=place), {}


def from_release(place: Place) -> tuple[ProbeQueue, dict[str, Any]]:
    return ProbeQueue(["raise"], on_release=place), {}


def from_interrupt(place: Place) -> tuple[ProbeQueue, dict[str, Any]]:
    def observer(event: Event) -> None:  # somebody must ask first
        if isinstance(event, ItemsCleaned) and place.consumer is not None:
            place.consumer.stop()

    return ProbeQueue(ITEMS, on_interrupt=place), {"observers": [observer]}


def from_close(place: Place) -> tuple[ProbeQueue, dict[str, Any]]:
    queue, options = from_interrupt(place)
    queue._on_interrupt, queue._on_close = None, place
    return queue, options


def from_dead_letter(place: Place) -> tuple[ProbeQueue, dict[str, Any]]:
    return ProbeQueue(["raise"]), {"max_attempts": 1, "dead_letter": place}


def from_backoff(place: Place) -> tuple[ProbeQueue, dict[str, Any]]:
    def backoff(attempt: int) -> float:
        place()
        return 0

    return ProbeQueue(["raise"]), {"backoff": backoff}


def from_stop_when(place: Place) -> tuple[ProbeQueue, dict[str, Any]]:
    return ProbeQueue(ITEMS), {"stop_when": place}


def from_initializer(place: Place) -> tuple[ProbeQueue, dict[str, Any]]:
    return ProbeQueue(ITEMS), {"pool_initializer": lambda: place()}


def from_observer(kind: type[Event]) -> Callable[[Place], tuple[ProbeQueue, dict[str, Any]]]:
    def of(place: Place) -> tuple[ProbeQueue, dict[str, Any]]:
        return ProbeQueue(ITEMS), {"observers": [place.on(kind)]}

    return of


OWN_PLACES = {
    "handler": from_handler,
    "coroutine": from_coroutine,
    "get": from_get,
    "cleanup": from_cleanup,
    "release": from_release,
    "interrupt": from_interrupt,
    "close": from_close,
    "dead_letter": from_dead_letter,
    "backoff": from_backoff,
    "stop_when": from_stop_when,
    "pool_initializer": from_initializer,
    **{
        f"observer of {kind.__name__}": from_observer(kind)
        for kind in (ConsumerStarted, BulkReceived, ChunkStarted, ChunkHandled, ItemsCleaned)
    },
}


@pytest.mark.parametrize("where", OWN_PLACES)
def test_shutdown_on_a_thread_of_the_line_does_not_wait(where: str) -> None:
    """From within the line `shutdown()` returns a provisional report at once, and the consumer stops cleanly."""
    place = Place()
    queue, options = OWN_PLACES[where](place)
    place.consumer, _ = consumer_of(options.pop("pool", "threads"), queue, **options)
    place.consumer.start()
    assert place.called.wait(PATIENCE)
    report = in_thread(place.consumer.shutdown).result()
    assert [(early.provisional, early.stats.state) for early in place.reports] in (
        [(True, State.DRAINING)],
        [(True, State.RUNNING)],  # asked by the observer of ConsumerStarted, in the middle of start()
    )
    assert not report.provisional
    reconcile(report, queue)


def test_shutdown_on_the_users_own_loop_does_not_wait() -> None:
    """A coroutine on the loop that the line was given may shut it down: it is not waited for on that loop."""
    queue = ProbeQueue(ITEMS)

    async def main() -> tuple[Report, Report]:
        early: list[Report] = []

        async def handler(items: Any) -> None:
            async for _ in items:
                if not early:
                    early.append(consumer.shutdown())

        consumer = Consumer[Any](queue, handler, max_workers=1, loop=asyncio.get_running_loop())
        async with consumer:
            while not early:
                await asyncio.sleep(0)
        return early[0], await consumer.ashutdown()

    early, report = asyncio.run(main())
    assert early.provisional
    assert not report.provisional
    reconcile(report, queue)


def raise_in_main(number: int = signal.SIGUSR1) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture
def on_signal() -> Iterator[Callable[[Callable[[], Any]], None]]:
    """Sets what SIGUSR1 does, until the test ends."""
    before = signal.getsignal(signal.SIGUSR1)

    def set_to(call: Callable[[], Any]) -> None:
        signal.signal(signal.SIGUSR1, lambda number, frame: call())

    yield set_to
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("pool", POOLS)
def test_shutdown_in_a_signal_handler(pool: str, on_signal: Any) -> None:
    """A signal handler may shut the consumer down, and waits for it like anybody else."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of(pool, queue)
    reports: list[Report] = []
    on_signal(lambda: reports.append(consumer.shutdown()))
    consumer.start()
    assert consumer.wait_idle(PATIENCE)
    raise_in_main()
    until(lambda: reports, "the handler has run")
    assert not reports[0].provisional
    assert reconcile(reports[0], queue).cleaned == len(ITEMS)


def trip_main() -> None:
    """As a signal does that comes a moment before the main thread begins to wait: its wait goes on."""
    _thread.interrupt_main(signal.SIGUSR1)


@pytest.mark.parametrize("send", [raise_in_main, trip_main])
@pytest.mark.parametrize("blocking", ["supervise", "run", "shutdown", "wait_idle"])
def test_shutdown_in_a_signal_handler_that_interrupts_a_wait(
    blocking: str, send: Callable[[], None], on_signal: Any, tmp_path: Any
) -> None:
    """A signal handler that interrupts a waiting method of the same consumer may stop and shut down: no deadlock."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item])
    consumer, _ = consumer_of("threads", queue)
    reports: list[Report] = []

    def on_usr1() -> None:
        consumer.stop()
        gate.open()
        reports.append(consumer.shutdown())

    def raise_it() -> None:
        gate.wait_for()
        until(lambda: consumer._starter is None, "start() is over, which has a test of its own")
        if blocking == "shutdown":
            until(lambda: consumer.state is State.DRAINING, "it is being shut down")
        send()

    on_signal(on_usr1)
    in_thread(raise_it)
    if blocking != "run":
        consumer.start()
    match blocking:
        case "supervise":
            assert consumer.supervise(blocking=True) is None
        case "run":
            consumer.run()
        case "shutdown":
            gate.wait_for()
            consumer.shutdown()
        case _:
            consumer.wait_idle(PATIENCE)
    until(lambda: reports, "the handler has run")
    assert reconcile(reports[0], queue).cleaned == 1


def test_shutdown_in_a_signal_handler_in_the_middle_of_start(on_signal: Any) -> None:
    """A signal in the middle of `start()` gets a provisional report, and what is started stops."""
    queue = ProbeQueue(ITEMS)
    reports: list[Report] = []

    def observer(event: Event) -> None:
        if isinstance(event, ConsumerStarted):
            raise_in_main()
            until(lambda: reports, "the handler has run")

    consumer, _ = consumer_of("threads", queue, observers=[observer])

    def on_usr1() -> None:
        consumer.start()
        reports.append(consumer.shutdown())

    on_signal(on_usr1)
    consumer.start()
    assert [report.provisional for report in reports] == [True]
    reconcile(consumer.shutdown(), queue)


# A context manager


@every_pool
def test_with_starts_and_shuts_down(pool: str) -> None:
    """`with` starts the consumer and leaves it stopped."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of(pool, queue)
    with consumer as entered:
        assert entered is consumer
        states = [consumer.state]
        assert consumer.wait_idle(PATIENCE)
    states.append(consumer.state)
    assert states == [State.RUNNING, State.STOPPED]
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS)


class Broken(Exception):
    """What the body of a with statement raises."""


class Down(ProbeQueue):
    """A queue whose every `get` fails."""

    def __init__(self, *args: Any, **options: Any) -> None:
        def fail(number: int) -> None:
            raise ConnectionError("down")

        super().__init__(*args, on_get=fail, **options)


CRASHES = Supervision(max_restarts=0)


def test_exit_never_replaces_an_exception_in_flight() -> None:
    """What the body raised is what the with statement raises, even if the supervisor has given up; the very object."""
    queue = Down(ITEMS)
    consumer, events = consumer_of("threads", queue, supervision=CRASHES)
    error = Broken()

    def body() -> None:
        with consumer:
            events.wait_for(ConsumerStopped)
            raise error

    with pytest.raises(Broken) as caught:
        body()
    assert caught.value is error
    with pytest.raises(CrashLoop) as crash:
        consumer.shutdown()
    reconcile(crash.value.report, queue)


def test_exit_raises_what_the_supervisor_gave_up_on() -> None:
    """Where the body raised nothing, leaving it raises what stopped the consumer, with its report."""
    queue = Down(ITEMS)
    consumer, events = consumer_of("threads", queue, supervision=CRASHES)
    with pytest.raises(CrashLoop) as crash:
        with consumer:
            events.wait_for(ConsumerStopped)
    assert consumer.state is State.STOPPED
    reconcile(crash.value.report, queue)


# run() and supervise()


@every_pool
def test_run_is_a_whole_life(pool: str) -> None:
    """`run()` starts, blocks until somebody stops it, drains, and returns the report."""
    queue = ProbeQueue(ITEMS)
    consumer, events = consumer_of(pool, queue)
    running = in_thread(consumer.run)
    events.wait_for(ConsumerStarted)
    assert consumer.wait_idle(PATIENCE)
    assert running.is_alive()
    consumer.stop()
    report = running.result()
    assert isinstance(report, Report)
    assert reconcile(report, queue).cleaned == len(ITEMS)


def test_run_of_a_running_consumer_blocks_until_its_end() -> None:
    """`run()` may come after `start()`."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of("threads", queue, stop_when=lambda stats: stats.cleaned == len(ITEMS))
    consumer.start()
    assert reconcile(consumer.run(), queue).cleaned == len(ITEMS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("blocking", ["run", "supervise"])
def test_blocking_in_the_main_thread_takes_signals(blocking: str, number: signal.Signals, capsys: Any) -> None:
    """Blocking in the main thread takes SIGINT and SIGTERM, drains for them, and puts the old handlers back."""

    def mine(number: int, frame: Any) -> None:
        raise AssertionError("the consumer should have taken it")

    queue = ProbeQueue(ITEMS)
    consumer, events = consumer_of("threads", queue)

    def raise_it() -> None:
        until(lambda: signal.getsignal(number) is not mine, "it is taken")
        raise_in_main(number)

    before = signal.signal(number, mine)
    try:
        consumer.start()
        taking = in_thread(raise_it)
        if blocking == "run":
            consumer.run()
        else:
            consumer.supervise(blocking=True)
        taking.result()
        assert signal.getsignal(number) is mine
    finally:
        signal.signal(number, before)
    assert len(events.of(ConsumerStopped)) == 1
    assert "press again to stop now" in capsys.readouterr().err
    reconcile(consumer.shutdown(), queue)


def test_blocking_in_another_thread_leaves_signals_alone() -> None:
    """Only the main thread can take signals: elsewhere blocking changes no handler."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    queue = ProbeQueue(ITEMS)
    consumer, events = consumer_of("threads", queue)
    running = in_thread(consumer.run)
    events.wait_for(ConsumerStarted)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    consumer.stop()
    reconcile(running.result(), queue)


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("started", [False, True])
def test_supervise_starts_if_need_be(started: bool, blocking: bool) -> None:
    """`supervise()` starts a new consumer, and minds a running one; it returns a thread, or None."""
    queue = ProbeQueue(ITEMS)
    consumer, events = consumer_of("threads", queue)
    if started:
        consumer.start()
    if blocking:
        supervising = in_thread(lambda: consumer.supervise(blocking=True))
        events.wait_for(ConsumerStarted)
        assert consumer.wait_idle(PATIENCE)
        consumer.stop()
        assert supervising.result() is None
    else:
        thread = consumer.supervise()
        assert isinstance(thread, threading.Thread)
        assert thread.is_alive()
        assert thread.daemon
        assert consumer.supervise() is thread
        assert consumer.wait_idle(PATIENCE)
    assert len(events.of(ConsumerStarted)) == 1
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS)


def test_supervise_of_a_stopped_consumer_returns_at_once() -> None:
    """There is nothing to mind any more, and that is no error; what never ran has no thread."""
    queue = ProbeQueue(ITEMS)
    never_ran, _ = consumer_of("threads", queue)
    never_ran.stop()
    assert never_ran.supervise() is None
    assert never_ran.supervise(blocking=True) is None
    consumer, _ = consumer_of("threads", queue)
    consumer.start()
    report = consumer.shutdown()
    assert consumer.supervise(blocking=True) is None
    thread = consumer.supervise()
    assert thread is not None
    assert not thread.is_alive()
    reconcile(report, queue)


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize(
    ("passed", "changed"),
    [
        ({}, {}),
        ({"polling_time": 1}, {"polling_time": 1}),
        ({"polling_time": 3.5}, {"polling_time": 3.5}),
        ({"stuck_time": 60}, {"stuck_time": 60}),
        ({"stuck_limit": 0}, {"stuck_limit": 0}),
        ({"polling_time": 2, "stuck_time": 9, "stuck_limit": 7},) * 2,
    ],
)
def test_supervise_changes_only_what_is_passed(passed: dict[str, Any], changed: dict[str, Any], running: bool) -> None:
    """Defaults of `supervise` change nothing; a default's value, passed, is a setting like any other."""
    before = Supervision(polling_time=0.5, stuck_time=30, stuck_limit=2, stall_time=11)
    queue = ProbeQueue()
    consumer, _ = consumer_of("threads", queue, supervision=before)
    if running:
        consumer.start()
    consumer.supervise(**passed)
    assert consumer._supervisor is not None
    assert consumer._supervisor.watch.policy == before.but(**changed)
    reconcile(consumer.shutdown(), queue)


def test_supervise_by_position_as_ever() -> None:
    """`supervise(blocking, polling_time, stuck_time, stuck_limit)` is an order that never changes."""
    queue = ProbeQueue()
    consumer, _ = consumer_of("threads", queue)
    consumer.supervise(False, 2, 30, 1)
    assert consumer._supervisor is not None
    policy = consumer._supervisor.watch.policy
    assert (policy.polling_time, policy.stuck_time, policy.stuck_limit) == (2, 30, 1)
    reconcile(consumer.shutdown(), queue)


@pytest.mark.parametrize(
    ("passed", "error"),
    [
        ({"blocking": 1}, TypeError),
        ({"polling_time": 0}, ValueError),
        ({"polling_time": "1"}, TypeError),
        ({"stuck_time": -1}, ValueError),
        ({"stuck_time": None}, TypeError),
        ({"stuck_limit": -1}, ValueError),
        ({"stuck_limit": 1.5}, TypeError),
    ],
)
def test_supervise_refuses_wrong_settings(passed: dict[str, Any], error: type[Exception]) -> None:
    """A wrong argument of `supervise` is refused in a sentence, and starts nothing."""
    consumer, _ = consumer_of("threads", ProbeQueue())
    with pytest.raises(error, match=f"^{next(iter(passed))} must be .*got "):
        consumer.supervise(**passed)
    assert consumer.state is State.NEW


@pytest.mark.parametrize("timeout", [-1, "25", None, True])
def test_shutdown_refuses_a_wrong_timeout(timeout: Any) -> None:
    """A wrong `timeout` is refused in a sentence, and stops nothing."""
    consumer, _ = consumer_of("threads", ProbeQueue())
    with pytest.raises((TypeError, ValueError), match=r"^timeout must be .*got "):
        consumer.shutdown(timeout)
    assert consumer.state is State.NEW


# wait_idle()


@every_pool
def test_wait_idle_waits_for_the_last_cleanup(pool: str) -> None:
    """`wait_idle()` is True once a `get` came back empty and nothing is in flight: everything is cleaned up."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of(pool, queue, max_handlers=2)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
        stats = consumer.stats()
        assert (stats.cleaned, stats.in_flight) == (len(ITEMS), 0)
        assert queue.stats()["cleaned"] == len(ITEMS)
        queue.fill(ITEMS)
        assert consumer.wait_idle(PATIENCE)
        assert queue.stats()["cleaned"] == 2 * len(ITEMS)
    reconcile(consumer.shutdown(), queue)


def test_wait_idle_is_false_when_time_is_up(tmp_path: Any) -> None:
    """While something is handled the consumer is not idle, and `wait_idle` says so when its time is up."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item])
    consumer, _ = consumer_of("threads", queue)
    with consumer:
        gate.wait_for()
        assert not consumer.wait_idle(0)
        assert not consumer.wait_idle(0.02)
        gate.open()
        assert consumer.wait_idle(PATIENCE)
    reconcile(consumer.shutdown(), queue)


def test_wait_idle_waits_for_a_get_of_its_own_time() -> None:
    """An answer from before the call proves nothing: what was put in since is waited for."""
    script = Script()
    consumer = Consumer[Any](script, handle, max_workers=1, max_handlers=1)
    consumer.start()
    script.answer([])
    script.wait_for(lambda: script.gets >= 2)
    assert not consumer.wait_idle(0.02)
    waiting = in_thread(lambda: consumer.wait_idle(PATIENCE))
    until(lambda: consumer._line.watching, "it waits")
    script.answer(["late"])
    script.answer([])
    assert waiting.result() is True
    assert consumer.stats().cleaned == 1
    assert consumer.shutdown().balanced


def test_wait_idle_of_what_does_not_run_is_false() -> None:
    """A consumer that is new or stopped will not become idle: False at once, without a timeout too."""
    queue = ProbeQueue()
    consumer, _ = consumer_of("threads", queue)
    assert not consumer.wait_idle()
    consumer.start()
    consumer.shutdown()
    assert not consumer.wait_idle()


def test_wait_idle_ends_when_the_consumer_stops(tmp_path: Any) -> None:
    """Who waits for idleness is let go when the consumer stops instead."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item])
    consumer, _ = consumer_of("threads", queue)
    consumer.start()
    gate.wait_for()
    waiting = [in_thread(consumer.wait_idle) for _ in range(3)]
    report = consumer.shutdown(timeout=0)
    for deed in waiting:
        deed.result()
    assert reconcile(report, queue).abandoned == 1
    gate.open()


# pause() and resume()


@every_pool
def test_pause_stops_fetching_and_nothing_else(pool: str, tmp_path: Any) -> None:
    """Paused, no new `get` begins and what was got is handled; resumed, it goes on."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item], wait=0.01)
    consumer, _ = consumer_of(pool, queue, max_workers=2)
    with consumer:
        gate.wait_for()
        consumer.pause()
        until(lambda: consumer.stats().fetching == "paused", "it is paused")
        gets = len(queue.called("get"))
        queue.fill(ITEMS)
        gate.open()
        until(lambda: consumer.stats().cleaned == 1, "what was got is cleaned up")
        assert not consumer.wait_idle(0.05)
        assert len(queue.called("get")) == gets
        assert queue.stats()["waiting"] == len(ITEMS)
        consumer.resume()
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS) + 1


def test_pause_before_start_and_shutdown_while_paused() -> None:
    """A consumer paused before it starts fetches nothing, and stops like any other."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of("threads", queue, max_workers=3)
    consumer.pause()
    consumer.pause()
    consumer.start()
    until(lambda: consumer.stats().fetching == "paused", "it is paused")
    report = consumer.shutdown()
    assert queue.called("get") == []
    reconcile(report, queue)


def test_resume_without_pause_does_nothing() -> None:
    """`resume()` is harmless in every state."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of("threads", queue)
    consumer.resume()
    consumer.start()
    consumer.resume()
    assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    consumer.resume()
    assert reconcile(report, queue).cleaned == len(ITEMS)


# run_once()


@pytest.mark.parametrize("pool", POOLS)
def test_run_once_in_the_calling_thread(pool: str) -> None:
    """One `get`, handled and cleaned up when it returns, whatever the pool; nothing is started."""
    queue = ProbeQueue([*ITEMS, "later"], bulk=len(ITEMS))
    consumer, _ = consumer_of(pool, queue, max_handlers=8, messages_bulk_size=4)
    assert consumer.run_once() == Result(succeeded=len(ITEMS), failed=0)
    assert consumer.run_once() == Result(succeeded=1, failed=0)
    assert consumer.run_once() == Result(succeeded=0, failed=0)
    assert consumer.state is State.NEW
    assert len(queue.called("get")) == 3
    reconcile(consumer.shutdown(), queue)


def test_run_once_calls_the_handler_on_this_thread() -> None:
    """The handler of `run_once()` runs in the caller's thread and in a copy of its context."""
    threads: list[Any] = []
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    variable.set("mine")

    def handler(items: Iterator[Any]) -> None:
        for _ in items:
            threads.append((threading.current_thread(), variable.get()))
            variable.set("the handler's")

    queue = ProbeQueue(["one"])
    consumer, _ = consumer_of("threads", queue, handler=handler)
    consumer.run_once()
    assert threads == [(threading.current_thread(), "mine")]
    assert variable.get() == "mine"
    reconcile(consumer.stats(), queue)


@pytest.mark.parametrize("pool", POOLS)
def test_run_once_settles_every_item(pool: str) -> None:
    """Every item of the bulk has its fate when it returns: failures are released, drops counted as succeeded."""
    queue = ProbeQueue(["ok", "raise", "drop", "retry:5", "odd", "ok"])
    consumer, _ = consumer_of(pool, queue, max_handlers=8)
    assert consumer.run_once() == Result(succeeded=3, failed=3)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.dropped, stats.released) == (2, 1, 3)


def test_run_once_hands_on_what_was_behind_a_failure() -> None:
    """Items behind a failed one are handled by the next call of the handler, in the same `run_once()`."""
    queue = ProbeQueue(["ok", "raise", "ok", "ok"])
    consumer, _ = consumer_of("threads", queue, messages_bulk_size=4)
    assert consumer.run_once() == Result(succeeded=3, failed=1)
    reconcile(consumer.stats(), queue)


def test_run_once_tries_cleanup_again() -> None:
    """A cleanup that fails once is tried again before `run_once()` returns."""
    queue = ProbeQueue(ITEMS[:3], on_cleanup=fails(1))
    consumer, _ = consumer_of("threads", queue, max_handlers=8)
    assert consumer.run_once() == Result(succeeded=3, failed=0)
    reconcile(consumer.stats(), queue)


def fails(times: int) -> Callable[[Any], None]:
    """Raises so many times, and then no more."""
    left = [OSError("not now")] * times

    def fail(*_: Any) -> None:
        if left:
            raise left.pop()

    return fail


def test_run_once_raises_what_get_raised() -> None:
    """A broken `get` is the caller's to know: it is raised, after what it had given is handled."""

    class Half:
        def get(self) -> Iterator[str]:
            yield "one"
            raise ConnectionError("down")

    consumer = Consumer[Any](Half(), handle)
    with pytest.raises(ConnectionError, match="down"):
        consumer.run_once()
    assert consumer.stats().cleaned == 1
    assert consumer.stats().balanced


def test_run_once_of_an_empty_queue() -> None:
    """`queue.Empty` and None are no error: nothing succeeded and nothing failed."""

    class Nothing:
        answers: Iterator[Any] = iter((None, list[str](), ()))

        def get(self) -> Any:
            for answer in self.answers:
                return answer
            raise std.Empty

    consumer = Consumer[Any](Nothing(), handle)
    assert [consumer.run_once() for _ in range(4)] == [Result()] * 4


def test_run_once_is_interrupted_by_the_keyboard() -> None:
    """Ctrl-C in a handler is raised; its item has failed and the others went home, so that nothing is lost."""
    queue = ProbeQueue(["ok", "break", "ok", "ok"])
    consumer, _ = consumer_of("threads", queue, max_handlers=8)
    with pytest.raises(KeyboardInterrupt):
        consumer.run_once()
    stats = reconcile(consumer.stats(), queue)
    assert (stats.cleaned, stats.released) == (1, 3)


@every_pool
def test_run_once_after_the_consumer_has_stopped(pool: str) -> None:
    """`run_once()` works in STOPPED as in NEW: what it gets is handled."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of(pool, queue, max_handlers=2)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    queue.fill(["ok", "raise"])
    assert consumer.run_once() == Result(succeeded=1, failed=1)
    assert consumer.state is State.STOPPED
    assert reconcile(consumer.stats(), queue).cleaned == len(ITEMS) + 1
    never_ran, _ = consumer_of(pool, queue2 := ProbeQueue(["ok"]))
    never_ran.stop()
    assert never_ran.run_once() == Result(succeeded=1, failed=0)
    reconcile(never_ran.stats(), queue2)


def test_run_once_of_a_running_consumer_is_refused(tmp_path: Any) -> None:
    """While the consumer runs or drains, `run_once()` is a UsageError that says so."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item])
    consumer, _ = consumer_of("threads", queue)
    consumer.start()
    with pytest.raises(UsageError, match="running"):
        consumer.run_once()
    gate.wait_for()
    consumer.stop()
    with pytest.raises(UsageError, match="draining"):
        consumer.run_once()
    gate.open()
    reconcile(consumer.shutdown(), queue)


def test_stats_in_the_middle_of_run_once_balance() -> None:
    """What `run_once()` has in its hands is in flight."""
    seen: list[Any] = []

    def handler(items: Iterator[Any]) -> None:
        for _ in items:
            seen.append(consumer.stats())

    queue = ProbeQueue(ITEMS[:3])
    consumer, _ = consumer_of("threads", queue, handler=handler, max_handlers=3)
    consumer.run_once()
    assert [(stats.in_flight, stats.balanced) for stats in seen] == [(3, True)] * 3
    reconcile(consumer.stats(), queue)


# In asyncio programs


def test_async_with() -> None:
    """`async with` starts and stops the consumer while the program's loop stays free."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of("threads", queue)

    async def main() -> Report:
        async with consumer as entered:
            assert entered is consumer
            assert await consumer.await_idle(PATIENCE)
        assert consumer.state is State.STOPPED
        return await consumer.ashutdown()

    assert reconcile(asyncio.run(main()), queue).cleaned == len(ITEMS)


def test_async_with_on_the_programs_own_loop() -> None:
    """Coroutines run on the program's loop, if it is passed; starting and stopping do not block it."""
    queue = ProbeQueue(ITEMS)

    async def main() -> set[Any]:
        loops: set[Any] = set()

        async def handler(items: Any) -> None:
            async for _ in items:
                loops.add(asyncio.get_running_loop())
                await asyncio.sleep(0)

        consumer = Consumer[Any](queue, handler, max_workers=1, loop=asyncio.get_running_loop())
        async with consumer:
            assert await consumer.await_idle(PATIENCE)
        reconcile(await consumer.ashutdown(), queue)
        assert loops == {asyncio.get_running_loop()}
        return loops

    asyncio.run(main())


def test_async_with_never_replaces_an_exception_in_flight() -> None:
    """As with `with`: what the body raised is what is raised."""
    queue = Down(ITEMS)
    consumer, events = consumer_of("threads", queue, supervision=CRASHES)

    async def main() -> None:
        async with consumer:
            await asyncio.to_thread(events.wait_for, ConsumerStopped)
            raise Broken

    with pytest.raises(Broken):
        asyncio.run(main())


def test_async_with_raises_what_the_supervisor_gave_up_on() -> None:
    """As with `with`: where the body raised nothing, that is raised."""
    queue = Down(ITEMS)
    consumer, events = consumer_of("threads", queue, supervision=CRASHES)

    async def main() -> None:
        async with consumer:
            await asyncio.to_thread(events.wait_for, ConsumerStopped)

    with pytest.raises(CrashLoop) as crash:
        asyncio.run(main())
    reconcile(crash.value.report, queue)


def test_arun_until_its_event_is_set() -> None:
    """`arun(stop)` is `run()` for asyncio programs: it returns the report after `stop` was set."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of("threads", queue)

    async def main() -> Report:
        stop = asyncio.Event()
        running = asyncio.create_task(consumer.arun(stop))
        while consumer.state is State.NEW:
            await asyncio.sleep(0)
        assert await consumer.await_idle(PATIENCE)
        assert not running.done()
        stop.set()
        return await running

    assert reconcile(asyncio.run(main()), queue).cleaned == len(ITEMS)


def test_arun_until_it_stops_by_itself() -> None:
    """Without an event `arun()` lasts until the consumer is stopped otherwise."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of("threads", queue, stop_when=lambda stats: stats.cleaned == len(ITEMS))
    assert reconcile(asyncio.run(consumer.arun()), queue).cleaned == len(ITEMS)


def test_arun_raises_what_the_supervisor_gave_up_on() -> None:
    """What stopped the consumer is raised by `arun()`, with its report."""
    queue = Down(ITEMS)
    consumer, _ = consumer_of("threads", queue, supervision=CRASHES)
    with pytest.raises(CrashLoop) as crash:
        asyncio.run(consumer.arun())
    reconcile(crash.value.report, queue)


def test_arun_cancelled_asks_to_stop() -> None:
    """Cancelling `arun()` asks the consumer to stop; the program's loop may end before it has."""
    queue = ProbeQueue(ITEMS)
    consumer, _ = consumer_of("threads", queue)

    async def main() -> None:
        running = asyncio.create_task(consumer.arun())
        while consumer.state is State.NEW:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert consumer.state in (State.DRAINING, State.STOPPED)
    reconcile(consumer.shutdown(), queue)


# Two consumers


@every_pool
def test_two_consumers_share_nothing(pool: str, tmp_path: Any) -> None:
    """Stopping one, or its being stuck, leaves another as it was; each has its own books."""
    gate = Gate(tmp_path)
    first_queue, second_queue = ProbeQueue([gate.item]), ProbeQueue(ITEMS)
    first, first_events = consumer_of(pool, first_queue)
    second, second_events = consumer_of(pool, second_queue)
    first.start()
    second.start()
    gate.wait_for()
    assert second.wait_idle(PATIENCE)
    first.pause()
    assert second.stats().fetching == "yes"
    assert reconcile(second.shutdown(), second_queue).cleaned == len(ITEMS)
    assert first.state is State.RUNNING
    gate.open()
    first.resume()
    assert first.wait_idle(PATIENCE)
    assert reconcile(first.shutdown(), first_queue).cleaned == 1
    assert len(first_events.of(ChunkHandled)) == 1
    assert len(second_events.of(ChunkHandled)) == len(ITEMS)


def test_one_consumer_may_stop_another() -> None:
    """The threads of one consumer are not those of another: there `shutdown()` waits and its report is final."""
    reports: list[Report] = []
    other_queue = ProbeQueue(ITEMS)
    other, _ = consumer_of("threads", other_queue)

    def handler(items: Iterator[Any]) -> None:
        for _ in items:
            reports.append(other.shutdown())

    queue = ProbeQueue(["one"])
    consumer, _ = consumer_of("threads", queue, handler=handler)
    other.start()
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    assert [report.provisional for report in reports] == [False]
    reconcile(reports[0], other_queue)
    reconcile(consumer.shutdown(), queue)


def test_two_consumers_of_one_queue_share_the_items() -> None:
    """Two consumers on one queue handle each item once between them, and both books are right."""
    items = [f"ok-{number}" for number in range(500)]
    queue = ProbeQueue(items)
    pair = [consumer_of("threads", queue, max_workers=2, max_handlers=2)[0].start() for _ in range(2)]
    assert all(consumer.wait_idle(PATIENCE) for consumer in pair)
    reports = [consumer.shutdown() for consumer in pair]
    assert all(report.balanced for report in reports)
    assert sum(report.stats.cleaned for report in reports) + sum(r.stats.released for r in reports) >= len(items)
    assert queue.stats()["cleaned"] == len(items)
