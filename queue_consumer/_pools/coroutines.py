"""Handlers that are coroutines: tasks on one event loop, as many at once as there are places."""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from typing import Any

from .._arguments import Options
from .._chunk import RETURNED, Chunk, Ending, Failure, Feed, Receipts, raised, returned
from .._current import entered
from .._events import ChunkStarted, log
from .._line import Line, now
from .._loops import Loop, in_thread
from .._port import is_async
from .._settling import Settling
from ._workers import Handler


class TaskBell:
    """A bell for a task: rung from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._event = asyncio.Event()

    def ring(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._event.set)
        except RuntimeError:
            pass  # the loop is closed, so nobody sleeps there any more

    async def wait(self, timeout: float) -> None:
        """Sleep until rung, `timeout` seconds at most."""
        alarm = self._loop.call_later(timeout, self._event.set)
        try:
            await self._event.wait()
        finally:
            alarm.cancel()
        self._event.clear()


class TaskHandler(Handler):
    """A task that takes chunks and has each handled in a task of its own, which can be cancelled alone."""

    def __init__(
        self,
        line: Line,
        name: str,
        settling: Settling,
        options: Options,
        context: contextvars.Context,
        loop: Loop,
    ) -> None:
        super().__init__(line, name, settling)
        self._handler: Any = options.handler
        self._explicit = options.receipt == "explicit"
        self._initializer = options.initializer
        self._context = entered(context, self.held)
        self._loop = loop
        self._call: asyncio.Task[Ending] | None = None
        self._forced = ""
        # What waits for a coroutine must not do so on the loop that this is to run on.
        self._waits = any(
            verb is not None and is_async(getattr(lane.port.queue, name))
            for lane in line.lanes
            for name, verb in (("attempt", lane.port.attempt), ("ordering_key", lane.port.ordering_key))
        )
        self.bell = TaskBell(loop.loop)  # type: ignore[assignment]

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._work(), self._loop.loop)

    async def _work(self) -> None:
        """`Worker._main` and `run`, for a task."""
        try:
            if self._initializer is not None:
                made = self._context.copy().run(self._initializer)
                if asyncio.iscoroutine(made):
                    await made
            while (chunk := await self._take()) is not None:
                await self._handle(chunk)
            self.finished = True
        except BaseException as error:  # the supervisor says so, and puts another in this place
            self.error = error
            if not isinstance(error, asyncio.CancelledError):
                log.exception("%s died: %r", self.name, error)
        finally:
            self.ended = True
            self.line.minder.ring()

    async def _take(self) -> Chunk | None:
        """`take`, for a task."""
        belt = self.line.belt
        while self.wanted():
            chunk = belt.lie_down(self.bell)
            if chunk is not None:
                return chunk
            try:
                if self.wanted():
                    await self.bell.wait(belt.patience())  # type: ignore[misc]
            finally:  # also if it is cancelled, or it would be rung in a living one's stead
                belt.get_up(self.bell)
            try:
                return belt.next()
            except IndexError:
                continue
        return None

    async def _handle(self, chunk: Chunk) -> None:
        if not self.settling.admit(chunk, self.tally):
            return
        began = now()
        self.held.append(chunk)
        if self.line.belt.dry:
            self.line.belt.let_in()
        if self.line.observed:
            self.line.observers.tell(ChunkStarted(worker=self.name, items=tuple(chunk.items), on_belt=began - chunk.at))
        feed: Feed[Any] = Receipts(chunk) if self._explicit else Feed(chunk)
        self._forced = ""
        self._call = asyncio.get_running_loop().create_task(
            self._guarded(chunk, feed), name=self.name, context=self._context.copy()
        )
        if self.place_lost or self.line.over:
            self._call.cancel()
        try:
            ending = await self._call
        except asyncio.CancelledError:  # before it could begin
            if not self._call.cancelled():
                raise  # it is we who are cancelled: the loop closes
            ending = self._forced_ending(feed)
        try:
            self.held.pop()
        except IndexError:
            return  # somebody else has accounted for it
        chunk.halted = chunk.halted or chunk.taken < len(chunk.items)  # the iterator dies with its call
        if ending is RETURNED and chunk.taken == len(chunk.items) and not self._explicit and self.line.simple:
            self.settling.clean(chunk.items, chunk.lane, self.tally)  # as nearly always: no verdict needed
            return
        took = now() - began
        if self._waits:
            await in_thread(lambda: self.settling.settle(chunk, ending, self.tally, self.name, took))
        else:
            self.settling.settle(chunk, ending, self.tally, self.name, took)

    async def _guarded(self, chunk: Chunk, feed: Feed[Any]) -> Ending:
        """The call; nothing that it raises gets any further, since an event loop would stop for a SystemExit."""
        try:
            result = await self._handler(feed)
        except asyncio.CancelledError as error:
            return self._forced_ending(feed) if self._forced else raised(error, feed.decided)
        except BaseException as error:
            return raised(error, feed.decided)
        return returned(result, chunk.items, feed.decided)

    def _forced_ending(self, feed: Feed[Any]) -> Ending:
        why = Failure("Cancelled", self._forced or "the task was cancelled")
        return Ending("died", why, None, feed.decided)

    def force(self, reason: str) -> None:
        """Cancel the call; the place lives on."""
        self._forced = reason
        call = self._call
        if call is not None:
            try:
                self._loop.loop.call_soon_threadsafe(call.cancel)
            except RuntimeError:
                pass  # the loop is closed, and the call with it

    def stack(self) -> str:
        call = self._call
        if call is None:
            return ""
        lines: list[str] = []
        waiting: Any = call.get_coro()
        while (frame := getattr(waiting, "cr_frame", None)) is not None:  # down to what it waits for
            lines += traceback.format_stack(frame, 1)
            waiting = waiting.cr_await
        return "".join(lines)
