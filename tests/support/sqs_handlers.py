"""Handlers of SQS messages that child processes can import; what they did stands in a diary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from queue_consumer_sqs import SQSMessage

from .deaths import Diary


class Noting:
    """Writes down the body of each message, on the disk before the next is asked for."""

    def __init__(self, path: Path) -> None:
        self.diary = Diary(path)

    def __call__(self, messages: Iterator[SQSMessage]) -> None:
        for message in messages:
            self.diary.write(message.body)
