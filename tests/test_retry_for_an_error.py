"""A retry may be for an error: then the item has failed, with the delay that the handler wants, and it is said why."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import pytest

from queue_consumer import Consumer, Failure, MemoryQueue, Receipts, Retry, each
from queue_consumer.testing import ManualClock

WHY = Retry(60, error=LookupError("no address"), about="order 5")


def raising(items: Any) -> None:
    for _ in items:
        raise WHY


def failing(items: Receipts[Any]) -> None:
    for item in items:
        items.fail(item, error=WHY)


@each
def one(item: Any) -> None:
    raise WHY


async def waiting(items: Any) -> None:
    for _ in items:
        raise WHY


@pytest.mark.parametrize(
    ("handler", "options"),
    [(raising, {}), (failing, {"receipt": "explicit"}), (one, {}), (waiting, {})],
    ids=["raised", "failed", "each", "coroutine"],
)
def test_a_retry_for_an_error_is_a_failure_with_a_delay(
    handler: Callable[[Any], Any], options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It counts as failed, is logged once with what it was about, and is seen again after just that delay."""
    clock = ManualClock()
    queue = MemoryQueue(clock=clock, wait=0)
    queue.put("body")
    with caplog.at_level(logging.ERROR):
        consumer = Consumer(queue, handler, owns_queue=False, **options)
        assert consumer.run_once().failed == 1
    assert consumer.stats().failed == 1
    (record,) = caplog.records
    assert "order 5: LookupError: no address" in record.getMessage()
    clock.advance(59)
    assert queue.get() == []
    clock.advance(1)
    assert len(queue.get()) == 1


def test_the_last_attempt_for_an_error_is_buried() -> None:
    """Such a failure counts for `max_attempts`; a plain retry does not."""
    buried: list[tuple[Any, Failure]] = []
    queue = MemoryQueue(wait=0)
    queue.put("body")

    def bury(item: Any, failure: Failure) -> None:
        buried.append((item.body, failure))

    options: dict[str, Any] = {"max_attempts": 1, "dead_letter": bury}
    assert Consumer(queue, each(retrying), owns_queue=False, **options).run_once().failed == 1
    assert buried == []
    assert Consumer(queue, raising, owns_queue=False, **options).run_once().succeeded == 1
    ((body, failure),) = buried
    assert (body, failure.kind, failure.about) == ("body", "LookupError", "order 5")


def retrying(item: Any) -> None:
    raise Retry(0)


class Both:
    """A handler for threads that brings one for coroutines along."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def __call__(self, items: Any) -> None:
        self.ran += ["thread" for _ in items]

    @property
    def asynchronous(self) -> Callable[[Any], Any]:
        async def handle(items: Any) -> None:
            self.ran += ["coroutine" for _ in items]

        return handle


def test_a_handler_may_bring_another_for_coroutines() -> None:
    """With `pool="coroutines"` its attribute `asynchronous` is the handler."""
    handler = Both()
    for options in ({}, {"pool": "coroutines"}):
        queue = MemoryQueue(["item"], wait=0)
        assert Consumer(queue, handler, **options).run_once().succeeded == 1  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert handler.ran == ["thread", "coroutine"]


def test_a_chunk_of_which_all_is_acknowledged_is_consumed() -> None:
    """With explicit receipts a chunk that was acknowledged whole is consumed, and of another what was acknowledged."""
    for forgotten, cleaned in ((None, 4), (2, 3)):
        queue = MemoryQueue(range(4), wait=0)
        handler = functools.partial(acknowledge, forgotten)
        result = Consumer(queue, handler, receipt="explicit", max_handlers=1, messages_bulk_size=4).run_once()
        assert (result.succeeded, result.failed) == (cleaned, 4 - cleaned)


def acknowledge(forgotten: int | None, items: Receipts[int]) -> None:
    for item in items:
        if item != forgotten:
            items.ack(item)
