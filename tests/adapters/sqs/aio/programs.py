"""What asyncio programs may expect, they may of `AsyncSQSQueue`; run by `test_async.py`, where aiobotocore is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from queue_consumer_sqs.aio import AsyncSQSQueue
from support.async_programs import AsyncPrograms


@pytest.fixture
def opener(sqs_server: Any) -> Callable[..., AsyncSQSQueue]:
    """Queues that wait on the loop; a consumer closes its queue."""

    def opener(url: str, **options: Any) -> AsyncSQSQueue:
        return AsyncSQSQueue(url.rpartition("/")[2], endpoint_url=sqs_server.endpoint_url, **options)

    return opener


class TestOnTheLoop(AsyncPrograms):
    """`AsyncSQSQueue`: polls, deletes and handlers are all on the loop."""
