"""SQS for queue_consumer: `Consumer(SQSQueue("orders"), handler)`, and priority buses over several queues."""

from ._account import SQS, PurgeInProgress, QueueExists
from ._buses import Bus, PriorityBuses
from ._errors import (
    AccessDenied,
    BadCredentials,
    FailedEntry,
    InvalidRequest,
    NotInstalled,
    QueueNotFound,
    SendError,
    SQSError,
    Throttled,
    Unreachable,
)
from ._listener import EventBus, MultiSQSListener, QueueConfig, SQSListenerConfig
from ._message import SQSMessage
from ._publishing import PublishEntry
from ._queue import SQSQueue
from ._receiver import MessageType, ReceivedMessage, SqsReceiver
from ._redrive import RedriveError
from ._sns import SNS, TopicNotFound, queue_policy
from ._sns_publisher import SnsPublisher
from ._sqs_listener import SqsListener
from ._sqs_publisher import SqsPublisher

__all__ = [
    "AccessDenied",
    "BadCredentials",
    "Bus",
    "EventBus",
    "FailedEntry",
    "InvalidRequest",
    "MessageType",
    "MultiSQSListener",
    "NotInstalled",
    "PriorityBuses",
    "PublishEntry",
    "PurgeInProgress",
    "QueueConfig",
    "QueueExists",
    "QueueNotFound",
    "ReceivedMessage",
    "RedriveError",
    "SNS",
    "SQS",
    "SQSError",
    "SQSListenerConfig",
    "SQSMessage",
    "SQSQueue",
    "SendError",
    "SnsPublisher",
    "SqsListener",
    "SqsPublisher",
    "SqsReceiver",
    "Throttled",
    "TopicNotFound",
    "Unreachable",
    "queue_policy",
]
