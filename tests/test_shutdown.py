"""The drain: what goes back, what is finished, what is ended by force, what is abandoned, and in which order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from queue_consumer import (
    BulkReceived,
    CallbackFailed,
    ChunkHandled,
    ChunkStarted,
    CleanupFailed,
    Constant,
    Consumer,
    ConsumerStopped,
    Report,
    State,
    Supervision,
    WorkerDied,
    WorkerRevived,
)
from queue_consumer import _drain as drain_module
from queue_consumer._pools.processes import ProcessHandler
from queue_consumer.testing import RecordingObserver
from support.deaths import family
from support.lifecycle import PATIENCE, POOLS, ProbeQueue, consumer_of, count_walks, in_thread, reconcile, until
from support.lifecycle_handlers import Gate

every_pool = pytest.mark.parametrize("pool", POOLS)
ENDED_BY_FORCE = ("coroutines", "processes")
SOON = 0.05  # seconds of patience for what will not end, where a test wants the deadline to come


def held(tmp_path: Any, pool: str, **options: Any) -> tuple[Gate, ProbeQueue, Consumer[Any], RecordingObserver]:
    """A running consumer whose only handler holds the first of four items, in a chunk of its own unless told."""
    gate = Gate(tmp_path)
    queue_options = options.pop("queue", {})
    queue = ProbeQueue([gate.item, "ok-1", "ok-2", "ok-3"], bulk=4, **queue_options)
    options.setdefault("prefetch", 10)
    consumer, events = consumer_of(pool, queue, **options)
    consumer.start()
    gate.wait_for()
    events.wait_for(BulkReceived)
    return gate, queue, consumer, events


# The belt


@every_pool
def test_what_nobody_has_begun_goes_back_at_once(pool: str, tmp_path: Any) -> None:
    """While a handler still runs, what waits on the belt is released, with no delay and not as failed."""
    gate, queue, consumer, events = held(tmp_path, pool)
    consumer.stop()
    until(lambda: consumer.stats().released == 3, "the belt is released")
    assert len(events.of(ChunkHandled)) == 0
    assert {call[1] for call in queue.called("release")} == {0}
    gate.open()
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.released, stats.failed) == (1, 3, 0)
    assert queue.stats()["waiting"] == 3


@every_pool
def test_what_the_queue_cannot_take_back_is_finished(pool: str, tmp_path: Any) -> None:
    """Where there is no `release`, what waits on the belt is handled before the consumer stops."""
    gate, queue, consumer, _ = held(tmp_path, pool, queue={"without": ["release"]})
    consumer.stop()
    gate.open()
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.left) == (4, 0)


@every_pool
def test_handlers_end_at_the_next_item_boundary(pool: str, tmp_path: Any) -> None:
    """A handler in the middle of a chunk gets no further item; the one it held is consumed, the rest released."""
    gate, queue, consumer, events = held(tmp_path, pool, messages_bulk_size=4)
    consumer.stop()
    until(lambda: has_heard(consumer), "the handler was told to halt, and heard it")
    gate.open()
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.released, stats.failed) == (1, 3, 0)
    (handled,) = events.of(ChunkHandled)
    assert (handled.consumed, handled.handed_on) == ((gate.item,), ("ok-1", "ok-2", "ok-3"))


def has_heard(consumer: Consumer[Any]) -> bool:
    """Whether every handler knows that it is to halt. A child obeys in the order in which it is told."""
    supervisor = consumer._supervisor
    assert supervisor is not None
    for handler in supervisor.pool.everybody():
        if isinstance(handler, ProcessHandler):
            child = handler._child
            if child is None or not child.halted or "File" not in handler.stack():
                return False
        elif not all(chunk.halted for chunk in handler.held):
            return False
    return consumer.state is State.DRAINING


def halted(consumer: Consumer[Any]) -> bool:
    """Whether the supervisor is past telling the handlers to halt: it goes round and looks."""
    supervisor = consumer._supervisor
    assert supervisor is not None
    return all(getter.ended for getter in supervisor.getters)


@every_pool
def test_handlers_finish_their_chunk_where_the_rest_cannot_go_back(pool: str, tmp_path: Any) -> None:
    """Without `release` a handler in the middle of a chunk is given all of it."""
    gate, queue, consumer, events = held(tmp_path, pool, messages_bulk_size=4, queue={"without": ["release"]})
    consumer.stop()
    until(lambda: queue.called("interrupt"), "the drain has begun")
    gate.open()
    assert reconcile(consumer.shutdown(), queue).cleaned == 4
    assert [handled.handed_on for handled in events.of(ChunkHandled)] == [()]


def test_a_failure_while_draining_goes_back_with_its_delay(tmp_path: Any) -> None:
    """What fails while the line drains is released with the back-off's delay, like any failure."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item])

    def handler(items: Iterator[str]) -> None:
        from support.lifecycle_handlers import act

        act(iter([next(items)]))
        raise ValueError

    consumer, _ = consumer_of("threads", queue, handler=handler, backoff=Constant(17))
    consumer.start()
    gate.wait_for()
    consumer.stop()
    gate.open()
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.released, stats.failed) == (1, 1)
    assert queue.called("release") == [([gate.item], 17)]


# Late answers


def late(queue_options: dict[str, Any]) -> tuple[ProbeQueue, threading.Event]:
    """A queue whose first `get` returns only when it is interrupted, and then gives what there is."""
    inside, interrupted = threading.Event(), threading.Event()

    def on_get(number: int) -> None:
        inside.set()
        assert interrupted.wait(PATIENCE)

    queue = ProbeQueue(["ok-1", "ok-2"], on_get=on_get, on_interrupt=interrupted.set, **queue_options)
    return queue, inside


@every_pool
def test_late_answers_are_released(pool: str) -> None:
    """What a `get` brings that was running when the stop came is released at once, not lost and not handled."""
    queue, inside = late({})
    consumer, events = consumer_of(pool, queue)
    consumer.start()
    assert inside.wait(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.received, stats.released) == (2, 2)
    assert events.of(ChunkStarted) == []
    assert {call[1] for call in queue.called("release")} == {0}


@every_pool
def test_late_answers_are_finished_where_they_cannot_go_back(pool: str) -> None:
    """Without `release` what such a `get` brings is handled."""
    queue, inside = late({"without": ["release"]})
    consumer, _ = consumer_of(pool, queue)
    consumer.start()
    assert inside.wait(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).cleaned == 2


# Interrupting


def test_interrupt_is_repeated_until_every_getter_has_heard_it() -> None:
    """A getter may be on its way into `get` when the first interrupt comes; a later one reaches it."""
    inside, first, second = threading.Event(), threading.Event(), threading.Event()

    def on_get(number: int) -> None:
        inside.set()
        assert first.wait(PATIENCE)  # it was not yet waiting when that came
        assert second.wait(PATIENCE)

    def on_interrupt() -> None:
        (second if first.is_set() else first).set()

    queue = ProbeQueue(["ok"], on_get=on_get, on_interrupt=on_interrupt)
    consumer, _ = consumer_of("threads", queue)
    consumer.start()
    assert inside.wait(PATIENCE)
    report = consumer.shutdown()
    assert report.leftovers == ()
    reconcile(report, queue)


def test_interrupt_that_raises_does_not_keep_the_line_from_stopping() -> None:
    """A broken `interrupt` is told of, once, and the consumer stops when its `get`s return."""

    def fail() -> None:
        raise OSError("no interrupt today")

    queue = ProbeQueue(["ok"], on_interrupt=fail)
    consumer, events = consumer_of("threads", queue)
    consumer.start()
    assert consumer.wait_idle(PATIENCE)
    reconcile(consumer.shutdown(), queue)
    (failed,) = events.of(CallbackFailed)
    assert failed.callback == "queue.interrupt"
    assert "no interrupt today" in failed.error


def test_interrupt_that_blocks_is_named_in_the_report() -> None:
    """An `interrupt` that does not return keeps nothing from stopping, and is among what was left behind."""
    let_go = threading.Event()
    queue = ProbeQueue(["ok"], on_interrupt=lambda: let_go.wait(PATIENCE))
    consumer, _ = consumer_of("threads", queue)
    consumer.start()
    assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    let_go.set()
    (left,) = report.leftovers
    assert left.where == "queue.interrupt"
    assert "let_go.wait" in left.stack
    reconcile(report, queue)


def test_a_getter_that_dies_of_the_interrupt_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception from a `get` that was interrupted is no death to be revived from, however long the drain is."""
    walks = count_walks(monkeypatch)
    inside, interrupted = threading.Event(), threading.Event()

    def on_get(number: int) -> None:
        if number > 1:
            inside.set()
            assert interrupted.wait(PATIENCE)
            raise ConnectionError("closed")

    held, let_go = threading.Event(), threading.Event()
    queue = ProbeQueue(["one"], on_get=on_get, on_interrupt=interrupted.set)

    def handler(items: Iterator[Any]) -> None:
        for _ in items:
            held.set()
            assert let_go.wait(PATIENCE)

    consumer, events = consumer_of(
        "threads", queue, handler=handler, prefetch=5, supervision=Supervision(max_restarts=0)
    )
    consumer.start()
    assert inside.wait(PATIENCE)
    assert held.wait(PATIENCE)
    consumer.stop()
    until(lambda: halted(consumer), "the getter has ended")
    seen = walks()
    until(lambda: walks() > seen + 2, "the supervisor has come by the dead getter")
    let_go.set()
    report = consumer.shutdown()
    assert events.of(WorkerRevived) == []
    assert events.of(WorkerDied) == []
    assert reconcile(report, queue).cleaned == 1


# The deadline


def test_no_time_at_all_is_enough_for_a_get_that_can_be_interrupted() -> None:
    """With `shutdown(timeout=0)` an idle consumer is stopped, closed, and leaves nothing behind."""
    queue = ProbeQueue(["ok"], wait=PATIENCE)
    consumer, _ = consumer_of("threads", queue)
    consumer.start()
    until(lambda: consumer.stats().cleaned == 1, "it is idle")
    report = consumer.shutdown(timeout=0)
    assert report.leftovers == ()
    assert len(queue.called("close")) == 1
    assert reconcile(report, queue).cleaned == 1


@pytest.mark.parametrize("pool", ENDED_BY_FORCE)
@pytest.mark.parametrize("size", [1, 4])
def test_at_the_deadline_processes_and_tasks_are_ended(pool: str, size: int, tmp_path: Any) -> None:
    """What a process or a task holds at the deadline is released with no delay, and has not failed."""
    gate, queue, consumer, events = held(tmp_path, pool, messages_bulk_size=size, backoff=Constant(99))
    report = consumer.shutdown(timeout=SOON)
    stats = reconcile(report, queue)
    assert (stats.released, stats.failed, stats.abandoned) == (4, 0, 0)
    assert report.leftovers == ()
    assert {call[1] for call in queue.called("release")} == {0}
    assert [handled.failed for handled in events.of(ChunkHandled)] in ([()], [])
    gate.open()


@pytest.mark.parametrize("pool", ENDED_BY_FORCE)
def test_what_was_consumed_before_the_deadline_is_cleaned_up(pool: str, tmp_path: Any) -> None:
    """Of a chunk that is ended at the deadline, the items before the one held are cleaned up."""
    gate = Gate(tmp_path)
    queue = ProbeQueue(["ok-1", "ok-2", gate.item, "ok-3"], bulk=4)
    consumer, _ = consumer_of(pool, queue, messages_bulk_size=4)
    consumer.start()
    gate.wait_for()
    stats = reconcile(consumer.shutdown(timeout=0), queue)
    assert (stats.cleaned, stats.released, stats.failed) == (2, 2, 0)
    gate.open()


def test_at_the_deadline_threads_are_abandoned_by_name(tmp_path: Any) -> None:
    """A thread that cannot be stopped is named in the report, with the items it held and where it stands."""
    gate, queue, consumer, _ = held(tmp_path, "threads")
    report = consumer.shutdown(timeout=SOON)
    (left,) = [left for left in report.leftovers if left.where == "handler-1"]
    assert left.items == (gate.item,)
    assert "act" in left.stack
    assert "lifecycle_handlers" in left.stack
    stats = reconcile(report, queue)
    assert (stats.abandoned, stats.released, stats.failed) == (1, 3, 0)
    gate.open()


def test_an_abandoned_threads_outcome_is_ignored_and_its_iterator_stops(tmp_path: Any) -> None:
    """When an abandoned handler goes on, it gets no further item, and nothing that comes of it counts."""
    gate, out = Gate(tmp_path), threading.Event()
    got: list[str] = []

    def handler(items: Iterator[str]) -> None:
        from support.lifecycle_handlers import act

        for item in items:
            got.append(item)
            act(iter([item]))
        out.set()

    queue = ProbeQueue([gate.item, "ok-1", "ok-2"], bulk=3)
    consumer, _ = consumer_of("threads", queue, handler=handler, messages_bulk_size=3)
    consumer.start()
    gate.wait_for()
    report = consumer.shutdown(timeout=0)
    before = (consumer.stats(), list(queue.calls))
    gate.open()
    assert out.wait(PATIENCE)
    until(lambda: not line_threads(), "the thread has ended")
    assert got == [gate.item]
    assert (consumer.stats().cleaned, list(queue.calls)) == (before[0].cleaned, before[1])
    assert consumer.shutdown() is report
    assert "cleanup" not in [call[0] for call in queue.calls]
    stats = reconcile(report, queue)
    assert (stats.abandoned, stats.released) == (1, 2)


def test_only_what_an_abandoned_thread_holds_is_abandoned(tmp_path: Any) -> None:
    """Of its chunk, the items before the one held are consumed and cleaned up, those behind it go back."""
    gate = Gate(tmp_path)
    queue = ProbeQueue(["ok-1", "ok-2", gate.item, "ok-3"], bulk=4)
    consumer, _ = consumer_of("threads", queue, messages_bulk_size=4)
    consumer.start()
    gate.wait_for()
    report = consumer.shutdown(timeout=0)
    stats = reconcile(report, queue)
    assert (stats.cleaned, stats.abandoned, stats.released, stats.failed) == (2, 1, 1, 0)
    assert [left.items for left in report.leftovers if left.where == "handler-1"] == [(gate.item,)]
    gate.open()


def test_a_coroutine_that_will_not_be_cancelled_is_abandoned_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that swallows its cancellation is left behind like a thread: named, with its item and its stack."""
    assert drain_module.FORCE_TIME == 2
    monkeypatch.setattr(drain_module, "FORCE_TIME", 0.1)
    inside = threading.Event()

    async def handler(items: Any) -> None:
        async for _ in items:
            inside.set()
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()

    queue = ProbeQueue(["ok"])
    consumer, _ = consumer_of("coroutines", queue, handler=handler)
    consumer.start()
    assert inside.wait(PATIENCE)
    report = consumer.shutdown(timeout=0)
    assert report.leftovers[0].where == "handler-1"
    assert report.leftovers[0].items == ("ok",)
    assert "in handler" in report.leftovers[0].stack
    assert reconcile(report, queue).abandoned == 1
    until(lambda: not line_threads(), "the loop has ended, though the coroutine has not")
    assert consumer.stats().cleaned == 0


before_the_test: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def note_threads() -> None:
    """What ran before a test is none of its business."""
    before_the_test.clear()
    before_the_test.update(threading.enumerate())


def line_threads() -> list[str]:
    mine = set(threading.enumerate()) - before_the_test
    return [thread.name for thread in mine if thread.name.startswith("queue_consumer-")]


def deaf(**options: Any) -> tuple[ProbeQueue, threading.Event, threading.Event]:
    """A queue whose `get` hears no interrupt."""
    inside, let_go = threading.Event(), threading.Event()

    def on_get(number: int) -> None:
        inside.set()
        assert let_go.wait(PATIENCE)

    return ProbeQueue(["ok-1", "ok-2"], on_get=on_get, **options), inside, let_go


def test_an_abandoned_getter_is_named_and_what_it_still_brings_is_released() -> None:
    """A `get` that does not return is left behind by name; the queue is not closed, and late items go back to it."""
    queue, inside, let_go = deaf()
    consumer, _ = consumer_of("threads", queue)
    consumer.start()
    assert inside.wait(PATIENCE)
    report = consumer.shutdown(timeout=SOON)
    (left,) = report.leftovers
    assert (left.where, left.items) == ("getter-1", ())
    assert "on_get" in left.stack
    assert queue.called("close") == []
    assert reconcile(report, queue).received == 0
    let_go.set()
    until(lambda: not line_threads(), "the getter has ended")
    assert queue.called("release") == [(["ok-1", "ok-2"], 0)]
    assert queue.stats()["waiting"] == 2
    assert len(queue.called("get")) == 1
    assert consumer.shutdown() is report


def test_a_late_getter_whose_queue_cannot_take_back_ends_quietly() -> None:
    """Where there is no `release`, or it raises, an abandoned getter ends all the same."""

    def fail(items: list[Any], delay: float) -> None:
        raise OSError("gone")

    for options in ({"without": ["release"]}, {"on_release": fail}):
        queue, inside, let_go = deaf(**options)
        consumer, _ = consumer_of("threads", queue)
        consumer.start()
        assert inside.wait(PATIENCE)
        report = consumer.shutdown(timeout=0)
        let_go.set()
        until(lambda: not line_threads(), "the getter has ended")
        assert report.balanced
        assert consumer.stats().left == 2


@every_pool
def test_idle_handlers_are_not_abandoned_for_a_getter_that_does_not_return(pool: str) -> None:
    """If the deadline passes while only a `get` is waited for, the handlers still end: they are not left behind."""
    queue, inside, let_go = deaf()
    consumer, _ = consumer_of(pool, queue, max_handlers=3)
    consumer.start()
    assert inside.wait(PATIENCE)
    report = consumer.shutdown(timeout=0)
    assert [left.where for left in report.leftovers] == ["getter-1"]
    assert [name for name in line_threads() if "handler" in name] == []
    assert reconcile(report, queue).received == 0
    let_go.set()
    until(lambda: not line_threads(), "the getter has ended")


def test_a_second_shutdown_may_bring_the_deadline_forward(tmp_path: Any) -> None:
    """The earliest deadline that anybody asked for holds."""
    gate, queue, consumer, _ = held(tmp_path, "threads")
    waiting = in_thread(lambda: consumer.shutdown(timeout=1000))
    until(lambda: consumer.state is State.DRAINING, "it drains")
    report = consumer.shutdown(timeout=0)
    assert waiting.result() is report
    assert reconcile(report, queue).abandoned == 1
    gate.open()


def test_a_second_shutdown_cannot_put_the_deadline_off(tmp_path: Any) -> None:
    """A later deadline changes nothing: who asked first is not made to wait for longer."""
    gate, queue, consumer, _ = held(tmp_path, "threads")
    waiting = in_thread(lambda: consumer.shutdown(timeout=SOON))
    until(lambda: consumer.state is State.DRAINING, "it drains")
    report = consumer.shutdown(timeout=1000)
    assert waiting.result() is report
    assert reconcile(report, queue).abandoned == 1
    gate.open()


def test_a_stubborn_child_is_killed(tmp_path: Any) -> None:
    """A child that is stopped, and so would hear nothing else, is killed at the deadline."""
    _, queue, consumer, _ = held(tmp_path, "processes")
    children = [child for child in family() if is_ours(child)]
    for child in children:
        child.suspend()
    stats = reconcile(consumer.shutdown(timeout=SOON), queue)
    assert (stats.released, stats.failed) == (4, 0)
    assert children
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def is_ours(child: psutil.Process) -> bool:
    """Whether it is a handler's process, and neither the forkserver nor the resource tracker."""
    try:
        return not any(
            word in " ".join(child.cmdline()) for word in ("resource_tracker", "from multiprocessing.forkserver")
        ) or (child.ppid() != os.getpid())
    except psutil.Error:
        return False


# Cleanups


def test_cleanups_are_flushed_before_the_end() -> None:
    """What was consumed is cleaned up before `shutdown()` returns, those included that are to be tried again."""
    failures = [OSError("not now")] * 3

    def on_cleanup(items: list[Any]) -> None:
        if failures:
            raise failures.pop()

    queue = ProbeQueue(["ok-1", "ok-2", "ok-3"], on_cleanup=on_cleanup)
    consumer, events = consumer_of("threads", queue)
    consumer.start()
    events.wait_for(ChunkHandled, 3)
    events.wait_for(CleanupFailed)
    assert reconcile(consumer.shutdown(), queue).cleaned == 3


def test_releases_are_flushed_before_the_end() -> None:
    """A release that fails at first is tried again while the line stops."""
    failures = [OSError("not now")] * 2

    def on_release(items: list[Any], delay: float) -> None:
        if failures:
            raise failures.pop()

    queue = ProbeQueue(["raise"], on_release=on_release)
    consumer, events = consumer_of("threads", queue)
    consumer.start()
    events.wait_for(CleanupFailed)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.released, stats.left) == (1, 0)


def test_flushing_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleanups get 5 s at most after all else has ended; one that still blocks is abandoned by name, with its items."""
    assert drain_module.FLUSH_TIME == 5
    monkeypatch.setattr(drain_module, "FLUSH_TIME", 0.1)
    inside, let_go = threading.Event(), threading.Event()

    def on_cleanup(items: list[Any]) -> None:
        inside.set()
        assert let_go.wait(PATIENCE)

    queue = ProbeQueue(["ok"], on_cleanup=on_cleanup)
    consumer, events = consumer_of("threads", queue)
    consumer.start()
    assert inside.wait(PATIENCE)
    report = consumer.shutdown()
    (left,) = report.leftovers
    assert (left.where, left.items) == ("cleaner-1", ("ok",))
    assert "on_cleanup" in left.stack
    assert reconcile(report, queue).abandoned == 1
    assert queue.called("close") == [], "the cleaner may still use it"
    let_go.set()
    until(lambda: not line_threads(), "the cleaner has ended")
    assert consumer.stats().cleaned == 0, "what comes of it is ignored"
    assert consumer.shutdown() is report
    assert len(events.of(ConsumerStopped)) == 1


def test_what_is_to_be_tried_again_when_time_is_up_has_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleanups that fail until the end are tombstoned, releases that do so are left; nothing is forgotten."""
    monkeypatch.setattr(drain_module, "FLUSH_TIME", 0.05)

    def fail(*_: Any) -> None:
        raise OSError("never")

    queue = ProbeQueue(["ok", "raise"], on_cleanup=fail, on_release=fail)
    consumer, events = consumer_of("threads", queue)
    consumer.start()
    events.wait_for(CleanupFailed, 2)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.tombstoned, stats.left) == (1, 1)


# close()


@every_pool
def test_close_is_called_once_and_last(pool: str, tmp_path: Any) -> None:
    """The consumer that owns the queue closes it, once, after everything else; nothing is asked of it later."""
    gate, queue, consumer, _ = held(tmp_path, pool)
    calls_of_stats: list[int] = []
    stats = queue.stats
    queue.stats = lambda: (calls_of_stats.append(queue.closed), stats())[1]  # type: ignore[method-assign,func-returns-value]
    consumer._line.lanes[0].port.stats = queue.stats
    consumer.stop()
    gate.open()
    report = consumer.shutdown()
    assert [call[0] for call in queue.calls].count("close") == 1
    assert queue.calls[-1] == ("close",)
    assert calls_of_stats
    assert set(calls_of_stats) == {0}
    queue.stats = stats  # type: ignore[method-assign]
    reconcile(report, queue)


def test_close_is_left_to_whoever_owns_the_queue() -> None:
    """With `owns_queue=False` the queue stays open."""
    queue = ProbeQueue(["ok"])
    consumer, _ = consumer_of("threads", queue, owns_queue=False)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    assert queue.called("close") == []
    reconcile(consumer.shutdown(), queue)


def test_close_that_raises_is_told_of() -> None:
    """A `close` that raises changes nothing about the report."""

    def fail() -> None:
        raise OSError("cannot close")

    queue = ProbeQueue(["ok"], on_close=fail)
    consumer, events = consumer_of("threads", queue)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    assert [failed.callback for failed in events.of(CallbackFailed)] == ["queue.close"]
    assert reconcile(report, queue).cleaned == 1


# The order


@every_pool
def test_no_get_begins_after_the_stop(pool: str, tmp_path: Any) -> None:
    """Once `stop()` was called no new `get` begins, whatever there is to be got."""
    gate, queue, consumer, _ = held(tmp_path, pool, max_workers=3)
    consumer.stop()
    until(lambda: halted(consumer), "the getters have ended")
    gets = len(queue.called("get"))
    queue.fill([f"more-{number}" for number in range(50)])
    gate.open()
    reconcile(consumer.shutdown(), queue)
    assert len(queue.called("get")) == gets


@every_pool
def test_the_order_of_a_drain(pool: str, tmp_path: Any) -> None:
    """Interrupt, then the belt goes back, then handlers end, then cleanups are flushed, then the queue is closed."""
    gate, queue, consumer, events = held(tmp_path, pool)
    consumer.stop()
    until(lambda: consumer.stats().released == 3, "the belt is released")
    gate.open()
    report = consumer.shutdown()
    verbs = [call[0] for call in queue.calls if call[0] != "get"]
    assert verbs[0] == "interrupt"
    assert verbs.index("release") < verbs.index("cleanup")
    assert verbs[-1] == "close"
    assert isinstance(events.events[-1], ConsumerStopped)
    assert events.events[-1].report is report
    reconcile(report, queue)


@every_pool
def test_the_report_says_how_long_each_part_took(pool: str) -> None:
    """The report has a duration of at least 0 for each part of the shutdown."""
    queue = ProbeQueue(["ok"])
    consumer, _ = consumer_of(pool, queue)
    consumer.start()
    assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    assert {"handlers", "cleanup", "close"} <= set(report.durations)
    assert all(seconds >= 0 for seconds in report.durations.values())
    reconcile(report, queue)


# What is left of it


def fds() -> int:
    return psutil.Process().num_fds()


def children() -> set[int]:
    return {child.pid for child in family()}


def one_life(pool: str, items: list[str], **options: Any) -> Report:
    queue = ProbeQueue(items)
    consumer, _ = consumer_of(pool, queue, max_workers=2, max_handlers=2, **options)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    reconcile(report, queue)
    return report


@pytest.mark.parametrize(
    ("pool", "options"),
    [
        ("threads", {}),
        ("coroutines", {}),
        ("processes", {}),
        ("processes", {"mp_context": "spawn"}),
        ("processes", {"mp_context": "fork"}),
    ],
    ids=["threads", "coroutines", "forkserver", "spawn", "fork"],
)
def test_nothing_runs_afterwards(pool: str, options: dict[str, Any]) -> None:
    """After `shutdown()` there are as many threads, children and file descriptors as before."""
    one_life(pool, ["ok"], **options)  # Python's own forkserver and resource tracker stay
    before = (set(line_threads()), children(), fds())
    for _ in range(2):
        one_life(pool, ["ok", "raise", "exit", "drop", "retry:100"], **options)
    assert (set(line_threads()), children(), fds()) == before


def test_nothing_runs_after_a_restart_storm() -> None:
    """Getters that die many times leave no thread and no file descriptor behind."""
    one_life("threads", ["ok"])
    before = (threading.active_count(), children(), fds())

    def on_get(number: int) -> None:
        if number <= 60:
            raise ConnectionError("down")

    queue = ProbeQueue(["ok-1", "ok-2"], on_get=on_get)
    consumer, events = consumer_of(
        "threads", queue, max_workers=2, supervision=Supervision(restart_base=1e-6, restart_limit=1e-6)
    )
    with consumer:
        events.wait_for(WorkerRevived, 60, timeout=PATIENCE)
        assert consumer.wait_idle(PATIENCE)
    assert (threading.active_count(), children(), fds()) == before
    assert reconcile(consumer.shutdown(), queue).revived == 60


def test_nothing_runs_after_many_children_were_killed() -> None:
    """Children that are killed again and again leave no process, thread or file descriptor behind."""
    one_life("processes", ["ok"])
    before = (threading.active_count(), children(), fds())
    queue = ProbeQueue(["ok"])
    often = Supervision(polling_time=0.05, restart_base=1e-6, restart_limit=1e-6)
    consumer, events = consumer_of("processes", queue, supervision=often)
    with consumer:
        for kills in range(1, 6):
            assert consumer.wait_idle(PATIENCE)
            for pid in children() - before[1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            events.wait_for(WorkerRevived, kills, timeout=PATIENCE)
            queue.fill(["ok"])
        assert consumer.wait_idle(PATIENCE)
    assert (threading.active_count(), children(), fds()) == before
    assert reconcile(consumer.shutdown(), queue).cleaned == 6


@every_pool
def test_an_idle_consumer_stops_without_waiting(pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer with nothing to do, whose `get` can be interrupted, is stopped after a few short looks."""
    looks: list[float] = []
    glance = drain_module.Drain._glance

    def counted(self: Any, began: float) -> None:
        looks.append(began)
        glance(self, began)

    monkeypatch.setattr(drain_module.Drain, "_glance", counted)
    queue = ProbeQueue(["ok"], wait=PATIENCE)
    consumer, _ = consumer_of(pool, queue)
    consumer.start()
    until(lambda: consumer.stats().cleaned == 1, "it is idle")
    reconcile(consumer.shutdown(), queue)
    assert len(looks) < 100
