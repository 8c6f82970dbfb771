"""Renews the leases of all that the line holds, on the belt, running or waiting for cleanup, in batches."""

from __future__ import annotations

import random
from typing import Any

from ._cleaner import picked
from ._custody import Custody, Hold
from ._errors import LeaseLost
from ._events import LeasesBehind, log
from ._line import Lane, Line, Worker, now
from ._settling import Settling

LATE = 0.25  # of a lease: renewals that come so late are too many
IN_TIME = 0.1


class Keeper(Worker):
    """The thread that calls `extend`, for all lanes that have leases.

    Whatever `extend` raises, but for `LeaseLost`, is tried again soon: it takes no item out of our hands before its
    lease has run out.
    """

    kind = "keeper"

    def __init__(self, line: Line, settling: Settling) -> None:
        super().__init__(line, "keeper")
        self._settling = settling
        self._seen: dict[Lane, int] = {}
        self.closing = False
        self.productive = False
        self._lanes = [lane for lane in line.lanes if renews(lane)]

    def run(self) -> None:
        while not self.closing:
            while sum([self._renew_some(lane) for lane in self._lanes]):  # in turns, so that none waits for another
                pass
            self._sleep()

    def _sleep(self) -> None:
        """Until the next is due; as long as nothing is held, until something comes."""
        custodies = [lane.custody for lane in self._lanes if lane.custody is not None]
        for custody in custodies:
            custody.sleepers.add(self.bell)
        due = min(custody.due() for custody in custodies)  # looked at after we are seen to sleep
        if not self.closing:
            self.bell.wait(min(max(0.0, due - now()), 60.0))
        for custody in custodies:
            custody.sleepers.discard(self.bell)

    def _renew_some(self, lane: Lane) -> bool:
        """One batch; False if nothing is due, or it is time to end."""
        if self.closing:
            return False
        custody = lane.custody
        assert custody is not None
        batch = custody.to_renew(lane.call_size, now())
        self._note_lateness(custody, max((now() - hold.due for hold in batch), default=0.0))
        if batch:
            self._renew(lane, custody, batch)
        if custody.losses != self._seen.get(lane, 0):
            self._seen[lane] = custody.losses
            self._settling.cleaner.tell_losses(lane)
            if not self.line.asked:  # then it is for the drain to take things off the belt
                self._settling.sift(lane, self.tally)
        return bool(batch)

    def _renew(self, lane: Lane, custody: Custody, batch: list[Hold]) -> None:
        assert lane.port.extend is not None
        items = [hold.item for hold in batch]
        lost: list[Any] = []
        asked, failed = now(), True
        try:
            lane.port.extend(items[:], custody.lease)
            failed = False
        except LeaseLost as error:
            lost, _ = picked(items, error.items)
            failed = False
        except BaseException as error:  # they are ours until their lease has run out, and it is tried again
            log.warning("extend of %d items failed: %r", len(items), error)
        finally:
            custody.renewed(batch, items, lost, asked, failed=failed, early=random.random())
        self.productive = True

    def _note_lateness(self, custody: Custody, late: float) -> None:
        assert custody.lease is not None
        if late > LATE * custody.lease and not custody.behind:
            custody.behind = True
            log.warning("leases are renewed %.3g s late, so less is fetched", late)
            self.line.observers.tell(LeasesBehind(late=late))
        elif custody.behind and late < IN_TIME * custody.lease:
            custody.behind = False
            for bell in list(self.line.belt.dry):
                bell.ring()

    def close(self) -> None:
        self.closing = True
        self.bell.ring()


def renews(lane: Lane) -> bool:
    return lane.custody is not None and lane.custody.lease is not None and lane.port.extend is not None
