"""Who holds what, and for how long: the rules of custody in a table of moments, without a thread."""

from __future__ import annotations

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


def test_ended_renewals_are_not_kept_for_ever() -> None:
    """However many items come and go within a lease, what is due to be renewed stays bounded."""
    custody = Custody(None, LEASE, renewed=True)
    for number in range(20_000):
        one = Message(str(number))
        custody.receive([one], 0.0, 0.0, 0.0)
        custody.ended([one])
    assert len(custody._due) < 2_000
