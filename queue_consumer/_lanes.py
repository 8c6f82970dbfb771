"""What waits on a belt with several lanes, or with keys: which chunk goes next.

A `Sorter` stands where a belt of one lane without keys has a plain deque, and looks like one to those who take from
it; only consumers that have lanes or keys pay for it. It takes one lock for each chunk, and chooses under it: so
whatever else happens, no item starts while one of a higher lane could.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ._chunk import Chunk
from ._keys import KeyedPile, Pile, PlainPile
from ._supervision import check_seconds, check_whole

NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Strict:
    """Higher lanes first, and equal ones in turns.

    Args:
        right_of_way: a lane whose last answer was not empty keeps lower lanes waiting until its next poll has
            answered, for so many seconds at most; so urgent messages that are still at the broker go first too.
    """

    right_of_way: float = 0.15

    def __post_init__(self) -> None:
        check_seconds("Strict: right_of_way", self.right_of_way, zero=True)


@dataclass(frozen=True, slots=True)
class Aging:
    """Higher lanes first, but a lane that waits gets a turn at least every so many hand-overs.

    Args:
        every: at least the number of lanes, or not all of them could.
    """

    every: int

    def __post_init__(self) -> None:
        check_whole("Aging: every", self.every, least=1)


LanePolicy: TypeAlias = Strict | Aging


class Place:
    """One lane as the sorter sees it."""

    __slots__ = ("hot_until", "lane", "pile", "polls", "priority", "taken", "turn", "waited")

    def __init__(self, lane: Any, pile: Pile) -> None:
        self.lane = lane
        self.priority: float = lane.priority
        self.pile = pile
        self.taken = 0  # chunks in the hands of handlers
        self.turn = 0  # when it was last its turn
        self.waited = 0  # hand-overs to others since then, while it waited
        self.hot_until = NEVER  # it has the right of way
        self.polls = 0  # that run


class Sorter:
    """The chunks that wait, lane by lane; with the verbs of a deque for those who put and take."""

    def __init__(self, lanes: Sequence[Any], policy: LanePolicy, size: int, clock: Callable[[], float]) -> None:
        families: dict[int, list[KeyedPile]] = {}  # lanes with one function of the key have the same keys
        self._places: dict[int, Place] = {}
        for lane in lanes:
            family = families.setdefault(id(lane.key), [])
            self._places[id(lane)] = Place(lane, PlainPile() if lane.key is None else KeyedPile(size, family))
        self._in_order = sorted(self._places.values(), key=lambda place: -place.priority)
        self._policy = policy
        self._choose = self._by_age if isinstance(policy, Aging) else self._by_rank
        self._clock = clock
        self._turn = 0
        self._lock = threading.Lock()

    # ------------------------------------------------------------------ as a deque

    def append(self, chunk: Chunk) -> None:
        with self._lock:
            self._places[id(chunk.lane)].pile.push(chunk)

    def extendleft(self, chunks: Iterable[Chunk]) -> None:
        with self._lock:
            for chunk in chunks:
                self._places[id(chunk.lane)].pile.push_front(chunk)

    def popleft(self) -> Chunk:
        """The chunk whose turn it is; IndexError where none may start now."""
        with self._lock:
            place = self._choose()
            chunk = place.pile.pop()
            chunk.counted = True
            place.taken += 1
            self._turn += 1
            place.turn = self._turn
            if not len(place.pile):
                self._expect(place)
            return chunk

    def __len__(self) -> int:
        """How many could start now. Without a lock, as `__iter__`: a list that is made of this asks for it first."""
        now, rank = self._clock(), self._in_order[0].priority
        count, hot = 0, False
        for place in self._in_order:
            if place.priority != rank and hot:
                break
            rank = place.priority
            hot = hot or place.hot_until > now
            count += len(place.pile)
        return count

    def pending(self) -> int:
        """How many could start now or when the right of way of others is over."""
        with self._lock:
            return sum(len(place.pile) for place in self._in_order)

    def __iter__(self) -> Iterator[Chunk]:
        while True:  # and no lock: whoever looks may be interrupted by a signal handler that waits for the drain
            try:
                return iter([chunk for place in self._in_order for chunk in place.pile])
            except RuntimeError:
                continue  # it has changed meanwhile

    # ------------------------------------------------------------------ what a deque has not

    def ended(self, chunk: Chunk, keys: Iterable[Hashable]) -> None:
        """A chunk that was taken is in nobody's hands any more, and these of its keys are free."""
        with self._lock:
            place = self._places[id(chunk.lane)]
            self._count_out(chunk)
            self._expect(place)
            place.pile.free(keys)

    def give_up(self, chunk: Chunk) -> None:
        """The handler that has it is stuck, and its place was given to another; it still holds its keys."""
        with self._lock:
            self._count_out(chunk)

    def _count_out(self, chunk: Chunk) -> None:
        if chunk.counted:
            chunk.counted = False
            self._places[id(chunk.lane)].taken -= 1

    def _expect(self, place: Place) -> None:
        """A lane that had something can poll again only now: its right of way begins anew."""
        if isinstance(self._policy, Strict) and place.hot_until != NEVER and not place.polls:
            place.hot_until = self._clock() + self._policy.right_of_way

    def free(self, lane: Any, keys: Iterable[Hashable]) -> None:
        """Nobody has these keys any more."""
        with self._lock:
            self._places[id(lane)].pile.free(keys)

    def sweep(self, lane: Any, key: Hashable) -> list[Any]:
        """Take out what waits behind a failed item."""
        with self._lock:
            return self._places[id(lane)].pile.sweep(key)

    def sift(self, lane: Any, gone: Callable[[Any], bool]) -> list[Any]:
        """Take out those items of this lane."""
        with self._lock:
            return self._places[id(lane)].pile.sift(gone)

    def clear(self) -> list[Chunk]:
        """Take everything out."""
        with self._lock:
            return [chunk for place in self._in_order for chunk in place.pile.clear()]

    def asking(self, lane: Any) -> None:
        """A poll of this lane begins; a lane that had something has the right of way until it is answered."""
        with self._lock:
            place = self._places[id(lane)]
            self._expect(place)
            place.polls += 1

    def answered(self, lane: Any, something: bool) -> None:
        with self._lock:
            place = self._places[id(lane)]
            place.polls -= 1
            if isinstance(self._policy, Strict):
                place.hot_until = self._clock() + self._policy.right_of_way if something else NEVER

    def end_polls(self) -> None:
        """Nobody will ask any more, so none has the right of way."""
        with self._lock:
            for place in self._in_order:
                place.hot_until = NEVER

    def patience(self) -> float | None:
        """Seconds until something that waits only for another's right of way may start; None: nothing does."""
        with self._lock:
            until = NEVER
            for place in self._in_order:
                if len(place.pile):
                    return None if until == NEVER else max(0.0, until - self._clock())
                until = max(until, place.hot_until)
            return None

    def may_fetch(self, lane: Any, *, asked: int, idle: int, handlers: int, room: int) -> bool:
        """True if this lane should ask its queue for more.

        Args:
            asked: polls of this lane that have room promised.
            idle: handlers that have nothing to do.
            room: so many items may wait on the belt, be it for their keys.
        """
        with self._lock:
            place = self._places[id(lane)]
            if isinstance(self._policy, Strict):
                higher = [other for other in self._in_order if other.priority > place.priority]
                busy = sum(other.taken + len(other.pile) for other in higher)
                now = self._clock()
                if busy >= handlers or (not idle and any(other.hot_until > now for other in higher)):
                    return False
            if place.pile.blocked() and place.pile.blocked() >= room:
                return False
            if idle > asked + sum(len(other.pile) for other in self._in_order):
                return True
            return room > 0 and not asked and not len(place.pile)

    # ------------------------------------------------------------------ whose turn it is

    def _by_rank(self) -> Place:
        chosen: Place | None = None
        hot, rank = NEVER, 0.0
        for place in self._in_order:
            if place.priority != rank:
                if chosen is not None:
                    break
                if hot != NEVER and hot > self._clock():
                    raise IndexError("a higher lane has the right of way")
                rank = place.priority
            if len(place.pile) and (chosen is None or place.turn < chosen.turn):
                chosen = place
            hot = max(hot, place.hot_until)
        if chosen is None:
            raise IndexError("nothing waits")
        return chosen

    def _by_age(self) -> Place:
        assert isinstance(self._policy, Aging)
        ready: list[Place] = []
        for place in self._in_order:
            if len(place.pile):
                ready.append(place)
            else:
                place.waited = 0
        if not ready:
            raise IndexError("nothing waits")
        chosen = min(ready, key=lambda place: (-place.priority, place.turn))
        # So many hand-overs are left to each until it must be its turn. If the first few need them all, the first goes.
        urgent = sorted(ready, key=lambda place: place.waited, reverse=True)
        if any(self._policy.every - 1 - place.waited <= index for index, place in enumerate(urgent)):
            chosen = urgent[0]
        for place in ready:
            place.waited += 1
        chosen.waited = 0
        return chosen
