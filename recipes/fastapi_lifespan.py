"""A consumer that lives as long as a FastAPI (or Starlette) application.

    app = FastAPI(lifespan=lifespan)

It starts before the first request is served, and drains before the server ends. The server takes the signals; the
consumer is told by the end of the lifespan. With several worker processes each has a consumer of its own.

Not run: FastAPI itself. The test goes through the lifespan as a server does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from queue_consumer import Consumer, MemoryMessage, MemoryQueue, each

orders = MemoryQueue()
packed: list[str] = []


@each
async def pack(message: MemoryMessage) -> None:
    packed.append(message.body)


@asynccontextmanager
async def lifespan(app: Any) -> AsyncGenerator[dict[str, Any]]:
    async with Consumer(orders, pack, max_handlers=10) as consumer:
        yield {"consumer": consumer}  # request.state.consumer.stats(), for a health page
