"""What the stations share: the ledger, the belt, those who listen, and the flags that only ever become true."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from ._bells import Bell
from ._belt import Belt
from ._custody import Custody
from ._events import Observers, log
from ._ledger import Ledger, Tally
from ._port import Port

now = time.monotonic


class Lane:
    """One queue's place at the line: its verbs, and those of its getters that sleep because it is empty."""

    def __init__(
        self,
        port: Port,
        name: str = "",
        priority: float = 0,
        key: Callable[[Any], Hashable] | None = None,
        custody: Custody | None = None,
    ) -> None:
        self.port = port
        self.name = name
        self.priority = priority
        self.key = key  # items of equal keys go one at a time
        self.largest_bulk = 1  # the most that one get brought
        self.custody = custody  # where the queue has leases, or knows a message when it comes again
        self.empty = False  # its last answer was
        self.emptied_at = float("-inf")  # the latest time at which it is known to have had nothing
        self.filled_at = float("-inf")
        self.returned_at = float("-inf")  # when something was given back to it, to be seen at once
        self.parked: deque[Bell] = deque()
        self._awake = 0
        self._lock = threading.Lock()

    @property
    def call_size(self) -> int:
        """Most items of one cleanup, release or extend.

        A queue that does not say is not asked to take back more at once than it gave at once.
        """
        return self.port.cleanup_limit or self.largest_bulk

    def attempt_of(self, item: Any) -> int | None:
        """How often the item was delivered; None where the queue does not say."""
        return None if self.port.attempt is None else int(self.port.attempt(item))

    def lost(self, item: Any) -> bool:
        """True if the item's lease is lost."""
        return self.custody is not None and self.custody.lost(item, now())

    @property
    def behind(self) -> bool:
        """True if its leases cannot be renewed in time, so that no more should be fetched."""
        return self.custody is not None and self.custody.behind

    def enter(self) -> None:
        """A getter begins to fetch."""
        with self._lock:
            self._awake += 1

    def leave(self) -> None:
        """A getter ends, and another wakes in its stead."""
        with self._lock:
            self._awake -= 1
        self.wake_one()

    def park(self, bell: Bell) -> bool:
        """The queue is empty: one getter keeps asking, the others sleep until it has found something.

        Returns whether the caller may sleep; it counts as awake again when it is rung.
        """
        with self._lock:
            if self._awake <= 1:
                return False
            self._awake -= 1
            self.parked.append(bell)
            return True

    def wake_one(self) -> None:
        with self._lock:
            if not self.parked:
                return
            bell = self.parked.popleft()
            self._awake += 1
        bell.ring()

    def wake_all(self) -> None:
        while self.parked:
            self.wake_one()


class Line:
    """The shared part of one consumer. Nothing in it is shared with another consumer."""

    def __init__(self, *, lanes: Sequence[Lane], ledger: Ledger, belt: Belt, observers: Observers) -> None:
        self.lanes = tuple(lanes)
        self.ledger = ledger
        self.belt = belt
        self.observers = observers
        self.observed = bool(observers)  # events are made only where somebody listens
        self.leased = any(lane.custody is not None and lane.custody.lease is not None for lane in lanes)
        self.simple = not (self.observed or self.leased or belt.sorter is not None)  # nothing to be done but to handle
        self.asked = False  # to stop: no new get
        self.returning = False  # what no handler holds goes back to the queue at once
        self.over = False  # the deadline has passed
        self.paused = False
        self.minder = Bell()  # wakes the supervisor
        self.watching: deque[Bell] = deque()  # of those who wait for the line to be idle

    def quietened(self) -> None:
        """Something has come to its end, or a queue to its bottom: whoever waits for idleness may look again."""
        for bell in list(self.watching):
            bell.ring()


class Worker:
    """A daemon thread of the line that the supervisor minds.

    Daemon, because one stuck in somebody's code must not keep the interpreter from exiting. When it ends the
    supervisor is rung; whether it should have ended is for `finished` to say.
    """

    kind = "worker"

    def __init__(self, line: Line, name: str) -> None:
        self.line = line
        self.name = name
        self.tally: Tally = line.ledger.open()
        self.bell = Bell()
        self.error: BaseException | None = None
        self.finished = False  # it ended because it was time to
        self.ended = False
        self.thread = threading.Thread(target=self._main, name=f"queue_consumer-{name}", daemon=True)
        self.thread.line = line  # type: ignore[attr-defined]  # how `on_own_thread` knows it

    def start(self) -> None:
        try:
            self.thread.start()
        except BaseException as error:  # there may be no more threads to be had
            self.error = error
            self.ended = True
            raise

    def join(self, timeout: float) -> None:
        if self.thread.ident is not None:
            self.thread.join(timeout)

    def run(self) -> None:
        raise NotImplementedError

    def _main(self) -> None:
        try:
            self.run()
            self.finished = True
        except BaseException as error:  # the supervisor says so, and puts another in this place
            self.error = error
            if not isinstance(error, SystemExit):
                log.exception("%s died: %r", self.name, error)
        finally:
            self.ended = True
            self.line.minder.ring()

    @property
    def alive(self) -> bool:
        return not self.ended

    def stack(self) -> str:
        """Where its thread stands."""
        return stack_of(self.thread)

    def death(self) -> str:
        """What it died of, in words."""
        return repr(self.error)

    def holds(self) -> list[Any]:
        """The items in its hands, for the ledger's count."""
        return []


def stack_of(thread: threading.Thread) -> str:
    """Where a thread stands now; nothing if it does not run."""
    frame = sys._current_frames().get(thread.ident or 0)  # pyright: ignore[reportPrivateUsage]
    return "".join(traceback.format_stack(frame)) if frame else ""


def on_own_thread(line: Line) -> bool:
    """True on a thread of this line, which must not wait for the line's end."""
    return getattr(threading.current_thread(), "line", None) is line
