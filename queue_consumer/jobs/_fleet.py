"""A process for each queue, and somebody who minds them.

A child that dies is started again, alone, with growing delays; one that has stopped by itself is not. What is sent to
a child is the name of the registry and how to open its queue, so that it works under `spawn` and `forkserver`. A child
is in a process group of its own, so that Ctrl-C reaches it by us and only once, and ends when we are gone.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import random
import signal
import threading
import time
from collections.abc import Generator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from typing import Any

from queue_consumer import Consumer, CrashLoop, Report, Supervision

__all__ = ["Fleet"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
log = logging.getLogger("queue_consumer.jobs")


class Fleet:
    """Minds a process for each queue.

    Args:
        handler: what handles the items; one that can be pickled, as a registry that is a global can.
        queues: each a queue that can be pickled, or a function without arguments that opens one there.
        options: of the `Consumer`s. Their `supervision` holds for the processes too: its delays, and `max_restarts`.
        mp_context: "forkserver" (None, where there is one), "spawn" or "fork".
    """

    def __init__(self, handler: Any, queues: Sequence[Any], options: dict[str, Any], mp_context: Any) -> None:
        methods = multiprocessing.get_all_start_methods()
        if mp_context is not None and mp_context not in methods:
            raise ValueError(f"mp_context must be one of {', '.join(map(repr, methods))}, or None; got {mp_context!r}")
        method = mp_context or ("forkserver" if "forkserver" in methods else "spawn")
        context = multiprocessing.get_context(method)
        self._supervision: Supervision = options.get("supervision") or Supervision()
        try:
            sent = [pickle.dumps((handler, queue, options)) for queue in queues]
        except Exception as error:
            raise TypeError(
                "each queue of work(..., processes=True) must be one that can be pickled, or a function of a module "
                f"that opens it, as functools.partial(SQSQueue, 'emails') is: {error}"
            ) from error
        self._children = [
            Child(context, f"worker-{number}", what, self._supervision) for number, what in enumerate(sent)
        ]
        self._asked, self._ask = context.Pipe(duplex=False)
        self._asked_for = 0  # how often we were asked to stop

    def run(self) -> list[Report | None]:
        """Until all have stopped; their reports, in order, as far as they could be brought here.

        Raises:
            CrashLoop: one of them died more often than `supervision` allows; the others were stopped.
        """
        gave_up: CrashLoop | None = None
        with self._signals():
            try:
                while any(not child.done for child in self._children):
                    now = time.monotonic()
                    for child in self._children:
                        gave_up = child.mind(now, stopping=bool(self._asked_for) or gave_up is not None) or gave_up
                    if gave_up is not None and not self._asked_for:
                        self._stop()
                    self._wait(now)
            finally:
                for child in self._children:
                    child.end()
        if gave_up is not None:
            raise gave_up
        return [child.report for child in self._children]

    def _wait(self, now: float) -> None:
        """Until a child has ended, one is to be started, or we are asked to stop."""
        due = [child.due for child in self._children if child.due is not None]
        sentinels = [child.process.sentinel for child in self._children if child.process is not None]
        left = max(0.0, min(due) - now) if due else None
        if not sentinels and left is None:
            return
        if self._asked in wait([self._asked, *sentinels], left):
            self._asked.recv_bytes()
            self._stop()

    def _stop(self) -> None:
        """The first time, let them drain; the second, have them stop now."""
        for child in self._children:
            child.stop()

    @contextlib.contextmanager
    def _signals(self) -> Generator[None]:
        """While inside, SIGINT and SIGTERM ask us to stop. Only the main thread can have it so."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(number: int, frame: object) -> None:
            self._asked_for += 1
            if self._asked_for <= 2:
                self._ask.send_bytes(b"stop")

        before = {number: signal.signal(number, on_signal) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


class Child:
    """One process, its replacements included.

    Attributes:
        process: that which runs; None if none does.
        due: when the next one is to be started; None if none is.
        done: it has stopped, and nothing is to follow.
        report: what it said at its end.
    """

    def __init__(self, context: BaseContext, name: str, what: bytes, supervision: Supervision) -> None:
        self.name = name
        self.process: Any = None
        self.due: float | None = 0.0
        self.done = False
        self.report: Report | None = None
        self._context: Any = context
        self._what = what
        self._supervision = supervision
        self._started_at = 0.0
        self._in_a_row = 0
        self._deaths: list[float] = []
        self._ends: list[Connection] = []

    def mind(self, now: float, *, stopping: bool) -> CrashLoop | None:
        """Start it if it is time to, see what became of it if it has ended; what we give up on."""
        if self.process is None and not self.done:
            if stopping:
                self.done, self.due = True, None
            elif self.due is not None and self.due <= now:
                self._start(now)
        elif self.process is not None and not self.process.is_alive():
            return self._ended(now, stopping)
        return None

    def _start(self, now: float) -> None:
        lifeline, ours = self._context.Pipe(duplex=False)
        told, tell = self._context.Pipe(duplex=False)
        self.process = self._context.Process(
            target=serve, args=(self._what, lifeline, tell), name=f"queue_consumer.jobs-{self.name}"
        )
        self.process.start()
        lifeline.close()
        tell.close()
        self._ends = [ours, told]
        self.due = None
        self._started_at = now

    def _ended(self, now: float, stopping: bool) -> CrashLoop | None:
        code = self.process.exitcode
        told = self._ends[1]
        try:
            self.report = told.recv() if told.poll() else self.report
        except Exception as error:  # it holds something that cannot be brought here, and the rest is in the log
            log.warning("the report of %s cannot be read: %r", self.name, error)
        self.end()
        if code == 0 or stopping:
            self.done = True
            return None
        policy = self._supervision
        if now - self._started_at >= policy.quiet_time:
            self._in_a_row = 0
        delay = min(policy.restart_limit, policy.restart_base * 2 ** min(self._in_a_row, 60)) * random.random()
        self._in_a_row += 1
        self._deaths = [at for at in self._deaths if now - at < policy.restart_window] + [now]
        why = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        if policy.max_restarts is not None and len(self._deaths) > policy.max_restarts:
            self.done = True
            return CrashLoop(self.name, len(self._deaths), policy.restart_window, why)
        log.error("%s died (%s), to be started again in %.1f s", self.name, why, delay)
        self.due = now + delay
        return None

    def stop(self) -> None:
        """Ask it to stop, as a signal does: to drain, and asked again, at once."""
        if self.process is not None and self.process.is_alive():
            os.kill(self.process.pid, signal.SIGTERM)

    def end(self) -> None:
        """See that it is gone."""
        process, self.process = self.process, None
        if process is not None:
            if process.is_alive():
                process.kill()
            process.join()
            process.close()
        for connection in self._ends:
            connection.close()
        self._ends = []


def serve(what: bytes, lifeline: Connection, tell: Connection) -> None:
    """What a child does: open its queue, and work on it until told to stop."""
    os.setpgid(0, 0)
    threading.Thread(target=watch, args=(lifeline,), name="queue_consumer.jobs-lifeline", daemon=True).start()
    handler, queue, options = pickle.loads(what)
    opened = queue() if callable(queue) and not hasattr(queue, "get") else queue
    report = Consumer(opened, handler, **options).run()
    tell.send(report)


def watch(lifeline: Connection) -> None:
    """Drain when our parent is gone, whatever it died of."""
    try:
        lifeline.recv_bytes()
    except (EOFError, OSError):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
