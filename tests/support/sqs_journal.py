"""Handlers of SQS messages that write down what they were given, for pools of all kinds, processes included."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from queue_consumer.testing import Handling, check_order
from queue_consumer_sqs import SQSMessage


class Refused(Exception):
    """The handler has failed, as it was told to."""


@dataclass(frozen=True)
class Entry:
    """One time that a handler had a message."""

    id: str
    body: str
    attempt: int
    pid: int
    start: float
    end: float
    done: bool


class Journal:
    """A file that handlers in any process write to, one line for each message."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, message: SQSMessage, start: float, *, done: bool) -> None:
        end = time.monotonic()
        entry = Entry(message.id, message.body, message.attempt, os.getpid(), start, end, done)
        line = (json.dumps(asdict(entry)) + "\n").encode()
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, line)  # in one piece, whoever else writes
        finally:
            os.close(file)

    def read(self) -> list[Entry]:
        """What was written so far, in the order in which it was."""
        if not self.path.exists():
            return []
        return [Entry(**json.loads(line)) for line in self.path.read_text().splitlines()]

    def done(self) -> list[str]:
        """The bodies of the messages that were handled, in order."""
        return [entry.body for entry in self.read() if entry.done]

    def check_order(self, groups: Mapping[str, Sequence[str]]) -> None:
        """Raise an AssertionError unless each group, by its bodies, was handled in order, one at a time."""
        handled = [Handling(entry.body, entry.start, entry.end, entry.done) for entry in self.read()]
        check_order(handled, groups)


class Handler:
    """Fails a message whose body ends in `!` as often as it has them, and writes down what it does."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path)

    def __call__(self, message: SQSMessage) -> None:
        start = time.monotonic()
        done = message.attempt > message.body.count("!")
        self.journal.write(message, start, done=done)
        if not done:
            raise Refused(message.body)


class AsyncHandler(Handler):
    """The same, for coroutines."""

    async def __call__(self, message: SQSMessage) -> None:  # type: ignore[override]
        super().__call__(message)


class ReadsJSON(Handler):
    """Handles what is JSON."""

    def __call__(self, message: SQSMessage) -> None:
        start = time.monotonic()
        message.json()
        self.journal.write(message, start, done=True)


class AsyncReadsJSON(ReadsJSON):
    """The same, for coroutines."""

    async def __call__(self, message: SQSMessage) -> None:  # type: ignore[override]
        super().__call__(message)
