"""Renews the leases of all that the line holds, on the belt, running or waiting for cleanup, in batches.

Several threads may renew at once, since a call to a broker takes its time: one, the leader, sleeps until something is
due and takes a batch, hands over the lead and then makes the call. Nobody makes one unless another is there to lead.
So there are two threads from the first renewal on, and a call that never returns holds up its own batch alone. One more
is hired where a batch is due while all but the leader are in calls that are slow.

What is held is due every half lease. If it is more than can be renewed in so long, renewals come later and later, and
the first lease is lost when they are half a lease late. Intake stops long before, when they are a fiftieth late: while
items come no faster than they can be renewed, less is held by then than can be renewed in a lease, so that none is
lost, even if none ever ends. What comes faster than that before the first renewal is due nobody can foresee.
"""

from __future__ import annotations

import random
import threading
from typing import Any

from ._bells import Bell
from ._cleaner import picked
from ._custody import LATE, Custody, Hold
from ._errors import LeaseLost
from ._events import LeasesBehind, log
from ._ledger import Tally
from ._line import Lane, Line, Worker, now
from ._settling import Settling

CALLS = 8  # for one lane at a time: if each takes 0.1 s, 10,000 items in batches of 10 are renewed in 12.5 s
MOMENT = 0.005  # seconds: a call that takes longer is slow
GRACE = 1.0  # seconds for calls that run at the end, all together


class Keeper:
    """The station: what is to be renewed next, and the threads that see to it."""

    def __init__(self, line: Line, settling: Settling) -> None:
        self.hands: list[Renewer] = []
        self.lead = threading.Lock()
        self.closing = False
        self.line = line
        self._settling = settling
        self._bell = Bell()  # of the leader
        self._custodies = {lane: lane.custody for lane in line.lanes if lane.custody is not None and renews(lane)}
        self._seen = dict.fromkeys(self._custodies, 0)  # losses
        self._roster = threading.Lock()

    def start(self) -> None:
        """Begin to renew; where there are no leases, nobody does."""
        if self._custodies:
            for custody in self._custodies.values():
                custody.sleepers.add(self._bell)
            self.hire()

    def hire(self) -> None:
        """One more thread, unless there are enough."""
        with self._roster:
            if self.closing or len(self.hands) > CALLS * len(self._custodies):
                return
            hand = Renewer(self, f"keeper-{len(self.hands) + 1}")
            try:
                hand.start()
            except RuntimeError as error:  # no more threads: those that there are do it all
                self.line.ledger.fold(hand.tally)
                if not self.hands:
                    raise
                log.warning("no thread can be started to renew leases: %r", error)
                return
            self.hands = [*self.hands, hand]

    def replace(self, dead: Renewer) -> None:
        """A new thread in the place of a dead one."""
        with self._roster:
            if self.closing:
                return
            hand = Renewer(self, dead.name)
            hand.start()
            self.hands = [hand if other is dead else other for other in self.hands]
        self.line.ledger.fold(dead.tally)

    def gather(self) -> tuple[Lane, list[Hold]] | None:
        """For the leader: sleep until something is due, and take a batch; perhaps there is none. None: the end."""
        while not self.closing:
            at = now()
            for custody in self._custodies.values():
                self._note_lateness(custody, at)
            wait, lane = min(((self._wait(lane, at), lane) for lane in self._custodies), key=lambda pair: pair[0])
            if wait <= 0:
                wait = self._succession(at)
            if wait > 0:
                self._bell.wait(min(wait, 60.0))
                continue
            return lane, self._custodies[lane].to_renew(lane.call_size, at)
        return None

    def _wait(self, lane: Lane, at: float) -> float:
        """Seconds until a call for this lane may begin: less than 0 by as many as it is late."""
        custody = self._custodies[lane]
        assert custody.lease is not None
        if sum([bool(hand.batch) and hand.lane is lane for hand in self.hands]) >= CALLS:
            return custody.lease * LATE  # sooner if one returns; and then it is to be looked at
        return custody.due() - at

    def _succession(self, at: float) -> float:
        """Seconds until the leader may go, because another one is there or will not come by itself."""
        if sum([hand.up and not hand.batch for hand in self.hands]) > 1:
            return 0.0
        latest = max([hand.asked for hand in self.hands if hand.batch], default=float("-inf"))
        wait = latest + MOMENT - at
        if wait <= 0:
            self.hire()
        return wait

    def _note_lateness(self, custody: Custody, at: float) -> None:
        before, late = custody.behind, custody.lateness(at)
        if custody.behind and not before:
            log.warning("leases are renewed %.3g s late, so less is fetched", late)
            self.line.observers.tell(LeasesBehind(late=late))
        elif before and not custody.behind:
            for bell in list(self.line.belt.dry):
                bell.ring()

    def pass_on_losses(self, lane: Lane, tally: Tally) -> None:
        """Tell of those that are new, and let the belt go of what is lost or too old."""
        losses = self._custodies[lane].losses
        if losses == self._seen[lane] or self.closing:
            return
        self._seen[lane] = losses
        self._settling.cleaner.tell_losses(lane)
        if not self.line.asked:  # then it is for the drain to take things off the belt
            self._settling.sift(lane, tally)

    def end(self) -> list[Renewer]:
        """Renew no more, and wait a little for calls that run; who is still in one."""
        with self._roster:
            self.closing = True
        self._bell.ring()
        for custody in self._custodies.values():
            custody.sleepers.discard(self._bell)
        until = now() + GRACE
        for hand in self.hands:
            hand.join(max(0.0, until - now()))
        return [hand for hand in self.hands if not hand.ended]


class Renewer(Worker):
    """One thread that calls `extend`.

    Whatever that raises, but for `LeaseLost`, is tried again soon: it takes no item out of our hands before its lease
    has run out.
    """

    kind = "keeper"
    lane: Lane
    up = True  # it comes for the lead when it has nothing in hand

    def __init__(self, keeper: Keeper, name: str) -> None:
        super().__init__(keeper.line, name)
        self.keeper = keeper
        self.batch: list[Hold] = []  # in the call that runs
        self.asked = 0.0  # when it was taken
        self.productive = False

    def run(self) -> None:
        try:
            while self._take():
                self.keeper.pass_on_losses(self.lane, self.tally)
                if self.batch:
                    self._renew()
                    self.keeper.pass_on_losses(self.lane, self.tally)
        finally:
            self.up = False
            if self.batch:  # it dies, and others try again
                self._put_back([hold.item for hold in self.batch], [], failed=True)

    def _take(self) -> bool:
        """Wait for the lead, and for a batch; False at the end."""
        with self.keeper.lead:
            found = self.keeper.gather()
            if found is None:
                return False
            self.asked = now()
            self.lane, self.batch = found
            return True

    def _renew(self) -> None:
        extend, custody = self.lane.port.extend, self.lane.custody
        assert extend is not None
        assert custody is not None
        items = [hold.item for hold in self.batch]
        lost: list[Any] = []
        failed = False
        try:
            extend(items[:], custody.lease)
        except LeaseLost as error:
            lost, _ = picked(items, error.items)
        except BaseException as error:  # they are ours until their lease has run out, and it is tried again
            log.warning("extend of %d items failed: %r", len(items), error)
            failed = True
        self._put_back(items, lost, failed=failed)
        self.productive = True

    def _put_back(self, items: list[Any], lost: list[Any], *, failed: bool) -> None:
        batch, self.batch = self.batch, []
        assert self.lane.custody is not None
        self.lane.custody.renewed(batch, items, lost, self.asked, failed=failed, early=random.random())


def renews(lane: Lane) -> bool:
    return lane.custody is not None and lane.custody.lease is not None and lane.port.extend is not None
