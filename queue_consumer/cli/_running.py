"""Runs consumers in this process until they end or a signal comes: the first drains, the second stops now."""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from queue_consumer import Report, State, Stats, UsageError
from queue_consumer.telemetry import Health

from ._exits import CommandError, Exit
from ._progress import many
from ._service import Service
from ._signals import Signals
from ._target import AWAY, Target, told, unreachable

__all__ = ["LEASH", "Running", "hold_leash"]

LOOK = 0.1  # seconds between two looks whether it is time to stop
LEASH = "QUEUE_CONSUMER_LEASH"  # the descriptor that a supervised copy reads: its end means that the parent is gone
log = logging.getLogger("queue_consumer.cli")


class Running:
    """Some consumers, started and drained together.

    Args:
        targets: the consumers.
        drain_timeout: seconds that what runs may take when it is time to stop.
        service: the service manager, if there is one.
        stop_after: asked of the `Stats` of each consumer, and of the seconds since the start, whether it has done
            enough.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        drain_timeout: float,
        stop_after: Callable[[Stats, float], bool] | None = None,
        service: Service | None = None,
    ) -> None:
        self._targets = targets
        self._drain_timeout = drain_timeout
        self._stop_after = stop_after
        # Its put() may interrupt another put() or get() of the same thread, so a signal handler may call it.
        self._news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._signals: list[int] = []
        self._asked = False  # to stop, by a signal
        self._draining: set[str] = set()
        self._codes: dict[str, Exit] = {}
        self._began = time.monotonic()
        self._service = Service() if service is None else service
        self._health = [Health() for _ in targets] if self._service.beats else []
        for target, health in zip(targets, self._health, strict=False):
            target.consumer.observe(health)

    def run(self) -> Exit:
        """Start them, wait for their end, and say how it was.

        Raises:
            CommandError: one could not start; those that had are drained.
        """
        with Signals(self._on_signal):
            hold_leash()
            refused = self._start()
            if refused is None:
                self._service.tell("READY=1", f"STATUS={many(len(self._targets), 'consumer')} running")
            while len(self._codes) < len(self._draining) or (refused is None and len(self._codes) < len(self._targets)):
                self._turn()
        if refused is not None:
            raise refused
        return self._code()

    def _start(self) -> CommandError | None:
        for target in self._targets:
            try:
                target.consumer.start()
            except AWAY as error:
                return self._refuse(unreachable(target.name, error))
            except UsageError as error:
                if not self._asked:  # otherwise it was stopped before it could start
                    return self._refuse(CommandError(f"{target.name} cannot start: {error}"))
                self._drain(target)
                continue
            except Exception as error:
                return self._refuse(CommandError(f"{target.name} cannot start: {told(error)}", Exit.UNEXPECTED))
            options = target.consumer.options
            words = f"%s: {many(options.handlers, 'handler')} in %s, {many(options.getters, 'getter')}"
            log.info(words, target.name, options.pool, extra={"event": "started", "consumer": target.name})
            threading.Thread(target=self._wait_for, args=(target,), daemon=True).start()
        return None

    def _refuse(self, error: CommandError) -> CommandError:
        """One cannot start: none goes on."""
        for target in self._targets:
            if target.consumer.state is not State.NEW:
                self._drain(target)
        return error

    def _wait_for(self, target: Target) -> None:
        thread = target.consumer.supervise()
        if thread is not None:
            thread.join()
        self._news.put(("ended", target))

    def _on_signal(self, number: int) -> None:
        """In the middle of anything: takes no lock."""
        if number != signal.SIGUSR1:
            self._asked = True
            for target in self._targets:
                target.consumer.stop()
        self._news.put(("signal", number))

    def _turn(self) -> None:
        self._service.beat(all(health.alive()[0] for health in self._health))
        quick = self._stop_after is not None or self._service.beats
        try:
            kind, what = self._news.get(timeout=LOOK if quick else 1.0)
        except queue.Empty:
            self._look()
            return
        match kind:
            case "signal" if what == signal.SIGUSR1:
                threading.Thread(target=self._tell_stacks, daemon=True).start()
            case "signal":
                self._signals.append(what)
                self._heed()
            case "ended":
                self._drain(what)
            case _:
                self._codes[what[0].name] = what[1]
                if what[1] is Exit.GAVE_UP or what[1] is Exit.UNEXPECTED:
                    for target in self._targets:
                        self._drain(target)

    def _look(self) -> None:
        """Whether some have done enough."""
        if self._stop_after is None:
            return
        for target in self._targets:
            if target.name not in self._draining and self._stop_after(
                target.consumer.stats(), time.monotonic() - self._began
            ):
                log.info("%s has done enough", target.name, extra={"event": "enough", "consumer": target.name})
                self._drain(target)

    def _heed(self) -> None:
        items = sum(target.consumer.stats().in_flight for target in self._targets)
        self._service.tell("STOPPING=1", f"STATUS=draining {many(items, 'item')}")
        if len(self._signals) == 1:
            words = f"draining {many(items, 'item')}, at most %g s; press again to stop now"
            log.warning(words, self._drain_timeout, extra={"event": "draining", "count": items})
            for target in self._targets:
                self._drain(target)
        elif len(self._signals) == 2:
            words = f"stopping now, with {many(items, 'item')} in flight"
            log.warning(words, extra={"event": "stopping", "count": items})
            for target in self._targets:
                threading.Thread(target=self._hurry, args=(target,), daemon=True).start()

    def _drain(self, target: Target) -> None:
        if target.name not in self._draining:
            self._draining.add(target.name)
            threading.Thread(target=self._shut_down, args=(target,), daemon=True).start()

    def _shut_down(self, target: Target) -> None:
        facts = {"event": "stopped", "consumer": target.name}
        code = Exit.UNEXPECTED
        try:
            report = target.consumer.shutdown(self._drain_timeout)
            code = code_of(report)
            log.info("%s %s", target.name, report, extra=facts)
            if code is Exit.LATE:
                words = "%s: the drain deadline was missed by %s"
                missed = dict.fromkeys((*report.forced, *(left.where for left in report.leftovers)))
                log.error(words, target.name, ", ".join(missed))
        except Exception as error:
            code = Exit.GAVE_UP if hasattr(error, "report") else Exit.UNEXPECTED
            log.error("%s gave up: %s: %s", target.name, type(error).__name__, error, extra=facts)
            if code is Exit.GAVE_UP:
                log.info("%s %s", target.name, getattr(error, "report", ""), extra=facts)
        finally:
            self._news.put(("over", (target, code)))

    def _hurry(self, target: Target) -> None:
        try:
            target.consumer.shutdown(0)
        except Exception as error:  # told by whoever waits for its end
            log.debug("%s: %r", target.name, error)

    def _tell_stacks(self) -> None:
        """Where each handler stands, for somebody who wonders why nothing moves."""
        busy = 0
        for target in self._targets:
            for worker in target.consumer.workers(stacks=True):
                if worker.kind == "handler" and worker.stack:
                    busy += 1
                    id = getattr(worker.item, "id", "")
                    facts = {
                        "event": "stack",
                        "consumer": target.name,
                        "worker": worker.name,
                        "seconds": worker.seconds,
                    }
                    words = "%s of %s is %s%s for %.3g s; it stands at:\n%s"
                    what = f" with {id}" if isinstance(id, (str, int)) and id != "" else ""
                    stack = worker.stack.rstrip()
                    log.warning(words, worker.name, target.name, worker.doing, what, worker.seconds, stack, extra=facts)
        if not busy:
            log.warning("no handler is busy", extra={"event": "stack"})

    def _code(self) -> Exit:
        codes = self._codes.values()
        for code in (Exit.UNEXPECTED, Exit.GAVE_UP):
            if code in codes:
                return code
        if len(self._signals) > 1:
            return Exit.INTERRUPTED if self._signals[1] == signal.SIGINT else Exit.TERMINATED
        return Exit.LATE if Exit.LATE in codes else Exit.CLEAN


def code_of(report: Report) -> Exit:
    if not report.balanced:
        return Exit.UNEXPECTED
    return Exit.LATE if report.forced or report.leftovers else Exit.CLEAN


def hold_leash() -> None:
    """A copy whose parent is gone drains: nobody would replace it, nor stop it."""
    given = os.environ.pop(LEASH, "")
    if not given:
        return
    leash = int(given)
    os.set_inheritable(leash, False)

    def wait() -> None:
        while os.read(leash, 1):
            pass
        print("queue-consumer: the parent process is gone, so this copy ends", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="queue_consumer-leash", daemon=True).start()
