"""A script in blocking mode on a real terminal: the first Ctrl-C drains, the second stops now."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.lifecycle import PATIENCE, POOLS
from support.lifecycle_handlers import Gate

every_pool = pytest.mark.parametrize("pool", POOLS)
SCRIPT = Path(__file__).parent / "support" / "ctrl_c_script.py"
DRAINING = re.compile(r"draining \d items, at most 25 s; press again to stop now")
# The sentence is there at once, and so a child may get to one more item before it is told.
DRAINED = re.compile(r"cleaned (1 released 3|2 released 2) abandoned 0 failed 0")
STOPPING = re.compile(r"stopping now, with \d items in flight")


class Terminal:
    """A pseudo-terminal with a script on it, whose controlling terminal it is."""

    def __init__(self, pool: str, mode: str, folder: Path) -> None:
        self._ours, theirs = pty.openpty()
        path = os.pathsep.join([str(SCRIPT.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(theirs), pool, mode, str(folder)],
            pass_fds=(theirs,),
            env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error"},
            start_new_session=False,
        )
        os.close(theirs)
        self.text = ""

    def press_ctrl_c(self) -> None:
        """What the key does: the terminal sends SIGINT to every process of the foreground group, children included."""
        os.write(self._ours, b"\x03")

    def wait_for(self, sentence: re.Pattern[str]) -> None:
        until = time.monotonic() + PATIENCE
        while not sentence.search(self.text):
            assert time.monotonic() < until, f"waited in vain for {sentence.pattern!r}; it says:\n{self.text}"
            self._read(0.1)

    def end(self) -> int:
        """Wait for the script's end, reading all that it says; its exit code."""
        until = time.monotonic() + PATIENCE
        while self._read(0.1):
            assert time.monotonic() < until, f"the script does not end; it says:\n{self.text}"
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        os.close(self._ours)
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
        self.process.kill()
        self.process.wait(PATIENCE)

    def _read(self, patience: float) -> bool:
        """Read what there is; False at the end."""
        if not select.select([self._ours], [], [], patience)[0]:
            return True
        try:
            data = os.read(self._ours, 4096)
        except OSError:  # how Linux says that nobody has the other side open any more
            return False
        self.text += data.decode()
        return bool(data)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    """Terminals to be closed, and scripts to be ended, when the test has ended."""
    made: list[Terminal] = []
    yield made
    for terminal in made:
        terminal.close()


def script(terminals: list[Terminal], pool: str, mode: str, folder: Path) -> tuple[Terminal, Gate]:
    """A script that holds one item at a gate and has three more waiting."""
    terminal, gate = Terminal(pool, mode, folder), Gate(folder)
    terminals.append(terminal)
    gate.wait_for()
    return terminal, gate


@pytest.mark.parametrize(("pool", "mode"), [*((pool, "run") for pool in POOLS), ("threads", "supervise")])
def test_the_first_ctrl_c_drains(pool: str, mode: str, tmp_path: Path, terminals: list[Terminal]) -> None:
    """Ctrl-C says what it does and how to stop at once; what runs is finished, in children too; the exit code is 0."""
    terminal, gate = script(terminals, pool, mode, tmp_path)
    terminal.press_ctrl_c()
    terminal.wait_for(DRAINING)
    gate.open()
    assert terminal.end() == 0, terminal.text
    assert "balanced True True True" in terminal.text
    assert DRAINED.search(terminal.text), terminal.text
    assert "left []" in terminal.text
    assert terminal.text.count("restored True") == 2
    assert not STOPPING.search(terminal.text)
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize(("pool", "mode"), [*((pool, "run") for pool in POOLS), ("threads", "supervise")])
def test_the_second_ctrl_c_stops_now(pool: str, mode: str, tmp_path: Path, terminals: list[Terminal]) -> None:
    """Ctrl-C again ends the wait: tasks and processes are ended, and a thread is abandoned by name."""
    terminal, gate = script(terminals, pool, mode, tmp_path)
    terminal.press_ctrl_c()
    terminal.wait_for(DRAINING)
    terminal.press_ctrl_c()
    terminal.wait_for(STOPPING)
    assert terminal.end() == 0, terminal.text
    assert "balanced True True True" in terminal.text
    if pool == "threads":
        assert "cleaned 0 released 3 abandoned 1 failed 0" in terminal.text
        assert "left ['handler-1']" in terminal.text
    else:
        assert "cleaned 0 released 4 abandoned 0 failed 0" in terminal.text
        assert "left []" in terminal.text
    assert terminal.text.count("restored True") == 2
    gate.open()


@every_pool
def test_sigterm_drains_like_ctrl_c(pool: str, tmp_path: Path, terminals: list[Terminal]) -> None:
    """SIGTERM to the script drains it: what runs is finished, and the exit code is 0."""
    terminal, gate = script(terminals, pool, "run", tmp_path)
    terminal.process.send_signal(signal.SIGTERM)
    terminal.wait_for(DRAINING)
    gate.open()
    assert terminal.end() == 0, terminal.text
    assert DRAINED.search(terminal.text), terminal.text


def test_sigterm_and_ctrl_c_count_together(tmp_path: Path, terminals: list[Terminal]) -> None:
    """Whichever signal comes second stops now."""
    terminal, gate = script(terminals, "threads", "run", tmp_path)
    terminal.process.send_signal(signal.SIGTERM)
    terminal.wait_for(DRAINING)
    terminal.press_ctrl_c()
    terminal.wait_for(STOPPING)
    assert terminal.end() == 0, terminal.text
    gate.open()


@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_ctrl_c_outside_of_blocking_mode_is_the_programs(pool: str, tmp_path: Path, terminals: list[Terminal]) -> None:
    """In a with statement Ctrl-C is a KeyboardInterrupt as ever: leaving it drains, and the interrupt goes on."""
    terminal, gate = script(terminals, pool, "with", tmp_path)
    terminal.press_ctrl_c()
    terminal.wait_for(re.compile(re.escape("^C")))
    gate.open()
    assert terminal.end() in (-signal.SIGINT, 130)
    assert "KeyboardInterrupt" in terminal.text
    assert "press again" not in terminal.text
