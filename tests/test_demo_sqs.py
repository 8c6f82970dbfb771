"""The second act of the demonstration: it shows the buses on a real server, fits a screen, and tells the truth."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.sqs_servers import INSTALLED, ROOT

EXAMPLES = ROOT / "examples"
DEMO = EXAMPLES / "demo_sqs.py"
LINES, COLUMNS = 24, 80
PATIENCE = 100


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module."""
    monkeypatch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
    spec = importlib.util.spec_from_file_location("demo_sqs", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "demo_sqs", module)  # dataclasses look there for their module
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------------- where it is watched


class Screen:
    """What a terminal of 24 lines and 80 columns shows of what is written to it."""

    def __init__(self) -> None:
        self.rows = [""] * LINES
        self.row = self.column = self.widest = 0
        self.scrolled = 0

    def feed(self, text: str) -> None:
        for token in re.split(r"(\r|\n|\x1b\[[AJK])", text):
            match token:
                case "\r":
                    self.column = 0
                case "\n":
                    self.row += 1
                    if self.row == LINES:
                        self.rows = [*self.rows[1:], ""]
                        self.row, self.scrolled = LINES - 1, self.scrolled + 1
                case "\x1b[A":
                    self.row -= 1
                case "\x1b[K":
                    self.rows[self.row] = self.rows[self.row][: self.column]
                case "\x1b[J":
                    self.rows[self.row] = self.rows[self.row][: self.column]
                    self.rows[self.row + 1 :] = [""] * (LINES - self.row - 1)
                case _:
                    assert "\x1b" not in token, repr(token)
                    row = self.rows[self.row].ljust(self.column)
                    self.rows[self.row] = row[: self.column] + token + row[self.column + len(token) :]
                    self.column += len(token)
                    self.widest = max(self.widest, self.column)

    def letters(self, title: str) -> str:
        """The row of letters below a title."""
        at = next((number for number, row in enumerate(self.rows) if row.startswith(title)), None)
        return "" if at is None else self.rows[at + 1].replace(" ", "")

    def __str__(self) -> str:
        return "\n".join(self.rows)


# A session of its own, of which the terminal is the controlling one, so that Ctrl-C becomes a signal.
LAUNCHER = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Terminal:
    """A program as it runs at a terminal."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.text = ""
        self.screen = Screen()
        self._fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        command = [sys.executable, "-c", LAUNCHER, *arguments]
        env = {**os.environ, **environment}
        self.process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._fd)

    def write(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def read_until(self, there: Callable[[], object]) -> None:
        for _ in self.read():
            if there():
                return
        raise AssertionError(f"it did not come to that:\n{self.screen}")

    def read(self) -> Iterator[None]:
        """All that is written, piece by piece."""
        until = time.monotonic() + PATIENCE
        while select.select([self._fd], [], [], max(0.0, until - time.monotonic()))[0]:
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:  # the other side has closed its terminal
                return
            if not data:
                return
            text = data.decode(errors="replace")
            self.text += text
            self.screen.feed(text)
            yield
        raise AssertionError(f"the demo has not ended:\n{self.screen}")


def test_it_fits_a_screen_and_is_live(tmp_path: Path) -> None:
    """As `make demo` runs it at a terminal of 24 lines and 80 columns: two rows of letters that grow, ours in the right
    order, and all of it still to be seen at the end; the original is there, or it is said why it is not.
    """
    seen: dict[str, set[str]] = {"multi_sqs_listener": set(), "queue_consumer_sqs": set()}
    with Terminal(str(DEMO), TMPDIR=str(tmp_path)) as terminal:
        screen = terminal.screen
        for _ in terminal.read():
            for title, letters in seen.items():
                letters.add(screen.letters(title))
        assert terminal.process.wait(PATIENCE) == 0, str(screen)
    ours = "LLLLHHHHHLLLLL"
    assert {"L", "LLLLH", ours} <= seen["queue_consumer_sqs"]
    assert screen.letters("queue_consumer_sqs") == ours
    if (INSTALLED / "multi_sqs_listener" / ".made").exists():
        assert len(screen.letters("multi_sqs_listener 1.0.1")) == len(ours)
    else:
        assert "multi_sqs_listener is not installed" in str(screen)
    assert "everything agrees" in str(screen)
    assert (screen.scrolled, screen.widest < COLUMNS) == (0, True), str(screen)
    assert list(tmp_path.glob("queue_consumer-demo-*")) == []


@pytest.mark.parametrize("when", ["the server starts", "messages are handled", "there is nothing to do for each"])
def test_ctrl_c_ends_it(when: str, tmp_path: Path) -> None:
    """Ctrl-C at any time, even twice: it says so, in no traceback, and leaves neither a file nor a process behind."""
    moments: dict[str, Callable[[], object]] = {
        "the server starts": lambda: "multi_sqs_listener (" in terminal.text,
        "messages are handled": lambda: terminal.screen.letters("queue_consumer_sqs").startswith("LLLL"),
        "there is nothing to do for each": lambda: "with nothing to do" in terminal.text,
    }
    with Terminal(str(DEMO), "--alone", TMPDIR=str(tmp_path)) as terminal:
        terminal.read_until(moments[when])
        children = psutil.Process(terminal.process.pid).children(recursive=True)
        terminal.write(b"\x03\x03")
        for _ in terminal.read():
            pass
        assert terminal.process.wait(PATIENCE) == 130
    assert "interrupted" in str(terminal.screen)
    assert "Traceback" not in terminal.text
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert list(tmp_path.glob("queue_consumer-demo-*")) == []


def test_nothing_outlives_it(tmp_path: Path) -> None:
    """However it ends, and be it by SIGKILL: neither the server nor the listener is left."""
    with Terminal(str(DEMO), "--alone", TMPDIR=str(tmp_path)) as terminal:
        terminal.read_until(lambda: terminal.screen.letters("queue_consumer_sqs").startswith("LL"))
        children = psutil.Process(terminal.process.pid).children(recursive=True)
        assert len(children) >= 3  # a server, who minds it, and a listener
        terminal.process.send_signal(signal.SIGKILL)
        assert psutil.wait_procs(children, timeout=10)[1] == []


# ---------------------------------------------------------------------- where nobody watches


def run_with(changes: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The demo without a terminal, with something in it that is otherwise, and shorter messages."""
    program = (
        f"import sys; sys.path.insert(0, {str(EXAMPLES)!r}); import demo_sqs\n"
        f"demo_sqs.TAKES = dict(low=0.05, high=0.02)\n{changes}\nsys.argv[1:] = []\nsys.exit(demo_sqs.main())"
    )
    env = {**os.environ, "TMPDIR": str(folder), **environment}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, env=env, check=False
    )


def test_it_exits_with_1_if_the_order_is_another(tmp_path: Path) -> None:
    """If the bus `high` is the lower one, urgent messages come last: it sees that, says so, and its exit status does.
    Without a terminal it prints plain lines, and without the original it says how to get it.
    """
    done = run_with('demo_sqs.PRIORITIES["high"] = 0; demo_sqs.the_original = lambda: None', tmp_path)
    assert (done.returncode, done.stderr) == (1, ""), done.stdout
    assert re.search(r"^  order +LLLLHHHHHLLLLL +LLLLLLLLLHHHHH  DIFFERS$", done.stdout, re.MULTILINE), done.stdout
    assert "NOT EVERYTHING AGREES" in done.stdout
    assert done.stdout.startswith("multi_sqs_listener is not installed (tools/servers.sh multi_sqs_listener)")
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) < LINES


STANDS_IN = """
import signal, threading
import queue_consumer_sqs
from queue_consumer_sqs import EventBus, QueueConfig

class MultiSQSListener(queue_consumer_sqs.MultiSQSListener):
    def listen(self):
        super().listen()
        threading.Event().wait()
"""


def stand_in(folder: Path, code: str) -> str:
    """Makes a package that stands in for the original; what makes the demo take it."""
    (folder / "original.py").write_text(code, encoding="utf-8")
    facts = folder / "original-7.8.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: original\nVersion: 7.8\n", encoding="utf-8")
    return "demo_sqs.the_original = lambda: demo_sqs.Party(sys.executable, 'original', 5); demo_sqs.STOPS = 2.0"


def test_an_original_that_does_not_end_is_killed(tmp_path: Path) -> None:
    """Who does not end when asked to is killed after a while, and that is shown; it is no fault of ours."""
    done = run_with(stand_in(tmp_path, STANDS_IN), tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.search(r"^from Ctrl-C to its end +killed after 2 s +\d\.\d s$", done.stdout, re.MULTILINE), done.stdout
    assert "original 7.8" in done.stdout
    assert "everything agrees" in done.stdout


def test_an_original_that_breaks_is_left_out(tmp_path: Path) -> None:
    """Who cannot handle the messages is quoted, and ours is shown alone."""
    done = run_with(stand_in(tmp_path, "raise ImportError('no such luck')"), tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "original did not handle all of its messages. It said:" in done.stdout
    assert "no such luck" in done.stdout
    assert "everything agrees" in done.stdout


def test_it_says_that_there_is_no_server(tmp_path: Path) -> None:
    """Without the server there is nothing to show: a sentence says how to get it, and the exit status is 1."""
    done = run_with(f"demo_sqs.servers().INSTALLED = demo_sqs.Path({str(tmp_path)!r})", tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "tools/servers.sh ministack" in done.stdout.splitlines()[-1]


def test_act_one_needs_only_the_core() -> None:
    """`make demo` sets up what the second act needs when the first is over, and does without the original."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ndemo:\n")[2].partition("\n\n")[0]
    needs = [
        "tools/setup.sh)",
        "examples/demo.py",
        "tools/setup.sh sqs",
        "ministack",
        "|| true",
        "examples/demo_sqs.py",
    ]
    places = [recipe.find(need) for need in needs]
    assert places[0] >= 0
    assert places == sorted(places)


# ---------------------------------------------------------------------- the proof, and what might go wrong


def good_show(demo: Any) -> Any:
    """What ours does if nothing goes wrong."""

    def run(begun: list[str], sent: list[str]) -> Any:
        count = len(begun)
        calls = {"receive_message": count, "delete_message_batch": count}
        return demo.Run(
            sent=sent,
            begun=[(body, float(number)) for number, body in enumerate(begun)],
            done=count,
            calls=Counter(calls),
            stopped=0.1,
            report={"balanced": True, "received": count, "cleaned": count, "calls": {"low": calls}},
        )

    lows = [f"low {number}" for number in range(1, 10)]
    highs = [f"high {number}" for number in range(1, 6)]
    return demo.Show(demo.OURS, run([*lows[:4], *highs, *lows[4:]], lows + highs), run(lows, lows))


FAULTS: dict[str, Callable[[Any], object]] = {
    "an urgent one waits": lambda show: show.order.begun.insert(4, show.order.begun.pop(9)),
    "one is not handled": lambda show: show.burst.begun.pop(),
    "one is handled twice": lambda show: show.burst.begun.append(show.burst.begun[0]),
    "one for another": lambda show: show.burst.begun.__setitem__(0, show.burst.begun[1]),
    "one is left": lambda show: setattr(show.order, "left", 1),
    "the ledger does not balance": lambda show: show.order.report.update(balanced=False),
    "one was received and not cleaned up": lambda show: show.burst.report.update(received=10),
    "there is no report": lambda show: show.burst.report.clear(),
    "a call is not counted": lambda show: show.order.calls.update(receive_message=1),
    "a call is counted that was not made": lambda show: show.order.calls.subtract(delete_message_batch=1),
    "more polls are counted than can be cut": lambda show: show.order.calls.subtract(receive_message=3),
}


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_proof_fails_on_every_fault(demo: Any, fault: str | None) -> None:
    """Whatever goes out of turn, twice, missing, left or uncounted, the proof shows it; without a fault it holds."""
    show = good_show(demo)
    if fault is not None:
        FAULTS[fault](show)
    assert demo.show_proof(demo.prove(show)) is (fault is None)


def test_a_poll_that_is_cut_as_it_begins_is_no_fault(demo: Any) -> None:
    """The meter may have counted one poll of each queue that was cut before it was on its way."""
    show = good_show(demo)
    show.order.calls.subtract(receive_message=2)
    assert demo.show_proof(demo.prove(show)) is True
