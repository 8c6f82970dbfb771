"""Handlers in processes, one of which is killed in the middle of its work.

Each chunk has four numbers. The child that is killed while it holds 6 had asked for 6 after 5: so 5 is
consumed, 6 has failed and comes again, and 7 and 8, which it never saw, go to another child at once. Nobody
else notices.

It prints:

    consumed: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    handler-N died: process N was killed by SIGKILL
    stopped: received=13 cleaned=12 released=1 in_flight=0 (failed=1 revived=1)
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

from queue_consumer import Constant, Consumer, Event, Idle, ItemsCleaned, MemoryQueue, WorkerDied, current


def work(numbers: Iterator[int]) -> None:
    for number in numbers:
        if number == 6 and current().attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out


class Listener:
    """An observer is any callable of one event."""

    def __init__(self) -> None:
        self.consumed: list[int] = []
        self.deaths: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, ItemsCleaned):
            self.consumed += event.items
        elif isinstance(event, WorkerDied):
            self.deaths.append(f"{event.worker} died: {event.error}")


def main() -> None:
    queue, listener = MemoryQueue(range(1, 13), bulk=4), Listener()
    consumer = Consumer(
        queue,
        work,
        max_workers=1,
        max_handlers=2,
        messages_bulk_size=4,
        pool="processes",
        backoff=Constant(0.1),
        observers=[listener],
        stop_when=Idle(1),
    )
    report = consumer.run()
    print("consumed:", sorted(listener.consumed))
    for death in listener.deaths:
        print(re.sub(r"\d+", "N", death))  # the numbers of handler and process differ from run to run
    print(report)


if __name__ == "__main__":  # each child reads this file again
    main()
