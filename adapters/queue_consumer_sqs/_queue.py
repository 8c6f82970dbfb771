"""An SQS queue as the line's left socket: polls that can be ended, and all verbs in batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ._aws import Client
from ._cut import Cut, Poll
from ._limits import BATCH_SIZE, WAIT_TIME
from ._message import SQSMessage
from ._opened import Opened
from ._send import Sender
from ._steps import Answer, Ask, Step, Until, Wait, take

__all__ = ["SQSQueue"]


class SQSQueue(Opened):
    """One queue, standard or FIFO, for `Consumer`, and for whoever sends to it. It is looked up at once.

    Args:
        queue: its name, or its URL.
        region, profile, account_id, endpoint_url, retries, prefix, transport: see `Access`.
        access_key_id, secret_access_key, session_token, session, client: likewise.
        wait_time: seconds that a poll waits for a message, 0 to 20. 0 is a short poll.
        poll_interval: seconds between short polls while they bring nothing; None: one second.
        batch_size: the most messages of one `get`; more than 10 take several receives.
        visibility_timeout: seconds that a message is hidden from others once it was received, and renewed while it is
            held; None: as the queue is set up.
        cleanup_linger: seconds that a message that is done waits for others to be deleted with, ten in a call.
        idle_lease: seconds that a message is hidden for at first if it comes by a poll that had to wait.

    Attributes:
        name: of the queue, without its `prefix`.
        url: AWS's.
        arn: AWS's; "" if it may not be asked for.
        fifo: whether it is a FIFO queue.
        bus, priority: what its messages say; set by the `Bus` that it is on.
        lease: seconds, the `visibility_timeout` in force.
        client: makes calls of the service, counts them, and has errors of the kinds of `SQSError`.

    Raises:
        TypeError, ValueError: for a wrong argument, with its name, its value, and what is allowed.
        QueueNotFound, AccessDenied, BadCredentials, Unreachable, NotInstalled: it cannot be used.
    """

    client: Client

    def _take_over(self, finder: Client) -> None:
        self.client = finder
        self._sender = Sender(finder.call, self.url, self.fifo)
        self._changed = threading.Condition()
        self._interrupts = 0
        self._polls: dict[Poll, float] = {}  # those that run, and when each may be cut

    # ------------------------------------------------------------------ what the line does

    def get(self, limit: int | None = None) -> list[SQSMessage]:
        """The next messages, waited for as long as a poll does.

        What goes wrong is logged, and tried again until it works or `interrupt` is called: an outage is no empty
        queue. At a pace at which a batch of ten is gone in a moment, ten are asked for whatever the limit, since each
        call costs the same.
        """
        with self._changed:
            interrupts = self._interrupts
        return take(self._polling.get(limit), lambda step: self._do(step, interrupts))

    def interrupt(self) -> None:
        """Let every `get` that waits return soon."""
        with self._changed:
            self._interrupts += 1
            now = time.monotonic()
            polls = [poll for poll, until in self._polls.items() if until <= now]
            self._changed.notify_all()
        for poll in polls:
            poll.cut()
        self.client.interrupt()

    def cleanup(self, items: Sequence[SQSMessage]) -> None:
        """Delete these.

        Raises:
            CleanupError: some were not: because they are not ours any more (`lost`), because that will not change
                (`hopeless`), or for another reason (`failed`).
        """
        self._polling.pace.done(len(items))
        take(self._judging.delete(items), self._do)

    def release(self, items: Sequence[SQSMessage], delay: float = 0) -> None:
        """Let these be seen again after `delay` seconds, or after what is left of the 12 hours that AWS allows.

        Raises:
            CleanupError: as `cleanup` does.
        """
        take(self._judging.hide(items, delay), self._do)

    def extend(self, items: Sequence[SQSMessage], seconds: float) -> None:
        """Hide these for so many seconds from now, within the 12 hours that AWS allows.

        Raises:
            LeaseLost: some are not ours any more.
        """
        take(self._judging.extend(items, seconds), self._do)

    def close(self) -> None:
        """Close the connections. If anything is called after that, new ones are opened."""
        self.client.close()

    # ------------------------------------------------------------------ what scripts and senders do

    def receive(self, limit: int = 10, *, wait_time: float | None = None) -> list[SQSMessage]:
        """One receive of up to 10 messages, hidden for the whole `lease`.

        Raises:
            SQSError: it failed.
        """
        most = BATCH_SIZE.check(limit, "limit")
        wait = None if wait_time is None else WAIT_TIME.check(wait_time)
        answer = self.client.receive(Poll(), **self._polling.arguments(most, wait))
        return self._polling.messages(answer)

    def put(
        self,
        body: str,
        *,
        delay: float = 0,
        group: str | None = None,
        deduplication_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """Send one message; its id.

        Args:
            delay: seconds until it can be seen, up to 900; not on a FIFO queue.
            group: its message group; on a FIFO queue, `"default"` if none is given.
            deduplication_id: what makes another one within five minutes the same.
            attributes: up to 10: str, int, float, Decimal or bytes, or as SQS has them.
        """
        return self._sender.put(
            body, delay=delay, group=group, deduplication_id=deduplication_id, attributes=attributes
        )

    send = put

    def put_many(self, entries: Iterable[Mapping[str, Any]]) -> list[str]:
        """Send many, in calls of ten and of 1 MiB at most; their ids. An entry maps `put`'s parameters to arguments.

        Raises:
            SendError: some were not sent, which it tells; the others were.
        """
        return self._sender.put_many(entries)

    # ------------------------------------------------------------------ how it is done

    def _do(self, step: Step, interrupts: int = 0) -> Answer:
        """Take one step, of a `get` that began after so many interrupts."""
        match step:
            case Wait(seconds):
                return self._wait(seconds, interrupts)
            case Until(over, seconds):
                over.add_done_callback(self._wake)
                return self._wait(seconds, interrupts, over.done)
            case Ask(arguments, uncut):
                return self._receive(arguments, uncut, interrupts)
            case _:
                return self.client.call(step.operation, **step.arguments)

    def _receive(self, arguments: Mapping[str, Any], uncut: float, interrupts: int) -> Answer:
        poll = Poll()
        with self._changed:
            if interrupts != self._interrupts:
                raise Cut
            self._polls[poll] = time.monotonic() + uncut
        try:
            return self.client.receive(poll, **arguments)
        finally:
            with self._changed:
                del self._polls[poll]

    def _wait(self, seconds: float, interrupts: int, over: Callable[[], bool] = bool) -> Answer:
        until = time.monotonic() + seconds
        with self._changed:
            while interrupts == self._interrupts and not over() and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            if interrupts != self._interrupts:
                raise Cut
        return {}

    def _wake(self, _: object) -> None:
        with self._changed:
            self._changed.notify_all()
