"""Three SQS queues on two buses: what is urgent goes next, and queues of equal priority take turns.

While the first order is handled, more orders come, returns, and three urgent messages. One message is handled at a
time, and none is interrupted.

The queues are in memory, so that this runs anywhere. On AWS it is the same without `client=`: the region, the
credentials and the endpoint are then found as boto3 finds them, or are given in its place.

It prints:

    usual: order 1
    urgent: fire
    urgent: flood
    urgent: storm
    usual: return 1
    usual: order 2
    usual: return 2
    usual: order 3
    orders of bus usual, priority 1: 3 received
    returns of bus usual, priority 1: 2 received
    alarms of bus urgent, priority 5: 3 received
"""

from __future__ import annotations

import time

from queue_consumer import Consumer, MaxItems, Strict, each
from queue_consumer_sqs import Bus, PriorityBuses, SQSMessage, SQSQueue
from queue_consumer_sqs.testing import MemorySQS


def main() -> None:
    client = MemorySQS().client()
    for name in ("orders", "returns", "alarms"):
        client.create_queue(QueueName=name)
    orders, returns, alarms = (SQSQueue(name, client=client) for name in ("orders", "returns", "alarms"))

    @each
    def handle(message: SQSMessage) -> None:
        print(f"{message.bus}: {message.body}")
        if message.body == "order 1":
            orders.put_many([{"body": "order 2"}, {"body": "order 3"}])
            returns.put_many([{"body": "return 1"}, {"body": "return 2"}])
            alarms.put_many([{"body": "fire"}, {"body": "flood"}, {"body": "storm"}])
            time.sleep(0.5)  # it is long work

    buses = PriorityBuses([Bus("usual", 1, [orders, returns]), Bus("urgent", 5, [alarms])])
    orders.put("order 1")
    consumer = Consumer(
        buses,
        handle,
        max_handlers=1,
        lane_policy=Strict(right_of_way=2),  # a last look whether there are more alarms, before work goes on
        stop_when=MaxItems(8),
    )
    consumer.run()
    for name, figures in buses.stats().items():
        print(f"{name} of bus {figures['bus']}, priority {figures['priority']}: {figures['received']} received")


if __name__ == "__main__":
    main()
