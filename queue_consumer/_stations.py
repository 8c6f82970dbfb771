"""The stations of a line, put side by side as the options say."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ._arguments import Options
from ._belt import Belt
from ._cleaner import Cleaner
from ._events import Observers
from ._getter import Getter
from ._keeper import Keeper
from ._lanes import Sorter
from ._ledger import Ledger
from ._line import Lane, Line, now
from ._loops import Loop
from ._pools._workers import Pool
from ._pools.threads import ThreadHandler
from ._settling import Settling
from ._supervision import Supervision


class Stations:
    """One line: the belt, what decides on items, cleans them up, renews leases; and the makers of getters and pools."""

    def __init__(
        self,
        options: Options,
        lanes: Sequence[Lane],
        ledger: Ledger,
        observers: Observers,
        loop: Loop,
        closes: Sequence[Callable[[], Any]],
    ) -> None:
        self.options = options
        self.closes = closes
        self._loop = loop
        keyed = any(lane.key is not None for lane in lanes)
        belt = Belt(
            ledger,
            lane=lanes[0],
            handlers=options.handlers,
            size=options.size,
            prefetch=options.prefetch,
            sorter=Sorter(lanes, options.lane_policy, options.size, now) if len(lanes) > 1 or keyed else None,
            parallel=len(lanes) > 1,
            lingering=[lane for lane in lanes if lane.port.cleanup_linger],
        )
        self.line = Line(lanes=lanes, ledger=ledger, belt=belt, observers=observers)
        self.settling = Settling(
            self.line, receipt=options.receipt, backoff=options.backoff, max_attempts=options.max_attempts
        )
        self.cleaner = self.settling.cleaner = Cleaner(
            self.line, most=options.getters, dead_letter=options.dead_letter, delay_of=self.settling.delay_of
        )
        self.keeper = Keeper(self.line, self.settling)

    def getters(self) -> list[Getter]:
        """As many as the options say; of several lanes, at least one for each; of one with keys, one."""
        made: list[Getter] = []
        for lane in self.line.lanes:
            count = 1 if lane.key is not None else max(1, self.options.getters // len(self.line.lanes))
            prefix = "getter" if len(self.line.lanes) == 1 else f"getter-{lane.name}"
            made += [self.getter(f"{prefix}-{number + 1}", lane) for number in range(count)]
        return made

    def getter(self, name: str, lane: Lane) -> Getter:
        return Getter(self.line, lane, name, self.settling, self.options.pause)

    def pool(self, context: contextvars.Context, policy: Supervision) -> Pool:
        """The pool of the options, not started. `context`: what every handler call gets a copy of."""
        options, line, settling = self.options, self.line, self.settling
        match options.pool:
            case "threads":
                return Pool(lambda name: ThreadHandler(line, name, settling, options, context), options.handlers)
            case "coroutines":
                from ._pools.coroutines import TaskHandler

                return Pool(
                    lambda name: TaskHandler(line, name, settling, options, context, self._loop), options.handlers
                )
            case "processes":
                from ._pools.processes import ProcessPool

                return ProcessPool(line, settling, options, policy)

    def holds(self) -> Iterator[list[Any]]:
        """The items that wait on the belt and for the cleaner, for the ledger's count."""
        yield from self.line.belt.holds()
        yield from self.cleaner.holds()
