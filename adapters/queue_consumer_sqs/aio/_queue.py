"""An SQS queue whose verbs are coroutines, which does as `SQSQueue` does, on the loop that it is called on."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from .._access import Access
from .._aws import Client
from .._cut import Cut
from .._limits import BATCH_SIZE, WAIT_TIME
from .._message import SQSMessage
from .._opened import Opened
from .._send import Sender, entry_of
from .._steps import Answer, Ask, Step, Until, Wait, take_async
from ._client import AsyncClient, needed

__all__ = ["AsyncSQSQueue"]

R = TypeVar("R")


class AsyncSQSQueue(Opened):
    """One queue, standard or FIFO, for `Consumer`, on aiobotocore.

    Its options and attributes are those of `SQSQueue`; it behaves as that does. What is different:

    * The verbs that call the service are coroutines. A `Consumer` runs them on its loop: give it `loop=`, and polls,
      deletes and `async def` handlers are all on the loop of the program.
    * A poll is cut by cancelling it, whoever does.
    * `client=` is not taken, since a client of aiobotocore belongs to one loop; `session=` is boto3's.

    The queue is looked up at once, by boto3, in calls that block. A program whose loop must not wait for them opens it
    by `await asyncio.to_thread(AsyncSQSQueue, "orders")`.

    Raises:
        TypeError, ValueError: for a wrong argument, with its name, its value, and what is allowed.
        QueueNotFound, AccessDenied, BadCredentials, Unreachable, NotInstalled: it cannot be used.
    """

    client: AsyncClient

    def _check(self, access: Access) -> None:
        if access.client is not None:
            raise ValueError(
                "client must be None for an AsyncSQSQueue, which makes clients of its own on the loop that it is "
                f"used on; got {access.client!r}. Pass session=, or how the service is reached"
            )
        if access.transport == "lean":
            raise ValueError("transport must be None or 'boto3' for an AsyncSQSQueue, whose calls aiobotocore makes")
        needed()

    def _take_over(self, finder: Client) -> None:
        self.client = AsyncClient(finder)
        finder.close()
        self._changed = threading.Lock()
        self._interrupts = 0
        self._waiting: dict[asyncio.Task[Any], float] = {}  # what may be cut, and when

    # ------------------------------------------------------------------ what the line does

    async def get(self, limit: int | None = None) -> list[SQSMessage]:
        """The next messages, waited for as long as a poll does; see `SQSQueue.get`."""
        with self._changed:
            interrupts = self._interrupts
        return await take_async(self._polling.get(limit), lambda step: self._do(step, interrupts))

    def interrupt(self) -> None:
        """Let every `get` that waits return soon. Called from any thread."""
        with self._changed:
            self._interrupts += 1
            now = time.monotonic()
            tasks = [task for task, until in self._waiting.items() if until <= now]
        for task in tasks:
            try:
                task.get_loop().call_soon_threadsafe(task.cancel)
            except RuntimeError:
                pass  # the loop is closed, and nothing waits there any more

    async def cleanup(self, items: Sequence[SQSMessage]) -> None:
        """Delete these.

        Raises:
            CleanupError: some were not: because they are not ours any more (`lost`), because that will not change
                (`hopeless`), or for another reason (`failed`).
        """
        self._polling.pace.done(len(items))
        await take_async(self._judging.delete(items), self._do)

    async def release(self, items: Sequence[SQSMessage], delay: float = 0) -> None:
        """Let these be seen again after `delay` seconds, or after what is left of the 12 hours that AWS allows.

        Raises:
            CleanupError: as `cleanup` does.
        """
        await take_async(self._judging.hide(items, delay), self._do)

    async def extend(self, items: Sequence[SQSMessage], seconds: float) -> None:
        """Hide these for so many seconds from now, within the 12 hours that AWS allows.

        Raises:
            LeaseLost: some are not ours any more.
        """
        await take_async(self._judging.extend(items, seconds), self._do)

    async def close(self) -> None:
        """Close the connections. If anything is called after that, new ones are opened."""
        await self.client.close()

    # ------------------------------------------------------------------ what scripts and senders do

    async def receive(self, limit: int = 10, *, wait_time: float | None = None) -> list[SQSMessage]:
        """One receive of up to 10 messages, hidden for the whole `lease`.

        Raises:
            SQSError: it failed.
        """
        most = BATCH_SIZE.check(limit, "limit")
        wait = None if wait_time is None else WAIT_TIME.check(wait_time)
        return self._polling.messages(await self.client.receive(**self._polling.arguments(most, wait)))

    async def put(
        self,
        body: str,
        *,
        delay: float = 0,
        group: str | None = None,
        deduplication_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """Send one message; its id. The arguments are those of `SQSQueue.put`."""
        entry = entry_of(body, delay, group, deduplication_id, attributes, fifo=self.fifo)
        answer = await self.client.call("send_message", QueueUrl=self.url, **entry)
        return str(answer["MessageId"])

    send = put

    async def put_many(self, entries: Iterable[Mapping[str, Any]]) -> list[str]:
        """Send many, in calls of ten and of 1 MiB at most; their ids. An entry maps `put`'s parameters to arguments.

        Raises:
            SendError: some were not sent, which it tells; the others were.
        """
        loop = asyncio.get_running_loop()

        def call(operation: str, **arguments: Any) -> dict[str, Any]:
            return asyncio.run_coroutine_threadsafe(self.client.call(operation, **arguments), loop).result()

        # It packs, waits and tries again; its calls are made on the loop all the same.
        return await asyncio.to_thread(Sender(call, self.url, self.fifo).put_many, list(entries))

    # ------------------------------------------------------------------ how it is done

    async def _do(self, step: Step, interrupts: int = 0) -> Answer:
        """Take one step, of a `get` that began after so many interrupts."""
        match step:
            case Wait(seconds):
                await self._cuttable(lambda: asyncio.sleep(seconds), 0, interrupts)
                return {}
            case Until(over, seconds):
                await self._cuttable(lambda: seeing(over, seconds), 0, interrupts)
                return {}
            case Ask(arguments, uncut):
                return await self._cuttable(lambda: self.client.receive(**arguments), uncut, interrupts)
            case _:
                return await self.client.call(step.operation, **step.arguments)

    async def _cuttable(self, make: Callable[[], Coroutine[Any, Any, R]], uncut: float, interrupts: int) -> R:
        """Await it, and raise `Cut` if it is cancelled by an interrupt."""
        us = asyncio.current_task()
        assert us is not None
        with self._changed:
            if interrupts != self._interrupts:
                raise Cut
            task = asyncio.create_task(make())
            self._waiting[task] = time.monotonic() + uncut
        try:
            return await task
        except asyncio.CancelledError:
            if interrupts == self._interrupts or us.cancelling():
                raise
            raise Cut from None
        finally:
            with self._changed:
                del self._waiting[task]


async def seeing(over: Future[bool], seconds: float) -> None:
    """Wait for it so long, and leave it as it is if that is cancelled."""
    await asyncio.wait([asyncio.shield(asyncio.wrap_future(over))], timeout=seconds)
