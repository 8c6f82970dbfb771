"""The four states, and how they follow from three facts that only ever become true.

A consumer is started, asked to stop, and stopped. Each fact is set once and never taken back, so `stop()` needs no
lock and may be called from a signal handler, twice, or before `start()`.

| started | asked | stopped | state    |
|---------|-------|---------|----------|
| no      | no    | no      | NEW      |
| yes     | no    | no      | RUNNING  |
| yes     | yes   | no      | DRAINING |
| no      | yes   | any     | STOPPED  |
| yes     | any   | yes     | STOPPED  |
"""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """Where a consumer is in its life; it never goes back."""

    NEW = "new"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


def state_of(*, started: bool, asked: bool, stopped: bool) -> State:
    """The row of the table."""
    if stopped or (asked and not started):
        return State.STOPPED
    if not started:
        return State.NEW
    return State.DRAINING if asked else State.RUNNING
