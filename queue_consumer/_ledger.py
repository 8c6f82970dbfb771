"""Every item's fate, counted once.

Counters have one writer each, the thread that does the deed, and are summed by whoever asks; that is why an item
costs no lock. `in_flight` is not computed from them: it is counted from what the stations hold, so that the
equation of the ledger can fail, and is a check.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ._lifecycle import State

ENDS = ("cleaned", "dropped", "released", "left", "tombstoned", "lost", "abandoned")


class Tally:
    """One thread's counts. `freed`: items that gave back their room, being consumed or ended."""

    __slots__ = (*ENDS, "duplicates", "failed", "freed", "received")

    def __init__(self) -> None:
        self.received = self.freed = self.failed = self.duplicates = 0
        self.cleaned = self.dropped = self.released = self.left = self.tombstoned = self.lost = self.abandoned = 0

    def ended(self) -> int:
        return self.cleaned + self.dropped + self.released + self.left + self.tombstoned + self.lost + self.abandoned


class Ledger:
    """All the tallies of one consumer."""

    def __init__(self) -> None:
        self._gone = Tally()
        self._tallies = [self._gone]
        self._folding = threading.Lock()

    def open(self) -> Tally:
        """A new page for a new writer."""
        tally = Tally()
        with self._folding:
            self._tallies = [*self._tallies, tally]
        return tally

    def fold(self, tally: Tally) -> None:
        """Its writer has ended: add its page to those of the others who have, so that the book stays thin."""
        with self._folding:
            gone = Tally()
            for name in Tally.__slots__:
                setattr(gone, name, getattr(self._gone, name) + getattr(tally, name))
            # A new page and one step, so that whoever sums meanwhile counts nothing twice.
            kept = [other for other in self._tallies if other is not tally and other is not self._gone]
            self._gone, self._tallies = gone, [gone, *kept]

    def total(self, name: str) -> int:
        return sum([getattr(tally, name) for tally in self._tallies])

    def ended(self) -> int:
        return sum([tally.ended() for tally in self._tallies])

    def outstanding(self) -> int:
        """Items received whose room is not yet given back."""
        return sum([tally.received - tally.freed for tally in self._tallies])

    def backlog(self) -> int:
        """Items that gave back their room and have not ended: they wait for the cleaner."""
        return sum([tally.freed - tally.ended() for tally in self._tallies])

    def settled(self) -> bool:
        """True if there was a moment, during this call, when no item was in flight.

        The ends are summed first: both sums only grow and no item ends before it is received, so if they are equal
        they were so at the moment between.
        """
        ended = self.ended()
        return ended == sum([tally.received for tally in self._tallies])


@dataclass(frozen=True, kw_only=True)
class Stats:
    """A snapshot of the ledger and of the line.

    `received = cleaned + dropped + released + left + tombstoned + lost + abandoned + in_flight` holds exactly when
    nothing moves, and in every report.

    Attributes:
        fetching: "yes", or why not.
        idle: seconds since there was last anything to do.
        queue: what the queue's own `stats()` says.
    """

    state: State
    received: int = 0
    cleaned: int = 0
    dropped: int = 0
    released: int = 0
    left: int = 0
    tombstoned: int = 0
    lost: int = 0
    abandoned: int = 0
    in_flight: int = 0
    failed: int = 0
    duplicates: int = 0
    revived: int = 0
    stuck: int = 0
    fetching: str = "yes"
    idle: float = 0.0
    queue: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def ended(self) -> int:
        """Items that have reached their end state."""
        return sum(getattr(self, name) for name in ENDS)

    @property
    def balanced(self) -> bool:
        """True if the ledger's equation holds."""
        return self.received == self.ended + self.in_flight

    def __str__(self) -> str:
        counts = " ".join(f"{name}={getattr(self, name)}" for name in ("received", *ENDS) if getattr(self, name))
        beside = " ".join(f"{name}={getattr(self, name)}" for name in BESIDE if getattr(self, name))
        return f"{self.state.value}: {counts or 'nothing received'} in_flight={self.in_flight}" + (
            f" ({beside})" if beside else ""
        )


BESIDE = ("failed", "duplicates", "revived", "stuck")


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """Items that were still somewhere when the time was up. `stack`: where the thread that holds them stands."""

    where: str
    items: tuple[Any, ...]
    stack: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """How a consumer ended.

    Attributes:
        stats: the last snapshot.
        balanced: the ledger's equation holds.
        leftovers: what was abandoned, and where.
        forced: the handlers that still held something at the deadline, and were ended by force or abandoned.
        durations: seconds that each part of the shutdown took.
        provisional: asked for on a thread of the line itself, which cannot wait for its own end.
    """

    stats: Stats
    balanced: bool
    leftovers: tuple[Leftover, ...] = ()
    forced: tuple[str, ...] = ()
    durations: Mapping[str, float] = field(default_factory=dict[str, float])
    provisional: bool = False

    def __str__(self) -> str:
        lines = [str(self.stats) + ("" if self.balanced else " - THE LEDGER DOES NOT BALANCE")]
        lines += [f"left behind in {left.where}: {len(left.items)} items" for left in self.leftovers]
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What `run_once` did: items consumed and cleaned up (or dropped), and items that were not."""

    succeeded: int = 0
    failed: int = 0

    @classmethod
    def of(cls, stats: Stats) -> Result:
        done = stats.cleaned + stats.dropped
        return cls(succeeded=done, failed=stats.received - done)
