"""What a queue may say beside its verbs: that cleanups wait for company, which ones are of no use to try again, and
that an item was hidden for less than a lease.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from queue_consumer import CleanupError, Consumer, ItemsLost, LeaseLost, Supervision
from queue_consumer import _cleaner as cleaner_module
from queue_consumer.testing import RecordingObserver
from support.lifecycle import until

PATIENCE = 20.0
LONG = 100.0  # seconds that no test waits for


class Batched:
    """A queue that writes down its cleanups, and likes them to be of four."""

    cleanup_limit = 4

    def __init__(self, items: Sequence[Any], linger: float | None = LONG) -> None:
        self.items = list(items)
        self.cleanup_linger = linger
        self.cleanups: list[list[Any]] = []
        self.releases: list[list[Any]] = []

    def get(self, limit: int = 1) -> list[Any]:
        bulk, self.items = self.items[:limit], self.items[limit:]
        if not bulk:
            time.sleep(0.02)  # as a poll does
        return bulk

    def cleanup(self, items: Sequence[Any]) -> None:
        self.cleanups.append(list(items))

    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        self.releases.append(list(items))


def every(items: Iterator[Any]) -> None:
    for _ in items:
        pass


def test_a_cleaner_that_getters_wait_for_waits_for_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """With as much to clean up as there may be, no more comes that its next call could carry."""
    monkeypatch.setattr(cleaner_module, "LINGER", LONG)
    queue = Batched(range(200), linger=None)
    queue.cleanup_limit = 1000
    with Consumer(queue, every, 1, 1, prefetch=1) as consumer:
        until(lambda: consumer.stats().received == 200, "all are fetched")


def test_what_does_not_fill_a_call_waits_for_company() -> None:
    """Three wait for a fourth, if calls are of four; what comes after that waits until the consumer stops."""
    queue, handled = Batched(range(3)), list[int]()

    def handler(items: Iterator[int]) -> None:
        handled.extend(items)

    with Consumer(queue, handler, 1, 1, prefetch=100) as consumer:
        until(lambda: len(handled) == 3, "three are handled")
        time.sleep(0.2)  # nothing announces that a call is not made
        assert queue.cleanups == []
        queue.items = [3, 4]
        until(lambda: queue.cleanups, "four are cleaned up")
        until(lambda: consumer.stats().in_flight == 1, "one waits")
    assert sorted(map(len, queue.cleanups)) == [1, 4]


def test_nobody_waits_for_company_for_ever() -> None:
    """After as long as the queue would like, a call is made for what there is."""
    queue = Batched(range(3), linger=0.05)
    with Consumer(queue, every, 1, 1, prefetch=100) as consumer:
        assert consumer.wait_idle(PATIENCE)
        assert sum(map(len, queue.cleanups)) == 3


def test_what_waits_for_company_keeps_nobody_from_fetching() -> None:
    """Cleanup is not behind because a call is not full yet, however many fill one; so none is made that is not."""
    queue = Batched(range(200), linger=LONG)
    queue.cleanup_limit = 150
    with Consumer(queue, every, 1, 1, prefetch=0):
        until(lambda: queue.items == [], "all are fetched")
        until(lambda: queue.cleanups, "a call is full")
    assert list(map(len, queue.cleanups)) == [150, 50]


def test_a_linger_must_be_a_number_of_seconds() -> None:
    """Anything else is refused in a sentence."""
    queue = Batched([])
    queue.cleanup_linger = -1
    with pytest.raises(ValueError, match=r"queue\.cleanup_linger must be a number of seconds above 0; got -1"):
        Consumer(queue, every)


class Judging(Batched):
    """A queue that judges its items, each by what it is: lost, hopeless, failed or good."""

    def __init__(self, items: Sequence[str], verb: str) -> None:
        super().__init__(items, linger=0.001)
        self.verb = verb

    def judge(self, verb: str, items: Sequence[str]) -> None:
        if verb == self.verb:
            kinds = {kind: [item for item in items if item.startswith(kind)] for kind in ("lost", "hopeless", "failed")}
            if any(kinds.values()):
                raise CleanupError(kinds["failed"], "as told", kinds["lost"], kinds["hopeless"])

    def cleanup(self, items: Sequence[str]) -> None:
        super().cleanup(items)
        self.judge("cleanup", items)

    def release(self, items: Sequence[str], delay: float = 0) -> None:
        super().release(items, delay)
        self.judge("release", items)


def fail_all(items: Iterator[Any]) -> None:
    for item in items:
        raise ValueError(item)


@pytest.mark.parametrize("verb", ["cleanup", "release"])
def test_a_queue_that_says_what_is_lost(verb: str) -> None:
    """Those that it names are lost, and never tried again; the others are done."""
    queue, events = Judging(["lost 1", "good 2", "lost 3"], verb), RecordingObserver()
    handler = every if verb == "cleanup" else fail_all
    with Consumer(queue, handler, 1, 1, 3, prefetch=100, observers=[events]) as consumer:
        assert consumer.wait_idle(PATIENCE)
        stats = consumer.stats()
    assert (stats.lost, stats.cleaned + stats.released) == (2, 1)
    assert stats.balanced
    assert sorted(item for event in events.of(ItemsLost) for item in event.items) == ["lost 1", "lost 3"]
    calls = [item for call in getattr(queue, f"{verb}s") for item in call]
    assert sorted(calls) == ["good 2", "lost 1", "lost 3"]


@pytest.mark.parametrize("verb", ["cleanup", "release"])
def test_a_queue_that_says_what_is_hopeless(verb: str) -> None:
    """Those that it names are given up at once: tombstones if they were done, else left."""
    queue = Judging(["hopeless 1", "good 2"], verb)
    handler = every if verb == "cleanup" else fail_all
    with Consumer(queue, handler, 1, 1, 2, prefetch=100) as consumer:
        assert consumer.wait_idle(PATIENCE)
        stats = consumer.stats()
    assert (stats.tombstoned if verb == "cleanup" else stats.left) == 1
    assert stats.balanced
    calls = [item for call in getattr(queue, f"{verb}s") for item in call]
    assert sorted(calls) == ["good 2", "hopeless 1"]


def test_lost_and_hopeless_and_failed_at_once() -> None:
    """Each has its own end, whatever the others have."""
    queue = Judging(["lost 1", "hopeless 2", "failed 3", "good 4"], "cleanup")
    with Consumer(queue, every, 1, 1, 4, prefetch=100) as consumer:
        until(lambda: sum(len(call) for call in queue.cleanups) >= 5, "what failed is tried again")
        report = consumer.shutdown()
    stats = report.stats
    assert (stats.lost, stats.cleaned, stats.tombstoned) == (1, 1, 2)
    assert report.balanced


class Hiding:
    """A queue with a lease that no test sees the half of, that hid its only item for less."""

    lease = LONG

    def __init__(self, lease_of: Any) -> None:
        self.items = ["an item"]
        self.extended: list[float] = []
        self._lease_of = lease_of

    def get(self) -> list[str]:
        items, self.items = self.items, []
        if not items:
            time.sleep(0.02)  # as a poll does
        return items

    def cleanup(self, items: Sequence[str]) -> None: ...

    def extend(self, items: Sequence[str], seconds: float) -> None:
        self.extended.append(seconds)
        if len(self.extended) > 1:
            raise LeaseLost(items)

    def lease_of(self, item: str) -> float:
        return float(self._lease_of(item))


def broken(_: str) -> float:
    raise KeyError("no idea")


def short(_: str) -> float:
    return 3.0


def odd(_: str) -> float:
    return -1.0


@pytest.mark.parametrize("lease_of", [short, odd, broken])
def test_what_was_hid_for_less_than_a_lease_is_renewed_in_time(lease_of: Any) -> None:
    """Half of what it was hidden for later it is renewed, to a whole lease; if that cannot be told, soon."""
    queue = Hiding(lease_of)

    def handler(items: Iterator[str]) -> None:
        for _ in items:
            until(lambda: queue.extended, "it is renewed")

    with Consumer(queue, handler, 1, 1, supervision=Supervision(polling_time=0.05)) as consumer:
        until(lambda: consumer.stats().cleaned == 1, "it is done")
    assert queue.extended == [LONG]
    assert consumer.stats().lost == 0
