"""What is measured of multi_sqs_listener, in an environment of its own.

The command line: `python sqs_listener.py ENDPOINT REGION QUEUE ITEMS`. It prints a line of JSON: the CPU seconds from
the first message that it handled to the last, and how many that were after the first.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
from time import process_time
from typing import Any


def main(endpoint_url: str, region: str, queue: str, items: str) -> None:
    os.environ["AWS_ENDPOINT_URL"] = endpoint_url
    module: Any = importlib.import_module("multi_sqs_listener")
    moments: list[float] = []

    class Listener(module.MultiSQSListener):  # type: ignore[misc]
        def handle_message(self, queue: str, bus: str, priority: int, message: Any) -> None:
            moments.append(process_time())
            if len(moments) == int(items):
                # It deletes the message when this has returned, and has no other end than Ctrl-C.
                threading.Timer(1, end, [moments]).start()

    bus = module.EventBus()
    module.EventBus.register_buses([bus])
    Listener([module.QueueConfig(queue, bus, region_name=region)]).listen()


def end(moments: list[float]) -> None:
    print(json.dumps({"cpu": moments[-1] - moments[0], "items": len(moments) - 1}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
