"""What a proxy writes down: every call, as it was seen on its way."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from support.sqs_faults import FINE, Fault
from support.sqs_http import Json, first_line, read

PATIENCE = 20.0  # seconds after which what is waited for does not come any more
SIGNER = re.compile(rb"Credential=([^/]+)/\d+/([^/]+)/sqs/aws4_request")


@dataclass(eq=False)
class Call:
    """One call, as it was seen on its way. Moments are of the monotonic clock, 0 where there was none.

    Attributes:
        number: of all calls, in the order in which they came, from 1 on.
        operation: "ReceiveMessage", …; "" if it is none of SQS.
        connection: the number of the client's connection.
        fault: what befell it.
        began: it was here.
        head, request, reply: of what was asked, and the body; the server's answer, or the one instead of it.
        sent: it went on to the server.
        answered: the server had answered it.
        ended: the client has its answer, or never will.
        status: what the client was told, 0 if nothing.
        hung_up: when the client hung up, if that was before it had its answer.
        delivered: the whole answer went to a client that was there.
    """

    number: int
    operation: str
    connection: int
    began: float
    head: bytes = field(repr=False)
    request: bytes = field(repr=False)
    fault: Fault = FINE
    sent: float = 0.0
    answered: float = 0.0
    ended: float = 0.0
    status: int = 0
    hung_up: float = 0.0
    delivered: bool = False
    reply: bytes = field(default=b"", repr=False)
    _read_reply: Json | None = field(default=None, repr=False)

    @property
    def signer(self) -> str:
        """What the signature says of whose it is: the id of the key, and the region."""
        found = SIGNER.search(self.head)
        return f"{found[1].decode()} in {found[2].decode()}" if found else ""

    @property
    def key(self) -> str:
        """The id of the key that it is signed with."""
        found = SIGNER.search(self.head)
        return found[1].decode() if found else ""

    @functools.cached_property
    def arguments(self) -> Json:
        """What was asked."""
        return read(self.request)

    @property
    def answer(self) -> Json:
        """What the server answered, or was said to have answered; nothing so far is {}."""
        if self._read_reply is None and self.ended:
            self._read_reply = read(self.reply)
        return read(self.reply) if self._read_reply is None else self._read_reply

    @property
    def queue(self) -> str:
        """The name of the queue."""
        return str(self.arguments.get("QueueUrl", "")).rpartition("/")[2] or str(self.arguments.get("QueueName", ""))

    @property
    def messages(self) -> list[Json]:
        """Those that the server gave."""
        return list(self.answer.get("Messages") or ())

    @property
    def bodies(self) -> list[str]:
        return [str(message["Body"]) for message in self.messages]

    @property
    def ids(self) -> list[str]:
        """The ids of the messages that were given, or were taken."""
        told = self.messages or self.answer.get("Successful") or [self.answer]
        return [str(entry["MessageId"]) for entry in told if "MessageId" in entry]

    @property
    def entries(self) -> list[Json]:
        """Of a batch call."""
        return list(self.arguments.get("Entries") or ())

    @property
    def handles(self) -> list[str]:
        """The receipt handles that it was about."""
        return [str(entry["ReceiptHandle"]) for entry in self.entries or [self.arguments] if "ReceiptHandle" in entry]

    @property
    def done(self) -> list[str]:
        """The receipt handles for which the server did it."""
        if not self.entries:
            return self.handles if "200" in first_line(self.reply) else []
        done = {entry.get("Id") for entry in self.answer.get("Successful") or ()}
        return [str(entry["ReceiptHandle"]) for entry in self.entries if entry.get("Id") in done]


class Log:
    """All calls so far, of all threads."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._told = threading.Condition()
        self._counts: Counter[str] = Counter()

    def add(self, operation: str, connection: int, head: bytes, request: bytes) -> tuple[Call, int]:
        """Write down a call that came; and how many of its operation there have been, with it."""
        with self._told:
            call = Call(len(self._calls) + 1, operation, connection, time.monotonic(), head, request)
            self._calls.append(call)
            self._counts[operation] += 1
            self._told.notify_all()
            return call, self._counts[operation]

    def tell(self) -> None:
        """Something of a call has changed."""
        with self._told:
            self._told.notify_all()

    def calls(self, *operations: str, where: Callable[[Call], object] | None = None) -> list[Call]:
        """Those of these operations, or of all; and of them those for which `where` is true."""
        with self._told:
            found = list(self._calls)
        return [
            call
            for call in found
            if (not operations or call.operation in operations) and (where is None or where(call))
        ]

    def wait_for(self, operation: str, count: int = 1, *, where: Callable[[Call], object] | None = None) -> list[Call]:
        """Wait until there are so many such calls; all such calls.

        Raises:
            AssertionError: they did not come.
        """
        found: list[Call] = []

        def enough() -> bool:
            found[:] = self.calls(operation, where=where)
            return len(found) >= count

        with self._told:
            if not self._told.wait_for(enough, PATIENCE):
                there = ", ".join(f"{number} {name}" for name, number in self._counts.items())
                raise AssertionError(
                    f"waited for {count} {operation}, and there were {len(found)}; of all there were {there or 'none'}"
                )
        return found

    def wait_until(self, true: Callable[[], object]) -> None:
        """Wait until this is so.

        Raises:
            AssertionError: it does not come to be so.
        """
        with self._told:
            assert self._told.wait_for(true, PATIENCE), "it does not come to be so"
