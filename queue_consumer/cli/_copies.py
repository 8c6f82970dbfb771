"""Supervised copies of one program: one that dies is replaced, and the others go on.

The copies are in process groups of their own, so that Ctrl-C at a terminal comes to this process alone, which tells
them once; and each holds one end of a pipe whose other end is here, so that none outlives us for longer than it drains.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ._changes import Changes
from ._exits import Exit
from ._progress import many
from ._running import LEASH
from ._service import Service
from ._signals import Signals

__all__ = ["Copies", "Copy"]

BASE, LONGEST = 0.1, 30.0  # seconds before a copy that died is replaced; doubled each time
QUIET = 10.0  # a copy that has lived for so long is replaced at once
PARTING = 15.0  # seconds beyond the drain timeout before a copy is killed
LOOK = 1.0
ENDS = (Exit.CLEAN, Exit.LATE, Exit.USAGE, Exit.UNREACHABLE)  # of a program that was not ended by a crash
log = logging.getLogger("queue_consumer.cli")


class Copy:
    """One place for a copy of the program."""

    def __init__(self, number: int, arguments: Sequence[str]) -> None:
        self.number = number
        self.arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None
        self.began = 0.0
        self.deaths = 0  # in a row
        self.due: float | None = None  # when it is replaced
        self.again = False  # it was told to end only to begin anew
        self.started = 0
        self.code: int | None = None  # of the last one

    @property
    def alive(self) -> bool:
        return self.process is not None

    def start(self, leash: int, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "queue_consumer", *self.arguments],
            pass_fds=(leash,),
            env={**environment, LEASH: str(leash), "QUEUE_CONSUMER_COPY": str(self.number)},
            process_group=0,
        )
        self.began, self.due, self.again, self.code = time.monotonic(), None, False, None
        self.started += 1
        return self.process

    def send(self, number: int) -> None:
        if self.process is not None:
            self.process.send_signal(number)  # of one that has ended it knows so, and does nothing


class Copies:
    """Runs them until they end or a signal comes: the first has all drain, the second stops them now.

    Args:
        commands: the arguments of each copy.
        drain_timeout: what they were given.
        watch: a folder; when a Python file of it changes, all copies are ended and begun anew.
    """

    def __init__(
        self,
        commands: Sequence[Sequence[str]],
        *,
        drain_timeout: float,
        watch: Path | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._copies = [Copy(number, arguments) for number, arguments in enumerate(commands, 1)]
        self._drain_timeout = drain_timeout
        self._jitter = jitter
        self._news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()  # see Running
        self._signals: list[int] = []
        self._worst = Exit.CLEAN
        self._crashes: list[int] = []  # how those ended that were replaced
        self._stop_by: float | None = None
        self._changes = None if watch is None else Changes(watch, lambda paths: self._news.put(("changed", paths)))
        self._leash, self._end = os.pipe()

    def run(self) -> Exit:
        service = Service()  # which takes its variables out of the environment of the copies
        try:
            with Signals(lambda number: self._news.put(("signal", number))):
                if self._changes is not None:
                    self._changes.start()
                for copy in self._copies:
                    self._start(copy)
                service.tell("READY=1", f"STATUS={many(len(self._copies), 'copy', 'copies')} running")
                while any(copy.alive or copy.due is not None for copy in self._copies) or self._waits():
                    self._turn()
                    service.beat(True)
        finally:
            if self._changes is not None:
                self._changes.close()
            for copy in self._copies:
                if copy.process is not None:
                    copy.process.kill()
                    copy.process.wait()
            os.close(self._end)
            os.close(self._leash)
        return self._code()

    def _waits(self) -> bool:
        """Nothing runs, but a change of the code may mend that."""
        return self._changes is not None and not self._signals and any(copy.code for copy in self._copies)

    def _start(self, copy: Copy) -> None:
        try:
            process = copy.start(self._leash, os.environ)
        except OSError as error:  # no memory, no more processes: the others go on
            delay = self._put_off(copy)
            facts = {"event": "copy not started", "copy": copy.number}
            log.error("copy %d cannot be started, and is in %.3g s: %s", copy.number, delay, error, extra=facts)
            return
        facts = {"event": "copy started", "copy": copy.number, "pid": process.pid}
        log.info("copy %d runs as process %d", copy.number, process.pid, extra=facts)

        def wait() -> None:
            process.wait()
            self._news.put(("exit", (copy, process)))

        threading.Thread(target=wait, daemon=True).start()

    def _turn(self) -> None:
        for copy in self._copies:
            if copy.due is not None and copy.due <= time.monotonic():
                self._start(copy)
        if self._stop_by is not None and time.monotonic() > self._stop_by:
            self._stop_by = None
            self._tell(signal.SIGKILL)
        wait = min([LOOK, *(max(0.0, copy.due - time.monotonic()) for copy in self._copies if copy.due is not None)])
        try:
            kind, what = self._news.get(timeout=max(wait, 0.001))
        except queue.Empty:
            return
        match kind:
            case "signal":
                self._heed(what)
            case "changed":
                self._renew(what)
            case _:
                self._ended(*what)

    def _tell(self, number: int) -> None:
        for copy in self._copies:
            copy.send(number)

    def _heed(self, number: int) -> None:
        if number == signal.SIGUSR1:
            self._tell(number)
            return
        self._signals.append(number)
        if len(self._signals) > 2:
            return
        if len(self._signals) == 1:
            alive = many(sum(copy.alive for copy in self._copies), "copy", "copies")
            words = f"draining {alive}, at most %g s; press again to stop now"
            log.warning(words, self._drain_timeout, extra={"event": "draining"})
            for copy in self._copies:
                if copy.due is not None:  # a crash that nobody makes good any more
                    copy.due = None
        else:
            log.warning("stopping all copies now", extra={"event": "stopping"})
        self._tell(signal.SIGTERM)
        self._stop_by = time.monotonic() + PARTING + (self._drain_timeout if len(self._signals) == 1 else 0)

    def _renew(self, paths: Sequence[str]) -> None:
        if self._signals:
            return
        shown = ", ".join(os.path.relpath(path) for path in paths[:3]) + (", …" if len(paths) > 3 else "")
        log.info("%s changed: all copies begin anew", shown, extra={"event": "reload"})
        for copy in self._copies:
            if copy.alive:
                copy.again = True
                copy.send(signal.SIGTERM)
            else:
                copy.deaths = 0
                copy.due = time.monotonic()

    def _ended(self, copy: Copy, process: subprocess.Popen[bytes]) -> None:
        if copy.process is not process:
            return
        code, lived = process.returncode, time.monotonic() - copy.began
        if code == -signal.SIGTERM and (self._signals or copy.again):
            code = int(Exit.CLEAN)  # it was told to end before it had begun to listen, and so had nothing to drain
        copy.process, copy.code = None, code
        facts = {"event": "copy ended", "copy": copy.number, "pid": process.pid, "code": code}
        if not self._signals and code not in ENDS:
            self._crashes.append(code)
        if copy.again and not self._signals:
            copy.due = time.monotonic()
        elif self._signals or code in (Exit.CLEAN, Exit.LATE):
            self._note(copy, code, facts)
        elif self._changes is not None:
            log.error(
                "copy %d ended with %s, and begins anew when a file changes", copy.number, words(code), extra=facts
            )
        elif code in (Exit.USAGE, Exit.UNREACHABLE) and copy.started == 1:
            # The others would not get any further, and have said why.
            self._worst = max(self._worst, Exit(code))
            for other in self._copies:
                other.due = None
                other.code = other.code or 0
            self._signals.append(0)
            self._tell(signal.SIGTERM)
            self._stop_by = time.monotonic() + PARTING + self._drain_timeout
        else:
            delay = self._put_off(copy, lived)
            log.error("copy %d ended with %s: it is replaced in %.3g s", copy.number, words(code), delay, extra=facts)

    def _put_off(self, copy: Copy, lived: float = 0.0) -> float:
        """Have it replaced, the later the more often that was in a row; in how many seconds."""
        copy.deaths = 1 if lived >= QUIET else copy.deaths + 1
        delay = 0.0 if lived >= QUIET else self._jitter() * min(LONGEST, BASE * 2.0 ** min(copy.deaths, 20))
        copy.due = time.monotonic() + delay
        return delay

    def _note(self, copy: Copy, code: int, facts: Mapping[str, Any]) -> None:
        level = logging.INFO if code == Exit.CLEAN else logging.WARNING
        how = "" if self._signals else " by itself,"
        log.log(level, "copy %d has ended%s with %s", copy.number, how, words(code), extra=facts)

    def _code(self) -> Exit:
        """What came of the last copy in each place, and of those that crashed and were replaced: never 0 after that."""
        if self._worst is not Exit.CLEAN:
            return self._worst
        if self._crashes:
            facts = {"event": "crashes", "count": len(self._crashes)}
            log.warning("of all copies %d crashed, and were replaced", len(self._crashes), extra=facts)
        codes = [*self._crashes, *(copy.code or 0 for copy in self._copies)]
        forced = len([number for number in self._signals if number]) > 1
        if forced:
            return Exit.INTERRUPTED if self._signals[1] == signal.SIGINT else Exit.TERMINATED
        for code in (Exit.UNEXPECTED, Exit.GAVE_UP, Exit.UNREACHABLE, Exit.USAGE, Exit.LATE):
            if code in codes:
                return code
        return Exit.CLEAN if not any(codes) else Exit.UNEXPECTED


def words(code: int) -> str:
    """An exit status in words."""
    if code < 0:
        try:
            return f"{signal.Signals(-code).name} (perhaps out of memory)" if code == -9 else signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"
