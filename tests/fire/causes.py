"""Why a message was handled once more: a table of causes, each of which has to be found in the evidence.  Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import StrEnum

from fire.evidence import Delivery, Evidence, Handling, Wish
from fire.plan import LEASE

CLOSE = 0.25  # seconds that what was seen on the way may be off from what the server did
PROMPT = 1.0  # seconds after which a call took long
JOURNEY = 0.2  # of a lease, after which an answer took long


class Cause(StrEnum):
    """Of one handling more."""

    FAILED = "its handler had failed"
    CONSUMER_KILLED = "its consumer was killed"
    CHILD_KILLED = "its process was killed"
    DELETE_FAILED = "its delete failed"
    DELETE_UNKNOWN = "the server was killed at its delete"
    DELETE_LATE = "its delete came too late"
    LEASE_LOST = "its lease could not be renewed"
    ANSWER_LATE = "it came when its lease had run out"


class Case:
    """All that is known, ordered for questions."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.deliveries = {delivery.handle: delivery for delivery in evidence.deliveries}
        self.given: dict[str, list[Delivery]] = {}
        for delivery in sorted(evidence.deliveries, key=lambda delivery: delivery.at):
            self.given.setdefault(delivery.id, []).append(delivery)
        self.handlings: dict[str, list[Handling]] = {}
        self._by_pid: dict[int, list[Handling]] = {}
        for handling in sorted(evidence.handlings, key=lambda handling: handling.start):
            self.handlings.setdefault(handling.id, []).append(handling)
            self._by_pid.setdefault(handling.pid, []).append(handling)
        self.deletions: dict[str, list[Wish]] = {}
        for wish in sorted(evidence.deletions, key=lambda wish: wish.asked):
            if wish.handle in self.deliveries:
                self.deletions.setdefault(self.deliveries[wish.handle].id, []).append(wish)
        self.changes: dict[str, list[Wish]] = {}
        self.troubles: dict[str, list[Wish]] = {}  # of each consumer, its renewals that failed or took long
        for wish in sorted(evidence.changes, key=lambda wish: wish.asked):
            self.changes.setdefault(wish.handle, []).append(wish)
            if not wish.told or wish.at - wish.asked > PROMPT:
                self.troubles.setdefault(wish.consumer, []).append(wish)
        self._kills = {kill.who: kill.at for kill in evidence.kills if not kill.pid}
        self._child_kills = {kill.pid: kill.at for kill in evidence.kills if kill.pid}
        self.outages = [(kill.at, kill.over) for kill in evidence.kills if kill.over]

    def killed(self, consumer: str) -> float:
        """When; inf if it never was."""
        return self._kills.get(consumer, math.inf)

    def child_killed(self, pid: int) -> float:
        return self._child_kills.get(pid, math.inf)

    def was_in_hand(self, handling: Handling) -> bool:
        """Whether its process was killed when it had it in hand, or had ended a call with it and not yet said so."""
        killed = self.child_killed(handling.pid)
        if killed == math.inf:
            return False
        last = max(
            (other for other in self._by_pid[handling.pid] if other.start <= killed), key=lambda other: other.start
        )
        return last is handling or (last.call == handling.call and last.end <= killed)

    def hidden_until(self, delivery: Delivery) -> float:
        """When it may have been seen again, at the earliest."""
        until = delivery.at + delivery.lease
        for wish in self.changes.get(delivery.handle, ()):
            if wish.done:
                until = wish.at + wish.seconds
            elif wish.done is None:
                until = min(until, wish.asked + wish.seconds)
        return until

    def is_sure(self, wish: Wish) -> bool:
        """Whether a deletion took effect without a doubt: it was done while the message was hidden by this delivery.

        What comes later is answered with success as well, and may change nothing.
        """
        delivery = self.deliveries[wish.handle]
        return bool(wish.done) and wish.at < self.hidden_until(delivery) - CLOSE

    def could_not_renew(self, delivery: Delivery) -> bool:
        """Whether something kept its consumer from renewing this lease, or was in its way."""
        began, over = delivery.at, self.hidden_until(delivery)
        if delivery.arrived - delivery.at > PROMPT:
            return True
        if any(start < over and began < end for start, end in self.outages):
            return True
        troubles = self.troubles.get(delivery.consumer, ())
        return any(wish.asked < over and began < max(wish.at, wish.asked + PROMPT) for wish in troubles)


def explain(case: Case, again: Handling, before: Handling) -> Cause | str:
    """Why `again` came to be, though `before` had been; a sentence if nothing explains it."""
    delivery, earlier = case.deliveries.get(again.handle), case.deliveries.get(before.handle)
    if delivery is None or earlier is None:
        return "one of its deliveries is not in the log"
    if delivery is earlier:
        return "it is the same delivery"
    for wish in case.deletions.get(again.id, ()):
        if case.is_sure(wish) and wish.at < delivery.at - CLOSE:
            return f"it was given once more {delivery.at - wish.at:.3f} s after it was deleted"
    for rule in (failed, outrun, cut_short, same_consumer, not_deleted):
        found = rule(case, again, before)
        if found is not None:
            return found
    return "nothing is known to have gone wrong"


Rule = Callable[[Case, Handling, Handling], Cause | str | None]


def failed(case: Case, again: Handling, before: Handling) -> Cause | str | None:
    return Cause.FAILED if before.done is False and before.end <= again.start else None


def outrun(case: Case, again: Handling, before: Handling) -> Cause | str | None:
    """It was given earlier than the one before, and handled later: when its lease had run out."""
    mine, other = case.deliveries[again.handle], case.deliveries[before.handle]
    if mine.at >= other.at:
        return None
    over = case.hidden_until(mine)
    if over > other.at + CLOSE:
        return "it was given to two at once"
    if mine.arrived - mine.at > mine.lease * JOURNEY:
        return Cause.ANSWER_LATE  # for longer than any answer is taken to be on its way
    if case.could_not_renew(mine):
        return Cause.LEASE_LOST
    return f"it was begun {again.start - over:.3f} s after its lease had run out"


def cut_short(case: Case, again: Handling, before: Handling) -> Cause | str | None:
    """The one before had not ended when the other began."""
    if before.done is not None and before.end <= again.start:
        return None
    if case.killed(before.consumer) <= again.start:
        return Cause.CONSUMER_KILLED
    if case.was_in_hand(before):
        return Cause.CHILD_KILLED
    if before.consumer == again.consumer:
        return "the same consumer has it twice at once"
    return lost(case, again, before) or "it was given to two at once"


def same_consumer(case: Case, again: Handling, before: Handling) -> Cause | str | None:
    """Who has done something knows that it comes again, and does not do it once more."""
    if again.consumer != before.consumer:
        return None
    if case.was_in_hand(before):
        return Cause.CHILD_KILLED  # before it said so
    if any(wish.told and not case.is_sure(wish) for wish in own_deletions(case, again, before)):
        return Cause.DELETE_LATE  # and it was told all the same that it is deleted
    return "the same consumer had done it"


def not_deleted(case: Case, again: Handling, before: Handling) -> Cause | str | None:
    """It was done, and came again, to another consumer."""
    wishes = own_deletions(case, again, before)
    if any(wish.done for wish in wishes):
        return Cause.DELETE_LATE
    if any(wish.done is None for wish in wishes):
        return Cause.DELETE_UNKNOWN
    if wishes:
        return Cause.DELETE_FAILED
    if case.killed(before.consumer) <= before.over + LEASE:  # else it had time enough to delete it
        return Cause.CONSUMER_KILLED
    if case.was_in_hand(before):
        return Cause.CHILD_KILLED
    return lost(case, again, before)


def lost(case: Case, again: Handling, before: Handling) -> Cause | str | None:
    """Its lease ran out before it was deleted, and so it was not to be, since something was in the way of renewals."""
    earlier = case.deliveries[before.handle]
    over = case.hidden_until(earlier)
    if over > case.deliveries[again.handle].at + CLOSE:
        return None
    if case.could_not_renew(earlier):
        return Cause.LEASE_LOST
    return f"its lease ran out {over - earlier.at:.3f} s after it was given, and nothing kept it from being renewed"


def own_deletions(case: Case, again: Handling, before: Handling) -> Sequence[Wish]:
    """The deletions that its consumer asked for once it was done, and before it was given again."""
    given = case.deliveries[again.handle].at
    return [
        wish
        for wish in case.deletions.get(before.id, ())
        if wish.consumer == before.consumer and before.end <= wish.asked <= given
    ]
