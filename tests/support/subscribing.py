"""Subscribers at module level, where child processes can import them."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from queue_consumer.subscribers import (
    DataSubscriber,
    EventSubscriber,
    PayloadType,
    ProcessStatus,
    event_subscriber,
    match,
    mega,
    message_subscriber,
    not_,
)


def is_skipped(name: str) -> bool:
    return name.startswith("skip")


class Writes(DataSubscriber):
    """Writes down, in a folder, whom it has seen, by a process of what id."""

    pattern: ClassVar[Any] = {"folder": match("/"), "name": not_(is_skipped)}

    def process(self, payload: dict[str, str]) -> ProcessStatus:
        path = os.path.join(payload["folder"], payload["name"])
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        return ProcessStatus.DONE


class Counts(EventSubscriber):
    """Counts, in this process."""

    name = "counted"
    seen: ClassVar[list[Any]] = []

    def process(self, payload: mega.Payload) -> None:
        self.seen.append(payload.event.number)


@event_subscriber(name="later")
def later(payload: mega.Payload) -> ProcessStatus:
    """Is never ready."""
    return ProcessStatus.RETRY_LATER


@event_subscriber(name="busy")
def busy(payload: mega.Payload) -> ProcessStatus:
    """Fails, and is to be tried again."""
    return ProcessStatus.RETRIABLE_ERROR


@message_subscriber(PayloadType.PLAINTEXT)
def bug(text: str) -> None:
    """Fails."""
    raise ValueError(text)
