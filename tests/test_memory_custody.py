"""What `MemoryQueue` promises about leases, and about the order of groups."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
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

from queue_consumer import CleanupError, LeaseLost, MemoryQueue, SupportsExtend, UsageError
from queue_consumer.memory import MemoryMessage
from queue_consumer.testing import ManualClock

LEASE = 30.0


def leased(*bodies: Any, clock: ManualClock | None = None, **options: Any) -> MemoryQueue[MemoryMessage]:
    """A queue with leases, and with these messages."""
    queue = MemoryQueue(lease=LEASE, wait=0, clock=clock or ManualClock(), **options)
    queue.put_many([{"body": body} for body in bodies])
    return queue


def extend(queue: MemoryQueue[Any], items: list[Any], seconds: float) -> None:
    assert queue.extend is not None
    queue.extend(items, seconds)


def bodies_of(items: list[MemoryMessage]) -> list[Any]:
    return [item.body for item in items]


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


# Leases that run out.


def test_what_is_held_longer_than_its_lease_comes_again() -> None:
    """It is hidden for just so long; then it is another delivery of the same message, one attempt later."""
    queue = leased("a", clock=(clock := ManualClock()))
    [first] = queue.get()
    clock.advance(LEASE - 0.5)
    assert queue.get() == []
    assert queue.holds(first)
    clock.advance(0.5)
    assert not queue.holds(first)
    [second] = queue.get()
    assert second is not first
    assert (second.id, first.attempt, second.attempt) == (first.id, 1, 2)


@pytest.mark.parametrize("given_again", [True, False])
def test_a_late_cleanup_of_a_lost_delivery_fails(given_again: bool) -> None:
    """Too late is too late, whether or not somebody has the message now; whoever has it keeps it."""
    queue = leased("a", "b", clock=(clock := ManualClock()))
    late, kept = queue.get()
    extend(queue, [kept], 2 * LEASE)
    clock.advance(LEASE)
    again = queue.get() if given_again else []
    with pytest.raises(CleanupError) as raised:
        queue.cleanup([late, kept])
    assert raised.value.failed == [late]
    assert all(queue.holds(item) for item in again)
    assert queue.stats()["cleaned"] == 1
    again = again or queue.get()
    queue.cleanup(again)
    clock.advance(2 * LEASE)
    assert queue.get() == []


@pytest.mark.parametrize("given_again", [True, False])
def test_a_late_release_of_a_lost_delivery_does_nothing(given_again: bool) -> None:
    """It is back already, and perhaps with somebody else: neither shown nor delayed on our behalf."""
    queue = leased("a", "b", clock=(clock := ManualClock()))
    late, kept = queue.get()
    extend(queue, [kept], 2 * LEASE)
    clock.advance(LEASE)
    again = queue.get() if given_again else []
    queue.release([late, kept], delay=5)
    assert (queue.stats()["released"], queue.stats()["delayed"]) == (1, 1)
    assert [queue.holds(item) for item in again] == [True] * given_again
    assert len(queue.get()) == 1 - given_again


def test_items_that_ended_have_no_lease() -> None:
    """What was cleaned up or released does not come again when its lease would have run out; nor is it remembered."""
    queue = leased("a", "b", clock=(clock := ManualClock()))
    a, b = queue.get()
    queue.cleanup([a])
    queue.release([b], delay=10 * LEASE)
    clock.advance(5 * LEASE)
    assert queue.get() == []
    assert queue.stats()["expired"] == 0
    assert len(queue._leases) == 0


def test_a_lease_that_runs_out_after_the_last_attempt_makes_a_dead_letter() -> None:
    """Deliveries count whatever came of them, as with brokers: what kills its consumers does not come for ever."""
    queue = leased("a", clock=(clock := ManualClock()), max_attempts=2)
    queue.get()
    clock.advance(LEASE)
    [last] = queue.get()
    clock.advance(LEASE)
    assert queue.get() == []
    assert queue.dead_letters == [last]
    assert (queue.stats()["expired"], queue.stats()["buried"], queue.stats()["waiting"]) == (2, 1, 0)


def test_dead_letters_are_handed_over_without_the_lock() -> None:
    """Two queues may have each other's dead letters: burying waits for the other queue, and nobody waits for that."""
    dead = MemoryQueue(wait=0)
    queue = leased("a", clock=(clock := ManualClock()), max_attempts=1, dead_letters=dead)
    queue.get()
    clock.advance(LEASE)
    getter = threading.Thread(target=queue.get, daemon=True)
    with dead._lock:
        getter.start()
        while queue._buried == 0:
            getter.join(0.001)
        other = threading.Thread(target=queue.put, args=("b",), daemon=True)
        other.start()
        other.join(20)
        assert not other.is_alive()
    getter.join(20)
    assert bodies_of(dead.get()) == ["a"]


def test_leases_may_be_ended_by_hand() -> None:
    """A test need not move the clock for one item; what has no lease is not touched."""
    queue = leased("a", "b", "c")
    a, b, c = queue.get()
    queue.cleanup([c])
    queue.expire([a, a, c])
    assert [queue.holds(item) for item in (a, b, c)] == [False, True, False]
    assert bodies_of(queue.get()) == ["a"]
    assert queue.stats()["expired"] == 1


def test_plain_objects_have_leases_too() -> None:
    """The same object comes again, and the queue knows its attempt."""
    item = object()
    queue = MemoryQueue([item], lease=LEASE, clock=(clock := ManualClock()), wait=0)
    for attempt in (1, 2, 3):
        assert queue.get() == [item]
        assert queue.attempt(item) == attempt
        clock.advance(LEASE)
    queue.get()
    queue.cleanup([item])
    assert queue.get() == []


def test_one_lease_is_for_all_occurrences_of_an_object() -> None:
    """They cannot be told apart: each `get` and each `extend` of one is for all that are held, and all come again."""
    queue = MemoryQueue(["x"] * 3, lease=LEASE, clock=(clock := ManualClock()), wait=0, bulk=1)
    queue.get()
    clock.advance(LEASE / 2)
    queue.get()
    clock.advance(LEASE / 2)
    assert queue.stats()["in_flight"] == 2
    queue.cleanup(["x"])
    clock.advance(LEASE / 2)
    assert (queue.stats()["in_flight"], queue.stats()["expired"]) == (0, 1)
    assert queue.stats()["waiting"] == 2


def test_an_older_delivery_that_is_lost_brings_nothing_back() -> None:
    """Of two deliveries of a message the later one has it; when that is lost, it comes again, once."""
    queue = leased("a", clock=(clock := ManualClock()))
    [first] = queue.get()
    clock.advance(LEASE / 2)
    queue.redeliver(first)
    [second] = queue.get()
    clock.advance(LEASE / 2)
    assert (queue.holds(first), queue.holds(second)) == (False, True)
    assert queue.get() == []
    clock.advance(LEASE / 2)
    [third] = queue.get()
    assert third.attempt == 3
    queue.cleanup([third])
    assert queue.stats()["expired"] == 2


def test_a_delivery_of_what_another_delivery_ended_is_not_held() -> None:
    """Of two deliveries one is cleaned up: nothing is left to be held, extended or lost by the other."""
    queue = leased("a", clock=(clock := ManualClock()))
    [first] = queue.get()
    queue.redeliver(first)
    [second] = queue.get()
    queue.cleanup([first])
    assert not queue.holds(second)
    with pytest.raises(LeaseLost) as raised:
        extend(queue, [second], 1)
    assert raised.value.items == [second]
    clock.advance(LEASE)
    assert queue.get() == []


# Leases that are extended.


@pytest.mark.parametrize("seconds", [LEASE * 3, LEASE, LEASE / 10])
def test_extend_counts_from_now(seconds: float) -> None:
    """Whatever was left of the lease, more or less, from now on it lasts so many seconds."""
    queue = leased("a", clock=(clock := ManualClock()))
    [message] = queue.get()
    clock.advance(LEASE / 2)
    extend(queue, [message], seconds)
    clock.advance(seconds - 0.5)
    assert queue.holds(message)
    clock.advance(0.5)
    assert not queue.holds(message)


def test_extend_concerns_no_other_item() -> None:
    """Those that came with it run out as they would have."""
    queue = leased("a", "b", clock=(clock := ManualClock()))
    a, _ = queue.get()
    clock.advance(LEASE / 2)
    extend(queue, [a], LEASE)
    clock.advance(LEASE / 2)
    assert bodies_of(queue.get()) == ["b"]


def test_extend_names_just_those_that_are_lost() -> None:
    """Lost, cleaned up, released: their very objects, and no others; the rest is extended nevertheless."""
    queue = leased("lost", "cleaned", "held", "released", "held too", clock=(clock := ManualClock()))
    lost, cleaned, held, released, too = queue.get()
    extend(queue, [cleaned, held, released, too], 2 * LEASE)
    clock.advance(LEASE)
    queue.cleanup([cleaned])
    queue.release([released])
    with pytest.raises(LeaseLost) as raised:
        extend(queue, [lost, cleaned, held, released, too], 5 * LEASE)
    expected = [lost, cleaned, released]
    assert all(one is other for one, other in zip(raised.value.items, expected, strict=True))
    clock.advance(5 * LEASE - 1)
    assert queue.holds(held)
    assert queue.holds(too)


def test_a_queue_without_leases_cannot_extend() -> None:
    """Who needs no leases finds none: what is held is held for as long as it takes."""
    queue = MemoryQueue(["a"])
    assert (queue.extend, queue.lease) == (None, None)
    assert isinstance(leased(), SupportsExtend)
    assert leased().lease == LEASE


# Those who wait.


def test_a_waiting_get_is_given_what_is_lost() -> None:
    """With a clock that is moved by hand, a `get` that waits sees a lease run out."""
    queue = MemoryQueue(lease=LEASE, clock=(clock := ManualClock()), wait=60)
    queue.put("a")
    queue.get()
    got = in_background(queue.get, queue)
    clock.advance(LEASE)
    assert bodies_of(got()) == ["a"]


def test_a_waiting_get_wakes_by_itself_when_a_lease_runs_out() -> None:
    """With a clock that runs, nobody needs to be told."""
    queue = MemoryQueue(lease=0.01, wait=60)
    queue.put("a")
    queue.get()
    assert bodies_of(queue.get()) == ["a"]


def test_a_waiting_get_hears_of_a_lease_that_is_shortened() -> None:
    """It sleeps no longer than until the first lease ends, and one may come to end earlier meanwhile."""
    queue = MemoryQueue(lease=3600, wait=60)
    queue.put("a")
    held = queue.get()
    got = in_background(queue.get, queue)
    extend(queue, held, 0.01)
    assert bodies_of(got()) == ["a"]


# Order.


def ordered(*entries: str, clock: ManualClock | None = None, **options: Any) -> MemoryQueue[MemoryMessage]:
    """An ordered queue with these messages: "a1" is of group "a", and "-1" of none."""
    options = {"wait": 0, "clock": clock or ManualClock(), **options}
    queue = MemoryQueue(ordered=True, **options)
    for entry in entries:
        put(queue, entry)
    return queue


def put(queue: MemoryQueue[Any], body: str, delay: float = 0) -> None:
    queue.put(body, group=None if body[0] == "-" else body[0], delay=delay)


def test_one_bulk_may_hold_several_of_a_group_in_order() -> None:
    """The oldest go first, across the groups, and each group is in order."""
    queue = ordered("a1", "b1", "a2", "-1", "a3", "b2")
    assert bodies_of(queue.get(5)) == ["a1", "b1", "a2", "-1", "a3"]


def test_a_group_of_which_something_is_held_gives_no_more() -> None:
    """Whatever comes in meanwhile waits; other groups, and what has none, do not."""
    queue = ordered("a1", "a2", "b1", "-1")
    [held] = queue.get(1)
    put(queue, "a3")
    assert bodies_of(queue.get()) == ["b1", "-1"]
    assert queue.get() == []
    queue.cleanup([held])
    assert bodies_of(queue.get()) == ["a2", "a3"]


def test_a_group_is_free_when_all_that_is_held_of_it_has_ended() -> None:
    """One of two is not enough."""
    queue = ordered("a1", "a2", "a3")
    first, second = queue.get(2)
    queue.cleanup([second])
    assert queue.get() == []
    queue.cleanup([first])
    assert bodies_of(queue.get()) == ["a3"]


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_what_is_released_goes_back_to_its_place(order: list[int]) -> None:
    """In whatever order they are released, they come again in the order they were put, before those behind them."""
    queue = ordered("a1", "a2", "a3", "a4")
    items = queue.get(3)
    for index in order:
        assert queue.get() == []
        queue.release([items[index]])
    again = queue.get()
    assert bodies_of(again) == ["a1", "a2", "a3", "a4"]
    assert [item.attempt for item in again] == [2, 2, 2, 1]


def test_what_is_released_with_a_delay_keeps_its_group_back() -> None:
    """None of the group overtakes it, nor comes alone before it; others do."""
    queue = ordered("a1", "a2", "a3", "b1", clock=(clock := ManualClock()))
    first, second = queue.get(2)
    queue.release([second], delay=5)
    queue.release([first])
    assert bodies_of(queue.get()) == ["b1"]
    clock.advance(5)
    assert bodies_of(queue.get()) == ["a1", "a2", "a3"]


def test_what_is_put_with_a_delay_keeps_back_those_behind_it() -> None:
    """Those that were put before it go on."""
    queue = ordered("a1", clock=(clock := ManualClock()))
    put(queue, "a2", delay=5)
    put(queue, "a3")
    for _ in range(2):
        items = queue.get()
        assert bodies_of(items) == ["a1"]
        queue.release(items)
    queue.cleanup(queue.get())
    assert queue.get() == []
    clock.advance(5)
    assert bodies_of(queue.get()) == ["a2", "a3"]


def test_what_is_put_with_a_delay_first_keeps_back_its_group() -> None:
    """Also where nothing of the group was there before."""
    queue = ordered(clock=(clock := ManualClock()))
    put(queue, "a1", delay=5)
    put(queue, "a2")
    assert queue.get() == []
    clock.advance(5)
    assert bodies_of(queue.get()) == ["a1", "a2"]


def test_what_has_no_group_goes_behind_when_it_is_released() -> None:
    """It has no place to keep, so that it keeps nobody waiting."""
    queue = ordered("-1", "-2", "a1", bulk=1)
    queue.release(queue.get())
    assert [bodies_of(queue.get()) for _ in range(3)] == [["-2"], ["a1"], ["-1"]]


def test_plain_objects_have_no_group() -> None:
    """An ordered queue takes them, and gives them in order."""
    queue: MemoryQueue[Any] = MemoryQueue(["x", "y", "x"], ordered=True, wait=0)
    assert queue.get() == ["x", "y", "x"]
    assert queue.ordering_key is not None
    assert queue.ordering_key("x") is None
    queue.cleanup(["x", "x", "y"])
    assert queue.stats()["in_flight"] == 0


def test_a_lost_lease_puts_back_to_its_place() -> None:
    """And none of the group is given before what is still held of it has ended."""
    queue = ordered("a1", "a2", "a3", clock=(clock := ManualClock()), lease=LEASE)
    first, second = queue.get(2)
    extend(queue, [second], 2 * LEASE)
    clock.advance(LEASE)
    assert not queue.holds(first)
    assert queue.get() == []
    queue.release([second])
    again = queue.get()
    assert [(item.body, item.attempt) for item in again] == [("a1", 2), ("a2", 2), ("a3", 1)]


def test_a_dead_letter_keeps_nobody_waiting() -> None:
    """When the last attempt has failed, the group goes on without the message."""
    queue = ordered("a1", "a2", max_attempts=1)
    queue.release(queue.get(1), delay=60)
    assert bodies_of(queue.get()) == ["a2"]
    assert isinstance(queue.dead_letters, list)
    assert bodies_of(queue.dead_letters) == ["a1"]


def test_a_message_delivered_twice_keeps_its_place() -> None:
    """A broker that delivers once more delivers the head of the group; and when that is done with, it is gone."""
    queue = ordered("a1", "a2")
    [first] = queue.get(1)
    queue.redeliver(first)
    [second] = queue.get(1)
    assert (second.body, second.attempt) == ("a1", 2)
    assert queue.get() == []
    queue.cleanup([first])
    assert bodies_of(queue.get()) == ["a2"]


def test_a_message_that_is_cleaned_up_in_its_place_keeps_nobody_waiting() -> None:
    """It waits to be delivered again, and an earlier delivery ends it: those behind it go on."""
    queue = ordered("a1", "a2", "a3")
    [first] = queue.get(1)
    queue.redeliver(first)
    queue.cleanup([first])
    for body in ("a2", "a3"):
        items = queue.get(1)
        assert bodies_of(items) == [body]
        queue.cleanup(items)


def test_a_waiting_get_is_given_what_becomes_free() -> None:
    """Whatever frees the group: a cleanup, a release, a dead letter."""
    for end in ("cleanup", "release", "bury"):
        queue = ordered("a1", "a2", wait=60, max_attempts=1 if end == "bury" else None)
        held = queue.get(1)
        got = in_background(lambda: queue.get(1), queue)  # noqa: B023 - it is called in this very round
        if end == "cleanup":
            queue.cleanup(held)
        else:
            queue.release(held)
        assert bodies_of(got()) == ["a1" if end == "release" else "a2"]


def test_what_is_kept_back_waits() -> None:
    """For the figures it waits as anything else does, and the queue is not empty."""
    queue = ordered("a1", "a2", "a3", "-1")
    items = queue.get(1)
    queue.cleanup(queue.get(1))
    assert (queue.stats()["waiting"], queue.stats()["in_flight"]) == (2, 1)
    assert not queue.empty()
    queue.cleanup(items)
    queue.cleanup(queue.get())
    assert queue.empty()


def test_what_is_delayed_is_counted_once() -> None:
    """A place in line that is kept for a delayed message is no second message."""
    queue = ordered("a1")
    put(queue, "a2", delay=5)
    assert (queue.stats()["waiting"], queue.stats()["delayed"]) == (1, 1)


def test_groups_that_are_done_with_are_forgotten() -> None:
    """There may be a group for every customer there ever was."""
    queue = ordered(*[f"{name}{number}" for name in "abcdef" for number in range(3)], bulk=4, max_attempts=2)
    while items := queue.get():
        queue.release(items[:1])
        queue.cleanup(items[1:])
    assert queue._groups is not None
    assert queue._groups._groups == {}


def test_ordering_key_is_the_group() -> None:
    """The line orders by what the queue orders by; a queue that does not order has no keys."""
    queue = ordered("a1", "-1")
    first, second = queue.get()
    assert queue.ordered
    assert queue.ordering_key is not None
    assert (queue.ordering_key(first), queue.ordering_key(second)) == ("a", None)
    plain = MemoryQueue()
    assert (plain.ordered, plain.ordering_key) == (False, None)
    plain.put("a1", group="a")
    plain.put("a2", group="a")
    plain.get(1)
    assert len(plain.get()) == 1


# What is written down of it.


def test_journal_tells_of_leases() -> None:
    """What was extended, for how long, and what ran out, at which attempt."""
    queue = leased("a", clock=(clock := ManualClock()), max_attempts=2, journal=True)
    [first] = queue.get()
    extend(queue, [first], 7)
    clock.advance(7)
    [second] = queue.get()
    clock.advance(LEASE)
    queue.get()
    assert queue.journal is not None
    assert queue.journal[1:] == [
        ("got", first, 1, 0),
        ("extended", first, 1, 7),
        ("expired", first, 1, 0),
        ("got", second, 2, 0),
        ("expired", second, 2, 0),
        ("buried", second, 2, 0),
    ]


def test_journal_tells_which_delivery_ran_out() -> None:
    """An older delivery that is lost has its own attempt."""
    queue = leased("a", journal=True)
    [first] = queue.get()
    queue.redeliver(first)
    queue.get()
    queue.expire([first])
    assert queue.journal is not None
    assert queue.journal[-1] == ("expired", first, 1, 0)


# Arguments.


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"lease": 0}, ValueError, "MemoryQueue: lease must be a number of at least 0.001; got 0"),
        ({"lease": "30"}, TypeError, "MemoryQueue: lease must be a number of at least 0.001; got '30'"),
        ({"ordered": 1}, TypeError, "MemoryQueue: ordered must be True or False; got 1"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence(
    arguments: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    """The sentence names the parameter, what is allowed, and the value."""
    with pytest.raises(error) as raised:
        MemoryQueue(**arguments)
    assert str(raised.value) == sentence


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_impossible_leases_are_refused_and_change_nothing(seconds: float) -> None:
    """An item with an impossible lease keeps the one it has."""
    queue = leased("a", clock=(clock := ManualClock()))
    items = queue.get()
    with pytest.raises(ValueError, match="extend: seconds must be a number of at least 0"):
        extend(queue, items, seconds)
    clock.advance(LEASE - 1)
    assert queue.holds(items[0])


def test_types_are_known() -> None:
    """What is optional is typed so."""
    assert_type(MemoryQueue(range(3)).lease, float | None)
    assert_type(MemoryQueue(range(3)).ordered, bool)


# Many threads.


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns after every few steps, and not after every few thousand."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless")
def test_many_threads_lose_nothing_by_lost_leases() -> None:
    """Whoever is too late hears so; each message is cleaned up once, by whoever had it then."""
    queue = MemoryQueue(lease=1, clock=(clock := ManualClock()), wait=0.001, bulk=7)
    queue.put_many([{"body": number} for number in range(400)])
    cleaned: list[Any] = []

    def take(seed: int) -> None:
        chance = random.Random(seed)
        while len(cleaned) < 400:
            items = queue.get()
            if chance.random() < 0.3:
                clock.advance(chance.random())
            if chance.random() < 0.5:
                with contextlib.suppress(LeaseLost):
                    extend(queue, items, 1)
            queue.release([item for item in items if chance.random() < 0.1])
            failed: list[Any] = []
            done = [item for item in items if queue.holds(item)]
            try:
                queue.cleanup(done)
            except CleanupError as error:
                failed = error.failed
            cleaned.extend(item for item in done if item not in failed)

    threads = [threading.Thread(target=take, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Counter(item.body for item in cleaned) == Counter(range(400))
    stats = queue.stats()
    assert (stats["waiting"], stats["in_flight"], stats["cleaned"]) == (0, 0, 400)


@pytest.mark.usefixtures("restless")
def test_many_threads_keep_the_order_of_each_group() -> None:
    """However many take from it, whatever is released or lost: of each group one after the other is done, in order."""
    queue = MemoryQueue(ordered=True, lease=1, clock=(clock := ManualClock()), wait=0.001, bulk=5)
    queue.put_many([{"body": number, "group": f"group {number % 7}"} for number in range(350)])
    done: dict[str, list[Any]] = {}
    total = 0
    book = threading.Lock()

    def take(seed: int) -> None:
        nonlocal total
        chance = random.Random(seed)
        while total < 350:
            failed: set[str | None] = set()  # groups
            items = queue.get()
            if not items:
                clock.advance(0.2)  # all there is may be held by nobody but its lease
            for item in items:
                if item.group not in failed and chance.random() < 0.8:
                    # In the book at once, so that it is in the order in which it happened.
                    with book, contextlib.suppress(CleanupError):
                        queue.cleanup([item])
                        done.setdefault(str(item.group), []).append(item.body)
                        total += 1
                        continue
                failed.add(item.group)
                if chance.random() < 0.8:
                    queue.release([item], delay=chance.choice([0, 0, 0.2]))
                clock.advance(0.2)

    threads = [threading.Thread(target=take, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert done == {f"group {group}": list(range(group, 350, 7)) for group in range(7)}


# Beside a plain account of what should be in it.


class Leased(RuleBasedStateMachine):
    """Deliveries with the time at which each is lost."""

    @initialize(max_attempts=st.sampled_from([None, 2]), ordered=st.booleans())
    def make(self, max_attempts: int | None, ordered: bool) -> None:
        self.clock = ManualClock()
        self.max_attempts = max_attempts
        self.queue = MemoryQueue(wait=0, bulk=5, clock=self.clock, lease=10, max_attempts=max_attempts, ordered=ordered)
        self.held: dict[MemoryMessage, float] = {}
        self.old: list[MemoryMessage] = []
        self.alive: set[str] = set()
        self.done = 0

    @rule(count=st.integers(1, 4))
    def put(self, count: int) -> None:
        self.alive.update(self.queue.put_many([{"body": "x"}] * count))

    @rule(seconds=st.sampled_from([1, 4, 10]))
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)
        for item in [item for item, until in self.held.items() if until <= self.clock()]:
            self.lose(item)

    def lose(self, item: MemoryMessage) -> None:
        del self.held[item]
        self.old.append(item)
        if self.max_attempts == item.attempt:
            self.alive.remove(item.id)

    @rule()
    def get(self) -> None:
        items = self.queue.get()
        assert len(items) == min(5, len(self.alive) - len(self.held))
        for item in items:
            assert item.id in self.alive - {other.id for other in self.held}
            self.held[item] = self.clock() + 10

    def some(self, data: st.DataObject) -> list[MemoryMessage]:
        known = [*self.held, *self.old[-3:]]
        return data.draw(st.lists(st.sampled_from(known), unique=True, max_size=5)) if known else []

    @rule(data=st.data(), seconds=st.sampled_from([0, 3, 25]))
    def extend(self, data: st.DataObject, seconds: int) -> None:
        items = self.some(data)
        lost: list[MemoryMessage] = []
        try:
            extend(self.queue, items, seconds)
        except LeaseLost as error:
            lost = error.items
        assert lost == [item for item in items if item not in self.held]
        for item in [item for item in items if item in self.held]:
            self.held[item] = self.clock() + seconds
            if seconds == 0:
                self.lose(item)

    @rule(data=st.data())
    def cleanup(self, data: st.DataObject) -> None:
        items = self.some(data)
        failed: list[MemoryMessage] = []
        try:
            self.queue.cleanup(items)
        except CleanupError as error:
            failed = error.failed
        assert failed == [item for item in items if item not in self.held]
        for item in [item for item in items if item in self.held]:
            del self.held[item]
            self.alive.remove(item.id)
            self.old.append(item)
            self.done += 1

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        items = self.some(data)
        self.queue.release(items)
        for item in [item for item in items if item in self.held]:
            self.lose(item)

    @invariant()
    def agrees(self) -> None:
        stats = self.queue.stats()
        assert all(self.queue.holds(item) for item in self.held)
        assert not any(self.queue.holds(item) for item in self.old)
        assert (stats["in_flight"], stats["cleaned"]) == (len(self.held), self.done)
        assert stats["waiting"] == len(self.alive) - len(self.held)
        assert stats["put"] == sum(stats[place] for place in ("waiting", "in_flight", "cleaned", "buried"))


class Ordered(RuleBasedStateMachine):
    """Groups as plain lists."""

    @initialize(max_attempts=st.sampled_from([None, 2]))
    def make(self, max_attempts: int | None) -> None:
        self.clock = ManualClock()
        self.max_attempts = max_attempts
        self.queue = MemoryQueue(wait=0, bulk=4, clock=self.clock, ordered=True, max_attempts=max_attempts)
        self.lines: dict[str, list[str]] = {"a": [], "b": [], "c": []}  # ids, in order, until they end
        self.put_late: dict[str, float] = {}  # not to be seen before
        self.hidden: dict[str, float] = {}  # released, and not to be seen before
        self.held: dict[str, MemoryMessage] = {}

    @rule(group=st.sampled_from("abc"), delay=st.sampled_from([0, 0, 0, 3]))
    def put(self, group: str, delay: int) -> None:
        id = self.queue.put("x", group=group, delay=delay)
        self.lines[group].append(id)
        if delay:
            self.put_late[id] = self.clock() + delay

    @rule(seconds=st.sampled_from([1, 5]))
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)
        for book in (self.put_late, self.hidden):
            for id in [id for id, due in book.items() if due <= self.clock()]:
                del book[id]

    def open(self) -> dict[str, list[str]]:
        """What each group can give, in order."""
        lines: dict[str, list[str]] = {}
        for group, line in self.lines.items():
            if not any(id in self.held or id in self.hidden for id in line):
                late = [index for index, id in enumerate(line) if id in self.put_late]
                lines[group] = line[: late[0]] if late else line[:]
        return lines

    @rule(limit=st.sampled_from([1, 2, 4]))
    def get(self, limit: int) -> None:
        lines = self.open()
        items = self.queue.get(limit)
        assert len(items) == min(limit, sum(map(len, lines.values())))
        for item in items:
            assert item.group is not None
            assert item.id == lines[item.group].pop(0)
            self.held[item.id] = item

    def some(self, data: st.DataObject) -> list[MemoryMessage]:
        chosen = data.draw(st.lists(st.sampled_from(sorted(self.held)), unique=True, max_size=4)) if self.held else []
        return [self.held.pop(id) for id in chosen]

    @rule(data=st.data())
    def cleanup(self, data: st.DataObject) -> None:
        items = self.some(data)
        self.queue.cleanup(items)
        for item in items:
            self.lines[str(item.group)].remove(item.id)

    @rule(data=st.data(), delay=st.sampled_from([0, 0, 2]))
    def release(self, data: st.DataObject, delay: int) -> None:
        items = self.some(data)
        self.queue.release(items, delay)
        for item in items:
            if item.attempt == self.max_attempts:
                self.lines[str(item.group)].remove(item.id)
            elif delay:
                self.hidden[item.id] = self.clock() + delay

    @invariant()
    def agrees(self) -> None:
        stats = self.queue.stats()
        everything = sum(map(len, self.lines.values()))
        assert stats["waiting"] + stats["delayed"] + stats["in_flight"] == everything
        assert stats["delayed"] == len(self.put_late) + len(self.hidden)
        assert self.queue.empty() == (everything == len(self.held))


@pytest.mark.parametrize("model", [Leased, Ordered])
def test_whatever_is_done_in_whatever_order_is_as_it_should_be(model: type[RuleBasedStateMachine]) -> None:
    """Leases run out when they must, and groups keep their order, whatever went before."""
    thorough = settings(max_examples=80, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(model, settings=thorough)


def test_release_is_still_refused_where_there_are_no_leases() -> None:
    """Only where a lease may have run out on the way is it no mistake to release what is not held."""
    queue = ordered("a1")
    [item] = queue.get()
    queue.cleanup([item])
    with pytest.raises(UsageError, match="1 of 1 items cannot be released"):
        queue.release([item])
