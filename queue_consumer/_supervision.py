"""Decide what to do about the dead and the stuck.  Decides; does nothing: no thread, no clock, no queue.

The supervisor looks round the line, notes a `Sighting` of every worker, and passes them with the time to
`Watch.look`, which answers with orders. Delays grow as 0.1 s times 2 to the n with full jitter, so that a crash
loop is never hot and a fleet does not revive in step; a worker that had got something done is replaced at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from ._errors import CrashLoop, StuckHandlers, SupervisionError


@dataclass(frozen=True, kw_only=True)
class Supervision:
    """How the line is minded. Times are seconds.

    Attributes:
        polling_time: between two looks round the line; deaths are seen at once, but for that of a child that has
            nothing to do.
        stuck_time: busy with one item for so long is stuck. None: 60, and a stuck handler is only said aloud. If set:
            a process is killed and replaced, a task is cancelled, a thread's place is given to a new thread.
        stuck_limit: so many may be stuck at once before the consumer gives up; None: `max_handlers`.
        max_restarts: so many restarts of one worker within `restart_window` before the consumer gives up; None: any.
        restart_base: the delay of the first restart in a row.
        restart_limit: the longest delay of a restart.
        quiet_time: alive for so long, and the next death is a first one again.
        stall_time: nothing moved for so long though it could is said aloud.
        recycle_after: a pool process is replaced after so many items; None: never.
        recycle_memory: a pool process is replaced when its peak memory exceeds so many bytes; None: never.
        max_lease_age: leases are renewed until an item was held for so long; None: to its end.
    """

    polling_time: float = 1.0
    stuck_time: float | None = None
    stuck_limit: int | None = None
    max_restarts: int | None = None
    restart_window: float = 60.0
    restart_base: float = 0.1
    restart_limit: float = 30.0
    quiet_time: float = 60.0
    stall_time: float = 30.0
    recycle_after: int | None = None
    recycle_memory: int | None = None
    max_lease_age: float | None = None

    def __post_init__(self) -> None:
        for name in ("polling_time", "restart_window", "restart_limit", "quiet_time", "stall_time", "restart_base"):
            check_seconds(f"Supervision: {name}", getattr(self, name))
        check_seconds("Supervision: stuck_time", self.stuck_time, optional=True)
        check_seconds("Supervision: max_lease_age", self.max_lease_age, optional=True)
        for name, least in (("stuck_limit", 0), ("max_restarts", 0), ("recycle_after", 1), ("recycle_memory", 1)):
            check_whole(f"Supervision: {name}", getattr(self, name), least=least, optional=True)

    def but(self, **changes: Any) -> Supervision:
        return replace(self, **changes)


def check_seconds(name: str, value: Any, *, optional: bool = False, zero: bool = False) -> None:
    """Refuse what is not a number of seconds above 0 (or from 0 on), in a sentence."""
    allowed = f"a number of seconds {'of at least' if zero else 'above'} 0" + (", or None" if optional else "")
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be {allowed}; got {value!r}")
    if not (value >= 0 if zero else value > 0) or value == float("inf"):
        raise ValueError(f"{name} must be {allowed}; got {value!r}")


def check_whole(name: str, value: Any, *, least: int, optional: bool = False) -> None:
    """Refuse what is not a whole number from `least` on, in a sentence."""
    allowed = f"a whole number of at least {least}" + (", or None" if optional else "")
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be {allowed}; got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be {allowed}; got {value!r}")


class Sighting(NamedTuple):
    """How one worker was found.

    Attributes:
        place: its name; a replacement has the same.
        alive: False if it has ended though it should not have.
        error: why, in words.
        productive: it had consumed something since its start.
        busy: what tells its present item from the next one (compared with `==`); None if it has none.
        replaceable: "always" (a process, a task), or "stand-in" (a thread: only its place can be given away).
        place_lost: a thread whose place was given away already; it still counts as stuck.
    """

    place: str
    alive: bool = True
    error: str = ""
    productive: bool = False
    busy: Any = None
    replaceable: Literal["always", "stand-in"] = "always"
    place_lost: bool = False


class Died(NamedTuple):
    """Say that this worker died, and will be revived in `delay` seconds."""

    place: str
    error: str
    delay: float


class Revive(NamedTuple):
    """Put a new worker into this place."""

    place: str
    restarts: int


class Stuck(NamedTuple):
    """Say that this worker is stuck. `replace`: and free its place of it."""

    place: str
    seconds: float
    limit: Literal["stuck_time", "time_limit"]
    replace: bool


class GiveUp(NamedTuple):
    """Stop the consumer and raise this."""

    error: SupervisionError


Order = Died | Revive | Stuck | GiveUp


@dataclass(slots=True)
class Memory:
    """What is remembered of one place."""

    restarts: int = 0  # in a row, without a quiet time between
    revived_at: float | None = None
    due: float | None = None
    deaths: list[float] = field(default_factory=list[float])
    busy: Any = None
    since: float = 0.0
    said: set[str] = field(default_factory=set[str])


class Watch:
    """The supervisor's mind: what it has seen, and what follows from it."""

    def __init__(
        self,
        policy: Supervision,
        *,
        time_limit: float | None,
        stuck_limit: int,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.policy = policy
        self._time_limit = time_limit
        self._stuck_limit = stuck_limit
        self._jitter = jitter
        self._memory: dict[str, Memory] = {}

    def look(self, sightings: Iterable[Sighting], now: float) -> list[Order]:
        orders: list[Order] = []
        stuck = 0
        seen: set[str] = set()
        for sighting in sightings:
            if sighting.place_lost:
                stuck += 1
                continue
            seen.add(sighting.place)
            memory = self._memory.setdefault(sighting.place, Memory())
            if not sighting.alive:
                orders += self._dead(sighting, memory, now)
            else:
                found = self._busy(sighting, memory, now)
                orders += found
                stuck += any(order.limit == "stuck_time" for order in found) or "stuck_time" in memory.said
        for place in self._memory.keys() - seen:
            del self._memory[place]
        limit = self._stuck_limit if self.policy.stuck_limit is None else self.policy.stuck_limit
        if self.policy.stuck_time is not None and stuck > limit:
            orders.append(GiveUp(StuckHandlers(stuck, limit)))
        return orders

    def next_due(self, now: float) -> float:
        """Seconds until there is something to look at, but for deaths."""
        wait = self.policy.polling_time
        for memory in self._memory.values():
            if memory.due is not None:
                wait = min(wait, memory.due - now)
        for limit in (self.policy.stuck_time, self._time_limit):
            if limit is not None:
                wait = min(wait, limit / 4)  # so it is seen at most a quarter late
        return max(wait, 0.001)

    def expect(self, handlers: int) -> None:
        """From now on so many may be stuck, unless the policy says how many."""
        self._stuck_limit = handlers

    def busy_for(self, place: str, busy: Any, now: float) -> float:
        """For how long this worker has been seen busy with just this."""
        memory = self._memory.get(place)
        return now - memory.since if memory is not None and busy is not None and memory.busy == busy else 0.0

    def is_stuck(self, place: str, busy: Any) -> bool:
        """Whether it has been said that this worker is stuck with just this."""
        memory = self._memory.get(place)
        return memory is not None and memory.busy == busy and "stuck_time" in memory.said

    def due(self, place: str) -> float | None:
        """When this place is revived, on the clock that `look` is told; None if nobody has died there."""
        memory = self._memory.get(place)
        return None if memory is None else memory.due

    def _dead(self, sighting: Sighting, memory: Memory, now: float) -> list[Order]:
        if memory.due is None:  # news
            quiet = memory.revived_at is None or now - memory.revived_at >= self.policy.quiet_time
            if quiet or sighting.productive:
                memory.restarts = 0
            memory.deaths = [at for at in memory.deaths if now - at < self.policy.restart_window] + [now]
            most = self.policy.max_restarts
            if most is not None and len(memory.deaths) > most:
                error = CrashLoop(sighting.place, len(memory.deaths), self.policy.restart_window, sighting.error)
                memory.due = float("inf")
                return [Died(sighting.place, sighting.error, memory.due), GiveUp(error)]
            delay = 0.0 if sighting.productive else self._delay(memory.restarts)
            memory.due = now + delay
            memory.busy, memory.said = None, set()
            if delay:
                return [Died(sighting.place, sighting.error, delay)]
            return [Died(sighting.place, sighting.error, delay), self._revive(sighting, memory, now)]
        if now >= memory.due:
            return [self._revive(sighting, memory, now)]
        return []

    def _revive(self, sighting: Sighting, memory: Memory, now: float) -> Order:
        memory.due = None
        memory.restarts += 1
        memory.revived_at = now
        return Revive(sighting.place, memory.restarts)

    def _delay(self, restarts: int) -> float:
        # The exponent is bounded, so that a year of restarts cannot overflow.
        doubled = self.policy.restart_base * float(2 ** min(restarts, 30))
        return self._jitter() * min(self.policy.restart_limit, doubled)

    def _busy(self, sighting: Sighting, memory: Memory, now: float) -> list[Stuck]:
        if sighting.busy is None or sighting.busy != memory.busy:
            memory.busy, memory.since, memory.said = sighting.busy, now, set()
            return []
        seconds = now - memory.since
        found: list[Stuck] = []
        can = sighting.replaceable == "always"
        if self._time_limit is not None and seconds >= self._time_limit and "time_limit" not in memory.said:
            memory.said.add("time_limit")
            found.append(Stuck(sighting.place, seconds, "time_limit", replace=can))
        stuck_time = 60.0 if self.policy.stuck_time is None else self.policy.stuck_time
        if seconds >= stuck_time and "stuck_time" not in memory.said:
            memory.said.add("stuck_time")
            found.append(Stuck(sighting.place, seconds, "stuck_time", replace=self.policy.stuck_time is not None))
        return found
