"""Handlers in processes: long-lived children, each with its own socket, so that one death costs one chunk.

Each place is a thread of the parent that drives one child. It takes chunks off the belt as a thread handler does,
sends them, and settles them by what the child's words in shared memory say; when the child dies it settles what
the dead one held, and ends, and the supervisor puts a new thread with a new child into its place.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from typing import Any

from .._arguments import Options
from .._bells import Bell, Latch
from .._chunk import Chunk
from .._errors import UsageError
from .._line import Line, now
from .._settling import Settling
from .._supervision import Supervision
from . import _wire as wire
from ._births import Birth
from ._driving import LOOK, PARTING, START_TIME, UNGUARDED, Child, Terms
from ._workers import Handler, Pool


class ProcessHandler(Handler):
    """The parent's side of one child."""

    def __init__(self, pool: ProcessPool, name: str) -> None:
        super().__init__(pool.line, name, pool.settling)
        self._pool = pool
        self.ready = Latch()
        self.refusal = ""
        self._forced = ""
        self._child: Child | None = None
        self._where: str | None = None
        self._told = Bell()
        self._asking = threading.Lock()  # one at a time asks the child where it stands

    def run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by the child, until it ignores it
        try:
            while self.wanted():
                self._drive(Child(self._pool.terms, self, self.told))
        finally:
            self.ready.open()

    def _drive(self, child: Child) -> None:
        self._child = child
        try:
            if child.wait_until_ready():
                self.ready.open()
                child.serve()
        except BaseException as error:
            child.end(0)
            died = isinstance(error, EOFError)  # anything else should not be, but its items must not pay for it
            child.bury(self._forced or (child.epitaph() if died else f"its parent stumbled: {error!r}"))
            if died:
                raise Dead(self._forced or child.epitaph()) from None
            raise
        finally:
            child.end(PARTING)
            self._child = None
            child.forget()

    def wanted(self) -> bool:
        return super().wanted() and not ((child := self._child) is not None and child.lost)

    def look(self) -> None:
        """See whether the child lives: one that dies while it has nothing to do is not missed by anybody."""
        child = self._child
        if child is not None and child.gone():
            child.lost = True
            self.bell.ring()

    def death(self) -> str:
        return str(self.error)

    @property
    def busy(self) -> Any:
        try:
            return None if (child := self._child) is None else child.busy()
        except ValueError:
            return None  # its words are gone, and it with them

    def item(self) -> Any:
        try:
            return None if (child := self._child) is None else child.item()
        except ValueError:
            return None

    def stack(self) -> str:
        """Asked of the child; one that is stopped, or holds its interpreter in C code, cannot answer."""
        with self._asking:
            return self._ask_where()

    def _ask_where(self) -> str:
        child = self._child
        self._told, self._where = Bell(), None  # an answer that came too late the last time is none to this
        if child is None or not child.tell(wire.STACK):
            return super().stack()
        self._told.wait(0.5)
        return (
            self._answer()
            or "the process does not answer: it is stopped, or in code that does not let go of its interpreter"
        )

    def _answer(self) -> str | None:
        return self._where

    def told(self, where: str) -> None:
        self._where = where
        self._told.ring()

    def halt(self) -> None:
        child = self._child
        if child is not None and not child.halted:
            child.halted = child.tell(wire.RECALL + wire.HALT)

    def force(self, reason: str) -> None:
        self._forced = reason
        if self._child is not None:
            self._child.kill()

    def abandon(self) -> list[Chunk]:
        self.retire()
        child = self._child
        return [] if child is None else child.take_over()

    def bury(self) -> None:
        if self._child is not None:
            self._child.bury(self._forced)

    def holds(self) -> list[Any]:
        child = self._child
        return [] if child is None else child.holds()


class Dead(Exception):
    """A child has died."""


class ProcessPool(Pool):
    """Places whose workers are children."""

    name = "processes"

    def __init__(self, line: Line, settling: Settling, options: Options, policy: Supervision) -> None:
        super().__init__(lambda name: ProcessHandler(self, name), options.handlers)
        self.line = line
        self.settling = settling
        self.birth = Birth(options.mp_context, options.handler, options.initializer, options.receipt)
        explicit = options.receipt == "explicit"
        flags = options.size if explicit or line.leased else 0
        self.terms = Terms(self.birth, lambda: self.count, explicit, flags, policy)

    def start(self) -> None:
        """Returns when every child is ready.

        Raises:
            UsageError: one could not start, and why.
        """
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            print(f"queue_consumer: {UNGUARDED}", file=sys.stderr, flush=True)
            os._exit(1)  # we are a child that reads the script again; a traceback for each would hide the sentence
        self.birth.prepare()
        super().start()
        until = now() + START_TIME
        for handler in self.handlers:
            assert isinstance(handler, ProcessHandler)
            while now() < until and not self.line.asked and not handler.ready.wait(LOOK):
                pass
        failed = next((handler.error for handler in self.handlers if handler.error is not None), None)
        if failed is not None:
            raise failed if isinstance(failed, UsageError) else UsageError(f"a child process could not start: {failed}")

    def sweep(self) -> None:
        super().sweep()
        for handler in self.handlers:
            assert isinstance(handler, ProcessHandler)
            handler.look()

    def close(self) -> None:
        self.birth.close()
