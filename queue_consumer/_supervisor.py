"""Minds the line while it runs, and takes it down when it is time.

What to do is decided in `_supervision`; here it is seen and done. Then follows the drain, in the order in which things can
be given up: no new `get`, what nobody has begun goes back, what is being handled ends, what is done is cleaned up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ._bells import Bell, Latch
from ._cleaner import Cleaner, Hand
from ._errors import SupervisionError
from ._events import CallbackFailed, ConsumerStopped, HandlerStuck, Stalled, WorkerDied, WorkerRevived, log
from ._getter import Getter
from ._ledger import Leftover, Report, Stats
from ._lifecycle import State
from ._line import Line, Worker, now, stack_of
from ._loops import Loop
from ._pools._workers import Handler, Pool
from ._settling import Settling
from ._supervision import Died, GiveUp, Order, Revive, Sighting, Stuck, Watch

DRAIN_TIME = 25.0  # seconds, unless shutdown() says otherwise
FLUSH_TIME = 5.0  # for cleanups after everything else has ended
FORCE_TIME = 2.0  # for killed processes and cancelled tasks to be accounted for
GLANCE = 0.02  # between two looks while draining
ASKING = 0.05  # between two times that stop_when is asked


class Supervisor(Worker):
    """The thread that walks round."""

    kind = "supervisor"

    def __init__(
        self,
        line: Line,
        *,
        watch: Watch,
        pool: Pool,
        cleaner: Cleaner,
        settling: Settling,
        getters: list[Getter],
        hire_getter: Callable[[str], Getter],
        loop: Loop,
        stop_when: Callable[[Stats], bool] | None,
        stats: Callable[[], Stats],
        owns_queue: bool,
    ) -> None:
        super().__init__(line, "supervisor")
        self.watch = watch
        self.pool = pool
        self.cleaner = cleaner
        self.getters = getters
        self.stopped = Latch()
        self.report: Report | None = None
        self.failure: SupervisionError | None = None
        self.deadline: float | None = None
        self.revived = 0
        self.stuck = 0
        self._settling = settling
        self._hire_getter = hire_getter
        self._loop = loop
        self._stop_when = stop_when
        self._stats = stats
        self._owns_queue = owns_queue
        self._moved: tuple[int, float] = (-1, now())
        self._said_stalled = False
        self._said_stop_when = False
        self._interrupter: threading.Thread | None = None
        self._no_more_interrupts = Bell()
        self._durations: dict[str, float] = {}
        self._leftovers: list[Leftover] = []

    def run(self) -> None:
        try:
            while not self.line.asked:
                wait = self.watch.next_due(now())
                self.line.minder.wait(min(wait, ASKING) if self._stop_when is not None else wait)
                self._mind()
            self._drain()
        finally:
            self.stopped.open()

    # ------------------------------------------------------------------ minding

    def _mind(self) -> None:
        """One walk round the line."""
        try:
            for order in self.watch.look(self._sightings(), now()):
                self._carry_out(order)
            self.pool.sweep()
            self._look_for_stall()
            self._ask_whether_to_stop()
        except BaseException as error:  # the next walk is the remedy; items are not in these hands
            log.exception("the supervisor stumbled: %r", error)
            self.line.observers.tell(CallbackFailed(callback="supervision", error=repr(error)))

    def _sightings(self) -> list[Sighting]:
        sightings: list[Sighting] = []
        # A getter that dies while the line is to stop has only stopped.
        for worker in (*(() if self.line.asked else self.getters), *self.cleaner.hands):
            gone = worker.ended and not worker.finished
            error = repr(worker.error)
            sightings.append(Sighting(worker.name, not gone, error, worker.productive))
        for handler in self.pool.everybody():
            gone = handler.ended and not handler.finished
            sightings.append(
                Sighting(
                    handler.name,
                    not gone,
                    handler.death(),
                    handler.productive,
                    handler.busy,
                    handler.replaceable,
                    handler.place_lost,
                )
            )
        return sightings

    def _carry_out(self, order: Order) -> None:
        observers = self.line.observers
        match order:
            case Died(place, error, delay):
                dead = self._worker(place)
                if isinstance(dead, Handler):
                    dead.bury()
                log.warning("%s died, to be revived in %.3g s: %s", place, delay, error)
                observers.tell(WorkerDied(worker=place, error=error, revive_in=delay))
            case Revive(place, restarts):
                self._revive(place)
                self.revived += 1
                observers.tell(WorkerRevived(worker=place, restarts=restarts))
            case Stuck(place, seconds, limit, replace_it):
                self._stuck(place, seconds, limit, replace_it)
            case GiveUp(error):
                if self.failure is None:
                    log.error("giving up: %s", error)
                    self.failure = error
                self.line.asked = True

    def _worker(self, place: str) -> Worker:
        return next(w for w in (*self.getters, *self.cleaner.hands, *self.pool.handlers) if w.name == place)

    def _revive(self, place: str) -> None:
        match self._worker(place):
            case Getter() as getter:
                if not self.line.asked:
                    new = self._hire_getter(place)
                    self.getters[self.getters.index(getter)] = new
                    new.start()
            case Hand() as hand:
                self.cleaner.replace(hand)
            case Handler() as handler:
                self.pool.replace(handler)

    def _stuck(self, place: str, seconds: float, limit: str, replace_it: bool) -> None:
        handler = self._worker(place)
        assert isinstance(handler, Handler)
        item, stack = handler.item(), handler.stack()
        self.stuck += limit == "stuck_time"
        log.warning("%s has been busy with one item for %.3g s (%s)\n%s", place, seconds, limit, stack.rstrip())
        self.line.observers.tell(
            HandlerStuck(worker=place, item=item, seconds=seconds, stack=stack, limit=limit, replaced=replace_it)
        )
        if not replace_it:
            return
        if handler.replaceable == "stand-in":
            self.pool.replace(handler)
            self.revived += 1
            self.line.observers.tell(WorkerRevived(worker=place, restarts=0))
        else:
            handler.force(f"{limit}: busy with one item for {seconds:.3g} s")

    def _ask_whether_to_stop(self) -> None:
        if self._stop_when is None or self.line.asked:
            return
        try:
            if self._stop_when(self._stats()):
                self.line.asked = True
        except BaseException as error:  # asked again soon; said once, since it will most likely raise again
            if not self._said_stop_when:
                log.exception("stop_when raised, so the consumer goes on: %r", error)
                self.line.observers.tell(CallbackFailed(callback="stop_when", error=repr(error)))
            self._said_stop_when = True

    def _look_for_stall(self) -> None:
        """Nothing moves although something could: silence would be a bug."""
        line, ledger = self.line, self.line.ledger
        moved = ledger.total("received") + ledger.total("freed") + ledger.ended()
        if moved != self._moved[0]:
            self._moved = (moved, now())
            self._said_stalled = False
            return
        seconds = now() - self._moved[1]
        if seconds < self.watch.policy.stall_time or self._said_stalled:
            return
        if line.belt.waiting and line.belt.idle:
            reason = f"{len(line.belt.waiting)} chunks wait on the belt and {len(line.belt.idle)} handlers for a chunk"
        elif ledger.backlog():
            reason = f"{ledger.backlog()} items wait for a cleanup that does not return"
        else:
            return
        self._said_stalled = True
        log.warning("nothing has moved for %.3g s: %s", seconds, reason)
        line.observers.tell(Stalled(reason=reason, seconds=seconds))

    # ------------------------------------------------------------------ the drain

    def _drain(self) -> None:
        began = now()
        if self.deadline is None:
            self.deadline = began + DRAIN_TIME
        line = self.line
        port = line.lane.port
        line.returning = port.release is not None
        self._interrupt()
        if line.returning:
            for handler in self.pool.everybody():
                handler.halt()

        def time_left() -> bool:
            return self.deadline is not None and now() < self.deadline  # others may bring it forward

        while time_left() and not (all(g.ended for g in self.getters) and line.ledger.outstanding() == 0):
            self._empty_belt()
            self._mind()
            self._glance(began)
        line.belt.closed = True
        for handler in self.pool.everybody():
            handler.retire()
        line.belt.wake_all()
        while time_left() and any(handler.alive for handler in self.pool.everybody()):
            self._glance(began)
        self._durations["handlers"] = now() - began

        line.over = True
        self._end_by_force()
        self._flush()
        self._end_interrupter()
        stats = replace(self._stats(), state=State.STOPPED, fetching="stopped")  # nothing is asked after close()
        self._close()
        self.report = Report(
            stats=stats,
            balanced=stats.balanced,
            leftovers=tuple(self._leftovers),
            durations=self._durations,
        )
        if not stats.balanced:
            log.error("the ledger does not balance: %s", stats)
        if self.failure is not None:
            self.failure.report = self.report
        line.observers.tell(ConsumerStopped(report=self.report))

    def _glance(self, began: float) -> None:
        """A short wait: the shorter the less time has passed, so that an idle line stops at once."""
        self.line.minder.wait(min(GLANCE, max(0.0005, (now() - began) / 4)))

    def _interrupt(self) -> None:
        """Wake every getter; those in a `get` as far as the queue can."""
        self.line.lane.wake_all()
        for getter in self.getters:
            getter.bell.ring()
        interrupt = self.line.lane.port.interrupt
        if interrupt is not None:
            # In a thread of its own, since it is the user's code and may block.
            thread = threading.Thread(
                target=self._keep_interrupting,
                args=(interrupt,),
                name="queue_consumer-interrupter",
                daemon=True,
            )
            thread.line = self.line  # type: ignore[attr-defined]  # how `on_own_thread` knows it
            self._interrupter = thread
            thread.start()

    def _keep_interrupting(self, interrupt: Callable[[], Any]) -> None:
        """Again and again, since a getter may be on its way into its last `get` while the call is made."""
        while self._guarded("interrupt", interrupt) and not self.line.over:
            if all(getter.ended for getter in self.getters):
                return
            self._no_more_interrupts.wait(GLANCE)

    def _end_interrupter(self) -> None:
        if self._interrupter is None:
            return
        self._no_more_interrupts.ring()
        self._interrupter.join(1)
        if self._interrupter.is_alive():
            stack = stack_of(self._interrupter)
            self._leftovers.append(Leftover(where="queue.interrupt", items=(), stack=stack))
            log.error("queue.interrupt does not return and is abandoned\n%s", stack.rstrip())

    def _guarded(self, name: str, verb: Callable[[], Any]) -> bool:
        """Call a verb of the queue's; False if it raised."""
        try:
            verb()
            return True
        except BaseException as error:  # the line stops all the same, only later
            log.error("queue.%s raised: %r", name, error)
            self.line.observers.tell(CallbackFailed(callback=f"queue.{name}", error=repr(error)))
            return False

    def _empty_belt(self) -> None:
        """What nobody has begun goes back, where the queue can take it."""
        if self.line.returning:
            self._settling.clear_belt(self.tally)

    def _end_by_force(self) -> None:
        """The deadline: end what can be ended, abandon what cannot, by name and with its stack."""
        line, began = self.line, now()
        alive = [handler for handler in self.pool.everybody() if handler.alive]
        for handler in alive:
            handler.force("the consumer's time to stop was up")
        until = began + FORCE_TIME
        # A thread that holds nothing is only on its way out.
        while now() < until and any(
            h.alive and (h.replaceable == "always" or not any(h.holds())) for h in alive
        ):
            self._glance(began)
        for handler in self.pool.everybody():
            if handler.alive:
                stack = handler.stack()
                self._abandoned(handler.name, handler.abandon(), stack)
            else:
                handler.bury()
        for getter in self.getters:
            if not getter.ended:
                getter.abandoned = True
                self._abandoned(getter.name, [], getter.stack())
        self._settling.clear_belt(self.tally)
        if alive or began != now():
            self._durations["force"] = now() - began

    def _abandoned(self, where: str, items: list[Any], stack: str) -> None:
        self.tally.freed += len(items)
        self.tally.abandoned += len(items)
        self._leftovers.append(Leftover(where=where, items=tuple(items), stack=stack))
        log.error("%s does not end and is abandoned with %d items\n%s", where, len(items), stack.rstrip())

    def _flush(self) -> None:
        """Let the cleaner finish, but not for ever."""
        began = now()
        self.cleaner.close()
        while now() < began + FLUSH_TIME and self.cleaner.work_left():
            self._mind_cleaner()
            self._glance(began)
        for errand in self.cleaner.give_up():
            count = len(errand.items)
            if errand.verb in ("clean", "drop"):
                self.tally.tombstoned += count
            else:
                self.tally.left += count
            log.error("no time was left to %s %d items", errand.verb, count)
        for hand in self.cleaner.hands:
            if hand.hand:
                stack = hand.stack()
                items = hand.abandon()
                self.tally.abandoned += len(items)
                self._leftovers.append(Leftover(where=hand.name, items=tuple(items), stack=stack))
                log.error("%s does not end and is abandoned with %d items\n%s", hand.name, len(items), stack)
        self.cleaner.bell.ring()
        for hand in self.cleaner.hands:
            hand.thread.join(0 if hand.abandoned else 1)
        self._durations["cleanup"] = now() - began

    def _mind_cleaner(self) -> None:
        for hand in self.cleaner.hands:
            if hand.ended and not hand.finished:
                self.cleaner.replace(hand)

    def _close(self) -> None:
        """Give back what the line itself holds; the queue last."""
        began = now()
        self.pool.close()
        busy = any(getter.abandoned for getter in self.getters) or any(hand.abandoned for hand in self.cleaner.hands)
        port = self.line.lane.port
        if self._owns_queue and port.close is not None and not busy:
            self._guarded("close", port.close)
        if not self._loop.close(1.0):
            self._leftovers.append(Leftover(where="the event loop", items=()))
        self._durations["close"] = now() - began
