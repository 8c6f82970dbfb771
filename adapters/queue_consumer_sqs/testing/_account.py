"""The account: its queues by name, its time, and its lock, which every call takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from ._message import Message
from ._moves import Moves
from ._queue import Queue
from ._refusals import PREFIXED, Refused
from ._settings import check_name

__all__ = ["Account"]


class Account:
    """All queues of one account in one region."""

    def __init__(self, clock: Callable[[], float], region: str, account_id: str) -> None:
        self.region, self.account_id = region, account_id
        self.endpoint = f"https://sqs.{region}.amazonaws.com"
        # A reentrant lock: a signal handler may interrupt a client in the middle of any other call of its own thread.
        self.lock = threading.RLock()
        self.waiting = 0  # receives that wait for a message now
        self.moves = Moves(self.by_arn)
        self._queues: dict[str, Queue] = {}
        self._clock = clock
        self._epoch = time.time() - clock()
        # A clock that is moved by hand tells us when; any other we expect to run like ours.
        watch = getattr(clock, "watch", None)
        self.told = callable(watch)
        if callable(watch):
            watch(self.wake)

    # Time

    def now(self) -> float:
        return self._clock()

    def milliseconds(self, moment: float) -> str:
        """That moment of the clock as the service says it."""
        return str(int((self._epoch + moment) * 1000))

    def seconds(self, moment: float) -> str:
        return str(int(self._epoch + moment))

    def settle(self) -> float:
        """Do what was due until now; what the time is."""
        now = self.now()
        self.moves.settle(now)
        return now

    def wake(self) -> None:
        """Let every receive that waits look for itself."""
        with self.lock:
            for queue in self._queues.values():
                queue.changed.notify_all()

    # Queues

    def __iter__(self) -> Iterator[Queue]:
        """All queues, by name."""
        return iter([queue for _, queue in sorted(self._queues.items())])

    def url(self, queue: Queue) -> str:
        return f"{self.endpoint}/{self.account_id}/{queue.name}"

    def by_name(self, name: str) -> Queue:
        try:
            return self._queues[name]
        except KeyError:
            raise Refused(f"{PREFIXED}NonExistentQueue", "The specified queue does not exist.") from None

    def by_url(self, url: str) -> Queue:
        """The queue of this URL, whatever the host, with all done in it that was due until now."""
        parts = urlsplit(url).path.strip("/").split("/")
        if len(parts) != 2:
            raise Refused("InvalidAddress", f"The address {url} is not valid for this endpoint.")
        queue = self.by_name(parts[1] if parts[0] == self.account_id else "")
        queue.settle(self.now())
        return queue

    def by_arn(self, arn: str) -> Queue | None:
        queue = self._queues.get(arn.rpartition(":")[2])
        return queue if queue is not None and queue.arn == arn else None

    def create(self, name: str, attributes: Mapping[str, str], tags: Mapping[str, str]) -> Queue:
        """A new queue; or the one that there is, if all these attributes are as its own."""
        fifo = attributes.get("FifoQueue") == "true"
        check_name(name, fifo)
        arn = f"arn:aws:sqs:{self.region}:{self.account_id}:{name}"
        queue = Queue(name, arn, fifo, self.lock, self.now(), self.by_arn)
        queue.set(attributes, self.now())
        known = self._queues.get(name)
        if known is not None:
            differing = known.settings.differing(attributes)
            if differing:
                raise Refused(
                    "QueueAlreadyExists",
                    "A queue already exists with the same name and a different value for attribute " + differing,
                )
            return known
        queue.tags.update(tags)
        self._queues[name] = queue
        return queue

    def delete(self, queue: Queue) -> None:
        del self._queues[queue.name]
        queue.close()

    def sources(self, dead_letters: Queue) -> list[Queue]:
        """The queues whose dead letters go there."""
        return [queue for queue in self if queue.settings.redrive and queue.settings.redrive.target == dead_letters.arn]

    # Receiving

    def receive(
        self,
        queue: Queue,
        most: int,
        visibility: float,
        wait: float,
        attempt: str | None,
        interrupted: Callable[[], bool],
    ) -> list[Message]:
        """Up to so many messages; while there are none, wait for the first.

        The wait is over when it is over by the account's clock or by the real one. So nobody waits for ever for a clock
        that is moved by hand.
        """
        now, until = self.now(), time.monotonic() + wait
        ends = now + wait
        self.waiting += 1
        try:
            while True:
                messages = queue.take(most, visibility, now, attempt)
                left = min(until - time.monotonic(), ends - now)
                if messages or left <= 0 or queue.deleted or interrupted():
                    return messages
                if not self.told:
                    left = min(left, max(0.0, min(queue.next_due(), self.moves.next_due()) - now))
                queue.changed.wait(left)
                now = self.settle()
                queue.settle(now)
        finally:
            self.waiting -= 1
