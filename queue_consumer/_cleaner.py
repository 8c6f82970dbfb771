"""The last station: what handlers are done with is cleaned up, what they are not is given back.

It is a station of its own, and not something that handlers do, so that a slow cleanup holds up no handler and
calls carry many items. Several threads may clean at once: one, the leader, gathers a share of what waits, hands
over the lead and then makes the calls. The share is as many calls as take a few milliseconds; where one call takes
longer and work is waiting, another thread is hired, up to as many as there are getters.
"""

from __future__ import annotations

import functools
import heapq
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Literal

from ._bells import Bell
from ._chunk import Failure
from ._errors import CleanupError
from ._events import CallbackFailed, CleanupFailed, ItemsCleaned, ItemsLost, ItemsReleased, ids_of, log
from ._ledger import Tally
from ._line import Lane, Line, Worker, now

Verb = Literal["clean", "drop", "release", "bury"]

LINGER = 0.005  # seconds that the leader lets more items gather for a call
LONGEST_GLANCE = 0.02  # between two looks at what waits for company
TURN = 0.005  # seconds that one share of calls should take
ATTEMPTS = 5
FIRST_RETRY = 0.1  # seconds; twice as long each time
ALONE = 3  # from this attempt on items go one by one, so that a bad one cannot keep its neighbours back


class Errand:
    """Something to do for items that have left the handlers."""

    __slots__ = ("attempt", "delay", "done", "failure", "items", "keys", "lane", "verb")

    def __init__(
        self,
        verb: Verb,
        items: list[Any],
        lane: Lane,
        *,
        delay: float = 0.0,
        failure: Failure | None = None,
        attempt: int = 1,
        keys: Sequence[Hashable] = (),
    ) -> None:
        self.keys = keys  # free when it is done
        self.verb: Verb = verb
        self.items = items
        self.lane = lane
        self.delay = delay
        self.failure = failure
        self.attempt = attempt
        self.done = 0  # so many of the items, from the first on, are accounted for

    def left(self) -> list[Any]:
        return self.items[self.done :] if self.done else self.items

    def forget(self) -> None:
        """It will not be done."""
        custody = self.lane.custody
        if custody is not None:
            if self.verb in ("clean", "drop"):
                custody.remember(self.left(), now())
            custody.ended(self.left())


class Cleaner:
    """The station: what waits for cleanup, and the threads that see to it."""

    def __init__(
        self,
        line: Line,
        *,
        most: int,
        dead_letter: Callable[[Any, Failure], object] | None,
        delay_of: Callable[[Any, Lane], float],
    ) -> None:
        self.done: dict[Lane, deque[Any]] = {lane: deque() for lane in line.lanes}  # consumed, to be cleaned up
        self.waiting: deque[Errand] = deque()  # everything else there is to do
        self.asleep = False  # the leader sleeps: whoever adds something rings
        self.bell = Bell()
        self.hands: list[Hand] = []
        self.closing = False
        self.given_up = False  # the time is up: whatever there is to do is left
        self.line = line
        self.dead_letter = dead_letter
        self.delay_of = delay_of
        self.lead = threading.Lock()
        self.call_took = TURN  # seconds a call takes, of late
        self._most = most
        self._lingering: dict[Lane, float] = {}  # since when some wait that do not fill a call; the leader's own
        lingers = [lane.port.cleanup_linger for lane in line.lanes]
        self._glance = LINGER if not all(lingers) else min(max(LINGER, min(lingers) / 10), LONGEST_GLANCE)
        self._later: list[tuple[float, int, Errand]] = []
        self._later_lock = threading.Lock()
        self._roster = threading.Lock()
        self._count = 0

    def send(self, errand: Errand) -> None:
        """See to these."""
        if errand.verb == "release" and errand.lane.custody is not None:
            errand.lane.custody.leave(errand.items)
        self.waiting.append(errand)
        if self.asleep:
            self.wake()

    def clean(self, items: list[Any], lane: Lane) -> None:
        """Clean these up, together with others as far as a call may carry them."""
        self.done[lane].extend(items)
        if self.asleep:
            self.wake()

    def wake(self) -> None:
        """Called by whoever has put something down and finds the leader asleep."""
        self.asleep = False
        self.bell.ring()

    def later(self, errand: Errand, delay: float) -> None:
        with self._later_lock:
            self._count += 1
            heapq.heappush(self._later, (now() + delay, self._count, errand))
        if self.asleep:  # and does not know how long it may
            self.wake()

    def hire(self) -> None:
        """One more thread, unless there are enough."""
        with self._roster:
            if len(self.hands) >= self._most or self.closing:
                return
            hand = Hand(self, f"cleaner-{len(self.hands) + 1}")
            self.hands = [*self.hands, hand]
        try:
            hand.start()
        except RuntimeError as error:  # no more threads: those that there are do it all
            with self._roster:
                self.hands = [other for other in self.hands if other is not hand]
            if not self.hands:
                raise
            log.warning("no thread can be started to clean up: %r", error)

    def replace(self, dead: Hand) -> None:
        """A new thread in the place of a dead one; what that had in hand waits again."""
        self.waiting.extendleft(reversed(dead.hand))
        dead.hand = []
        with self._roster:
            hand = Hand(self, dead.name)
            self.hands = [hand if other is dead else other for other in self.hands]
        self.line.ledger.fold(dead.tally)
        hand.start()

    def undone(self) -> int:
        """How many items are consumed and wait to be cleaned up."""
        return sum([len(items) for items in self.done.values()])

    def gather(self, hand: list[Errand]) -> None:
        """For the leader: sleep until there is something, let more of it come, take a share. None: the end."""
        while not hand:
            while not (self.undone() or self.waiting or self._due()):
                if self.given_up or (self.closing and not self._later):
                    return
                self.asleep = True
                if not (self.undone() or self.waiting or (self.closing and not self._later)):
                    self.bell.wait(self._next_due())
                self.asleep = False
            if self.given_up:
                return
            calls = max(1, int(TURN / max(self.call_took, 1e-7)))
            if self.undone() < self.line.lanes[0].call_size * calls and not self.waiting and not self.closing:
                self.bell.wait(self._glance)
            self.take(calls, hand, linger=not self.closing)
            if not hand and not self.closing:  # all that there is waits for company
                self.bell.wait(self._glance)

    def take(self, calls: int, hand: list[Errand], *, linger: bool = False) -> None:
        """Take what so many calls can clean up of each lane, and all the rest of what is to be done.

        Into this hand at once: what is nowhere to be seen meanwhile would seem to be done. With `linger`, what does
        not fill a call is left to wait for company, if its queue would like that.
        """
        waiting = self.waiting
        for lane, done in self.done.items():
            count = min(calls * lane.call_size, self._ripe(lane, len(done)) if linger else len(done))
            if count:
                next_done = done.popleft
                clean: list[Any] = []
                hand.append(Errand("clean", clean, lane))
                try:
                    for _ in range(count):
                        clean.append(next_done())
                except IndexError:
                    pass  # somebody else takes too, since the time is up
        while waiting:
            try:
                hand.append(waiting.popleft())
            except IndexError:
                break

    def _ripe(self, lane: Lane, count: int) -> int:
        """How many of so many that wait need wait no longer."""
        linger = lane.port.cleanup_linger
        if not linger or not count:
            return count
        full = count - count % lane.call_size
        if full:
            self._lingering[lane] = now()
        elif now() >= self._lingering.setdefault(lane, now()) + linger:
            full = count
        if full == count:
            self._lingering.pop(lane, None)
        return full

    def all_due(self) -> list[Errand]:
        """Take everything that is to be done now."""
        self._due()
        errands: list[Errand] = []
        self.take(1 << 62, errands)
        return errands

    def wait_for_later(self) -> bool:
        """Sleep until something is to be tried again; False if nothing is."""
        if self._later:
            self.bell.wait(self._next_due())
        return bool(self._later)

    def work_left(self) -> bool:
        # Hands are looked at last, and first since what failed goes from there to be tried again.
        in_hand = any(hand.hand for hand in self.hands)
        return bool(in_hand or self.undone() or self.waiting or self._later or any(hand.hand for hand in self.hands))

    def lose(self, items: list[Any], lane: Lane, tally: Tally, *, done: bool = False) -> None:
        """The leases of these are lost. `done`: they were handled, which is remembered."""
        if not items:
            return
        custody = lane.custody
        tally.lost += len(items)
        if custody is None:
            self.line.observers.tell(ItemsLost(items=tuple(items)))
            return
        if done:
            custody.remember(items, now())
        custody.ended(items)
        self.tell_losses(lane)

    def tell_losses(self, lane: Lane) -> None:
        """Say which leases are lost, once of each."""
        news = lane.custody.news() if lane.custody is not None else []
        if news:
            log.warning("the leases of %d items are lost", len(news), event="ItemsLost", items=ids_of(news))
            self.line.observers.tell(ItemsLost(items=tuple(news)))

    def behind(self, item: Any, lane: Lane) -> list[Any]:
        """Take off the belt what must not come before this item, which goes back."""
        sorter = self.line.belt.sorter
        if sorter is None or lane.key is None:
            return []
        try:
            return sorter.sweep(lane, lane.key(item))
        except BaseException as error:  # it had one when it came: nothing is lost but the order of that key
            log.error("key raised, so what waits behind its item does not go back with it: %r", error)
            return []

    def close(self) -> None:
        """End when everything is done."""
        self.closing = True
        self.bell.ring()

    def give_up(self) -> list[Errand]:
        """Take out all that nobody has in hand: the time is up."""
        self.closing = self.given_up = True
        self.bell.ring()
        with self._later_lock:
            late = [errand for _, _, errand in self._later]
            self._later = []
        self.take(1 << 62, late)
        return late

    def holds(self) -> Iterator[list[Any]]:
        for done in self.done.values():
            yield list(done)
        for errand in list(self.waiting):
            yield errand.left()
        for _, _, errand in list(self._later):
            yield errand.items
        for hand in self.hands:
            for errand in list(hand.hand):
                yield errand.left()

    def _due(self) -> bool:
        """Put what was to be tried again by now among the waiting; True if something was."""
        found = False
        if self._later:
            with self._later_lock:
                while self._later and self._later[0][0] <= now():
                    self.waiting.append(heapq.heappop(self._later)[2])
                    found = True
        return found

    def _next_due(self) -> float:
        later = self._later
        return max(0.0, later[0][0] - now()) if later else 60.0


class Hand(Worker):
    """One cleaning thread; or, for `run_once`, the cleaning part of the calling thread."""

    kind = "cleaner"

    def __init__(self, cleaner: Cleaner, name: str) -> None:
        super().__init__(cleaner.line, name)
        self.cleaner = cleaner
        self.hand: list[Errand] = []
        self.productive = False
        self.abandoned = False
        self._desk: deque[list[Any]] = deque()  # what the running call is for; who takes it off accounts for it

    def run(self) -> None:
        cleaner = self.cleaner
        while not self.abandoned:
            with cleaner.lead:
                cleaner.gather(self.hand)
            if not self.hand:
                return
            if cleaner.undone() or cleaner.waiting:  # more than one share
                cleaner.hire()
            self.work()

    def work(self) -> None:
        """See to all that is in hand."""
        while self.hand:
            self._see_to(self.hand[0])
            if self.abandoned:
                return
            del self.hand[0]
        self.productive = True
        if self.line.belt.dry:
            self.line.belt.let_in()
        self.line.quietened()

    def _see_to(self, errand: Errand) -> None:
        call, size = self._call_for(errand)
        items, desk, custody = errand.items, self._desk, errand.lane.custody
        time = began = now()
        for start in range(errand.done, len(items), size):  # a dead cleaner may have done some
            if self.abandoned:
                return
            part = told = items[start : start + size]
            error: BaseException | None = None
            if custody is not None:
                ours, lost = custody.present(part, now(), going=errand.verb == "release")
                if self.is_abandoned():
                    return
                if lost:
                    items[start : start + size] = lost + ours  # so that what is left is what is open
                    errand.done = start + len(lost)
                    self.cleaner.lose(lost, errand.lane, self.tally, done=errand.verb in ("clean", "drop"))
                part, told = ours, ours if errand.verb == "bury" else custody.latest(ours)
            if call is not None and part:
                desk.append(part)
                try:
                    call(told[:])  # of its own, whatever the queue does to it
                except BaseException as broken:  # tried again, and at last given up aloud: never lost, never twice
                    error = broken
                try:
                    desk.pop()
                except IndexError:
                    return  # the time was up meanwhile, and somebody else has accounted for these
            if error is not None:
                failed, done = told, list[Any]()
                if isinstance(error, CleanupError):
                    lost, failed = picked(told, error.lost)
                    hopeless, failed = picked(failed, error.hopeless)
                    failed, done = parted(failed, error.failed, all_if_none=not (lost or hopeless))
                    self._give_up(errand, told_of(lost, part, told), told_of(hopeless, part, told), error)
                if done:
                    self._done(errand, told_of(done, part, told), done, now() - time)
                failed = told_of(failed, part, told)
                if errand.verb == "release" and errand.lane.key is not None and errand.attempt < ATTEMPTS:
                    failed = failed + items[start + size :]  # which must not come before them
                    errand.done = len(items)
                if failed:
                    self._again(errand, failed, error)
            elif custody is None and errand.verb == "clean" and not self.line.observed:  # as nearly always
                self.tally.cleaned += len(part)
            elif part:
                then, time = time, now()
                self._done(errand, part, told, time - then)
            if errand.done == len(items):
                break
            errand.done = min(start + size, len(items))
        if errand.keys:
            self.line.belt.free(errand.lane, errand.keys)
        if call is not None:
            took = (now() - began) * size / max(size, len(items))
            self.cleaner.call_took += (took - self.cleaner.call_took) / 4

    def _call_for(self, errand: Errand) -> tuple[Callable[[list[Any]], object] | None, int]:
        """The queue's verb for this errand, and how many items it may carry; None where the queue has none."""
        port, size = errand.lane.port, errand.lane.call_size
        call: Callable[[list[Any]], object] | None
        match errand.verb:
            case "clean" | "drop":
                call = port.cleanup
            case "release":
                release = port.release
                call = None if release is None else functools.partial(release, delay=errand.delay)
                size = port.cleanup_limit or len(errand.items)
            case "bury":
                assert self.cleaner.dead_letter is not None
                assert errand.failure is not None
                call = functools.partial(bury, self.cleaner.dead_letter, errand.failure)
                size = 1
        return call, 1 if errand.attempt >= ALONE else size

    def _done(self, errand: Errand, items: list[Any], told: list[Any], took: float) -> None:
        """The call has returned for these."""
        if errand.lane.custody is not None and errand.verb != "bury":
            again = errand.lane.custody.ended(items, told)
            if again:  # they came once more during the call, and it was not of that delivery
                self.cleaner.send(Errand(errand.verb, again, errand.lane, delay=errand.delay))
                items = [item for item in items if not any(item is other for other in again)]
                if not items:
                    return
        count, event = len(items), None
        match errand.verb:
            case "clean":
                self.tally.cleaned += count
            case "drop":
                self.tally.dropped += count
            case "release":
                if errand.lane.port.release is None:
                    self._left(errand, items)
                    return
                if not errand.delay:
                    errand.lane.returned_at = now()
                self.tally.released += count
                event = ItemsReleased(items=tuple(items), delay=errand.delay, left=False)
            case "bury":  # and only now may it be cleaned up
                self.cleaner.send(Errand("drop", items, errand.lane))
                return
        if self.line.observed:
            dropped = errand.verb == "drop"
            self.line.observers.tell(event or ItemsCleaned(items=tuple(items), dropped=dropped, took=took))

    def _give_up(self, errand: Errand, lost: list[Any], hopeless: list[Any], error: BaseException) -> None:
        """The queue says that it is of no use to try these again."""
        if lost:
            if errand.lane.custody is not None:
                errand.lane.custody.lose(lost)
            self.cleaner.lose(lost, errand.lane, self.tally, done=errand.verb in ("clean", "drop"))
        if hopeless:
            self._again(errand, hopeless, error, final=True)

    def _again(self, errand: Errand, failed: list[Any], error: BaseException, *, final: bool = False) -> None:
        """The call failed for these: once more later, or never."""
        if errand.verb == "bury":  # not lost: it goes back to the queue, and comes here again
            log.error("dead_letter raised, so the item goes back to the queue: %r", error)
            self.line.observers.tell(CallbackFailed(callback="dead_letter", error=repr(error)))
            delay = self.cleaner.delay_of(failed[0], errand.lane)
            behind = self.cleaner.behind(failed[0], errand.lane)
            self.tally.freed += len(behind)
            self.cleaner.send(Errand("release", failed + behind, errand.lane, delay=delay))
            return
        custody = errand.lane.custody
        verb = "release" if errand.verb == "release" else "cleanup"
        attempt, final = errand.attempt, final or errand.attempt >= ATTEMPTS
        level = logging.ERROR if final else logging.WARNING
        facts: dict[str, Any] = {"event": "CleanupFailed", "items": ids_of(failed), "attempt": attempt}
        said = "%s of %d items failed, attempt %d of %d: %r"
        log.log(level, said, verb, len(failed), attempt, ATTEMPTS, error, **facts)
        if not final:
            if custody is not None:
                custody.back(failed)
            again = Errand(errand.verb, failed, errand.lane, delay=errand.delay, attempt=attempt + 1)
            self.cleaner.later(again, FIRST_RETRY * 2 ** (attempt - 1))
        elif verb == "cleanup":
            self.tally.tombstoned += len(failed)
            if custody is not None:
                custody.remember(failed, now())
                custody.ended(failed)
        else:
            if custody is not None:
                custody.ended(failed)
            self._left(errand, failed)
        if self.line.observed:
            self.line.observers.tell(
                CleanupFailed(verb=verb, items=tuple(failed), attempt=attempt, error=repr(error), final=final)
            )

    def _left(self, errand: Errand, items: list[Any]) -> None:
        self.tally.left += len(items)
        if self.line.observed:
            self.line.observers.tell(ItemsReleased(items=tuple(items), delay=errand.delay, left=True))

    def is_abandoned(self) -> bool:
        """True once somebody else accounts for what is in hand."""
        return self.abandoned

    def abandon(self) -> list[Any]:
        """The time is up: account no more for what is in hand. Returns those items."""
        self.abandoned = True
        try:
            self._desk.pop()
        except IndexError:
            self.thread.join(1)  # not in a call, so it sees the flag as soon as it gets to run
        items = [item for errand in self.hand for item in errand.left()]
        for errand in self.hand:
            errand.forget()
        self.hand = []
        return items

    def holds(self) -> list[Any]:
        return [errand.left() for errand in list(self.hand)]


def bury(dead_letter: Callable[[Any, Failure], object], failure: Failure, items: list[Any]) -> None:
    """`dead_letter` takes one item, and only one is given to it at a time."""
    dead_letter(items[0], failure)


def parted(items: list[Any], named: list[Any], *, all_if_none: bool) -> tuple[list[Any], list[Any]]:
    """Those of `items` that a queue named as failed, and the others. One that named none at all means all."""
    failed, done = picked(items, named)
    return (failed, done) if failed or not all_if_none else (items, [])


def picked(items: list[Any], named: list[Any]) -> tuple[list[Any], list[Any]]:
    """Those of `items` that a queue named, and the others.

    Told apart by identity, each name for one item; only a name that is no item of ours may stand for its equal.
    """
    times = Counter(map(id, named))
    failed: list[Any] = []
    done: list[Any] = []
    for item in items:
        ours = times[id(item)] > 0
        times[id(item)] -= ours
        (failed if ours else done).append(item)
    for other in named:
        if times[id(other)] > 0:
            times[id(other)] -= 1
            equal = next((index for index, item in enumerate(done) if equals(item, other)), None)
            if equal is not None:
                failed.append(done.pop(equal))
    return failed, done


def told_of(some: list[Any], items: list[Any], told: list[Any]) -> list[Any]:
    """Our objects for some of those that the queue was told of, which may be newer deliveries."""
    if items is told:
        return some
    ours = {id(delivery): item for item, delivery in zip(items, told, strict=True)}
    return [ours[id(delivery)] for delivery in some]


def equals(one: Any, other: Any) -> bool:
    """`==` of items, which may be of a kind that cannot be compared."""
    try:
        return bool(one == other)
    except Exception:  # as with arrays, of which the answer is another array
        return False
