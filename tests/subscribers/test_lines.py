"""Whole lines: `Consumer(queue, Subscribers([…]))` in every pool, on queues that have nothing to do with AWS."""

# Patterns are lambdas and values of every type, in tables; that these are of unknown types is what is meant.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncio
import queue as standard
from pathlib import Path
from typing import Any

import pytest

from queue_consumer import Consumer, Idle, MaxItems, MemoryQueue, UsageError
from queue_consumer.subscribers import (
    AsyncSubscribers,
    DeadLetters,
    ProcessStatus,
    Subscribers,
    Transform,
    data_subscriber,
    encode,
    mega,
    message_subscriber,
)
from support import subscribing


def event(name: str, **attributes: Any) -> str:
    return encode(mega.Payload(mega.Event(name, attributes=attributes))).body


def test_a_registry_is_a_handler() -> None:
    """Messages are decoded, matched, processed and deleted; the ledger says what became of each."""
    subscribing.Counts.seen.clear()
    queue, dead = MemoryQueue(journal=True), MemoryQueue()
    for body in (event("counted", number=1), event("counted", number=2), event("other"), "text", '{"a": 1}', "{"):
        queue.put(body)
    registry = Subscribers([subscribing.Counts, subscribing.bug], on_fatal=DeadLetters(dead))
    report = Consumer(queue, registry, max_handlers=2, messages_bulk_size=3, stop_when=MaxItems(6)).run()
    assert report.balanced
    assert (report.stats.cleaned, report.stats.dropped, report.stats.failed) == (2, 4, 0)
    assert sorted(subscribing.Counts.seen) == [1, 2]
    assert sorted(letter.body for letter in dead.get()) == ["text", "{"]


def test_what_is_kept_comes_again() -> None:
    """Put off, it is no failure; failed, it is one; either way it is not deleted, and comes again after a delay."""
    attempts: dict[str, int] = {}

    @data_subscriber(retry_on=OSError)
    def try_twice(payload: dict[str, str]) -> ProcessStatus:
        times = attempts[payload["how"]] = attempts.get(payload["how"], 0) + 1
        if times == 2:
            return ProcessStatus.DONE
        if payload["how"] == "fails":
            raise OSError("busy")
        return ProcessStatus.RETRY_LATER

    queue = MemoryQueue()
    queue.put('{"how": "fails"}')
    queue.put('{"how": "waits"}')
    report = Consumer(queue, Subscribers([try_twice]), backoff=lambda attempt: 0.01, stop_when=MaxItems(2)).run()
    assert (report.balanced, report.stats.cleaned, report.stats.released) == (True, 2, 2)
    assert report.stats.failed == 1
    assert attempts == {"fails": 2, "waits": 2}


def test_the_lines_own_limits_hold() -> None:
    """What fails again and again goes to the dead letters of the consumer after so many attempts."""
    queue = MemoryQueue()
    queue.put(event("busy"))
    dead: list[Any] = []
    Consumer(
        queue,
        Subscribers([subscribing.busy]),
        backoff=lambda attempt: 0.01,
        max_attempts=3,
        dead_letter=lambda item, failure: dead.append(item.attempt),
        stop_when=MaxItems(1),
    ).run()
    assert dead == [3]


def test_any_queue_will_do() -> None:
    """Items that are bodies themselves, text or data, from the standard library's queue."""
    seen: list[Any] = []

    @message_subscriber()
    def see(payload: Any) -> None:
        seen.append(payload)

    items: standard.Queue[Any] = standard.Queue()
    for item in ("text", {"a": 1}, b"\xff"):
        items.put(item)
    Consumer(items, Subscribers([see]), max_handlers=1, stop_when=MaxItems(3)).run()
    assert seen == ["text", {"a": 1}, b"\xff"]


def test_in_processes(tmp_path: Path) -> None:
    """The registry goes to each child, where its patterns, lambdas and all, are compiled anew."""
    queue = MemoryQueue()
    names = [f"message-{number}" for number in range(6)]
    for name in [*names, "skip-me"]:
        queue.put(encode({"folder": str(tmp_path), "name": name}).body)
    registry = Subscribers([subscribing.Writes, subscribing.later], remember=True)
    report = Consumer(queue, registry, pool="processes", max_handlers=2, stop_when=MaxItems(7)).run()
    assert (report.balanced, report.stats.cleaned, report.stats.dropped) == (True, 6, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert all(len(path.read_text().splitlines()) == 1 for path in tmp_path.iterdir())


def test_as_coroutines() -> None:
    """Subscribers that are awaited; several messages at once."""
    together = 0
    most = 0

    @data_subscriber()
    async def wait(payload: dict[str, Any]) -> None:
        nonlocal together, most
        together += 1
        most = max(most, together)
        while most < 3:
            await asyncio.sleep(0)
        together -= 1

    queue = MemoryQueue()
    for number in range(3):
        queue.put(encode({"number": number}).body)
    registry = AsyncSubscribers([wait], text=Transform(lambda text: None))
    report = Consumer(queue, registry, pool="coroutines", max_handlers=3, stop_when=MaxItems(3)).run()
    assert (report.balanced, report.stats.cleaned, most) == (True, 3, 3)


def test_run_once() -> None:
    """For cron, a Lambda function, a test."""
    queue = MemoryQueue()
    queue.put("text")
    result = Consumer(queue, Subscribers(fatal="keep"), stop_when=Idle(0)).run_once()
    assert (result.succeeded, result.failed) == (1, 0)


def test_a_registry_needs_receipts() -> None:
    """It says of each message what became of it, and so cannot be called with a plain list."""
    with pytest.raises(UsageError, match="it needs receipt='explicit', which it brings along"):
        Subscribers()(["x"])  # type: ignore[arg-type]
    assert repr(Subscribers([subscribing.Counts])) == "<Subscribers of 1>"
