"""The drain: how a line is taken down, in the order in which things can be given up.

No new `get`; what nobody has begun goes back, or is finished where the queue cannot take it back; what is being
handled ends at the next item boundary; late answers of running `get`s go back. At the deadline children are killed
and tasks cancelled, and threads, which cannot be, abandoned by name. Then what is done is cleaned up, and last the
queue is closed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from ._bells import Latch
from ._events import CallbackFailed, log
from ._getter import Getter
from ._ledger import Leftover, Report, Stats
from ._lifecycle import State
from ._line import now, stack_of
from ._loops import Loop
from ._pools._workers import Pool
from ._stations import Stations

FLUSH_TIME = 5.0  # seconds for cleanups after everything else has ended
FORCE_TIME = 2.0  # for killed processes and cancelled tasks to be accounted for
GRACE = 0.1  # for `get`s to return that have just been interrupted
GLANCE = 0.02  # between two looks


class Patience(Protocol):
    """How long to wait, and what to do meanwhile: mind the line, which still has to finish things."""

    draining: Latch  # opened when handlers have been told to end

    @property
    def time_left(self) -> float: ...

    def mind(self) -> None: ...


class Drain:
    """One drain, run by the supervisor."""

    def __init__(
        self,
        stations: Stations,
        getters: list[Getter],
        pool: Pool,
        loop: Loop,
        patience: Patience,
    ) -> None:
        self._stations = stations
        self._line = stations.line
        self._settling = stations.settling
        self._cleaner = stations.cleaner
        self._getters = getters
        self._pool = pool
        self._loop = loop
        self._patience = patience
        self._tally = stations.line.ledger.open()
        self._interrupters: list[threading.Thread] = []
        self._no_more_interrupts = Latch()
        self._durations: dict[str, float] = {}
        self._leftovers: list[Leftover] = []
        self._forced: tuple[str, ...] = ()

    def run(self, stats: Callable[[], Stats]) -> Report:
        """Take the line down; how it ended."""
        began, line, patience = now(), self._line, self._patience
        line.returning = all(lane.port.release is not None for lane in line.lanes)
        self._interrupt()
        if line.returning:
            self._halt()
        patience.draining.open()
        while patience.time_left > 0 and not (
            all(getter.ended for getter in self._getters) and line.ledger.outstanding() == 0
        ):
            if line.returning:
                self._settling.clear_belt(self._tally)
                self._halt()  # again, for what was taken before the belt was empty
            patience.mind()
            self._glance(began)
        line.belt.closed = True
        for handler in self._pool.everybody():
            handler.retire()
        line.belt.wake_all()
        while patience.time_left > 0 and any(handler.alive for handler in self._pool.everybody()):
            self._glance(began)
        self._durations["handlers"] = now() - began

        line.over = True
        self._end_by_force()
        self._flush()
        self._end_leases()
        self._end_interrupter()
        last = replace(stats(), state=State.STOPPED, fetching="stopped")  # nothing is asked after close()
        self._close()
        if not last.balanced:
            log.error("the ledger does not balance: %s", last)
        return Report(
            stats=last,
            balanced=last.balanced,
            leftovers=tuple(self._leftovers),
            forced=self._forced,
            durations=self._durations,
        )

    def _halt(self) -> None:
        for handler in self._pool.everybody():
            handler.halt()

    def _glance(self, began: float) -> None:
        """A short wait: the shorter the less time has passed, so that an idle line stops at once."""
        self._line.minder.wait(min(GLANCE, max(0.0005, (now() - began) / 4)))

    def _interrupt(self) -> None:
        """Wake every getter; those in a `get` as far as the queue can."""
        for lane in self._line.lanes:
            lane.wake_all()
        for getter in self._getters:
            getter.bell.ring()
        for lane in self._line.lanes:
            if lane.port.interrupt is not None:
                # In a thread of its own, since it is the user's code and may block.
                thread = threading.Thread(
                    target=self._keep_interrupting,
                    args=(lane.port.interrupt, [getter for getter in self._getters if getter.lane is lane]),
                    name="queue_consumer-interrupter",
                    daemon=True,
                )
                thread.line = self._line  # type: ignore[attr-defined]  # how `on_own_thread` knows it
                self._interrupters.append(thread)
                thread.start()

    def _keep_interrupting(self, interrupt: Callable[[], Any], getters: list[Getter]) -> None:
        """Again and again, since a getter may be on its way into its last `get` while the call is made."""
        while self._guarded("interrupt", interrupt) and not self._line.over:
            if all(getter.ended for getter in getters):
                return
            self._no_more_interrupts.wait(GLANCE)

    def _end_leases(self) -> None:
        for hand in self._stations.keeper.end():
            self._abandoned(hand.name, [], hand.stack())

    def _end_interrupter(self) -> None:
        self._no_more_interrupts.open()
        until = now() + 1
        for interrupter in self._interrupters:
            interrupter.join(max(0.0, until - now()))
            if not interrupter.is_alive():
                continue
            stack = stack_of(interrupter)
            self._leftovers.append(Leftover(where="queue.interrupt", items=(), stack=stack))
            log.error("queue.interrupt does not return and is abandoned\n%s", stack.rstrip())

    def _guarded(self, name: str, verb: Callable[[], Any]) -> bool:
        """Call a verb of the queue's; False if it raised."""
        try:
            verb()
            return True
        except BaseException as error:  # the line stops all the same, only later
            log.error("queue.%s raised: %r", name, error)
            self._line.observers.tell(CallbackFailed(callback=f"queue.{name}", error=repr(error)))
            return False

    def _end_by_force(self) -> None:
        """The deadline: end what can be ended, abandon what cannot, by name and with its stack."""
        began = now()
        alive = [handler for handler in self._pool.everybody() if handler.alive]
        self._forced = tuple(handler.name for handler in alive if any(handler.holds()))
        for handler in alive:
            handler.force("the consumer's time to stop was up")
        until = began + FORCE_TIME
        # A thread that holds nothing is only on its way out.
        while now() < until and any(h.alive and (h.replaceable == "always" or not any(h.holds())) for h in alive):
            self._glance(began)
        # So is a getter that was interrupted only now, because there was no time at all.
        while now() < began + GRACE and not all(getter.ended for getter in self._getters):
            self._glance(began)
        for handler in self._pool.everybody():
            if handler.alive:
                stack = handler.stack()
                self._abandoned(handler.name, self._settling.abandon(handler.abandon(), self._tally), stack)
            else:
                handler.bury()
        for getter in self._getters:
            if not getter.ended:
                getter.abandoned = True
                self._abandoned(getter.name, [], getter.stack())
        self._settling.clear_belt(self._tally)
        if alive or began != now():
            self._durations["force"] = now() - began

    def _abandoned(self, where: str, items: list[Any], stack: str) -> None:
        self._leftovers.append(Leftover(where=where, items=tuple(items), stack=stack))
        log.error("%s does not end and is abandoned with %d items\n%s", where, len(items), stack.rstrip())

    def _flush(self) -> None:
        """Let the cleaner finish, but not for ever."""
        began = now()
        self._cleaner.close()
        while now() < began + FLUSH_TIME and self._cleaner.work_left():
            self._mind_cleaner()
            self._glance(began)
        late = self._cleaner.give_up()
        for hand in self._cleaner.hands:
            if hand.hand:
                stack = hand.stack()
                items = hand.abandon()
                self._tally.abandoned += len(items)
                self._abandoned(hand.name, items, stack)
        for hand in self._cleaner.hands:
            hand.join(0 if hand.abandoned else 1)
        for errand in late + self._cleaner.give_up():  # and what has come back from the last calls
            count = len(errand.left())
            errand.forget()
            if errand.verb in ("clean", "drop"):
                self._tally.tombstoned += count
            else:
                self._tally.left += count
            log.error("no time was left to %s %d items", errand.verb, count)
        self._durations["cleanup"] = now() - began

    def _mind_cleaner(self) -> None:
        for hand in self._cleaner.hands:
            if hand.ended and not hand.finished:
                self._cleaner.replace(hand)

    def _close(self) -> None:
        """Give back what the line itself holds; the queue last."""
        began = now()
        self._pool.close()
        busy = any(getter.abandoned for getter in self._getters) or any(hand.abandoned for hand in self._cleaner.hands)
        if not busy:
            for close in self._stations.closes:
                self._guarded("close", close)
        if not self._loop.close(1.0):
            self._leftovers.append(Leftover(where="the event loop", items=()))
        self._durations["close"] = now() - began
