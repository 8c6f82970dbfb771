"""The first station: take room, get a bulk, cut it into chunks, put them on the belt."""

from __future__ import annotations

import queue
import random
from collections.abc import Callable, Hashable
from typing import Any

from ._belt import NEVER, Share
from ._chunk import Failure
from ._cleaner import Errand
from ._events import BulkReceived, CallbackFailed, ItemsLost, log
from ._line import Lane, Line, Worker, now
from ._port import items_of
from ._settling import Settling

BLOCKS = 0.005  # a get() that takes so many seconds to say "nothing" waits by itself
LONGEST_PAUSE = 1.0  # between two gets that do not, while the queue is empty
ASLEEP = "asleep: the queue is empty"  # one of its kind is awake


class Getter(Worker):
    """Calls `get()` over and over, until the line is asked to stop.

    Whatever `get` raises ends the getter: the supervisor puts a new one in its place, later and later if it keeps
    happening. What `get` had given before is on the belt by then.
    """

    kind = "getter"

    def __init__(self, line: Line, lane: Lane, name: str, settling: Settling, pause: float) -> None:
        super().__init__(line, name)
        self.lane = lane
        self._settling = settling
        self._cleaner = settling.cleaner
        self._sorted = line.belt.sorter is not None or lane.custody is not None  # there is more to do than to put
        self._pause = pause
        self._hand: list[Any] = []
        self._idle_pause = 0.0
        self._share = Share(lane.port.takes_limit, lane)
        line.belt.shares.append(self._share)
        self.doing = "starting"  # in words, for Stats.fetching
        self.productive = False
        self.abandoned = False

    def run(self) -> None:
        line, share = self.line, self._share
        self.lane.enter()
        try:
            while (waited := self._wait_for_room()) is not None:
                self.doing = "yes"
                while True:  # as in the loop of the thread handlers
                    if share.left <= share.lent or line.asked or line.paused or self.lane.behind:
                        break
                    took = self.fetch(waited)
                    waited = 0.0
                    if took is None:
                        self._idle_pause = 0.0
                    else:
                        share.left = 0  # others may wait for it
                        self._rest(took)
                    if self._pause:
                        self._sleep(self._pause)
                share.left = 0
        finally:
            line.belt.shares.remove(share)
            self.lane.leave()

    def _rest(self, took: float) -> None:
        """After a `get` that brought nothing: sleep, unless it did so itself, and till others call if others are
        up.
        """
        if self.lane.park(self.bell):
            self.doing = ASLEEP
            while self.bell in self.lane.parked and not self.line.asked:  # rung for room, long ago, it sleeps on
                self.bell.wait(60)
        elif took < BLOCKS and not self._pause:
            self._idle_pause = min(max(2 * self._idle_pause, 0.001), LONGEST_PAUSE)
            self._sleep(self._idle_pause)

    def fetch(self, waited: float) -> float | None:
        """One `get`; what it brings is on the ledger and on the belt before anything is raised.

        Returns None, or, if it brought nothing, the seconds that it took.
        """
        line, lane, share = self.line, self.lane, self._share
        port = lane.port
        items: list[Any]
        error: BaseException | None
        if line.belt.sorter is not None:
            line.belt.sorter.asking(lane)
        began = share.began = now()
        try:
            items, error = items_of(port.get(limit=share.open()) if port.takes_limit else port.get())
        except queue.Empty:
            items, error = [], None
        except BaseException as broken:
            items, error = [], broken
        came = now()
        if items:
            count = len(items)
            self._hand = items
            self.tally.received += count
            lane.empty = False
            lane.filled_at = came
            share.took = came - began
            share.brought = count
            share.left = 0 if line.belt.parallel else max(0, share.left - count)
            if count > lane.largest_bulk:
                lane.largest_bulk = count
            if self.abandoned or line.returning:
                self._hand_back(items)
            else:
                if self._sorted:
                    self._sort(items, began, came)
                else:
                    line.belt.put(items, came if line.observed else None)
                if self.given_up():  # meanwhile, so that nobody may be there to take them
                    for chunk in line.belt.clear():
                        self._take_back(chunk.items, chunk.lane)
            self._hand = []
            self.productive = True
            if lane.parked:
                lane.wake_one()
        share.began = NEVER
        line.belt.answered(lane, bool(items))
        if line.observed:
            line.observers.tell(BulkReceived(worker=self.name, items=tuple(items), waited=waited, took=came - began))
        if error is not None:
            raise error
        if items:
            return None
        # A get that did not wait proves only that nothing was there when it began.
        lane.emptied_at = began if came - began < BLOCKS else came
        lane.empty = True
        line.quietened()
        return came - began

    @property
    def began(self) -> float:
        """When the get that runs was called."""
        return self._share.began

    def fetch_once(self, limit: int) -> BaseException | None:
        """One `get` outside the loop, and what it raised."""
        self._share.left = limit
        try:
            self.fetch(0.0)
        except BaseException as error:
            return error
        return None

    def _hand_back(self, items: list[Any]) -> None:
        """They were asked for before the line was to stop, and came after."""
        if self.abandoned:
            self._take_back(items, self.lane)
            return
        self.tally.freed += len(items)
        errand = Errand("release", items, self.lane)
        self._cleaner.send(errand)
        if self.given_up():  # meanwhile, so that nobody may be there to see to it
            try:
                self._cleaner.waiting.remove(errand)
            except ValueError:
                return  # somebody was
            self.tally.freed -= len(items)
            self._take_back(items, self.lane)

    def _sort(self, items: list[Any], began: float, came: float) -> None:
        """What is new of these to the belt; what was done before, and only came again, to the cleaner."""
        lane, tally, bulk = self.lane, self.tally, items
        keys: list[Hashable] | None = None
        if lane.custody is not None:
            arrival = lane.custody.receive(items, began, came, random.random())
            items = arrival.fresh
            again = len(arrival.replaced)
            tally.duplicates += again + len(arrival.done)
            tally.freed += again + len(arrival.done)
            tally.lost += again
            if arrival.done:
                self._cleaner.send(Errand("clean", arrival.done, lane))
            for item, error in arrival.broken:
                behind = self._fail(item, "identity", error, self._behind(item, items, bulk))
                items = [other for other in items if not any(other is one for one in behind)]
            if again and self.line.observed:
                self.line.observers.tell(ItemsLost(items=tuple(arrival.replaced)))
        if lane.key is not None:
            items, keys = self._keys(items, lane.key)
        if not items:
            return
        if self.line.belt.sorter is not None:
            try:
                self.line.belt.sort_in(items, lane, keys)
            except BaseException as broken:  # keys that cannot be compared with others: none of them went there
                for item in items:
                    self._fail(item, "key", broken, [])
        else:
            self.line.belt.put(items, now() if not self.line.simple else None)

    def _keys(self, items: list[Any], key: Callable[[Any], Hashable]) -> tuple[list[Any], list[Hashable]]:
        """The items with their keys; one whose key cannot be told fails."""
        kept: list[Any] = []
        keys: list[Hashable] = []
        seen: set[Hashable] = set()
        for item in items:
            try:
                found = key(item)
                seen.add(found)  # so it can be hashed and compared
            except BaseException as error:  # whatever the user's code raises: it fails its item alone
                self._fail(item, "key", error, [])
                continue
            kept.append(item)
            keys.append(found)
        return kept, keys

    def _behind(self, item: Any, items: list[Any], bulk: list[Any]) -> list[Any]:
        """Those of a bulk that came after this one, which fails, and must not come before it."""
        key = self.lane.key
        if key is None:
            return []
        try:
            its_key = key(item)
            at = next(index for index, other in enumerate(bulk) if other is item)
            after = set(map(id, bulk[at + 1 :]))
            return [] if its_key is None else [other for other in items if id(other) in after and key(other) == its_key]
        except BaseException as error:  # the one whose key it is fails for it, too
            log.error("key raised, so what waits behind its item does not go back with it: %r", error)
            return []

    def _fail(self, item: Any, callback: str, error: BaseException, behind: list[Any]) -> list[Any]:
        """It cannot be handed over: back to the queue, as if a handler had failed it; returns what goes with it."""
        log.error("%s raised, so its item fails: %r", callback, error)
        self.line.observers.tell(CallbackFailed(callback=callback, error=repr(error)))
        return self._settling.fail(item, Failure.of(error), self.lane, self.tally, behind)

    def given_up(self) -> bool:
        """True once the consumer has stopped without waiting for this getter any longer."""
        return self.abandoned

    def _take_back(self, items: list[Any], lane: Lane) -> None:
        """The consumer is long gone: nobody else is left to give these back."""
        if not items:
            return
        count = len(items)
        self.tally.freed += count
        release = lane.port.release
        try:
            if release is None:
                self.tally.left += count
            else:
                release(items, delay=0)
                self.tally.released += count
        except BaseException as error:
            self.tally.left += count
            log.error("%d items that a late get() brought could not be released: %r", count, error)

    def _wait_for_room(self) -> float | None:
        """Wait for room; the seconds that it took, or None when it is time to end."""
        line, belt = self.line, self.line.belt
        began = now()
        while not line.asked:
            if self._has_room():
                return now() - began
            belt.dry.append(self.bell)
            # Looked at again after we are seen to wait, so that nobody who makes room can miss us.
            room = self._has_room()
            if not room and not line.asked:
                self.bell.wait(1)
            try:
                belt.dry.remove(self.bell)
            except ValueError:
                pass  # whoever rang took it out
            if room:
                return now() - began
        return None

    def _has_room(self) -> bool:
        if self.line.paused:
            self.doing = "paused"
        elif self.lane.behind:
            self.doing = "leases are behind"
        elif self.line.belt.behind():
            self.doing = "cleanup is behind"
            self._cleaner.bell.ring()  # it may be waiting for more, of which there is none to come
        elif self.line.belt.ask(self._share, now()):
            return True
        else:
            self.doing = "no room"
        return False

    def _sleep(self, seconds: float | None) -> None:
        if not self.line.asked:
            self.bell.wait(seconds)

    def holds(self) -> list[Any]:
        return [self._hand]
