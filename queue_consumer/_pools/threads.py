"""Handlers in threads of our own.

Not `concurrent.futures`, whose threads keep the interpreter from exiting while one of them is stuck, and whose
hand-over costs twenty times as much as the loop below.
"""

from __future__ import annotations

import contextvars
from typing import Any

from .._arguments import Options
from .._chunk import Chunk, Fate, Receipts, raised, returned
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
        options: Options,
        context: contextvars.Context,
    ) -> None:
        super().__init__(line, name, settling)
        self._handler = options.handler
        self._explicit = options.receipt == "explicit"
        self._initializer = options.initializer
        self._context = entered(context, self.held)

    def run(self) -> None:
        """The hot loop: all that is done for a chunk of one stands here, and nothing else."""
        if self._initializer is not None:
            self._context.copy().run(self._initializer)
        line, belt = self.line, self.line.belt
        next_parcel, waiting, dry = belt.waiting.popleft, belt.waiting, belt.dry
        tally, cleaner, lane = self.tally, self.settling.cleaner, line.lanes[0]
        hold, let_go, done = self.held.append, self.held.pop, cleaner.done[lane].append
        handler, new_context = self._handler, self._context.copy
        plain = not self._explicit and line.simple
        call = self._call if plain else self._watched_call
        bare = plain and belt.size == 1 and lane.port.cleanup is not None
        chunk = Chunk([], lane)  # used again and again, unless a handler might still hold its iterator
        while True:  # and not on a condition: CPython 3.11 speeds up only loops that jump back without one
            if self.retired:
                return
            try:
                parcel = next_parcel()
            except IndexError:
                parcel = self.take()
                if parcel is None:
                    return
            if dry and len(waiting) <= belt.low:
                belt.let_in()
            if not bare or type(parcel) is Chunk:
                call(belt.chunk_of(parcel))
                continue
            if chunk.exhausted:
                chunk.exhausted = False
                chunk.taken = 0
            else:
                chunk = Chunk([], lane)
            chunk.items = [parcel]
            hold(chunk)
            try:
                result = new_context().run(handler, chunk.feed_one(parcel))
            except BaseException as error:
                self._settle(chunk, raised(error, {}))
                chunk = Chunk([], lane)
                continue
            if result is None and chunk.taken:
                # It is consumed, as nearly always: no verdict needed.
                try:
                    let_go()
                except IndexError:
                    return  # somebody else has accounted for it
                tally.freed += 1
                done(parcel)
                if cleaner.asleep:
                    cleaner.wake()
            else:
                self._settle(chunk, returned(result, chunk.items, {}))
                chunk = Chunk([], lane)

    def _call(self, chunk: Chunk) -> None:
        """A call that nobody watches."""
        items = chunk.items
        count = len(items)
        self.held.append(chunk)
        try:
            result = self._context.copy().run(self._handler, chunk.feed())
        except BaseException as error:
            self._settle(chunk, raised(error, {}))
            return
        if result is None and chunk.taken == count and chunk.lane.port.cleanup is not None:
            # Everything is consumed, as nearly always: no verdict needed.
            try:
                self.held.pop()
            except IndexError:
                return  # somebody else has accounted for it
            self.tally.freed += count
            self.settling.cleaner.clean(items, chunk.lane)
        else:
            self._settle(chunk, returned(result, items, {}))

    def _watched_call(self, chunk: Chunk) -> None:
        """A call with explicit receipts, with somebody listening, or of what has a lease, a lane or a key."""
        if not self.settling.admit(chunk, self.tally):
            return
        began = now()
        self.held.append(chunk)
        if self.line.observed:
            self.line.observers.tell(ChunkStarted(worker=self.name, items=tuple(chunk.items), on_belt=began - chunk.at))
        decided: dict[int, Fate] = {}
        feed = chunk.feed()
        if self._explicit:
            feed = receipts = Receipts[Any](chunk)
            decided = receipts.decided
        try:
            result = self._context.copy().run(self._handler, feed)
        except BaseException as error:
            ending = raised(error, decided)
        else:
            ending = returned(result, chunk.items, decided)
        self._settle(chunk, ending, now() - began)

    def _settle(self, chunk: Chunk, ending: Any, took: float = 0.0) -> None:
        try:
            self.held.pop()
        except IndexError:
            return  # somebody else has accounted for it
        chunk.halted = chunk.halted or chunk.taken < len(chunk.items)  # the iterator dies with its call
        self.settling.settle(chunk, ending, self.tally, self.name, took)
