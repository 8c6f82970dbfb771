"""The command line as a program of its own, whose words are read while it runs."""

from __future__ import annotations

import contextlib
import json
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
from typing import Any

import psutil

TESTS = Path(__file__).resolve().parents[1]
PATIENCE = 40.0  # seconds; never waited for in a test that passes

# A session of its own, of which the terminal is the controlling one, so that keys become signals.
LAUNCHER = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "queue_consumer", *sys.argv[1:]])
"""


class Program:
    """One run of the command line.

    Args:
        arguments: what is typed.
        terminal: it runs at a terminal, to which all that it says goes; else into pipes.
        environment: beside that of the tests.
    """

    def __init__(
        self, *arguments: object, terminal: bool = False, cwd: Path | None = None, **environment: object
    ) -> None:
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        env = {**os.environ, "PYTHONPATH": path, **{name: str(value) for name, value in environment.items()}}
        env.setdefault("TERM", "xterm")
        typed = list(map(str, arguments))
        self.text = ""
        self._ours, theirs = pty.openpty() if terminal else os.pipe()
        self._terminal = terminal
        how = ["-c", LAUNCHER] if terminal else ["-m", "queue_consumer"]
        self.process = subprocess.Popen(
            [sys.executable, *how, *typed],
            stdin=theirs if terminal else subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env=env,
            cwd=cwd,
        )
        os.close(theirs)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        self.process.kill()
        self.process.wait(PATIENCE)
        os.close(self._ours)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_for(self, pattern: str, count: int = 1) -> re.Match[str]:
        """Wait until it has said this, so many times; the last of them."""
        for _ in self._read():
            found = list(re.finditer(pattern, self.text))
            if len(found) >= count:
                return found[count - 1]
        raise AssertionError(f"{pattern!r} was not said {count} times, but:\n{self.text}")

    def end(self) -> int:
        """Wait until it has ended; the exit code."""
        for _ in self._read():
            pass
        return self.process.wait(PATIENCE)

    def records(self) -> list[dict[str, Any]]:
        """What it logged with `--log-format json`."""
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]

    def _read(self) -> Iterator[None]:
        until = time.monotonic() + PATIENCE
        yield
        while select.select([self._ours], [], [], max(0.0, until - time.monotonic()))[0]:
            try:
                data = os.read(self._ours, 1 << 16)
            except OSError:  # how Linux says that nobody has the other side of a terminal open any more
                return
            if not data:
                return
            self.text += data.decode(errors="replace")
            yield
        raise AssertionError(f"it has not ended, and says:\n{self.text}")


def until(fact: Any, what: str) -> None:
    """Wait for what another process does, and tells nobody."""
    limit = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < limit, f"waited in vain until {what}"
        time.sleep(0.01)  # nothing is announced across processes
