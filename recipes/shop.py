"""What the recipes run: put your consumer here."""

from __future__ import annotations

from queue_consumer import Consumer, MemoryMessage, MemoryQueue, each

orders = MemoryQueue()


@each
def pack(message: MemoryMessage) -> None:
    print("packed", message.body, flush=True)


consumer = Consumer(orders, pack, max_workers=1, max_handlers=2)
