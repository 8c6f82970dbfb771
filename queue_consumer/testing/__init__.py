"""For tests: of your queue, and of what you build on a consumer.

`QueueContract` says what is wrong with a queue of yours · `FaultyQueue` is a queue that fails as queues do,
by a script, and knows afterwards whether your handlers and the ledger told the truth · `RecordingObserver` is
something to wait on instead of sleeping · `ManualClock` moves delays by hand.

Nothing here needs pytest; the contract runs under `unittest` as well.
"""

from .contract import QueueContract
from .faulty import CHAOS, FaultyQueue, InjectedFault
from .recording import ManualClock, RecordingObserver

__all__ = ["CHAOS", "FaultyQueue", "InjectedFault", "ManualClock", "QueueContract", "RecordingObserver"]
