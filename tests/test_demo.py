"""The demonstration shows the whole line at work on a real disk, fits a screen, and tells the truth."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from queue_consumer import Report, State, Stats

DEMO = Path(__file__).resolve().parent.parent / "examples" / "demo.py"
SMALL = ["--items", "1500", "--seed", "7"]
PATIENCE = 100


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("demo", DEMO)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "demo", module)  # dataclasses look there for their module
    spec.loader.exec_module(module)
    return module


def test_demo_succeeds_and_fits_a_screen(tmp_path: Path) -> None:
    """As `make demo` runs it, it consumes 100,000 orders and ends well, on 40 lines of 100 columns, says nothing on
    standard error, and leaves no file behind.
    """
    done = subprocess.run(
        [sys.executable, str(DEMO)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert lines[0].startswith("100,000 orders in 8 files on disk")
    assert "everything agrees" in lines[-1]
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100
    assert list(tmp_path.glob("queue_consumer-demo-*")) == []


def test_demo_writes_what_it_says(demo: Any, tmp_path: Path) -> None:
    """There are as many orders on disk as it says, of two kinds, and each trouble is where it says."""
    planted = demo.write_orders(tmp_path, 1500, demo.random.Random(1))
    lines = {
        f"{path.name}:{number}": line
        for path in tmp_path.iterdir()
        for number, line in enumerate(path.read_text().splitlines(), 1)
    }
    assert len(lines) == 1500
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".jsonl"}
    notes = (demo.FAILS_ONCE, demo.KILLS_BEFORE, demo.KILLS_AFTER)
    for place, line in lines.items():
        assert [note for note in notes if note in line] == [note for note in notes if place in planted[note]]
        try:
            demo.parsed(demo.Line(place, line))
        except ValueError:
            assert place in planted[demo.MALFORMED]
        else:
            assert place not in planted[demo.MALFORMED]


def test_demo_shows_progress_while_it_runs() -> None:
    """At a terminal one line is written again and again, and what stays on the screen fits it."""
    with Terminal(SMALL) as terminal:
        assert terminal.read_until_the_end() == 0
    live = terminal.text.count("\r\x1b[K")
    assert live > 4, terminal.text
    kept = [line.rpartition("\r\x1b[K")[2] for line in terminal.text.strip().split("\r\n")]
    assert len(kept) <= 40, kept
    assert max(map(len, kept)) <= 100, kept


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_ctrl_c_ends_the_demo(pool: str, tmp_path: Path) -> None:
    """Ctrl-C in the middle: it says so, in no traceback, and leaves neither a file nor a process behind."""
    with Terminal(["--items", "20000"], TMPDIR=str(tmp_path)) as terminal:
        terminal.read_until(rf"{pool} +[█░]+ +[1-9]")
        children = psutil.Process(terminal.process.pid).children(recursive=True)
        terminal.write(b"\x03")
        assert terminal.read_until_the_end() == 130
    assert "interrupted" in terminal.text
    assert "Traceback" not in terminal.text
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert list(tmp_path.glob("queue_consumer-demo-*")) == []


# A session of its own, of which the terminal is the controlling one, so that Ctrl-C becomes a signal.
LAUNCHER = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Terminal:
    """The demo as it runs at a terminal."""

    def __init__(self, arguments: list[str], **environment: str) -> None:
        self.text = ""
        self._fd, theirs = pty.openpty()
        command = [sys.executable, "-c", LAUNCHER, str(DEMO), *arguments]
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

    def read_until(self, pattern: str) -> None:
        for _ in self._read():
            if re.search(pattern, self.text):
                return
        raise AssertionError(f"{pattern!r} did not appear: {self.text}")

    def read_until_the_end(self) -> int:
        """The exit status."""
        for _ in self._read():
            pass
        return self.process.wait(PATIENCE)

    def _read(self) -> Iterator[None]:
        until = time.monotonic() + PATIENCE
        while select.select([self._fd], [], [], max(0.0, until - time.monotonic()))[0]:
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:  # the other side has closed its terminal
                return
            if not data:
                return
            self.text += data.decode(errors="replace")
            yield
        raise AssertionError(f"the demo has not ended: {self.text}")


# The proof, held against what might go wrong.


def good_outcome(demo: Any, pool: str) -> Any:
    """What a line without fault reports for the trouble planted below."""
    kills = 2 if pool == "processes" else 0
    stats = Stats(state=State.STOPPED, received=20, cleaned=11, dropped=1, failed=4 + kills, revived=1 + kills)
    deaths = demo.Deaths()
    deaths.getters, deaths.killed = 1, kills
    return demo.Outcome(
        report=Report(stats=stats, balanced=True),
        deaths=deaths,
        cleaned=[str(number) for number in range(12)],
        dead_letters={"0"},
        sums=Counter(ada=5, bob=7),
        twice={"3"} if kills else set(),
    )


def set_stats(**changes: Any) -> Callable[[Any], None]:
    def change(outcome: Any) -> None:
        stats = dataclasses.replace(outcome.report.stats, **changes)
        outcome.report = dataclasses.replace(outcome.report, stats=stats)

    return change


FAULTS: dict[str, Callable[[Any], object]] = {
    "a sum is lost": lambda outcome: outcome.sums.subtract(ada=1),
    "a sum goes to another customer": lambda outcome: outcome.sums.update(ada=1, bob=-1),
    "an item is not cleaned up": lambda outcome: outcome.cleaned.pop(),
    "an item is cleaned up twice": lambda outcome: outcome.cleaned.append("5"),
    "one for another": lambda outcome: outcome.cleaned.__setitem__(0, "5"),
    "a dead letter is missing": lambda outcome: outcome.dead_letters.clear(),
    "a dead letter is alive": lambda outcome: outcome.dead_letters.add("9"),
    "a failure is not reported": set_stats(failed=3),
    "a revival is not reported": set_stats(revived=0),
    "a death is not reported": lambda outcome: setattr(outcome.deaths, "getters", 0),
    "a child is killed unasked": lambda outcome: setattr(outcome.deaths, "killed", 9),
    "another is handled twice": lambda outcome: outcome.twice.add("8"),
}


@pytest.mark.parametrize("pool", ["threads", "processes"])
@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_proof_fails_on_every_fault(demo: Any, fault: str | None, pool: str) -> None:
    """Whatever is lost, doubled, or not reported as planted, the proof shows it; without a fault it holds."""
    planted = demo.Planted(disk_errors=[4])
    planted[demo.MALFORMED].add("0")
    planted[demo.FAILS_ONCE].add("1")
    planted[demo.KILLS_BEFORE].add("2")
    planted[demo.KILLS_AFTER].add("3")
    outcomes = {pool: good_outcome(demo, pool) for pool in demo.POOLS}
    alone = copy.copy(outcomes["threads"].sums)
    if fault is not None:
        FAULTS[fault](outcomes[pool])
    rows = demo.prove(planted, alone, 12, outcomes)
    assert demo.show_proof(rows) is (fault is None)


def good_desk(demo: Any) -> Any:
    """What is to become of the orders at the desk."""
    begun = [f"standard {number}" for number in range(1, demo.STANDARD + 1)]
    begun[4:4] = [f"express {number}" for number in range(1, demo.EXPRESS + 1)]
    stats = Stats(state=State.STOPPED, received=14, cleaned=13, lost=1, duplicates=1)
    return demo.Served(report=Report(stats=stats, balanced=True), begun=begun, lost=[demo.LOSES], renewals=2)


DESK_FAULTS: dict[str, Callable[[Any], object]] = {
    "an express order waits": lambda served: served.begun.insert(4, served.begun.pop(9)),
    "an order is not handled": lambda served: served.begun.pop(),
    "an order is handled twice": lambda served: served.begun.append("standard 6"),
    "the handler does not see the loss": lambda served: served.lost.clear(),
    "another lease is lost": lambda served: served.lost.append("standard 2"),
    "a loss is not reported": set_stats(lost=0),
    "another loss is reported": set_stats(lost=2),
    "the long order's lease is not renewed": lambda served: setattr(served, "renewals", 0),
    "it does not come again": set_stats(duplicates=0),
}


@pytest.mark.parametrize("pool", ["threads", "processes"])
@pytest.mark.parametrize("fault", [None, *DESK_FAULTS])
def test_proof_of_the_desk_fails_on_every_fault(demo: Any, fault: str | None, pool: str) -> None:
    """Whatever goes out of turn, twice or unseen at the desk, the proof shows it; without a fault it holds."""
    served = {pool: good_desk(demo) for pool in demo.POOLS}
    if fault is not None:
        DESK_FAULTS[fault](served[pool])
    assert demo.show_proof(demo.prove_desk(served)) is (fault is None)


@pytest.mark.parametrize(
    "change",
    [set_stats(left=1), set_stats(tombstoned=1), set_stats(lost=1), set_stats(abandoned=1)],
    ids=["left", "tombstoned", "lost", "abandoned"],
)
def test_ledgers_show_no_other_end(demo: Any, change: Callable[[Any], None]) -> None:
    """An item that ends in any other way than cleaned, dropped or released is a fault."""
    outcomes = {pool: good_outcome(demo, pool) for pool in demo.POOLS}
    assert demo.show_ledgers(outcomes) is True
    change(outcomes["processes"])
    assert demo.show_ledgers(outcomes) is False


def test_demo_exits_with_1_if_anything_differs(tmp_path: Path) -> None:
    """If a sum disagrees with the independent pass, the exit status says so, too."""
    program = (
        f"import sys; sys.path.insert(0, {str(DEMO.parent)!r}); import demo\n"
        "demo.count_alone = lambda folder: (demo.Counter(c001=1), 3)\n"
        f"sys.argv[1:] = {SMALL!r}\n"
        "sys.exit(demo.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "DIFFERS" in done.stdout
    assert "NOT EVERYTHING AGREES" in done.stdout
