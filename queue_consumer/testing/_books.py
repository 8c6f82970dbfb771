"""What truly happened to the messages of a queue, written down as it happens, and compared with a ledger."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

from queue_consumer import MemoryQueue, Report, Stats, UsageError
from queue_consumer.memory import MemoryMessage

End: TypeAlias = Literal["cleaned", "released"]


class Books:
    """Of one queue, for one consumer.

    Deliveries are known by the identity of their objects, which are kept, so that no identity comes again.
    """

    def __init__(self, queue: MemoryQueue[Any]) -> None:
        self.lock = threading.Lock()
        self.given: dict[int, Any] = {}
        self._deliveries: dict[Any, list[Any]] = {}  # by the ids of their messages
        self.gone: set[Any] = set()  # messages that are truly cleaned up
        self.confirmed: dict[int, End] = {}  # what the consumer was told
        self._queue = queue
        self._moments = 0
        self._asked: dict[int, int] = {}  # the moment at which the get() began that gave it
        self._ended: dict[int, int] = {}  # the moment at which it was confirmed
        self._told: set[int] = set()  # what extend() named as lost
        self._known: set[int] = set()  # and the consumer knows by now
        self._tried: set[int] = set()  # to end, by whatever verb
        self._extending: Counter[int] = Counter()
        self._findings: list[str] = []

    # What is written down.

    def give(self, get: Callable[[], list[Any]]) -> list[Any]:
        """The consumer is given what this gives."""
        asked = self._moments
        items = get()
        with self.lock:
            for item in items:
                if not isinstance(item, MemoryMessage):
                    raise UsageError(f"a FaultyQueue needs messages, that were put into its queue; got {item!r}")
                self.given[id(item)] = item
                self._deliveries.setdefault(item.id, []).append(item)
                self._asked[id(item)] = asked
        return items

    def confirm(self, items: Iterable[Any], how: End) -> None:
        """The consumer is told that this was done to these."""
        with self.lock:
            self._moments += 1
            for item in items:
                self.confirmed[id(item)] = how
                self._ended[id(item)] = self._moments

    def tell_lost(self, items: Iterable[Any]) -> None:
        """The consumer is told that these are lost."""
        with self.lock:
            self._told.update(map(id, items))

    def find(self, sentence: str) -> None:
        with self.lock:
            self._findings.append(sentence)

    # What a line promises never to do.

    def inspect(self, verb: Literal["cleanup", "release"], items: Sequence[Any]) -> None:
        """Note what is wrong with ending these."""
        with self.lock:
            self._inspect(verb, items)
            self._tried.update(map(id, items))
            for item in items:
                if id(item) in self.confirmed:
                    self._findings.append(
                        f"{verb}() was called with {item!r}, which was {self.confirmed[id(item)]} before"
                    )
                elif id(item) in self._known:
                    self._findings.append(
                        f"{verb}() was called with {item!r}, of which extend() had said that it is lost"
                    )
                if verb == "release" and self._extending[id(item)]:
                    self._findings.append(f"release() was called with {item!r} during an extend() of it")

    def begin_extend(self, items: Sequence[Any]) -> None:
        """Note what is wrong with extending these; they are being extended until it ends."""
        with self.lock:
            # Whoever extends again has heard what came of it the last time.
            self._known |= self._told
            self._inspect("extend", items)
            for item in items:
                # Of a cleanup the consumer may not have heard yet, but no release begins while an extend() may come.
                if self.confirmed.get(id(item)) == "released":
                    self._findings.append(f"extend() was called with {item!r}, which was released before")
                elif id(item) in self._known:
                    self._findings.append(f"extend() was called with {item!r}, of which it had said that it is lost")
            self._extending.update(map(id, items))

    def end_extend(self, items: Sequence[Any]) -> None:
        with self.lock:
            self._extending.subtract(map(id, items))

    def _inspect(self, verb: str, items: Sequence[Any]) -> None:
        if not items:
            self._findings.append(f"{verb}() was called with no items")
        if len({id(item) for item in items}) < len(items):
            self._findings.append(f"{verb}() was called with the same item twice")
        for item in items:
            if self.given.get(id(item)) is not item:
                self._findings.append(f"{verb}() was called with an object that get() never gave: {item!r}")

    # What is read off.

    def lines(self) -> dict[str, list[Any]]:
        """The ids of the messages of each group, in the order in which they were first given."""
        lines: dict[str, dict[Any, None]] = {}
        with self.lock:
            for item in self.given.values():
                if item.group is not None:
                    lines.setdefault(item.group, {})[item.id] = None
        return {group: list(ids) for group, ids in lines.items()}

    def compare(
        self, report: Report | Stats, handled: Iterable[Any] | None, *, let_go: int, takes_back: bool
    ) -> list[str]:
        """What is wrong, each thing a sentence. `takes_back`: the consumer found a release."""
        stats = report.stats if isinstance(report, Report) else report
        with self.lock:
            findings = list(self._findings)
            confirmed = Counter(self.confirmed.values())
            both = set(self._crossed())
            crossed = Counter(self.confirmed[key] for key in both)
            if not stats.balanced:
                findings.append(f"the ledger does not balance: {stats}")
            if stats.received != len(self.given):
                findings.append(
                    f"the ledger says that {stats.received} were received, and get() gave {len(self.given)}"
                )
            says: tuple[tuple[str, End, int], ...] = (
                ("cleaned up (or dropped)", "cleaned", stats.cleaned + stats.dropped),
                ("released", "released", stats.released),
            )
            for name, how, theirs in says:
                ours = confirmed[how]
                if not ours - crossed[how] <= theirs <= ours:
                    findings.append(f"the ledger says that {theirs} were {name}, and the queue was asked for {ours}")
            findings += self._false_losses(stats, let_go + len(both), takes_back)
            findings += self._false_duplicates(stats, both)
            findings += self._missing(stats)
            if handled is not None:
                findings += self._false_receipts(handled)
        return findings

    def _crossed(self) -> Iterator[int]:
        """What had an end and was lost at the same time: both are true, and the consumer counts one of them.

        While a call that ends it was under way, another delivery of the message came, or `extend` no longer found it.
        """
        for key, how in self.confirmed.items():
            newer = [self._asked[id(other)] for other in self._newer(self.given.get(key))]
            # A message that is cleaned up does not come again: if it did, it was on its way.
            if key in self._told or any(how == "cleaned" or asked < self._ended[key] for asked in newer):
                yield key

    def _newer(self, item: Any) -> list[Any]:
        """Later deliveries of the same message."""
        if item is None:  # it was never given
            return []
        return [other for other in self._deliveries[item.id] if other.attempt > item.attempt]

    def _false_losses(self, stats: Stats, let_go: int, takes_back: bool) -> Iterator[str]:
        """Lost is what extend() said so of, or what came again before it had ended; or what nobody holds any more."""
        open_ = [item for key, item in self.given.items() if key not in self.confirmed]
        lost = [item for item in open_ if id(item) in self._told or self._newer(item)]
        # What the consumer tried to end in vain is tombstoned or left, if that was before it was lost.
        least = len([item for item in lost if id(item) not in self._tried])
        least -= stats.abandoned + stats.in_flight + (0 if takes_back else stats.left)
        if stats.lost < least:
            yield f"the ledger says that {stats.lost} were lost, and {least} were, that had no other end"
        # Only a queue with leases can lose something without anybody hearing of it.
        unheard = [item for item in open_ if self._queue.lease is not None and not self._queue.holds(item)]
        most = len({id(item) for item in (*lost, *unheard)}) + let_go
        if stats.lost > most:
            yield f"the ledger says that {stats.lost} were lost, and {most} at most can have been"

    def _false_duplicates(self, stats: Stats, both: set[int]) -> Iterator[str]:
        """What comes again because it was released is no duplicate."""
        back = {key for key, how in self.confirmed.items() if how == "released"} - both
        ended = {(item.id, item.attempt) for key, item in self.given.items() if key in back}
        again = [item for item in self.given.values() if item.attempt > 1 and (item.id, item.attempt - 1) not in ended]
        if stats.duplicates > len(again):
            yield f"the ledger says that {stats.duplicates} were duplicates, and {len(again)} can have been"

    def _missing(self, stats: Stats) -> Iterator[str]:
        """Everything that was put is cleaned up, or in the queue, or held because the consumer says so."""
        now = self._queue.stats()
        missing = now["put"] - now["cleaned"] - now["buried"] - now["waiting"] - now["delayed"] - now["in_flight"]
        if missing:
            yield f"{missing} messages are neither cleaned up nor in the queue"
        excused = stats.left + stats.tombstoned + stats.lost + stats.abandoned + stats.in_flight
        if now["in_flight"] > excused:
            yield (
                f"the queue still waits for the fate of {now['in_flight']} items, "
                f"and the ledger says that it should be {excused} at most"
            )

    def _false_receipts(self, handled: Iterable[Any]) -> Iterator[str]:
        done = Counter(one.id if isinstance(one, MemoryMessage) else one for one in handled)
        false = sorted(map(str, self.gone - done.keys()))
        if false:
            yield f"{len(false)} were cleaned up, and no handler had done them: {', '.join(false[:10])}"
        deliveries = Counter(item.id for item in self.given.values())
        often = [
            f"{key} ({done[key]} times, delivered {deliveries[key]})" for key in done if done[key] > deliveries[key]
        ]
        if often:
            yield f"{len(often)} were handled more often than they were delivered: {', '.join(often[:10])}"
