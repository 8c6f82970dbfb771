"""sqs-workers as the other side of a queue: run by the environment that has it, told what to do, and printing JSON.

python sqs_workers_peer.py send QUEUE CODEC…       # what its standard input says, a list of calls, by each codec
python sqs_workers_peer.py work QUEUE COUNT        # until so many jobs have run; what each was given
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Callable
from typing import Any


def send(environment: Any, name: str, calls: list[dict[str, Any]]) -> None:
    queue = environment.queue(name)
    for call in calls:
        with environment.context(**call.get("context", {})):
            queue.add_job(call["job"], **call["kwargs"])


def work(environment: Any, name: str, count: int) -> None:
    queue = environment.queue(name)
    ran: list[dict[str, Any]] = []

    def processor(job: str) -> Callable[..., None]:
        def run(context: Any = None, **kwargs: Any) -> None:
            ran.append({"job": job, "kwargs": kwargs, "context": context.to_dict()})

        return run

    for job in json.load(sys.stdin):
        queue.connect_processor(job, processor(job), pass_context=True)
    for _ in range(20):
        queue.process_batch(wait_seconds=1)
        if len(ran) >= count:
            break
    print(json.dumps(ran))


def main(verb: str, name: str, *rest: str) -> None:
    logging.basicConfig()
    package: Any = importlib.import_module("sqs_workers")
    if verb == "send":
        calls = json.load(sys.stdin)
        for codec in rest:
            send(package.SQSEnv(codec=codec), name, calls)
    else:
        work(package.SQSEnv(), name, int(rest[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
