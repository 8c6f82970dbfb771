"""The reference queue: every verb of the left socket, in memory.

How an item lives here. It is in one of three places: waiting (to be got), delayed (to wait later), or held
(got, and not yet cleaned up or released). What is held is found by the identity of the very object that `get`
gave, because content proves nothing: two items may be equal.

Most items are got once and cleaned up, and there is nothing to know of them: they stand for themselves, which
costs next to nothing. What comes again is in a `Parcel` that knows its attempt; an object that is held more
than once stands for itself in a `Stack` of attempts.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, cast, overload

from typing_extensions import TypeVar

from ._errors import CleanupError, UsageError
from .policies import flag, function, number, whole

__all__ = ["MemoryMessage", "MemoryQueue"]

NOTHING: Mapping[str, Any] = MappingProxyType({})
DEDUPLICATION = 300.0  # seconds that a deduplication_id is remembered: as long as brokers do
serial = itertools.count(1)


class MemoryMessage:
    """One delivery of what was `put` into a `MemoryQueue`.

    Each delivery is an object of its own, as with a broker: `id` says whether two are the same message.
    Equality is that of objects. It pickles if its body and attributes do.

    Attributes:
        id: the message's own, the same in every delivery, and in no other message of this process.
        body: what was put.
        attributes: what was put beside it.
        group: the message group it was put into, or None.
        attempt: how often it had been delivered when it was delivered as this, 1 for the first time.
    """

    __slots__ = ("attempt", "attributes", "body", "group", "id")

    def __init__(
        self,
        id: str,
        body: Any,
        attributes: Mapping[str, Any] = NOTHING,
        group: str | None = None,
        attempt: int = 1,
    ) -> None:
        self.id = id
        self.body = body
        self.attributes = attributes
        self.group = group
        self.attempt = attempt

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryMessage, (self.id, self.body, dict(self.attributes), self.group, self.attempt)

    def __repr__(self) -> str:  # without the body: this is what logs show
        return f"<MemoryMessage {self.id}, attempt {self.attempt}>"


T = TypeVar("T", default=MemoryMessage)


Deed: TypeAlias = Literal["put", "got", "cleaned", "released", "buried"]


class Note(NamedTuple):
    """A line of the journal: what was done, to which object, at which attempt, with what delay."""

    deed: Deed
    item: Any
    attempt: int
    delay: float = 0


class Parcel:
    """An item that was delivered before."""

    __slots__ = ("attempt", "gone", "item", "waits")

    def __init__(self, item: Any, attempt: int) -> None:
        self.item = item  # for a message: the latest delivery of it
        self.attempt = attempt
        # Of a message there may be another delivery about:
        self.gone = False  # although it is cleaned up or buried,
        self.waits = False  # or although it waits to be delivered again.


class Stack(list[int]):
    """The attempts of a plain object that is held more than once, or not for the first time."""


class Draft(NamedTuple):
    """A message about to be put in."""

    message: MemoryMessage
    delay: float
    deduplication_id: str | None


class Nobody:
    """Stands where nothing is held."""


NOBODY = Nobody()


class MemoryQueue(Generic[T]):
    """A queue in memory, for any number of threads and consumers: for programs, tests, measurements.

    What it is made of, or `fill`ed with, comes out as it is: `MemoryQueue(range(10_000))` gives numbers. What
    is `put` comes out as a `MemoryMessage` with an `id`, a `body` and `attributes`, as from a broker.

    What `get` gave is held until it is cleaned up or released, however long that takes. Plain objects have no
    identity that is not their content, so `identity` is None for them; the same object may be in the queue
    many times, and which of its occurrences is cleaned up or released makes no difference (if their attempts
    differ, the latest delivered one goes first).

        >>> queue = MemoryQueue(["a", "b", "c"], bulk=2)
        >>> queue.get()
        ['a', 'b']
        >>> queue.cleanup(["a"])
        >>> queue.release(["b"])
        >>> queue.get()
        ['c', 'b']
        >>> queue.attempt("b")
        2

    Args:
        items: what is in it at first.
        bulk: the most items that one `get` returns.
        wait: how many seconds `get` waits for an item while there is none. It is woken as soon as one comes.
        max_attempts: an item that is released after so many deliveries goes to `dead_letters` instead of
            back. Deliveries count, as with brokers, whatever came of them.
        dead_letters: where those go: another MemoryQueue or a list. By default a list of its own.
        clock: what the time is, for delays. `queue_consumer.testing.ManualClock` is moved by hand.
        journal: keep a note of all that happens, in `journal`. It grows for ever: for tests.
    """

    @overload
    def __init__(
        self: MemoryQueue[MemoryMessage],
        items: None = None,
        *,
        bulk: int = 10,
        wait: float = 0.1,
        max_attempts: int | None = None,
        dead_letters: MemoryQueue[Any] | list[Any] | None = None,
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
        clock: Callable[[], float] = time.monotonic,
        journal: bool = False,
    ) -> None:
        whole("MemoryQueue: bulk", bulk, least=1)
        number("MemoryQueue: wait", wait, least=0)
        if max_attempts is not None:
            whole("MemoryQueue: max_attempts", max_attempts, least=1)
        check_dead_letters(dead_letters)
        flag("MemoryQueue: journal", journal)
        function("MemoryQueue: clock", clock)
        self.bulk = bulk
        self.wait = wait
        self.max_attempts = max_attempts
        self.dead_letters: MemoryQueue[Any] | list[Any] = [] if dead_letters is None else dead_letters
        self.journal: list[Note] | None = [] if journal else None
        self.closed = 0
        self._clock = clock
        # A reentrant lock: a signal handler may call interrupt() in the middle of any other verb of its own
        # thread.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting: deque[Any] = deque()  # items, or Parcels
        self._delayed: list[tuple[float, int, Any]] = []  # likewise, with the time that they are due
        self._held: dict[int, Any] = {}  # by id(): the item itself, its Parcel, or its Stack
        self._sleepers = 0
        self._interrupts = 0
        self._recent: dict[str, tuple[float, str]] = {}  # deduplication_id: (when, the id of its message)
        self._put = self._got = self._cleaned = self._released = self._buried = 0
        # A clock that is moved by hand tells us when; any other we expect to run like ours.
        watch = getattr(clock, "watch", None)
        self._told = callable(watch)
        if callable(watch):
            watch(self._wake)
        if items is not None:
            self.fill(items)

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
        with self._lock:
            if self._delayed:
                self._ripen()
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
            CleanupError: some are not held: they were never given, or ended before. The others are cleaned
            up.
        """
        strangers: list[T] = []
        again = 0
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
            self._cleaned += len(items) - len(strangers) - again
        if strangers:
            raise CleanupError(strangers, "they are not held: never given, or cleaned up or released before")

    def release(self, items: Sequence[T], delay: float = 0) -> None:
        """Take these back, behind all that waits, and show them again after `delay` seconds.

        Raises:
            UsageError: some are not held: they were never given, or ended before. The others are taken back.
        """
        number("MemoryQueue.release: delay", delay, least=0)
        strangers = 0
        back: list[Parcel] = []
        dead: list[Parcel] = []
        with self._lock:
            for item in items:
                entry = self._held.pop(id(item), NOBODY)
                if entry is NOBODY:
                    strangers += 1
                    continue
                parcel = self._parcel(item, entry)
                if parcel.gone or parcel.waits:
                    continue
                parcel.gone = self.max_attempts is not None and parcel.attempt >= self.max_attempts
                parcel.waits = not parcel.gone
                (dead if parcel.gone else back).append(parcel)
                if self.journal is not None:
                    deed: Deed = "buried" if parcel.gone else "released"
                    self.journal.append(Note(deed, item, parcel.attempt, delay))
            self._released += len(back)
            self._buried += len(dead)
            self._show(back, delay)
        if isinstance(self.dead_letters, MemoryQueue):
            self.dead_letters._add([anew(parcel.item) for parcel in dead])
        else:
            self.dead_letters += [parcel.item for parcel in dead]
        if strangers:
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
        with self._lock:
            return {
                "waiting": sum(is_alive(entry) for entry in self._waiting),
                "delayed": sum(is_alive(entry) for _, _, entry in self._delayed),
                "in_flight": len(self._held) + sum(self._surplus()),
                "put": self._put,
                "got": self._got,
                "cleaned": self._cleaned,
                "released": self._released,
                "buried": self._buried,
            }

    def empty(self) -> bool:
        """True if nothing waits or is delayed at this moment; items may still be held."""
        return not self._waiting and not self._delayed

    def close(self) -> None:
        """Wake every `get` that waits. Nothing else needs to be let go, so the queue can be used again."""
        self.closed += 1
        self.interrupt()

    # What tests do.

    def redeliver(self, item: T) -> None:
        """Deliver a held message once more, as brokers sometimes do; cleaning up either delivery ends it."""
        with self._lock:
            entry = self._held.get(id(item), NOBODY)
            if entry is NOBODY or not isinstance(item, MemoryMessage):
                raise UsageError("only a message that was put, and is held, can be delivered twice")
            if type(entry) is not Parcel:
                entry = self._held[id(item)] = Parcel(item, 1)
            if not (entry.gone or entry.waits):
                entry.waits = True
                self._show([entry], 0)

    # How it is done. All of these are called with the lock, but for _add.

    def _add(self, items: list[Any], delay: float = 0) -> None:
        with self._lock:
            self._put += len(items)
            if self.journal is not None:
                self.journal += [Note("put", item, 0, delay) for item in items]
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
            for entry in entries:
                heapq.heappush(self._delayed, (due, next(serial), entry))
            if self._sleepers:
                self._changed.notify_all()  # they sleep no longer than until the first is due
        else:
            self._waiting.extend(entries)
            if self._sleepers:
                self._changed.notify(len(entries))

    def _ripen(self) -> None:
        """Let wait what was delayed until now."""
        now = self._clock()
        while self._delayed and self._delayed[0][0] <= now:
            self._waiting.append(heapq.heappop(self._delayed)[2])

    def _sleep(self) -> bool:
        """Wait until something can be got; False if it is time to go with nothing."""
        interrupts = self._interrupts
        until = time.monotonic() + self.wait
        self._sleepers += 1
        try:
            while interrupts == self._interrupts:
                self._ripen()
                if self._waiting:
                    return True
                left = until - time.monotonic()
                if left <= 0:
                    return False
                if self._delayed and not self._told:
                    left = min(left, max(0.0, self._delayed[0][0] - self._clock()))
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            return False
        finally:
            self._sleepers -= 1

    def _wake(self) -> None:
        """The clock was moved."""
        with self._lock:
            self._changed.notify_all()

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
        parcel.item = MemoryMessage(item.id, item.body, item.attributes, item.group, attempt)
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


def is_alive(entry: Any) -> bool:
    return type(entry) is not Parcel or not entry.gone


def anew(item: Any) -> Any:
    """The item as it goes into another queue, where it has not been delivered yet."""
    if type(item) is not MemoryMessage:
        return item
    return MemoryMessage(item.id, item.body, item.attributes, item.group)


def message_of(
    body: Any,
    delay: float = 0,
    group: str | None = None,
    deduplication_id: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Draft:
    """What these arguments of `put` make."""
    number("put: delay", delay, least=0)
    message = MemoryMessage(f"memory-{next(serial)}", body, dict(attributes) if attributes else NOTHING, group)
    return Draft(message, delay, deduplication_id)


def draft_of(entry: Any) -> Draft:
    """What an entry of `put_many` makes."""
    if not isinstance(entry, Mapping) or "body" not in entry:
        raise ValueError(
            f"put_many: each entry must map put's parameters to its arguments, body among them; got {entry!r}"
        )
    arguments: dict[str, Any] = dict(cast("Mapping[str, Any]", entry))
    return message_of(**arguments)


def check_dead_letters(value: object) -> None:
    if not (value is None or isinstance(value, (MemoryQueue, list))):
        raise TypeError(f"MemoryQueue: dead_letters must be a MemoryQueue, a list or None; got {value!r}")
