"""The belt between getters and handlers: chunks that wait, handlers that wait for them, and the room there is.

What lies on the belt is a `Parcel`: the bare items of a fresh chunk, of which nothing else is known yet, and that
is a lot cheaper than a `Chunk` made by one thread to be used by another; or a `Chunk`, where there is more to say.

**No lock is taken to hand over a chunk.** Chunks wait in a deque, whose ends are atomic. A handler that finds it
empty puts its bell among the idle ones, looks once more, and only then sleeps; a getter puts its chunks and then
rings as many idle bells as there are chunks. Each side writes before it looks at what the other wrote, so one of
the two always sees the other, and no ring is lost. Whoever was rung but found its chunk by itself passes the ring
on.

**Room is taken before `get`.** Items are counted out of the ledger: received, less those that gave back their
room by being consumed or by ending. A getter that finds no room sleeps until the belt has run half empty: it is
woken by the handler that takes the chunk which makes it so.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import Any, TypeAlias, cast

from ._bells import Bell, Ringable
from ._chunk import Chunk
from ._lanes import Sorter
from ._ledger import Ledger

WINDOW = 0.05  # seconds: the belt holds what the pool handles in so long
SOON = WINDOW / 8
NEVER = float("inf")
MOST = 4096  # items: and never more, however fast the pool
ROUNDS = 10  # rounds of the pool that may wait for cleanup before the getters stop


Parcel: TypeAlias = Any
"""A `Chunk`; or, where chunks are of one, an item; or else a list of items."""


class Share:
    """How many items one getter may still bring: `left`, less what was `lent` to others.

    Only that getter changes it, but for `lent`, which is for `Belt.ask` to say.
    """

    __slots__ = ("began", "brought", "lane", "left", "lent", "limited", "took")

    def __init__(self, limited: bool, lane: Any) -> None:
        self.lane = lane
        self.limited = limited  # its get is told how much it may bring, and so may bring it all
        self.left = 0
        self.lent = 0
        self.began = NEVER  # when the get that runs was called
        self.took = 0.0  # seconds that the last one took,
        self.brought = 0  # and how much it brought

    def open(self) -> int:
        """How much of it may still come."""
        return max(0, self.left - self.lent)

    def quick(self, items: int) -> bool:
        """True if its getter can bring so many before anybody would notice that it is alone."""
        return not self.limited and 0 < self.took * items < SOON * self.brought


class Belt:
    """What waits for a handler: first in, first out; or, with several lanes or with keys, as the sorter says."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        lane: Any,
        handlers: int,
        size: int,
        prefetch: int | None,
        sorter: Sorter | None = None,
        parallel: bool = False,
        lingering: Sequence[Any] = (),
    ) -> None:
        # A sorter is to those who put and take what a deque is.
        self.waiting: deque[Parcel] = deque() if sorter is None else cast(Any, sorter)
        self.sorter = sorter
        self.parallel = parallel  # there are several lanes
        self.idle: deque[Ringable] = deque()  # handlers that wait for a chunk
        self.dry: deque[Bell] = deque()  # getters that wait for room
        self.low = 0  # so many chunks waiting, and a dry getter is let in
        self.closed = False
        self.prefetch = handlers * size if prefetch is None else prefetch
        self.shares: list[Share] = []  # one for each getter
        self._handlers = handlers
        self._lane = lane
        self._lingering = lingering  # lanes where what is done waits for company
        self._ledger = ledger
        self._round = handlers * size
        self._adaptive = prefetch is None
        self.size = size
        self._measured = (0.0, 0)  # when, and how many items had been freed by then
        self._lock = threading.RLock()  # among getters, and who resizes, be it a signal handler in the middle of that
        self._set_low()

    def put(self, items: list[Any], at: float | None = None) -> None:
        """Cut a bulk into chunks, add them at the end, and wake handlers for them.

        Args:
            at: the time, if somebody wants to know how long they wait here.
        """
        size = self.size
        parcels = items
        if size > 1:
            starts = range(0, len(items), size)
            parcels = [items] if len(items) <= size else [items[start : start + size] for start in starts]
        if at is not None:
            parcels = [Chunk([parcel] if size == 1 else parcel, self._lane, at) for parcel in parcels]
        self.waiting.extend(parcels)
        if self.idle:
            self._wake(len(parcels))

    def sort_in(self, items: list[Any], lane: Any, keys: list[Any] | None) -> None:
        """`put`, where there is a sorter. `keys`: one for each item, if the lane has them."""
        size = len(items) if keys is not None else self.size
        for start in range(0, len(items), size):
            self.waiting.append(Chunk(items[start : start + size], lane, monotonic(), keys=keys))
        self._look_again()

    def put_back(self, chunks: Sequence[Chunk]) -> None:
        """Put chunks back at the front, for the next free handler."""
        self.waiting.extendleft(reversed(chunks))
        self._wake(len(chunks))

    def ended(self, chunk: Chunk, keys: Iterable[Any]) -> None:
        """A chunk is in nobody's hands any more, and these of its keys are free; for a sorter to know."""
        if self.sorter is not None:
            self.sorter.ended(chunk, keys)
            self._look_again()

    def give_up(self, chunk: Chunk) -> None:
        """The handler that has this chunk is stuck, and another is in its place; for a sorter to know."""
        if self.sorter is not None:
            self.sorter.give_up(chunk)
            self._look_again()

    def free(self, lane: Any, keys: Iterable[Any]) -> None:
        """Nothing holds these keys any more."""
        if self.sorter is not None:
            self.sorter.free(lane, keys)
            self._look_again()

    def answered(self, lane: Any, something: bool) -> None:
        """A poll of this lane has ended; for a sorter to know."""
        if self.sorter is not None:
            self.sorter.answered(lane, something)
            self._look_again()

    def _look_again(self) -> None:
        """Something may have become possible for somebody."""
        if self.idle and self.sorter is not None:
            self._wake(self.sorter.pending())  # who has to wait for a right of way all the same sets an alarm
        if self.dry:
            self.let_in()

    def patience(self) -> float:
        """How long a handler that finds nothing to do may sleep, if it is not rung."""
        delay = None if self.sorter is None else self.sorter.patience()
        return 60.0 if delay is None else delay

    def next(self) -> Chunk:
        """The next chunk; IndexError where there is none."""
        return self.chunk_of(self.waiting.popleft())

    def chunk_of(self, parcel: Parcel) -> Chunk:
        if type(parcel) is Chunk:
            return parcel
        return Chunk([parcel] if self.size == 1 else parcel, self._lane)

    def items_of(self, run: list[Parcel], plain: bool) -> list[Any]:
        """The items of these chunks in a row. `plain`: there is no `Chunk` among them."""
        if plain and self.size == 1:
            return run
        return [item for parcel in run for item in (parcel if plain else self.chunk_of(parcel).items)]

    def sizes_of(self, run: list[Parcel]) -> list[int]:
        if self.size == 1:
            return [1] * len(run)
        return [len(parcel.items if type(parcel) is Chunk else parcel) for parcel in run]

    def _wake(self, most: int) -> None:
        idle = self.idle
        while idle and most:
            try:
                bell = idle.pop()
            except IndexError:
                return
            bell.ring()
            most -= 1

    def lie_down(self, bell: Ringable) -> Chunk | None:
        """Join the idle handlers; if a chunk is there after all, take it and stay up."""
        self.idle.append(bell)
        if self.dry:
            self.let_in()
        try:
            chunk = self.next()
        except IndexError:
            return None
        self.get_up(bell)
        return chunk

    def get_up(self, bell: Ringable) -> None:
        """Leave the idle handlers; a ring that was meant for another chunk is passed on."""
        try:
            self.idle.remove(bell)
        except ValueError:
            if self.waiting:
                self._wake(1)

    def let_in(self) -> None:
        """Wake a getter that waits for room, if the belt has run low."""
        if self.parallel:  # all, since it is not for the belt to say whose turn it is
            for bell in list(self.dry):
                bell.ring()
        elif len(self.waiting) <= self.low:
            try:
                bell = self.dry.popleft()
            except IndexError:
                return
            bell.ring()

    def wake_all(self) -> None:
        """Everybody look again: the line is stopping, pausing or going on."""
        self._wake(len(self.idle))
        for bell in list(self.dry):
            bell.ring()

    def clear(self) -> list[Chunk]:
        """Take everything off."""
        if self.sorter is not None:
            return self.sorter.clear()
        chunks: list[Chunk] = []
        while True:
            try:
                chunks.append(self.next())
            except IndexError:
                return chunks

    def sift(self, lane: Any, gone: Callable[[Any], bool]) -> list[Any]:
        """Take off those items of this lane; the others stay as they are."""
        if self.sorter is not None:
            return self.sorter.sift(lane, gone)
        found: list[Any] = []
        for chunk in [self.chunk_of(parcel) for parcel in list(self.waiting)]:
            if any(map(gone, chunk.items)):
                try:
                    self.waiting.remove(chunk)
                except ValueError:
                    continue  # a handler has it, and looks for itself
                found += filter(gone, chunk.items)
                chunk.items = [item for item in chunk.items if not gone(item)]
                if chunk.items:
                    self.put_back([chunk])
        return found

    def holds(self) -> list[list[Any]]:
        """The items that wait, for the ledger's count."""
        return [self.chunk_of(parcel).items for parcel in list(self.waiting)]

    def resize(self, handlers: int) -> None:
        """From now on there are so many handlers."""
        with self._lock:
            self._handlers, self._round = handlers, handlers * self.size
            if self._adaptive:
                self.prefetch = self._round
                self._set_low()
        self.let_in()

    def ask(self, share: Share, now: float) -> bool:
        """Take a share of the room, for as many items as it says then; False if there is no room."""
        if self.parallel:
            return self._ask_for_lane(share)
        with self._lock:
            if self._adaptive and now - self._measured[0] >= WINDOW:
                self._adapt(now)
            promised = sum([other.open() for other in self.shares])
            room = self._round + self.prefetch - self._ledger.outstanding() - promised
            if room <= 0:
                room = self._borrow(now)
            if room <= 0:
                return False
            # Several that are quick would only get in each other's way.
            without = 1 if share.quick(room) else sum([not other.open() for other in self.shares])
            share.left, share.lent = -(-room // max(1, without)), 0
            more = without > 1 and share.left < room
        if more:
            self.let_in()
        return True

    def _ask_for_lane(self, share: Share) -> bool:
        """With several lanes each looks ahead by one bulk, so that room filled by one is not missing to another."""
        assert self.sorter is not None
        with self._lock:
            idle = len(self.idle)
            if not self.sorter.may_fetch(
                share.lane,
                asked=sum([other.lane is share.lane and bool(other.open()) for other in self.shares]),
                idle=idle,
                handlers=self._handlers,
                room=self.prefetch,
            ):
                return False
            share.left, share.lent = self._round if self.prefetch else idle * self.size, 0
            return True

    def _borrow(self, now: float) -> int:
        """Room of those whose get is taking long, and that will come back with no more than a bulk."""
        room = 0
        for other in self.shares:
            spare = other.open() - other.lane.largest_bulk
            if spare > 0 and not other.limited and now - other.began > WINDOW:
                other.lent += spare
                room += spare
        return room

    def behind(self) -> bool:
        """True if so much waits for cleanup that getters must stop; what waits for company alone is never so much."""
        company: int = sum([lane.call_size for lane in self._lingering])
        return self._ledger.backlog() > max(ROUNDS * self._round, 2 * self.prefetch, 2 * company)

    def _adapt(self, now: float) -> None:
        """Hold what the pool handles in a window: a slow handler never hoards, a fast one never waits."""
        then, before = self._measured
        freed = self._ledger.total("freed")
        self._measured = (now, freed)
        if then:
            handled = (freed - before) * WINDOW / (now - then)
            self.prefetch = max(self._round, min(int(handled), MOST))
            self._set_low()

    def _set_low(self) -> None:
        self.low = self.prefetch // 2 // self.size
