"""The consumer: what may be asked of the line, from wherever one stands."""

from __future__ import annotations

import contextvars
import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self

from typing_extensions import TypeVar

from ._arguments import (
    POLLING_TIME,
    STUCK_TIME,
    Options,
    PoolName,
    changes_of,
    check_is,
    check_loop,
    checked,
    checked_observers,
)
from ._bells import Bell
from ._chunk import Failure, Receipt
from ._custody import Custody
from ._errors import SupervisionError, UsageError
from ._events import ConsumerStarted, Observer, Observers, log
from ._getter import ASLEEP
from ._lanes import LanePolicy
from ._ledger import Ledger, Report, Result, Stats
from ._lifecycle import State, state_of
from ._line import Lane, now, on_own_thread
from ._loops import Loop, in_thread
from ._once import Once
from ._port import Plug, is_async
from ._signals import taken
from ._stations import Stations
from ._status import LaneStatus, WorkerStatus
from ._supervision import Supervision, Watch, check_seconds, check_whole
from ._supervisor import DRAIN_TIME, Supervisor

if TYPE_CHECKING:
    import asyncio
    from multiprocessing.context import BaseContext

T = TypeVar("T", default=Any)

logging.getLogger("queue_consumer").addHandler(logging.NullHandler())


class Consumer(Generic[T]):
    """Wraps any queue: gets items from it, has them handled, and cleans up only what was consumed.

    Args:
        queue: any object with `get()`; see `queue_consumer.Queue` for what else it may have. Queues of the standard
            library and of asyncio work as they are. An object with `lanes` is several queues.
        handler: a function of an iterator of items; None: the queue's own `handler`. *Asking for the next item is the
            receipt for the last*, so a handler finishes an item before it takes the next. An `async def` runs in
            coroutines. With `pool="coroutines"` its attribute `asynchronous`, if it has one, is called in its place.
        max_workers: getters, the threads that call `get()`; None: as many as CPUs.
        max_handlers: handlers that run at once; None: as many as CPUs.
        messages_bulk_size: most items that one call of the handler is given.
        worker_polling_time: seconds that a getter sleeps after every `get()`.
        pool_initializer: called without arguments once in each pool worker, replacements included.
        with_thread_executor: handlers in threads (True) or in processes (False), unless `pool` says.
        pool: "threads", "processes" or "coroutines"; None: coroutines for an `async def`, else as above.
        receipt: when an item counts as consumed: "advance" (when the next is asked for, or the handler returns),
            "return" (when the handler returns), "explicit" (when the handler says `items.ack(item)`). None: what
            the handler's own attribute `receipt` says, else "advance".
        prefetch: items that may wait on the belt; None: what the pool handles in about 50 ms; 0: none.
        backoff: called with how often an item was delivered; gives the seconds before a failed one is seen again.
            None: `Exponential(base=1, max=300)` where the queue counts deliveries, else `Constant(1)`.
        key: called with an item; those of equal keys are handled one at a time, in order, and `None` is no key.
            None: the handler's own attribute `key`, or else the queue's `ordering_key`.
        lane_policy: which of several lanes goes first: "strict", `Strict(right_of_way=...)` or `Aging(every=...)`.
        time_limit: seconds that one item may take. A process is killed for it and a task cancelled; of a thread it
            is only said aloud.
        max_attempts: deliveries after which an item that fails goes to `dead_letter` instead of back.
        dead_letter: called with the item and its `Failure`, on a thread of the cleaner; only when it has returned is
            the item cleaned up, and counted as dropped.
        stop_when: asked by the supervisor, with `Stats`, whether to stop; `Idle(seconds)`, `MaxItems(n)`.
        supervision: a `Supervision`.
        observers: callables of one event.
        loop: the asyncio loop for coroutines; None: one of our own in a thread of its own.
        mp_context: "forkserver" (the default where there is one), "spawn" or "fork".
        owns_queue: call the queue's `close()`, if it has one, at the end.

    Raises:
        TypeError, ValueError: for a wrong argument, with its name, its value, and what is allowed.
    """

    def __init__(
        self,
        queue: Any,
        handler: Callable[[Any], object] | None = None,
        max_workers: int | None = None,
        max_handlers: int | None = None,
        messages_bulk_size: int = 1,
        worker_polling_time: float = 0,
        pool_initializer: Callable[[], object] | None = None,
        with_thread_executor: bool = True,
        *,
        pool: PoolName | None = None,
        receipt: Receipt | None = None,
        prefetch: int | None = None,
        backoff: Callable[[int], float] | None = None,
        time_limit: float | None = None,
        max_attempts: int | None = None,
        dead_letter: Callable[[Any, Failure], object] | None = None,
        stop_when: Callable[[Stats], bool] | None = None,
        supervision: Supervision | None = None,
        observers: Iterable[Observer] = (),
        loop: asyncio.AbstractEventLoop | None = None,
        mp_context: str | BaseContext | None = None,
        owns_queue: bool = True,
        key: Callable[[Any], Hashable] | None = None,
        lane_policy: LanePolicy | Literal["strict"] | None = None,
    ) -> None:
        check_is("supervision", supervision, Supervision, optional=True)
        check_loop(queue, loop)
        self._loop = Loop(loop)
        self._plug = Plug(queue, self._loop)
        self._options = checked(
            queue,
            self._plug.ports,
            handler=handler,
            max_workers=max_workers,
            max_handlers=max_handlers,
            messages_bulk_size=messages_bulk_size,
            worker_polling_time=worker_polling_time,
            pool_initializer=pool_initializer,
            with_thread_executor=with_thread_executor,
            pool=pool,
            receipt=receipt,
            prefetch=prefetch,
            backoff=backoff,
            time_limit=time_limit,
            max_attempts=max_attempts,
            dead_letter=dead_letter,
            stop_when=stop_when,
            observers=observers,
            mp_context=mp_context,
            owns_queue=owns_queue,
            key=key,
            lane_policy=lane_policy,
        )
        self._supervision = Supervision() if supervision is None else supervision
        self._ledger = Ledger()
        self._lanes = self._make_lanes()
        self._observers = Observers(self._options.observers)
        self._stations = self._make_stations()
        self._line = self._stations.line
        self._supervisor: Supervisor | None = None
        self._starting = threading.RLock()  # reentrant: a signal handler may call in the middle of start()
        self._starter: int | None = None  # the thread that is in start()
        self._sharing = threading.RLock()
        self._onces: list[Once] = []  # in run_once(), each on a thread of the user's
        self._busy_at = now()

    def _make_stations(self) -> Stations:
        closes = self._plug.closes(self._options.owns_queue)
        return Stations(self._options, self._lanes, self._ledger, self._observers, self._loop, closes)

    def _make_lanes(self) -> list[Lane]:
        lanes: list[Lane] = []
        for given, port in zip(self._plug.given, self._plug.ports, strict=True):
            lane = Lane(port, given.name, given.priority, self._options.key or port.ordering_key)
            if port.identity is not None or port.lease is not None:
                lane.custody = Custody(
                    port.identity,
                    port.lease,
                    renewed=port.extend is not None,
                    max_age=self._supervision.max_lease_age,
                    lease_of=port.lease_of,
                )
            lanes.append(lane)
        return lanes

    # ------------------------------------------------------------------ running

    def start(self) -> Self:
        """Start the getters, the pool, the cleaner and the supervisor. Of a running consumer: nothing.

        Raises:
            UsageError: it was stopped; a pool worker could not start.
        """
        with self._starting:
            match self.state:
                case State.RUNNING:
                    return self
                case State.DRAINING | State.STOPPED:
                    raise UsageError("a consumer that was stopped cannot start again: make a new Consumer")
                case State.NEW if self._starter is None:
                    self._starter = threading.get_ident()
                    try:
                        self._start()
                    finally:
                        self._starter = None
                case State.NEW:
                    pass  # called in the middle of start(), by something that it calls
        return self

    def _start(self) -> None:
        options, stations = self._options, self._stations
        pool = stations.pool(contextvars.copy_context(), self._supervision)
        try:
            pool.start()
            supervisor = Supervisor(
                stations,
                Watch(self._supervision, time_limit=options.time_limit, stuck_limit=options.handlers),
                pool,
                loop=self._loop,
                stats=self.stats,
            )
        except BaseException:
            self._line.asked = True  # parts of it are used up, so that it cannot start again
            pool.dismiss()
            self._loop.close(1.0)
            raise
        self._supervisor = supervisor  # from here on the state is RUNNING, or DRAINING if stop() came meanwhile
        started = ConsumerStarted(
            pool=options.pool, getters=len(supervisor.getters), handlers=options.handlers, stats=self.stats
        )
        self._observers.tell(started)
        supervisor.start()
        if self._options.handlers != options.handlers:  # resize() was called by a signal handler meanwhile
            supervisor.resize(self._options.handlers)

    def supervise(
        self,
        blocking: bool = False,
        polling_time: float = POLLING_TIME,
        stuck_time: float = STUCK_TIME,
        stuck_limit: int | None = None,
    ) -> threading.Thread | None:
        """Mind the line with these settings, starting it if need be. Only what is passed is changed.

        A started consumer is always supervised. Deaths at work are seen at once; `polling_time` is for the rest.

        Args:
            blocking: wait for the end, and drain on SIGINT and SIGTERM (in the main thread): the first lets what
                runs finish, the second stops now.
            polling_time: seconds between two looks.
            stuck_time: seconds with one item after which a handler is stuck; if passed, its place is then freed.
            stuck_limit: so many may be stuck at once; None: `max_handlers`.

        Returns:
            The supervisor's thread; None after blocking.

        Raises:
            SupervisionError: (blocking) what the supervisor gave up on; the consumer is stopped.
        """
        check_is("blocking", blocking, bool)
        self._supervision = self._supervision.but(**changes_of(polling_time, stuck_time, stuck_limit))
        if self._supervisor is not None:
            self._supervisor.watch.policy = self._supervision
            self._line.minder.ring()
        if blocking:
            self._block(self._start_if_new)
            return None
        self._start_if_new()
        return self._supervisor.thread if self._supervisor is not None else None

    def run(self) -> Report:
        """Start, block until stopped, drain: the whole life of a consumer in a script. Takes SIGINT and SIGTERM.

        Raises:
            SupervisionError: what the supervisor gave up on.
        """
        self._block(self.start)
        return self._end()

    def _start_if_new(self) -> None:
        if self.state is State.NEW:
            self.start()

    def _block(self, begin: Callable[[], object]) -> None:
        """Begin, and wait for the end. The first signal drains, the second stops now, from the very beginning on."""
        woken = Bell()
        signals = 0

        def on_signal(count: int) -> None:
            nonlocal signals
            signals = count
            if count > 1 and self._supervisor is not None:
                self._supervisor.deadline = 0.0
            self.stop()
            woken.ring()

        with taken(on_signal):
            try:
                begin()
            except UsageError:
                if not signals:  # otherwise it was stopped before it could start
                    raise
            supervisor = self._supervisor
            if supervisor is None:
                return
            supervisor.stopped.will_ring(woken)
            said = 0
            while not supervisor.stopped:
                woken.wait(1)  # and not for ever, since not on every system a signal ends a wait
                if said < signals:
                    said = signals
                    supervisor.draining.wait(1)  # so that it is true when it is said
                    self._say_draining(said)
        supervisor.join(5)
        if supervisor.failure is not None:
            raise supervisor.failure

    def _say_draining(self, signals: int) -> None:
        items = self.stats().in_flight
        sentence = (
            f"draining {items} items, at most {DRAIN_TIME:.0f} s; press again to stop now"
            if signals == 1
            else f"stopping now, with {items} items in flight"
        )
        try:
            print(sentence, file=sys.stderr, flush=True)
        except (OSError, ValueError):
            pass  # nobody can read it: the terminal is gone

    def run_once(self) -> Result:
        """One `get`, handled and cleaned up in the calling thread; for cron, Lambda functions and tests.

        Returns when every item of the bulk has its fate. `pool` is ignored; an `async def` runs on the loop.

        Raises:
            UsageError: the consumer is running.
        """
        if self.state in (State.RUNNING, State.DRAINING):
            raise UsageError(f"run_once() is for a consumer that does not run; this one is {self.state.value}")
        once = Once(self._make_stations(), self._loop)
        with self._sharing:  # the loop, with others that are in here
            self._loop.reopen()
            self._onces.append(once)
        try:
            return once.run()
        finally:
            with self._sharing:
                self._onces.remove(once)
                if self.state is State.STOPPED and not self._onces:  # nobody will come to close it
                    self._loop.close(1.0)
            once.close()

    # ------------------------------------------------------------------ stopping

    def stop(self) -> None:
        """Ask the consumer to stop, and return at once. From anywhere, signal handlers too; twice does no harm."""
        self._line.asked = True
        self._line.minder.ring()

    def shutdown(self, timeout: float = DRAIN_TIME) -> Report:
        """Stop, and wait: for what runs, `timeout` seconds at most, and for cleanups, 5 more at most.

        On threads of this consumer's own, where waiting for the end would be waiting for oneself, it returns a
        provisional report at once.

        Raises:
            SupervisionError: what the supervisor gave up on.
        """
        check_seconds("timeout", timeout, zero=True)
        deadline = now() + timeout
        supervisor = self._supervisor
        if supervisor is not None:
            supervisor.hurry(deadline)
        self.stop()
        return self._end(deadline)

    def _end(self, deadline: float | None = None) -> Report:
        if self._starter not in (None, threading.get_ident()):
            with self._starting:  # another thread is in the middle of start(), and there is something to wait for
                pass
            if deadline is not None and self._supervisor is not None:
                self._supervisor.hurry(deadline)
        supervisor = self._supervisor
        running = self._starter is not None or (supervisor is not None and not supervisor.stopped)
        if supervisor is None or (running and self._on_own_thread()):
            if not running:
                with self._sharing:
                    if not self._onces:
                        self._put_back()
                        self._loop.close(1.0)  # run_once() may have needed one
            stats = self.stats()
            return Report(stats=stats, balanced=stats.balanced, provisional=running)
        while not supervisor.stopped.wait(1):
            pass  # a signal that comes a moment before the wait does not end it, and is heard after it
        supervisor.join(5)
        if supervisor.failure is not None:
            raise supervisor.failure
        if supervisor.report is None:
            raise SupervisionError(f"the supervisor died before it could report: {supervisor.death()}")
        return supervisor.report

    def _put_back(self) -> None:
        """What `run_once` has released to a standard queue, and waits for its time, goes there now."""
        for port in self._plug.ports:
            if port.wrapped and port.close is not None and not is_async(port.queue.close):
                try:
                    port.close()
                except Exception as error:
                    log.error("queue.close raised: %r", error)

    def _on_own_thread(self) -> bool:
        return (
            on_own_thread(self._line)
            or threading.current_thread() is self._loop.thread
            or self._loop.is_here()
            or self._starter == threading.get_ident()
        )

    def pause(self) -> None:
        """Fetch no more until `resume()`; everything else goes on."""
        self._line.paused = True

    def resume(self) -> None:
        """Fetch again after `pause()`."""
        self._line.paused = False
        self._line.belt.wake_all()

    # ------------------------------------------------------------------ changing

    def observe(self, *observers: Observer) -> Self:
        """Have these told of every event too. Before `start()`: a line that nobody listens to is built for that.

        Raises:
            UsageError: it was started.
        """
        added = checked_observers(observers)
        with self._starting:
            if self.state is not State.NEW or self._starter is not None:
                how = "starting" if self.state is State.NEW else self.state.value
                raise UsageError(f"observe() is for a consumer that was not started; this one is {how}")
            self._options = replace(self._options, observers=(*self._options.observers, *added))
            self._observers.add(added)
            self._stand_anew()
        return self

    def resize(self, max_handlers: int) -> None:
        """Let so many handlers run at once from now on; any thread, at any time.

        New ones come at once. Those that are too many end after the call that they are in, the idle ones first.
        """
        check_whole("max_handlers", max_handlers, least=1)
        with self._starting:
            self._options = replace(self._options, handlers=max_handlers)
            if self._supervisor is not None:
                self._supervisor.resize(max_handlers)
            elif (
                self.state is State.NEW and self._starter is None
            ):  # or this is a signal handler, and start() sees to it
                self._stand_anew()

    def _stand_anew(self) -> None:
        """Put the stations together as the options are now; nothing runs yet."""
        before = self._line
        self._stations = self._make_stations()
        self._line = self._stations.line
        self._line.paused = before.paused
        if before.asked:  # looked at last: stop() may be called meanwhile
            self._line.asked = True

    # ------------------------------------------------------------------ asking

    @property
    def queue(self) -> Any:
        """The queue that it was given."""
        return self._plug.queue

    @property
    def options(self) -> Options:
        """The arguments, with the defaults put in. Read only; `handlers` follows `resize`."""
        return self._options

    def workers(self, stacks: bool = False) -> tuple[WorkerStatus, ...]:
        """The getters and handlers as they are now, with their stacks if asked for; none if it does not run.

        A child process is asked for its stack, and has half a second to answer.
        """
        supervisor = self._supervisor
        return () if supervisor is None or supervisor.stopped else tuple(supervisor.workers(stacks))

    def lanes(self) -> tuple[LaneStatus, ...]:
        """The queues it fetches from, and how much of each waits for a handler."""
        belt = self._line.belt
        waiting: Counter[int] = Counter()
        for parcel in list(belt.waiting):
            chunk = belt.chunk_of(parcel)
            waiting[id(chunk.lane)] += len(chunk.items)
        return tuple(
            LaneStatus(
                name=lane.name, priority=lane.priority, waiting=waiting[id(lane)], fetching=self._fetching(of=lane)
            )
            for lane in self._lanes
        )

    @property
    def state(self) -> State:
        """NEW, RUNNING, DRAINING or STOPPED."""
        supervisor = self._supervisor
        return state_of(
            started=supervisor is not None,
            asked=self._line.asked,
            stopped=supervisor is not None and bool(supervisor.stopped),
        )

    def stats(self) -> Stats:
        """A snapshot. Any thread, at any time."""
        line, ledger, supervisor = self._line, self._ledger, self._supervisor
        if not ledger.settled():
            self._busy_at = now()
        queue_stats: Any = {}
        try:
            queue_stats = self._plug.stats()
        except Exception as error:  # a figure less, and the reason in its place
            queue_stats = {"error": repr(error)}
        return Stats(
            state=self.state,
            **{name: ledger.total(name) for name in COUNTED},
            in_flight=self._in_flight(),
            revived=supervisor.revived if supervisor else 0,
            stuck=supervisor.stuck if supervisor else 0,
            fetching=self._fetching(),
            idle=max(0.0, now() - max(self._busy_at, *(lane.filled_at for lane in line.lanes))),
            queue=queue_stats,
        )

    def _in_flight(self) -> int:
        """What the stations hold, counted; not computed from the ledger, which it is to check."""
        held = [*self._stations.holds()]
        for once in list(self._onces):
            held += once.holds()
        if self._supervisor is not None:
            for worker in (*self._supervisor.getters, *self._supervisor.pool.everybody()):
                held += worker.holds()
        return sum(len(items) for items in held)

    def _fetching(self, of: Lane | None = None) -> str:
        if self.state is not State.RUNNING or self._supervisor is None:
            return self.state.value
        supervisor = self._supervisor
        getters = [getter for getter in supervisor.getters if of in (None, getter.lane)]
        doing = [getter.doing for getter in getters if getter.alive]
        if "yes" in doing:
            return "yes"
        if doing and self._line.paused:
            return "paused"
        if doing:
            return next((why for why in doing if why != ASLEEP), ASLEEP)
        dead = getters[0]
        due = supervisor.watch.due(dead.name)
        return f"{dead.name} is revived in {max(0.0, (due or now()) - now()):.1f} s: {dead.death()}"

    def wait_idle(self, timeout: float | None = None) -> bool:
        """Wait until the queue had nothing more and nothing is in flight, `timeout` seconds at most.

        Returns:
            True if that was so at some moment after the call; False if the time was up, or the consumer stopped.
        """
        called = now()
        line = self._line
        bell = Bell()
        line.watching.append(bell)
        try:
            while True:
                if self._is_idle(called):
                    return True
                left = 1.0 if timeout is None else called + timeout - now()
                if left <= 0 or self.state in (State.NEW, State.STOPPED):
                    return False
                bell.wait(min(left, 0.1))
        finally:
            line.watching.remove(bell)

    def _is_idle(self, since: float) -> bool:
        """True if after `since` the queue was found empty, and no earlier `get` nor any item is under way."""
        if any(not lane.empty or lane.emptied_at < max(since, lane.returned_at) for lane in self._lanes):
            return False
        getters = self._supervisor.getters if self._supervisor is not None else []
        return all(getter.began >= getter.lane.emptied_at for getter in getters) and self._ledger.settled()

    def __repr__(self) -> str:
        return f"<Consumer of {self._plug.queue!r} {self.stats()}>"

    # ------------------------------------------------------------------ in a with statement, and in asyncio programs

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.shutdown()
        except Exception:
            if error is None:  # otherwise the one in flight is the one to see
                raise

    async def __aenter__(self) -> Self:
        try:
            await in_thread(self.start)
        except BaseException as error:
            self.stop()
            if not isinstance(error, Exception):  # cancelled: it may be running, and nobody leaves what was not entered
                await self.__aexit__(*sys.exc_info())
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await in_thread(lambda: self.__exit__(kind, error, trace))

    async def arun(self, stop: asyncio.Event | None = None) -> Report:
        """`run()` for asyncio programs, until `stop` is set; signals are left to the program."""
        import asyncio

        await self.__aenter__()
        assert self._supervisor is not None
        ended = asyncio.ensure_future(in_thread(self._supervisor.stopped.wait))
        asked = asyncio.ensure_future((stop or asyncio.Event()).wait())
        try:
            await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:  # cancelled, as asyncio.run() does on Ctrl-C: it drains all the same
            await self.__aexit__(*sys.exc_info())
            raise
        finally:
            asked.cancel()
            self.stop()
        return await in_thread(self._end)

    async def ashutdown(self, timeout: float = DRAIN_TIME) -> Report:
        """`shutdown()` for asyncio programs."""
        return await in_thread(lambda: self.shutdown(timeout))

    async def await_idle(self, timeout: float | None = None) -> bool:
        """`wait_idle()` for asyncio programs."""
        return await in_thread(lambda: self.wait_idle(timeout))


COUNTED = (
    "received",
    "cleaned",
    "dropped",
    "released",
    "left",
    "tombstoned",
    "lost",
    "abandoned",
    "failed",
    "duplicates",
)
