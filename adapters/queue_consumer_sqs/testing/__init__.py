"""For tests: an SQS in memory, that keeps AWS's rules and needs neither network nor credentials.

    sqs = MemorySQS()
    url = sqs.client().create_queue(QueueName="jobs")["QueueUrl"]
    with Consumer(SQSQueue("jobs", client=sqs.client()), handler):
        ...

Delays, visibility timeouts, retention and the rest go by the clock that it was given:
`queue_consumer.testing.ManualClock` is moved by hand.

The engine is its own, and not a `MemoryQueue`: the rules of SQS are others. A visibility timeout belongs to a receive
and not to the queue; a message becomes a dead letter at the receive after its last, not when it is released; what is
late may be deleted on one kind of queue and not on the other; and attributes, of messages and of queues, change while
messages are on their way.

What SQS may do but need not, this does not do: lose the order of a standard queue without a cause, deliver twice,
give fewer messages than there are, count approximately. What it does not know at all: permissions, encryption (its
attributes are kept), and that the name of a deleted queue is taken for another minute.
"""

from ._client import MemoryClient, Meta
from ._sqs import MemorySQS

__all__ = ["MemoryClient", "MemorySQS", "Meta"]
