"""What the next poll asks for, and what its answer means; others make it.

**How a poll ends.** A long poll cannot be called back. Who hangs up in the middle of one leaves the service waiting in
his name, and what it then gives to nobody is hidden for a whole visibility timeout. So a poll that may wait long, since
the last one brought nothing, asks for a short lease only, `idle_lease`; what it brings and is held for longer is
renewed to the whole one, as leases are. Such a poll can be cut without a second thought: what is lost with it is seen
again soon. A poll after one that brought something asks for the whole lease, waits a second at most, and is not cut.

**One at a time.** While a queue is idle, one poll waits at it, however many getters there are: more would bring nothing
sooner, and each costs money. The others wait for its end, and its answer is theirs if it is that nothing is there. Once
it has brought something, all poll side by side.
"""

from __future__ import annotations

import math
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from ._cut import Cut
from ._errors import SQSError, Unreachable
from ._health import Health
from ._limits import BATCH_SIZE
from ._message import SQSMessage
from ._steps import Ask, Steps, Until, Wait

__all__ = ["Polling"]

CALL = BATCH_SIZE.most  # messages of one receive
BUSY_WAIT = 1  # seconds that a poll waits after one that brought something
PATIENCE = 0.5  # seconds beyond that until it is cut all the same
OVERDUE = 10.0  # seconds beyond its wait until a poll is waited for no longer


class Polling:
    """How one queue is polled, by however many getters.

    Args:
        name, url, fifo: of the queue.
        lease: seconds that a message is hidden for.
        idle_lease: seconds that it is hidden for at first if its poll had to wait.
        wait_time: seconds that a poll waits.
        poll_interval: seconds between short polls that bring nothing.
        batch_size: the most messages of one `get`.
        message: makes a message of what the service gave, of the lease that it came with, and of when.

    Attributes:
        health: of the queue, as its polls see it.
        pace: how fast its messages are done.
    """

    def __init__(
        self,
        *,
        name: str,
        url: str,
        fifo: bool,
        lease: float,
        idle_lease: float,
        wait_time: float,
        poll_interval: float,
        batch_size: int,
        message: Callable[[Mapping[str, Any], float, float], SQSMessage],
    ) -> None:
        self.health = Health(name)
        self.pace = Pace()
        self._url = url
        self._fifo = fifo
        self._lease = lease
        self._idle_lease = min(lease, math.ceil(idle_lease) or 1)
        self._wait_time = math.ceil(wait_time)
        self._poll_interval = poll_interval
        self._batch_size = batch_size
        self._message = message
        self._lock = threading.Lock()
        self._idle = True  # the last poll brought nothing
        self._turn: tuple[int, Future[bool]] | None = None  # whose poll waits at an idle queue; True: it was empty
        self._next_poll = 0.0  # not before

    def get(self, limit: int | None) -> Steps[list[SQSMessage]]:
        """The next messages; fewer, or none, if interrupted."""
        want = self._batch_size if limit is None else min(max(limit, self.pace.bulk), self._batch_size)
        messages: list[SQSMessage] = []
        try:
            if (early := self._next_poll - time.monotonic()) > 0:
                yield Wait(early)
            messages = yield from self._poll(min(want, CALL), self._wait_time)
            brought = len(messages)
            while brought == CALL and len(messages) < want:
                more = yield from self._poll(min(want - len(messages), CALL), 0, once=True)
                brought = len(more)
                messages += more
        except Cut:
            return messages
        if not messages and self._poll_interval:
            self._next_poll = time.monotonic() + self._poll_interval
        return messages

    def arguments(self, most: int, wait: int | None = None, lease: float | None = None) -> dict[str, Any]:
        """What a receive asks for; by default it waits as polls do, and hides for the whole lease."""
        wait = self._wait_time if wait is None else wait
        lease = self._lease if lease is None else lease
        return {
            "QueueUrl": self._url,
            "MaxNumberOfMessages": most,
            "WaitTimeSeconds": wait,
            "VisibilityTimeout": math.ceil(lease),  # said every time, since the queue's own may be changed meanwhile
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        }

    def messages(self, answer: Mapping[str, Any], lease: float | None = None) -> list[SQSMessage]:
        """What a receive brought that hid for so long."""
        lease = self._lease if lease is None else lease
        now = time.time()
        return [self._message(given, lease, now) for given in answer.get("Messages") or ()]

    def _poll(self, most: int, wait: int, *, once: bool = False) -> Steps[list[SQSMessage]]:
        """One answer, however often it must be asked for; `once`: nothing, if that is once too little."""
        turn = None
        if wait:
            turn, emptied = yield from self._take_turn()
            if emptied:
                return []
        emptied = False
        try:
            ask, lease = self._next(most, wait, idle=turn is not None)
            while True:
                try:
                    answer = yield ask
                except SQSError as error:
                    if not isinstance(error, Unreachable):  # what did not arrive is asked for again by the same words
                        ask, lease = self._next(most, wait, idle=turn is not None)
                    pause = self.health.failed(error)
                    if once:
                        return []  # those that came already are not to wait for the rest
                    yield Wait(pause)
                    continue
                self.health.answered()
                messages = self.messages(answer, lease)
                self._idle = emptied = not messages
                return messages
        finally:
            if turn is not None:
                with self._lock:
                    if self._turn is not None and self._turn[1] is turn:
                        self._turn = None
                turn.set_result(emptied)

    def _take_turn(self) -> Steps[tuple[Future[bool] | None, bool]]:
        """While the queue is idle, whoever polls does so alone: the turn to, once there is no other poll.

        Or no turn, and whether that is since a poll that was waited for has just found the queue empty; else it is not
        idle any more.
        """
        overdue: Future[bool] | None = None
        while True:
            with self._lock:
                if not self._idle:
                    return None, False
                process, running = self._turn or (0, overdue)
                if running is overdue or process != os.getpid():  # then we are a fork of it
                    turn: Future[bool] = Future()
                    self._turn = os.getpid(), turn
                    return turn, False
            assert running is not None
            yield Until(running, self._wait_time + OVERDUE)
            if not running.done():
                overdue = running
            elif running.result():
                return None, True

    def _next(self, most: int, wait: int, *, idle: bool) -> tuple[Ask, float]:
        """The next receive, and the lease that it asks for."""
        lease = self._idle_lease if idle else self._lease
        seconds = wait if idle else min(wait, BUSY_WAIT)
        arguments = self.arguments(most, seconds, lease)
        if self._fifo:
            arguments["ReceiveRequestAttemptId"] = uuid.uuid4().hex
        return Ask(arguments, 0 if idle else seconds + PATIENCE), lease


class Pace:
    """How fast messages are done, of late."""

    WINDOW = 1.0  # seconds
    MOMENT = 0.2  # seconds

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._count = 0
        self._bulk = 1

    @property
    def bulk(self) -> int:
        """The most that are gone in a moment."""
        if self._bulk > 1 and time.monotonic() - self._began > 2 * self.WINDOW:  # nothing was done for so long
            return 1
        return self._bulk

    def done(self, count: int) -> None:
        with self._lock:
            self._count += count
            took = time.monotonic() - self._began
            if took >= self.WINDOW:
                self._bulk = max(1, min(int(self._count / took * self.MOMENT), CALL))
                self._began, self._count = time.monotonic(), 0
