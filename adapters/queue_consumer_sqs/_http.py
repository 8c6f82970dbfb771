"""An HTTP answer, read off a connection: strictly, since of an answer that is not whole nothing can be believed."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, NoReturn

__all__ = ["Answer", "Closed", "Garbled", "Truncated", "read_answer"]

HEAD_LIMIT = 64 * 1024  # bytes
BODY_LIMIT = 64 * 1024 * 1024  # ten messages of 1 MiB each, and all of it as \\u00e4
PIECE = 64 * 1024  # bytes that are read at once
STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: .*)?")
NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
INTERIM = 8  # answers before the answer

Receive = Callable[[int], bytes]


class Closed(Exception):
    """The other side hung up before the answer had begun, or in the middle of its head."""


class Garbled(Exception):
    """The answer is not one that HTTP knows, or that is taken here."""


class Truncated(Exception):
    """The other side hung up in the middle of the body."""

    def __init__(self, actual: int, expected: int) -> None:
        super().__init__(actual, expected)
        self.actual, self.expected = actual, expected


class Answer(NamedTuple):
    """What came.

    Attributes:
        headers: by their names in lower case.
        keeps: the connection is good for another request.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    keeps: bool


def read_answer(receive: Receive) -> Answer:
    """Read one answer.

    Args:
        receive: gives up to so many bytes, some of them at least, or none at the end.

    Raises:
        Closed, Garbled, Truncated: there is none.
    """
    data = b""
    for _ in range(INTERIM):
        head, data = read_head(data, receive)
        version, status, headers = parse_head(head)
        if status >= 200:
            break
        if status == 101:
            wrong("it changes the protocol")
    else:
        wrong("it does not come to an end")
    connection = headers.get("connection", "").lower()
    stays = "close" not in connection if version else "keep-alive" in connection
    if not stays and status not in (204, 304) and not {"content-length", "transfer-encoding"} & headers.keys():
        check_coding(headers)
        return Answer(status, headers, read_to_the_end(data, receive), keeps=False)
    body, rest = read_body(status, headers, data, receive)
    return Answer(status, headers, body, keeps=stays and not rest)


def wrong(why: str) -> NoReturn:
    raise Garbled(f"the answer is not to be understood: {why}")


def read_head(data: bytes, receive: Receive) -> tuple[bytes, bytes]:
    """The head, without the empty line at its end; and what came with it."""
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > HEAD_LIMIT:
            wrong(f"its head is longer than {HEAD_LIMIT} bytes")
        piece = receive(PIECE)
        if not piece:
            raise Closed("the connection was closed before there was an answer")
        data += piece
    if end > HEAD_LIMIT:
        wrong(f"its head is longer than {HEAD_LIMIT} bytes")
    return data[:end], data[end + 4 :]


def parse_head(head: bytes) -> tuple[int, int, dict[str, str]]:
    """The minor version of HTTP/1, the status, and the headers."""
    first, *lines = head.decode("latin-1").split("\r\n")
    status = STATUS_LINE.fullmatch(first)
    if status is None:
        wrong(f"it begins with {first[:50]!r}")
    if b"\0" in head or not head.count(b"\n") == head.count(b"\r") == len(lines):
        wrong("its head has bytes that end no line, and belong to none")
    headers: dict[str, str] = {}
    for line in lines:
        written, colon, value = line.partition(":")
        name = name_of(written)
        if not colon or not name:
            wrong(f"it has the line {line[:50]!r}")
        value = value.strip(" \t")
        if name in headers:
            if name in ("content-length", "transfer-encoding"):
                wrong(f"it has {name} twice")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return int(status[1]), int(status[2]), headers


@lru_cache(maxsize=256)
def name_of(written: str) -> str:
    """The name of a header, in lower case; "" if it is none."""
    return written.lower() if NAME.fullmatch(written) else ""


def read_body(status: int, headers: dict[str, str], data: bytes, receive: Receive) -> tuple[bytes, bytes]:
    """The body; and what came after it, which is nobody's."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    check_coding(headers)
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            wrong("how long it is, is said twice, or in an unknown way")
        return Chunks(data, receive).read()
    if status in (204, 304):
        return b"", data
    if length is None:
        wrong("it does not say how long it is")
    if not (length.isascii() and length.isdigit()) or len(length) > 18:
        wrong(f"it says that it is {length[:50]!r} bytes long")
    size = int(length)
    if size > BODY_LIMIT:
        wrong(f"it is longer than {BODY_LIMIT} bytes")
    return filled(data, size, receive)


def check_coding(headers: dict[str, str]) -> None:
    if "content-encoding" in headers and headers["content-encoding"].lower() != "identity":
        wrong(f"it is packed as {headers['content-encoding'][:50]!r}")


def read_to_the_end(data: bytes, receive: Receive) -> bytes:
    """A body that is over when the connection is. Whether it is whole is for its reader to see, who knows JSON."""
    pieces, have = [data], len(data)
    while piece := receive(PIECE):
        pieces.append(piece)
        have += len(piece)
        if have > BODY_LIMIT:
            wrong(f"it is longer than {BODY_LIMIT} bytes")
    return b"".join(pieces)


def filled(data: bytes, size: int, receive: Receive) -> tuple[bytes, bytes]:
    """So many bytes, the first of them here already; and what came after them."""
    if len(data) == size:
        return data, b""
    if len(data) > size:
        return data[:size], data[size:]
    pieces, have = [data], len(data)
    while have < size:
        piece = receive(min(size - have, 16 * PIECE))
        if not piece:
            raise Truncated(have, size)
        pieces.append(piece)
        have += len(piece)
    return b"".join(pieces), b""


class Chunks:
    """A body that comes in chunks."""

    def __init__(self, data: bytes, receive: Receive) -> None:
        self._data = data
        self._receive = receive
        self._have = 0

    def read(self) -> tuple[bytes, bytes]:
        chunks: list[bytes] = []
        while True:
            line = CHUNK_LINE.fullmatch(self._line())
            if line is None:
                wrong("a chunk does not say how long it is")
            size = int(line[1], 16)
            if not size:
                break
            if self._have + size > BODY_LIMIT:
                wrong(f"it is longer than {BODY_LIMIT} bytes")
            chunk, self._data = filled(self._data, size + 2, self._receive)
            if chunk[-2:] != b"\r\n":
                wrong("a chunk is longer than it says")
            self._have += size
            chunks.append(chunk[:-2])
        length = 0
        while trailer := self._line():
            length += len(trailer)
            if length > HEAD_LIMIT:
                wrong(f"its end is longer than {HEAD_LIMIT} bytes")
        return b"".join(chunks), self._data

    def _line(self) -> bytes:
        while (end := self._data.find(b"\r\n")) < 0:
            if len(self._data) > HEAD_LIMIT:
                wrong("a chunk does not say how long it is")
            piece = self._receive(PIECE)
            if not piece:
                raise Truncated(self._have, self._have + 1)  # by how much is not known
            self._data += piece
        line, self._data = self._data[:end], self._data[end + 2 :]
        return line
