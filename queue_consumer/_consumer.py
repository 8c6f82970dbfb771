"""The line, put together: what the arguments mean, what is made of them, and what may be asked of it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import multiprocessing
import multiprocessing.context
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Generic, Literal, TypeAlias

from typing_extensions import Self, TypeVar

from ._bells import Bell
from ._belt import Belt
from ._chunk import RECEIPTS, Chunk, Ending, Failure, Feed, Receipt, Receipts, raised, returned
from ._cleaner import Cleaner, Hand
from ._current import entered
from ._errors import UsageError
from ._events import ConsumerStarted, Observer, Observers
from ._getter import ASLEEP, Getter
from ._ledger import Ledger, Report, Result, Stats
from ._lifecycle import State, state_of
from ._line import Lane, Line, now, on_own_thread
from ._loops import Loop
from ._pools._workers import Handler, Pool
from ._pools.threads import ThreadHandler
from ._port import Port, binds, is_async, items_of
from ._settling import Settling
from ._signals import taken
from ._supervision import Supervision, Watch, check_seconds, check_whole
from ._supervisor import DRAIN_TIME, Supervisor

T = TypeVar("T", default=Any)
PoolName: TypeAlias = Literal["threads", "processes", "coroutines"]
POOLS: tuple[PoolName, ...] = ("threads", "processes", "coroutines")

logging.getLogger("queue_consumer").addHandler(logging.NullHandler())


class Unset(float):
    """A default that says what is in force when nothing was passed, and can be told from the same number passed."""


POLLING_TIME, STUCK_TIME = Unset(1), Unset(60)


def cpus() -> int:
    """The CPUs that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


class Consumer(Generic[T]):
    """Wraps any queue: gets items from it, has them handled, and cleans up only what was consumed.

    Args:
        queue: any object with `get()`; see `queue_consumer.Queue` for what else it may have. Queues of the standard
            library and of asyncio work as they are.
        handler: a function of an iterator of items; None: the queue's own `handler`. *Asking for the next item is the
            receipt for the last*, so a handler finishes an item before it takes the next. An `async def` runs in
            coroutines.
        max_workers: getters, the threads that call `get()`; None: as many as CPUs.
        max_handlers: handlers that run at once; None: as many as CPUs.
        messages_bulk_size: most items that one call of the handler is given.
        worker_polling_time: seconds that a getter sleeps after every `get()`.
        pool_initializer: called without arguments once in each pool worker, replacements included.
        with_thread_executor: handlers in threads (True) or in processes (False), unless `pool` says.
        pool: "threads", "processes" or "coroutines"; None: coroutines for an `async def`, else as above.
        receipt: when an item counts as consumed: "advance" (when the next is asked for, or the handler returns),
            "return" (when the handler returns), "explicit" (when the handler says `items.ack(item)`). None: what the
            handler's own attribute `receipt` says, else "advance".
        prefetch: items that may wait on the belt; None: what the pool handles in about 50 ms; 0: none.
        backoff: called with how often an item was delivered; gives the seconds before a failed one is seen again. None:
            `Exponential(base=1, max=300)` where the queue counts deliveries, else `Constant(1)`.
        time_limit: seconds that one item may take. A process is killed for it and a task cancelled; of a thread it
            is only said aloud.
        max_attempts: deliveries after which an item that fails goes to `dead_letter` instead of back.
        dead_letter: called with the item and its `Failure`, on a thread of the cleaner; only when it has returned is the item
            cleaned up, and counted as dropped.
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
        mp_context: str | multiprocessing.context.BaseContext | None = None,
        owns_queue: bool = True,
    ) -> None:
        check_whole("max_workers", max_workers, least=1, optional=True)
        check_whole("max_handlers", max_handlers, least=1, optional=True)
        check_whole("messages_bulk_size", messages_bulk_size, least=1)
        check_whole("prefetch", prefetch, least=0, optional=True)
        check_whole("max_attempts", max_attempts, least=1, optional=True)
        check_seconds("worker_polling_time", worker_polling_time, zero=True)
        check_seconds("time_limit", time_limit, optional=True)
        check_callable("pool_initializer", pool_initializer, "without arguments")
        check_callable("backoff", backoff, "with the number of the attempt", 1)
        check_callable("dead_letter", dead_letter, "with an item and its failure", None, None)
        check_callable("stop_when", stop_when, "with Stats", None)
        check_is("with_thread_executor", with_thread_executor, bool)
        check_is("owns_queue", owns_queue, bool)
        check_is("supervision", supervision, Supervision, optional=True)
        check_is("loop", loop, asyncio.AbstractEventLoop, optional=True)
        observers = tuple(observers) if isinstance(observers, Iterable) else (observers,)  # type: ignore[redundant-expr]
        for observer in observers:
            check_callable("observers", observer, "with one event", None)
        if isinstance(queue, asyncio.Queue) and loop is None:
            raise ValueError("loop must be the loop of the producers when the queue is an asyncio.Queue; got None")

        self._loop = Loop(loop)
        port = Port(queue, self._loop)
        if (max_attempts is None) != (dead_letter is None):
            raise ValueError(
                f"max_attempts and dead_letter go together; got max_attempts={max_attempts!r}, dead_letter={dead_letter!r}"
            )
        if max_attempts is not None and port.attempt is None:
            raise ValueError(f"max_attempts needs a queue with attempt(item); {queue!r} has none")
        if handler is None:
            handler = getattr(queue, "handler", None)
        self._handler = checked_handler(handler)
        self._pool_name = chosen_pool(self._handler, pool, with_thread_executor)
        self._receipt = chosen_receipt(self._handler, receipt)
        self._getters = cpus() if max_workers is None else max_workers
        self._handlers = cpus() if max_handlers is None else max_handlers
        self._size = messages_bulk_size
        self._pause = worker_polling_time
        self._initializer = pool_initializer
        self._supervision = Supervision() if supervision is None else supervision
        self._time_limit = time_limit
        self._stop_when = stop_when
        self._owns_queue = owns_queue
        self._mp_context = mp_context
        if self._pool_name == "processes":
            from ._pools import processes  # only here: multiprocessing is heavy, and most consumers do without

            self._mp_context = processes.context(mp_context)
            processes.check_sendable(self._handler, pool_initializer, self._mp_context)
        elif mp_context is not None:
            raise ValueError(f"mp_context is for pool='processes'; got {mp_context!r} with pool={self._pool_name!r}")

        self._prefetch = prefetch
        self._backoff = backoff
        self._max_attempts = max_attempts
        self._dead_letter = dead_letter
        self._ledger = Ledger()
        self._line = self._make_line(Lane(port), Observers(observers))
        self._settling = self._make_settling(self._line)
        self._cleaner = self._settling.cleaner
        self._supervisor: Supervisor | None = None
        self._starting = threading.RLock()  # reentrant: a signal handler may call in the middle of start()
        self._starter: int | None = None  # the thread that is in start()
        self._onces: list[Once] = []  # in run_once(), each on a thread of the user's
        self._busy_at = now()

    def _make_line(self, lane: Lane, observers: Observers) -> Line:
        belt = Belt(self._ledger, lane=lane, handlers=self._handlers, size=self._size, prefetch=self._prefetch)
        return Line(lane=lane, ledger=self._ledger, belt=belt, observers=observers)

    def _make_settling(self, line: Line) -> Settling:
        settling = Settling(
            line, receipt=self._receipt, backoff=self._backoff, max_attempts=self._max_attempts
        )
        settling.cleaner = Cleaner(
            line, most=self._getters, dead_letter=self._dead_letter, delay_of=settling.delay_of
        )
        return settling

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
        line = self._line
        context = contextvars.copy_context()
        pool = self._make_pool(context)
        pool.start()
        getters = [self._hire_getter(f"getter-{number + 1}") for number in range(self._getters)]
        supervisor = Supervisor(
            line,
            watch=Watch(self._supervision, time_limit=self._time_limit, stuck_limit=self._handlers),
            pool=pool,
            cleaner=self._cleaner,
            settling=self._settling,
            getters=getters,
            hire_getter=self._hire_getter,
            loop=self._loop,
            stop_when=self._stop_when,
            stats=self.stats,
            owns_queue=self._owns_queue,
        )
        self._supervisor = supervisor  # from here on the state is RUNNING, or DRAINING if stop() came meanwhile
        line.observers.tell(
            ConsumerStarted(pool=self._pool_name, getters=self._getters, handlers=self._handlers)
        )
        self._cleaner.hire()
        for getter in getters:
            getter.start()
        supervisor.start()

    def _make_pool(self, context: contextvars.Context) -> Pool:
        line, settling, handler, receipt = self._line, self._settling, self._handler, self._receipt
        initializer = self._initializer
        match self._pool_name:
            case "threads":
                return Pool(
                    lambda name: ThreadHandler(line, name, settling, handler, receipt, initializer, context),
                    self._handlers,
                )
            case "coroutines":
                from ._pools.coroutines import TaskHandler

                return Pool(
                    lambda name: TaskHandler(
                        line, name, settling, handler, receipt, initializer, context, self._loop
                    ),
                    self._handlers,
                )
            case "processes":
                from ._pools.processes import ProcessPool

                return ProcessPool(
                    line,
                    settling,
                    handler,
                    receipt,
                    initializer,
                    count=self._handlers,
                    size=self._size,
                    context=self._mp_context,
                    policy=self._supervision,
                )

    def _hire_getter(self, name: str) -> Getter:
        return Getter(self._line, name, self._cleaner, self._pause)

    def supervise(
        self,
        blocking: bool = False,
        polling_time: float = POLLING_TIME,
        stuck_time: float = STUCK_TIME,
        stuck_limit: int | None = None,
    ) -> threading.Thread | None:
        """Mind the line with these settings, starting it if need be. Only what is passed is changed.

        A started consumer is always supervised. Deaths are seen at once; `polling_time` is for the rest.

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
        changes: dict[str, Any] = {}
        if not isinstance(polling_time, Unset):
            check_seconds("polling_time", polling_time)
            changes["polling_time"] = polling_time
        if not isinstance(stuck_time, Unset):
            check_seconds("stuck_time", stuck_time)
            changes["stuck_time"] = stuck_time
        if stuck_limit is not None:
            check_whole("stuck_limit", stuck_limit, least=0)
            changes["stuck_limit"] = stuck_limit
        self._supervision = self._supervision.but(**changes)
        if self._supervisor is not None:
            self._supervisor.watch.policy = self._supervision
            self._line.minder.ring()
        if self.state is State.NEW:
            self.start()
        if not blocking:
            return self._supervisor.thread if self._supervisor is not None else None
        self._block()
        return None

    def run(self) -> Report:
        """Start, block until stopped, drain: the whole life of a consumer in a script. Takes SIGINT and SIGTERM.

        Raises:
            SupervisionError: what the supervisor gave up on.
        """
        self.start()
        self._block()
        return self._end()

    def _block(self) -> None:
        """Wait for the end; signals drain, and once more stop."""
        supervisor = self._supervisor
        if supervisor is None:
            return
        woken = Bell()
        signals = 0

        def on_signal(count: int) -> None:
            nonlocal signals
            signals = count
            if count > 1:
                supervisor.deadline = 0.0
            self.stop()
            woken.ring()

        with taken(on_signal):
            supervisor.stopped.will_ring(woken)
            said = 0
            while not supervisor.stopped:
                woken.wait(1)  # and not for ever, since not on every system a signal ends a wait
                if said < signals:
                    said = signals
                    self._say_draining(said)
        supervisor.thread.join(5)
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
        self._loop.reopen()
        once = Once(self)
        self._onces.append(once)
        try:
            return once.run()
        finally:
            self._onces.remove(once)
            if self.state is State.STOPPED:  # nobody will come to close it
                self._loop.close(1.0)

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
        supervisor = self._supervisor
        if supervisor is not None:
            deadline = now() + timeout
            supervisor.deadline = deadline if supervisor.deadline is None else min(deadline, supervisor.deadline)
        self.stop()
        return self._end()

    def _end(self) -> Report:
        if self._starter not in (None, threading.get_ident()):
            with self._starting:  # another thread is in the middle of start(), and there is something to wait for
                pass
        supervisor = self._supervisor
        running = self._starter is not None or (supervisor is not None and not supervisor.stopped)
        if supervisor is None or (running and self._on_own_thread()):
            if not running:
                self._loop.close(1.0)  # run_once() may have needed one
            stats = self.stats()
            return Report(stats=stats, balanced=stats.balanced, provisional=running)
        supervisor.stopped.wait()
        supervisor.thread.join(5)
        if supervisor.failure is not None:
            raise supervisor.failure
        assert supervisor.report is not None
        return supervisor.report

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

    # ------------------------------------------------------------------ asking

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
        if line.lane.port.stats is not None:
            try:
                queue_stats = dict(line.lane.port.stats())
            except Exception as error:  # a figure less, and the reason in its place
                queue_stats = {"error": repr(error)}
        return Stats(
            state=self.state,
            **{name: ledger.total(name) for name in COUNTED},
            in_flight=self._in_flight(),
            revived=supervisor.revived if supervisor else 0,
            stuck=supervisor.stuck if supervisor else 0,
            fetching=self._fetching(),
            idle=max(0.0, now() - max(self._busy_at, line.lane.filled_at)),
            queue=queue_stats,
        )

    def _in_flight(self) -> int:
        """What the stations hold, counted; not computed from the ledger, which it is to check."""
        held = [*self._line.belt.holds(), *self._cleaner.holds()]
        for once in list(self._onces):
            held += once.holds()
        if self._supervisor is not None:
            for worker in (*self._supervisor.getters, *self._supervisor.pool.everybody()):
                held += worker.holds()
        return sum(len(items) for items in held)

    def _fetching(self) -> str:
        if self.state is not State.RUNNING or self._supervisor is None:
            return self.state.value
        supervisor = self._supervisor
        doing = [getter.doing for getter in supervisor.getters if getter.alive]
        if "yes" in doing:
            return "yes"
        if doing and self._line.paused:
            return "paused"
        if doing:
            return next((why for why in doing if why != ASLEEP), ASLEEP)
        dead = supervisor.getters[0]
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
                if line.lane.empty and line.lane.emptied_at >= called and self._ledger.settled():
                    return True
                left = 1.0 if timeout is None else called + timeout - now()
                if left <= 0 or self.state in (State.NEW, State.STOPPED):
                    return False
                bell.wait(min(left, 0.1))
        finally:
            line.watching.remove(bell)

    def __repr__(self) -> str:
        return f"<Consumer of {self._line.lane.port.queue!r} {self.stats()}>"

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
        except asyncio.CancelledError:
            self.stop()  # it may be running by now, and nobody would leave what was never entered
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await in_thread(lambda: self.__exit__(kind, error, trace))

    async def arun(self, stop: asyncio.Event | None = None) -> Report:
        """`run()` for asyncio programs, until `stop` is set; signals are left to the program."""
        await self.__aenter__()
        assert self._supervisor is not None
        ended = asyncio.ensure_future(in_thread(self._supervisor.stopped.wait))
        asked = asyncio.ensure_future((stop or asyncio.Event()).wait())
        try:
            await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
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


class Once:
    """`run_once`: the same stations, worked by one thread in turn.

    New ones for every call, since those of a consumer that was stopped send everything home.
    """

    def __init__(self, consumer: Consumer[Any]) -> None:
        self._consumer = consumer
        self._line = consumer._make_line(consumer._line.lane, consumer._line.observers)
        self._settling = consumer._make_settling(self._line)
        self._cleaner = self._settling.cleaner
        self._hand = Hand(self._cleaner, "run_once")
        self._held: deque[Any] = deque()

    def holds(self) -> list[list[Any]]:
        """The items in its hands, for the ledger's count."""
        held = [chunk.items for chunk in list(self._held)]
        return [*held, *self._line.belt.holds(), *self._cleaner.holds(), *self._hand.holds()]

    def run(self) -> Result:
        consumer, line = self._consumer, self._line
        before = consumer.stats()
        getter = Getter(line, "run_once", self._cleaner, consumer._size, 0)
        error = getter.fetch_once(consumer._handlers * consumer._size)
        held = self._held
        context = entered(contextvars.copy_context(), held)
        tally = getter.tally
        while line.belt.waiting:
            chunk = line.belt.next()
            held.append(chunk)
            began = now()
            feed: Feed[Any] = Receipts(chunk) if consumer._receipt == "explicit" else Feed(chunk)
            ending: Ending
            try:
                ending = returned(context.copy().run(self._call, feed), chunk.items, feed.decided)
            except Exception as failure:
                ending = raised(failure, feed.decided)
            except BaseException as failure:  # Ctrl-C: the item fails, the rest goes home, and on it goes
                self._settling.settle(chunk, raised(failure, feed.decided), tally, "run_once", now() - began)
                held.pop()
                self._settling.clear_belt(tally)
                self._clean()
                raise
            held.pop()
            self._settling.settle(chunk, ending, tally, "run_once", now() - began)
        self._clean()
        if error is not None:
            raise error
        after = consumer.stats()
        done = after.cleaned + after.dropped - before.cleaned - before.dropped
        return Result(succeeded=done, failed=after.received - before.received - done)

    def _call(self, feed: Any) -> object:
        handler = self._consumer._handler
        if is_async(handler):
            return self._consumer._loop.call(lambda: handler(feed))  # type: ignore[arg-type, return-value]
        return handler(feed)

    def _clean(self) -> None:
        """Clean up until nothing is left to do, waiting where something is to be tried again."""
        hand = self._hand
        while True:
            self._cleaner._due()
            hand.hand = self._cleaner.take(self._line.lane, 1 << 62)
            if hand.hand:
                hand.work()
            elif self._cleaner._later:
                self._cleaner.bell.wait(self._cleaner._next_due())
            else:
                return


def check_is(name: str, value: Any, kind: type, *, optional: bool = False) -> None:
    if not (isinstance(value, kind) or (optional and value is None)):
        allowed = kind.__name__ + (", or None" if optional else "")
        article = "an" if allowed[0] in "AEIOU" else "a"
        raise TypeError(f"{name} must be {article} {allowed}; got {value!r}")


def check_callable(name: str, value: Any, how: str, *arguments: Any) -> None:
    if value is not None and not (callable(value) and binds(value, *arguments)):
        raise TypeError(f"{name} must be callable {how}, or None; got {value!r}")


def checked_handler(handler: Any) -> Callable[[Any], object]:
    if handler is None:
        raise TypeError("handler must be given, or the queue must have one: a function of an iterator of items; got None")
    if not callable(handler):
        raise TypeError(f"handler must be a function of an iterator of items; got {handler!r}")
    call = getattr(handler, "__call__", None)
    if any(map(inspect.isgeneratorfunction, (handler, call))) or any(map(inspect.isasyncgenfunction, (handler, call))):
        raise TypeError(
            f"handler must not be a generator function, of which a call runs nothing; got {handler!r}: "
            "remove the yield and do the work in the loop"
        )
    if not binds(handler, iter(())):
        raise TypeError(
            f"handler must take one argument, an iterator of items; got {handler!r}: "
            "for a function of something else wrap it, as in each(function) for one item"
        )
    checked: Callable[[Any], object] = handler
    return checked


def chosen_pool(handler: Any, pool: Any, with_thread_executor: bool) -> PoolName:
    if pool is not None and pool not in POOLS:
        raise ValueError(f"pool must be one of {', '.join(map(repr, POOLS))}, or None; got {pool!r}")
    if is_async(handler):
        if pool not in (None, "coroutines") or not with_thread_executor:
            raise ValueError(f"pool must be 'coroutines' for an async handler; got {pool or 'processes'!r}")
        return "coroutines"
    if pool == "coroutines":
        raise ValueError(f"pool='coroutines' needs a handler that is an async def; got {handler!r}")
    return pool or ("threads" if with_thread_executor else "processes")


def chosen_receipt(handler: Any, receipt: Any) -> Receipt:
    chosen = receipt if receipt is not None else getattr(handler, "receipt", "advance")
    if chosen not in RECEIPTS:
        raise ValueError(f"receipt must be one of {', '.join(map(repr, RECEIPTS))}; got {chosen!r}")
    return chosen


async def in_thread(call: Callable[[], Any]) -> Any:
    """Run a blocking call in a daemon thread, so that the program's loop stays free while it waits."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_exception(error) if error is not None else future.set_result(result)

    def work() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as raised_:
            error = raised_
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            pass  # the loop is closed: whoever waited for this has gone

    threading.Thread(target=work, name="queue_consumer-waiting", daemon=True).start()
    return await future
