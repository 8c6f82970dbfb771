"""The program that is killed: one consumer of a queue. `python -m fire.consumer OPTIONS`, which are JSON.

It is ended in peace by SIGTERM, and then returns 0 if its books balance.
"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fire.handlers import AsyncHandler, Handler
from fire.journal import Journal
from fire.plan import IDLE_LEASE, LEASE, Pool
from fire.sender import opened, transported
from queue_consumer import Constant, Consumer, Supervision
from queue_consumer_sqs.aio import AsyncSQSQueue


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the program is told.

    Args:
        name: of the consumer, unlike any other's of the run.
        queue, endpoint_url: where it finds its messages.
        folder: where its handlers write.
        transport: of the queue, if it is to be another than the queue's own choice.
    """

    name: str
    queue: str
    endpoint_url: str
    pool: Pool
    folder: str
    transport: str = ""

    def __str__(self) -> str:
        return json.dumps(asdict(self))


def queue_of(options: Options) -> Any:
    given: dict[str, Any] = {"visibility_timeout": LEASE, "idle_lease": IDLE_LEASE, "wait_time": 2}
    if options.pool == "async":  # which has a transport of its own
        return opened(options.queue, AsyncSQSQueue, endpoint_url=options.endpoint_url, **given)
    return opened(options.queue, endpoint_url=options.endpoint_url, **transported(options.transport), **given)


def main(options: Options) -> int:
    logging.basicConfig(format=f"%(asctime)s {options.name} %(levelname)s %(message)s")
    journal = Journal(Path(options.folder), options.name)
    is_async = options.pool in ("coroutines", "async")
    consumer = Consumer(
        queue_of(options),
        AsyncHandler(journal) if is_async else Handler(journal),
        max_workers=2,
        max_handlers=3,
        messages_bulk_size=4,
        pool="coroutines" if options.pool == "async" else options.pool,
        backoff=Constant(1),
        supervision=Supervision(restart_base=0.05),
    )
    report = consumer.run()
    print(report, flush=True)
    return 0 if report.balanced else 1


if __name__ == "__main__":
    sys.exit(main(Options(**json.loads(sys.argv[1]))))
