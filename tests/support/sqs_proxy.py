"""Between clients and an SQS server: hands on what they say, writes it all down, and does harm by a script.

The log is the judge: what a client believes, and what a consumer counts, is held against it. So it costs little while
it is written: bytes are kept as they came, and read only when somebody asks.

When a client hangs up in the middle of a call, the server is not told, and does what it was asked to do. That is what
AWS does, and the worse of the two: the messages of such an answer are given to nobody, and hidden.
"""

from __future__ import annotations

import asyncio
import functools
import json
import random
import re
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self
from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1"
PATIENCE = 20.0  # seconds after which what is waited for does not come any more
BLANK_LINE = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
TARGET = re.compile(rb"\r\nx-amz-target:[ \t]*AmazonSQS\.(\w+)", re.IGNORECASE)

Json = dict[str, Any]

# ---------------------------------------------------------------------- what can go wrong


class Gate:
    """Where calls are held up until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._lock = threading.Lock()
        self._is_open = False
        self._held: list[Callable[[], object]] = []

    def open(self) -> None:
        """Let all pass, from now on."""
        with self._lock:
            self._is_open, held, self._held = True, self._held, []
        for go_on in held:
            go_on()

    def hold(self, go_on: Callable[[], object]) -> bool:
        """False if it is open; else `go_on` is called when it is, on whatever thread."""
        with self._lock:
            if not self._is_open:
                self._held.append(go_on)
            held = not self._is_open
        self.reached.set()
        return held


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one call on its way.

    Args:
        name: for the log.
        before, after: seconds until the call goes to the server, and until the answer goes to the client.
        gate: where the call is held up before it goes to the server.
        gate_after: where the answer is held up before it goes to the client.
        cut: hang up: "before" the server has heard of the call, "after" it has answered, or "within" the answer.
        status, code, words: an error, instead of the server's answer.
        served: the server does all the same what it was asked to do.
        fails: of an entry of a batch call, whether it fails; it then does not go to the server.
        sender_fault: what is said of such an entry.
    """

    name: str = ""
    before: float = 0.0
    after: float = 0.0
    gate: Gate | None = None
    gate_after: Gate | None = None
    cut: Literal["", "before", "after", "within"] = ""
    status: int = 0
    code: str = ""
    words: str = ""
    served: bool = False
    fails: Callable[[Json], object] | None = None
    sender_fault: bool = False

    @property
    def error(self) -> bytes:
        """The answer that says so; in HTML if it comes from some machine on the way, which knows no codes."""
        if not self.code:
            return response(self.status, b"<html><body>Sorry.</body></html>", kind=b"text/html")
        body = {"__type": f"com.amazonaws.sqs#{self.code}", "message": self.words or self.name}
        return response(self.status, json.dumps(body).encode(), self.code)


FINE = Fault()
CUT = Fault(name="cut", cut="before")
LOST = Fault(name="answer lost", cut="after")
TRUNCATED = Fault(name="answer truncated", cut="within")
INTERNAL = Fault(name="internal failure", status=500, code="InternalFailure")
UNAVAILABLE = Fault(name="unavailable", status=503, code="ServiceUnavailable")
BAD_GATEWAY = Fault(name="bad gateway", status=502)
THROTTLED = Fault(name="rate exceeded", status=400, code="ThrottlingException")
EXPIRED = Fault(name="the security token included in the request is expired", status=403, code="ExpiredToken")
DENIED = Fault(name="not authorized to perform this", status=403, code="AccessDenied")
GONE = Fault(
    name="the specified queue does not exist",
    status=400,
    code="AWS.SimpleQueueService.NonExistentQueue",
)
DONE_BUT_500 = replace(INTERNAL, name="done, and answered with a failure", served=True)


def failing(fails: Callable[[Json], object], code: str = "InternalError", *, sender_fault: bool = False) -> Fault:
    """Some entries of a batch call fail; the others are done."""
    return Fault(name=f"{code} for some", code=code, fails=fails, sender_fault=sender_fault)


@dataclass(frozen=True)
class Chaos:
    """A script by which calls fail at random, the same calls for the same seed, however they come to interleave.

    Args:
        seed: of the dice.
        share: of each fault, the share of calls that meet it.
        operations: those that do; none: all of them.
    """

    seed: int
    share: Mapping[Fault, float]
    operations: Collection[str] = ()

    def __call__(self, operation: str, number: int) -> Fault | None:
        """What the call of this operation with this number meets, 1 first."""
        if self.operations and operation not in self.operations:
            return None
        dice = random.Random(f"{self.seed}/{operation}/{number}").random()
        for fault, share in self.share.items():
            dice -= share
            if dice < 0:
                return fault
        return None


Script = Callable[[str, int], Fault | None]

# ---------------------------------------------------------------------- what is written down


@dataclass(eq=False)
class Call:
    """One call, as it was seen on its way. Moments are of the monotonic clock, 0 where there was none.

    Attributes:
        number: of all calls, in the order in which they came, from 1 on.
        operation: "ReceiveMessage", …; "" if it is none of SQS.
        connection: the number of the client's connection.
        fault: what befell it.
        began: it was here.
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
    request: bytes = field(repr=False)
    fault: Fault = FINE
    sent: float = 0.0
    answered: float = 0.0
    ended: float = 0.0
    status: int = 0
    hung_up: float = 0.0
    delivered: bool = False
    reply: bytes = field(default=b"", repr=False)

    @functools.cached_property
    def arguments(self) -> Json:
        """What was asked."""
        return read(self.request)

    @property
    def answer(self) -> Json:
        """What the server answered, or was said to have answered; nothing so far is {}."""
        return read(self.reply)

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

    def add(self, operation: str, connection: int, request: bytes) -> tuple[Call, int]:
        """Write down a call that came; and how many of its operation there have been, with it."""
        with self._told:
            call = Call(len(self._calls) + 1, operation, connection, time.monotonic(), request)
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
                    f"waited for {count} {operation}, and there were {len(found)} of {there or 'none'}"
                )
        return found


# ---------------------------------------------------------------------- the proxy


class Proxy:
    """A proxy in front of a server, on a port of its own; it runs in a thread until `stop()`.

    What befalls a call is, in this order: what was planned for the next calls of its operation, what happens always,
    and what the script says.

    Args:
        endpoint_url: the server's; plain HTTP.
        script: says of an operation and the number of a call, 1 first, what befalls it.
        latency: seconds, the least and the most, that every call takes longer; half of it each way.
        seed: of the latencies.
        tells: whether the server is told when a client hangs up.
        tls: to speak HTTPS with the clients.

    Attributes:
        endpoint_url: for the clients.
        log: all calls.
    """

    def __init__(
        self,
        endpoint_url: str,
        *,
        script: Script | None = None,
        latency: tuple[float, float] = (0.0, 0.0),
        seed: int = 0,
        tells: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        server = urlsplit(endpoint_url)
        if server.scheme != "http" or server.hostname is None:
            raise ValueError(f"endpoint_url must be one of plain HTTP; got {endpoint_url!r}")
        self.server = (server.hostname, server.port or 80)
        self.log = Log()
        self.latency = latency
        self.tells = tells
        self.script = script
        self.loop = asyncio.new_event_loop()
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._planned: dict[str, deque[Fault]] = {}
        self._always: dict[str, Fault] = {}
        self._connections: set[Inbound] = set()
        self._numbers = 0
        # A client that asks for more connections at once than wait here would see them refused.
        self._listening = self.loop.run_until_complete(
            self.loop.create_server(self._accept, LOOPBACK, 0, ssl=tls, backlog=512)
        )
        self.endpoint_url = f"{'https' if tls else 'http'}://{LOOPBACK}:{self._listening.sockets[0].getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, name="sqs-proxy", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def plan(self, operation: str, *faults: Fault) -> None:
        """The next calls of this operation meet these, one each."""
        with self._lock:
            self._planned.setdefault(operation, deque()).extend(faults)

    def always(self, fault: Fault | None, *operations: str) -> None:
        """All calls of these operations, or of all, meet this from now on; None: nothing any more."""
        with self._lock:
            for operation in operations or ("",):
                if fault is None:
                    self._always.pop(operation, None)
                else:
                    self._always[operation] = fault

    def hang_up(self) -> None:
        """Cut all connections that there are, whatever they wait for."""
        self.loop.call_soon_threadsafe(self._hang_up)

    def calls(self, *operations: str, where: Callable[[Call], object] | None = None) -> list[Call]:
        return self.log.calls(*operations, where=where)

    def wait_for(self, operation: str, count: int = 1, *, where: Callable[[Call], object] | None = None) -> list[Call]:
        return self.log.wait_for(operation, count, where=where)

    def ids_of(self, call: Call) -> list[str]:
        """The ids of the messages that a delete or a change of visibility was about."""
        known = {
            str(message["ReceiptHandle"]): str(message["MessageId"])
            for receive in self.calls("ReceiveMessage", where=lambda receive: receive.reply)
            for message in receive.messages
        }
        return [known.get(handle, "") for handle in call.handles]

    def stop(self) -> None:
        """Hang up, and end."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(PATIENCE)

    # ------------------------------------------------------------------ on its own thread

    def _run(self) -> None:
        self.loop.run_forever()
        self._listening.close()
        self._hang_up()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        # Connections tell that they are closed in the loop's next round.
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.run_until_complete(self._listening.wait_closed())
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def _accept(self) -> Inbound:
        self._numbers += 1
        inbound = Inbound(self, self._numbers)
        self._connections.add(inbound)
        return inbound

    def _hang_up(self) -> None:
        for inbound in list(self._connections):
            inbound.abort()

    def forget(self, inbound: Inbound) -> None:
        self._connections.discard(inbound)

    def fault_for(self, call: Call, number: int) -> Fault:
        with self._lock:
            planned = self._planned.get(call.operation)
            fault = planned.popleft() if planned else None
            fault = fault or self._always.get(call.operation) or self._always.get("")
        if fault is None and self.script is not None:
            fault = self.script(call.operation, number)
        fault = fault or FINE
        if self.latency[1]:
            half = self._dice.uniform(*self.latency) / 2
            fault = replace(fault, before=fault.before + half, after=fault.after + half)
        return fault


class Inbound(asyncio.Protocol):
    """A client's connection, and the one to the server that goes with it."""

    def __init__(self, proxy: Proxy, number: int) -> None:
        self._proxy = proxy
        self._number = number
        self._reader = Reader()
        self._client: asyncio.Transport | None = None
        self._outbound: Outbound | None = None
        self._call: Call | None = None
        self._head = b""
        self._connecting: asyncio.Task[None] | None = None  # the loop itself does not keep it

    # What the client does

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._client = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._client = None
        self._proxy.forget(self)
        call = self._call
        if call is not None and not call.hung_up:
            call.hung_up = time.monotonic()
            self._proxy.log.tell()
        if self._outbound is not None and (call is None or self._proxy.tells):
            self._outbound.close()

    # The way of a call

    def _next(self) -> None:
        if self._call is not None or (message := self._reader.take()) is None:
            return
        self._head, body = message
        target = TARGET.search(self._head)
        call, number = self._proxy.log.add(target[1].decode() if target else "", self._number, body)
        self._call = call
        call.fault = self._proxy.fault_for(call, number)
        self._after(call.fault.before, call.fault.gate, self._send)

    def _send(self) -> None:
        call = self._call
        if call is None:
            return
        fault = call.fault
        if fault.cut == "before" or (self._client is None and self._proxy.tells):
            self._end(0)
        elif fault.status and not fault.served:
            self._reply(fault.error)
        elif fault.fails is not None and not (rest := self._without_failing(call)):
            self._reply(response(200, self._with_failed(call, {})))
        elif fault.fails is not None:
            head = LENGTH.sub(b"\r\ncontent-length: %d" % len(rest), self._head)
            self._forward(head + rest)
        else:
            self._forward(self._head + call.request)

    def _forward(self, request: bytes) -> None:
        if self._outbound is not None:
            self._outbound.write(request)
            if self._call is not None:
                self._call.sent = time.monotonic()
        else:
            self._connecting = self._proxy.loop.create_task(self._connect(request))

    async def _connect(self, request: bytes) -> None:
        try:
            _, self._outbound = await self._proxy.loop.create_connection(
                lambda: Outbound(self._answered, self._server_gone), *self._proxy.server
            )
        except OSError:
            self._end(0)
        else:
            self._forward(request)

    def _answered(self, reply: bytes) -> None:
        call = self._call
        if call is None:
            return
        call.answered, call.reply = time.monotonic(), reply
        fault = call.fault
        if fault.fails is not None and status_of(reply) == 200:
            reply = response(200, self._with_failed(call, read(reply)))
        elif fault.status:
            reply = fault.error
        self._after(fault.after, fault.gate_after, lambda: self._reply(reply))

    def _reply(self, reply: bytes) -> None:
        call = self._call
        if call is None:
            return
        call.reply = call.reply or reply
        if self._client is None or call.fault.cut == "after":
            self._end(0)
        elif call.fault.cut == "within":
            self._client.write(reply[: len(reply) - max(1, body_size(reply) // 2)])
            self._client.close()
            self._end(0)
        else:
            if call.fault.fails is not None:
                call.reply = reply
            self._client.write(reply)
            call.delivered = True
            self._end(status_of(reply))

    def _end(self, status: int) -> None:
        """The call is over; without a status, so is the connection."""
        call, self._call = self._call, None
        if call is None:
            return
        call.status, call.ended = status, time.monotonic()
        self._proxy.log.tell()
        if status:
            self._next()
            return
        if self._client is not None and not self._client.is_closing():
            self._client.abort()
        if self._outbound is not None:
            self._outbound.close()

    def _server_gone(self) -> None:
        """The server has hung up, or we have."""
        self._outbound = None
        call = self._call
        if call is not None and call.sent and not call.answered:
            self._end(0)

    def abort(self) -> None:
        if self._client is not None:
            self._client.abort()
        if self._outbound is not None:
            self._outbound.close()

    def _after(self, seconds: float, gate: Gate | None, go_on: Callable[[], object]) -> None:
        if seconds:
            self._proxy.loop.call_later(seconds, self._after, 0.0, gate, go_on)
        elif gate is None or not gate.hold(lambda: self._soon(go_on)):
            go_on()

    def _soon(self, go_on: Callable[[], object]) -> None:
        try:
            self._proxy.loop.call_soon_threadsafe(go_on)
        except RuntimeError:
            pass  # the proxy was stopped: nobody waits any more

    # Batches of which some entries fail

    @staticmethod
    def _without_failing(call: Call) -> bytes:
        assert call.fault.fails is not None
        rest = [entry for entry in call.entries if not call.fault.fails(entry)]
        return json.dumps({**call.arguments, "Entries": rest}).encode() if rest else b""

    @staticmethod
    def _with_failed(call: Call, answer: Json) -> bytes:
        fault = call.fault
        assert fault.fails is not None
        failed: list[Json] = [
            {"Id": entry["Id"], "Code": fault.code, "Message": fault.name, "SenderFault": fault.sender_fault}
            for entry in call.entries
            if fault.fails(entry)
        ]
        before: Sequence[Json] = answer.get("Failed") or ()
        return json.dumps({**answer, "Failed": [*before, *failed]}).encode()


class Outbound(asyncio.Protocol):
    """A connection to the server."""

    def __init__(self, answered: Callable[[bytes], object], gone: Callable[[], object]) -> None:
        self._answered = answered
        self._gone = gone
        self._reader = Reader()
        self._server: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._server = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        if (message := self._reader.take()) is not None:
            self._answered(b"".join(message))

    def connection_lost(self, exc: Exception | None) -> None:
        self._server = None
        self._gone()

    def write(self, request: bytes) -> None:
        if self._server is not None:
            self._server.write(request)

    def close(self) -> None:
        if self._server is not None:
            self._server.abort()


# ---------------------------------------------------------------------- HTTP


class Reader:
    """Cuts a stream of bytes into HTTP messages."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._body = -1  # where it begins, of the message that is under way
        self._size = 0  # of the body, -1 if it comes in chunks

    def feed(self, data: bytes) -> None:
        self._bytes += data

    def take(self) -> tuple[bytes, bytes] | None:
        """The next message, head and body; None if it is not all here. A body in chunks is made whole."""
        if self._body < 0:
            end = self._bytes.find(BLANK_LINE)
            if end < 0:
                return None
            self._body = end + len(BLANK_LINE)
            head = bytes(self._bytes[: self._body])
            length = LENGTH.search(head)
            self._size = -1 if CHUNKED.search(head) else int(length[1]) if length else 0
        if self._size < 0:
            return self._chunked()
        end = self._body + self._size
        if len(self._bytes) < end:
            return None
        message = bytes(self._bytes[: self._body]), bytes(self._bytes[self._body : end])
        self._drop(end)
        return message

    def _chunked(self) -> tuple[bytes, bytes] | None:
        body, at = b"", self._body
        while True:
            line = self._bytes.find(b"\r\n", at)
            if line < 0:
                return None
            size = int(bytes(self._bytes[at:line]).split(b";")[0], 16)
            at = line + 2 + size + 2
            if len(self._bytes) < at:
                return None
            if not size:
                break
            body += self._bytes[line + 2 : line + 2 + size]
        head = CHUNKED.sub(b"\r\ncontent-length: %d" % len(body), bytes(self._bytes[: self._body]))
        self._drop(at)
        return head, body

    def _drop(self, end: int) -> None:
        del self._bytes[:end]
        self._body = -1


def response(status: int, body: bytes, code: str = "", *, kind: bytes = b"application/x-amz-json-1.0") -> bytes:
    """An answer of our own, in the service's form."""
    fault = b"Sender" if status < 500 else b"Receiver"
    head = [b"HTTP/1.1 %d Told" % status, b"content-type: " + kind, b"content-length: %d" % len(body)]
    if code:
        head.append(b"x-amzn-query-error: %s;%s" % (code.encode(), fault))
    return b"\r\n".join(head) + BLANK_LINE + body


def first_line(message: bytes) -> str:
    return message.partition(b"\r\n")[0].decode("latin-1")


def status_of(reply: bytes) -> int:
    return int(reply[9:12])


def body_size(message: bytes) -> int:
    return len(message.partition(BLANK_LINE)[2])


def read(message: bytes) -> Json:
    """The JSON of a body, with or without its head; {} if it is none."""
    try:
        found = json.loads(message.partition(BLANK_LINE)[2] if message.startswith(b"HTTP/") else message)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
