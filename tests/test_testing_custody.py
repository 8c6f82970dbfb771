"""The contract of leases and keys: good queues pass it, and for each clause there is a queue that breaks just it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import pytest

from queue_consumer import LeaseLost, MemoryQueue
from queue_consumer.testing import FaultyQueue, ManualClock, QueueContract
from queue_consumer.testing._custody import CustodyClauses

ALL = (
    "interrupt",
    "cleanup",
    "release",
    "attempt",
    "identity",
    "extend",
    "lease",
    "ordering_key",
    "put",
    "put_many",
    "stats",
    "close",
)


# The contract, passed.


class Custody(QueueContract):
    """How queues with leases and with order are put to the test: with a clock that is moved by hand."""

    verbs: ClassVar[Collection[str] | None] = ALL
    picklable = True
    holds_keys = True
    kind: Any = MemoryQueue
    options: ClassVar[dict[str, Any]] = {"lease": 30, "ordered": True}

    def make_queue(self) -> Any:
        self.clock = ManualClock()
        return self.kind(clock=self.clock, wait=0.01, **self.options)

    def wait_until_visible(self, queue: Any, seconds: float) -> None:
        self.clock.advance(seconds)

    def spoil(self, queue: Any, item: Any) -> None:
        queue.cleanup([item])  # so that it is not held any more


class TestMemoryQueueWithLeasesAndOrder(Custody):
    """The reference queue keeps the whole contract, with everything it has."""


class TestMemoryQueueWithLeases(Custody):
    """And with leases only."""

    verbs = tuple(verb for verb in ALL if verb != "ordering_key")
    options: ClassVar[dict[str, Any]] = {"lease": 30}


class TestOrderedMemoryQueue(Custody):
    """And with order only."""

    verbs = tuple(verb for verb in ALL if verb not in ("extend", "lease"))
    options: ClassVar[dict[str, Any]] = {"ordered": True}


class TestPlainItemsWithLeases(Custody):
    """Items that are no messages have no identity; what else holds of leases holds for them too."""

    verbs = ("interrupt", "cleanup", "release", "attempt", "extend", "lease", "stats", "close")
    options: ClassVar[dict[str, Any]] = {"lease": 30}

    def fill(self, queue: Any, bodies: Sequence[str]) -> None:
        queue.fill(bodies)


class TestFaultyQueueWithoutFaults(Custody):
    """Without a script, a faulty queue is a queue like any other, with leases and order too."""

    verbs = tuple(verb for verb in ALL if not verb.startswith("put"))
    kind = FaultyQueue

    def fill(self, queue: Any, bodies: Sequence[str]) -> None:
        for body in bodies:
            queue.queue.put(body)

    def fill_group(self, queue: Any, bodies: Sequence[str], group: str) -> None:
        for body in bodies:
            queue.queue.put(body, group=group)

    def spoil(self, queue: Any, item: Any) -> None:
        queue.queue.cleanup([item])


class HiddenForAWhile:
    """A queue that hides what it gave, and has no verb to keep it hidden."""

    def __init__(self, queue: MemoryQueue[Any]) -> None:
        self.lease = queue.lease
        self.get, self.cleanup, self.put = queue.get, queue.cleanup, queue.put


class TestLeaseWithoutExtend(Custody):
    """A lease that cannot be renewed is a lease nevertheless."""

    verbs = ("cleanup", "lease", "put")

    def make_queue(self) -> Any:
        return HiddenForAWhile(super().make_queue())

    def spoil(self, queue: Any, item: Any) -> None:
        queue.cleanup([item])


# The contract, broken.


class Broken(MemoryQueue[Any]):
    """A queue that works; its children do not."""


class LeaseIsText(Broken):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.lease = "30 s"  # type: ignore[assignment]


class NeverRunsOut(Broken):
    """Says that it has leases, and holds for ever."""

    def get(self, limit: int | None = None) -> list[Any]:
        items = super().get(limit)
        self._extend(items, 1e9)
        return items


class RunsOutAtOnce(Broken):
    """Says that it has leases, and holds nothing."""

    def get(self, limit: int | None = None) -> list[Any]:
        items = super().get(limit)
        self.expire(items)
        return items


class LostAreOthers(Broken):
    """Each delivery has an identity of its own, as with a receipt handle."""

    def identity(self, item: Any) -> Any:
        return f"{item.id}/{item.attempt}"


class LostAttemptsDoNotCount(Broken):
    def attempt(self, item: Any) -> int:
        return 1


class ExtendsNothing(Broken):
    def _extend(self, items: Sequence[Any], seconds: float) -> None:
        pass


class AddsToTheLease(Broken):
    """As if the seconds were counted from the end of the lease."""

    def _extend(self, items: Sequence[Any], seconds: float) -> None:
        super()._extend(items, seconds + 30)


class ExtendsEverything(Broken):
    """Extends all that it gave, whatever it was asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._given: list[Any] = []

    def get(self, limit: int | None = None) -> list[Any]:
        items = super().get(limit)
        self._given += items
        return items

    def _extend(self, items: Sequence[Any], seconds: float) -> None:
        super()._extend([item for item in self._given if self.holds(item)], seconds)


class KeepsQuietAboutTheLost(Broken):
    def _extend(self, items: Sequence[Any], seconds: float) -> None:
        super()._extend([item for item in items if self.holds(item)], seconds)


class CallsAllLost(Broken):
    def _extend(self, items: Sequence[Any], seconds: float) -> None:
        try:
            super()._extend(items, seconds)
        except LeaseLost:
            raise LeaseLost(items) from None


class NamesCopies(Broken):
    def _extend(self, items: Sequence[Any], seconds: float) -> None:
        try:
            super()._extend(items, seconds)
        except LeaseLost as error:
            raise LeaseLost(item.id for item in error.items) from None


class FailsWithoutSayingWhich(Broken):
    def _extend(self, items: Sequence[Any], seconds: float) -> None:
        try:
            super()._extend(items, seconds)
        except LeaseLost:
            raise ConnectionError("some could not be extended") from None


class StopsAtTheFirstThatIsLost(Broken):
    def _extend(self, items: Sequence[Any], seconds: float) -> None:
        for item in items:
            super()._extend([item], seconds)


class KnowsMessagesOnly(Broken):
    """Has no idea of deliveries: whatever is done to an old one is done to the newest."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._newest: dict[str, Any] = {}

    def get(self, limit: int | None = None) -> list[Any]:
        items = super().get(limit)
        self._newest.update((item.id, item) for item in items)
        return items

    def cleanup(self, items: Sequence[Any]) -> None:
        super().cleanup([self._newest[item.id] for item in items])

    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        super().release([self._newest[item.id] for item in items], delay)


class HasOddKeys(Broken):
    """Its key is what a test says, of each item."""

    def key(self, item: Any) -> Any:
        raise NotImplementedError

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ordering_key = self.key


class HasUnhashableKeys(HasOddKeys):
    def key(self, item: Any) -> Any:
        return [item.group]


class HasNoKeys(HasOddKeys):
    def key(self, item: Any) -> Any:
        return None


class HasOneKey(HasOddKeys):
    def key(self, item: Any) -> Any:
        return "the one"


class HasManyKeys(HasOddKeys):
    def key(self, item: Any) -> Any:
        return item.id


class ChangesKeys(HasOddKeys):
    def key(self, item: Any) -> Any:
        return f"{item.group}/{item.attempt}"


class LastComesFirst(Broken):
    def get(self, limit: int | None = None) -> list[Any]:
        return super().get(limit)[::-1]


class HoldsNothingBack(HasOddKeys):
    """Has keys, and gives whatever is there."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "ordered": False})

    def key(self, item: Any) -> Any:
        return item.group


class HoldsEverythingBack(Broken):
    """Gives nothing while anything is held."""

    def get(self, limit: int | None = None) -> list[Any]:
        return [] if self.stats()["in_flight"] else super().get(limit)


class ForgetsThePlace(Broken):
    """Holds back while something is delayed; and what comes back goes to the end."""

    hidden_until = 0.0

    def get(self, limit: int | None = None) -> list[Any]:
        return [] if self._clock() < self.hidden_until else super().get(limit)

    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        self.cleanup(items)
        for item in items:
            self.put(item.body, group=item.group)
        self.hidden_until = self._clock() + delay


BROKEN: list[tuple[str, type[Broken], str]] = [
    ("test_lease_is_a_number_of_seconds", LeaseIsText, r"lease is '30 s', and must be a number of seconds above 0"),
    ("test_item_comes_again_when_its_lease_has_run_out", NeverRunsOut, r"should give 1 items, and has given 0"),
    (
        "test_item_comes_again_when_its_lease_has_run_out",
        RunsOutAtOnce,
        r"before the lease of the only item has run out, get\(\) gives again 1",
    ),
    (
        "test_item_comes_again_when_its_lease_has_run_out",
        LostAreOthers,
        r"identity\(\) gives 'memory-\d+/1', and when the lease has run out 'memory-\d+/2'",
    ),
    (
        "test_item_comes_again_when_its_lease_has_run_out",
        LostAttemptsDoNotCount,
        r"attempt\(\) says 1, and when the lease has run out 1",
    ),
    (
        "test_extend_hides_an_item_from_now_on",
        ExtendsNothing,
        r"60 s after extend\(items, 90\), get\(\) gives again 1",
    ),
    ("test_extend_hides_an_item_from_now_on", AddsToTheLease, r"should give 1 items, and has given 0"),
    ("test_extend_concerns_no_other_item", ExtendsEverything, r"should give 1 items, and has given 0"),
    (
        "test_extend_concerns_no_other_item",
        ExtendsNothing,
        r"of 2 items 1 was extended, .*, get\(\) gives 2 items, and should give 1",
    ),
    ("test_extend_says_which_are_lost", KeepsQuietAboutTheLost, r"does not raise: whoever handles it never hears"),
    ("test_extend_says_which_are_lost", CallsAllLost, r"LeaseLost.items names 3 items: it must hold the very object"),
    ("test_extend_says_which_are_lost", NamesCopies, r"LeaseLost.items names 1 others: it must hold the very object"),
    (
        "test_extend_says_which_are_lost",
        FailsWithoutSayingWhich,
        r"raises ConnectionError\(.*\), from which nobody can tell which one",
    ),
    (
        "test_extend_says_which_are_lost",
        StopsAtTheFirstThatIsLost,
        r"does not extend the others: \['item-1', 'item-2'\]",
    ),
    (
        "test_late_cleanup_ends_no_newer_delivery",
        KnowsMessagesOnly,
        r"after a late cleanup\(\) of a lost delivery, .*, get\(\) gives 0 items, and should give 1",
    ),
    (
        "test_late_release_shows_no_newer_delivery",
        KnowsMessagesOnly,
        r"after a late release\(\) of a lost delivery, while a newer one is held, get\(\) gives 1",
    ),
    ("test_ordering_key_tells_groups_apart", HasUnhashableKeys, r"ordering_key\(\) gives \['a'\], .* not hashable"),
    ("test_ordering_key_tells_groups_apart", HasNoKeys, r"ordering_key\(\) gives None for 'a1'"),
    ("test_ordering_key_tells_groups_apart", HasOneKey, r"gives 'the one' for items of two groups"),
    ("test_ordering_key_tells_groups_apart", HasManyKeys, r"for two items of one group"),
    ("test_ordering_key_stays_the_same", ChangesKeys, r"gives 'a/1', and when the item comes again 'a/2'"),
    (
        "test_order_is_kept_within_a_key",
        LastComesFirst,
        r"get\(\) gives \['a3', 'a2', 'a1', 'a0'\] in this order, and should give \['a0', 'a1', 'a2', 'a3'\]",
    ),
    (
        "test_a_key_is_held_back_while_an_item_of_it_is_out",
        HoldsNothingBack,
        r"while \['a0'\] are held, get\(\) gives, of the same key, \['a1', 'a2'\]",
    ),
    (
        "test_a_key_is_held_back_while_an_item_of_it_is_out",
        HoldsEverythingBack,
        r"while \['a0'\] are held, get\(\) gives \[\]: other keys must go on",
    ),
    (
        "test_release_keeps_the_place_in_its_key",
        HoldsNothingBack,
        r"while a released item waits for its delay, get\(\) gives, of its key, 2: \['a1', 'a2'\]",
    ),
    (
        "test_release_keeps_the_place_in_its_key",
        ForgetsThePlace,
        r"after a release, get\(\) gives \['a1', 'a2', 'a0'\] in this order, and should give \['a0', 'a1', 'a2'\]",
    ),
]


class BrokenCustody(Custody):
    """The contract, without much patience."""

    patience = 0.3
    soon = 0.2


@pytest.mark.parametrize(("clause", "broken", "sentence"), BROKEN)
def test_each_clause_catches_what_is_broken(clause: str, broken: type[Broken], sentence: str) -> None:
    """For each clause there is a queue that breaks just it, and the clause says so in a sentence."""
    contract = BrokenCustody()
    contract.kind = broken
    with pytest.raises(AssertionError, match=sentence):
        getattr(contract, clause)()


def clauses_of(contract: type[Any]) -> set[str]:
    return {name for name in dir(contract) if name.startswith("test_") and callable(getattr(contract, name))}


def test_every_clause_has_a_queue_that_breaks_it() -> None:
    """A clause that nothing can break would be worth nothing."""
    assert clauses_of(CustodyClauses) == {clause for clause, _, _ in BROKEN}


def test_clauses_are_left_out_with_their_verbs() -> None:
    """What a queue does not have is not tested, and what it does not promise neither."""

    class NoLeases(Custody):
        verbs: ClassVar[Collection[str] | None] = ("cleanup", "release", "put", "ordering_key")

    class LeasesToo(NoLeases):
        verbs = ("cleanup", "release", "put", "ordering_key", "lease", "extend")

    class HoldsNoKeys(Custody):
        holds_keys = False

    keys = {name for name in clauses_of(CustodyClauses) if "key" in name}
    held = {"test_a_key_is_held_back_while_an_item_of_it_is_out", "test_release_keeps_the_place_in_its_key"}
    assert clauses_of(CustodyClauses) & clauses_of(NoLeases) == keys
    assert clauses_of(CustodyClauses) <= clauses_of(LeasesToo)
    assert clauses_of(CustodyClauses) - clauses_of(HoldsNoKeys) == held


def test_leases_and_keys_are_looked_for_where_no_verbs_are_named() -> None:
    """A verb that is None is none: what a queue was not made with is not tested."""

    class Found(Custody):
        verbs = None
        options: ClassVar[dict[str, Any]] = {}

    assert {"extend", "lease", "ordering_key"}.isdisjoint(Found().verbs_found())
    Found.options = {"lease": 1, "ordered": True}
    assert {"extend", "lease", "ordering_key"} <= {*Found().verbs_found()}
