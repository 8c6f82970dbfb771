"""Minds the line while it runs, and has it taken down when it is time.

What to do is decided in `_supervision`; here it is seen and done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ._bells import Latch
from ._cleaner import Hand
from ._drain import Drain
from ._errors import SupervisionError
from ._events import CallbackFailed, ConsumerStopped, HandlerStuck, Stalled, WorkerDied, WorkerRevived, ids_of, log
from ._getter import Getter
from ._keeper import Renewer
from ._ledger import Report, Stats
from ._line import Worker, now
from ._loops import Loop
from ._pools._workers import Handler, Pool
from ._stations import Stations
from ._status import WorkerStatus
from ._supervision import Died, GiveUp, Order, Revive, Sighting, Stuck, Watch

DRAIN_TIME = 25.0  # seconds, unless shutdown() says otherwise
ASKING = 0.05  # between two times that stop_when is asked


class Supervisor(Worker):
    """The thread that walks round."""

    kind = "supervisor"

    def __init__(self, stations: Stations, watch: Watch, pool: Pool, *, loop: Loop, stats: Callable[[], Stats]) -> None:
        super().__init__(stations.line, "supervisor")
        options = stations.options
        self.watch = watch
        self.pool = pool
        self.cleaner = stations.cleaner
        self.getters = stations.getters()
        self.keeper = stations.keeper
        self.draining = Latch()
        self.stopped = Latch()
        self.report: Report | None = None
        self.failure: SupervisionError | None = None
        self.deadline: float | None = None
        self.revived = 0
        self.stuck = 0
        self._stations = stations
        self._stop_when = options.stop_when
        self._stats = stats
        self._loop = loop
        self._moved: tuple[int, float] = (-1, now())
        self._said_stalled = False
        self._said_stop_when = False

    def start(self) -> None:
        """Start the line: everything but the pool, which runs already."""
        try:
            self.cleaner.hire()
            self.keeper.start()
            for getter in self.getters:
                getter.start()
            super().start()
        except BaseException:  # there may be no more threads to be had
            self.line.asked = True
            for getter in self.getters:
                getter.ended = getter.ended or getter.thread.ident is None
            if self.thread.ident is None:
                self._main()  # the drain, here, since nobody else will
            raise

    def run(self) -> None:
        try:
            while not self.line.asked:
                wait = self.watch.next_due(now())
                self.line.minder.wait(min(wait, ASKING) if self._stop_when is not None else wait)
                self.mind()
            if self.deadline is None:
                self.deadline = now() + DRAIN_TIME
            drain = Drain(self._stations, self.getters, self.pool, self._loop, self)
            self.report = drain.run(self._stats)
            if self.failure is not None:
                self.failure.report = self.report
            self.line.observers.tell(ConsumerStopped(report=self.report))
        finally:
            self.stopped.open()

    def hurry(self, deadline: float) -> None:
        """End what runs by then, or earlier if that was asked before."""
        self.deadline = deadline if self.deadline is None else min(deadline, self.deadline)

    def resize(self, handlers: int) -> None:
        """Have so many places for handlers, soon."""
        self.pool.count = handlers
        self.watch.expect(handlers)
        self.line.belt.resize(handlers)
        self.line.minder.ring()

    def workers(self, stacks: bool) -> Iterator[WorkerStatus]:
        """The getters and handlers as they are now."""
        for getter in self.getters:
            doing = getter.doing if getter.alive else getter.death()
            stack = getter.stack() if stacks else ""
            yield WorkerStatus(name=getter.name, kind="getter", doing=doing, stack=stack)
        for handler in self.pool.everybody():
            busy = handler.busy
            stuck = handler.place_lost or self.watch.is_stuck(handler.name, busy)
            seconds = self.watch.busy_for(handler.name, busy, now())
            if handler.place_lost and busy is not None:  # what is remembered of the place is about who has it now
                seconds = now() - handler.since
            doing = "idle" if busy is None else "stuck" if stuck else "ending" if handler.leaving else "busy"
            yield WorkerStatus(
                name=handler.name,
                kind="handler",
                doing=doing if handler.alive or handler.finished else handler.death(),
                item=handler.item(),
                seconds=seconds,
                stack=handler.stack() if stacks and busy is not None else "",
            )

    @property
    def time_left(self) -> float:
        """Seconds until what runs is ended by force; others may bring that forward at any time."""
        return (self.deadline or 0.0) - now()

    def mind(self) -> None:
        """One walk round the line."""
        try:
            for order in self.watch.look(self._sightings(), now()):
                self._carry_out(order)
            self.pool.sweep()
            if not self.line.asked:
                self.pool.resize()
            self._look_for_stall()
            self._ask_whether_to_stop()
        except BaseException as error:  # the next walk is the remedy; items are not in these hands
            log.exception("the supervisor stumbled: %r", error)
            self.line.observers.tell(CallbackFailed(callback="supervision", error=repr(error)))

    def _sightings(self) -> list[Sighting]:
        sightings: list[Sighting] = []
        # A getter that dies while the line is to stop has only stopped.
        getters = () if self.line.asked else self.getters
        for worker in (*getters, *self.cleaner.hands, *self.keeper.hands):
            gone = worker.ended and not worker.finished
            error = repr(worker.error)
            sightings.append(Sighting(worker.name, not gone, error, worker.productive))
        for handler in self.pool.everybody():
            gone = handler.ended and not handler.finished and not handler.leaving
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
                if delay != float("inf"):  # otherwise it is about to be said that it is given up
                    log.warning(
                        "%s died, to be revived in %.3g s: %s", place, delay, error, event="WorkerDied", worker=place
                    )
                observers.tell(WorkerDied(worker=place, error=error, revive_in=delay))
            case Revive(place, restarts):
                self._revive(place)
                self.revived += 1
                observers.tell(WorkerRevived(worker=place, restarts=restarts))
            case Stuck(place, seconds, limit, replace_it):
                self._stuck(place, seconds, limit, replace_it)
            case GiveUp(error):
                if self.failure is None:
                    log.error("giving up: %s", error, event="GaveUp")
                    self.failure = error
                self.line.asked = True

    def _worker(self, place: str) -> Worker:
        workers = (*self.getters, *self.cleaner.hands, *self.keeper.hands, *self.pool.everybody())
        return next(worker for worker in workers if worker.name == place)

    def _revive(self, place: str) -> None:
        match self._worker(place):
            case Getter() as getter:
                if not self.line.asked:
                    new = self._stations.getter(place, getter.lane)
                    self.getters[self.getters.index(getter)] = new
                    self.line.ledger.fold(getter.tally)
                    new.start()
            case Hand() as hand:
                self.cleaner.replace(hand)
            case Renewer() as hand:
                self.keeper.replace(hand)
            case Handler() as handler:
                self.pool.replace(handler)
            case other:
                raise AssertionError(f"nobody knows how to revive {other!r}")

    def _stuck(self, place: str, seconds: float, limit: str, replace_it: bool) -> None:
        handler = self._worker(place)
        assert isinstance(handler, Handler)
        item, stack = handler.item(), handler.stack()
        self.stuck += limit == "stuck_time"
        facts = {"event": "HandlerStuck", "worker": place, "items": ids_of([item]), "seconds": seconds}
        said = "%s has been busy with one item for %.3g s (%s)\n%s"
        log.warning(said, place, seconds, limit, stack.rstrip(), **facts)
        self.line.observers.tell(
            HandlerStuck(worker=place, item=item, seconds=seconds, stack=stack, limit=limit, replaced=replace_it)
        )
        if not replace_it:
            return
        if handler.replaceable == "stand-in":
            handler.since = now() - seconds
            self.pool.replace(handler)
            if handler.leaving:
                return
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
        log.warning("nothing has moved for %.3g s: %s", seconds, reason, event="Stalled", seconds=seconds)
        line.observers.tell(Stalled(reason=reason, seconds=seconds))
