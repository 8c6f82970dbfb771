"""`queue-consumer top`: what it shows is what `stats()` says, and what it is told to do is done."""

from __future__ import annotations

import json
import socket
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from queue_consumer import Consumer, Lane, MemoryQueue, Supervision, each
from queue_consumer.cli import _top, main
from queue_consumer.cli._sights import lines_of, sights_of
from queue_consumer.cli._socket import Refused, Socket, ask, id_of
from queue_consumer.cli._target import Target
from support.cli_program import Program
from support.lifecycle import until
from support.lifecycle_handlers import Gate, act

Out = pytest.CaptureFixture[str]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Consumer[Any], Gate, Path]]:
    """A consumer with two handlers, of which one holds an item at a gate, and its socket."""
    gate = Gate(tmp_path)
    queue = MemoryQueue(wait=0.05)
    for body in (gate.item, "ok", "ok", "raise"):
        queue.put(body)

    @each
    def handle(message: Any) -> None:
        act(iter([message.body]))

    policy = Supervision(polling_time=0.02)
    consumer = Consumer(queue, handle, max_workers=1, max_handlers=2, backoff=lambda attempt: 60, supervision=policy)
    path = tmp_path / "orders.sock"
    server = Socket(path, [Target("orders", consumer)])
    server.open()
    with consumer:
        gate.wait_for()
        until(lambda: consumer.stats().released == 1, "the others are done")
        yield consumer, gate, path
        gate.open()
    server.close()
    assert not path.exists()
    assert consumer.shutdown().balanced


def test_what_is_shown_is_what_stats_say(running: tuple[Consumer[Any], Gate, Path], capsys: Out) -> None:
    """`top --once` shows the ledger, handlers, belt and state, and ids but no bodies."""
    consumer, _, path = running
    until(lambda: any(worker.seconds > 0.05 for worker in consumer.workers()), "the wait is seen")
    assert main(["top", str(path), "--once"]) == 0
    said = capsys.readouterr().out
    stats = consumer.stats()
    assert (stats.received, stats.cleaned, stats.released, stats.failed, stats.in_flight) == (4, 2, 1, 1, 1)
    assert "running: in 0.0/s, out 0.0/s, in flight 1; received 4, cleaned 2, released 1, failed 1" in said
    assert "1 of 2 handlers busy in threads" in said
    assert "fetching: yes" in said
    assert "0 waiting on the belt" in said
    assert "gate" not in said


def test_a_socket_is_its_owners_alone(running: tuple[Consumer[Any], Gate, Path]) -> None:
    """Others on the machine may neither look nor meddle."""
    assert stat.S_IMODE(running[2].stat().st_mode) == 0o600


def test_it_is_paused_resumed_and_resized(running: tuple[Consumer[Any], Gate, Path], capsys: Out) -> None:
    """`--pause`, `--resume` and `--resize` change the consumer while it runs."""
    consumer, _, path = running
    assert main(["top", str(path), "--pause"]) == 0
    until(lambda: consumer.stats().fetching == "paused", "it is paused")
    assert main(["top", str(path), "--resume", "--resize", "3"]) == 0
    until(lambda: consumer.stats().fetching == "yes", "it fetches")
    until(lambda: len([w for w in consumer.workers() if w.kind == "handler"]) == 3, "there are three handlers")
    assert capsys.readouterr().out == "pause: orders\nresume: orders\nresize: orders\n"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"verb": "stop"}, "there are look, pause, resume and resize"),
        ({"verb": "resize", "handlers": 0}, "max_handlers must be a whole number of at least 1; got 0"),
        ({"verb": "pause", "consumer": "others"}, "there is no consumer 'others'; there are orders"),
    ],
)
def test_wrong_requests_are_refused(
    request_: dict[str, Any], words: str, running: tuple[Consumer[Any], Gate, Path]
) -> None:
    """What cannot be done is refused in a sentence, and nothing happens."""
    with pytest.raises(Refused, match=words):
        ask(running[2], **request_)


def test_nonsense_is_answered(running: tuple[Consumer[Any], Gate, Path]) -> None:
    """What is no JSON is answered with an error, and the connection goes on."""
    with socket.socket(socket.AF_UNIX) as line, line.makefile("rwb") as file:
        line.connect(str(running[2]))
        file.write(b"nonsense\n[1]\n")
        file.flush()
        assert "a request is a JSON object" in json.loads(file.readline())["error"]
        assert "there are look" in json.loads(file.readline())["error"]


def test_a_socket_that_is_in_use_is_not_taken(running: tuple[Consumer[Any], Gate, Path]) -> None:
    """A second program does not take another's socket; one that nobody answers at is taken over."""
    with pytest.raises(FileExistsError, match="another process answers"):
        Socket(running[2], []).open()
    left = running[2].parent / "left.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(left))
    server = Socket(left, [])
    server.open()
    server.close()


def test_nobody_there_is_said(tmp_path: Path, capsys: Out) -> None:
    """Where no consumer answers the exit code is 3."""
    assert main(["top", str(tmp_path / "none.sock"), "--once"]) == 3
    assert "nothing runs at" in capsys.readouterr().err
    assert main(["top", str(tmp_path / "none.sock"), "--pause"]) == 3


def test_a_stuck_handler_is_shown_with_its_stack(tmp_path: Path, capsys: Out) -> None:
    """A handler that is stuck is shown with what it holds, for how long, and where it stands."""
    gate = Gate(tmp_path)
    queue = MemoryQueue(wait=0.05)
    id = queue.put(gate.item)

    @each
    def handle(message: Any) -> None:
        act(iter([message.body]))

    policy = Supervision(polling_time=0.02, stuck_time=0.1, stuck_limit=9)
    consumer = Consumer(queue, handle, max_workers=1, max_handlers=1, supervision=policy)
    path = tmp_path / "socket"
    server = Socket(path, [Target("orders", consumer)])
    server.open()
    with consumer:
        until(lambda: consumer.stats().stuck == 1, "it is stuck")
        assert main(["top", str(tmp_path), "--once"]) == 0
        gate.open()
    server.close()
    said = capsys.readouterr().out
    assert f"handler-1 stuck with {id} for" in said
    assert "lifecycle_handlers.py" in said


@pytest.mark.parametrize(
    ("item", "id"), [("a body", ""), ({"secret": 1}, ""), (7, ""), (SimpleNamespace(id="m-1", body="secret"), "m-1")]
)
def test_what_is_not_an_id_is_not_told(item: object, id: str) -> None:
    """Of an item its id is told; one that has none is its body, and nothing is told of it."""
    assert id_of(item) == id


def answer(**stats: Any) -> dict[str, Any]:
    """What a socket answers, of a consumer with these figures."""
    names = "received cleaned dropped released left tombstoned lost abandoned in_flight failed duplicates revived stuck"
    figures: dict[str, Any] = {
        **dict.fromkeys(names.split(), 0),
        "state": "running",
        "fetching": "yes",
        "queue": {},
        **stats,
    }
    lanes = [{"name": "urgent", "priority": 5.0, "waiting": 2, "fetching": "yes"}]
    consumer: dict[str, Any] = {
        "name": "orders",
        "pool": "threads",
        "max_handlers": 1,
        "stats": figures,
        "lanes": lanes,
        "workers": [],
    }
    return {"pid": 7, "consumers": [consumer]}


def test_rates_are_those_between_two_looks() -> None:
    """Items a second are counted from one look to the next; of another process with that name, from nothing."""
    (first,) = sights_of("x", answer(received=10, cleaned=4), {}, 0.0)
    (second,) = sights_of("x", answer(received=30, cleaned=14, failed=1), {"orders": first}, 2.0)
    assert (first.rate_in, first.rate_out) == (0, 0)
    assert (second.rate_in, second.rate_out) == (10, 5)
    other = {**answer(received=3), "pid": 8}
    assert sights_of("x", other, {"orders": second}, 2.0)[0].rate_in == 0


def test_calls_and_their_price_are_shown() -> None:
    """The meters of all lanes' queues are added up; lanes are shown with their depth."""
    meter = {"calls": {"receive_message": 3}, "dollars": 0.000002}
    (sight,) = sights_of("x", answer(queue={"a": meter, "b": meter}), {}, 0.0)
    said = "\n".join(lines_of(sight))
    assert "calls: receive_message 6: about $0.000004" in said
    assert "lane urgent (5): 2 waiting; fetching: yes" in said


def test_the_picture_lives_at_a_terminal(running: tuple[Consumer[Any], Gate, Path]) -> None:
    """At a terminal a picture is drawn; keys pause, resume and resize; q leaves the terminal as it was."""
    consumer, _, path = running
    with Program("top", path, "--interval", "0.1", terminal=True, COLUMNS=120, LINES=30) as program:
        program.wait_for(r"orders.*running")
        program.wait_for("max_handlers")
        program.press("p")
        until(lambda: consumer.stats().fetching == "paused", "p pauses")
        program.wait_for("paused")
        program.press("p")
        until(lambda: consumer.stats().fetching == "yes", "p resumes")
        program.press("+")
        until(lambda: consumer.options.handlers == 3, "+ makes it three")
        program.press("s")
        program.wait_for("lifecycle_handlers.py")
        program.press("q")
        assert program.end() == 0
    assert "\x1b[?25h" in program.text[-50:]  # the cursor is back


def test_without_rich_there_are_lines(
    running: tuple[Consumer[Any], Gate, Path], monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    """Without rich, at a terminal, it is said how to get it, and plain lines are printed; so are they into a pipe."""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.delitem(sys.modules, "queue_consumer.cli._panels", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    clock = SimpleNamespace(sleep=sleep, monotonic=time.monotonic, strftime=time.strftime)
    monkeypatch.setattr(_top, "time", clock)
    assert main(["top", str(running[2]), "--interval", "0.5"]) == 0
    captured = capsys.readouterr()
    assert "pip install 'queue-consumer[cli]'" in captured.err
    assert captured.out.count("orders (pid") == 2
    assert looks == [0.5, 0.5]


def test_lanes_of_a_running_consumer_are_told(tmp_path: Path) -> None:
    """The socket tells each lane of a consumer of several queues, by name and priority."""

    class Both:
        lanes = (Lane(MemoryQueue(wait=0.05), 5, "urgent"), Lane(MemoryQueue(wait=0.05), 1, "usual"))

    consumer = Consumer(Both(), act, max_workers=2, max_handlers=1)
    server = Socket(tmp_path / "socket", [Target("orders", consumer)])
    server.open()
    with consumer:
        (told,) = ask(tmp_path / "socket", verb="look")["consumers"]
    server.close()
    assert [(lane["name"], lane["priority"]) for lane in told["lanes"]] == [("urgent", 5), ("usual", 1)]
