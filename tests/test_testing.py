"""What `queue_consumer.testing` promises: a good queue passes the contract, a broken one does not."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import itertools
import pickle
import queue
import subprocess
import sys
import threading
import types
import unittest
from collections.abc import Collection, Iterator, Sequence
from typing import Any, ClassVar

import pytest

from queue_consumer import (
    CleanupError,
    Consumer,
    ItemsCleaned,
    MemoryQueue,
    Report,
    State,
    Stats,
    UsageError,
    WorkerDied,
    WorkerRevived,
)
from queue_consumer.memory import MemoryMessage
from queue_consumer.testing import FaultyQueue, InjectedFault, ManualClock, QueueContract, RecordingObserver
from support import queues

# The contract, passed.


ALL = ("interrupt", "cleanup", "release", "attempt", "identity", "put", "put_many", "stats", "close")


class MemoryContract(QueueContract):
    """How a `MemoryQueue`, or what is made of one, is put to the test: with a clock that is moved by hand."""

    verbs: ClassVar[Collection[str] | None] = ALL
    picklable = True
    kind: Any = MemoryQueue

    def make_queue(self) -> Any:
        self.clock = ManualClock()
        return self.kind(clock=self.clock, wait=0.01)

    def wait_until_visible(self, queue: Any, seconds: float) -> None:
        self.clock.advance(seconds)

    def spoil(self, queue: Any, item: Any) -> None:
        queue.cleanup([item])  # so that it is not held any more


class TestMemoryQueue(MemoryContract):
    """The reference queue keeps the whole contract."""


class TestFaultyQueueWithoutFaults(MemoryContract):
    """Without a script, a faulty queue is a queue like any other."""

    verbs = ("interrupt", "cleanup", "release", "attempt", "identity", "stats", "close")

    def make_queue(self) -> Any:
        self.clock = ManualClock()
        return FaultyQueue(clock=self.clock, wait=0.01)

    def fill(self, queue: Any, bodies: Sequence[str]) -> None:
        for body in bodies:
            queue.queue.put(body)

    def spoil(self, queue: Any, item: Any) -> None:
        queue.queue.cleanup([item])


class TestQueueThatRaisesEmpty(MemoryContract):
    """`queue.Empty` is one way of saying that there is nothing."""

    kind = queues.OnlyEmpty


class TestPlainItems(MemoryContract):
    """Items that are no messages have no identity; everything else holds for them too."""

    verbs = ("interrupt", "cleanup", "release", "attempt", "stats", "close")

    def fill(self, queue: Any, bodies: Sequence[str]) -> None:
        queue.fill(bodies)


class Coroutines:
    """A queue whose verbs are coroutine functions."""

    def __init__(self, queue: MemoryQueue[Any]) -> None:
        self.queue = queue

    async def get(self, limit: int | None = None) -> Any:
        return await asyncio.to_thread(self.queue.get, limit)

    async def cleanup(self, items: Sequence[Any]) -> None:
        self.queue.cleanup(items)

    async def release(self, items: Sequence[Any], delay: float = 0) -> None:
        self.queue.release(items, delay)

    async def attempt(self, item: Any) -> int:
        return self.queue.attempt(item)

    async def put(self, body: Any, **kwargs: Any) -> str:
        return self.queue.put(body, **kwargs)


class TestQueueOfCoroutines(MemoryContract):
    """Every verb may be a coroutine function."""

    verbs = ("cleanup", "release", "attempt", "put")

    def make_queue(self) -> Any:
        return Coroutines(super().make_queue())

    def spoil(self, queue: Any, item: Any) -> None:
        queue.queue.cleanup([item])


class Destructive:
    """A queue with nothing but a `get`, that takes no limit: what it gave is gone."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[str] = queue.SimpleQueue()

    def get(self) -> Iterator[str]:
        yield self.queue.get(timeout=0.01)


class TestQueueWithOnlyGet(QueueContract):
    """Nothing but `get` is needed; and it may raise `queue.Empty` when the items are asked for."""

    verbs: ClassVar[Collection[str] | None] = ()

    def make_queue(self) -> Any:
        return Destructive()

    def fill(self, queue: Any, bodies: Sequence[str]) -> None:
        for body in bodies:
            queue.queue.put(body)


# The contract, broken.

BROKEN: list[tuple[str, type[queues.Broken], str]] = [
    (
        "test_verbs_take_the_arguments_they_must",
        queues.ReleaseTakesNoDelay,
        r"release\(items: .*\) -> 'None' cannot be called as the line would call it",
    ),
    ("test_get_gives_all_that_was_put_in", queues.LosesOne, r"given 6 within .* s"),
    ("test_get_gives_all_that_was_put_in", queues.GivesTwice, r"get\(\) gives \d+ items, .*: .*twice \["),
    (
        "test_get_of_an_empty_queue_gives_nothing",
        queues.RaisesWhenEmpty,
        r"nothing to give raises LookupError",
    ),
    ("test_get_of_an_empty_queue_gives_nothing", queues.HangsWhenEmpty, r"get\(\) has not returned after"),
    (
        "test_get_keeps_to_its_limit",
        queues.IgnoresTheLimit,
        r"get\(limit=1\) gives 5 items, and must give 1 at most",
    ),
    (
        "test_get_hides_what_it_gave",
        queues.ShowsAgainAtOnce,
        r"while all items are still being handled, get\(\) gives again 3: \['item-0'",
    ),
    (
        "test_get_gives_no_item_to_two_threads",
        queues.RacesBetweenThreads,
        r"called by four threads, get\(\) gives \d+ items, and should give 40",
    ),
    (
        "test_interrupt_ends_a_get_that_waits",
        queues.CannotBeInterrupted,
        r"get\(\) still waits, 0.2 s after interrupt\(\)",
    ),
    (
        "test_get_works_after_an_interrupt",
        queues.EndsWithTheInterrupt,
        r"should give 3 items, and has given 0",
    ),
    (
        "test_cleanup_is_for_good",
        queues.CleansUpNothing,
        r"after all items were cleaned up, get\(\) gives again 3",
    ),
    (
        "test_cleanup_concerns_no_other_item",
        queues.CleansUpEverything,
        r"should give 2 items, and has given 0",
    ),
    (
        "test_cleanup_takes_items_of_several_gets",
        queues.CleansUpOneBulkAtATime,
        r"cleanup\(\) of items that came from several gets raises LookupError",
    ),
    (
        "test_cleanup_that_fails_says_for_which",
        queues.FailsWithoutSayingWhich,
        r"raises ConnectionError\(.*\), from which nobody can tell which one",
    ),
    ("test_cleanup_that_fails_says_for_which", queues.KeepsQuietAboutFailures, r"does not raise"),
    ("test_cleanup_that_fails_says_for_which", queues.BlamesAll, r"CleanupError.failed names 3 items"),
    (
        "test_cleanup_limit_is_the_most_that_cleanup_takes",
        queues.ClaimsTooHighALimit,
        r"cleanup_limit is 10, and cleanup\(\) of 10 items raises ValueError",
    ),
    (
        "test_cleanup_limit_is_the_most_that_cleanup_takes",
        queues.HasAnOddLimit,
        r"cleanup_limit is 0, and must be",
    ),
    ("test_release_shows_an_item_again", queues.ReleasesNothing, r"should give 3 items, and has given 0"),
    (
        "test_release_works_without_a_delay",
        queues.NeedsADelay,
        r"release\(items\) without a delay raises TypeError",
    ),
    (
        "test_release_hides_an_item_for_its_delay",
        queues.ForgetsTheDelay,
        r"after release\(items, 1\), get\(\) gives at once 1",
    ),
    (
        "test_release_hides_an_item_for_its_delay",
        queues.HidesForEver,
        r"should give 1 items, and has given 0",
    ),
    (
        "test_release_concerns_no_other_item",
        queues.ReleasesEverything,
        r"of 3 items, 1 released, get\(\) gives again 3 items|only 1 was released, and get\(\) gives another",
    ),
    (
        "test_attempt_counts_deliveries",
        queues.CountsFromZero,
        r"at delivery 1 of an item, attempt\(\) says 0",
    ),
    (
        "test_attempts_of_one_item_are_not_those_of_another",
        queues.CountsAllTogether,
        r"at the first delivery of an item, after others were delivered, attempt\(\) says 3",
    ),
    (
        "test_identity_stays_the_same",
        queues.IdentifiesDeliveries,
        r"identity\(\) gives 'memory-\d+/1', and when the item comes again 'memory-\d+/2'",
    ),
    ("test_identity_stays_the_same", queues.HasUnhashableIdentities, r"which is not hashable"),
    (
        "test_identity_is_not_content",
        queues.IdentifiesByContent,
        r"'the same' for two messages with the same body",
    ),
    ("test_put_sends_one", queues.PutChangesTheBody, r"not \['a body'\]; instead \['A BODY'\]"),
    (
        "test_put_hides_an_item_for_its_delay",
        queues.ForgetsTheDelay,
        r"after put\(body, delay=1\), get\(\) gives at once 1: \['later'\]",
    ),
    ("test_put_sends_attributes", queues.ForgetsAttributes, r"the item's colour is None"),
    ("test_put_many_sends_each", queues.PutsTenAtMost, r"should give 12 items, .* and has given 10"),
    ("test_stats_is_a_mapping_and_changes_nothing", queues.StatsIsText, r"stats\(\) gives a str"),
    (
        "test_stats_is_a_mapping_and_changes_nothing",
        queues.StatsTakesItems,
        r"should give 3 items, and has given 0",
    ),
    ("test_close_can_be_called_after_use", queues.CannotBeClosed, r"close\(\) after use raises RuntimeError"),
    ("test_close_can_be_called_after_use", queues.HangsWhenClosed, r"close\(\) has not returned after"),
    (
        "test_items_survive_pickling",
        queues.GivesWhatCannotBePickled,
        r"cannot be pickled and unpickled: TypeError",
    ),
    (
        "test_messages_have_an_id_a_body_and_attributes",
        queues.NumbersItsMessages,
        r"its id is 7, and must be a string",
    ),
    (
        "test_messages_have_an_id_a_body_and_attributes",
        queues.HasNoAttributes,
        r"its attributes are None: no mapping",
    ),
    (
        "test_consumer_handles_everything",
        queues.GivesCopies,
        r"a Consumer handled \d+ items, and could clean up 0",
    ),
    (
        "test_consumer_handles_again_what_failed",
        queues.BuriesAtOnce,
        r"each of 4 items fails once and is released, so that a Consumer handles it twice",
    ),
]


class BrokenContract(MemoryContract):
    """The contract, without much patience."""

    verbs = (*ALL, "cleanup_limit")
    patience = 0.3
    soon = 0.2


@pytest.mark.parametrize(("clause", "broken", "sentence"), BROKEN)
def test_each_clause_catches_what_is_broken(clause: str, broken: type[queues.Broken], sentence: str) -> None:
    """For each clause there is a queue that breaks just it, and the clause says so in a sentence."""
    contract = BrokenContract()
    contract.kind = broken
    with pytest.raises(AssertionError, match=sentence):
        getattr(contract, clause)()


def test_every_clause_has_a_queue_that_breaks_it() -> None:
    """A clause that nothing can break would be worth nothing."""
    clauses = {name for name in vars(QueueContract) if name.startswith("test_")}
    assert clauses == {clause for clause, _, _ in BROKEN}


def test_verbs_that_are_not_named_are_not_tested() -> None:
    """What `verbs` does not name is left out, and a child that names more is asked for more."""

    class OnlyCleanup(QueueContract):
        verbs: ClassVar[Collection[str] | None] = ("cleanup",)

    class ReleaseToo(OnlyCleanup):
        verbs = ("cleanup", "release")

    def tests(contract: type[QueueContract]) -> set[str]:
        names = (name for name in dir(contract) if name.startswith("test_"))
        return {name for name in names if callable(getattr(contract, name))}

    assert "test_cleanup_is_for_good" in tests(OnlyCleanup)
    assert "test_release_shows_an_item_again" not in tests(OnlyCleanup)
    assert "test_release_shows_an_item_again" in tests(ReleaseToo)
    assert "test_attempt_counts_deliveries" not in tests(ReleaseToo)


def test_verbs_that_do_not_exist_are_refused() -> None:
    """A misspelt verb would leave its clauses out silently."""
    with pytest.raises(ValueError, match="Misspelt: verbs names relase, of which nothing is known"):

        class Misspelt(QueueContract):  # pyright: ignore[reportUnusedClass]
            verbs = ("relase",)


def test_a_verb_that_is_named_must_be_there() -> None:
    """Who says that a queue has a verb hears of it when the line could not find it."""

    contract = BrokenContract()
    contract.kind = type("NoInterrupt", (queues.Broken,), {"interrupt": None})
    with pytest.raises(AssertionError, match="the queue has no interrupt, which verbs says it has"):
        contract.test_verbs_take_the_arguments_they_must()


def test_verbs_are_looked_for_where_none_are_named() -> None:
    """Without `verbs`, clauses of missing verbs are skipped, in a way that unittest and pytest understand."""

    class Found(TestQueueWithOnlyGet):
        verbs = None

    with pytest.raises(unittest.SkipTest, match="this queue has no cleanup"):
        Found().test_cleanup_is_for_good()
    Found().test_get_gives_all_that_was_put_in()


def test_the_contract_runs_under_unittest() -> None:
    """The contract needs no pytest: `unittest` finds and runs the same clauses."""

    class Case(MemoryContract, unittest.TestCase):
        pass

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Case)
    result = unittest.TestResult()
    suite.run(result)
    assert result.wasSuccessful(), result.failures + result.errors
    assert result.testsRun == suite.countTestCases() > 20


def test_testing_does_not_import_pytest() -> None:
    """Whoever uses another test runner need not have it."""
    code = "import sys, queue_consumer.testing; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The recording observer.


def died(worker: str) -> WorkerDied:
    return WorkerDied(worker=worker, error="an error", revive_in=0)


def test_observer_remembers_events_in_order_and_by_kind() -> None:
    """Every event is kept, and those of one kind can be asked for."""
    observer = RecordingObserver()
    told = [died("a"), WorkerRevived(worker="a", restarts=1), died("b")]
    for event in told:
        observer(event)
    assert observer.events == told
    assert observer.of(WorkerDied) == [told[0], told[2]]
    assert observer.of(WorkerDied, where=lambda event: event.worker == "b") == [told[2]]
    assert observer.of(ItemsCleaned) == []


def test_observer_waits_for_events_that_are_yet_to_come() -> None:
    """Waiting ends with the event that was waited for, whichever thread tells it."""
    observer = RecordingObserver()
    observer(died("a"))
    told = threading.Thread(target=lambda: list(map(observer, (died("b"), died("c")))))
    told.start()
    assert [event.worker for event in observer.wait_for(WorkerDied, count=3)] == ["a", "b", "c"]
    told.join()


def test_observer_does_not_wait_for_what_has_been() -> None:
    """Events that were told before count: there is no race to lose."""
    observer = RecordingObserver()
    observer(died("a"))
    assert observer.wait_for(WorkerDied, timeout=0, where=lambda event: event.worker == "a") == observer.events


def test_observer_says_what_it_was_told_instead() -> None:
    """A wait in vain ends in a sentence that says what did happen."""
    observer = RecordingObserver()
    observer(died("a"))
    with pytest.raises(AssertionError, match="waited 0 s for 1 WorkerRevived, and there were 0; told of: 1 WorkerDied"):
        observer.wait_for(WorkerRevived, timeout=0)


def test_observer_can_be_told_by_a_signal_handler_while_it_is_asked() -> None:
    """A tell in the middle of a wait of the same thread must not block."""
    observer = RecordingObserver()
    observer(died("a"))

    def told_meanwhile(event: WorkerDied) -> bool:
        observer(WorkerRevived(worker=event.worker, restarts=1))  # as if a signal had come in just now
        return True

    assert len(observer.wait_for(WorkerDied, where=told_meanwhile)) == 1
    assert observer.of(WorkerRevived) != []


# The clock.


def test_clock_stands_still_until_it_is_moved() -> None:
    """Time passes when the test says so."""
    clock = ManualClock(now=5)
    assert (clock(), clock()) == (5, 5)
    clock.advance(2.5)
    assert clock() == 7.5


def test_clock_tells_its_watchers() -> None:
    """Who waits for a time is told when it was moved."""
    clock = ManualClock()
    times: list[float] = []
    clock.watch(lambda: times.append(clock()))
    clock.advance(1)
    clock.advance(2)
    assert times == [1, 3]


def test_clock_never_runs_back() -> None:
    """A clock that ran back would be no monotonic clock."""
    with pytest.raises(ValueError, match="advance: seconds must be at least 0; got -1"):
        ManualClock().advance(-1)


# The faulty queue.


def stats(**counts: Any) -> Stats:
    return Stats(state=State.STOPPED, **counts)


def test_faults_are_those_of_the_script_in_order() -> None:
    """Each call of a verb draws the next fault of its script; after its end all is well."""
    faulty = FaultyQueue("abc", wait=0, script={"get": ["raise", "ok", None, "none", "empty"]})
    with pytest.raises(InjectedFault):
        faulty.get(1)
    assert [item.body for item in (*faulty.get(1), *faulty.get(1))] == ["a", "b"]
    assert faulty.get(1) is None
    with pytest.raises(queue.Empty):
        faulty.get(1)
    assert [item.body for item in faulty.get(1)] == ["c"]
    assert faulty.injected == {("get", "raise"): 1, ("get", "none"): 1, ("get", "empty"): 1}


@pytest.mark.parametrize(
    ("fault", "kind", "count"),
    [
        ("tuple", tuple, 2),
        ("deque", collections.deque, 2),
        ("generator", types.GeneratorType, 2),
        ("more", list, 3),
    ],
)
def test_faults_of_get_change_its_shape(fault: str, kind: type, count: int) -> None:
    """Queues answer in many shapes, and sometimes with more than was asked for."""
    answer: Any = FaultyQueue("abc", script={"get": [fault]}).get(2)
    assert (type(answer), len(list(answer))) == (kind, count)


def test_faults_of_get_give_a_bare_item() -> None:
    """Some queues give one item, and no list of it."""
    answer = FaultyQueue("abc", script={"get": ["bare"]}).get(2)
    assert answer.body == "a"


def test_faults_of_get_break_an_iterable_midway() -> None:
    """What the iterable gave before it broke was truly given."""
    faulty = FaultyQueue("abcd", script={"get": ["break"]})
    given: list[Any] = []
    with pytest.raises(InjectedFault):
        given.extend(faulty.get(4))
    assert [item.body for item in given] == ["a", "b"]
    assert faulty.delivered == 2


@pytest.mark.parametrize(("fault", "given"), [("hang", 0), ("late", 1)])
def test_faults_of_get_block_until_interrupted(fault: str, given: int) -> None:
    """A `get` that hangs lets go when it is interrupted, with or without items."""
    faulty = FaultyQueue("a", script={"get": [fault]})
    answers: list[Any] = []
    getter = threading.Thread(target=lambda: answers.append(faulty.get()))
    getter.start()
    while getter.is_alive():
        faulty.interrupt()
        getter.join(0.01)
    assert len(answers[0]) == given


def test_faults_of_get_can_be_deaf() -> None:
    """A `get` that is deaf lets go when the test says so, and not before."""
    faulty = FaultyQueue("a", script={"get": ["deaf"]})
    answers: list[Any] = []
    getter = threading.Thread(target=lambda: answers.append(faulty.get()))
    getter.start()
    faulty.interrupt()
    getter.join(0.01)
    assert getter.is_alive()
    faulty.wake()
    getter.join()
    assert len(answers[0]) == 1


def test_faults_of_get_deliver_a_message_twice() -> None:
    """A duplicate is another object of the same message; cleaning up one of them ends both."""
    faulty = FaultyQueue("a", wait=0, script={"get": ["ok", "duplicate"]})
    [first], [second] = faulty.get(), faulty.get()
    assert first is not second
    assert faulty.identity(first) == faulty.identity(second)
    faulty.cleanup([second])
    faulty.cleanup([first])
    assert faulty.stats()["cleaned"] == 1
    assert faulty.stats()["in_flight"] == 0


def test_faults_of_cleanup() -> None:
    """`cleanup` may fail for all, for some, or only to say that it did not."""
    faulty = FaultyQueue("abcd", script={"cleanup": ["raise", "partly", "unheard"]})
    items = faulty.get()
    with pytest.raises(InjectedFault):
        faulty.cleanup(items)
    assert faulty.cleaned == set()
    with pytest.raises(CleanupError) as raised:
        faulty.cleanup(items)
    assert raised.value.failed == [items[0], items[2]]
    assert faulty.cleaned == {items[1].id, items[3].id}
    with pytest.raises(InjectedFault):
        faulty.cleanup(raised.value.failed)
    assert len(faulty.cleaned) == 4
    faulty.cleanup(raised.value.failed)
    faulty.reconcile(stats(received=4, cleaned=4))


def test_faults_of_single_items() -> None:
    """Items for which `stubborn` is true are never cleaned up, whatever is tried."""
    faulty = FaultyQueue("ab", stubborn=lambda item: item.body == "a")
    items = faulty.get()
    for attempt in (items, items[:1]):
        with pytest.raises(CleanupError) as raised:
            faulty.cleanup(attempt)
        assert raised.value.failed == items[:1]


def test_scripts_may_be_without_end() -> None:
    """A verb can fail every time; a fault that does not exist is found when it is its turn."""
    faulty = FaultyQueue("a", script={"cleanup": itertools.repeat("raise"), "get": iter(["ok", "rais"])})
    items = faulty.get()
    for _ in range(3):
        with pytest.raises(InjectedFault):
            faulty.cleanup(items)
    with pytest.raises(ValueError, match="get has no fault 'rais'"):
        faulty.get()


def test_faults_of_the_other_verbs() -> None:
    """Every verb that a line calls can be made to fail."""
    faulty = FaultyQueue("a", script={verb: ["raise"] for verb in ("release", "attempt", "identity", "close")})
    items = faulty.get()
    for call in (
        lambda: faulty.release(items),
        lambda: faulty.attempt(items[0]),
        lambda: faulty.identity(items[0]),
        faulty.close,
    ):
        with pytest.raises(InjectedFault):
            call()
    faulty.release(items)
    assert faulty.stats()["waiting"] == 1


def test_faults_by_chance_are_those_of_the_seed() -> None:
    """The same seed gives the same faults; another one others."""

    def faults(seed: int) -> list[str]:
        faulty = FaultyQueue(range(300), bulk=1, wait=0, seed=seed, slow=0)
        answers: list[str] = []
        for _ in range(300):
            try:
                answers.append(type(faulty.get()).__name__)
            except (InjectedFault, queue.Empty) as error:
                answers.append(type(error).__name__)
        return answers

    assert faults(1) == faults(1) != faults(2)


def test_nothing_happens_by_chance_to_an_empty_queue() -> None:
    """A line over a faulty queue comes to rest when all is done; only the script can disturb it then."""
    faulty = FaultyQueue(wait=0, chances={"get": {"raise": 1}}, script={"get": ["none"]})
    assert [faulty.get(), faulty.get()] == [None, []]
    faulty.queue.put("a")
    with pytest.raises(InjectedFault):
        faulty.get()


def test_a_message_is_delivered_twice_at_most_once() -> None:
    """Or one that can never be cleaned up would come for ever."""
    faulty = FaultyQueue("ab", bulk=2, script={"get": ["ok", *["duplicate"] * 5]}, wait=0)
    assert [len(faulty.get()) for _ in range(6)] == [2, 1, 1, 0, 0, 0]


def test_verbs_can_be_taken_away() -> None:
    """A faulty queue can do without any verb but `get`."""
    faulty = FaultyQueue("a", without=("release", "identity"))
    there = [verb for verb in ("release", "identity", "cleanup") if callable(getattr(faulty, verb))]
    assert there == ["cleanup"]


@pytest.mark.parametrize("where", ["script", "chances"])
def test_faults_that_do_not_exist_are_refused(where: str) -> None:
    """A misspelt fault would test nothing."""
    misspelt: dict[str, Any] = {where: {"get": {"rais": 1}}}
    with pytest.raises(ValueError, match="get has no fault 'rais'; it has: ok, raise, "):
        FaultyQueue(**misspelt)
    misspelt = {where: {"got": {"raise": 1}}}
    with pytest.raises(ValueError, match="no faults are known of 'got'"):
        FaultyQueue(**misspelt)


def test_faulty_queue_needs_messages() -> None:
    """Of plain items that may be equal no books can be kept; they are refused when one is given."""
    with pytest.raises(UsageError, match="needs messages"):
        FaultyQueue(MemoryQueue([1])).get()


GOOD = {"received": 4, "cleaned": 2, "released": 1, "left": 1}

LIES: list[tuple[dict[str, int], str]] = [
    ({**GOOD, "cleaned": 1}, "the ledger does not balance"),
    ({**GOOD, "received": 5, "left": 2}, "says that 5 were received, and get.* gave 4"),
    (
        {**GOOD, "cleaned": 3, "left": 0},
        "says that 3 were cleaned up .or dropped., and the queue was asked for 2",
    ),
    ({**GOOD, "released": 2, "left": 0}, "says that 2 were released, and the queue was asked for 1"),
    ({**GOOD, "cleaned": 1, "dropped": 1, "released": 0, "left": 2}, "says that 0 were released"),
    ({"received": 4, "cleaned": 4}, "still waits for the fate of 1 items, and .* should be 0 at most"),
]


def half_handled() -> tuple[FaultyQueue, list[Any]]:
    """A queue of four: two cleaned up, one released, one still held."""
    faulty = FaultyQueue("abcd")
    items = faulty.get()
    faulty.cleanup(items[:2])
    faulty.release(items[2:3])
    return faulty, items


def test_reconcile_accepts_the_truth() -> None:
    """A ledger that says what happened reconciles, and so do handlers that wrote down what they did."""
    faulty, items = half_handled()
    for truth in (GOOD, {**GOOD, "cleaned": 1, "dropped": 1}):
        faulty.reconcile(stats(**truth))
        faulty.reconcile(Report(stats=stats(**truth), balanced=True), handled=[items[0], items[1].id, items[3].id])


@pytest.mark.parametrize(("lie", "sentence"), LIES)
def test_reconcile_finds_every_lie_of_a_ledger(lie: dict[str, int], sentence: str) -> None:
    """Whatever the ledger says that did not happen is found, and said in a sentence."""
    faulty, _ = half_handled()
    with pytest.raises(AssertionError, match=sentence):
        faulty.reconcile(stats(**lie))


def test_reconcile_finds_what_was_cleaned_up_and_not_handled() -> None:
    """*Never clean up what was not consumed*, judged by what the handlers wrote down."""
    faulty, items = half_handled()
    with pytest.raises(AssertionError, match=f"1 were cleaned up, and no handler had done them: {items[1].id}"):
        faulty.reconcile(stats(**GOOD), handled=[items[0]])


def test_reconcile_finds_what_was_handled_too_often() -> None:
    """One delivery is handled once; a second time needs a second delivery."""
    faulty, items = half_handled()
    with pytest.raises(AssertionError, match=rf"1 were handled more often .*: {items[0].id} \(2 times, delivered 1\)"):
        faulty.reconcile(stats(**GOOD), handled=[items[0], items[0], items[1]])


def broken_promises() -> Iterator[tuple[FaultyQueue, str]]:
    faulty, items = half_handled()
    faulty.cleanup([])
    yield faulty, "cleanup.. was called with no items"
    faulty, items = half_handled()
    faulty.cleanup(items[:1])
    yield faulty, "cleanup.. was called with .*, which was cleaned before"
    faulty, items = half_handled()
    with contextlib.suppress(UsageError):
        faulty.release(items[:1])
    yield faulty, "release.. was called with .*, which was cleaned before"
    faulty, items = half_handled()
    with contextlib.suppress(CleanupError):
        faulty.cleanup([pickle.loads(pickle.dumps(items[3]))])
    yield faulty, "cleanup.. was called with an object that get.. never gave"
    faulty, items = half_handled()
    with contextlib.suppress(CleanupError):
        faulty.cleanup([items[3], items[3]])
    yield faulty, "cleanup.. was called with the same item twice"
    faulty, items = half_handled()
    faulty.close()
    faulty.close()
    yield faulty, "close.. was called more than once"
    faulty.get()
    yield faulty, "get.. was called after close"


def test_reconcile_finds_broken_promises_of_the_line() -> None:
    """What a line promises never to do with a queue is noted when it does it."""
    for faulty, sentence in broken_promises():
        with pytest.raises(AssertionError, match=sentence):
            faulty.reconcile(stats(**GOOD))


def test_reconcile_finds_what_is_lost() -> None:
    """Every message that was put in is cleaned up, or in the queue, or held for a reason."""
    faulty, items = half_handled()
    faulty.queue._held.pop(id(items[3]))
    with pytest.raises(AssertionError, match="1 messages are neither cleaned up nor in the queue"):
        faulty.reconcile(stats(**GOOD))


@pytest.mark.parametrize("seed", range(5))
def test_a_consumer_over_a_faulty_queue_reconciles(seed: int) -> None:
    """With whatever goes wrong, the ledger, the queue and the handlers tell the same story."""
    faulty = FaultyQueue(range(200), seed=seed, wait=0.01, slow=0.001)
    handled: list[str] = []

    def handler(items: Iterator[MemoryMessage]) -> None:
        for item in items:
            handled.append(item.id)

    consumer = Consumer(faulty, handler, max_workers=2, max_handlers=2, messages_bulk_size=3)
    with consumer:
        assert consumer.wait_idle(20), consumer.stats()
    faulty.reconcile(consumer.shutdown(), handled=handled)
