"""`run_once`: the same stations, worked by one thread in turn."""

from __future__ import annotations

import contextvars
from collections import deque
from typing import Any

from ._chunk import Chunk, Feed, Receipts, raised, returned
from ._cleaner import Hand
from ._current import entered
from ._ledger import Result
from ._line import now
from ._loops import Loop
from ._port import is_async
from ._stations import Stations


class Once:
    """One `get`, handled and cleaned up by the calling thread.

    It has stations of its own, since those of a consumer that was stopped send everything home.
    """

    def __init__(self, stations: Stations, loop: Loop) -> None:
        self._stations = stations
        self._loop = loop
        self._handler = stations.options.handler
        self._hand = Hand(stations.cleaner, "run_once")
        self._getters = [stations.getter("run_once", lane) for lane in stations.line.lanes]
        self._held: deque[Chunk] = deque()
        self._context = entered(contextvars.copy_context(), self._held)

    def run(self) -> Result:
        """Returns when every item of the bulk has its fate.

        Raises:
            BaseException: what `get` raised; the items that it gave before are handled all the same.
        """
        options, belt = self._stations.options, self._stations.line.belt
        self._stations.keeper.start()
        errors = [getter.fetch_once(options.handlers * options.size) for getter in self._getters]
        try:
            if belt.sorter is not None:
                belt.sorter.end_polls()
            while belt.waiting:
                self._handle(belt.next())
                if not belt.waiting:
                    self._clean()  # which may free a key
        finally:  # a Ctrl-C that comes in a handler sends the rest home
            try:
                self._stations.settling.clear_belt(self._getters[0].tally)
                self._clean()
            finally:
                self._stations.keeper.end()
        for error in errors:
            if error is not None:
                raise error
        received = sum(getter.tally.received for getter in self._getters)
        done = self._hand.tally.cleaned + self._hand.tally.dropped
        return Result(succeeded=done, failed=received - done)

    def _handle(self, chunk: Chunk) -> None:
        settling, tally = self._stations.settling, self._getters[0].tally
        if not settling.admit(chunk, tally):
            return
        began = now()
        self._held.append(chunk)
        feed: Feed[Any] = Receipts(chunk) if self._stations.options.receipt == "explicit" else Feed(chunk)
        interrupted: BaseException | None = None
        try:
            ending = returned(self._context.copy().run(self._call, feed), chunk.items, feed.decided)
        except BaseException as error:
            ending = raised(error, feed.decided)
            interrupted = error if isinstance(error, KeyboardInterrupt) else None
        self._held.pop()
        settling.settle(chunk, ending, tally, "run_once", now() - began)
        if interrupted is not None:
            raise interrupted

    def _call(self, feed: Any) -> object:
        handler: Any = self._handler
        return self._loop.call(lambda: handler(feed)) if is_async(handler) else handler(feed)

    def _clean(self) -> None:
        """Clean up until nothing is left to do, waiting where something is to be tried again."""
        cleaner, hand = self._stations.cleaner, self._hand
        while True:
            hand.hand = cleaner.all_due()
            if hand.hand:
                hand.work()
            elif not cleaner.wait_for_later():
                return

    def close(self) -> None:
        """Its counts are added to those of others, so that calls without end keep the ledger thin."""
        ledger = self._stations.line.ledger
        for getter in self._getters:
            ledger.fold(getter.tally)
        for worker in (self._hand, *self._stations.keeper.hands):
            ledger.fold(worker.tally)

    def holds(self) -> list[list[Any]]:
        """The items in its hands, for the ledger's count."""
        return [*(chunk.items for chunk in list(self._held)), *self._stations.holds(), *self._hand.holds()]
