"""An event loop for those parts of the line that are coroutines: verbs of the queue, and handlers.

Either the user's own loop, which runs elsewhere, or one in a thread of ours, made when first needed.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from ._errors import BackendError, UsageError

if TYPE_CHECKING:  # it takes long to load, and most consumers do without; whoever needs it loads it
    import asyncio

R = TypeVar("R")


class Loop:
    """Runs coroutines for threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._theirs = loop
        self._ours: asyncio.AbstractEventLoop | None = None
        self._making = threading.Lock()
        self.thread: threading.Thread | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, running."""
        if self._theirs is not None:
            return self._theirs
        import asyncio

        with self._making:
            if self._ours is None:
                self._ours = asyncio.new_event_loop()
                self.thread = threading.Thread(
                    target=run_and_close, args=(self._ours,), name="queue_consumer-loop", daemon=True
                )
                self.thread.start()
            return self._ours

    def call(self, make: Callable[[], Coroutine[Any, Any, R]], timeout: float | None = None) -> R:
        """Run a coroutine on the loop and wait for its result, for `timeout` seconds at most."""
        import asyncio
        import concurrent.futures

        loop = self.loop
        if loop.is_closed():
            raise BackendError("the event loop that the queue's coroutines run on is closed")
        if self.is_here():
            raise UsageError("a coroutine cannot be waited for on the very event loop that it is to run on")
        future = asyncio.run_coroutine_threadsafe(make(), loop)
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError:
            raise BackendError("a coroutine of the queue's was cancelled") from None
        except TimeoutError:
            if not future.done():  # ours, and not one that the coroutine itself raised
                future.cancel()
            raise

    def is_here(self) -> bool:
        """True on the thread of the loop, theirs or ours, while it runs."""
        if self._theirs is None and self._ours is None:
            return False
        import asyncio

        try:
            return asyncio.get_running_loop() in (self._theirs, self._ours)
        except RuntimeError:
            return False

    def reopen(self) -> None:
        """Let there be a new loop of our own, when it is needed, if that which there was is closed."""
        if self._ours is not None and self._ours.is_closed():
            self._ours = self.thread = None

    def close(self, timeout: float) -> bool:
        """End our own loop; True if its thread has ended (or there was none)."""
        if self._ours is None or self.thread is None or self._ours.is_closed():
            return True
        loop, thread = self._ours, self.thread
        loop.call_soon_threadsafe(self._finish)
        thread.join(timeout)
        return not thread.is_alive()

    def _finish(self) -> None:
        """On the loop: cancel what still runs, let it hear of that, and stop."""
        import asyncio

        loop = asyncio.get_running_loop()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()

        async def last() -> None:
            if tasks:
                await asyncio.wait(tasks, timeout=1)
            await loop.shutdown_asyncgens()
            loop.stop()

        self._last = loop.create_task(last())


def run_and_close(loop: asyncio.AbstractEventLoop) -> None:
    """Closed by its own thread, since nobody waits for one that a stubborn coroutine keeps from stopping."""
    try:
        loop.run_forever()
    finally:
        loop.close()


async def in_thread(call: Callable[[], R]) -> R:
    """Run a blocking call in a daemon thread, so that the program's loop stays free while it waits."""
    import asyncio

    loop = asyncio.get_running_loop()
    future: asyncio.Future[R] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_exception(error) if error is not None else future.set_result(result)

    context = contextvars.copy_context()

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(call)
        except BaseException as raised_:
            error = raised_
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            pass  # the loop is closed: whoever waited for this has gone

    threading.Thread(target=work, name="queue_consumer-waiting", daemon=True).start()
    return await future
