"""What handles the messages of a run, in pools of all kinds: does what they say, and writes it down."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator

from fire.journal import Journal, Word
from fire.plan import Task
from queue_consumer_sqs import SQSMessage

calls = itertools.count(1)  # of handlers, in this process


class Refused(Exception):
    """The message says that it is to fail."""


class Handling:
    """One message in one call of a handler."""

    def __init__(self, journal: Journal, message: SQSMessage, call: int) -> None:
        self.task = Task.of(message.body)
        self._journal = journal
        self._message = message
        self._call = call
        self._write("start")

    def end(self) -> None:
        """The work is done; it fails if it is to."""
        attempt, tries = self._message.attempt, self.task.fails + 1
        if attempt < tries:
            self._write("failed")
            raise Refused(f"attempt {attempt} of {tries}")
        self._write("end")

    def _write(self, word: Word) -> None:
        self._journal.write(word, self._message, self._call, self.task.number, self.task.group)


class Handler:
    """Handles what it is given, one after the other."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal

    def __call__(self, messages: Iterator[SQSMessage]) -> None:
        call = next(calls)
        for message in messages:
            handling = Handling(self.journal, message, call)
            time.sleep(handling.task.work)  # it is the work
            handling.end()


class AsyncHandler(Handler):
    """The same, for coroutines."""

    async def __call__(self, messages: Iterator[SQSMessage]) -> None:  # type: ignore[override]
        call = next(calls)
        for message in messages:
            handling = Handling(self.journal, message, call)
            await asyncio.sleep(handling.task.work)  # it is the work
            handling.end()
