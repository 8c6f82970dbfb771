"""queue_consumer: wrap any queue, clean up only what was consumed.

    LEFT SOCKET                        THE LINE                          RIGHT SOCKET
    any object with get()     stations, and one supervisor           any callable that takes
    (cleanup, release, …)                                            an iterator of items

              ┌────────┐ bulk ┌────────┐ chunk ┌──────────────┐
  queue.get ─▶│ getters│─────▶│  belt  │──────▶│   handlers   │──▶ handler(iterator)
      ▲       └────────┘      └────────┘       │ threads      │
      │            ▲                           │ processes    │
      │ cleanup    │ revives                   │ coroutines   │
      │ release ┌──┴───────┐    ┌────────┐     └──────┬───────┘
      └─────────┤supervisor├───▶│ cleaner│◀───────────┘
                └──────────┘    └────────┘

An item passes a station only if it passed the one before; what fails goes back. Read on in `_queues` (what a queue
may do), `_chunk` (what counts as consumed), `_supervision` (what happens to the dead and the stuck), `_belt`,
`_consumer`.
"""

from ._chunk import Failed, Failure, Feed, Receipts
from ._consumer import Consumer
from ._current import Current, current
from ._errors import (
    BackendError,
    CleanupError,
    CrashLoop,
    Drop,
    LeaseLost,
    QueueConsumerError,
    Retry,
    StuckHandlers,
    SupervisionError,
    UsageError,
)
from ._events import (
    BulkReceived,
    CallbackFailed,
    ChunkHandled,
    ChunkStarted,
    CleanupFailed,
    ConsumerStarted,
    ConsumerStopped,
    Event,
    HandlerStuck,
    ItemsCleaned,
    ItemsLost,
    ItemsReleased,
    LeasesBehind,
    Observer,
    Stalled,
    WorkerDied,
    WorkerRevived,
)
from ._lanes import Aging, Strict
from ._ledger import Leftover, Report, Result, Stats
from ._lifecycle import State
from ._queues import (
    Lane,
    Message,
    Queue,
    SupportsAttempt,
    SupportsCleanup,
    SupportsClose,
    SupportsExtend,
    SupportsIdentity,
    SupportsInterrupt,
    SupportsLanes,
    SupportsLeaseOf,
    SupportsOrderingKey,
    SupportsPut,
    SupportsRelease,
    SupportsStats,
)
from ._status import LaneStatus, WorkerStatus
from ._supervision import Supervision
from .handlers import each
from .memory import MemoryMessage, MemoryQueue
from .observers import LogObserver, StatsdObserver
from .policies import Constant, Exponential, Idle, MaxItems

__all__ = [
    "Aging",
    "BackendError",
    "BulkReceived",
    "CallbackFailed",
    "ChunkHandled",
    "ChunkStarted",
    "CleanupError",
    "CleanupFailed",
    "Constant",
    "Consumer",
    "ConsumerStarted",
    "ConsumerStopped",
    "CrashLoop",
    "Current",
    "Drop",
    "Event",
    "Exponential",
    "Failed",
    "Failure",
    "Feed",
    "HandlerStuck",
    "Idle",
    "ItemsCleaned",
    "ItemsLost",
    "ItemsReleased",
    "Lane",
    "LaneStatus",
    "LeaseLost",
    "LeasesBehind",
    "Leftover",
    "LogObserver",
    "MaxItems",
    "MemoryMessage",
    "MemoryQueue",
    "Message",
    "Observer",
    "Queue",
    "QueueConsumerError",
    "Receipts",
    "Report",
    "Result",
    "Retry",
    "Stalled",
    "State",
    "Stats",
    "StatsdObserver",
    "Strict",
    "StuckHandlers",
    "Supervision",
    "SupervisionError",
    "SupportsAttempt",
    "SupportsCleanup",
    "SupportsClose",
    "SupportsExtend",
    "SupportsIdentity",
    "SupportsInterrupt",
    "SupportsLanes",
    "SupportsLeaseOf",
    "SupportsOrderingKey",
    "SupportsPut",
    "SupportsRelease",
    "SupportsStats",
    "UsageError",
    "WorkerDied",
    "WorkerRevived",
    "WorkerStatus",
    "current",
    "each",
]
