"""Connections to one endpoint that are kept, and of which there is always one more.

The one that was used last is used next, so that those which are not needed grow old, and are closed. A call never waits
for a connection: if none is idle, it opens one.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
import weakref
from dataclasses import dataclass
from typing import Any

from ._cut import Poll, no_poll

__all__ = ["Connection", "Connections", "Place"]

IDLE = 50  # connections at most
KEPT = 30.0  # seconds: before most servers close them, which may happen while a request is under way


@dataclass(frozen=True)
class Place:
    """Where a server is.

    Attributes:
        security: how it is known that it is this one; None for plain HTTP.
        keepalive: whether the system is to look if it is still there.
    """

    host: str
    port: int
    security: ssl.SSLContext | None = None
    keepalive: bool = False


class Connection:
    """One connection, used by one call at a time.

    Attributes:
        sock: what a poll that is cut shuts down, from the very beginning.
        poll: the one that uses it, if it is one.
        is_open: it was opened, whatever has become of it since.
    """

    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self.poll: Poll | None = None
        self.idle_since = 0.0
        self.is_open = False
        self._timeout = 0.0

    def open(self, place: Place, timeout: float) -> None:
        """Connect, within so many seconds for each address.

        Raises:
            Cut: the poll was cut meanwhile.
            OSError: nobody there; an `ssl.SSLError` if it is somebody else.
        """
        self.is_open = False
        error: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM):
            try:
                self._connect(place, socket.socket(family, kind, protocol), address, timeout)
                self.is_open = True
                return
            except OSError as failed:
                self.close()
                error = failed
                if isinstance(failed, ssl.SSLError):
                    break  # it is there, and not who it should be
        raise error or OSError(f"{place.host} has no address")

    def _connect(self, place: Place, line: socket.socket, address: Any, timeout: float) -> None:
        self.sock = line
        line.settimeout(timeout)
        self._timeout = timeout
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if place.keepalive:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._go_on()
        line.connect(address)
        self._go_on()
        if place.security is not None:
            secured = place.security.wrap_socket(line, server_hostname=place.host, do_handshake_on_connect=False)
            self.sock = secured
            self._go_on()  # who cut before this had no hold of the socket
            secured.do_handshake()
            self._go_on()

    def _go_on(self) -> None:
        if self.poll is not None:
            self.poll.connected()

    def send(self, request: bytes, timeout: float) -> None:
        assert self.sock is not None
        if timeout != self._timeout:
            self.sock.settimeout(timeout)
            self._timeout = timeout
        self.sock.sendall(request)

    def receive(self, size: int) -> bytes:
        assert self.sock is not None
        return self.sock.recv(size)

    @property
    def is_usable(self) -> bool:
        """Whether nothing has come since the last answer, be it the end, or what nobody asked for."""
        try:
            assert self.sock is not None
            looking = select.poll()
            looking.register(self.sock, select.POLLIN | select.POLLPRI)
            return not looking.poll(0)
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        line, self.sock = self.sock, None
        if line is not None:
            line.close()


class Connections:
    """Those to one place. Once they are closed, each that comes back is closed as well.

    Who forgets to close them, or forks and leaves them to the parent, loses them with this object.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._closed = False
        weakref.finalize(self, close_all, self._idle).atexit = False

    def take(self) -> tuple[Connection, bool]:
        """A connection, and whether it was used before; a new one is not open yet."""
        oldest = time.monotonic() - KEPT
        while True:
            with self._lock:
                if not self._idle:
                    return Connection(), False
                connection = self._idle.pop()
            if connection.idle_since > oldest and connection.is_usable:
                return connection, True
            connection.close()

    def give_back(self, connection: Connection) -> None:
        """Keep it for the next call."""
        if connection.poll is not None:
            no_poll(connection)  # whose cut would come too late for it, and hit another
        now = connection.idle_since = time.monotonic()
        old: list[Connection] = []
        with self._lock:
            if self._closed or len(self._idle) >= IDLE:
                old.append(connection)
            else:
                self._idle.append(connection)
            while self._idle and self._idle[0].idle_since < now - KEPT:
                old.append(self._idle.pop(0))
        close_all(old)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle = self._idle.copy()
            self._idle.clear()
        close_all(idle)


def close_all(connections: list[Connection]) -> None:
    for connection in connections:
        connection.close()
