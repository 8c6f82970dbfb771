"""The supervisor at work: the dead are revived, the stuck told of or replaced, and what cannot go on is raised."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from typing_extensions import Unpack

from queue_consumer import (
    ChunkHandled,
    Constant,
    Consumer,
    ConsumerStarted,
    ConsumerStopped,
    CrashLoop,
    HandlerStuck,
    Report,
    Stalled,
    State,
    StuckHandlers,
    Supervision,
    WorkerDied,
    WorkerRevived,
)
from queue_consumer._bells import Bell
from queue_consumer._cleaner import Hand
from queue_consumer._getter import Getter
from queue_consumer.testing import RecordingObserver
from support.lifecycle import (
    PATIENCE,
    POOLS,
    Options,
    ProbeQueue,
    Script,
    consumer_of,
    count_walks,
    in_thread,
    reconcile,
    until,
)
from support.lifecycle_handlers import Gate

every_pool = pytest.mark.parametrize("pool", POOLS)
NOW = Supervision(restart_base=1e-6, restart_limit=1e-6)
ITEMS = [f"ok-{number}" for number in range(20)]
BUSY = 0.3  # seconds of stuck_time and time_limit: long for an item that does nothing, short for a test


def me() -> str:
    """The worker whose thread this is."""
    return threading.current_thread().name.removeprefix("queue_consumer-")


# Getters


@pytest.mark.parametrize(
    "error", [ConnectionError("down"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr
)
def test_a_getter_that_dies_once_is_revived(error: BaseException) -> None:
    """Whatever `get` raises, SystemExit too, ends one getter; another takes its place, and consumption goes on."""

    def on_get(number: int) -> None:
        if number == 1:
            raise error

    queue = ProbeQueue(ITEMS, on_get=on_get)
    consumer, events = consumer_of("threads", queue)
    with consumer:
        events.wait_for(WorkerRevived)
        assert consumer.wait_idle(PATIENCE)
    (died,), (revived,) = events.of(WorkerDied), events.of(WorkerRevived)
    assert (died.worker, died.error) == ("getter-1", repr(error))
    assert 0 <= died.revive_in <= 0.1
    assert (revived.worker, revived.restarts) == ("getter-1", 1)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.revived) == (len(ITEMS), 1)


def test_deaths_are_seen_at_once() -> None:
    """A death rings the supervisor: it does not wait for the next look to come round."""

    def on_get(number: int) -> None:
        if number == 1:
            raise ConnectionError("down")

    queue = ProbeQueue(ITEMS, on_get=on_get)
    consumer, events = consumer_of("threads", queue, supervision=NOW.but(polling_time=1e6))
    with consumer:
        events.wait_for(WorkerRevived)
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS)


def test_what_a_dying_getter_had_got_is_kept() -> None:
    """An iterable that raises midway ends the getter; what it gave is on the belt, and handled."""

    class Breaks(ProbeQueue):
        def get(self, limit: int | None = None) -> Any:
            items = super().get(limit)
            return self._half(items) if items else items

        def _half(self, items: list[Any]) -> Iterator[Any]:
            yield from items
            raise ConnectionError("it broke")

    queue = Breaks(ITEMS, bulk=5)
    consumer, events = consumer_of("threads", queue, max_handlers=5)
    with consumer:
        until(lambda: consumer.stats().cleaned == len(ITEMS), "all is cleaned up")
        died = events.wait_for(WorkerDied, 4)
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS)
    assert {death.revive_in for death in died} == {0}, "who had got something is replaced at once"


def test_a_getter_that_fails_for_ever_is_revived_later_and_later() -> None:
    """The delays of a getter whose every `get` fails double; one `get` that works, and it is at work again."""
    ready, repaired = threading.Event(), threading.Event()

    def on_get(number: int) -> None:
        assert ready.wait(PATIENCE)
        if not repaired.is_set():
            raise ConnectionError("down")

    queue = ProbeQueue(ITEMS, on_get=on_get)
    consumer, events = consumer_of("threads", queue, supervision=Supervision(restart_base=0.001))
    consumer.start()
    assert consumer._supervisor is not None
    consumer._supervisor.watch._jitter = lambda: 1.0
    ready.set()
    with consumer:
        died = events.wait_for(WorkerDied, 7, timeout=PATIENCE)
        repaired.set()
        assert consumer.wait_idle(PATIENCE)
    assert [death.revive_in for death in died[:7]] == pytest.approx([0.001 * 2**n for n in range(7)])
    assert {death.worker for death in events.of(WorkerDied)} == {"getter-1"}
    assert [revived.restarts for revived in events.of(WorkerRevived)][:7] == [1, 2, 3, 4, 5, 6, 7]
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS)


def test_siblings_of_a_failing_getter_are_unaffected() -> None:
    """While one getter fails again and again, the other goes on as if nothing were."""

    def on_get(number: int) -> None:
        if me() == "getter-1":
            raise ConnectionError("down")

    queue = ProbeQueue(ITEMS, on_get=on_get)
    consumer, events = consumer_of("threads", queue, max_workers=2, supervision=NOW)
    with consumer:
        events.wait_for(WorkerDied)
        assert consumer.wait_idle(PATIENCE)
        queue.fill(ITEMS)
        assert consumer.wait_idle(PATIENCE)
    assert {death.worker for death in events.of(WorkerDied)} == {"getter-1"}
    assert {revived.worker for revived in events.of(WorkerRevived)} == {"getter-1"}
    assert reconcile(consumer.shutdown(), queue).cleaned == 2 * len(ITEMS)


def test_dead_getters_are_not_hot() -> None:
    """Between two deaths of a getter there is one `get`, and while all are dead `fetching` says so and why."""

    def on_get(number: int) -> None:
        raise ConnectionError("down")

    queue = ProbeQueue(ITEMS, on_get=on_get)
    consumer, events = consumer_of(
        "threads", queue, max_workers=2, supervision=Supervision(restart_base=1000, restart_limit=1000)
    )
    with consumer:
        events.wait_for(WorkerDied, 2)
        until(lambda: "is revived in" in consumer.stats().fetching, "it says so")
        assert "down" in consumer.stats().fetching
        assert len(queue.called("get")) == 2
        assert not consumer.wait_idle(0.02)
    assert reconcile(consumer.shutdown(), queue).received == 0


def test_a_dead_getter_wakes_a_sleeping_sibling() -> None:
    """If the only getter that is awake dies, one of those that sleep goes on in its stead at once."""
    first: list[str] = []

    class Nothing(Script):
        def get(self) -> Any:
            answer = super().get()
            if answer == "die":
                first.append(me())
                raise ConnectionError("down")
            return answer

    script = Nothing()
    consumer = Consumer[Any](
        script,
        handle,
        max_workers=3,
        max_handlers=3,
        supervision=Supervision(restart_base=1e6, restart_limit=1e6),
    )
    with consumer:
        script.wait_for(lambda: script.inside == 3)
        for _ in range(3):
            script.answer([])
        script.wait_for(lambda: script.gets == 4 and script.inside == 1)
        script.answer("die")
        script.wait_for(lambda: script.gets == 5 and script.inside == 1)
        script.answer(["one"])
        until(lambda: consumer.stats().cleaned == 1, "it is handled")
    assert len(first) == 1
    assert consumer.shutdown().balanced


def handle(items: Iterator[Any]) -> None:
    for _ in items:
        pass


# Cleaners and pool workers


def test_a_cleaner_that_dies_is_revived_with_what_it_had_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cleaning thread that ends though it should not have is replaced, and what it held is cleaned up."""
    see_to = Hand._see_to
    deaths: list[str] = []

    def dies_once(self: Hand, errand: Any) -> None:
        if not deaths:
            deaths.append(self.name)
            raise RuntimeError("a bug of ours")
        see_to(self, errand)

    monkeypatch.setattr(Hand, "_see_to", dies_once)
    queue = ProbeQueue(ITEMS)
    consumer, events = consumer_of("threads", queue, supervision=NOW)
    with consumer:
        events.wait_for(WorkerRevived)
        assert consumer.wait_idle(PATIENCE)
    assert [died.worker for died in events.of(WorkerDied)] == deaths == ["cleaner-1"]
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS)


@pytest.mark.parametrize("pool", ["threads", "coroutines"])
def test_a_pool_worker_that_cannot_start_is_tried_again(pool: str) -> None:
    """A pool_initializer that raises ends its worker, which is revived; the line goes on when it has worked."""
    calls: list[str] = []

    def initializer() -> None:
        calls.append("called")
        if len(calls) < 4:
            raise RuntimeError("not yet")

    queue = ProbeQueue(ITEMS)
    consumer, events = consumer_of(pool, queue, pool_initializer=initializer, supervision=NOW)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    assert len(calls) == 4
    assert [died.worker for died in events.of(WorkerDied)] == ["handler-1"] * 3
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS)


@every_pool
@pytest.mark.parametrize("verb", ["exit", "break"])
def test_a_handler_that_ends_in_base_exception_frees_its_place(pool: str, verb: str) -> None:
    """SystemExit and KeyboardInterrupt fail their item like any exception: no worker dies, no place is lost."""
    queue = ProbeQueue([verb, "ok-1", verb, "ok-2", "ok-3"])
    consumer, events = consumer_of(pool, queue, prefetch=0, backoff=Constant(1000))
    with consumer:
        until(lambda: consumer.stats().cleaned == 3, "the others are handled")
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.released, stats.failed, stats.revived) == (3, 2, 2, 0)
    assert events.of(WorkerDied) == []


# Stuck handlers


def stuck_line(
    pool: str, tmp_path: Any, **options: Unpack[Options]
) -> tuple[Gate, ProbeQueue, Consumer[Any], RecordingObserver]:
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item, "ok-1", "ok-2"])
    options["backoff"] = Constant(1000)
    consumer, events = consumer_of(pool, queue, **options)
    return gate, queue, consumer, events


def test_a_stuck_threads_place_is_given_away(tmp_path: Any) -> None:
    """With `stuck_time` set a new thread handles what comes next; the late success of the old one counts, once."""
    gate, queue, consumer, events = stuck_line("threads", tmp_path, supervision=Supervision(stuck_time=BUSY))
    with consumer:
        (stuck,) = events.wait_for(HandlerStuck, timeout=PATIENCE)
        until(lambda: consumer.stats().cleaned == 2, "the others are handled")
        assert consumer.stats().in_flight == 1
        gate.open()
        assert consumer.wait_idle(PATIENCE)
    assert (stuck.worker, stuck.item, stuck.limit, stuck.replaced) == ("handler-1", gate.item, "stuck_time", True)
    assert stuck.seconds >= BUSY
    assert "in act" in stuck.stack
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.failed, stats.released, stats.stuck, stats.revived) == (3, 0, 0, 1, 1)
    assert Counter(item for (items,) in queue.called("cleanup") for item in items)[gate.item] == 1
    assert len(events.of(HandlerStuck)) == 1


def test_a_stuck_threads_late_failure_counts_like_any(tmp_path: Any) -> None:
    """If the old thread fails at last, its item goes back as any failed item does."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item, "ok-1"])

    def handler(items: Iterator[str]) -> None:
        from support.lifecycle_handlers import act

        for item in items:
            act(iter([item]))
            if item == gate.item:
                raise ValueError("after all that")

    consumer, events = consumer_of(
        "threads", queue, handler=handler, backoff=Constant(9), supervision=Supervision(stuck_time=BUSY)
    )
    with consumer:
        events.wait_for(HandlerStuck, timeout=PATIENCE)
        until(lambda: consumer.stats().cleaned == 1, "the other is handled")
        gate.open()
        until(lambda: consumer.stats().released == 1, "it went back")
    assert queue.called("release") == [([gate.item], 9)]
    assert reconcile(consumer.shutdown(), queue).failed == 1


@pytest.mark.parametrize("pool", ["coroutines", "processes"])
@pytest.mark.parametrize("limit", ["stuck_time", "time_limit"])
def test_stuck_tasks_and_processes_are_ended(pool: str, limit: str, tmp_path: Any) -> None:
    """What is stuck, or over its time limit, is ended: the item has failed, and the next ones are handled."""
    limits: dict[str, Options] = {
        "time_limit": {"time_limit": BUSY},
        "stuck_time": {"supervision": Supervision(stuck_time=BUSY)},
    }
    gate, queue, consumer, events = stuck_line(pool, tmp_path, **limits[limit])
    with consumer:
        (stuck,) = events.wait_for(HandlerStuck, timeout=PATIENCE)
        until(lambda: consumer.stats().cleaned == 2, "the others are handled")
        until(lambda: consumer.stats().released == 1, "it went back")
    assert (stuck.worker, stuck.item, stuck.limit, stuck.replaced) == ("handler-1", gate.item, limit, True)
    assert "act" in stuck.stack
    assert queue.called("release") == [([gate.item], 1000)]
    (failed,) = events.of(ChunkHandled, lambda handled: handled.failed)
    assert failed.failed == (gate.item,)
    assert failed.failure is not None
    assert limit in failed.failure.message
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.failed, stats.stuck) == (2, 1, int(limit == "stuck_time"))


def test_time_limit_is_only_said_aloud_of_a_thread(tmp_path: Any) -> None:
    """A thread over its time limit is told of, once, keeps its place, and its success counts."""
    gate, queue, consumer, events = stuck_line("threads", tmp_path, time_limit=BUSY)
    with consumer:
        (stuck,) = events.wait_for(HandlerStuck, timeout=PATIENCE)
        gate.open()
        assert consumer.wait_idle(PATIENCE)
    assert (stuck.item, stuck.limit, stuck.replaced) == (gate.item, "time_limit", False)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.stuck, stats.revived) == (3, 0, 0)
    assert events.of(WorkerRevived) == []


@pytest.mark.parametrize("pool", ["coroutines", "processes"])
def test_the_time_limit_is_one_items(pool: str, tmp_path: Any) -> None:
    """In a chunk, only the item over its limit fails: those before it are consumed, those behind it handed on."""
    gate = Gate(tmp_path)
    queue = ProbeQueue(["ok-1", gate.item, "ok-2", "ok-3"], bulk=4)
    consumer, events = consumer_of(pool, queue, messages_bulk_size=4, time_limit=BUSY, backoff=Constant(1000))
    with consumer:
        until(lambda: consumer.stats().cleaned == 3 and consumer.stats().released == 1, "all have their end")
    assert [stuck.item for stuck in events.of(HandlerStuck)] == [gate.item]
    assert reconcile(consumer.shutdown(), queue).failed == 1


def test_a_stuck_thread_keeps_its_chunk(tmp_path: Any) -> None:
    """What stands behind the item that a thread is stuck with is handled by it when it goes on."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item, "ok-1", "ok-2", "ok-3"], bulk=3)
    consumer, events = consumer_of("threads", queue, messages_bulk_size=3, supervision=Supervision(stuck_time=BUSY))
    with consumer:
        events.wait_for(HandlerStuck, timeout=PATIENCE)
        gate.open()
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).cleaned == 4


# Giving up


def give_up_by_crash() -> tuple[ProbeQueue, Options]:
    def on_get(number: int) -> None:
        if number > 1:
            raise ConnectionError("down")

    queue = ProbeQueue(ITEMS, on_get=on_get, bulk=5)
    return queue, {"supervision": NOW.but(max_restarts=2), "max_handlers": 5}


def give_up_by_stuck(gate: Gate) -> tuple[ProbeQueue, Options]:
    queue = ProbeQueue([gate.item], on_interrupt=gate.open)  # so that the drain need not wait for its deadline
    return queue, {"supervision": Supervision(stuck_time=BUSY, stuck_limit=0)}


def from_supervise(consumer: Consumer[Any]) -> None:
    consumer.supervise(blocking=True)


def from_supervise_in_a_thread(consumer: Consumer[Any]) -> None:
    in_thread(lambda: consumer.supervise(blocking=True)).result()


def from_run(consumer: Consumer[Any]) -> None:
    consumer.run()


def from_shutdown(consumer: Consumer[Any]) -> None:
    consumer.start()
    until(lambda: consumer.state is State.STOPPED, "it has given up")
    consumer.shutdown()


def from_exit(consumer: Consumer[Any]) -> None:
    with consumer:
        until(lambda: consumer.state is State.STOPPED, "it has given up")


PLACES = [from_supervise, from_supervise_in_a_thread, from_run, from_shutdown, from_exit]
every_place = pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)


@every_place
def test_a_crash_loop_stops_the_consumer_and_is_raised(place: Callable[[Consumer[Any]], None]) -> None:
    """More than `max_restarts`: the consumer stops cleanly, and CrashLoop is raised, with its report."""
    queue, options = give_up_by_crash()
    consumer, events = consumer_of("threads", queue, **options)
    with pytest.raises(CrashLoop) as caught:
        place(consumer)
    assert caught.value.worker == "getter-1"
    assert "down" in caught.value.error
    report = caught.value.report
    assert isinstance(report, Report)
    assert consumer.state is State.STOPPED
    assert report.stats.received == 5
    reconcile(report, queue)
    assert events.of(ConsumerStopped)[0].report is report
    assert len(queue.called("close")) == 1
    with pytest.raises(CrashLoop) as again:
        consumer.shutdown()
    assert again.value is caught.value


@every_place
def test_too_many_stuck_stop_the_consumer_and_are_raised(place: Callable[[Consumer[Any]], None], tmp_path: Any) -> None:
    """More than `stuck_limit` handlers stuck at once: the same, with StuckHandlers."""
    queue, options = give_up_by_stuck(Gate(tmp_path))
    consumer, _ = consumer_of("threads", queue, **options)
    with pytest.raises(StuckHandlers, match="Number of stuck handlers 1 more than limit 0") as caught:
        place(consumer)
    assert reconcile(caught.value.report, queue).received == 1
    assert consumer.state is State.STOPPED


@pytest.mark.parametrize("pool", ["coroutines", "processes"])
def test_stuck_limits_hold_in_every_pool(pool: str, tmp_path: Any) -> None:
    """Tasks and processes that are stuck at the same time count, though each is ended."""
    gate = Gate(tmp_path)
    queue, options = give_up_by_stuck(gate)
    consumer, _ = consumer_of(pool, queue, **options)
    with pytest.raises(StuckHandlers) as caught:
        consumer.run()
    stats = reconcile(caught.value.report, queue)
    assert stats.released == 1
    gate.open()


def test_without_max_restarts_nobody_gives_up() -> None:
    """By default a getter may die as often as it likes."""

    def on_get(number: int) -> None:
        if number <= 100:
            raise ConnectionError("down")

    queue = ProbeQueue(ITEMS, on_get=on_get)
    consumer, _ = consumer_of("threads", queue, supervision=NOW)
    with consumer:
        until(lambda: consumer.stats().cleaned == len(ITEMS), "all is handled")
    assert reconcile(consumer.shutdown(), queue).revived == 100


# Stalls


def test_a_cleanup_that_does_not_return_is_a_stall() -> None:
    """Nothing moves though there is something to do: Stalled is told, with the reason, once a stall."""
    gates = [threading.Event(), threading.Event()]
    waiting = list(gates)

    def on_cleanup(items: list[Any]) -> None:
        if waiting:
            assert waiting.pop(0).wait(PATIENCE)

    queue = ProbeQueue(["ok"], on_cleanup=on_cleanup)
    consumer, events = consumer_of("threads", queue, supervision=Supervision(polling_time=0.01, stall_time=0.1))
    with consumer:
        (stalled,) = events.wait_for(Stalled)
        assert stalled.seconds >= 0.1
        assert stalled.reason == "1 items wait for a cleanup that does not return"
        gates[0].set()
        assert consumer.wait_idle(PATIENCE)
        queue.fill(["ok"])
        events.wait_for(Stalled, 2)
        gates[1].set()
        assert consumer.wait_idle(PATIENCE)
    assert len(events.of(Stalled)) == 2
    assert reconcile(consumer.shutdown(), queue).cleaned == 2


def test_an_idle_line_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty queue, and a handler that takes its time, are not stalls."""
    walks = count_walks(monkeypatch)
    queue = ProbeQueue()
    let_go = threading.Event()

    def handler(items: Iterator[Any]) -> None:
        for _ in items:
            assert let_go.wait(PATIENCE)

    consumer, events = consumer_of(
        "threads", queue, handler=handler, supervision=Supervision(polling_time=0.005, stall_time=0.01)
    )
    with consumer:
        until(lambda: walks() > 20, "the supervisor has looked often")
        queue.fill(["slow"])
        until(lambda: consumer.stats().received == 1, "it came")
        seen = walks()
        until(lambda: walks() > seen + 20, "the supervisor has looked often")
        let_go.set()
        assert consumer.wait_idle(PATIENCE)
    assert events.of(Stalled) == []
    assert reconcile(consumer.shutdown(), queue).cleaned == 1


# An idle line


def test_all_getters_but_one_sleep_while_the_queue_is_empty() -> None:
    """After empty answers one getter asks and the others sleep; every answer that is not empty wakes one more."""
    script = Script()
    consumer = Consumer[Any](script, handle, max_workers=4, max_handlers=4)
    with consumer:
        script.wait_for(lambda: script.inside == 4)
        for _ in range(4):
            script.answer([])
        script.wait_for(lambda: script.gets == 5 and script.inside == 1)
        assert len(consumer._line.lanes[0].parked) == 3
        assert consumer.stats().fetching == "yes"
        gets = 5
        for awake in (2, 3, 4, 4):
            script.answer([f"item for {awake}"])
            gets += 2 if len(consumer._line.lanes[0].parked) else 1
            script.wait_for(partial(script.is_at, gets, awake))
            assert len(consumer._line.lanes[0].parked) == 4 - awake
        for _ in range(4):
            script.answer([])
        script.wait_for(lambda: script.gets == gets + 1 and script.inside == 1)
        assert len(consumer._line.lanes[0].parked) == 3
    report = consumer.shutdown()
    assert report.balanced
    assert report.stats.cleaned == 4


def test_a_get_that_does_not_block_is_called_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty answers of such a `get` are a millisecond apart at first, then twice as long each time, up to a second."""
    slept: list[float | None] = []
    enough = threading.Event()

    def sleep(self: Getter, seconds: float | None) -> None:
        slept.append(seconds)
        if len(slept) >= 14:
            enough.set()
            self.bell.wait(PATIENCE)

    monkeypatch.setattr(Getter, "_sleep", sleep)

    class Nothing:
        gets = 0

        def get(self) -> list[Any]:
            self.gets += 1
            return []

    queue = Nothing()
    consumer = Consumer[Any](queue, handle, max_workers=1)
    with consumer:
        assert enough.wait(PATIENCE)
        assert queue.gets == 14
    expected = [min(0.001 * 2**number, 1.0) for number in range(14)]
    assert slept[:14] == pytest.approx(expected)
    assert slept[13] == 1.0
    assert consumer.shutdown().balanced


def test_empty_answers_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day's worth of empty answers adds nothing to what the line keeps."""
    enough = threading.Event()

    class Nothing:
        gets = 0

        def get(self) -> None:
            self.gets += 1
            if self.gets == 20_000:
                enough.set()

    def wait_for_the_end(self: Getter, seconds: float | None) -> None:
        if enough.is_set():
            self.bell.wait(PATIENCE)

    monkeypatch.setattr(Getter, "_sleep", wait_for_the_end)
    consumer = Consumer[Any](Nothing(), handle, max_workers=1, max_handlers=2)
    with consumer:
        until(lambda: len(consumer._line.belt.idle) == 2, "the handlers are idle")
        tallies = len(consumer._ledger._tallies)
        assert enough.wait(PATIENCE)
        line = consumer._line
        assert len(consumer._ledger._tallies) == tallies
        assert (len(line.belt.idle), len(line.belt.dry), len(line.belt.waiting)) == (2, 0, 0)
        assert (len(line.lanes[0].parked), len(line.watching)) == (0, 0)
    assert consumer.shutdown().balanced


def test_an_item_ends_the_idle_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an answer that was not empty the pauses begin anew."""
    slept: list[float | None] = []
    enough = threading.Event()

    def sleep(self: Getter, seconds: float | None) -> None:
        slept.append(seconds)
        if len(slept) >= 6:
            enough.set()
            self.bell.wait(PATIENCE)

    monkeypatch.setattr(Getter, "_sleep", sleep)

    class Few:
        answers: Any = iter([[], [], [], ["one"], [], [], []])

        def get(self) -> Any:
            return next(self.answers, None)

    consumer = Consumer[Any](Few(), handle, max_workers=1)
    with consumer:
        assert enough.wait(PATIENCE)
    assert slept[:6] == pytest.approx([0.001, 0.002, 0.004, 0.001, 0.002, 0.004])
    report = consumer.shutdown()
    assert (report.balanced, report.stats.cleaned) == (True, 1)


@pytest.mark.parametrize("polling_time", [0, 0.25])
def test_worker_polling_time_is_slept_after_every_get(polling_time: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """`worker_polling_time` is slept after every `get`, empty or not, and instead of other pauses."""
    slept: list[float | None] = []
    enough = threading.Event()

    def sleep(self: Getter, seconds: float | None) -> None:
        slept.append(seconds)
        if len(slept) >= 4:
            enough.set()
            self.bell.wait(PATIENCE)

    monkeypatch.setattr(Getter, "_sleep", sleep)

    class Some:
        answers: Any = iter([["one"], [], ["two"], []])

        def get(self) -> Any:
            return next(self.answers, None)

    consumer = Consumer[Any](Some(), handle, max_workers=1, worker_polling_time=polling_time)
    with consumer:
        assert enough.wait(PATIENCE)
    assert slept[:4] == pytest.approx([0.25] * 4 if polling_time else [0.001, 0.001, 0.002, 0.004])
    assert consumer.shutdown().balanced


@pytest.mark.parametrize("pool", ["threads", "coroutines"])
def test_an_idle_line_wakes_nobody_but_the_supervisor(pool: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a `get` blocks, no handler, cleaner or getter wakes up: only the supervisor, once a `polling_time`."""
    woken: Counter[str] = Counter()
    wait = Bell.wait

    def counted(self: Bell, timeout: float | None = None) -> bool:
        rung = wait(self, timeout)
        woken[me()] += 1
        return rung

    walks = count_walks(monkeypatch)
    script = Script()
    options: Options = {"max_workers": 4, "max_handlers": 4, "supervision": Supervision(polling_time=0.01)}
    consumer, events = consumer_of(pool, script, **options)
    with consumer:
        script.wait_for(lambda: script.inside == 4)
        script.answer(["one"])
        until(lambda: consumer.stats().cleaned == 1, "it is handled")
        script.wait_for(lambda: script.gets == 5)
        monkeypatch.setattr(Bell, "wait", counted)
        seen, before = walks(), woken.copy()
        until(lambda: walks() >= seen + 25, "the supervisor has looked often")
        idle = woken - before
        gets = script.gets
    assert set(idle) <= {"supervisor", "cleaner-1"}
    assert idle["cleaner-1"] <= 1, "it may have been about to sleep"
    assert gets == 5
    assert len(events.of(ConsumerStarted)) == 1
    assert consumer.shutdown().balanced
