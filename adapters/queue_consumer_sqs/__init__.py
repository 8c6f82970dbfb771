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
from ._queue import SQSQueue
from ._redrive import RedriveError

__all__ = [
    "AccessDenied",
    "BadCredentials",
    "Bus",
    "EventBus",
    "FailedEntry",
    "InvalidRequest",
    "MultiSQSListener",
    "NotInstalled",
    "PriorityBuses",
    "PurgeInProgress",
    "QueueConfig",
    "QueueExists",
    "QueueNotFound",
    "RedriveError",
    "SQS",
    "SQSError",
    "SQSListenerConfig",
    "SQSMessage",
    "SQSQueue",
    "SendError",
    "Throttled",
    "Unreachable",
]
