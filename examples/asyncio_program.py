"""An asyncio program: its queue, its handlers, and its loop.

The consumer's coroutines run on the program's own loop, up to a hundred at once, and the queue is the
`asyncio.Queue` that the program puts into.

It prints:

    1000 pages, of which 3 needed a second try
    stopped: received=1003 cleaned=1000 released=3 in_flight=0 (failed=3)
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from queue_consumer import Constant, Consumer

tries = Counter[int]()


async def fetch(pages: AsyncIterator[int]) -> None:
    async for page in pages:
        await asyncio.sleep(0.001)  # the network
        tries[page] += 1
        if page % 400 == 0 and tries[page] == 1:
            raise TimeoutError(f"page {page} did not come")


async def main() -> None:
    queue = asyncio.Queue[int](maxsize=100)
    consumer = Consumer(queue, fetch, max_handlers=100, backoff=Constant(0.1), loop=asyncio.get_running_loop())
    async with consumer:
        for page in range(1000):
            await queue.put(page)
        await queue.join()  # until all are consumed, those that failed too
    print(f"{len(tries)} pages, of which {sum(times > 1 for times in tries.values())} needed a second try")
    print(await consumer.ashutdown())


if __name__ == "__main__":
    asyncio.run(main())
