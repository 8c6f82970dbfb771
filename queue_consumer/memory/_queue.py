"""The queue itself: its verbs, and the three places that an item can be in.

An item is waiting (to be got), delayed (to wait later), or held (got, and not yet cleaned up or released, nor lost).
What is held is found by the identity of the very object that `get` gave, because content proves nothing: two items may
be equal.

A lease is lost when its time has come, whether or not anybody has asked since: every verb that concerns what is held
first takes back what is overdue. So a consumer that comes too late hears the same, however busy the queue is.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, overload

from typing_extensions import TypeVar

from .._errors import CleanupError, LeaseLost, UsageError
from ..policies import flag, function, number, whole
from ._groups import Groups
from ._leases import Leases
from ._message import Draft, MemoryMessage, anew, delivery, draft_of, message_of, serial
from ._parcels import NOBODY, Deed, Note, Parcel, Stack, is_alive

DEDUPLICATION = 300.0  # seconds that a deduplication_id is remembered: as long as brokers do
SHORTEST = 0.001  # seconds of a lease; a shorter one would be over before anything can be done

T = TypeVar("T", default=MemoryMessage)


class MemoryQueue(Generic[T]):
    """A queue in memory, for any number of threads and consumers: for programs, tests, measurements.

    What it is made of, or `fill`ed with, comes out as it is: `MemoryQueue(range(10_000))` gives numbers. What
    is `put` comes out as a `MemoryMessage` with an `id`, a `body` and `attributes`, as from a broker.

    What `get` gave is held until it is cleaned up or released, however long that takes, or with a `lease` as
    long as that lasts. Plain objects have no identity that is not their content, so `identity` is None for them;
    the same object may be in the queue many times, and which of its occurrences is cleaned up or released makes
    no difference (if their attempts differ, the latest delivered one goes first).

        >>> queue = MemoryQueue(["a", "b", "c"], bulk=2)
        >>> queue.get()
        ['a', 'b']
        >>> queue.cleanup(["a"])
        >>> queue.release(["b"])
        >>> queue.get()
        ['c', 'b']
        >>> queue.attempt("b")
        2

    With a `lease`, what is held longer than that is visible again, and the delivery that was held is lost: it
    can be neither extended nor cleaned up, and to release it does nothing. Another delivery of the same message
    is not touched by that. Plain objects cannot keep this apart, since each delivery of one is the same object:
    where it is held more than once, all of them have one lease, the latest.

        >>> queue = MemoryQueue(lease=30)
        >>> id = queue.put("a body")
        >>> [late] = queue.get()
        >>> queue.expire([late])  # as if 30 seconds had passed
        >>> [again] = queue.get()
        >>> late.id == again.id, again.attempt
        (True, 2)
        >>> queue.holds(late), queue.holds(again)
        (False, True)

    An `ordered` queue gives the oldest first, and keeps the order of each group, as FIFO queues do: while a
    message of a group is held, or was released and is delayed, no other of that group is given, but for those
    that come behind it in the same bulk. What is released goes back to its own place. What is put with a delay
    keeps back what is put into its group later. What has no group waits for nobody.

    Args:
        items: what is in it at first.
        bulk: the most items that one `get` returns.
        wait: how many seconds `get` waits for an item while there is none. It is woken as soon as one comes.
        max_attempts: an item that is released after so many deliveries goes to `dead_letters` instead of
            back, and so does one whose lease runs out then. Deliveries count, as with brokers, whatever came of
            them.
        dead_letters: where those go: another MemoryQueue or a list. By default a list of its own.
        lease: for how many seconds an item is held at most, unless it is extended. None: as long as it takes.
        ordered: keep the order of each `group`.
        clock: what the time is, for delays and leases. `queue_consumer.testing.ManualClock` is moved by hand.
        journal: keep a note of all that happens, in `journal`. It grows for ever: for tests.

    Attributes:
        extend: `extend(items, seconds)` lets these be held for `seconds` from now, whatever they had left. It raises
            `LeaseLost(items)`, naming those that are lost or have ended, after the others were extended. None in a
            queue without leases.
        ordering_key: `ordering_key(item)` is the group of a message, or None. None in a queue that is not ordered.
    """

    extend: Callable[[Sequence[T], float], None] | None
    ordering_key: Callable[[T], Hashable | None] | None

    @overload
    def __init__(
        self: MemoryQueue[MemoryMessage],
        items: None = None,
        *,
        bulk: int = 10,
        wait: float = 0.1,
        max_attempts: int | None = None,
        dead_letters: MemoryQueue[Any] | list[Any] | None = None,
        lease: float | None = None,
        ordered: bool = False,
        clock: Callable[[], float] = time.monotonic,
        journal: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self,
        items: Iterable[T],
        *,
        bulk: int = 10,
        wait: float = 0.1,
        max_attempts: int | None = None,
        dead_letters: MemoryQueue[Any] | list[Any] | None = None,
        lease: float | None = None,
        ordered: bool = False,
        clock: Callable[[], float] = time.monotonic,
        journal: bool = False,
    ) -> None: ...
    def __init__(
        self,
        items: Iterable[Any] | None = None,
        *,
        bulk: int = 10,
        wait: float = 0.1,
        max_attempts: int | None = None,
        dead_letters: MemoryQueue[Any] | list[Any] | None = None,
        lease: float | None = None,
        ordered: bool = False,
        clock: Callable[[], float] = time.monotonic,
        journal: bool = False,
    ) -> None:
        whole("MemoryQueue: bulk", bulk, least=1)
        number("MemoryQueue: wait", wait, least=0)
        if max_attempts is not None:
            whole("MemoryQueue: max_attempts", max_attempts, least=1)
        check_dead_letters(dead_letters)
        if lease is not None:
            number("MemoryQueue: lease", lease, least=SHORTEST)
        flag("MemoryQueue: ordered", ordered)
        flag("MemoryQueue: journal", journal)
        function("MemoryQueue: clock", clock)
        self.bulk = bulk
        self.wait = wait
        self.max_attempts = max_attempts
        self.dead_letters: MemoryQueue[Any] | list[Any] = [] if dead_letters is None else dead_letters
        self.lease = lease
        self.extend = None if lease is None else self._extend
        self.ordering_key = self._ordering_key if ordered else None
        self.journal: list[Note] | None = [] if journal else None
        self.closed = 0
        self._clock = clock
        # A reentrant lock: a signal handler may call interrupt() in the middle of any other verb of its own
        # thread.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._groups = Groups() if ordered else None
        self._waiting: deque[Any] | Groups = deque() if self._groups is None else self._groups  # items, or Parcels
        self._careful = ordered or lease is not None
        self._delayed: list[tuple[float, int, Any]] = []  # likewise, with the time that they are due
        self._held: dict[int, Any] = {}  # by id(): the item itself, its Parcel, or its Stack
        self._leases = Leases()
        self._dead: list[Parcel] = []  # on their way to the dead letters
        self._sleepers = 0
        self._interrupts = 0
        self._recent: dict[str, tuple[float, str]] = {}  # deduplication_id: (when, the id of its message)
        self._put = self._got = self._cleaned = self._released = self._buried = self._expired = 0
        # A clock that is moved by hand tells us when; any other we expect to run like ours.
        watch = getattr(clock, "watch", None)
        self._told = callable(watch)
        if callable(watch):
            watch(self._wake)
        if items is not None:
            self.fill(items)

    @property
    def ordered(self) -> bool:
        """Whether it keeps the order of each group."""
        return self._groups is not None

    def __repr__(self) -> str:
        counts = " ".join(f"{name}={count}" for name, count in self.stats().items() if count)
        return f"<MemoryQueue {counts or 'empty'}>"

    # What senders do.

    def fill(self, items: Iterable[T]) -> None:
        """Put these in, to come out as the very objects that they are."""
        self._add(list(items))

    def put(
        self,
        body: Any,
        *,
        delay: float = 0,
        group: str | None = None,
        deduplication_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """Put one message in, to be seen after `delay` seconds; its id.

        A `deduplication_id` that was used within the last five minutes puts nothing in, and returns the id of
        the message that it did put in.
        """
        return self._send([message_of(body, delay, group, deduplication_id, attributes)])[0]

    def put_many(self, entries: Iterable[Mapping[str, Any]]) -> list[str]:
        """Put many messages in, all or, if one entry is wrong, none; their ids.

        Each entry maps `put`'s parameters to its arguments: `{"body": ..., "delay": 5}`.
        """
        return self._send([draft_of(entry) for entry in entries])

    # What consumers do.

    def get(self, limit: int | None = None) -> list[T]:
        """Give up to `limit` items, and never more than `bulk`; wait for the first, up to `wait` seconds."""
        most = self.bulk if limit is None or limit > self.bulk else limit
        if most < 1:
            return []
        if self._careful:
            return self._give(most)
        with self._lock:
            if self._delayed:
                self._settle()
            if not self._waiting and not self._sleep():
                return []
            bulk: list[T] = []
            held, take = self._held, self._waiting.popleft
            for _ in range(min(most, len(self._waiting))):
                item = take()
                key = id(item)
                if type(item) is Parcel:
                    bulk += self._hold(item)
                    continue
                if key in held:
                    self._pile(item, 1)
                else:
                    held[key] = item
                bulk.append(item)
            self._got += len(bulk)
            if self.journal is not None:
                self.journal += [Note("got", item, self.attempt(item)) for item in bulk]
        return bulk

    def interrupt(self) -> None:
        """Make every `get` that waits now return at once, with nothing. A later one waits as ever."""
        with self._lock:
            self._interrupts += 1
            self._changed.notify_all()

    def cleanup(self, items: Sequence[T]) -> None:
        """These are done with, and never come again.

        Raises:
            CleanupError: some are not held: they were never given, or ended before, or their lease ran out. The
            others are cleaned up.
        """
        strangers: list[T] = []
        again = 0
        if self.lease is not None:
            self._catch_up()
        with self._lock:
            let_go = self._held.pop
            for item in items:
                entry = let_go(id(item), NOBODY)
                if entry is NOBODY:
                    strangers.append(item)
                elif self.journal is None and type(entry) is Stack:
                    self._unpile(item, entry)
                elif entry is not item or self.journal is not None:
                    parcel = self._parcel(item, entry)
                    again += parcel.gone
                    parcel.gone = True
                    if self.journal is not None:
                        self.journal.append(Note("cleaned", item, parcel.attempt))
                    if self._groups is not None:
                        self._groups.end(parcel)
                        self._call()
            self._cleaned += len(items) - len(strangers) - again
            if self.lease is not None:
                self._forget_leases(items)
        if strangers:
            raise CleanupError(strangers, "they are not held: never given, cleaned up or released before, or lost")

    def release(self, items: Sequence[T], delay: float = 0) -> None:
        """Take these back, behind all that waits, and show them again after `delay` seconds.

        In an ordered queue a message of a group goes back to its place in it. With a lease, those whose lease ran
        out are back already, and nothing is done for them.

        Raises:
            UsageError: some are not held: they were never given, or ended before. The others are taken back. Not
            raised by a queue with a lease, which cannot tell them from those that it took back itself.
        """
        number("MemoryQueue.release: delay", delay, least=0)
        strangers = 0
        back: list[tuple[T, Parcel]] = []
        if self.lease is not None:
            self._catch_up()
        with self._lock:
            for item in items:
                entry = self._held.pop(id(item), NOBODY)
                if entry is NOBODY:
                    strangers += 1
                else:
                    back.append((item, self._parcel(item, entry)))
            self._released += self._take_back(back, delay, "released")
            if self.lease is not None:
                self._forget_leases(items)
        if self._dead:
            self._bury()
        if strangers and self.lease is None:
            raise UsageError(
                f"{strangers} of {len(items)} items cannot be released, because they are not held: "
                "they were never given, or were cleaned up or released before"
            )

    def attempt(self, item: T) -> int:
        """How often this item was delivered, 1 for the first time; of a plain item, while it is held."""
        if isinstance(item, MemoryMessage):
            return item.attempt
        with self._lock:
            entry = self._held.get(id(item), NOBODY)
        if entry is NOBODY:
            raise UsageError(f"this {type(item).__name__} is not held, so its attempt is not known")
        return entry[-1] if type(entry) is Stack else 1

    def identity(self, item: T) -> str | None:
        """A message's `id`; None for a plain item."""
        return item.id if isinstance(item, MemoryMessage) else None

    def stats(self) -> dict[str, int]:
        """How many items there are in each place, and how often each deed was done."""
        with self._up_to_date():
            return {
                "waiting": sum(is_alive(entry) for entry in self._waiting),
                "delayed": sum(is_alive(entry) for _, _, entry in self._delayed),
                "in_flight": len(self._held) + sum(self._surplus()),
                "put": self._put,
                "got": self._got,
                "cleaned": self._cleaned,
                "released": self._released,
                "buried": self._buried,
                "expired": self._expired,
            }

    def empty(self) -> bool:
        """True if nothing waits or is delayed at this moment; items may still be held."""
        with self._up_to_date():
            kept_back = self._groups is not None and self._groups.keeps_back()
            return not (self._waiting or self._delayed or kept_back)

    def close(self) -> None:
        """Wake every `get` that waits. Nothing else needs to be let go, so the queue can be used again."""
        self.closed += 1
        self.interrupt()

    # What tests do.

    def holds(self, item: T) -> bool:
        """Whether this very delivery is held at this moment: it was given, and has neither ended nor been lost."""
        with self._up_to_date():
            return self._is_held(item)

    def expire(self, items: Iterable[T]) -> None:
        """Let the leases of these run out now, without moving the clock. Those that are not held have none."""
        with self._up_to_date():
            over = {id(item): item for item in items if item in self._leases}
            self._end_leases(over.values())

    def redeliver(self, item: T) -> None:
        """Deliver a held message once more, as brokers sometimes do; cleaning up either delivery ends it."""
        with self._up_to_date():
            entry = self._held.get(id(item), NOBODY)
            if entry is NOBODY or not isinstance(item, MemoryMessage):
                raise UsageError("only a message that was put, and is held, can be delivered twice")
            if type(entry) is not Parcel:
                entry = self._held[id(item)] = Parcel(item, 1)
            if not (entry.gone or entry.waits):
                entry.waits = True
                self._show([entry], 0)

    # What there is for some queues only.

    def _extend(self, items: Sequence[T], seconds: float) -> None:
        number("MemoryQueue.extend: seconds", seconds, least=0)
        held: list[T] = []
        lost: list[T] = []
        with self._up_to_date():
            for item in items:
                (held if self._is_held(item) else lost).append(item)
            self._lend(held, seconds)
            if self.journal is not None:
                self.journal += [Note("extended", item, self.attempt(item), seconds) for item in held]
        if lost:
            raise LeaseLost(lost)

    def _ordering_key(self, item: T) -> str | None:
        return item.group if isinstance(item, MemoryMessage) else None

    # How it is done. All of these are called with the lock, but for _catch_up, _up_to_date, _add and _bury.

    def _catch_up(self) -> None:
        """Do everything that was due until now."""
        with self._up_to_date():
            pass

    @contextmanager
    def _up_to_date(self) -> Generator[None]:
        """With the lock, after everything that was due until now."""
        try:
            with self._lock:
                self._settle()
                yield
        finally:
            if self._dead:
                self._bury()

    def _is_held(self, item: T) -> bool:
        entry = self._held.get(id(item), NOBODY)
        return entry is not NOBODY and not (type(entry) is Parcel and entry.gone)

    def _add(self, items: list[Any], delay: float = 0) -> None:
        with self._lock:
            self._put += len(items)
            if self.journal is not None:
                self.journal += [Note("put", item, 0, delay) for item in items]
            if self._groups is not None:
                items = [self._groups.placed(item) for item in items]
            self._show(items, delay)

    def _send(self, drafts: list[Draft]) -> list[str]:
        ids: list[str] = []
        with self._lock:
            now = self._clock()
            for message, delay, deduplication_id in drafts:
                if deduplication_id is not None:
                    self._forget(now)
                    if deduplication_id in self._recent:
                        ids.append(self._recent[deduplication_id][1])
                        continue
                    self._recent[deduplication_id] = now, message.id
                self._add([message], delay)
                ids.append(message.id)
        return ids

    def _forget(self, now: float) -> None:
        """Forget deduplication ids that are too old; the oldest were noted first."""
        while self._recent:
            oldest = next(iter(self._recent))
            if now - self._recent[oldest][0] < DEDUPLICATION:
                return
            del self._recent[oldest]

    def _show(self, entries: Sequence[Any], delay: float) -> None:
        """Let these be got, now or later, and wake who waits for them."""
        if delay > 0:
            due = self._clock() + delay
            if self._groups is not None:
                self._groups.delay(entries)
            for entry in entries:
                heapq.heappush(self._delayed, (due, next(serial), entry))
            self._call()  # they sleep no longer than until the first is due
        else:
            self._waiting.extend(entries)
            if self._sleepers:
                self._changed.notify(len(entries))

    def _call(self) -> None:
        """Wake all who sleep in `get`, to look for themselves."""
        if self._sleepers:
            self._changed.notify_all()

    def _settle(self) -> None:
        """Do what was due until now: take back what is held for too long, let wait what was delayed."""
        if not (self._delayed or self._leases):
            return
        now = self._clock()
        self._end_leases(self._leases.overdue(now))
        while self._delayed and self._delayed[0][0] <= now:
            self._waiting.append(heapq.heappop(self._delayed)[2])

    def _sleep(self) -> bool:
        """Wait until something can be got; False if it is time to go with nothing."""
        interrupts = self._interrupts
        until = time.monotonic() + self.wait
        self._sleepers += 1
        try:
            while interrupts == self._interrupts:
                self._settle()
                if self._waiting:
                    return True
                left = until - time.monotonic()
                if left <= 0:
                    return False
                if not self._told:
                    due = min(self._leases.soonest, self._delayed[0][0] if self._delayed else math.inf)
                    left = min(left, max(0.0, due - self._clock()))
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            return False
        finally:
            self._sleepers -= 1

    def _wake(self) -> None:
        """The clock was moved."""
        with self._lock:
            self._changed.notify_all()

    def _lend(self, items: Sequence[T], seconds: float) -> None:
        """Let these be held for so long, from now on."""
        self._leases.give(items, self._clock() + seconds)
        self._call()

    def _forget_leases(self, items: Sequence[T]) -> None:
        """These may not be held any more."""
        for item in items:
            if id(item) not in self._held:
                self._leases.end(item)

    def _end_leases(self, items: Iterable[T]) -> None:
        """Take back these, which are held and have a lease."""
        back: list[tuple[T, Parcel]] = []
        for item in items:
            self._leases.end(item)
            entry = self._held.pop(id(item))
            parcels = (
                [Parcel(item, attempt) for attempt in entry] if type(entry) is Stack else [self._parcel(item, entry)]
            )
            self._expired += len(parcels)
            if self.journal is not None:
                attempts = [item.attempt] if isinstance(item, MemoryMessage) else [parcel.attempt for parcel in parcels]
                self.journal += [Note("expired", item, attempt) for attempt in attempts]
            # Whoever has a later delivery has the message; and it comes back when that one does.
            back += [(item, parcel) for parcel in parcels if parcel.item is item]
        if back:
            self._take_back(back, 0)

    def _take_back(self, items: Iterable[tuple[T, Parcel]], delay: float, deed: Deed | None = None) -> int:
        """Show these again after `delay`, or bury those that had their last attempt; how many are shown."""
        back: list[Parcel] = []
        for item, parcel in items:
            if parcel.gone or parcel.waits:
                continue
            parcel.gone = self.max_attempts is not None and parcel.attempt >= self.max_attempts
            parcel.waits = not parcel.gone
            (self._dead if parcel.gone else back).append(parcel)
            if parcel.gone:
                self._buried += 1
                if self._groups is not None:
                    self._groups.end(parcel)
                    self._call()
            noted = "buried" if parcel.gone else deed
            if self.journal is not None and noted is not None:
                self.journal.append(Note(noted, item, parcel.attempt, delay))
        self._show(back, delay)
        return len(back)

    def _bury(self) -> None:
        """Hand over the dead letters. Without our lock: they may go to a queue whose dead letters come to us."""
        with self._lock:
            dead, self._dead = self._dead, []
        if isinstance(self.dead_letters, MemoryQueue):
            self.dead_letters._add([anew(parcel.item) for parcel in dead])
        else:
            self.dead_letters += [parcel.item for parcel in dead]

    def _give(self, most: int) -> list[T]:
        """What `get` gives of a queue that has leases or is ordered."""
        with self._up_to_date():
            if not self._waiting and not self._sleep():
                return []
            if self._groups is not None:
                entries = self._groups.take(most)
            else:
                entries = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            bulk: list[T] = []
            for entry in entries:
                bulk += self._hold(entry if type(entry) is Parcel else Parcel(entry, 0))
            self._got += len(bulk)
            if self.lease is not None:
                self._lend(bulk, self.lease)
            if self.journal is not None:
                self.journal += [Note("got", item, self.attempt(item)) for item in bulk]
            return bulk

    def _hold(self, parcel: Parcel) -> list[Any]:
        """Hold what was delivered before; what is to be given for it: nothing, if it is gone."""
        parcel.waits = False
        item, attempt = parcel.item, parcel.attempt + 1
        if type(item) is not MemoryMessage:
            self._pile(item, attempt)
            return [item]
        if parcel.gone:
            return []
        parcel.attempt = attempt
        if attempt > 1:  # the first time it is what was put
            parcel.item = delivery(item, attempt)
        self._held[id(parcel.item)] = parcel
        return [parcel.item]

    def _pile(self, item: Any, attempt: int) -> None:
        """Hold an object once more, or not for the first time."""
        before = self._held.get(id(item), NOBODY)
        if type(before) is Stack:
            before.append(attempt)
        else:
            self._held[id(item)] = Stack([attempt] if before is NOBODY else [1, attempt])

    def _parcel(self, item: Any, entry: Any) -> Parcel:
        """The parcel of an item that is held no more; `entry` is what it was held by."""
        if type(entry) is Parcel:
            return entry
        return Parcel(item, self._unpile(item, entry) if type(entry) is Stack else 1)

    def _unpile(self, item: Any, stack: Stack) -> int:
        """The attempt of that occurrence of an object that is let go; the others are still held."""
        attempt = stack.pop()
        if stack:
            self._held[id(item)] = stack
        return attempt

    def _surplus(self) -> Iterator[int]:
        """What is to be added to the number of keys held to make it the number of items."""
        messages: set[int] = set()
        for entry in self._held.values():
            if type(entry) is Stack:
                yield len(entry) - 1
            elif type(entry) is Parcel:
                if entry.gone or entry.waits or id(entry) in messages:
                    yield -1
                messages.add(id(entry))


def check_dead_letters(value: object) -> None:
    if not (value is None or isinstance(value, (MemoryQueue, list))):
        raise TypeError(f"MemoryQueue: dead_letters must be a MemoryQueue, a list or None; got {value!r}")
