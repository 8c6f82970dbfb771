"""What every pool is made of: places, each with a worker in it that takes a chunk, has it handled, and settles it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from .._chunk import Chunk, Ending
from .._line import Line, Worker
from .._settling import Settling

PARTING = 2.0  # seconds for a worker that has had nothing to do yet to end


class Handler(Worker):
    """A pool worker. `held` is the chunk in its hands; who takes it out of there accounts for it."""

    kind = "handler"
    replaceable: Any = "always"

    def __init__(self, line: Line, name: str, settling: Settling) -> None:
        super().__init__(line, name)
        self.settling = settling
        self.held: deque[Chunk] = deque()
        self.retired = False  # to take no more chunks
        self.place_lost = False  # its place was given to another
        self.since = 0.0  # when it began with what it lost its place for
        self.leaving = False  # there are to be fewer places, and nobody takes this one

    @property
    def productive(self) -> bool:
        return self.tally.freed > 0

    @property
    def busy(self) -> Any:
        """Tells the present item from the next; None while there is none."""
        try:
            chunk = self.held[0]
        except IndexError:
            return None
        return (self.tally.freed, id(chunk), chunk.taken)

    def item(self) -> Any:
        """The item it is busy with, if any was taken."""
        try:
            chunk = self.held[0]
        except IndexError:
            return None
        return chunk.items[chunk.taken - 1] if chunk.taken else None

    def take(self) -> Chunk | None:
        """Sleep until there is a chunk; None when it is time to end."""
        belt = self.line.belt
        while self.wanted():
            chunk = belt.lie_down(self.bell)
            if chunk is not None:
                return chunk
            if self.wanted():
                self.bell.wait(belt.patience())
            belt.get_up(self.bell)
            try:
                return belt.next()
            except IndexError:
                continue
        return None

    def put_back(self, chunks: list[Chunk]) -> None:
        """Let somebody else have these, which it has not begun."""
        self.settling.put_back(chunks, self.tally)

    def wanted(self) -> bool:
        """True while there may be another chunk for it."""
        return not (self.retired or self.line.belt.closed)

    def halt(self) -> None:
        """Let the iterator end at the next item boundary."""
        for chunk in list(self.held):
            chunk.halted = True

    def retire(self) -> None:
        """End after what is in hand."""
        self.retired = True
        self.bell.ring()

    def force(self, reason: str) -> None:
        """End the handler now, where that can be done."""

    def abandon(self) -> list[Chunk]:
        """Give up on it: its iterator ends, its outcome will be ignored. Returns what it held."""
        self.halt()
        self.retire()
        chunks: list[Chunk] = []
        while self.held:
            try:
                chunks.append(self.held.pop())
            except IndexError:
                break
        return chunks

    def bury(self) -> None:
        """It died without accounting for its chunk: do it in its stead."""
        while self.held:
            try:
                chunk = self.held.pop()
            except IndexError:
                return
            self.settling.settle(chunk, Ending("died"), self.tally, self.name, 0.0)

    def holds(self) -> list[Any]:
        return [chunk.items for chunk in list(self.held)]


class Pool:
    """The places of the handlers. The supervisor puts a new worker into the place of a dead or stuck one."""

    name = "threads"

    def __init__(self, make: Callable[[str], Handler], count: int) -> None:
        self._make = make
        self.count = count
        self._named = 0
        self.handlers: list[Handler] = []
        self.strays: list[Handler] = []  # threads whose place was given away and that have not ended yet

    def start(self) -> None:
        """Fill all places; returns when every worker is ready, or raises what keeps one from being so."""
        self.handlers = [self._next() for _ in range(self.count)]
        for handler in self.handlers:
            handler.start()

    def _next(self) -> Handler:
        self._named += 1
        return self._make(f"handler-{self._named}")

    def resize(self) -> None:
        """Have `count` places. Who loses his, one that is idle if there is one, ends after what is in his hands."""
        while len(self.handlers) < self.count:
            new = self._next()
            self.handlers = [*self.handlers, new]
            new.start()
        surplus = len(self.handlers) - self.count
        if surplus > 0:
            leaving = sorted(self.handlers, key=lambda handler: handler.busy is not None)[:surplus]
            self.strays = [*self.strays, *leaving]
            self.handlers = [handler for handler in self.handlers if handler not in leaving]
            for handler in leaving:
                handler.leaving = True
                handler.retire()

    def dismiss(self) -> None:
        """Take down what was started of a pool that will not run after all."""
        for handler in self.handlers:
            handler.retire()
            handler.line.belt.closed = True
            handler.line.belt.wake_all()
        for handler in self.handlers:
            handler.join(PARTING)
        self.close()

    def everybody(self) -> list[Handler]:
        return self.handlers + self.strays

    def replace(self, old: Handler) -> None:
        """Put a new worker into this place. One that still runs becomes a stray, and keeps what it holds."""
        if old.leaving:
            old.place_lost = True
            for chunk in list(old.held):
                old.line.belt.give_up(chunk)
            return
        new = self._make(old.name)
        if old.alive:
            old.place_lost = True
            old.retire()
            self.strays = [*self.strays, old]
            for chunk in list(old.held):
                old.line.belt.give_up(chunk)
        else:
            old.bury()  # it may have died only now
            old.line.ledger.fold(old.tally)
        self.handlers = [new if other is old else other for other in self.handlers]
        new.start()

    def sweep(self) -> None:
        """Forget strays that have ended."""
        for stray in [stray for stray in self.strays if not stray.alive]:
            stray.bury()
            self.strays.remove(stray)
            stray.line.ledger.fold(stray.tally)

    def close(self) -> None:
        """Nothing runs any more: give back what the pool itself holds."""
