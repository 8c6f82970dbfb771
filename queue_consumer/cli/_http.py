"""What the two web servers have in common: how they listen, whom they answer, and what they never say."""

from __future__ import annotations

import ipaddress
import logging
import socket
import socketserver
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Page", "Server", "Where", "url_of"]

Where = tuple[str, int]
log = logging.getLogger("queue_consumer.cli")


def url_of(where: Where) -> str:
    host, port = where
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether a name or an address is of this machine, and cannot be anybody else's."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Server(ThreadingHTTPServer):
    """Listens at an address of either kind. A client that hangs up is no news."""

    daemon_threads = True

    def __init__(self, where: Where, page: type[Page]) -> None:
        self.address_family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
        super().__init__(where, page)
        self.where = where[0], int(self.server_address[1])

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the name service who we are, and waits for the answer.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a request of %s was broken off", client_address, exc_info=True)


class Page(BaseHTTPRequestHandler):
    """Answers one request. A server on loopback refuses those that were meant for another name: they come from a page
    from elsewhere that a browser of this machine has open, and whose name leads here now."""

    server_version, sys_version = "queue-consumer", ""
    timeout = 30.0  # seconds that a client may keep us waiting

    def is_meant_for_us(self) -> bool:
        """Whether to answer; if not, that was said."""
        server: Any = self.server
        host = self.headers.get("Host", "")
        origin = self.headers.get("Origin")
        if host and is_loopback(server.where[0]) and not is_loopback(name_of(f"//{host}")):
            self.answer(403, b"this server is for this machine alone\n")
        elif origin is not None and urlsplit(origin).netloc != host:
            self.answer(403, b"this server does not answer pages from elsewhere\n")
        else:
            return True
        return False

    def answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)


def name_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # not even that
        return ""
