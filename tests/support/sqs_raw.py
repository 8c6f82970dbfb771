"""A server that answers with the bytes that it is told to, and remembers what it was asked, on which connection."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from support.sqs_calls import PATIENCE
from support.sqs_http import Json, Reader, read

RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: closing is a reset


def whole(body: bytes = b"{}", *, status: str = "200 OK", headers: Iterable[str] = ()) -> bytes:
    """An answer as it should be."""
    lines = [f"HTTP/1.1 {status}", "content-type: application/x-amz-json-1.0", *headers, f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        connection: the number of the connection that it came on, 1 first.
        head: as it came.
        body: what the JSON says.
    """

    connection: int
    head: str
    body: Json

    def header(self, name: str) -> str:
        """ "" if it is not there."""
        for line in self.head.split("\r\n"):
            key, _, value = line.partition(": ")
            if key.lower() == name:
                return value
        return ""


@dataclass(frozen=True)
class Reply:
    """What is answered, and then: nothing, the end, or a reset."""

    data: bytes
    then: str = ""
    gate: threading.Event | None = None


Script = Callable[[Asked], Reply | bytes]


class RawServer:
    """Listens on the loopback interface until it is left.

    Attributes:
        asked: all requests so far.
        connections: how many there have been.
    """

    def __init__(self, script: Script | None = None, *, tls: ssl.SSLContext | None = None, host: str = "") -> None:
        self.script: Script = script or (lambda asked: whole())
        self.asked: list[Asked] = []
        self.connections = 0
        self._tls = tls
        self._changed = threading.Condition()
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        scheme = "https" if tls else "http"
        self.endpoint_url = f"{scheme}://{host or '127.0.0.1'}:{self._listening.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._listen, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *error: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.hang_up()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def wait_until(self, true: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(true, PATIENCE), "it does not come to be so"

    def hang_up(self, *, reset: bool = False) -> None:
        """Close all connections that there are."""
        with self._changed:
            open_ones, self._open = self._open, []
        for line in open_ones:
            try:
                if reset:
                    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                # Whoever serves it has his end, and closes it.
                socket.socket.shutdown(line, socket.SHUT_RD if reset else socket.SHUT_RDWR)
            except OSError:
                pass  # it is closed already

    def say(self, data: bytes) -> None:
        """Without having been asked."""
        for line in self._open:
            line.sendall(data)

    def _listen(self) -> None:
        while True:
            try:
                line, _ = self._listening.accept()
            except OSError:
                return
            with self._changed:
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(line, self.connections), daemon=True)
                self._threads.append(thread)
            thread.start()

    def _serve(self, line: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                line = self._tls.wrap_socket(line, server_side=True)
            with self._changed:
                self._open.append(line)
                self._changed.notify_all()
            self._talk(line, number)
        except (OSError, ValueError):
            pass  # the client has gone, or the test is over
        finally:
            line.close()

    def _talk(self, line: socket.socket, number: int) -> None:
        reader = Reader()
        while True:
            while (message := reader.take()) is None:
                data = line.recv(65536)
                if not data:
                    return
                reader.feed(data)
            asked = Asked(number, message[0].decode("latin-1"), read(message[1]))
            with self._changed:
                self.asked.append(asked)
                self._changed.notify_all()
            told: Any = self.script(asked)
            reply = told if isinstance(told, Reply) else Reply(told)
            if reply.gate is not None:
                assert reply.gate.wait(PATIENCE)
            line.sendall(reply.data)
            if reply.then == "reset":
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            if reply.then:
                return
