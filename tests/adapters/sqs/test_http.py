"""HTTP answers: what is whole is read, however it comes in, and what is not whole is an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_consumer_sqs import _http
from queue_consumer_sqs._http import Answer, Closed, Garbled, Truncated, read_answer


def pieces(*data: bytes) -> Callable[[int], bytes]:
    """Receives these, one after the other, and then the end."""
    left: list[bytes] = [piece for piece in data if piece]

    def receive(size: int) -> bytes:
        if not left:
            return b""
        piece = left.pop(0)
        if len(piece) > size:
            left.insert(0, piece[size:])
        return piece[:size]

    return receive


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


LENGTH = head("HTTP/1.1 200 OK", "Content-Type: a/b", "content-LENGTH:5") + b"hello"
CHUNKED = head("HTTP/1.1 200 OK", "Transfer-Encoding: Chunked") + b"3;a=b\r\nhel\r\n02\r\nlo\r\n0\r\nend: yes\r\n\r\n"
WHOLE: dict[str, tuple[bytes, Answer]] = {
    "length": (LENGTH, Answer(200, {"content-type": "a/b", "content-length": "5"}, b"hello", True)),
    "chunks": (CHUNKED, Answer(200, {"transfer-encoding": "Chunked"}, b"hello", True)),
    "empty": (
        head("HTTP/1.1 500 Oh no", "content-length: 0"),
        Answer(500, {"content-length": "0"}, b"", True),
    ),
    "no reason": (head("HTTP/1.1 200", "content-length: 0"), Answer(200, {"content-length": "0"}, b"", True)),
    "no content": (head("HTTP/1.1 204 Nothing"), Answer(204, {}, b"", True)),
    "last one": (
        head("HTTP/1.1 200 OK", "connection: Close", "content-length: 0"),
        Answer(200, {"connection": "Close", "content-length": "0"}, b"", False),
    ),
    "old": (head("HTTP/1.0 200 OK", "content-length: 0"), Answer(200, {"content-length": "0"}, b"", False)),
    "to the end": (
        head("HTTP/1.1 200 OK", "connection: close") + b"hello",
        Answer(200, {"connection": "close"}, b"hello", False),
    ),
    "old, to the end": (head("HTTP/1.0 200 OK") + b"hello", Answer(200, {}, b"hello", False)),
    "old and kept": (
        head("HTTP/1.0 200 OK", "connection: keep-alive", "content-length: 0"),
        Answer(200, {"connection": "keep-alive", "content-length": "0"}, b"", True),
    ),
    "in the meantime": (
        head("HTTP/1.1 100 Continue") + head("HTTP/1.1 103 Early", "link: a") + LENGTH,
        Answer(200, {"content-type": "a/b", "content-length": "5"}, b"hello", True),
    ),
    "twice": (
        head("HTTP/1.1 204 OK", "a: 1", "A:  2 "),
        Answer(204, {"a": "1, 2"}, b"", True),
    ),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_whole(kind: str) -> None:
    """An answer is read to its end, and the connection is kept where HTTP says so."""
    data, answer = WHOLE[kind]
    assert read_answer(pieces(data)) == answer


@given(st.data(), st.sampled_from(sorted(WHOLE)))
def test_in_pieces(draw: st.DataObject, kind: str) -> None:
    """It does not matter in which pieces an answer comes."""
    data, answer = WHOLE[kind]
    cuts = sorted(draw.draw(st.lists(st.integers(0, len(data)), max_size=8)))
    edges = zip([0, *cuts], [*cuts, len(data)], strict=True)
    assert read_answer(pieces(*(data[start:end] for start, end in edges))) == answer


@pytest.mark.parametrize("kind", WHOLE)
def test_cut_off_anywhere(kind: str) -> None:
    """Wherever an answer is cut off, it is an error: not one byte may be missing."""
    data, _ = WHOLE[kind]
    if kind.endswith("to the end"):  # of which only the head says where it is over
        data = data.removesuffix(b"hello")
    for end in range(len(data)):
        with pytest.raises((Closed, Truncated)):
            read_answer(pieces(data[:end]))


def test_what_is_missing_is_told() -> None:
    """Of a body that is cut off, how much there was, and how much there should have been."""
    with pytest.raises(Truncated) as caught:
        read_answer(pieces(LENGTH[:-2]))
    assert (caught.value.actual, caught.value.expected) == (3, 5)


@pytest.mark.parametrize("kind", ["length", "chunks", "empty", "no content"])
def test_what_comes_after(kind: str) -> None:
    """A connection on which more came than the answer is not kept: it would be taken for the next one's."""
    data, answer = WHOLE[kind]
    assert read_answer(pieces(data + b"HTTP")) == answer._replace(keeps=False)


GARBLED: dict[str, bytes] = {
    "not http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "another version": head("HTTP/2 200 OK", "content-length: 0"),
    "status of four": head("HTTP/1.1 2000 OK", "content-length: 0"),
    "upgrade": head("HTTP/1.1 101 Switching"),
    "no end of it": head("HTTP/1.1 100 Continue") * 20,
    "no length": head("HTTP/1.1 200 OK") + b"hello",
    "two lengths": head("HTTP/1.1 200 OK", "content-length: 5", "content-length: 5") + b"hello",
    "length of words": head("HTTP/1.1 200 OK", "content-length: five") + b"hello",
    "negative length": head("HTTP/1.1 200 OK", "content-length: -5") + b"hello",
    "signed length": head("HTTP/1.1 200 OK", "content-length: +5") + b"hello",
    "foreign digits": head("HTTP/1.1 200 OK", "content-length: \xb2") + b"hello",
    "too long": head("HTTP/1.1 200 OK", "content-length: 100000000") + b"hello",
    "far too long": head("HTTP/1.1 200 OK", f"content-length: {'9' * 5000}") + b"hello",
    "length and chunks": head("HTTP/1.1 200 OK", "content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\n",
    "chunks twice": head("HTTP/1.1 200 OK", "transfer-encoding: chunked", "transfer-encoding: chunked") + b"0\r\n\r\n",
    "unknown coding": head("HTTP/1.1 200 OK", "transfer-encoding: gzip, chunked") + b"0\r\n\r\n",
    "packed": head("HTTP/1.1 200 OK", "content-encoding: gzip", "content-length: 5") + b"hello",
    "folded": head("HTTP/1.1 200 OK", "a: b", " c", "content-length: 0"),
    "no colon": head("HTTP/1.1 200 OK", "content-length 0"),
    "no name": head("HTTP/1.1 200 OK", ": a", "content-length: 0"),
    "name with a space": head("HTTP/1.1 200 OK", "content-length : 0"),
    "bare line feed": head("HTTP/1.1 200 OK", "a: b\ncontent-length: 0"),
    "bare return": head("HTTP/1.1 200 OK", "a: b\rc", "content-length: 0"),
    "zero byte": head("HTTP/1.1 200 OK", "a: \0", "content-length: 0"),
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000,
    "chunk of words": head("HTTP/1.1 200 OK", "transfer-encoding: chunked") + b"five\r\nhello\r\n0\r\n\r\n",
    "chunk of a sign": head("HTTP/1.1 200 OK", "transfer-encoding: chunked") + b"+5\r\nhello\r\n0\r\n\r\n",
    "longer chunk": head("HTTP/1.1 200 OK", "transfer-encoding: chunked") + b"4\r\nhello\r\n0\r\n\r\n",
    "huge chunk": head("HTTP/1.1 200 OK", "transfer-encoding: chunked") + b"7fffffff\r\nhello\r\n0\r\n\r\n",
    "endless size": head("HTTP/1.1 200 OK", "transfer-encoding: chunked") + b"0" * 100_000,
    "endless end": head("HTTP/1.1 200 OK", "transfer-encoding: chunked") + b"0\r\n" + b"a: b\r\n" * 20_000,
}


@pytest.mark.parametrize("kind", GARBLED)
def test_garbled(kind: str) -> None:
    """What is not HTTP, or could be read in two ways, is an error, and what is too long is not read to its end."""
    with pytest.raises(Garbled, match=r"^the answer is not to be understood: "):
        read_answer(pieces(GARBLED[kind]))


@given(st.binary(max_size=200), st.booleans())
def test_anything(data: bytes, begun: bool) -> None:
    """Whatever comes, it is an answer or one of three errors."""
    try:
        answer = read_answer(pieces((b"HTTP/1.1 200 OK\r\n" if begun else b"") + data))
    except (Closed, Garbled, Truncated):
        return
    assert 200 <= answer.status < 600


def test_a_body_in_chunks_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """All chunks together are no longer than a body may be."""
    monkeypatch.setattr(_http, "BODY_LIMIT", 1000)

    def endless() -> Iterator[bytes]:
        yield head("HTTP/1.1 200 OK", "transfer-encoding: chunked")
        while True:
            yield b"64\r\n" + b"a" * 100 + b"\r\n"

    source = endless()
    with pytest.raises(Garbled, match="it is longer than 1000 bytes"):
        read_answer(lambda size: next(source))
