"""A bar at a terminal, plain lines elsewhere; and the question before something that cannot be undone."""

from __future__ import annotations

import sys
import time

from ._exits import CommandError

__all__ = ["Progress", "confirm", "many"]

WIDTH = 30
PACE = 0.1  # seconds between two pictures at a terminal
LINES = 5.0  # and between two lines elsewhere


def many(count: int, noun: str, plural: str = "") -> str:
    """`1 message`, `2 messages`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


class Progress:
    """How far something is; a call with how many are done shows it. `total` 0: nobody knows."""

    def __init__(self, what: str, total: int = 0) -> None:
        self._what = what
        self._total = total
        self._began = self._shown = time.monotonic()
        self._live = sys.stderr.isatty()
        self.done = 0

    def __call__(self, done: int) -> None:
        self.done = done
        self._total = max(self._total, done) if self._total else 0
        now = time.monotonic()
        if now - self._shown >= (PACE if self._live else LINES):
            self._shown = now
            self._show("\r\x1b[K" if self._live else "", "" if self._live else "\n")

    def _show(self, before: str, after: str) -> None:
        rate = self.done / max(time.monotonic() - self._began, 1e-6)
        bar = ""
        if self._total and self._live:
            full = WIDTH * self.done // self._total
            bar = "█" * full + "░" * (WIDTH - full) + " "
        of = f" of {self._total:,}" if self._total else ""
        print(f"{before}{self._what} {bar}{self.done:,}{of} ({rate:,.0f}/s)", end=after, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._live:
            self._show("\r\x1b[K", "\n")


def confirm(question: str, *, yes: bool, look: str = "") -> None:
    """Go on only if somebody wants it. `look`: how to see what would be done.

    Raises:
        CommandError: nobody does, or nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        first = f", or {look} to look first" if look else ""
        raise CommandError(f"{question} Nobody is here to answer: say --yes if you mean it{first}")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was done")
