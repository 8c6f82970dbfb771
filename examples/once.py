"""For cron, a Lambda function, or a test: one `get`, handled in the calling thread, and home.

No thread is started, and no signal taken. A bulk is one round of the handlers (`max_handlers` times
`messages_bulk_size`), and `run_once` returns when every item of it has its fate.

It prints:

    Result(succeeded=3, failed=0)
    Result(succeeded=1, failed=1)
    Result(succeeded=0, failed=0)
    left in the queue: 1
"""

from __future__ import annotations

from collections.abc import Iterator

from queue_consumer import Constant, Consumer, MemoryQueue


def invoice(orders: Iterator[str]) -> None:
    for order in orders:
        if order == "order 5":
            raise LookupError("no address")


def main() -> None:
    queue = MemoryQueue([f"order {number}" for number in range(1, 6)], bulk=3, wait=0)
    consumer = Consumer(queue, invoice, max_handlers=1, messages_bulk_size=3, backoff=Constant(3600))
    for _ in range(3):
        print(consumer.run_once())
    stats = queue.stats()
    print("left in the queue:", stats["waiting"] + stats["delayed"])


if __name__ == "__main__":
    main()
