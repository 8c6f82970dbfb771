"""`queue-consumer top`: what it shows is what `stats()` says, and what it is told to do is done."""

from __future__ import annotations

import io
import json
import re
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from queue_consumer import Consumer, Lane, MemoryQueue, Supervision, each
from queue_consumer.cli import _top, main
from queue_consumer.cli._panels import picture
from queue_consumer.cli._sights import lines_of, sights_of
from queue_consumer.cli._socket import Refused, Socket, ask, id_of
from queue_consumer.cli._target import Target
from support.cli_program import Program
from support.cli_sights import answer
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


@pytest.mark.parametrize("said", [b"hello\n", b"[]\n", b"{}\n", b'{"pid": 1, "consumers": [{}]}\n', b""])
def test_a_strangers_answer_is_refused(said: bytes, tmp_path: Path, capsys: Out) -> None:
    """What answers at a socket and is no consumer is said to be none; there is no traceback."""
    path = tmp_path / "strange.sock"
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(str(path))
        line.listen()

        def answer_once() -> None:
            other, _ = line.accept()
            with other:
                other.recv(1000)
                other.sendall(said)

        thread = threading.Thread(target=answer_once, daemon=True)
        thread.start()
        assert main(["top", str(path), "--once"]) == 3
        thread.join(20)
    assert re.search("does not answer like a consumer|has hung up", capsys.readouterr().err)


def test_who_hangs_up_is_no_news(running: tuple[Consumer[Any], Gate, Path], capsys: Out) -> None:
    """A client that does not wait for its answer leaves no traceback behind, and others are answered."""
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(running[2]))
            line.sendall(b'{"verb": "look"}\n' * 50)
    assert ask(running[2], verb="look")["consumers"]
    assert "Traceback" not in capsys.readouterr().err


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


def test_rates_are_those_between_two_looks() -> None:
    """Items a second are counted from one look to the next; of another process with that name, from nothing."""
    (first,) = sights_of("x", answer(received=10, cleaned=4), {}, 0.0)
    (second,) = sights_of("x", answer(received=30, cleaned=14, failed=1), {"orders": first}, 2.0)
    assert (first.rate_in, first.rate_out) == (0, 0)
    assert (second.rate_in, second.rate_out) == (10, 5)
    other = {**answer(received=3), "pid": 8}
    assert sights_of("x", other, {"orders": second}, 2.0)[0].rate_in == 0


def worker(name: str, doing: str, **facts: Any) -> dict[str, Any]:
    return {"name": name, "kind": "handler", "doing": doing, "item": "", "seconds": 0.0, "stack": "", **facts}


STACK = """  File "/usr/lib/python3.13/threading.py", line 1, in _bootstrap
    self._bootstrap_inner()
  File "/venv/queue_consumer/_pools/threads.py", line 65, in run
    call(chunk)
  File "/srv/shop.py", line 7, in pack
    lock.acquire()
  File "/usr/lib/python3.13/threading.py", line 2, in acquire
    self._wait()
"""


def test_who_is_stuck_is_counted_apart() -> None:
    """Busy handlers and stuck ones are counted at this moment; the oldest of both is shown; stuck ones are shown from
    the handler's own frame on; and the stacks of others only if they were asked for."""
    given = answer(stuck=3)
    given["consumers"][0]["workers"] = [
        worker("handler-1", "busy", seconds=1.0, stack=STACK),
        worker("handler-2", "stuck", seconds=70.0, item="m-1", stack=STACK),
        worker("handler-3", "idle"),
    ]
    (sight,) = sights_of("x", given, {}, 0.0)
    assert (sight.busy, sight.stuck, sight.oldest) == (1, 1, 70.0)
    shown = list(lines_of(sight))
    assert "stuck 1 (3 in all)" in shown[1]
    assert shown[3:] == [
        "  handler-2 stuck with m-1 for 70.0 s",
        '      File "/srv/shop.py", line 7, in pack',
        "        lock.acquire()",
        '      File "/usr/lib/python3.13/threading.py", line 2, in acquire',
        "        self._wait()",
    ]
    (sight,) = sights_of("x", given, {}, 0.0, stacks=True)
    assert "  handler-1 busy for 1.0 s" in list(lines_of(sight))


@pytest.mark.parametrize("width", [80, 120])
def test_the_picture_fits(width: int) -> None:
    """Also in a narrow terminal no figure is cut off; copies of one program are told apart; the keys and what is in
    trouble stand above the details."""
    sights: list[Any] = []
    for pid in (7001, 7002):
        given: Any = {
            **answer(received=12_345, failed=1_234, in_flight=12_345, revived=2, stuck=2, fetching="no room"),
            "pid": pid,
        }
        given["consumers"][0]["workers"] = [worker("handler-1", "stuck", seconds=70.0, item="m-1", stack=STACK)]
        sights += sights_of(f"{pid}.sock", given, {}, 0.0)
    screen = io.StringIO()
    Console(file=screen, width=width, color_system=None).print(picture(sights, sights[1], "", width))
    lines = screen.getvalue().splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["orders", "▸"]
    for line, name in zip(lines[1:3], ("orders 7001", "orders 7002"), strict=True):
        for figure in (name, "running", "12,345", "1,234", "0/1", "70.0 s"):
            assert figure in line
    assert "q quit" in lines[3]
    assert "handler-1 stuck with m-1 for 70.0 s" in lines[4]
    assert any("pid 7002" in line for line in lines)
    assert not any("pid 7001" in line for line in lines)
    assert any("restarts 2, stuck 2 in all" in line for line in lines)
    assert any("fetching: no room" in line for line in lines)


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
