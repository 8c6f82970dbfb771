"""The stations of a line, put side by side as the options say."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator
from typing import Any

from ._arguments import Options
from ._belt import Belt
from ._cleaner import Cleaner
from ._events import Observers
from ._getter import Getter
from ._ledger import Ledger
from ._line import Lane, Line
from ._loops import Loop
from ._pools._workers import Pool
from ._pools.threads import ThreadHandler
from ._settling import Settling
from ._supervision import Supervision


class Stations:
    """One line: the belt, what decides on items, what cleans them up; and the makers of getters and pools."""

    def __init__(self, options: Options, lane: Lane, ledger: Ledger, observers: Observers, loop: Loop) -> None:
        self.options = options
        self._loop = loop
        belt = Belt(ledger, lane=lane, handlers=options.handlers, size=options.size, prefetch=options.prefetch)
        self.line = Line(lane=lane, ledger=ledger, belt=belt, observers=observers)
        self.settling = Settling(
            self.line, receipt=options.receipt, backoff=options.backoff, max_attempts=options.max_attempts
        )
        self.cleaner = self.settling.cleaner = Cleaner(
            self.line, most=options.getters, dead_letter=options.dead_letter, delay_of=self.settling.delay_of
        )

    def getter(self, name: str) -> Getter:
        return Getter(self.line, name, self.cleaner, self.options.pause)

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
