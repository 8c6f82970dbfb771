"""What `MemoryQueue` promises beyond the contract, which it passes in `test_testing.py`."""

from __future__ import annotations

import doctest
import pickle
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, assert_type

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,  # pyright: ignore[reportUnknownVariableType]
)

from queue_consumer import CleanupError, Consumer, Drop, MemoryQueue, Message, Queue, UsageError, each
from queue_consumer.memory import MemoryMessage, _queue
from queue_consumer.memory._queue import DEDUPLICATION
from queue_consumer.testing import ManualClock

# What goes in and what comes out.


def test_plain_items_come_out_as_they_are() -> None:
    """What the queue was made of, or filled with, is given in order, the very objects."""
    things: list[Any] = [object(), "text", None, 5, []]
    queue = MemoryQueue(things)
    queue.fill([things])
    items = queue.get()
    assert all(item is thing for item, thing in zip(items, [*things, things], strict=True))


def test_what_is_put_comes_out_as_a_message() -> None:
    """A message has an id of its own, a body, attributes, and knows its attempt."""
    queue = MemoryQueue()
    id = queue.put(b"body", attributes={"colour": "red"}, group="g")
    [message] = queue.get()
    assert isinstance(message, Message)
    assert (message.id, message.body, message.attributes, message.group) == (
        id,
        b"body",
        {"colour": "red"},
        "g",
    )
    assert (queue.identity(message), queue.attempt(message), message.attempt) == (id, 1, 1)
    assert "body" not in repr(message)


def test_messages_of_all_queues_have_different_ids() -> None:
    """Two messages are never taken for one, wherever they were put."""
    queues = [MemoryQueue() for _ in range(3)]
    ids = [queue.put("same") for queue in queues for _ in range(3)]
    ids += queues[0].put_many([{"body": "same"}, {"body": "same"}])
    assert len(set(ids)) == 11


def test_each_delivery_of_a_message_is_an_object_of_its_own() -> None:
    """As with a broker's receipts, an old delivery cannot clean up a new one."""
    queue = MemoryQueue()
    queue.put("body")
    [first] = queue.get()
    queue.release([first])
    [second] = queue.get()
    assert first is not second
    assert (first.id, first.attempt, second.attempt) == (second.id, 1, 2)
    with pytest.raises(CleanupError):
        queue.cleanup([first])
    queue.cleanup([second])


def test_messages_pickle_with_everything() -> None:
    """A message is the same in another process."""
    queue = MemoryQueue()
    queue.put({"any": "thing"}, attributes={"n": 1}, group="g")
    [message] = queue.get()
    copy = pickle.loads(pickle.dumps(message))
    assert [getattr(copy, name) for name in MemoryMessage.__slots__] == [
        getattr(message, name) for name in MemoryMessage.__slots__
    ]


def test_attributes_are_those_of_the_moment_of_put() -> None:
    """Whoever put a message cannot change it afterwards."""
    queue = MemoryQueue()
    attributes = {"n": 1}
    queue.put("body", attributes=attributes)
    attributes["n"] = 2
    assert queue.get()[0].attributes == {"n": 1}


def test_a_queue_of_plain_items_takes_messages_too() -> None:
    """Plain items have no identity, messages have; both may be in one queue."""
    queue: MemoryQueue[Any] = MemoryQueue([1])
    id = queue.put("body")
    assert [queue.identity(item) for item in queue.get()] == [None, id]


@pytest.mark.parametrize(("limit", "sizes"), [(None, [4, 4, 2]), (3, [3, 3, 3, 1]), (100, [4, 4, 2]), (1, [1] * 10)])
def test_get_gives_a_bulk_or_its_limit(limit: int | None, sizes: list[int]) -> None:
    """No more than `bulk`, no more than `limit`, and less where there is less."""
    queue = MemoryQueue(range(10), bulk=4, wait=0)
    assert [len(queue.get(limit)) for _ in sizes] == sizes
    assert queue.get(limit) == []


def test_get_with_no_room_gives_nothing() -> None:
    """A limit of none is none, and is not waited for."""
    assert MemoryQueue([1], wait=60).get(0) == []


# What is held.


def test_objects_that_are_in_the_queue_more_than_once_are_counted() -> None:
    """Equal objects may be one object; each occurrence is held, cleaned up and released by itself."""
    queue = MemoryQueue(["x"] * 5, bulk=10, wait=0)
    items = queue.get()
    queue.cleanup(items[:2])
    queue.release(items[2:4])
    assert (queue.stats()["in_flight"], queue.stats()["waiting"]) == (1, 2)
    assert queue.get() == ["x", "x"]
    queue.cleanup(["x"] * 3)
    assert queue.stats()["in_flight"] == 0
    with pytest.raises(CleanupError):
        queue.cleanup(["x"])


def test_attempts_of_plain_items_are_counted_while_they_are_held() -> None:
    """A plain item cannot carry its attempt, so the queue knows it, for as long as it is held."""
    item = object()
    queue = MemoryQueue([item])
    for attempt in (1, 2, 3):
        queue.get()
        assert queue.attempt(item) == attempt
        queue.release([item])
    with pytest.raises(UsageError, match="this object is not held, so its attempt is not known"):
        queue.attempt(item)


def test_equal_objects_are_not_mixed_up() -> None:
    """Content proves nothing: an equal object that the queue did not give is a stranger."""
    mine, stranger = [1], [1]
    queue = MemoryQueue([mine])
    queue.get()
    with pytest.raises(CleanupError) as raised:
        queue.cleanup([stranger])
    assert raised.value.failed[0] is stranger
    queue.cleanup([mine])


def test_cleanup_says_which_items_are_not_held() -> None:
    """Strangers are named; the others are cleaned up."""
    queue = MemoryQueue(["a", "b", "c"])
    a, b, _ = queue.get()
    with pytest.raises(CleanupError, match="2 items were not cleaned up: they are not held") as raised:
        queue.cleanup([a, "z", b, a])
    assert raised.value.failed == ["z", a]
    assert queue.stats()["cleaned"] == 2


def test_release_says_that_items_are_not_held() -> None:
    """Releasing what ended is a mistake of the caller; the others go back nevertheless."""
    queue = MemoryQueue(["a", "b"])
    a, b = queue.get()
    queue.cleanup([a])
    with pytest.raises(UsageError, match="1 of 2 items cannot be released, because they are not held"):
        queue.release([a, b])
    assert queue.get() == ["b"]


def test_released_items_stand_behind_those_that_wait() -> None:
    """A failing item does not keep the others waiting."""
    queue = MemoryQueue("abc", bulk=1)
    queue.release(queue.get())
    assert [queue.get() for _ in range(3)] == [["b"], ["c"], ["a"]]


# Delays.


def test_delayed_items_come_when_they_are_due_and_in_that_order() -> None:
    """What is due earlier comes earlier; what is due at the same time comes in the order it was put."""
    clock = ManualClock()
    queue = MemoryQueue(clock=clock, wait=0)
    for body, delay in (("b", 2), ("c", 2), ("a", 1), ("d", 3)):
        queue.put(body, delay=delay)
    seen: list[list[Any]] = []
    for _ in range(4):
        seen.append([message.body for message in queue.get()])
        clock.advance(1)
    assert seen == [[], ["a"], ["b", "c"], ["d"]]


def test_a_waiting_get_is_woken_when_the_clock_is_moved() -> None:
    """With a clock that is moved by hand, a `get` that waits sees what has become due."""
    clock = ManualClock()
    queue = MemoryQueue(clock=clock, wait=60)
    queue.put("later", delay=3600)
    got = in_background(queue.get, queue)
    clock.advance(3600)
    assert [message.body for message in got()] == ["later"]


def test_a_waiting_get_wakes_by_itself_when_an_item_is_due() -> None:
    """With a clock that runs, nobody needs to be told."""
    queue = MemoryQueue(["a"], wait=60)
    queue.release(queue.get(), delay=0.01)
    assert queue.get() == ["a"]


def in_background(get: Callable[[], Any], queue: MemoryQueue[Any]) -> Callable[[], Any]:
    """Call it in a thread that sleeps in it by the time this returns; the result is what that returns."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(get()), daemon=True)
    thread.start()
    while not queue._sleepers:
        thread.join(0.001)

    def result() -> Any:
        thread.join(20)
        return results[0]

    return result


def test_a_waiting_get_is_woken_by_what_comes_in() -> None:
    """However long the wait, an item is given at once."""
    queue: MemoryQueue[Any] = MemoryQueue(wait=60)
    for come in (lambda: queue.put("a"), lambda: queue.fill(["b"]), lambda: queue.put_many([{"body": "c"}])):
        got = in_background(queue.get, queue)
        come()
        assert len(got()) == 1


def test_every_waiting_get_is_woken_by_an_interrupt() -> None:
    """An interrupt is for all who wait now, and for nobody later."""
    queue: MemoryQueue[Any] = MemoryQueue(wait=60)
    waiting = [in_background(queue.get, queue) for _ in range(3)]
    while queue._sleepers < 3:
        threading.Event().wait(0.001)  # until the others sleep, too, which nothing tells us
    queue.interrupt()
    assert [got() for got in waiting] == [[], [], []]
    queue.put("a")
    assert len(queue.get()) == 1


def test_an_interrupt_may_come_from_a_signal_handler() -> None:
    """A signal handler runs in the middle of whatever the thread was doing, perhaps with our lock."""
    queue = MemoryQueue([1])
    before = signal.signal(signal.SIGUSR1, lambda signum, frame: queue.interrupt())
    try:
        with queue._lock:
            signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert queue.get() == [1]


def test_close_wakes_who_waits_and_leaves_the_queue_usable() -> None:
    """One consumer after the other may own the queue, and close it."""
    queue: MemoryQueue[Any] = MemoryQueue(wait=60)
    got = in_background(queue.get, queue)
    queue.close()
    assert got() == []
    queue.put("a")
    assert len(queue.get()) == 1
    assert queue.closed == 1


# Dead letters.


def test_an_item_goes_to_the_dead_letters_after_its_last_attempt() -> None:
    """Deliveries are counted; the release after the last one does not bring the item back."""
    queue = MemoryQueue(["a"], max_attempts=2, wait=0)
    queue.release(queue.get())
    queue.release(queue.get(), delay=5)
    assert queue.get() == []
    assert queue.dead_letters == ["a"]
    assert (queue.stats()["buried"], queue.stats()["released"]) == (1, 1)


def test_dead_letters_may_be_another_queue() -> None:
    """A message keeps its id, body and attributes there, and its attempts start anew."""
    dead = MemoryQueue()
    queue = MemoryQueue(max_attempts=1, dead_letters=dead)
    id = queue.put("body", attributes={"n": 1}, group="g")
    queue.release(queue.get())
    [message] = dead.get()
    assert (message.id, message.body, message.attributes, message.group) == (id, "body", {"n": 1}, "g")
    assert message.attempt == 1
    dead.cleanup([message])


def test_dead_letters_of_plain_items_may_be_another_queue() -> None:
    """Plain items stay what they are there, too."""
    dead = MemoryQueue[int]([])
    queue = MemoryQueue([7], max_attempts=1, dead_letters=dead)
    queue.release(queue.get())
    assert (dead.get(), dead.attempt(7)) == ([7], 1)


# Deduplication.


def test_a_deduplication_id_puts_one_message_in_five_minutes() -> None:
    """A sender that does not know whether it has sent may send again."""
    clock = ManualClock()
    queue = MemoryQueue(clock=clock, wait=0)
    ids = [queue.put("a", deduplication_id="1"), queue.put("a", deduplication_id="1")]
    ids += queue.put_many([{"body": "a", "deduplication_id": "1"}, {"body": "b", "deduplication_id": "2"}])
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert [message.body for message in queue.get()] == ["a", "b"]
    clock.advance(DEDUPLICATION)
    assert queue.put("a", deduplication_id="1") != ids[0]
    assert len(queue.get()) == 1
    assert list(queue._recent) == ["1"]


# Delivered twice.


def test_a_message_that_is_delivered_twice_ends_with_either_delivery() -> None:
    """As with brokers: two deliveries, one message."""
    queue = MemoryQueue(wait=0)
    queue.put("a")
    [first] = queue.get()
    queue.redeliver(first)
    queue.redeliver(first)
    assert (queue.stats()["waiting"], queue.stats()["in_flight"]) == (1, 0)
    [second] = queue.get()
    assert (second.id, second.attempt) == (first.id, 2)
    assert queue.stats()["in_flight"] == 1
    queue.cleanup([first])
    assert (queue.stats()["in_flight"], queue.stats()["cleaned"]) == (0, 1)
    queue.release([second])
    assert queue.get() == []
    assert (queue.stats()["released"], queue.stats()["waiting"]) == (0, 0)


def test_a_message_that_waits_already_is_not_put_back_twice() -> None:
    """A message is in one place, however many deliveries of it are about."""
    queue = MemoryQueue(wait=0)
    queue.put("a")
    [first] = queue.get()
    queue.redeliver(first)
    queue.release([first], delay=5)
    assert (queue.stats()["waiting"], queue.stats()["delayed"]) == (1, 0)
    assert len(queue.get()) == 1


def test_a_message_that_is_cleaned_up_before_its_second_delivery_is_not_delivered() -> None:
    """What is done with does not come again, even where it waits already."""
    queue = MemoryQueue(wait=0)
    queue.put("a")
    [message] = queue.get()
    queue.redeliver(message)
    queue.cleanup([message])
    assert queue.stats()["waiting"] == 0
    assert queue.get() == []


@pytest.mark.parametrize("items", [["a"], None])
def test_only_a_held_message_can_be_delivered_twice(items: list[str] | None) -> None:
    """A plain item has no identity to be recognised by, and what is not held is not out there."""
    queue: MemoryQueue[Any] = MemoryQueue(items or [])
    queue.put("b")
    item = queue.get()[0]
    if items is None:
        queue.cleanup([item])
    with pytest.raises(UsageError, match="only a message that was put, and is held"):
        queue.redeliver(item)


# Figures and the journal.


def test_stats_count_places_and_deeds() -> None:
    """Each item is in one place, and every deed is counted."""
    queue: MemoryQueue[Any] = MemoryQueue("abcdef", bulk=4)
    items = queue.get()
    queue.cleanup(items[:1])
    queue.release(items[1:2])
    queue.release(items[2:3], delay=60)
    assert queue.stats() == {
        "waiting": 3,
        "delayed": 1,
        "in_flight": 1,
        "put": 6,
        "got": 4,
        "cleaned": 1,
        "released": 2,
        "buried": 0,
        "expired": 0,
    }
    assert repr(queue) == "<MemoryQueue waiting=3 delayed=1 in_flight=1 put=6 got=4 cleaned=1 released=2>"
    assert repr(MemoryQueue()) == "<MemoryQueue empty>"


def test_journal_tells_what_became_of_each_item() -> None:
    """In the order in which it happened, with the object, the attempt and the delay."""
    queue = MemoryQueue(["a", "b"], max_attempts=2, clock=(clock := ManualClock()), journal=True)
    queue.get()
    queue.cleanup(["b"])
    queue.release(["a"], delay=3)
    clock.advance(3)
    queue.get()
    queue.release(["a"])
    assert queue.journal == [
        ("put", "a", 0, 0),
        ("put", "b", 0, 0),
        ("got", "a", 1, 0),
        ("got", "b", 1, 0),
        ("cleaned", "b", 1, 0),
        ("released", "a", 1, 3),
        ("got", "a", 2, 0),
        ("buried", "a", 2, 0),
    ]


def test_journal_is_kept_only_if_asked_for() -> None:
    """It would grow for ever."""
    assert MemoryQueue([1]).journal is None


# Arguments.


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"bulk": 0}, ValueError, "MemoryQueue: bulk must be a whole number of at least 1; got 0"),
        ({"bulk": 1.5}, TypeError, "MemoryQueue: bulk must be a whole number of at least 1; got 1.5"),
        ({"wait": -1}, ValueError, "MemoryQueue: wait must be a number of at least 0; got -1"),
        ({"wait": "1"}, TypeError, "MemoryQueue: wait must be a number of at least 0; got '1'"),
        (
            {"max_attempts": 0},
            ValueError,
            "MemoryQueue: max_attempts must be a whole number of at least 1; got 0",
        ),
        (
            {"dead_letters": 1},
            TypeError,
            "MemoryQueue: dead_letters must be a MemoryQueue, a list or None; got 1",
        ),
        ({"clock": 1}, TypeError, "MemoryQueue: clock must be callable; got 1"),
        ({"journal": 1}, TypeError, "MemoryQueue: journal must be True or False; got 1"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(
    arguments: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    """The sentence names the parameter, what is allowed, and the value."""
    with pytest.raises(error) as raised:
        MemoryQueue(**arguments)
    assert str(raised.value) == sentence


@pytest.mark.parametrize("delay", [-1, float("nan")])
def test_wrong_delays_are_refused_and_change_nothing(delay: float) -> None:
    """An item with an impossible delay stays where it is."""
    queue: MemoryQueue[Any] = MemoryQueue(["a"])
    items = queue.get()
    with pytest.raises(ValueError, match="release: delay must be a number of at least 0"):
        queue.release(items, delay)
    with pytest.raises(ValueError, match="put: delay must be a number of at least 0"):
        queue.put("b", delay=delay)
    with pytest.raises(ValueError, match="put: delay must be a number of at least 0"):
        queue.put_many([{"body": "c"}, {"body": "d", "delay": delay}])
    assert (queue.stats()["in_flight"], queue.stats()["put"]) == (1, 1)


@pytest.mark.parametrize("entry", [{"delay": 1}, "body", 5])
def test_entries_without_a_body_are_refused(entry: Any) -> None:
    """An entry maps put's parameters to its arguments, and put needs a body."""
    with pytest.raises(ValueError, match="put_many: each entry must map put's parameters to its arguments"):
        MemoryQueue().put_many([entry])


def test_it_is_a_queue() -> None:
    """It fits the left socket, as the protocol describes it."""
    assert isinstance(MemoryQueue(), Queue)


def test_types_of_items_are_known() -> None:
    """Plain items keep their type, and what is put is a message, for type checkers too."""
    assert_type(MemoryQueue(range(3)), MemoryQueue[int])
    assert_type(MemoryQueue(range(3)).get(), list[int])
    assert_type(MemoryQueue(), MemoryQueue[MemoryMessage])
    assert_type(MemoryQueue[str]([]), MemoryQueue[str])


# Many threads, and whole lines.


def test_many_threads_lose_nothing() -> None:
    """Senders and takers at once, some items released, some cleaned up: each is cleaned up once."""
    queue: MemoryQueue[Any] = MemoryQueue(wait=0.01, bulk=7)
    cleaned: list[Any] = []
    senders = 3

    def send(sender: int) -> None:
        for number in range(300):
            if number % 2:
                queue.put((sender, number))
            else:
                queue.fill([(sender, number)])

    def take(seed: int) -> None:
        chance = random.Random(seed)
        while len(cleaned) < senders * 300:
            items = queue.get()
            again = [item for item in items if chance.random() < 0.3]
            done = [item for item in items if not any(item is other for other in again)]
            queue.release(again)
            queue.cleanup(done)
            cleaned.extend(done)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(senders)]
    threads += [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    counts = Counter(item.body if isinstance(item, MemoryMessage) else item for item in cleaned)
    assert counts == Counter((sender, number) for sender in range(senders) for number in range(300))
    stats = queue.stats()
    assert (stats["waiting"], stats["in_flight"], stats["cleaned"]) == (0, 0, senders * 300)


def test_two_consumers_share_one_queue() -> None:
    """Each item goes to one of them, and both ledgers balance."""
    queue = MemoryQueue(range(400), wait=0.01)
    handled: list[int] = []
    consumers = [Consumer(queue, each(handled.append), 2, 2) for _ in range(2)]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        assert consumer.wait_idle(20)
    reports = [consumer.shutdown() for consumer in consumers]
    assert sorted(handled) == list(range(400))
    assert all(report.balanced for report in reports)
    assert sum(report.stats.cleaned for report in reports) == queue.stats()["cleaned"] == 400


def test_equal_items_are_all_handled() -> None:
    """A line takes no plain item for a copy of another."""
    queue = MemoryQueue([1, 1, 1, "x", "x"] * 20, wait=0.01)
    handled: list[Any] = []

    @each
    def handler(item: Any) -> None:
        handled.append(item)
        if item == "x":
            raise Drop

    with Consumer(queue, handler, messages_bulk_size=4) as consumer:
        assert consumer.wait_idle(20)
    report = consumer.shutdown()
    assert report.balanced, report
    assert Counter(handled) == {1: 60, "x": 40}
    assert (report.stats.cleaned, report.stats.dropped, queue.stats()["cleaned"]) == (60, 40, 100)


class Model(RuleBasedStateMachine):
    """A MemoryQueue beside a plain account of what should be in it."""

    @initialize(max_attempts=st.sampled_from([None, 1, 3]), journal=st.booleans())
    def make(self, max_attempts: int | None, journal: bool) -> None:
        self.clock = ManualClock()
        self.max_attempts = max_attempts
        self.queue: MemoryQueue[Any] = MemoryQueue(
            [], wait=0, bulk=5, clock=self.clock, max_attempts=max_attempts, journal=journal
        )
        self.waiting: Counter[Any] = Counter()
        self.delayed: list[tuple[float, Any]] = []
        self.held: list[Any] = []
        self.done = 0
        self.buried = 0

    def name(self, item: Any) -> Any:
        return item.id if isinstance(item, MemoryMessage) else item

    @rule(items=st.lists(st.sampled_from(["x", "y", "z"]), max_size=4))
    def fill(self, items: list[str]) -> None:
        self.queue.fill(items)
        self.waiting.update(items)

    @rule(delay=st.sampled_from([0, 0, 1, 5]))
    def put(self, delay: int) -> None:
        id = self.queue.put("body", delay=delay)
        if delay:
            self.delayed.append((self.clock() + delay, id))
        else:
            self.waiting[id] += 1

    @rule(seconds=st.sampled_from([1, 4]))
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)
        self.waiting.update(name for due, name in self.delayed if due <= self.clock())
        self.delayed = [(due, name) for due, name in self.delayed if due > self.clock()]

    @rule(limit=st.sampled_from([None, 1, 3, 9]))
    def get(self, limit: int | None) -> None:
        items = self.queue.get(limit)
        assert len(items) == min(5, limit or 5, self.waiting.total())
        for item in items:
            assert self.waiting[self.name(item)] > 0
            self.waiting[self.name(item)] -= 1
        self.held += items

    def some(self, data: st.DataObject) -> list[Any]:
        chosen = data.draw(st.lists(st.integers(0, max(0, len(self.held) - 1)), unique=True, max_size=4))
        items = [self.held[index] for index in chosen if index < len(self.held)]
        self.held = [item for index, item in enumerate(self.held) if index not in chosen]
        return items

    @rule(data=st.data())
    def cleanup(self, data: st.DataObject) -> None:
        items = self.some(data)
        self.queue.cleanup(items)
        self.done += len(items)

    @rule(data=st.data(), delay=st.sampled_from([0, 2]))
    def release(self, data: st.DataObject, delay: int) -> None:
        buried = len(self.queue.dead_letters)  # type: ignore[arg-type]
        items = self.some(data)
        self.queue.release(items, delay)
        dead: list[Any] = list(self.queue.dead_letters)[buried:]  # type: ignore[arg-type]
        self.buried += len(dead)
        back = Counter(self.name(item) for item in items) - Counter(self.name(item) for item in dead)
        if self.max_attempts == 1:
            assert not back
        if delay:
            self.delayed += [(self.clock() + delay, name) for name in back.elements()]
        else:
            self.waiting += back

    @invariant()
    def agrees(self) -> None:
        stats = self.queue.stats()
        assert stats["waiting"] + stats["delayed"] == self.waiting.total() + len(self.delayed)
        assert stats["in_flight"] == len(self.held)
        assert (stats["cleaned"], stats["buried"]) == (self.done, self.buried)
        assert stats["put"] == sum(stats[place] for place in ("waiting", "delayed", "in_flight", "cleaned", "buried"))


def test_every_item_is_in_one_place() -> None:
    """Whatever is done in whatever order, each item is where it should be, and nowhere else."""
    thorough = settings(max_examples=60, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(Model, settings=thorough)


def test_the_example_of_the_docstring_runs() -> None:
    """What the documentation shows is what happens."""
    tried = doctest.testmod(_queue)
    assert tried.attempted > 0
    assert tried.failed == 0
