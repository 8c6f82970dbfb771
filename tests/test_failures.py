"""What goes wrong with single items and calls is tried again, given back, or told of, and never costs room."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from queue_consumer import (
    CallbackFailed,
    ChunkHandled,
    CleanupError,
    CleanupFailed,
    Constant,
    Drop,
    Exponential,
    Failure,
    ItemsCleaned,
    ItemsReleased,
    Retry,
    Supervision,
    each,
)
from queue_consumer import _cleaner as cleaner_module
from queue_consumer._settling import default_backoff
from support.lifecycle import PATIENCE, POOLS, ProbeQueue, consumer_of, reconcile, until
from support.lifecycle_handlers import Gate

every_pool = pytest.mark.parametrize("pool", POOLS)
ITEMS = [f"ok-{number}" for number in range(20)]
NEVER = 1000.0  # seconds that a released item stays away: for longer than any test


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleanups are tried again after a thousandth of the usual time."""
    monkeypatch.setattr(cleaner_module, "FIRST_RETRY", 0.0001)


def fails(times: int, error: Exception | None = None) -> Callable[..., None]:
    """Raises so many times, and then no more."""
    left = [None] * times

    def fail(*_: Any) -> None:
        if left:
            left.pop()
            raise error or OSError("not now")

    return fail


def attempts_of(queue: ProbeQueue, verb: str = "cleanup") -> Counter[str]:
    return Counter(item for call in queue.called(verb) for item in call[0])


def handle(items: Iterator[Any]) -> None:
    for _ in items:
        pass


# Cleanup


@pytest.mark.parametrize("times", [1, 4])
def test_a_cleanup_that_fails_is_tried_again(times: int) -> None:
    """A cleanup that raises is tried again, with what it was called with, up to five times in all; then it is done."""
    queue = ProbeQueue(["ok"], on_cleanup=fails(times))
    consumer, events = consumer_of("threads", queue)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.tombstoned) == (1, 0)
    assert queue.called("cleanup") == [(["ok"],)] * (times + 1)
    failed = events.of(CleanupFailed)
    assert [(f.verb, f.items, f.attempt, f.final) for f in failed] == [
        ("cleanup", ("ok",), attempt, False) for attempt in range(1, times + 1)
    ]
    assert "not now" in failed[0].error


def test_cleanups_that_always_fail_are_given_up_aloud() -> None:
    """After five attempts the items are tombstoned: counted, told of, never tried again; the consumer goes on."""
    queue = ProbeQueue(["bad", "ok-1"], on_cleanup=lambda items: fails(99 * ("bad" in items))())
    consumer, events = consumer_of("threads", queue)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
        queue.fill(ITEMS)
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.tombstoned, stats.failed) == (len(ITEMS) + 1, 1, 0)
    assert attempts_of(queue)["bad"] == 5
    assert [failed.final for failed in events.of(CleanupFailed, lambda f: "bad" in f.items)] == [False] * 4 + [True]


def test_the_wait_before_another_attempt_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts are 0.1, 0.2, 0.4 and 0.8 seconds apart: not hot, and not for ever."""
    monkeypatch.undo()
    assert (cleaner_module.FIRST_RETRY, cleaner_module.ATTEMPTS) == (0.1, 5)
    waited: list[float] = []
    later = cleaner_module.Cleaner.later

    def at_once(self: Any, errand: Any, delay: float) -> None:
        waited.append(delay)
        later(self, errand, 0)

    monkeypatch.setattr(cleaner_module.Cleaner, "later", at_once)
    queue = ProbeQueue(["bad"], on_cleanup=fails(99))
    consumer, _ = consumer_of("threads", queue)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    assert waited == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert reconcile(consumer.shutdown(), queue).tombstoned == 1


def test_a_bad_item_does_not_keep_its_neighbours_from_being_cleaned_up() -> None:
    """If one call fails because of one item, the others of that call are cleaned up: at last they go one by one."""
    queue = ProbeQueue(
        [*ITEMS[:5], "bad", *ITEMS[5:]], bulk=21, on_cleanup=lambda items: fails(99 * ("bad" in items))()
    )
    consumer, _ = consumer_of("threads", queue, messages_bulk_size=21, max_handlers=1)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.tombstoned) == (len(ITEMS), 1)
    counts = attempts_of(queue)
    assert counts["bad"] == 5
    assert max(counts[item] for item in ITEMS) < 5


def test_a_cleanup_that_says_which_items_failed() -> None:
    """`CleanupError(failed=…)`: the named items are tried again, the others are cleaned up and never seen again."""
    said: list[list[str]] = []

    class Partly(ProbeQueue):
        def cleanup(self, items: Any) -> None:
            self.calls.append(("cleanup", list(items)))
            failed = [item for item in items if item in ("a", "c") and attempts_of(self)[item] <= 2]
            done = [item for item in items if item not in failed]
            if done:
                super(ProbeQueue, self).cleanup(done)
            said.append(done)
            if failed:
                raise CleanupError(failed, "throttled")

    queue = Partly(["a", "b", "c", "d"], bulk=4)
    consumer, events = consumer_of("threads", queue, messages_bulk_size=4)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.tombstoned) == (4, 0)
    assert attempts_of(queue) == {"a": 3, "b": 1, "c": 3, "d": 1}
    first = events.of(CleanupFailed)[0]
    assert (set(first.items), first.attempt) == ({"a", "c"}, 1)
    cleaned = [item for event in events.of(ItemsCleaned) for item in event.items]
    assert sorted(cleaned) == ["a", "b", "c", "d"]


def test_a_cleanup_error_that_names_nobody_means_everybody() -> None:
    """A CleanupError that names no object of the call fails the whole call: nothing is lost."""
    for named in ([], [object()]):
        queue = ProbeQueue(["a", "b"], bulk=2, on_cleanup=fails(1, CleanupError(named)))
        consumer, _ = consumer_of("threads", queue, messages_bulk_size=2)
        with consumer:
            assert consumer.wait_idle(PATIENCE)
        assert reconcile(consumer.shutdown(), queue).cleaned == 2
        assert attempts_of(queue) == {"a": 2, "b": 2}


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_a_cleanup_that_raises_base_exceptions_kills_nobody(error: Any) -> None:
    """SystemExit and its kin from `cleanup` are failures like any other."""
    queue = ProbeQueue(ITEMS, on_cleanup=fails(1, error))
    consumer, _ = consumer_of("threads", queue)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.revived) == (len(ITEMS), 0)


def test_a_slow_cleanup_holds_up_no_handler() -> None:
    """While one cleanup hangs, items go on being handled and cleaned up by others."""
    let_go, inside = threading.Event(), threading.Event()

    def on_cleanup(items: list[Any]) -> None:
        if "slow" in items:
            inside.set()
            assert let_go.wait(PATIENCE)

    queue = ProbeQueue(["slow"], on_cleanup=on_cleanup)
    consumer, _ = consumer_of("threads", queue, max_workers=3)
    with consumer:
        assert inside.wait(PATIENCE)
        queue.fill(["ok-1", "ok-2"])
        until(lambda: consumer.stats().received == 3, "they came")
        until(lambda: consumer._ledger.total("freed") == 3, "they are handled")
        let_go.set()
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).cleaned == 3


@every_pool
def test_a_slow_item_holds_up_neither_its_siblings_nor_the_next_get(pool: str, tmp_path: Any) -> None:
    """While one item of a bulk is still handled, the others are cleaned up and more is fetched."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item, *ITEMS], bulk=10)
    consumer, _ = consumer_of(pool, queue, max_handlers=2)
    with consumer:
        gate.wait_for()
        until(lambda: consumer.stats().cleaned == len(ITEMS), "all others are cleaned up")
        assert consumer.stats().in_flight == 1
        gate.open()
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS) + 1


def test_a_queue_without_cleanup() -> None:
    """Where there is no `cleanup`, what was consumed counts as cleaned up, and nothing is raised."""
    queue = ProbeQueue([*ITEMS, "drop"], without=["cleanup", "release"])
    consumer, _ = consumer_of("threads", queue)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.dropped) == (len(ITEMS), 1)


@every_pool
def test_cleanup_gets_the_very_objects_once_and_never_none(pool: str) -> None:
    """`cleanup` gets the objects that `get` gave, never none, and never one again that it had accepted."""
    items = [f"{'ok' if number % 3 else 'raise'}:{number}" for number in range(60)]
    queue = ProbeQueue(items, bulk=7)
    consumer, _ = consumer_of(pool, queue, messages_bulk_size=4, backoff=Constant(NEVER))
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.released) == (40, 20)
    objects = {id(item) for item in items}
    calls = queue.called("cleanup")
    assert all(call[0] for call in calls)
    assert {id(item) for call in calls for item in call[0]} <= objects
    assert set(attempts_of(queue).values()) == {1}


def test_cleanup_limit_is_the_most_items_of_a_call() -> None:
    """No `cleanup` and no `release` carries more than the queue's `cleanup_limit`."""

    class Limited(ProbeQueue):
        cleanup_limit = 3

    queue = Limited([*ITEMS, *["raise"] * 10], bulk=30)
    consumer, _ = consumer_of("threads", queue, max_handlers=4, messages_bulk_size=10)
    with consumer:
        until(lambda: consumer.stats().released >= 10, "they went back")
    assert max(len(call[0]) for verb in ("cleanup", "release") for call in queue.called(verb)) <= 3
    stats = consumer.shutdown().stats
    assert stats.balanced
    assert stats.cleaned == len(ITEMS)


# Release


@pytest.mark.parametrize("times", [1, 4])
def test_a_release_that_fails_is_tried_again(times: int) -> None:
    """A `release` that raises is tried again like a cleanup, with the same delay."""
    queue = ProbeQueue(["raise"], on_release=fails(times))
    consumer, events = consumer_of("threads", queue, backoff=Constant(NEVER))
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.released, stats.left) == (1, 0)
    assert queue.called("release") == [(["raise"], NEVER)] * (times + 1)
    assert {failed.verb for failed in events.of(CleanupFailed)} == {"release"}


def test_a_release_that_always_fails_leaves_its_items() -> None:
    """After five attempts the items are left, and the ledger says so."""
    queue = ProbeQueue(["raise", "ok"], on_release=fails(99))
    consumer, events = consumer_of("threads", queue)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.released, stats.left, stats.cleaned) == (0, 1, 1)
    assert len(queue.called("release")) == 5
    assert [failed.final for failed in events.of(CleanupFailed)] == [False] * 4 + [True]
    assert [(event.items, event.left) for event in events.of(ItemsReleased)] == [(("raise",), True)]


@every_pool
def test_failed_items_are_left_where_there_is_no_release(pool: str) -> None:
    """Without `release` a failed item is left, and its room is free again."""
    queue = ProbeQueue(["raise", "ok-1", "exit", "ok-2"], without=["release"])
    consumer, _ = consumer_of(pool, queue, prefetch=0)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.left, stats.failed) == (2, 2, 2)


# The back-off


def released_delays(queue: ProbeQueue) -> dict[str, list[float]]:
    delays: dict[str, list[float]] = {}
    for items, delay in queue.called("release"):
        for item in items:
            delays.setdefault(item, []).append(delay)
    return delays


@every_pool
def test_backoff_is_asked_with_the_attempt(pool: str) -> None:
    """A failed item is released with what `backoff(attempt)` says, the attempt being the queue's own count."""
    asked: list[int] = []

    def backoff(attempt: int) -> float:
        asked.append(attempt)
        return 0 if attempt < 4 else NEVER

    queue = ProbeQueue(["raise"])
    consumer, _ = consumer_of(pool, queue, backoff=backoff)
    with consumer:
        until(lambda: consumer.stats().released == 4, "it has failed four times")
    assert asked == [1, 2, 3, 4]
    assert released_delays(queue) == {"raise": [0, 0, 0, NEVER]}
    assert reconcile(consumer.shutdown(), queue).failed == 4


def test_items_that_failed_together_go_back_with_their_own_delays() -> None:
    """Items of different attempts that fail in one chunk each have the delay of their own attempt."""
    queue = ProbeQueue(["a", "b"], bulk=2)

    def handler(items: Iterator[str]) -> None:
        list(items)
        raise ValueError("the whole chunk")

    queue.release([queue.get(1)[0]], 0)  # "a" was delivered once before
    consumer, _ = consumer_of(
        "threads", queue, handler=handler, messages_bulk_size=2, backoff=lambda attempt: NEVER + attempt
    )
    with consumer:
        until(lambda: consumer.stats().released == 2, "both went back")
    assert released_delays(queue) == {"a": [0, NEVER + 2], "b": [NEVER + 1]}
    assert consumer.shutdown().balanced


def test_default_backoff_depends_on_whether_attempts_are_counted() -> None:
    """Without a `backoff`: Exponential with jitter where the queue counts deliveries, else one second. Never hot."""
    counted, _ = consumer_of("threads", ProbeQueue())
    uncounted, _ = consumer_of("threads", ProbeQueue(without=["attempt"]))
    assert default_backoff(counted._lanes[0]) == Exponential(base=1, max=300)
    assert default_backoff(uncounted._lanes[0]) == Constant(1)


@pytest.mark.parametrize("retry", ["retry", "raise"])
def test_default_backoff_is_used(retry: str) -> None:
    """A failure, or a Retry without a delay, is released with the default's delay."""
    queue = ProbeQueue([retry], without=["attempt"])
    consumer, _ = consumer_of("threads", queue)
    with consumer:
        until(lambda: consumer.stats().released == 1, "it went back")
    assert released_delays(queue) == {retry: [1]}
    assert reconcile(consumer.shutdown(), queue).failed == int(retry == "raise")


def noting(asked: list[int], delay: float) -> Callable[[int], float]:
    """A back-off that writes down what it is asked."""

    def backoff(attempt: int) -> float:
        asked.append(attempt)
        return delay

    return backoff


def saying(delay: Any) -> Callable[[int], Any]:
    """A back-off that always says this."""
    return lambda attempt: delay


def broken_backoff(attempt: int) -> Any:
    raise ZeroDivisionError("no back-off")


@pytest.mark.parametrize(
    "backoff",
    [broken_backoff, saying("soon"), saying(-1), saying(math.nan), saying(math.inf)],
    ids=["raises", "a string", "negative", "not a number", "infinite"],
)
def test_a_broken_backoff_is_told_of_and_the_default_used(backoff: Any) -> None:
    """A `backoff` that raises, or returns what is no delay, is an event; the item has the default's delay."""
    queue = ProbeQueue(["raise"], without=["attempt"])
    consumer, events = consumer_of("threads", queue, backoff=backoff)
    with consumer:
        until(lambda: consumer.stats().released == 1, "it went back")
    assert released_delays(queue) == {"raise": [1]}
    assert [failed.callback for failed in events.of(CallbackFailed)] == ["backoff"]
    assert reconcile(consumer.shutdown(), queue).failed == 1


def test_a_broken_attempt_is_told_of_and_counts_as_the_first() -> None:
    """An `attempt` that raises is an event; the item goes back as if delivered for the first time."""

    class Uncounted(ProbeQueue):
        def attempt(self, item: Any) -> int:
            raise KeyError(item)

    asked: list[int] = []
    queue = Uncounted(["raise"])
    consumer, events = consumer_of("threads", queue, backoff=noting(asked, NEVER))
    with consumer:
        until(lambda: consumer.stats().released == 1, "it went back")
    assert asked == [1]
    assert [failed.callback for failed in events.of(CallbackFailed)] == ["queue.attempt"]
    assert reconcile(consumer.shutdown(), queue).failed == 1


# Retry and Drop


@every_pool
def test_retry_goes_back_and_is_no_failure(pool: str, caplog: Any) -> None:
    """`Retry(delay)` releases the item with that delay, or the back-off's; it is not logged as an error."""
    queue = ProbeQueue(["retry:7", "retry", "ok", "retry:0.5"])
    consumer, events = consumer_of(pool, queue, backoff=Constant(NEVER))
    with consumer:
        until(lambda: consumer.stats().released >= 3, "they went back")
        assert consumer.wait_idle(PATIENCE)
    report = consumer.shutdown()
    delays = released_delays(queue)
    assert (delays["retry:7"], delays["retry"], delays["retry:0.5"][0]) == ([7], [NEVER], 0.5)
    stats = reconcile(report, queue)
    assert (stats.cleaned, stats.failed) == (1, 0)
    assert [handled.failure for handled in events.of(ChunkHandled)] == [None] * len(events.of(ChunkHandled))
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@every_pool
def test_drop_is_cleaned_up_and_counted_apart(pool: str) -> None:
    """`Drop` is done with the item for good: it is cleaned up, counted as dropped, and has not failed."""
    queue = ProbeQueue(["drop:spam", "ok"])
    consumer, events = consumer_of(pool, queue)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.dropped, stats.failed, stats.released) == (1, 1, 0, 0)
    assert [event.items for event in events.of(ItemsCleaned, lambda event: event.dropped)] == [("drop:spam",)]


@every_pool
def test_retry_and_drop_in_the_middle_of_a_chunk(pool: str) -> None:
    """They speak of the item held: those before it are consumed, those behind it go to the next call."""
    queue = ProbeQueue(["ok-1", "drop", "ok-2", "retry:99", "ok-3"], bulk=5)
    consumer, _ = consumer_of(pool, queue, messages_bulk_size=5)
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.dropped, stats.released, stats.failed) == (3, 1, 1, 0)


@pytest.mark.parametrize("delay", [-1, float("nan")])
def test_retry_refuses_a_wrong_delay(delay: float) -> None:
    """A negative delay is refused where it is written."""
    with pytest.raises(ValueError, match="Retry: delay must be at least 0"):
        Retry(delay)


# Dead letters


@every_pool
def test_dead_letters_after_max_attempts(pool: str) -> None:
    """An item that fails at its last attempt goes to `dead_letter`, is then cleaned up, and counts as dropped."""
    buried: list[tuple[str, Failure]] = []
    queue = ProbeQueue(["raise:broken", "ok"])
    consumer, events = consumer_of(
        pool,
        queue,
        max_attempts=3,
        dead_letter=lambda item, failure: buried.append((item, failure)),
        backoff=Constant(0),
    )
    with consumer:
        until(lambda: consumer.stats().dropped == 1, "it is buried")
    ((item, failure),) = buried
    assert item == "raise:broken"
    assert (failure.kind, failure.message) == ("ValueError", "broken")
    assert "Traceback" in failure.traceback
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.dropped, stats.released, stats.failed) == (1, 1, 2, 3)
    assert attempts_of(queue)["raise:broken"] == 1
    assert len(events.of(ItemsCleaned, lambda event: event.dropped)) == 1


def test_a_dead_letter_is_cleaned_up_only_when_dead_letter_has_returned() -> None:
    """While `dead_letter` runs the item is not cleaned up: were the process to die now, it would come again."""
    inside, let_go = threading.Event(), threading.Event()

    def dead_letter(item: Any, failure: Failure) -> None:
        inside.set()
        assert let_go.wait(PATIENCE)

    queue = ProbeQueue(["raise"])
    consumer, _ = consumer_of("threads", queue, max_attempts=1, dead_letter=dead_letter)
    with consumer:
        assert inside.wait(PATIENCE)
        assert queue.called("cleanup") == []
        assert consumer.stats().in_flight == 1
        let_go.set()
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).dropped == 1


def test_a_dead_letter_that_raises_sends_the_item_back() -> None:
    """If `dead_letter` raises, the item is released with the back-off and is tried again when it comes: never lost."""
    queue = ProbeQueue(["raise"])
    asked: list[int] = []
    consumer, events = consumer_of(
        "threads",
        queue,
        max_attempts=2,
        dead_letter=fails(2, ConnectionError("no dead letters today")),
        backoff=noting(asked, 0),
    )
    with consumer:
        until(lambda: consumer.stats().dropped == 1, "it is buried")
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.dropped, stats.released, stats.failed) == (1, 3, 4)
    assert asked == [1, 2, 3]
    failed = events.of(CallbackFailed)
    assert [event.callback for event in failed] == ["dead_letter"] * 2
    assert "no dead letters today" in failed[0].error


def test_retry_is_never_a_dead_letter() -> None:
    """A Retry is not a failure, however often the item was delivered."""
    buried: list[Any] = []
    queue = ProbeQueue(["retry:0"])
    consumer, _ = consumer_of("threads", queue, max_attempts=1, dead_letter=lambda item, failure: buried.append(item))
    with consumer:
        until(lambda: consumer.stats().released >= 5, "it came again and again")
    assert buried == []
    assert reconcile(consumer.shutdown(), queue).dropped == 0


def test_dead_letters_of_a_time_limit(tmp_path: Any) -> None:
    """An item whose task was cancelled for its time limit has failed, and may be a dead letter like any."""
    gate = Gate(tmp_path)
    buried: list[str] = []
    queue = ProbeQueue([gate.item])
    consumer, _ = consumer_of(
        "coroutines",
        queue,
        time_limit=0.1,
        max_attempts=1,
        dead_letter=lambda item, failure: buried.append(failure.message),
    )
    with consumer:
        until(lambda: consumer.stats().dropped == 1, "it is buried")
    assert len(buried) == 1
    assert "time_limit" in buried[0]
    assert reconcile(consumer.shutdown(), queue).failed == 1


# Room


FAILURES = ["raise", "odd", "exit", "break", "retry:1000", "drop"]


@every_pool
@pytest.mark.parametrize("kind", FAILURES)
def test_room_is_given_back_after_every_failure(pool: str, kind: str) -> None:
    """With room for one item only, the line consumes all that comes after any number of failures of each kind."""
    queue = ProbeQueue([*[kind] * 3, *ITEMS], bulk=1)
    consumer, _ = consumer_of(pool, queue, prefetch=0, backoff=Constant(NEVER))
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert stats.cleaned == len(ITEMS)
    assert stats.released + stats.dropped == 3
    assert stats.revived == 0


def swallow(items: Iterator[Any]) -> None:
    """Takes nothing."""


def take_all_and_fail(items: Iterator[Any]) -> None:
    taken = list(items)
    if any(item.startswith("raise") for item in taken):
        raise ValueError


def is_good(item: str) -> bool:
    return not item.startswith("raise")


def bury(item: Any, failure: Failure) -> None:
    """Dead letters that go nowhere."""


def return_a_generator(items: Iterator[Any]) -> Any:
    first = next(items)
    return (_ for _ in ()) if first.startswith("raise") else None


WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the handler takes everything and fails": ({}, {"handler": take_all_and_fail}),
    "the handler returns a generator": ({}, {"handler": return_a_generator}),
    "the handler is each()": ({}, {"handler": each(is_good)}),
    "cleanup always raises": ({"on_cleanup": fails(10**6)}, {}),
    "release always raises": ({"on_release": fails(10**6)}, {}),
    "there is no release": ({"without": ["release"]}, {}),
    "there is no cleanup": ({"without": ["cleanup"]}, {}),
    "the back-off raises": ({}, {"backoff": broken_backoff}),
    "they are dead letters": ({}, {"max_attempts": 1, "dead_letter": bury}),
    "dead letters raise": ({}, {"max_attempts": 1, "dead_letter": fails(10**6), "backoff": Constant(NEVER)}),
    "an observer raises": ({}, {"observers": [fails(10**6)]}),
}


@pytest.mark.parametrize("way", WAYS)
def test_room_is_given_back_on_every_way(way: str) -> None:
    """Whatever else fails around the item, its room is given back: the line gets to the last item."""
    queue_options, options = WAYS[way]
    defaults: dict[str, Any] = {"prefetch": 0, "backoff": Constant(NEVER)}
    queue = ProbeQueue([*["raise"] * 3, *ITEMS], bulk=1, **queue_options)
    options = {**defaults, **options}
    consumer, _ = consumer_of("threads", queue, **options)
    with consumer:
        until(lambda: queue.stats()["got"] == 3 + len(ITEMS), "all were got")
        until(lambda: consumer._ledger.settled(), "all have ended")
    reconcile(consumer.shutdown(), queue)


def test_room_is_given_back_by_handlers_that_take_nothing() -> None:
    """Items that no handler wants are offered to two, and then go back; the room is free for the next ones."""
    queue = ProbeQueue(ITEMS, bulk=1)
    consumer, _ = consumer_of("threads", queue, handler=swallow, prefetch=0, backoff=Constant(NEVER))
    with consumer:
        assert consumer.wait_idle(PATIENCE)
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.released, stats.cleaned, stats.failed) == (len(ITEMS), 0, 0)


@pytest.mark.parametrize("pool", ["coroutines", "processes"])
def test_room_is_given_back_when_handlers_are_ended(pool: str, tmp_path: Any) -> None:
    """Tasks that are cancelled and processes that are killed give back their room."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item, "ok-1", gate.item, "ok-2"], bulk=1)
    consumer, _ = consumer_of(pool, queue, prefetch=0, time_limit=0.2, backoff=Constant(NEVER))
    with consumer:
        until(lambda: consumer.stats().cleaned == 2, "the others are handled")
    stats = reconcile(consumer.shutdown(), queue)
    assert (stats.cleaned, stats.released, stats.failed) == (2, 2, 2)


def test_room_is_given_back_by_getters_that_die() -> None:
    """A getter that dies does not take the room with it that it was promised."""

    def on_get(number: int) -> None:
        if number % 2:
            raise ConnectionError("down")

    queue = ProbeQueue(ITEMS, bulk=1, on_get=on_get)
    quick = Supervision(restart_base=1e-6, restart_limit=1e-6)
    consumer, _ = consumer_of("threads", queue, prefetch=0, supervision=quick)
    with consumer:
        until(lambda: consumer.stats().cleaned == len(ITEMS), "all is handled")
    assert reconcile(consumer.shutdown(), queue).revived >= len(ITEMS)


@every_pool
def test_no_more_is_got_than_there_is_room_for(pool: str, tmp_path: Any) -> None:
    """With `prefetch=0` no more items are in the line than its handlers can hold, however many there are."""
    gate = Gate(tmp_path)
    queue = ProbeQueue([gate.item, gate.item, *ITEMS], wait=0.01)
    consumer, _ = consumer_of(pool, queue, max_workers=2, max_handlers=2, prefetch=0)
    with consumer:
        gate.wait_for(2)
        until(lambda: consumer.stats().fetching == "no room", "they wait")
        assert consumer.stats().received == 2
        gate.open()
        assert consumer.wait_idle(PATIENCE)
    assert reconcile(consumer.shutdown(), queue).cleaned == len(ITEMS) + 2


def test_signals_of_a_handler_are_plain_exceptions() -> None:
    """Retry and Drop can be raised and caught like any exception, with their facts."""
    with pytest.raises(Retry) as retry:
        raise Retry(3)
    with pytest.raises(Drop) as drop:
        raise Drop("spam")
    assert (retry.value.delay, drop.value.reason) == (3, "spam")
