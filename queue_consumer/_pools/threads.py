"""Handlers in threads of our own.

Not `concurrent.futures`, whose threads keep the interpreter from exiting while one of them is stuck, and whose
hand-over costs twenty times as much as the loop below.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import Any

from .._chunk import Chunk, Feed, Receipt, Receipts, raised, returned
from .._current import entered
from .._events import ChunkStarted
from .._line import Line, now
from .._settling import Settling
from ._workers import Handler


class ThreadHandler(Handler):
    """A thread that handles chunks."""

    replaceable = "stand-in"

    def __init__(
        self,
        line: Line,
        name: str,
        settling: Settling,
        handler: Callable[[Any], object],
        receipt: Receipt,
        initializer: Callable[[], object] | None,
        context: contextvars.Context,
    ) -> None:
        super().__init__(line, name, settling)
        self._handler = handler
        self._explicit = receipt == "explicit"
        self._initializer = initializer
        self._context = entered(context, self.held)

    def run(self) -> None:
        """The hot loop: everything that is done for every chunk stands here, and nothing else."""
        if self._initializer is not None:
            self._context.copy().run(self._initializer)
        line, belt = self.line, self.line.belt
        next_parcel, waiting, dry = belt.next, belt.waiting, belt.dry
        held, tally, cleaner, lane = self.held, self.tally, self.settling.cleaner, line.lane
        handler, context = self._handler, self._context
        cleans = lane.port.cleanup is not None
        plain = not self._explicit and not line.observers
        chunk = Chunk([], lane)
        while True:  # and not on a condition: CPython 3.11 speeds up only loops that jump back without one
            if self.retired:
                return
            try:
                parcel = next_parcel()
            except IndexError:
                idle = self.take()
                if idle is None:
                    return
                parcel = idle
            if dry and len(waiting) <= belt.low:
                belt.let_in()
            if type(parcel) is list and plain:
                items = parcel
                if chunk.exhausted:  # nobody can hold its iterator any more, so it may serve again
                    chunk.exhausted = False
                    chunk.taken = 0
                    chunk.items = items
                else:
                    chunk = Chunk(items, lane)
                held.append(chunk)
                count = len(items)
                try:
                    result = context.copy().run(handler, chunk.feed_one() if count == 1 else chunk.feed())
                except BaseException as error:
                    self._settle(chunk, raised(error, {}))
                    chunk = Chunk([], lane)
                    continue
                if result is None and chunk.taken == count:
                    # Everything is consumed, as nearly always: no verdict needed.
                    try:
                        held.pop()
                    except IndexError:
                        return  # somebody else has accounted for it
                    tally.freed += count
                    if cleans:
                        cleaner.done.append(items)
                        if cleaner.asleep:
                            cleaner.wake()
                    else:
                        tally.cleaned += count
                        if line.watching:
                            line.quietened()
                else:
                    self._settle(chunk, returned(result, items, {}))
                    chunk = Chunk([], lane)
            else:
                self._watched_call(self.chunk_of(parcel))

    def _watched_call(self, chunk: Chunk) -> None:
        """A call with explicit receipts, or with somebody listening."""
        began = now()
        self.held.append(chunk)
        if self.line.observers:
            self.line.observers.tell(
                ChunkStarted(worker=self.name, items=tuple(chunk.items), on_belt=began - chunk.at)
            )
        feed = Receipts[Any](chunk) if self._explicit else Feed[Any](chunk)
        try:
            result = self._context.copy().run(self._handler, feed)
        except BaseException as error:
            ending = raised(error, feed.decided)
        else:
            ending = returned(result, chunk.items, feed.decided)
        self._settle(chunk, ending, now() - began)

    def _settle(self, chunk: Chunk, ending: Any, took: float = 0.0) -> None:
        try:
            self.held.pop()
        except IndexError:
            return  # somebody else has accounted for it
        chunk.halted = chunk.halted or chunk.taken < len(chunk.items)  # the iterator dies with its call
        self.settling.settle(chunk, ending, self.tally, self.name, took)
