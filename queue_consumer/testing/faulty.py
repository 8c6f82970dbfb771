"""A queue that fails as queues do, by a script, and that keeps the books of what truly happened."""

from __future__ import annotations

import queue
import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from queue_consumer import CleanupError, LeaseLost, MemoryQueue, Report, Stats
from queue_consumer.memory import MemoryMessage

from ._books import Books
from .order import Handling, check_order

__all__ = ["CHAOS", "FaultyQueue", "InjectedFault"]

END = "the end of the script"
NO_SCRIPT: Iterator[str | None] = iter(())
Verb: TypeAlias = Literal["get", "cleanup", "release", "extend", "attempt", "identity", "ordering_key", "close"]

FAULTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "get": {
            "raise": "raises, and gives nothing",
            "empty": "raises queue.Empty",
            "none": "returns None, and leaves in the queue what is there",
            "slow": "takes a while",
            "hang": "blocks until it is interrupted, then gives nothing",
            "late": "blocks until it is interrupted, then gives what there is",
            "deaf": "blocks until wake() is called, whoever interrupts it; then gives what there is",
            "break": "gives an iterable that raises after the first items",
            "tuple": "gives a tuple",
            "generator": "gives a generator",
            "deque": "gives a deque",
            "bare": "gives one item, bare",
            "more": "gives more than was asked for",
            "duplicate": "delivers something that is held once more",
        },
        "cleanup": {
            "raise": "raises, and cleans up nothing",
            "partly": "cleans up every other item, and raises CleanupError for the rest",
            "unheard": "cleans up all, and raises nevertheless: the answer was lost",
            "slow": "takes a while",
        },
        "release": {"raise": "raises, and takes nothing back", "slow": "takes a while"},
        "extend": {
            "raise": "raises, and extends nothing",
            "lost": "finds that one item is lost: its lease has ended, and it will be given again",
            "partly": "finds that every other item is lost, and extends the rest",
            "slow": "takes a while",
        },
        "attempt": {"raise": "raises"},
        "identity": {"raise": "raises"},
        "ordering_key": {"raise": "raises"},
        "close": {"raise": "raises"},
    }
)

CHAOS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "get": {
            "raise": 0.02,
            "empty": 0.02,
            "none": 0.02,
            "slow": 0.02,
            "break": 0.02,
            "tuple": 0.1,
            "generator": 0.1,
            "deque": 0.1,
            "bare": 0.05,
            "more": 0.05,
            "duplicate": 0.03,
        },
        "cleanup": {"raise": 0.05, "partly": 0.05, "unheard": 0.02, "slow": 0.02},
        "release": {"raise": 0.02, "slow": 0.02},
        "extend": {"raise": 0.05, "lost": 0.05, "partly": 0.02, "slow": 0.02},
    }
)
"""What goes wrong when only a seed is given, and how often. Nothing in it hangs or lasts for ever, nor makes it
impossible to keep an order, as it is where a key cannot be told."""


class InjectedFault(Exception):
    """Raised by a `FaultyQueue`, because its script says so."""


class FaultyQueue:
    """A `MemoryQueue` whose verbs fail, and which can tell afterwards whether anything was lost.

    Each call of a verb draws its fault: first from the script, call by call, and when that is at its end by
    chance. The same seed gives the same faults in the same order of calls. The faults, by verb, are those of
    the table `FAULTS`. By chance nothing happens to a `get` while there is nothing to be got, so that a line
    over this queue comes to rest.

        queue = FaultyQueue(range(1000), seed=7)
        with Consumer(queue, handler) as consumer:
            consumer.wait_idle()
        queue.reconcile(consumer.shutdown(), handled=ids_that_the_handler_wrote_down)

    Args:
        items: what is put into it, as messages with these bodies; or a `MemoryQueue` of messages. Plain
            items will not do: where two can be the same object, no books can be kept of them.
        seed: what chance starts from. With a seed and no `chances`, those of `CHAOS` hold; without both,
            nothing happens by chance.
        script: for a verb, the faults of its first calls, or without end, of all; "ok" and None are none.
        chances: for a verb, how likely each of its faults is in each call, from 0 to 1.
        stubborn: is asked of each item; where it is true, `cleanup` always fails for the item.
        slow: how many seconds a slow call takes.
        without: names of verbs that this queue is not to have.
        group: the group that each of `items` is put into; None for none.
        bulk, wait, max_attempts, lease, ordered, clock: as for `MemoryQueue`, if one has to be made.

    Attributes:
        queue: the `MemoryQueue` in it.
        injected: how often each fault has happened, by (verb, fault).
        lease, extend, ordering_key: None where the `MemoryQueue` has none.
    """

    extend: Callable[[Sequence[Any], float], None] | None
    ordering_key: Callable[[Any], Any] | None

    def __init__(
        self,
        items: Iterable[Any] | MemoryQueue[Any] = (),
        *,
        seed: int | str | None = None,
        script: Mapping[str, Iterable[str | None]] | None = None,
        chances: Mapping[str, Mapping[str, float]] | None = None,
        stubborn: Callable[[Any], object] | None = None,
        slow: float = 0.02,
        without: Iterable[str] = (),
        group: Callable[[Any], str | None] | None = None,
        **options: Any,
    ) -> None:
        if isinstance(items, MemoryQueue):
            self.queue: MemoryQueue[Any] = items
        else:
            self.queue = MemoryQueue(**options)
            self.queue.put_many([{"body": item, "group": group(item) if group is not None else None} for item in items])
        if chances is None:
            chances = {} if seed is None else CHAOS
        self.seed = seed
        self.injected: Counter[tuple[str, str]] = Counter()
        for verb, faults in {**chances, **(script or {})}.items():
            check_faults(verb, faults if isinstance(faults, Collection) else ())
        self._chances = chances
        self._script = {verb: iter(faults) for verb, faults in (script or {}).items()}
        self._random = {verb: random.Random(f"{seed} {verb}") for verb in FAULTS}
        self._stubborn = stubborn
        self._slow = slow
        self._lock = threading.Lock()
        self._interrupts = threading.Condition()
        self._interrupted = 0
        self._woken = threading.Event()
        self._books = Books(self.queue)
        self._doubled: set[Any] = set()  # messages that were delivered once more
        self._closed = 0
        self.lease = self.queue.lease
        self.extend = self._extend if self.queue.extend is not None else None
        self.ordering_key = self._ordering_key if self.queue.ordering_key is not None else None
        for verb in without:
            setattr(self, verb, None)

    def __repr__(self) -> str:
        return f"<FaultyQueue seed={self.seed!r} {self.queue!r}>"

    # The verbs.

    def get(self, limit: int | None = None) -> Any:
        if self._closed:
            self._books.find("get() was called after close()")
        match self._draw("get"):
            case "raise":
                raise InjectedFault("get")
            case "empty":
                raise queue.Empty
            case "none":
                return None
            case "slow":
                self._pause(self._slow)
            case "hang":
                self._pause(None)
                return []
            case "late":
                self._pause(None)
            case "deaf":
                self._woken.wait()
            case "break":
                return self._breaking(self._take(1 if limit is None else max(1, limit // 2)))
            case "tuple":
                return tuple(self._take(limit))
            case "generator":
                return (item for item in self._take(limit))
            case "deque":
                return deque(self._take(limit))
            case "bare":
                one = self._take(1)
                return one[0] if one else None
            case "more":
                return self._take(None) + self._take_more()
            case "duplicate":
                self._repeat()
            case _:
                pass
        return self._take(limit)

    def interrupt(self) -> None:
        with self._interrupts:
            self._interrupted += 1
            self._interrupts.notify_all()
        self.queue.interrupt()

    def wake(self) -> None:
        """Let go of what blocks because it is deaf, now and from now on."""
        self._woken.set()

    def cleanup(self, items: Sequence[Any]) -> None:
        items = list(items)
        self._books.inspect("cleanup", items)
        fault = self._draw("cleanup")
        if fault == "raise":
            raise InjectedFault("cleanup")
        if fault == "slow":
            self._pause(self._slow)
        failed = [item for item in items if self._stubborn is not None and self._stubborn(item)]
        if fault == "partly":
            failed += [item for item in items[::2] if not among(item, failed)]
        done = [item for item in items if not among(item, failed)]
        failed += self._clean(done)
        if fault == "unheard":
            raise InjectedFault("cleanup: all were cleaned up, and nobody heard of it")
        self._books.confirm([item for item in done if not among(item, failed)], "cleaned")
        if failed:
            raise CleanupError(failed, "as injected, or since they are not held")

    def release(self, items: Sequence[Any], delay: float = 0) -> None:
        items = list(items)
        self._books.inspect("release", items)
        match self._draw("release"):
            case "raise":
                raise InjectedFault("release")
            case "slow":
                self._pause(self._slow)
            case _:
                pass
        self.queue.release(items, delay)
        self._books.confirm(items, "released")

    def _extend(self, items: Sequence[Any], seconds: float) -> None:
        items = list(items)
        self._books.begin_extend(items)
        try:
            match self._draw("extend"):
                case "raise":
                    raise InjectedFault("extend")
                case "lost":
                    self.queue.expire(self._random["extend"].sample(items, min(1, len(items))))
                case "partly":
                    self.queue.expire(items[::2])
                case "slow":
                    self._pause(self._slow)
                case _:
                    pass
            assert self.queue.extend is not None
            self.queue.extend(items, seconds)
        except LeaseLost as error:
            self._books.tell_lost(error.items)
            raise
        finally:
            self._books.end_extend(items)

    def attempt(self, item: Any) -> int:
        if self._draw("attempt") == "raise":
            raise InjectedFault("attempt")
        return self.queue.attempt(item)

    def identity(self, item: Any) -> Any:
        if self._draw("identity") == "raise":
            raise InjectedFault("identity")
        return self.queue.identity(item)

    def _ordering_key(self, item: Any) -> Any:
        if self._draw("ordering_key") == "raise":
            raise InjectedFault("ordering_key")
        assert self.queue.ordering_key is not None
        return self.queue.ordering_key(item)

    def stats(self) -> dict[str, int]:
        return self.queue.stats()

    def close(self) -> None:
        self._closed += 1
        if self._closed > 1:
            self._books.find("close() was called more than once")
        if self._draw("close") == "raise":
            raise InjectedFault("close")
        self.queue.close()

    # The books.

    @property
    def delivered(self) -> int:
        """How many items `get` gave, those that came again included."""
        return len(self._books.given)

    @property
    def cleaned(self) -> set[Any]:
        """The ids of the messages that are truly cleaned up."""
        with self._books.lock:
            return set(self._books.gone)

    def reconcile(self, report: Report | Stats, handled: Iterable[Any] | None = None, *, let_go: int = 0) -> None:
        """Compare what a consumer says with what truly happened, after it has stopped.

        Every object that `get` gave was received. Of those that came again while an older delivery of the same
        message was still with the consumer, the older one is lost, and so is what `extend` said so of. Lost ones are
        neither cleaned up nor released, unless a call to do that was under way already: then it may be counted as
        either. What was done with already is cleaned up when it comes again.

        Args:
            report: what the only consumer of this queue says.
            handled: what the handlers wrote down: a message, or its `id`, each time that one was done with (or
                dropped), in whatever process. Then it is also checked that nothing was cleaned up that they
                had not done, and that nothing was handled more often than it was delivered.
            let_go: how many items at most the consumer gave up of its own accord, since their leases were too old:
                it calls them lost, and the queue does not know.

        Raises:
            AssertionError: they differ; each difference is a sentence.
        """
        takes_back = callable(getattr(self, "release", None))
        findings = self._books.compare(report, handled, let_go=let_go, takes_back=takes_back)
        if findings:
            raise AssertionError("\n".join([f"{self!r} does not reconcile:", *findings]))

    def check_order(self, handled: Iterable[Iterable[Any]], *, buried: Iterable[Any] = ()) -> None:
        """See whether the handlers kept the order of each group, in which `get` first gave its messages.

        Of each group one is handled at a time; and none before all that were given before it have been done once.

        Args:
            handled: what the handlers wrote down: `Handling`s, or tuples of the same: a message or its `id`, when
                it was begun and when it was over, and if it failed, False.
            buried: messages, or their ids, that the consumer gave up: those behind them need not wait for them. Those
                in the dead letters of the queue are known.

        Raises:
            AssertionError: they did not; each case is a sentence.
        """
        dead = [] if isinstance(self.queue.dead_letters, MemoryQueue) else self.queue.dead_letters
        grouped = self._books.lines()
        known = {id for line in grouped.values() for id in line}
        times = [Handling(id_of(one), *rest) for one, *rest in handled]
        check_order(
            [handling for handling in times if handling.id in known],
            grouped,
            buried={id_of(one) for one in (*buried, *dead)},
        )

    # How it is done.

    def _draw(self, verb: Verb) -> str | None:
        """What goes wrong with this call."""
        with self._lock:
            fault = next(self._script.get(verb, NO_SCRIPT), END)
            if fault == END:
                fault = self._by_chance(verb)
            check_faults(verb, [fault])
            if fault is None or fault == "ok":
                return None
            self.injected[verb, fault] += 1
            return fault

    def _by_chance(self, verb: Verb) -> str | None:
        chances = self._chances.get(verb)
        if not chances:
            return None
        point = self._random[verb].random()
        if verb == "get" and self.queue.empty():
            return None
        for fault, chance in chances.items():
            point -= chance
            if point < 0:
                return fault
        return None

    def _take(self, limit: int | None) -> list[Any]:
        return self._books.give(lambda: self.queue.get(limit))

    def _take_more(self) -> list[Any]:
        return [] if self.queue.empty() else self._books.give(self.queue.get)

    def _breaking(self, items: list[Any]) -> Iterator[Any]:
        yield from items
        raise InjectedFault("get: the iterable broke")

    def _repeat(self) -> None:
        with self._books.lock:
            held = [
                item
                for key, item in self._books.given.items()
                if key not in self._books.confirmed and item.id not in self._books.gone | self._doubled
            ]
            chosen = self._random["get"].choice(held) if held else None
            if chosen is not None:
                self._doubled.add(chosen.id)  # once is enough, or one that is never cleaned up would come for ever
        if chosen is not None:
            try:
                self.queue.redeliver(chosen)
            except Exception:
                pass  # it ended in this very moment

    def _clean(self, items: list[Any]) -> list[Any]:
        """Clean up for good; those that cannot be, since they are not held."""
        with self._books.lock:
            # What is gone is forgiven, as brokers do: the consumer may not have heard of it.
            fresh = [item for item in items if item.id not in self._books.gone]
            refused: list[Any] = []
            try:
                if fresh:
                    self.queue.cleanup(fresh)
            except CleanupError as error:
                refused = error.failed
            self._books.gone.update(item.id for item in fresh if not among(item, refused))
        return refused

    def _pause(self, seconds: float | None) -> None:
        """Wait so long, or until interrupted."""
        with self._interrupts:
            before = self._interrupted
            self._interrupts.wait_for(lambda: self._interrupted != before, seconds)


def among(item: Any, items: list[Any]) -> bool:
    """Whether it is one of these very objects."""
    return any(item is one for one in items)


def id_of(one: Any) -> Any:
    """The id of a message, or that id."""
    return one.id if isinstance(one, MemoryMessage) else one


def check_faults(verb: str, faults: Iterable[str | None]) -> None:
    """Refuse faults that there are not: a misspelt one would test nothing."""
    if verb not in FAULTS:
        raise ValueError(f"FaultyQueue: no faults are known of {verb!r}; of these they are: {', '.join(FAULTS)}")
    for fault in faults:
        if fault not in (None, "ok", *FAULTS[verb]):
            raise ValueError(f"FaultyQueue: {verb} has no fault {fault!r}; it has: ok, {', '.join(FAULTS[verb])}")
