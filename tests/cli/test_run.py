"""`queue-consumer run`, with real processes, real signals and a real terminal; and how it ends."""

from __future__ import annotations

import logging
import os
import queue
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psutil
import pytest

from queue_consumer import Consumer, ConsumerStarted, Event, Leftover, MemoryQueue, Report, State, Stats
from queue_consumer.cli import _changes, _copies, _progress, _run, _running, _send, main
from queue_consumer.cli._target import Target
from support.cli_program import Program, until
from support.lifecycle_handlers import Gate

SHOP = "support.cli_shop"


def run(*arguments: object, folder: Path, terminal: bool = False) -> Program:
    return Program("run", *arguments, terminal=terminal, CLI_SHOP=folder)


def test_a_consumer_runs_to_its_end(tmp_path: Path) -> None:
    """`run module:object --stop-after` handles what there is, says so, and ends with 0."""
    with run(f"{SHOP}:one", "--stop-after", "20items", folder=tmp_path) as program:
        assert program.end() == 0
    assert "received=20 cleaned=20 in_flight=0" in program.text


def test_several_run_side_by_side(tmp_path: Path) -> None:
    """Several targets, and a function that makes several, are one program; each is reported under its name."""
    with run(f"{SHOP}:one", f"{SHOP}:two", "--stop-after", "idle:0.2s", folder=tmp_path) as program:
        assert program.end() == 0
    for words in (":one stopped: received=20", ":two[0] stopped: received=3", ":two[1] stopped: received=4"):
        assert words in program.text


@pytest.mark.parametrize("target", ["gated_twice", "gated_in_processes"])
def test_the_first_ctrl_c_drains(target: str, tmp_path: Path) -> None:
    """Ctrl-C at a terminal says what it does; what runs is finished, no traceback is shown, and the exit code is 0."""
    gate = Gate(tmp_path)
    with run(f"{SHOP}:{target}", folder=tmp_path, terminal=True) as program:
        gate.wait_for(2)
        program.press("\x03")
        program.wait_for("draining 2 items, at most 25 s; press again to stop now")
        gate.open()
        assert program.end() == 0
    assert "cleaned=2" in program.text
    assert "Traceback" not in program.text


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [(signal.SIGINT, signal.SIGINT, 130), (signal.SIGTERM, signal.SIGTERM, 143)],
)
def test_the_second_signal_stops_now(first: signal.Signals, second: signal.Signals, code: int, tmp_path: Path) -> None:
    """A second signal ends what runs, and the exit code says which it was."""
    gate = Gate(tmp_path)
    with run(f"{SHOP}:gated_in_processes", folder=tmp_path) as program:
        gate.wait_for(2)
        program.send(first)
        program.wait_for("draining")
        program.send(second)
        assert program.end() == code
    assert "stopping now, with 2 items in flight" in program.text
    assert "cleaned" not in program.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_start_is_heard(number: signal.Signals, tmp_path: Path) -> None:
    """While the target is being made there is nothing to drain: a signal ends it at once, and cleanly."""
    with run(f"{SHOP}:slow_to_make", folder=tmp_path) as program:
        until((tmp_path / "making").exists, "it is being made")
        program.send(number)
        assert program.end() == 0
    assert "stopped before it had begun" in program.text
    assert "Traceback" not in program.text


def test_a_signal_between_making_and_running_is_heard(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no moment at which a signal would end the process in the middle, or, in a container, not be heard."""

    class Early(_running.Running):
        def __init__(self, *args: Any, **options: Any) -> None:
            signal.raise_signal(signal.SIGTERM)
            super().__init__(*args, **options)

    monkeypatch.setattr(_run, "Running", Early)
    assert main(["run", f"{SHOP}:quick"]) == 0
    assert "stopped before it had begun" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["never_ends", "never_ends_in_processes"])
def test_a_missed_deadline_is_code_5(target: str, tmp_path: Path) -> None:
    """What does not end within --drain-timeout is ended by force, and said to be."""
    with run(f"{SHOP}:{target}", "--drain-timeout", 0.2, folder=tmp_path) as program:
        until((tmp_path / "deaf").exists, "it is handled")
        program.send(signal.SIGTERM)
        assert program.end() == 5
    assert "the drain deadline was missed by handler-1" in program.text


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [
        (f"{SHOP}:nothing", 2, "support.cli_shop has no 'nothing'"),
        (f"{SHOP}:quik", 2, "did you mean quick"),
        ("support.no_such_shop:one", 2, "there is no module 'support.no_such_shop'"),
        ("shop", 2, "a target looks like module:object"),
        (f"{SHOP}:a_number", 2, "must be a Consumer, a list of them, or a function"),
        (f"{SHOP}:broken", 2, "raised KeyError: 'no such setting'"),
        (f"{SHOP}:exits", 2, "raised SystemExit: 0"),
        ("support.cli_script:consumer", 2, "support.cli_script cannot be imported, since it raised SystemExit: 0"),
        (f"{SHOP}:unreachable", 3, "the broker at example.invalid does not answer"),
        (f"{SHOP}:gives_up", 4, "the cable is out"),
    ],
)
def test_what_cannot_run_says_why(target: str, code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A target that cannot be run ends with a sentence and a code of its own, and with no traceback."""
    assert main(["run", target]) == code
    said = capsys.readouterr().err
    assert words in said
    assert code == 4 or "Traceback" not in said


STATS = Stats(state=State.STOPPED)


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (Report(stats=STATS, balanced=True), 0),
        (Report(stats=STATS, balanced=False), 1),
        (Report(stats=STATS, balanced=True, forced=("handler-1",)), 5),
        (Report(stats=STATS, balanced=False, forced=("handler-1",)), 1),
        (Report(stats=STATS, balanced=True, leftovers=(Leftover(where="getter-1", items=()),)), 5),
    ],
)
def test_a_report_has_its_exit_code(report: Report, code: int) -> None:
    """Only a drain that left nothing behind and whose books balance is clean."""
    assert _running.code_of(report) == code


@pytest.mark.parametrize("option", ["--metrics", "--dashboard"])
def test_a_port_that_is_taken_is_said(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be served ends the run before anything is consumed, with a sentence."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert main(["run", f"{SHOP}:quick", option, str(other.getsockname()[1])]) == 2
    said = capsys.readouterr().err
    assert "cannot be opened: " in said
    assert "received=" not in said


def test_one_that_gives_up_ends_all(capsys: pytest.CaptureFixture[str]) -> None:
    """Of several, one that gives up has the others drained: half a program would be taken for a whole one."""
    assert main(["run", f"{SHOP}:quick", f"{SHOP}:gives_up"]) == 4
    said = capsys.readouterr().err
    assert f"{SHOP}:quick stopped: received=" in said
    assert f"{SHOP}:gives_up gave up: CrashLoop" in said


def test_one_that_cannot_start_ends_all(capsys: pytest.CaptureFixture[str]) -> None:
    """Of several, one that cannot start has those drained that were started, and its sentence is the last word."""
    assert main(["run", f"{SHOP}:quick", f"{SHOP}:cannot_start"]) == 2
    said = capsys.readouterr().err
    assert f"{SHOP}:quick stopped: received=" in said
    assert said.endswith(
        f"{SHOP}:cannot_start cannot start: pool_initializer raised: RuntimeError: this worker cannot start\n"
    )


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The log of this process is put back as it was."""
    before = {name: logging.getLogger(name).level for name in ("", "queue_consumer")}
    yield
    logging.getLogger().handlers[:] = [
        handler for handler in logging.getLogger().handlers if not hasattr(handler, "of_queue_consumer")
    ]
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def test_sigusr1_tells_where_handlers_stand(tmp_path: Path) -> None:
    """SIGUSR1 logs the stack of every running handler, children's too, and nothing else happens."""
    gate = Gate(tmp_path)
    with run(f"{SHOP}:gated_in_processes", "--log-format", "json", folder=tmp_path) as program:
        gate.wait_for(2)
        program.send(signal.SIGUSR1)
        program.wait_for("it stands at", 2)
        gate.open()
        program.send(signal.SIGTERM)
        assert program.end() == 0
    stacks = [record for record in program.records() if record.get("event") == "stack"]
    assert sorted(record["worker"] for record in stacks) == ["handler-1", "handler-2"]
    assert all("lifecycle_handlers.py" in record["message"] for record in stacks)


def test_a_copy_that_dies_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    """With --processes a copy that is killed is replaced, and the other one is left alone; SIGTERM drains both, and the
    exit code tells of the crash all the same."""
    with run(f"{SHOP}:noting", "--processes", 2, "--log-format", "json", folder=tmp_path) as program:
        program.wait_for('"event": "started"', 2)
        first, second = (record["pid"] for record in program.records() if record.get("event") == "copy started")
        os.kill(first, signal.SIGKILL)
        program.wait_for('"event": "started"', 3)
        third = [record["pid"] for record in program.records() if record.get("event") == "copy started"][2]
        assert {first, second, third} == {int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")}
        assert psutil.pid_exists(second)
        program.send(signal.SIGTERM)
        assert program.end() == 1
    assert "SIGKILL (perhaps out of memory)" in program.text
    assert "1 crashed, and were replaced" in program.text


def test_ctrl_c_reaches_copies_once(tmp_path: Path) -> None:
    """At a terminal one Ctrl-C drains all copies: it does not count twice for them."""
    gate = Gate(tmp_path)
    with run(f"{SHOP}:gated_twice", "--processes", 2, folder=tmp_path, terminal=True) as program:
        gate.wait_for(4)
        program.press("\x03")
        program.wait_for("draining 2 copies")
        program.wait_for("draining 2 items", 2)
        gate.open()
        assert program.end() == 0
    assert program.text.count("cleaned=2") == 2
    assert "stopping" not in program.text


def test_a_crash_at_the_end_is_not_clean(tmp_path: Path) -> None:
    """A copy that is killed while it drains makes the exit code 1, and the others are drained all the same."""
    gate = Gate(tmp_path)
    with run(f"{SHOP}:gated_twice", "--processes", 2, "--log-format", "json", folder=tmp_path) as program:
        gate.wait_for(4)
        first, _ = (record["pid"] for record in program.records() or started(program))
        program.send(signal.SIGTERM)
        program.wait_for("draining 2 items", 2)
        os.kill(first, signal.SIGKILL)
        program.wait_for("copy . has ended with SIGKILL")
        gate.open()
        assert program.end() == 1
    assert program.text.count("cleaned=2") == 1


def started(program: Program) -> list[dict[str, int]]:
    program.wait_for('"event": "copy started"', 2)
    return [record for record in program.records() if record.get("event") == "copy started"]


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        ([[0], [0]], 0),
        ([[1, 0], [0]], 1),
        ([[-signal.SIGSEGV, 0], [0]], 1),
        ([[4, 0], [0]], 4),
        ([[4, 0], [1, 0]], 1),
        ([[3], [0]], 3),
        ([[1, 3, 0], [0]], 1),
        ([[2], [0]], 2),
        ([[5], [0]], 5),
        ([[1, 5], [0]], 1),
    ],
)
def test_the_exit_code_of_copies_is_never_0_after_a_crash(
    ends: list[list[int]], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What crashed is replaced, and tells in the exit code; what ended with 0 or 5 ended by itself, and is not."""
    python = tmp_path / "python"
    python.write_text(ENDS_AS_TOLD)
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    files = [tmp_path / f"copy-{number}" for number in range(len(ends))]
    for file, codes in zip(files, ends, strict=True):
        file.write_text(" ".join(map(str, codes)) + "\n")
    supervised = _copies.Copies([[str(file)] for file in files], drain_timeout=20, jitter=lambda: 0.0)
    assert supervised.run() == code
    if code not in (2, 3):  # which end the others, too
        assert [file.read_text().strip() for file in files] == ["", ""]


# Run as `python -m queue_consumer FILE`: takes the first word out of the file, and ends with that.
ENDS_AS_TOLD = """#!/bin/sh
read -r first rest < "$3"
echo "$rest" > "$3"
case $first in
    -*) kill "$first" $$ ;;
    *) exit "$first" ;;
esac
"""


def test_copies_that_cannot_start_end_all(tmp_path: Path) -> None:
    """A target that cannot be imported or reached is not tried again and again: the code is that of one copy."""
    with run(f"{SHOP}:unreachable", "--processes", 2, folder=tmp_path) as program:
        assert program.end() == 3


def test_copies_do_not_outlive_their_parent(tmp_path: Path) -> None:
    """When the parent is killed its copies drain and end."""
    with run(f"{SHOP}:noting", "--processes", 2, "--log-format", "json", folder=tmp_path) as program:
        program.wait_for('"event": "started"', 2)
        copies = [psutil.Process(record["pid"]) for record in started(program)]
        program.process.kill()
        assert psutil.wait_procs(copies, timeout=60)[1] == []


def test_a_change_of_the_code_begins_anew(tmp_path: Path) -> None:
    """With --reload a changed file drains the consumer and runs what is there now; a broken one is waited out."""
    (tmp_path / "shop.py").write_text(shop_of("first"))
    options = ["--reload", "--log-format", "json"]
    with Program("run", "shop:make", *options, cwd=tmp_path) as program:
        program.wait_for("it is the first")
        (tmp_path / "shop.py").write_text("this is no Python\n")
        program.wait_for("begins anew when a file changes")
        (tmp_path / "shop.py").write_text(shop_of("second"))
        program.wait_for("it is the second")
        program.send(signal.SIGINT)
        assert program.end() == 0
    assert "SyntaxError" in program.text


def test_changes_are_seen_without_watchfiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without watchfiles the Python files of the folder are looked at: new, changed and deleted ones are told."""
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    monkeypatch.setattr(_changes, "LOOK", 0.01)
    told: queue.Queue[list[str]] = queue.Queue()
    changes = _changes.Changes(tmp_path, told.put)
    changes.start()
    assert changes.ready.wait(20)
    path = tmp_path / "shop.py"
    (tmp_path / "notes.txt").touch()
    path.touch()
    assert told.get(timeout=40) == [str(path)]
    os.utime(path, (1, 1))
    assert told.get(timeout=40) == [str(path)]
    path.unlink()
    assert told.get(timeout=40) == [str(path)]
    changes.close()


def test_progress_is_a_bar_at_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """At a terminal progress is one line, drawn again and again; elsewhere nothing is drawn into a log at each step."""
    monkeypatch.setattr(_progress, "PACE", 0.0)
    quiet = _progress.Progress("moved", 4)
    quiet(2)
    quiet.end()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    shown = _progress.Progress("moved", 4)
    shown(2)
    shown(4)
    shown.end()
    said = capsys.readouterr().err
    assert "moved " + "█" * 15 + "░" * 15 + " 2 of 4" in said
    assert said.endswith("\n")
    assert said.count("\n") == 1


def shop_of(name: str) -> str:
    return f"""
from queue_consumer import Consumer, MemoryQueue
def make():
    print("it is the {name}", flush=True)
    return Consumer(MemoryQueue(), print, max_workers=1, max_handlers=1)
"""


@pytest.mark.parametrize(("started", "replaced"), [(1, False), (2, True)])
def test_a_replacement_that_cannot_start_ends_nobody_else(started: int, replaced: bool) -> None:
    """Exit code 2 says that all are wrong only if it is the first that a copy says; later it is tried again."""
    copies = _copies.Copies([["run"], ["run"]], drain_timeout=1)
    copy, process = copies._copies[0], Mock(returncode=2)
    copy.process, copy.started = process, started
    copies._ended(copy, process)
    assert (copy.due is not None) is replaced
    assert copies._signals == ([] if replaced else [0])


def test_a_copy_that_cannot_be_started_is_started_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory for one more process the others go on, and it is tried again."""
    copies = _copies.Copies([["run"], ["run"]], drain_timeout=1)
    monkeypatch.setattr(subprocess, "Popen", Mock(side_effect=BlockingIOError("no more processes")))
    copies._start(copies._copies[0])
    assert copies._copies[0].due is not None
    assert not copies._copies[0].alive


def test_lines_end_where_lines_end(tmp_path: Path) -> None:
    """What is a line end to some, but legal within JSON, cuts no message in two."""
    (tmp_path / "bodies").write_text('"a\u2028b"\n"c\x85d"\r\n\n', encoding="utf-8")
    assert _send.lines_of(tmp_path / "bodies") == ['"a\u2028b"', '"c\x85d"']


def test_a_signal_while_the_first_of_several_starts_is_no_error() -> None:
    """What was stopped before it could start has nothing to say: all end, and with 0."""

    def signalled(event: Event) -> None:
        if isinstance(event, ConsumerStarted):
            running._on_signal(signal.SIGTERM)

    one, two = (Consumer(MemoryQueue(list[str]()), list, observers=[signalled]) for _ in range(2))
    running = _running.Running([Target("one", one), Target("two", two)], drain_timeout=20)
    assert running.run() == 0
    assert two.stats().received == 0
