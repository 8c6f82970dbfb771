"""Five urgent messages arrive while a slow one is handled: they go next, all five of them.

Two queues feed one consumer, each across a network that takes 120 ms there and back, and two messages are the
most that a poll brings. So when the first urgent ones are handled, the others are still at the broker; but a lane
whose last answer was not empty has the right of way until its next one is there.

It prints:

    L L L L H H H H H L L L
    stopped: received=12 cleaned=12 in_flight=0
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from queue_consumer import Consumer, Lane, MaxItems, Strict, current, each

ROUND_TRIP = 0.12  # seconds
SLOW = 0.5


class Remote:
    """A queue at the other end of a network."""

    def __init__(self, messages: Sequence[str] = ()) -> None:
        self.messages = deque(messages)

    def get(self) -> list[str]:
        time.sleep(ROUND_TRIP)
        return [self.messages.popleft() for _ in range(min(2, len(self.messages)))]

    def cleanup(self, messages: Sequence[str]) -> None:
        """They are gone already; a broker would have hidden them until now."""


class Buses:
    """What has `lanes` is a queue that is several."""

    def __init__(self) -> None:
        self.normal = Remote([f"normal {number}" for number in range(1, 8)])
        self.urgent = Remote()
        self.lanes = Lane(self.normal, priority=0, name="L"), Lane(self.urgent, priority=1, name="H")


def main() -> None:
    buses = Buses()
    order: list[str] = []

    @each
    def handle(message: str) -> None:
        order.append(current().lane)
        if message == "normal 4":
            buses.urgent.messages.extend(f"urgent {number}" for number in range(1, 6))
        if message.startswith("normal"):
            time.sleep(SLOW)

    consumer = Consumer(
        buses,
        handle,
        max_workers=2,  # one for each lane
        max_handlers=1,
        lane_policy=Strict(right_of_way=1),  # longer than a poll takes, on however busy a machine
        stop_when=MaxItems(12),
    )
    report = consumer.run()
    print(*order)
    print(report)


if __name__ == "__main__":
    main()
