"""The border to aiobotocore: the only file that imports it, and only when a queue is opened.

Whatever boto3 has found, it is told: the region, and credentials, which boto3 goes on to renew. So both of them always
act in the same name. Connections belong to the loop that they were opened on; each loop that calls are made on has two
clients, as boto3's side has and for the same reason.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, NamedTuple

from .._aws import Client
from .._boto import CONNECT_TIMEOUT, CONNECTIONS, ONE_ATTEMPT, READ_TIMEOUT, RETRIES, library
from .._errors import BadCredentials, SQSError, Unreachable
from .._translation import translating

__all__ = ["AsyncClient", "needed"]


class Clients(NamedTuple):
    """Of one loop."""

    polls: Any
    work: Any


class Home:
    """The clients of one loop: a task that opens them, waits until they are wanted no more, and closes them.

    So they are closed also where nobody does, since who ends a loop cancels its tasks.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, open: Callable[[AsyncExitStack], Awaitable[Clients]]) -> None:
        self.loop = loop
        self.opened: asyncio.Future[Clients] = loop.create_future()
        self.over = asyncio.Event()
        self._calls = 0  # that run
        self._is_left = False
        self.task = loop.create_task(self._live(open))

    @contextmanager
    def in_use(self) -> Generator[Clients]:
        """The clients, for one call, which is not to be cut when they are left."""
        self._calls += 1
        try:
            yield self.opened.result()
        finally:
            self._calls -= 1
            if self._is_left and not self._calls:
                self.over.set()

    def leave(self) -> None:
        """No more calls will be made: close when the last of them is over."""
        self._is_left = True
        if not self._calls:
            self.over.set()

    async def _live(self, open: Callable[[AsyncExitStack], Awaitable[Clients]]) -> None:
        async with AsyncExitStack() as stack:
            try:
                self.opened.set_result(await open(stack))
            except Exception as error:
                self.opened.set_exception(error)
                return
            except BaseException:
                self.opened.cancel()
                raise
            await self.over.wait()


class AsyncClient:
    """Calls of the service from coroutines, counted, and their errors as ours.

    Args:
        finder: what the queue was found with, whose access, session and meter are ours too.
    """

    def __init__(self, finder: Client) -> None:
        self.access = finder.access
        self.meter = finder.meter
        self._finder = finder
        self._region: str = finder.raw.meta.region_name
        self._lock = threading.Lock()
        self._homes: list[Home] = []

    async def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """A method of the client, by its name: `await call("purge_queue", QueueUrl=...)`.

        Raises:
            SQSError: of the kind that it is, `from` what aiobotocore raised.
        """
        with (await self._home()).in_use() as clients:
            return await self._made(clients.work, operation, arguments)

    async def receive(self, **arguments: Any) -> dict[str, Any]:
        """`receive_message`; to cut it is to cancel it."""
        with (await self._home()).in_use() as clients:
            answer = await self._made(clients.polls, "receive_message", arguments)
        self.meter.received(answer.get("Messages") or ())
        return answer

    async def _made(self, client: Any, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            with translating(operation.replace("_", " ")):
                answer: dict[str, Any] = await getattr(client, operation)(**arguments)
                return answer
        except BadCredentials:
            if self._finder.renew():
                self._leave(Home.leave)  # those that run have nothing to do with it
            raise
        except SQSError as error:
            cause = error.__cause__
            if type(error) is SQSError and cause is not None and type(cause).__module__.startswith("aiohttp."):
                raise Unreachable(error.message, error.code) from cause  # it is all about connections there
            raise
        finally:
            self.meter.count(operation, arguments)

    async def close(self) -> None:
        """Close the connections; those of other loops as soon as these come to it."""
        for home in self._leave(lambda home: home.over.set()):
            if home.loop is asyncio.get_running_loop():
                await asyncio.wait({home.task})

    def _leave(self, how: Callable[[Home], object]) -> list[Home]:
        """Have the connections closed, and new ones opened at the next call."""
        with self._lock:
            homes, self._homes = self._homes, []
        for home in homes:
            if not home.loop.is_closed():
                home.loop.call_soon_threadsafe(how, home)
        return homes

    async def _home(self) -> Home:
        loop = asyncio.get_running_loop()
        with self._lock:
            home = next((home for home in self._homes if home.loop is loop and not home.task.done()), None)
            if home is None:
                self._homes = [other for other in self._homes if not other.task.done()]
                self._homes.append(home := Home(loop, self._open))
        # Others may wait for the same, so that whoever is cancelled does not end it.
        if not home.opened.done():
            await asyncio.shield(home.opened)
        return home

    async def _open(self, stack: AsyncExitStack) -> Clients:
        with translating("make a client"):
            session = make_session(self._finder.session)
            polls = await stack.enter_async_context(self._make(session, ONE_ATTEMPT))
            work = await stack.enter_async_context(self._make(session, self.access.retries or RETRIES))
            return Clients(polls, work)

    def _make(self, session: Any, retries: Any) -> Any:
        access = self.access
        return session.create_client(
            "sqs",
            region_name=self._region,
            endpoint_url=access.endpoint_url,
            aws_access_key_id=access.access_key_id,
            aws_secret_access_key=access.secret_access_key,
            aws_session_token=access.session_token,
            config=library("aiobotocore.config", EXTRAS).AioConfig(
                retries=dict(retries),
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=20 + READ_TIMEOUT,
                max_pool_connections=CONNECTIONS,
                warm_up_loader_caches=True,  # it reads files, in a thread
            ),
        )


EXTRAS = "sqs,aio"


def needed() -> None:
    """Raises `NotInstalled` where there is no aiobotocore."""
    library("aiobotocore.session", EXTRAS)


def make_session(theirs: Any) -> Any:
    """A session of aiobotocore with the profile and the credentials of a session of boto3."""
    named = theirs.profile_name
    session = library("aiobotocore.session", EXTRAS).AioSession(profile=None if named == "default" else named)
    session.register_component("credential_provider", Lender(theirs))
    return session


class Lender:
    """Gives aiobotocore the credentials that boto3 has."""

    def __init__(self, session: Any) -> None:
        self._session = session

    async def load_credentials(self) -> Any:
        lent = await asyncio.to_thread(self._session.get_credentials)
        if lent is None:
            return None
        frozen = await asyncio.to_thread(lent.get_frozen_credentials)
        kind: Any = library("aiobotocore.credentials", EXTRAS).AioCredentials

        class Lent(kind):  # type: ignore[misc]
            async def get_frozen_credentials(self) -> Any:
                stale = getattr(lent, "refresh_needed", None)
                if stale is not None and stale():
                    return await asyncio.to_thread(lent.get_frozen_credentials)
                return lent.get_frozen_credentials()

        return Lent(frozen.access_key, frozen.secret_key, frozen.token, method=lent.method)
