"""Whose an item is: what we hold, for how long, and what we are done with and may see again.  Pure, but for a lock.

A queue that can say what makes two deliveries the same message (`identity`) or for how long it hides what it gave
(`lease`) has a custody; others do without, and pay nothing. It keeps a `Hold` of every item from its arrival to its
end. Where a message comes again while an older delivery of it is held, the newer takes its place and the older is
lost; handlers do not notice. What was done and could not be cleaned up is remembered, to be cleaned up on sight.

Times are passed in. Calls of the queue are made by others: the keeper's `extend`, the cleaner's `cleanup`, `release`.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from ._bells import Ringable

NEVER = float("inf")
REMEMBERED = 10_000  # identities
MEMORY = 3600.0  # seconds
SPREAD = 0.2  # of a lease: so much before half-time first renewals are spread, since many bulks come at one time
MARGIN = 0.05  # of a lease: so much before half-time later ones are
SOON = 0.02  # of a lease: what is due by then goes along, to fill a call
JOURNEY = 0.25  # of a lease: the longest that an answer is taken to have been on its way
PATIENCE = 5.0  # seconds: a renewal that takes longer is not waited for
SLACK = 1000  # renewals of what has ended that may be kept
UNTOLD = 1.0  # seconds of a lease of which the queue cannot say how long it is
AGAIN = 0.1  # of a lease: the longest until a renewal that failed is tried again
LEAST = 0.01  # seconds: the shortest
LATE = 0.02  # of a lease: with renewals so late no more is to be fetched,
HICCUP = 0.1  # seconds: but so late any busy machine is
IN_TIME = 0.01  # of a lease: with renewals that are less late, there is again


class Hold:
    """One item that we hold, by its latest delivery."""

    lost = False
    leaving = False  # it is to be given back
    quiet = False  # and is being so at this moment: not to be renewed
    extending = 0  # calls that renew it now; more than one only if it came again meanwhile
    count = 1  # the same object may have been given more than once
    due = NEVER  # when it is to be renewed

    def __init__(self, item: Any, identity: Hashable, since: float, until: float) -> None:
        self.item = item
        self.identity = identity
        self.since = since
        self.until = until  # when its lease runs out

    def may_come_again(self, item: Any) -> bool:
        """True if the next delivery of it is to be handled, since that of this one is over."""
        return self.quiet or (self.leaving and item is not self.item)


BROKEN = object()  # in the place of an identity that cannot be told


class Arrival(NamedTuple):
    """What becomes of a bulk.

    Attributes:
        fresh: to be handled.
        done: handled before, to be cleaned up on sight.
        broken: failed, since their identity cannot be told, and why.
        replaced: older deliveries that newer ones have taken the place of.
    """

    fresh: list[Any]
    done: list[Any]
    broken: list[tuple[Any, BaseException]]
    replaced: list[Any]


class Memory:
    """The identities of what is done, the youngest of them, for a while."""

    def __init__(self, most: int = REMEMBERED, seconds: float = MEMORY) -> None:
        self._most = most
        self._seconds = seconds
        self._until: OrderedDict[Hashable, float] = OrderedDict()

    def add(self, identity: Hashable, now: float) -> None:
        self._until.pop(identity, None)
        self._until[identity] = now + self._seconds
        while len(self._until) > self._most:
            self._until.popitem(last=False)

    def has(self, identity: Hashable, now: float) -> bool:
        until = self._until.get(identity)
        if until is not None and until <= now:
            del self._until[identity]
            return False
        return until is not None

    def knows_none(self, identities: Iterable[Hashable]) -> bool:
        return self._until.keys().isdisjoint(identities)

    def __len__(self) -> int:
        return len(self._until)


class Custody:
    """What is held of one lane."""

    def __init__(
        self,
        identity: Callable[[Any], Hashable] | None,
        lease: float | None,
        *,
        renewed: bool,
        max_age: float | None = None,
        lease_of: Callable[[Any], float] | None = None,
    ) -> None:
        self.sleepers: set[Ringable] = set()  # of those who renew, and sleep until there is something
        self.lease = lease
        self.max_age = max_age
        self.behind = False  # leases cannot be renewed in time
        self.losses = 0  # whoever passes losses on looks whether there are new ones
        self._identity = identity
        self._lease_of = lease_of
        self._renewed = renewed  # somebody renews leases
        self._memory = Memory()
        self._by_object: dict[int, Hold] = {}
        self._by_identity: dict[Hashable, Hold] = {}
        self._due: list[tuple[float, int, Hold]] = []  # a heap: when each is to be renewed
        self._count = itertools.count()
        self._news: list[Any] = []
        self._changed = threading.Condition()

    # ------------------------------------------------------------------ arrival

    def receive(self, items: Sequence[Any], asked: float, came: float, early: float) -> Arrival:
        """Take a bulk into custody.

        Args:
            asked: when it was asked for; a lease may begin as early as that, if the answer was on its way for long.
            came: when it was there. A poll waits for most of its time, so of that a part of a lease counts at most.
            early: from 0 to 1, at random: how much of the spread before half-time all of it is to be renewed.
        """
        leases = self._leases(items)
        identities, broken = self._identities(items)
        arrival = Arrival([], [], broken, [])
        if self.lease is None and not broken and not any(identity is not None for identity in identities):
            arrival.fresh.extend(items)
            return arrival
        with self._changed:
            due = self._earliest()
            if not broken and len(set(leases)) == 1 and self._are_new(items, identities):  # as nearly always
                self._hold_all(items, identities, begin(leases[0], asked, came), leases[0], early)
                arrival.fresh.extend(items)
            else:
                for item, identity, lease in zip(items, identities, leases, strict=True):
                    self._receive_one(arrival, item, identity, begin(lease, asked, came), lease, early)
            sooner = self._earliest() < due
        if sooner:
            self._ring()
        return arrival

    def _receive_one(
        self, arrival: Arrival, item: Any, identity: Hashable, now: float, lease: float, early: float
    ) -> None:
        if identity is BROKEN:
            return
        if identity is not None:
            if self._memory and self._memory.has(identity, now):
                arrival.done.append(item)
                return
            older = self._by_identity.get(identity)
            if older is not None and not older.may_come_again(item):
                arrival.replaced.append(older.item)
                self._replace(older, item, now, now + lease)
                return
        arrival.fresh.append(item)
        if identity is not None or self.lease is not None:
            self._hold(item, identity, now, now + lease, early)

    def _leases(self, items: Sequence[Any]) -> list[float]:
        """For how long the queue hid each."""
        if self._lease_of is None or self.lease is None:
            return [NEVER if self.lease is None else self.lease] * len(items)
        try:
            leases = list(map(self._lease_of, items))
            if len(set(leases)) == 1 and 0 < leases[0] <= self.lease:  # as nearly always
                return leases
        except BaseException:  # one by one, to see whose
            pass
        return list(map(self._lease_for, items))

    def _lease_for(self, item: Any) -> float:
        """For how long the queue hid this one."""
        assert self.lease is not None
        assert self._lease_of is not None
        try:
            lease = float(self._lease_of(item))
            return min(lease, self.lease) if lease > 0 else min(UNTOLD, self.lease)
        except BaseException:  # it cannot be told, so it is renewed soon
            return min(UNTOLD, self.lease)

    def _identities(self, items: Sequence[Any]) -> tuple[list[Hashable], list[tuple[Any, BaseException]]]:
        broken: list[tuple[Any, BaseException]] = []
        if self._identity is None:
            return [None] * len(items), broken
        try:
            identities = list(map(self._identity, items))
            self._compare(identities)
            return identities, broken
        except BaseException:  # one by one, to see whose
            pass
        found: list[Hashable] = []
        for item in items:
            identity: Hashable = None
            try:
                identity = self._identity(item)
                self._compare([*found, identity])
            except BaseException as error:  # it fails alone
                identity = BROKEN
                broken.append((item, error))
            found.append(identity)
        return found, broken

    def _compare(self, identities: list[Hashable]) -> None:
        """Raise now whatever it raises that they are compared with each other, and with what we know."""
        set(identities)
        self._by_identity.keys().isdisjoint(identities)  # a list, since of two sets it is the smaller that is walked
        self._memory.knows_none(identities)

    def _are_new(self, items: Sequence[Any], identities: list[Hashable]) -> bool:
        """True if these differ from each other, and from all that we hold or remember."""
        return (
            len(set(identities)) == len(identities)
            and None not in identities
            and self._by_identity.keys().isdisjoint(identities)
            and self._by_object.keys().isdisjoint(map(id, items))
            and self._memory.knows_none(identities)
        )

    def _hold_all(
        self, items: Sequence[Any], identities: list[Hashable], now: float, lease: float, early: float
    ) -> None:
        """As `_hold` of each, where all are new."""
        until = now + lease
        holds = [Hold(item, identity, now, until) for item, identity in zip(items, identities, strict=True)]
        self._by_object.update(zip(map(id, items), holds, strict=True))
        self._by_identity.update(zip(identities, holds, strict=True))
        if self.lease is not None and self._renewed:
            self._renew_at(now + lease * (0.5 - SPREAD * early), *holds)

    def _hold(self, item: Any, identity: Hashable, now: float, until: float, early: float) -> None:
        hold = self._by_object.get(id(item))
        if hold is not None:
            hold.count += 1
            hold.leaving = hold.quiet = False
            self._renewal(hold, now, until)
            return
        hold = self._by_object[id(item)] = Hold(item, identity, now, until)
        if identity is not None:
            self._by_identity[identity] = hold
        if self.lease is not None and self._renewed:
            self._renew_at(now + (until - now) * (0.5 - SPREAD * early), hold)

    def _replace(self, hold: Hold, item: Any, now: float, until: float) -> None:
        """The same message again: its newer delivery is the one that counts. The older is still known by its object,
        since that is what handlers and stations have in hand.
        """
        hold.item = item
        self._renewal(hold, now, until)

    def _renewal(self, hold: Hold, now: float, until: float) -> None:
        """It was given to us once more."""
        hold.until = until
        hold.since = now
        hold.lost = False
        if self.lease is not None and self._renewed:
            self._renew_at(now + (until - now) * (0.5 - MARGIN), hold)

    # ------------------------------------------------------------------ meanwhile

    def lost(self, item: Any, now: float) -> bool:
        """True if somebody else may have it by now."""
        hold = self._by_object.get(id(item))
        if hold is None:
            return False
        if hold.until <= now:
            with self._changed:
                self._lose(hold)
        return hold.lost

    def keeps(self, items: Iterable[Any], now: float) -> bool:
        """True if none of these is lost or too old, as nearly always."""
        oldest = -NEVER if self.max_age is None else now - self.max_age
        for item in items:
            hold = self._by_object.get(id(item))
            if hold is not None and (hold.lost or hold.until <= now or hold.since <= oldest):
                return False
        return True

    def leave(self, items: Iterable[Any]) -> None:
        """These are to be given back: what comes of them from now on is handled anew, before what is behind it."""
        with self._changed:
            for item in items:
                hold = self._by_object.get(id(item))
                if hold is not None:
                    hold.leaving = True

    def aged(self, item: Any, now: float) -> bool:
        """True if it has been held for so long that it should go."""
        hold = self._by_object.get(id(item))
        return hold is not None and self.max_age is not None and now - hold.since >= self.max_age

    def lose(self, items: Iterable[Any]) -> None:
        """The queue says that their leases are gone."""
        with self._changed:
            for item in items:
                hold = self._by_object.get(id(item))
                if hold is not None:
                    self._lose(hold)

    def news(self) -> list[Any]:
        """What was found to be lost since this was last asked."""
        with self._changed:
            news, self._news = self._news, []
        return news

    def _lose(self, hold: Hold) -> None:
        if not hold.lost:
            hold.lost = True
            self.losses += 1
            self._news.append(hold.item)

    # ------------------------------------------------------------------ renewal

    def due(self) -> float:
        """When the next renewal is due."""
        with self._changed:
            while self._due and not is_due(self._due[0]):
                heapq.heappop(self._due)
            return self._earliest()

    def lateness(self, now: float) -> float:
        """For how long a renewal has been due that nobody has begun; and note whether we are behind with them."""
        assert self.lease is not None
        late = max(0.0, now - self.due())
        if late > max(self.lease * LATE, HICCUP):
            self.behind = True
        elif late < self.lease * IN_TIME:
            self.behind = False
        return late

    def _earliest(self) -> float:
        """When the next renewal is due, or of what has ended would have been."""
        try:
            return self._due[0][0]
        except IndexError:
            return NEVER

    def _ring(self) -> None:
        for sleeper in list(self.sleepers):
            sleeper.ring()

    def _renew_at(self, due: float, *holds: Hold) -> None:
        for hold in holds:
            hold.due = due
            heapq.heappush(self._due, (due, next(self._count), hold))
        if len(self._due) > SLACK + 2 * len(self._by_object):  # most of them have ended
            self._due = list(filter(is_due, self._due))
            heapq.heapify(self._due)

    def to_renew(self, most: int, now: float) -> list[Hold]:
        """A batch for `extend`: those that are due, and to fill it those that soon will be."""
        assert self.lease is not None
        batch: list[Hold] = []
        again: list[tuple[float, Hold]] = []  # put back at the end, or what is due soon would be due at once
        soon = now + self.lease * SOON
        with self._changed:
            while self._due and len(batch) < most:
                due, _, hold = entry = self._due[0]
                if due > (soon if batch else now):
                    break
                heapq.heappop(self._due)
                if not is_due(entry):
                    continue
                if hold.until <= now:
                    self._lose(hold)
                if hold.lost:
                    continue
                if self.max_age is not None and now - hold.since >= self.max_age:
                    self.losses += 1  # it is as good as one
                    again.append((hold.until, hold))
                    continue
                if hold.quiet:
                    again.append((now + self._soon(hold, now), hold))  # it may not be taken back after all
                    continue
                hold.extending += 1
                batch.append(hold)
            for due, hold in again:
                self._renew_at(due, hold)
        return batch

    def renewed(
        self,
        batch: Iterable[Hold],
        items: Iterable[Any],
        lost: Iterable[Any],
        asked: float,
        *,
        failed: bool,
        early: float,
    ) -> None:
        """How an `extend` of these items ended that was asked for at that time, and whose leases are lost."""
        assert self.lease is not None
        gone = {id(item) for item in lost}
        with self._changed:
            for hold, item in zip(batch, items, strict=True):
                hold.extending -= 1
                if not hold.count:
                    continue  # it has ended meanwhile
                if hold.item is not item:  # a newer delivery has come, which was not asked for
                    continue
                if id(hold.item) in gone:
                    self._lose(hold)
                    continue
                if not failed:
                    hold.until = max(hold.until, asked + self.lease)
                wait = self._soon(hold, asked) if failed else self.lease * (0.5 - MARGIN * early)
                self._renew_at(asked + wait, hold)
            self._changed.notify_all()
        self._ring()

    def _soon(self, hold: Hold, now: float) -> float:
        """Seconds until a renewal that did not come about is tried again: while there is time for a few tries."""
        assert self.lease is not None
        return max(LEAST, min(self.lease * AGAIN, (hold.until - now) / 4))

    # ------------------------------------------------------------------ the end

    def present(self, items: Sequence[Any], now: float, *, going: bool) -> tuple[list[Any], list[Any]]:
        """Before a call of the queue for these: which are still ours, and which are lost.

        `going`: they are given back; so a renewal that runs is waited for, and none is begun.
        """
        ours: list[Any] = []
        lost: list[Any] = []
        if self.lease is None and not going:
            return list(items), lost
        with self._changed:
            holds = [self._by_object.get(id(item)) for item in items]
            if going:
                for hold in holds:
                    if hold is not None:
                        hold.quiet = True
                self._changed.wait_for(lambda: not any(hold is not None and hold.extending for hold in holds), PATIENCE)
            for item, hold in zip(items, holds, strict=True):
                if hold is None:
                    ours.append(item)
                    continue
                identity = hold.identity
                # It may have come again after it was to be given back, and before it was.
                superseded = identity is not None and self._by_identity.get(identity) is not hold
                if superseded or hold.until <= now:
                    self._lose(hold)
                (lost if hold.lost else ours).append(item)
        return ours, lost

    def latest(self, items: Sequence[Any]) -> list[Any]:
        """The deliveries of these items that the queue wants to hear of."""
        holds = self._by_object
        return [hold.item if (hold := holds.get(id(item))) is not None else item for item in items]

    def back(self, items: Iterable[Any]) -> None:
        """They could not be given back, and are ours for a while longer."""
        for item in items:
            hold = self._by_object.get(id(item))
            if hold is not None:
                hold.quiet = False

    def ended(self, items: Sequence[Any], told: Sequence[Any] | None = None) -> list[Any]:
        """These have come to their end. `told`: the deliveries that the queue was told of.

        Returns those of which another delivery has come since: they have not.
        """
        again: list[Any] = []
        with self._changed:
            for item, delivery in zip(items, items if told is None else told, strict=True):
                hold = self._by_object.get(id(item))
                if hold is None:
                    continue
                if told is not None and hold.item is not delivery:
                    again.append(item)
                    continue
                hold.count -= 1
                if not hold.count:
                    del self._by_object[id(item)]
                    if hold.identity is not None and self._by_identity.get(hold.identity) is hold:
                        del self._by_identity[hold.identity]
        return again

    def remember(self, items: Iterable[Any], now: float) -> None:
        """These are done; when they come again they are cleaned up on sight."""
        with self._changed:
            for item in items:
                hold = self._by_object.get(id(item))
                if hold is not None and hold.identity is not None:
                    self._memory.add(hold.identity, now)

    def __len__(self) -> int:
        return len(self._by_object)


def is_due(entry: tuple[float, int, Hold]) -> bool:
    """False of what has ended, or is lost, or is to be renewed at another time."""
    due, _, hold = entry
    return hold.count > 0 and not hold.lost and due == hold.due


def begin(lease: float, asked: float, came: float) -> float:
    """When a lease began of what was asked for and came at these times."""
    return came if lease == NEVER else max(asked, came - lease * JOURNEY)
