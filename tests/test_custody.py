"""Who holds what, and for how long: the rules of custody in a table of moments, without a thread."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Sequence

import pytest

from queue_consumer._custody import Custody, Hold

LEASE = 10.0
HALF = LEASE / 2


class Message:
    """One delivery."""

    def __init__(self, name: str) -> None:
        self.name = name


def custody_of(*deliveries: Message, max_age: float | None = None) -> Custody:
    """A custody that was given these at the time 0."""
    custody = Custody(lambda message: message.name, LEASE, renewed=True, max_age=max_age)
    arrival = custody.receive(deliveries, 0.0, 0.0, 0.0)
    assert arrival.fresh == list(deliveries)
    return custody


def items_of(holds: list[Hold]) -> list[object]:
    return [hold.item for hold in holds]


def test_what_is_held_is_renewed_at_half_time() -> None:
    """Not before, and then once; and when that was done, half a lease later again."""
    one = Message("a")
    custody = custody_of(one)
    assert custody.to_renew(10, HALF - 0.1) == []
    batch = custody.to_renew(10, HALF)
    assert items_of(batch) == [one]
    assert custody.to_renew(10, HALF) == []
    custody.renewed(batch, items_of(batch), [], HALF, failed=False, early=0.0)
    assert custody.due() == HALF + HALF
    assert not custody.lost(one, LEASE + 1)


def test_what_has_ended_is_not_renewed() -> None:
    """Neither before its renewal, nor after one that it ended during."""
    one, other = Message("a"), Message("b")
    custody = custody_of(one, other)
    custody.ended([one])
    batch = custody.to_renew(10, HALF)
    assert items_of(batch) == [other]
    custody.ended([other])
    custody.renewed(batch, items_of(batch), [], HALF, failed=False, early=0.0)
    assert custody.to_renew(10, 2 * LEASE) == []
    assert len(custody) == 0


def test_what_is_given_back_is_not_renewed() -> None:
    """From when it is on its way back; if it is not taken back, it is renewed again soon."""
    one = Message("a")
    custody = custody_of(one)
    assert custody.present([one], 1.0, going=True) == ([one], [])
    assert custody.to_renew(10, HALF) == []
    custody.back([one])
    assert items_of(custody.to_renew(10, HALF + LEASE / 8)) == [one]


def test_a_short_lease_is_renewed_in_time_however_long_a_whole_one_is() -> None:
    """What was hidden for five seconds is renewed within these, and if that fails, again within these."""
    one = Message("a")
    custody = Custody(None, 40_000.0, renewed=True, lease_of=lambda _: 5.0)
    custody.receive([one], 0.0, 0.0, 0.0)
    batch = custody.to_renew(10, custody.due())
    custody.renewed(batch, items_of(batch), [], 2.5, failed=True, early=0.0)
    assert 2.5 < custody.due() < 4.0
    batch = custody.to_renew(10, custody.due())
    custody.renewed(batch, items_of(batch), [], 4.0, failed=False, early=0.0)
    assert not custody.lost(one, 39_000.0)


def test_what_came_again_during_its_renewal_was_not_renewed() -> None:
    """It was the older delivery that was asked for, and the newer has a lease of its own."""
    older, newer = Message("a"), Message("a")
    custody = custody_of(older)
    batch = custody.to_renew(10, HALF)
    custody.receive([newer], HALF, HALF, 0.0)
    custody.renewed(batch, [older], [older], 2 * LEASE, failed=False, early=0.0)
    assert custody.lost(older, HALF + LEASE), "by when its lease runs out, and not by a later one"
    assert custody.news() == [newer]


def test_what_came_again_does_not_wait_for_the_renewal_of_the_older_delivery() -> None:
    """A call that never returns holds up the older delivery, and not the newer one; and a release waits for both."""
    older, newer = Message("a"), Message("a")
    custody = custody_of(older)
    stuck = custody.to_renew(10, HALF)
    custody.receive([newer], LEASE, LEASE, 0.0)
    batch = custody.to_renew(10, LEASE + HALF)
    assert items_of(batch) == [newer]
    custody.renewed(stuck, [older], [], HALF, failed=False, early=0.0)
    assert batch[0].extending, "it was the other one that has returned"
    custody.renewed(batch, [newer], [], LEASE + HALF, failed=False, early=0.0)
    assert not batch[0].extending
    assert custody.due() == 2 * LEASE
    assert not custody.lost(older, 2 * LEASE + 1)


def test_what_came_again_during_its_cleanup_has_not_ended() -> None:
    """The queue was told of the older delivery, so it has to be told of the newer one."""
    older, newer = Message("a"), Message("a")
    custody = custody_of(older)
    told = custody.latest([older])
    arrival = custody.receive([newer], 1.0, 1.0, 0.0)
    assert (arrival.fresh, arrival.replaced) == ([], [older])
    assert custody.ended([older], told) == [older]
    assert custody.latest([older]) == [newer]
    assert custody.ended([older], [newer]) == []
    assert len(custody) == 0


def test_what_comes_again_after_it_was_given_back_is_new() -> None:
    """It comes because it was given back, and is no duplicate."""
    older, newer = Message("a"), Message("a")
    custody = custody_of(older)
    custody.present([older], 1.0, going=True)
    arrival = custody.receive([newer], 2.0, 2.0, 0.0)
    assert (arrival.fresh, arrival.replaced) == ([newer], [])
    assert custody.ended([older], [older]) == []
    assert custody.latest([newer]) == [newer]
    assert len(custody) == 1


def test_what_comes_again_before_it_was_given_back_is_new() -> None:
    """Its release was tried in vain, or has not begun: the newer delivery is handled, and the older is lost."""
    older, newer, other = Message("a"), Message("a"), Message("b")
    custody = custody_of(older, other)
    custody.leave([older, other])
    arrival = custody.receive([newer], 1.0, 1.0, 0.0)
    assert (arrival.fresh, arrival.replaced) == ([newer], [])
    assert custody.present([older, other], 1.0, going=True) == ([other], [older])
    assert custody.present([newer], 1.0, going=False) == ([newer], [])


def test_the_same_object_again_goes_with_what_is_to_be_given_back() -> None:
    """Of one object the queue cannot be told which delivery to take back, so none is handled before it was."""
    one = Message("a")
    custody = custody_of(one)
    custody.leave([one])
    arrival = custody.receive([one], 1.0, 1.0, 0.0)
    assert (arrival.fresh, arrival.replaced) == ([], [one])
    assert custody.present([one], 1.0, going=True) == ([one], [])


def test_what_is_lost_is_told_once() -> None:
    """By the clock or by the queue; and to nobody twice."""
    one, other = Message("a"), Message("b")
    custody = custody_of(one, other)
    batch = custody.to_renew(10, HALF)
    custody.renewed(batch, items_of(batch), [other], HALF, failed=False, early=0.0)
    assert custody.news() == [other]
    assert custody.lost(one, HALF + LEASE)
    assert custody.lost(one, HALF + LEASE + 1)
    assert custody.news() == [one]
    assert custody.news() == []


def test_what_is_too_old_is_renewed_no_more() -> None:
    """Its lease runs out, and then it is lost."""
    one = Message("a")
    custody = custody_of(one, max_age=3.0)
    assert custody.to_renew(10, HALF) == []
    assert custody.aged(one, HALF)
    assert custody.lost(one, LEASE)


def test_what_is_too_old_does_not_keep_others_waiting() -> None:
    """One that is too old, and whose lease is about to run out, is looked at once while others are renewed."""
    old, young = Message("a"), Message("b")
    custody = custody_of(old, max_age=6.0)
    custody.receive([young], HALF - 0.125, HALF - 0.125, 0.0)
    assert custody.to_renew(10, 7.0) == []
    assert items_of(custody.to_renew(10, LEASE - 0.125)) == [young]
    assert custody.due() == LEASE
    assert custody.lost(old, LEASE)


def test_a_long_poll_does_not_eat_the_lease() -> None:
    """Of a poll that took long, most was waiting: what it brings has nearly all of its lease left."""
    custody = Custody(None, LEASE, renewed=True)
    one = Message("a")
    custody.receive([one], 0.0, 2 * LEASE, 0.0)
    assert not custody.lost(one, 2 * LEASE + HALF)


def test_renewals_that_are_due_and_not_begun_are_late() -> None:
    """From a fiftieth of a lease on they are behind, and until they are less than half as late again."""
    custody = custody_of(Message("a"))
    assert (custody.lateness(HALF - 1), custody.behind) == (0.0, False)
    assert (custody.lateness(HALF + 0.125), custody.behind) == (0.125, False)
    assert (custody.lateness(HALF + 0.25), custody.behind) == (0.25, True)
    assert (custody.lateness(HALF + 0.125), custody.behind) == (0.125, True)
    custody.to_renew(10, HALF + 0.25)
    assert (custody.lateness(HALF + 0.25), custody.behind) == (0.0, False)


def test_what_need_not_be_renewed_is_not_late() -> None:
    """What has ended or is lost is behind with nothing, however long it would have been due."""
    one, other = Message("a"), Message("b")
    custody = custody_of(one, other)
    assert custody.lateness(LEASE) == HALF
    custody.ended([one])
    assert custody.lateness(LEASE) == HALF
    custody.lose([other])
    assert (custody.lateness(LEASE), custody.behind) == (0.0, False)


def test_a_busy_machine_is_not_behind() -> None:
    """A tenth of a second is not late, however short a lease is."""
    custody = Custody(None, 1.0, renewed=True)
    custody.receive([Message("a")], 0.0, 0.0, 0.0)
    custody.lateness(0.5 + 0.0625)
    assert not custody.behind
    custody.lateness(0.5 + 0.125)
    assert custody.behind


# ---------------------------------------------------------------------------- many leases


class Simulated:
    """A line that fetches so many items and holds them, and whose renewals are made by calls that take so long.

    Attributes:
        begun: when each call began, and how many items it had.
        behind_at: when renewals were first said to be behind.
        held: how many items were fetched.
    """

    SIZE = 10  # of a bulk, and of a batch

    def __init__(self, lease: float, *, rate: float, most: int, took: float, calls: int) -> None:
        self.custody = Custody(id, lease, renewed=True)
        self.begun: list[tuple[float, int]] = []
        self.behind_at: float | None = None
        self.held = 0
        self._lease, self._pause, self._most, self._took, self._calls = lease, self.SIZE / rate, most, took, calls
        self._running: list[tuple[float, int, Sequence[Hold]]] = []
        self._random = random.Random(1)

    def run(self, seconds: float) -> None:
        numbers, at, next_get = itertools.count(), 0.0, 0.0
        while at < seconds:
            self.custody.lateness(at)
            if self.custody.behind and self.behind_at is None:
                self.behind_at = at
            fetches = self.held < self._most and not self.custody.behind
            calls = len(self._running) < self._calls
            if self._running and self._running[0][0] <= at:
                self._return(at)
            elif fetches and next_get <= at:
                bulk = [object() for _ in range(self.SIZE)]
                self.custody.receive(bulk, at, at, self._random.random())
                self.held += self.SIZE
                next_get = at + self._pause
            elif calls and self.custody.due() <= at:
                batch = self.custody.to_renew(self.SIZE, at)
                self.begun += [(at, len(batch))] if batch else []
                heapq.heappush(self._running, (at + self._took, next(numbers), batch))
            else:
                moments = [at + self._lease / 50, *(returns for returns, _, _ in self._running[:1])]
                moments += [next_get] if fetches else []
                moments += [self.custody.due()] if calls else []
                at = min(moments)

    def _return(self, at: float) -> None:
        _, _, batch = heapq.heappop(self._running)
        for hold in batch:
            self.custody.lost(hold.item, at)  # it may have run out meanwhile
        asked = at - self._took
        self.custody.renewed(batch, items_of(list(batch)), [], asked, failed=False, early=self._random.random())


@pytest.mark.parametrize("seconds", [3, 6, 12])
def test_ten_thousand_leases_take_75_calls_a_second(seconds: float) -> None:
    """10,000 items at a lease of 30 s, in batches of 10, are renewed by at most 75 calls a second on an average;
    though all were fetched within seconds there are never more than 200 in one, and no call is half empty.
    """
    line = Simulated(30.0, rate=10_000 / seconds, most=10_000, took=0.02, calls=8)
    line.run(90.0)
    assert line.held == 10_000
    assert line.custody.losses == 0
    assert line.behind_at is None
    in_second = Counter(int(at) for at, _ in line.begun)
    assert max(in_second.values()) <= 200
    assert len(line.begun) <= 90 * 75
    assert sum(size for _, size in line.begun) >= 0.95 * Simulated.SIZE * len(line.begun)


@pytest.mark.parametrize("took", [0.5, 3.0])
@pytest.mark.parametrize("ratio", [0.5, 0.75, 1.0])
def test_intake_falls_in_time(ratio: float, took: float) -> None:
    """While items come no faster than they can be renewed, it is seen so soon that too many are held that none is
    lost, though all that were fetched are held for ever.
    """
    calls, lease = 8, 30.0
    capacity = calls * Simulated.SIZE / took  # items in a second
    line = Simulated(lease, rate=ratio * capacity, most=1_000_000, took=took, calls=calls)
    line.run(5 * lease)
    assert line.behind_at is not None
    assert line.held > capacity * lease / 2, "it was said too soon"
    assert line.held < capacity * (lease - took)
    assert line.custody.losses == 0


# ---------------------------------------------------------------------------- bounds


def test_ended_renewals_are_not_kept_for_ever() -> None:
    """However many items come and go within a lease, what is due to be renewed stays bounded."""
    custody = Custody(None, LEASE, renewed=True)
    for number in range(20_000):
        one = Message(str(number))
        custody.receive([one], 0.0, 0.0, 0.0)
        custody.ended([one])
    assert len(custody._due) < 2_000


def test_the_end_of_a_renewal_wakes_those_who_sleep() -> None:
    """Whoever renews looks again: what has come back may be due before anything that he knew of."""

    class Rung:
        times = 0

        def ring(self) -> None:
            self.times += 1

    one, bell = Message("a"), Rung()
    custody = custody_of(one)
    custody.sleepers.add(bell)
    batch = custody.to_renew(10, HALF)
    custody.renewed(batch, [one], [], HALF, failed=True, early=0.0)
    assert bell.times == 1
