"""What `FaultyQueue` does to leases and keys, what its books find, and what `check_order` finds."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from queue_consumer import CleanupError, Consumer, LeaseLost, MemoryQueue, Report, State, Stats, Supervision, UsageError
from queue_consumer.testing import CHAOS, FaultyQueue, Handling, InjectedFault, ManualClock, check_order

LEASE = 30.0


def leased(bodies: str = "abcd", **options: Any) -> tuple[FaultyQueue, ManualClock]:
    """A faulty queue with leases, and its clock."""
    clock = ManualClock()
    return FaultyQueue(bodies, clock=clock, wait=0, lease=LEASE, **options), clock


def extend(faulty: FaultyQueue, items: list[Any], seconds: float = LEASE) -> list[Any]:
    """Extend these; those that are lost."""
    assert faulty.extend is not None
    try:
        faulty.extend(items, seconds)
    except LeaseLost as error:
        return error.items
    return []


def stats(**counts: Any) -> Stats:
    return Stats(state=State.STOPPED, **counts)


def bodies_of(items: list[Any]) -> list[Any]:
    return [item.body for item in items]


# Its verbs.


def test_verbs_are_those_of_the_queue_in_it() -> None:
    """Leases and keys are there where the queue has them, and can be taken away."""
    plain = FaultyQueue("a")
    assert (plain.lease, plain.extend, plain.ordering_key) == (None, None, None)
    faulty = FaultyQueue("a", lease=LEASE, ordered=True, group=str.upper)
    [item] = faulty.get()
    assert faulty.lease == LEASE
    assert faulty.ordering_key is not None
    assert faulty.ordering_key(item) == item.group == "A"
    assert extend(faulty, [item]) == []
    bare = FaultyQueue(MemoryQueue(lease=LEASE, ordered=True), without=("extend", "lease", "ordering_key"))
    assert (bare.lease, bare.extend, bare.ordering_key) == (None, None, None)


def test_items_have_no_group_unless_they_are_given_one() -> None:
    """A group is asked of each item; None is none."""
    assert [item.group for item in FaultyQueue("ab").get()] == [None, None]
    faulty = FaultyQueue("ab", group=lambda body: "g" if body == "a" else None)
    assert [item.group for item in faulty.get()] == ["g", None]


def test_faults_of_extend_that_raise() -> None:
    """Nothing was extended then."""
    faulty, clock = leased(script={"extend": ["raise"]})
    items = faulty.get()
    clock.advance(LEASE / 2)
    with pytest.raises(InjectedFault):
        extend(faulty, items)
    clock.advance(LEASE / 2)
    assert len(faulty.get()) == 4


@pytest.mark.parametrize(("fault", "count"), [("lost", 1), ("partly", 2)])
def test_faults_of_extend_that_lose(fault: str, count: int) -> None:
    """What is lost is truly lost: it is named, it comes again, and the others are extended."""
    faulty, clock = leased(script={"extend": [fault]})
    items = faulty.get()
    clock.advance(LEASE / 2)
    lost = extend(faulty, items)
    assert len(lost) == count
    assert all(any(one is item for item in items) for one in lost)
    clock.advance(LEASE / 2)
    again = faulty.get()
    assert sorted(bodies_of(again)) == sorted(bodies_of(lost))
    assert [item.attempt for item in again] == [2] * count
    assert faulty.injected == {("extend", fault): 1}


def test_even_a_single_item_can_be_lost() -> None:
    """A queue of one is no safer."""
    for fault in ("lost", "partly"):
        faulty, _ = leased("a", script={"extend": [fault]})
        assert len(extend(faulty, faulty.get())) == 1


def test_faults_of_extend_that_take_a_while() -> None:
    """The lease may run out meanwhile; an interrupt ends the wait."""
    faulty, clock = leased(script={"extend": ["slow"]}, slow=60)
    items = faulty.get()
    lost: list[Any] = []
    extending = threading.Thread(target=lambda: lost.extend(extend(faulty, items)))
    extending.start()
    while not faulty.injected["extend", "slow"]:
        extending.join(0.001)
    clock.advance(LEASE)
    while extending.is_alive():
        faulty.interrupt()
        extending.join(0.01)
    assert lost == items


def test_faults_of_extend_by_chance_are_those_of_the_seed() -> None:
    """The same seed loses the same items."""

    def lost(seed: int) -> list[Any]:
        faulty, _ = leased("abcdefgh" * 10, seed=seed, chances={"extend": CHAOS["extend"]}, slow=0)
        losses: list[Any] = []
        for _ in range(40):
            with contextlib.suppress(InjectedFault):
                losses += bodies_of(extend(faulty, faulty.get(3)))
        return losses

    assert lost(1) == lost(1) != lost(2)


def test_faults_of_ordering_key() -> None:
    """A key may be impossible to tell, once."""
    faulty = FaultyQueue("a", ordered=True, group=str, script={"ordering_key": ["raise"]})
    [item] = faulty.get()
    assert faulty.ordering_key is not None
    with pytest.raises(InjectedFault):
        faulty.ordering_key(item)
    assert faulty.ordering_key(item) == "a"


def test_a_late_cleanup_fails_and_counts_for_nothing() -> None:
    """A lost delivery that is cleaned up is named; its message is not, and the others are."""
    faulty, clock = leased("ab")
    late, kept = faulty.get()
    extend(faulty, [kept], 2 * LEASE)
    clock.advance(LEASE)
    [newer] = faulty.get()
    with pytest.raises(CleanupError) as raised:
        faulty.cleanup([late, kept])
    assert raised.value.failed == [late]
    assert faulty.cleaned == {kept.id}
    faulty.cleanup([newer])
    assert faulty.cleaned == {late.id, kept.id}


# Its books.


def told() -> tuple[FaultyQueue, list[Any]]:
    """Of four items two were lost and came again; all were cleaned up in the end."""
    faulty, _ = leased(script={"extend": ["partly"]})
    items = faulty.get()
    lost = extend(faulty, items)
    again = faulty.get()
    faulty.cleanup([item for item in items if item not in lost] + again)
    return faulty, lost


TOLD = {"received": 6, "cleaned": 4, "lost": 2}


def replaced() -> FaultyQueue:
    """A message came again while its handler was busy with it; the newer one was cleaned up."""
    faulty = FaultyQueue("a", script={"get": ["ok", "duplicate"]}, wait=0)
    faulty.get()
    faulty.cleanup(faulty.get())
    return faulty


REPLACED = {"received": 2, "cleaned": 1, "lost": 1, "duplicates": 1}


def late() -> FaultyQueue:
    """A lease ran out, and nobody heard of it."""
    faulty, clock = leased("a")
    faulty.get()
    clock.advance(LEASE)
    return faulty


def heard(without: tuple[str, ...] = ()) -> FaultyQueue:
    """Of four items two were lost, and that was all that happened."""
    faulty, _ = leased(script={"extend": ["partly"]}, without=without)
    extend(faulty, faulty.get())
    return faulty


TRUTHS: list[tuple[Callable[[], FaultyQueue], dict[str, int]]] = [
    (lambda: told()[0], TOLD),
    (lambda: told()[0], {**TOLD, "duplicates": 2}),
    (replaced, REPLACED),
    (heard, {"received": 4, "lost": 2, "left": 2}),
    (heard, {"received": 4, "lost": 1, "left": 2, "abandoned": 1}),
    (lambda: heard(("release",)), {"received": 4, "left": 4}),
    (late, {"received": 1, "lost": 1}),
    (late, {"received": 1, "tombstoned": 1}),
]


@pytest.mark.parametrize(("story", "truth"), TRUTHS)
def test_reconcile_accepts_the_truth(story: Callable[[], FaultyQueue], truth: dict[str, int]) -> None:
    """What was lost, or replaced by a newer delivery, may be counted as lost, and its message is cleaned up."""
    faulty = story()
    faulty.reconcile(stats(**truth))
    faulty.reconcile(Report(stats=stats(**truth), balanced=True))


LIES: list[tuple[Callable[[], FaultyQueue], dict[str, int], str]] = [
    (
        lambda: told()[0],
        {"received": 6, "cleaned": 6},
        "says that 6 were cleaned up .or dropped., and the queue was asked for 4",
    ),
    (
        lambda: told()[0],
        {"received": 6, "cleaned": 4, "lost": 1, "dropped": 1},
        "says that 5 were cleaned up .or dropped., and the queue was asked for 4",
    ),
    (replaced, {"received": 2, "cleaned": 1, "left": 1}, "says that 0 were lost, and 1 were, that had no other end"),
    (heard, {"received": 4, "left": 2, "tombstoned": 2}, "says that 0 were lost, and 2 were, that had no other end"),
    (heard, {"received": 4, "lost": 1, "left": 3}, "says that 1 were lost, and 2 were, that had no other end"),
    (
        replaced,
        {"received": 2, "cleaned": 2},
        "says that 2 were cleaned up .or dropped., and the queue was asked for 1",
    ),
    (
        lambda: FaultyQueue("a"),
        {"received": 0, "lost": 1, "in_flight": -1},
        "says that 1 were lost, and 0 at most can have been",
    ),
    (replaced, {**REPLACED, "duplicates": 2}, "says that 2 were duplicates, and 1 can have been"),
]


@pytest.mark.parametrize(("story", "lie", "sentence"), LIES)
def test_reconcile_finds_every_lie(story: Callable[[], FaultyQueue], lie: dict[str, int], sentence: str) -> None:
    """What the ledger says that was otherwise is found, and said in a sentence."""
    with pytest.raises(AssertionError, match=sentence):
        story().reconcile(stats(**lie))


def test_reconcile_finds_what_is_called_lost_and_is_held() -> None:
    """Nobody told of it, its lease has not run out, and it did not come again: it is not lost, unless it was let go."""
    faulty, clock = leased("a")
    faulty.get()
    ledger = stats(received=1, lost=1)
    with pytest.raises(AssertionError, match="says that 1 were lost, and 0 at most can have been"):
        faulty.reconcile(ledger)
    faulty.reconcile(ledger, let_go=1)
    clock.advance(LEASE)
    faulty.reconcile(ledger)


def test_what_was_released_and_comes_again_is_no_duplicate() -> None:
    """It came back as it was asked to."""
    faulty = FaultyQueue("a")
    faulty.release(faulty.get())
    faulty.cleanup(faulty.get())
    truth = {"received": 2, "released": 1, "cleaned": 1}
    faulty.reconcile(stats(**truth))
    with pytest.raises(AssertionError, match="says that 1 were duplicates, and 0 can have been"):
        faulty.reconcile(stats(**truth, duplicates=1))


def quietly(verb: Callable[..., Any], *args: Any) -> None:
    with contextlib.suppress(CleanupError, UsageError, LeaseLost):
        verb(*args)


def broken_promises() -> Iterator[tuple[FaultyQueue, str]]:
    for verb in ("cleanup", "release"):
        faulty, lost = told()
        faulty.queue.put("e")
        extend(faulty, faulty.get())  # so that it is known what the last one said
        quietly(getattr(faulty, verb), lost[:1])
        yield faulty, rf"{verb}\(\) was called with .*, of which extend\(\) had said that it is lost"
    faulty, lost = told()
    extend(faulty, lost)
    yield faulty, r"extend\(\) was called with .*, of which it had said that it is lost"
    faulty, _ = leased()
    items = faulty.get()
    faulty.release(items[:1])
    extend(faulty, items)
    yield faulty, r"extend\(\) was called with .*, which was released before"
    faulty, _ = leased()
    extend(faulty, [])
    yield faulty, r"extend\(\) was called with no items"
    faulty, _ = leased()
    items = faulty.get()
    extend(faulty, [items[0], items[0]])
    yield faulty, r"extend\(\) was called with the same item twice"
    faulty, _ = leased()
    items = faulty.queue.get()
    extend(faulty, items)
    yield faulty, r"extend\(\) was called with an object that get\(\) never gave"


def test_reconcile_finds_broken_promises_of_the_line() -> None:
    """What a line promises never to do with leases is noted when it does it."""
    for faulty, sentence in broken_promises():
        with pytest.raises(AssertionError, match=sentence):
            faulty.reconcile(stats())


def test_reconcile_finds_a_release_during_an_extend() -> None:
    """Otherwise a late heartbeat might undo a back-off; once it is over, it may be released."""
    for waits in (True, False):
        faulty, _ = leased(script={"extend": ["slow"]}, slow=60)
        items = faulty.get()
        extending = threading.Thread(target=extend, args=(faulty, items))
        extending.start()
        while not faulty.injected["extend", "slow"]:
            extending.join(0.001)
        if not waits:
            faulty.release(items)
        while extending.is_alive():
            faulty.interrupt()
            extending.join(0.01)
        if waits:
            faulty.release(items)
            faulty.reconcile(stats(received=4, released=4))
        else:
            with pytest.raises(AssertionError, match=r"release\(\) was called with .* during an extend\(\) of it"):
                faulty.reconcile(stats(received=4, released=4))


def test_an_extend_that_comes_too_late_for_a_cleanup_is_no_broken_promise() -> None:
    """The consumer may not have heard yet that it is cleaned up; and what it hears then is no loss."""
    faulty, _ = leased("ab")
    items = faulty.get()
    faulty.cleanup(items[:1])
    assert extend(faulty, items) == items[:1]
    faulty.cleanup(items[1:])
    faulty.reconcile(stats(received=2, cleaned=2))
    faulty.reconcile(stats(received=2, cleaned=1, lost=1))


def test_a_loss_that_was_told_just_now_may_be_cleaned_up_meanwhile() -> None:
    """Between the answer and whoever reads it, another thread may be on its way; that is no broken promise."""
    faulty, _ = leased("ab", script={"extend": ["partly"]})
    items = faulty.get()
    [lost] = extend(faulty, items)
    with pytest.raises(CleanupError):
        faulty.cleanup([lost])
    faulty.cleanup(items[1:])
    faulty.reconcile(stats(received=2, cleaned=1, tombstoned=1))


def cleaned_up_meanwhile() -> FaultyQueue:
    """While a cleanup was on its way, the message came again."""
    faulty = FaultyQueue("a", script={"get": ["ok", "duplicate"], "cleanup": ["slow"]}, slow=60)
    first = faulty.get()
    cleaning = threading.Thread(target=faulty.cleanup, args=(first,))
    cleaning.start()
    while not faulty.injected["cleanup", "slow"]:
        cleaning.join(0.001)
    second = faulty.get()
    while cleaning.is_alive():
        faulty.interrupt()
        cleaning.join(0.01)
    faulty.cleanup(second)
    return faulty


def released_meanwhile() -> FaultyQueue:
    """Before it was known that a release had succeeded, the message came again."""
    faulty = FaultyQueue("a", script={"get": ["ok", "duplicate"]})
    first, second = faulty.get(), faulty.get()
    faulty.release(first)
    faulty.cleanup(second)
    return faulty


@pytest.mark.parametrize(
    ("story", "truth"),
    [
        (cleaned_up_meanwhile, {"cleaned": 2}),
        (cleaned_up_meanwhile, {"cleaned": 1, "lost": 1, "duplicates": 1}),
        (released_meanwhile, {"cleaned": 1, "released": 1}),
        (released_meanwhile, {"cleaned": 1, "lost": 1, "duplicates": 1}),
    ],
)
def test_what_is_lost_while_it_is_ended_may_be_counted_as_either(
    story: Callable[[], FaultyQueue], truth: dict[str, int]
) -> None:
    """It was lost and ended at the same time; the consumer counts one of them, once."""
    story().reconcile(stats(received=2, **truth))


def test_what_is_lost_after_it_was_ended_is_not_lost() -> None:
    """What came again because it was released was released, and nothing else."""
    faulty = FaultyQueue("a")
    faulty.release(faulty.get())
    faulty.cleanup(faulty.get())
    with pytest.raises(AssertionError, match="says that 0 were released, and the queue was asked for 1"):
        faulty.reconcile(stats(received=2, cleaned=1, lost=1))


# Order.


def history(*handlings: tuple[Any, ...]) -> list[Handling]:
    return [Handling(*handling) for handling in handlings]


GROUPS = {"a": ["a1", "a2", "a3"], "b": ["b1", "b2"]}

KEPT: list[tuple[list[Handling], set[str]]] = [
    ([], set()),
    (history(("a1", 0, 1), ("b1", 0, 5), ("a2", 1, 2), ("a3", 3, 4), ("b2", 5, 6)), set()),
    (history(("a2", 1, 2), ("a1", 0, 1)), set()),  # as it was written down is not as it happened
    (history(("a1", 0, 1, False), ("a1", 2, 3), ("a2", 3, 4)), set()),
    (history(("a1", 0, 1), ("a2", 1, 2), ("a1", 2, 3), ("a3", 3, 4)), set()),  # again, since it was not cleaned up
    (history(("a1", 0, 1, False), ("a2", 1, 2)), {"a1"}),
    (history(("a2", 1, 2)), {"a1"}),
]

BROKEN: list[tuple[list[Handling], set[str], str]] = [
    (history(("a1", 0, 2), ("a2", 1, 3)), set(), "two of 'a' were handled at once: a1 and a2"),
    (history(("a1", 0, 9), ("a1", 1, 2), ("a1", 3, 4)), set(), "handled at once: a1 and a1\n.* at once: a1 and a1"),
    (history(("a2", 0, 1), ("a1", 1, 2)), set(), "of 'a', a2 was handled before a1, which was not done yet"),
    (history(("a1", 0, 1), ("a3", 1, 2)), set(), "of 'a', a3 was handled before a2, which was never done"),
    (history(("a1", 0, 1, False), ("a2", 1, 2), ("a1", 2, 3)), set(), "a2 was handled before a1"),
    (history(("a1", 0, 1, False), ("a2", 1, 2)), set(), "a2 was handled before a1, which was never done"),
    (history(("a1", 0, 1, False), ("a2", 1, 2), ("a1", 3, 4, False)), {"a1"}, "a2 was handled before a1"),
    (history(("c1", 0, 1)), set(), "1 were handled that are of no group: c1"),
]


@pytest.mark.parametrize(("handled", "buried"), KEPT)
def test_an_order_that_was_kept_is_accepted(handled: list[Handling], buried: set[str]) -> None:
    """One of a group at a time, each when those before it are done or given up; groups know nothing of each other."""
    check_order(handled, GROUPS, buried=buried)


@pytest.mark.parametrize(("handled", "buried", "sentence"), BROKEN)
def test_an_order_that_was_not_kept_is_found(handled: list[Handling], buried: set[str], sentence: str) -> None:
    """Each case is a sentence."""
    with pytest.raises(AssertionError, match=sentence):
        check_order(handled, GROUPS, buried=buried)


def grouped() -> tuple[FaultyQueue, list[Any]]:
    """Two of group "a", one of "b", and one of none, all given."""
    faulty = FaultyQueue(
        ["a1", "b1", "a2", "-1"], ordered=True, group=lambda body: None if body[0] == "-" else body[0], max_attempts=1
    )
    return faulty, faulty.get()


def test_a_faulty_queue_knows_the_order_it_gave() -> None:
    """Messages, or their ids, in the order in which they were first given; what has no group is in no order."""
    faulty, (a1, b1, a2, none) = grouped()
    faulty.check_order([(a1, 0, 1), (b1.id, 0, 3), Handling(a2.id, 1, 2), (none, 0, 1), (none, 0, 1)])
    with pytest.raises(AssertionError, match=f"of 'a', {a2.id} was handled before {a1.id}, which was not done yet"):
        faulty.check_order([(a2, 0, 1), (a1, 1, 2)])
    with pytest.raises(AssertionError, match="two of 'a' were handled at once"):
        faulty.check_order([(a1, 0, 1), (a2, 0.5, 1)])


def test_a_faulty_queue_knows_its_dead_letters() -> None:
    """What it buried itself keeps nobody waiting, nor what the consumer says that it buried."""
    faulty, (a1, _, a2, _) = grouped()
    failed = [(a1, 0, 1, False), (a2, 2, 3)]
    with pytest.raises(AssertionError, match="which was never done"):
        faulty.check_order(failed)
    faulty.check_order(failed, buried=[a1])
    faulty.check_order(failed, buried=[a1.id])
    faulty.release([a1])
    faulty.check_order(failed)


# The whole.


@pytest.mark.parametrize("seed", range(5))
def test_a_consumer_over_a_faulty_queue_reconciles_and_keeps_the_order(seed: int) -> None:
    """With whatever goes wrong, leases lost among it: the books agree, and each group was handled in order."""
    faulty = FaultyQueue(
        range(120),
        seed=seed,
        slow=0.001,
        group=lambda number: f"group {number % 5}",
        ordered=True,
        lease=0.1,
        wait=0.01,
    )
    handled: list[Handling] = []
    tried: set[Any] = set()

    def handler(items: Iterator[Any]) -> None:
        for item in items:
            start = time.monotonic()
            fails = item.body % 7 == 3 and item.id not in tried
            tried.add(item.id)
            handled.append(Handling(item.id, start, time.monotonic(), not fails))
            if fails:
                raise ValueError("the first time fails, on purpose")

    def at_rest() -> bool:
        now = faulty.stats()
        return not now["waiting"] + now["delayed"] + now["in_flight"]

    # Getters die here by the dozen, so that they are replaced without the usual delay.
    supervision = Supervision(restart_base=0.001, restart_limit=0.01)
    consumer = Consumer(faulty, handler, 2, 3, 2, backoff=lambda attempt: 0.001, supervision=supervision)
    with consumer:
        while not at_rest():  # idle it is before that: what is lost comes again when its lease has run out
            assert consumer.wait_idle(20), consumer.stats()
    faulty.reconcile(consumer.shutdown(), handled=[handling.id for handling in handled if handling.done])
    faulty.check_order(handled)
