"""For tests: of your queue, and of what you build on a consumer.

`QueueContract` says what is wrong with a queue of yours · `FaultyQueue` is a queue that fails as queues do,
by a script, and knows afterwards whether your handlers and the ledger told the truth · `RecordingObserver` is
something to wait on instead of sleeping · `ManualClock` moves delays and leases by hand · `check_order` says whether
handlers kept the order of each group.

Nothing here needs pytest; the contract runs under `unittest` as well.
"""

from .contract import QueueContract
from .faulty import CHAOS, FaultyQueue, InjectedFault
from .order import Handling, check_order
from .recording import ManualClock, RecordingObserver

__all__ = [
    "CHAOS",
    "FaultyQueue",
    "Handling",
    "InjectedFault",
    "ManualClock",
    "QueueContract",
    "RecordingObserver",
    "check_order",
]
