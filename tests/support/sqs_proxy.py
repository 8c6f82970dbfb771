"""Between clients and an SQS server: hands on what they say, writes it all down, and does harm by a script.

The log is the judge: what a client believes, and what a consumer counts, is held against it. So it costs little while
it is written: bytes are kept as they came, and read only when somebody asks.

When a client hangs up in the middle of a call, the server is not told, and does what it was asked to do. That is what
AWS does, and the worse of the two: the messages of such an answer are given to nobody, and hidden.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self
from urllib.parse import urlsplit

from support.sqs_calls import PATIENCE, Call, Log
from support.sqs_faults import FINE, Fault, Gate, Script
from support.sqs_http import LENGTH, Json, Reader, body_size, read, response, status_of

LOOPBACK = "127.0.0.1"
TARGET = re.compile(rb"\r\nx-amz-target:[ \t]*AmazonSQS\.(\w+)", re.IGNORECASE)


class Proxy:
    """A proxy in front of a server, on a port of its own; it runs in a thread until `stop()`.

    What befalls a call is, in this order: what was planned for the next calls of its operation, what happens always,
    what happens to those of its key, and what the script says.

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
        self._refused: dict[str, Fault] = {}
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

    def refuse(self, key: str, fault: Fault) -> None:
        """All calls that are signed with the key of this id meet this from now on."""
        with self._lock:
            self._refused[key] = fault

    def hang_up(self) -> None:
        """Cut all connections that there are, whatever they wait for."""
        self.loop.call_soon_threadsafe(self._hang_up)

    def calls(self, *operations: str, where: Callable[[Call], object] | None = None) -> list[Call]:
        return self.log.calls(*operations, where=where)

    def wait_for(self, operation: str, count: int = 1, *, where: Callable[[Call], object] | None = None) -> list[Call]:
        return self.log.wait_for(operation, count, where=where)

    @property
    def connected(self) -> int:
        """How many connections clients have to it."""
        return sum(inbound.is_connected for inbound in list(self._connections))

    def wait_until(self, true: Callable[[], object]) -> None:
        """Wait until this is so; asked whenever something has happened here."""
        self.log.wait_until(true)

    def handles(self) -> dict[str, str]:
        """Of each receipt handle that the server gave, the id of its message."""
        return {
            str(message["ReceiptHandle"]): str(message["MessageId"])
            for receive in self.calls("ReceiveMessage", where=lambda receive: receive.reply)
            for message in receive.messages
        }

    def stop(self) -> None:
        """Hang up, and end."""
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(PATIENCE)

    # ------------------------------------------------------------------ on its own thread

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.run_until_complete(self._close())
        self.loop.close()

    async def _close(self) -> None:
        self._listening.close()
        self._hang_up()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(3):
            await asyncio.sleep(0)  # connections tell that they are closed in a later round of the loop

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
            if fault is None and self._refused:
                fault = self._refused.get(call.key)
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
        call = self._call
        if call is not None and not call.hung_up:
            call.hung_up = time.monotonic()
        self._proxy.log.tell()
        if self._outbound is not None and (call is None or self._proxy.tells):
            self._outbound.close()
        self._forget_if_over()

    @property
    def is_connected(self) -> bool:
        return self._client is not None

    def _forget_if_over(self) -> None:
        if self._client is None and self._outbound is None and self._call is None:
            self._proxy.forget(self)

    # The way of a call

    def _next(self) -> None:
        if self._call is not None or (message := self._reader.take()) is None:
            return
        self._head, body = message
        target = TARGET.search(self._head)
        call, number = self._proxy.log.add(target[1].decode() if target else "", self._number, self._head, body)
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
            self._answer(fault.error)
        elif fault.fails is None:
            self._forward(self._head + call.request)
        elif rest := self._without_failing(call):
            head = LENGTH.sub(b"\r\ncontent-length: %d" % len(rest), self._head)
            self._forward(head + rest)
        else:
            self._answer(response(200, self._with_failed(call, {})))

    def _forward(self, request: bytes) -> None:
        if self._outbound is not None:
            self._outbound.write(request)
            if self._call is not None:
                self._call.sent = time.monotonic()
                self._proxy.log.tell()
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
        self._proxy.log.tell()
        fault = call.fault
        if fault.fails is not None and status_of(reply) == 200:
            reply = response(200, self._with_failed(call, read(reply)))
        elif fault.status:
            reply = fault.error
        self._answer(reply)

    def _answer(self, reply: bytes) -> None:
        if self._call is not None:
            self._after(self._call.fault.after, self._call.fault.gate_after, lambda: self._reply(reply))

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
            call.delivered = True
            self._end(status_of(reply), reply)

    def _end(self, status: int, reply: bytes = b"") -> None:
        """The call is over; without a status, so is the connection."""
        call, self._call = self._call, None
        if call is None:
            return
        call.status, call.ended = status, time.monotonic()
        self._proxy.log.tell()
        if status:
            if self._client is not None:
                self._client.write(reply)  # when the client has its answer, it is in the log
            self._next()
            return
        if self._client is not None and not self._client.is_closing():
            self._client.abort()
        if self._outbound is not None:
            self._outbound.close()
        self._forget_if_over()

    def _server_gone(self) -> None:
        """The server has hung up, or we have."""
        self._outbound = None
        call = self._call
        if call is not None and call.sent and not call.answered:
            self._end(0)
        self._forget_if_over()

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
