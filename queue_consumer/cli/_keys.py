"""Single keys of a terminal, without Enter; and the terminal as it was before, afterwards."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from typing import Any

__all__ = ["Keys"]

NAMES = {"\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down"}


class Keys:
    """While inside, keys come one by one."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno()
        self._before: list[Any] | None = None

    def __enter__(self) -> Keys:
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)  # and not raw: Ctrl-C stays a signal
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def wait(self, seconds: float) -> str:
        """The next key, or "" if none was pressed in time."""
        if not select.select([self._fd], [], [], seconds)[0]:
            return ""
        text = os.read(self._fd, 8).decode(errors="replace")
        return NAMES.get(text, text[:1])
