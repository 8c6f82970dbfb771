"""What handlers write down: a line when they begin with a message and one when they have ended, on the disk before
they go on. Each process has a file of its own, so that one that is killed in the middle of a line spoils no other.
"""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from queue_consumer_sqs import SQSMessage

Word = Literal["start", "end", "failed"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One of them.

    Attributes:
        word: it was begun with, was done, or has failed.
        at: on the monotonic clock, which all processes share.
        consumer: which of them, by its name; of its processes, `pid`; and of the handler's calls there, `call`.
        id, handle: of the message, and of this delivery of it.
        number, group: of its task.
        attempt: how often it was delivered, 1 first.
    """

    word: Word
    at: float
    consumer: str
    pid: int
    call: int
    id: str
    handle: str
    number: int
    group: str
    attempt: int


class Journal:
    """Of one consumer, whose handlers may be in any process."""

    def __init__(self, folder: Path, consumer: str) -> None:
        self.folder = folder
        self.consumer = consumer
        self._lock = threading.Lock()
        self._file = -1
        self._pid = 0

    def __getstate__(self) -> tuple[Path, str]:
        return self.folder, self.consumer

    def __setstate__(self, state: tuple[Path, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # in another process, with a file of its own

    def write(self, word: Word, message: SQSMessage, call: int, number: int, group: str) -> None:
        """One line, on the disk when this returns. Called by many threads."""
        at, pid = time.monotonic(), os.getpid()
        line = Line(
            word=word,
            at=at,
            consumer=self.consumer,
            pid=pid,
            call=call,
            id=message.id,
            handle=message.receipt_handle,
            number=number,
            group=group,
            attempt=message.attempt,
        )
        file = self._of_this_process(pid)
        os.write(file, (json.dumps(asdict(line)) + "\n").encode())
        os.fsync(file)

    def _of_this_process(self, pid: int) -> int:
        with self._lock:
            if self._pid != pid:
                path = self.folder / f"{self.consumer}-{pid}.journal"
                self._file, self._pid = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), pid
            return self._file


class Reader:
    """Reads the journals in a folder while they are written."""

    def __init__(self, folder: Path) -> None:
        self.lines: list[Line] = []
        self.done: set[int] = set()  # the numbers of the tasks that were done
        self.last: dict[int, Line] = {}  # of each process
        self._folder = folder
        self._read: dict[Path, int] = {}

    def look(self) -> None:
        """Read what has come since. A line that is not whole yet, or never will be, was not written."""
        for path in sorted(self._folder.glob("*.journal")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                whole, end, _ = file.read().rpartition(b"\n")
            self._read[path] = self._read.get(path, 0) + len(whole) + len(end)
            for text in whole.splitlines():
                line = Line(**json.loads(text))
                self.lines.append(line)
                self.last[line.pid] = line
                if line.word == "end":
                    self.done.add(line.number)

    def pids(self, consumer: str) -> list[int]:
        """The processes of a consumer, the latest to write first."""
        lines = [line for line in self.last.values() if line.consumer == consumer]
        return [line.pid for line in sorted(lines, key=lambda line: line.at, reverse=True)]

    def busy(self, consumer: str) -> list[int]:
        """Those that have something in hand."""
        return [pid for pid in self.pids(consumer) if self.last[pid].word == "start"]
