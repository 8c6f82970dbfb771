"""HTTP as far as a proxy must read it: whole messages out of a stream, and the JSON in them."""

from __future__ import annotations

import json
import re
from typing import Any, cast

BLANK_LINE = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)

Json = dict[str, Any]


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
    return cast("Json", found) if isinstance(found, dict) else {}
