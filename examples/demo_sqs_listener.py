"""The program that both listeners run in the second act of the demo: multi_sqs_listener's, and ours, one import apart.

    python examples/demo_sqs_listener.py PACKAGE TASK

PACKAGE is imported; TASK, which is JSON, says which queues there are and how long things take. A line of JSON is
printed for each thing that happens. The message that is the gate is handled until a line is read from standard input;
at the end of standard input this program ends, so that it does not outlive the demo.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

PATIENCE = 60.0
WHOLE_POLL = 5.0  # longer than a receive takes to bring what is there, on however busy a machine


def tell(what: str, **more: Any) -> None:
    print(json.dumps({"what": what, "at": time.monotonic(), **more}), flush=True)


def listen(package: str, task: Mapping[str, Any]) -> None:
    """Subclass that package's `MultiSQSListener`, and have it listen until Ctrl-C."""
    module: Any = importlib.import_module(package)
    base: Any = module.MultiSQSListener
    go_on, fetched = threading.Event(), threading.Event()
    threading.Thread(target=obey, args=(go_on,), daemon=True).start()

    class Letters(base):  # type: ignore[misc]  # whichever package it is of
        def handle_message(self, queue: str, bus: str, priority: float, message: Any) -> None:
            tell("begun", body=message.body)
            time.sleep(task["takes"][bus])
            if message.body == task["gate"]:
                go_on.wait()
                time.sleep(task["arrival"])
                fetched.wait(PATIENCE)
            tell("done", body=message.body)

    buses = {name: module.EventBus(name, priority) for name, priority in task["priorities"].items()}
    module.EventBus.register_buses(list(buses.values()))
    queues = [module.QueueConfig(name, bus) for name, bus in buses.items()]
    if package == "queue_consumer_sqs":
        listener = Letters(queues, **our_options(fetched), **task["options"])
    else:
        fetched.set()  # there is no way to be told
        listener = Letters(queues)
        tell("version", version=importlib.metadata.version(package))
    report = listener.listen()
    if report is not None:
        stats = report.stats
        calls = {name: queue["calls"] for name, queue in stats.queue.items()}
        tell("report", balanced=report.balanced, received=stats.received, cleaned=stats.cleaned, calls=calls)


def our_options(fetched: threading.Event) -> dict[str, Any]:
    """What makes sure that the order does not depend on how busy this machine is."""
    from queue_consumer import BulkReceived, Event, Strict

    def notice(event: Event) -> None:
        if isinstance(event, BulkReceived) and any(message.bus == "high" for message in event.items):
            fetched.set()

    return {"lane_policy": Strict(right_of_way=WHOLE_POLL), "observers": [notice]}


def obey(go_on: threading.Event) -> None:
    for _ in sys.stdin:
        go_on.set()
    os._exit(1)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # even if whoever started us does not hear it
    listen(sys.argv[1], json.loads(sys.argv[2]))
