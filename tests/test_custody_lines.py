"""Custody in whole lines: what overtakes what, what is renewed when, and what a newer delivery changes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from queue_consumer import Constant, Consumer, ItemsLost, ItemsReleased, Lane
from queue_consumer._chunk import Failure
from queue_consumer._custody import Custody
from queue_consumer.memory import MemoryQueue
from support.custody import PATIENCE, LeasedQueue, among, at_rest, at_work, books, jobs_of, line_of, pause
from support.lanes import Buses, Job, Names, Source, following, jobs, reconcile
from support.lifecycle import until
from support.lifecycle_handlers import Gate
from support.line_pools import THREADS
from test_keys import Stage, lane_of
from test_leases import after_long

# ---- tests/test_keys.py


class Counting(Source):
    """A source that says how often an item was delivered."""

    def attempt(self, item: Job) -> int:
        return 1


def test_those_behind_a_dead_letter_wait_until_it_is_taken(tmp_path: Path) -> None:
    """While it is not known whether the dead letters take it, none behind it is handled; where they do not, it goes
    back with those behind it.
    """
    burying, answer = threading.Event(), threading.Event()

    def bury(item: Any, failure: Failure) -> None:
        burying.set()
        answer.wait(PATIENCE)
        raise OSError("no room for it")

    items = [Job("A", 1, deed="raise"), *jobs("A", 3)[1:], *jobs("B", 4)]
    source = Counting(items, bulk=1000)
    stage = Stage("threads", tmp_path, [], queue=source, max_attempts=1, dead_letter=bury)
    stage.source = source

    def during() -> None:
        assert burying.wait(PATIENCE)
        stage.names.wait_for(lambda names: {"B1", "B2", "B3", "B4"} <= {*names})
        answer.set()

    assert [name for name in stage.run_to_rest(during) if name[0] == "A"] == ["A1"]
    assert [name for name, _ in stage.released()] == ["A1", "A2", "A3"]


def test_what_is_handed_on_keeps_its_key_from_other_handlers(tmp_path: Path) -> None:
    """While it is in hand for the second time, however many handlers are free, none behind it is handled."""
    gate = Gate(tmp_path)
    items = [Job("B", 1, deed="raise"), Job("C", 1, gate=str(tmp_path / "gate")), *jobs("C", 2)[1:], *jobs("D", 4)]
    stage = Stage("threads", tmp_path, items, messages_bulk_size=2)

    def during() -> None:
        gate.wait_for()
        stage.names.wait_for(lambda names: {"D1", "D2", "D3", "D4"} <= {*names})
        try:
            assert "C2" not in stage.names.lines()
        finally:
            gate.open()

    assert [name for name in stage.run_to_rest(during) if name[0] == "C"] == ["C1", "C2"]


def test_a_key_is_one_for_all_lanes(tmp_path: Path) -> None:
    """Items of equal key in two lanes that have one key function are handled one at a time, too."""
    gate = Gate(tmp_path)
    one, other = Source([Job("A", 1, gate=str(tmp_path / "gate"))]), Source()
    names = Names(tmp_path / "names")
    lanes = Buses(Lane(one, 0, "one"), Lane(other, 0, "other"))
    consumer = Consumer[Job](lanes, following("threads", names), 1, 3, key=lane_of)
    with consumer:
        gate.wait_for()
        other.put(*jobs("A", 2)[1:], *jobs("B", 3))
        other.wait_for_cleanup(3)
        try:
            assert sorted(names.lines()) == ["A1", "B1", "B2", "B3"]
        finally:
            gate.open()
        assert consumer.wait_idle(PATIENCE)
    reconcile(consumer.shutdown(), one, other)
    assert [name for name in names.lines() if name[0] == "A"] == ["A1", "A2"]


def test_a_release_that_fails_is_not_overtaken_by_those_behind(tmp_path: Path) -> None:
    """Where a call carries one item, and the first of them fails, the others wait until it has succeeded."""

    class Refusing(Source):
        cleanup_limit = 1
        refused = False

        def release(self, items: Sequence[Job], delay: float = 0) -> None:
            if not self.refused:
                self.refused = True
                raise OSError("not now")
            super().release(items, delay)

    source = Refusing([Job("A", 1, deed="raise"), *jobs("A", 4)[1:]], bulk=1000)
    stage = Stage("threads", tmp_path, [], queue=source)
    stage.source = source
    assert stage.run_to_rest() == ["A1"]
    assert stage.released() == [("A1", 7.0), ("A2", 7.0), ("A3", 7.0), ("A4", 7.0)]


def test_what_is_lost_while_its_release_waits_comes_again_before_those_behind() -> None:
    """A release is to be tried again, and meanwhile the lease runs out: with the message come those behind it in its
    group, and it goes first, though its older delivery is still on its way home.
    """

    class Slipping(MemoryQueue):
        def release(self, items: Sequence[Any], delay: float = 0) -> None:
            if any(note.deed == "expired" for note in self.journal or ()):
                return super().release(items, delay)
            self.expire(items)
            raise OSError("not now")

    queue = Slipping(lease=60, ordered=True, journal=True, bulk=4)
    queue.put("a", group="g")
    handled: list[str] = []

    def handler(items: Iterator[Any]) -> None:
        for item in items:
            handled.append(item.body)
            if handled == ["a"]:
                queue.put_many({"body": body, "group": "g"} for body in "bc")
                raise ValueError("once")

    with Consumer(queue, handler, 1, 1, 3, backoff=lambda attempt: 0) as consumer:
        until(lambda: len(handled) == 4, "all are handled")
    assert handled == ["a", "a", "b", "c"]
    assert consumer.stats().lost == 1


def test_what_is_refused_as_a_dead_letter_comes_again_before_those_behind() -> None:
    """An item whose identity cannot be told has failed for the last time, and the dead letters do not take it: it comes
    again, and those of its group that came with it wait for that.
    """

    class Anonymous(MemoryQueue):
        asked = 0

        def identity(self, item: Any) -> str | None:
            if item.body == "a" and self.asked < 2:  # of the bulk, and of the item alone
                self.asked += 1
                raise KeyError("no idea")
            return super().identity(item)

    queue = Anonymous(ordered=True, bulk=3)
    for body in "abc":
        queue.put(body, group="g")
    handled: list[str] = []
    refused: list[str] = []

    def handler(items: Iterator[Any]) -> None:
        handled.extend(item.body for item in items)

    def dead_letter(item: Any, failure: Failure) -> None:
        time.sleep(0.2)  # nothing announces that none of the others is handled meanwhile
        refused.append(item.body)
        raise OSError("the cellar is full")

    options: dict[str, Any] = {"max_attempts": 1, "dead_letter": dead_letter, "backoff": Constant(0)}
    consumer = Consumer(queue, handler, 1, 1, **options)
    with consumer:
        until(lambda: len(handled) == 3, "all are handled")
    assert (refused, handled) == (["a"], ["a", "b", "c"])


# ---- tests/test_leases.py


def key_but_of_the_first(item: Any) -> str | None:
    return None if item.body == "hold 0" else "key"


def test_those_behind_what_is_lost_on_the_belt_go_back(tmp_path: Path) -> None:
    """Of the key of an item that is lost nothing is handled before it has come again."""
    queue = LeasedQueue(["hold 0", "ok 1", "ok 2"])
    jobs_ = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs_, key=key_but_of_the_first)
    with at_work(consumer, jobs_):
        jobs_.wait("begun hold 0 #1")
        first, second = queue.delivery("ok 1"), queue.delivery("ok 2")
        pause(consumer)  # or a newer delivery might take its place
        queue.expire([first])
        try:
            [lost] = events.wait_for(ItemsLost, timeout=PATIENCE)
            assert lost.items == (first,)
        finally:
            jobs_.open()
        consumer.resume()
        until(lambda: queue.stats()["cleaned"] == 3, "everything is cleaned up")
    assert queue.was_given_back(second) == [0]
    assert "ok 2 #1" not in jobs_.notes("begun")
    stats = books(consumer.shutdown(), queue)
    assert (stats.received, stats.cleaned, stats.lost, stats.released) == (5, 3, 1, 1)


def test_not_even_once_is_renewed_what_has_ended(tmp_path: Path) -> None:
    """No extend begins after the cleanup of its item, not even one that was due soon after."""
    late: list[Any] = []

    def extend(items: list[Any]) -> None:
        late.extend(item for item in items if among(item, queue.done))

    queue = LeasedQueue(["hold 0", "ok 1"], on_extend=extend)
    jobs_ = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs_, max_handlers=2)
    with at_work(consumer, jobs_):
        jobs_.wait("begun hold 0 #1")
        until(lambda: consumer.stats().cleaned == 1, "one is cleaned up")
        queue.wait_for_renewals(queue.delivery("hold 0"), times=3)
        jobs_.open()
        assert consumer.wait_idle(PATIENCE)
    assert not late
    assert not events.of(ItemsLost)
    assert books(consumer.shutdown(), queue).cleaned == 2


def test_no_renewal_begins_while_a_release_runs(tmp_path: Path) -> None:
    """Though the release takes longer than the lease: a heartbeat that overtakes it would undo the back-off."""
    begun, unblock = threading.Event(), threading.Event()

    def release(items: list[Any], delay: float) -> None:
        begun.set()
        unblock.wait(PATIENCE)

    queue = LeasedQueue(["hold-fail 1", "hold:b 2"], on_release=release)
    jobs_ = jobs_of(THREADS, tmp_path)
    consumer, events = line_of(THREADS, queue, jobs_, backoff=after_long, max_handlers=2)
    with at_work(consumer, jobs_):
        jobs_.wait("begun hold-fail 1 #1", "begun hold:b 2 #1")
        failing = queue.delivery("hold-fail 1")
        jobs_.open()
        try:
            assert begun.wait(PATIENCE)
            before = queue.extended(failing)
            queue.wait_for_renewals(queue.delivery("hold:b 2"), times=4)
            assert queue.extended(failing) == before
        finally:
            unblock.set()
            jobs_.open("b")
        events.wait_for(ItemsReleased, timeout=PATIENCE)
        until(lambda: consumer.stats().cleaned == 1, "the other one is cleaned up")


# ---- tests/test_identity.py


def test_what_comes_again_during_a_cleanup_that_succeeds(tmp_path: Path) -> None:
    """A queue may take the older delivery for done and yet have given a newer one: that is cleaned up as well."""
    inside, unblock = threading.Event(), threading.Event()

    class Forgiving(LeasedQueue):
        def cleanup(self, items: Sequence[Any]) -> None:
            if any(item.attempt == 1 for item in items):
                inside.set()
                unblock.wait(PATIENCE)
                return  # it has been given again meanwhile, and this delivery means nothing any more
            super().cleanup(items)

    queue = Forgiving(["ok 1"], lease=None)
    jobs_ = jobs_of(THREADS, tmp_path)
    consumer, _ = line_of(THREADS, queue, jobs_)
    with at_work(consumer, jobs_):
        assert inside.wait(PATIENCE)
        queue.redeliver(queue.delivery("ok 1"))
        queue.delivery("ok 1", 2)
        until(lambda: consumer.stats().duplicates == 1, "it is counted")
        unblock.set()
        assert consumer.wait_idle(PATIENCE)
    assert jobs_.notes("begun") == ["ok 1 #1"]
    assert queue.cleaned(queue.delivery("ok 1", 2))
    stats = consumer.shutdown().stats
    assert stats.balanced
    assert (stats.received, stats.cleaned, stats.lost, stats.duplicates) == (2, 1, 1, 1)
    at_rest(queue)


def test_two_getters_do_not_both_take_it_for_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a message is new is looked up, and it is noted down, in one step: nobody can come between."""
    custody = Custody(lambda name: name, None, renewed=False)
    are_new = Custody._are_new
    others: list[bool] = []

    def watched(self: Custody, items: Sequence[Any], identities: list[Any]) -> bool:
        asking = threading.Thread(target=lambda: others.append(self._changed.acquire(blocking=False)))
        asking.start()
        asking.join()
        return are_new(self, items, identities)

    monkeypatch.setattr(Custody, "_are_new", watched)
    assert custody.receive(["a"], 0.0, 0.0, 0.0).fresh == ["a"]
    assert others == [False]
