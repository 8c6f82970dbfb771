"""What is on the wire: byte for byte what sqs-workers 0.7.3 writes in JSON, and what it writes otherwise is read."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from queue_consumer import Consumer, MemoryMessage, MemoryQueue
from queue_consumer.jobs import Jobs
from queue_consumer_sqs import SQS
from queue_consumer_sqs.testing import MemorySQS

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden").joinpath("bodies.json").read_text())
CASES: list[dict[str, Any]] = GOLDEN["cases"]
OPTIONS = {"_delay_seconds": "_delay", "_group_id": "_group"}  # by other names here


def name_of(case: dict[str, Any]) -> str:
    return f"{case['codec']}-{case['job']}"


def test_golden_bodies_are_of_the_version_that_they_say() -> None:
    """There are cases of each codec, made by sqs-workers 0.7.3."""
    assert GOLDEN["sqs-workers"] == "0.7.3"
    assert {case["codec"] for case in CASES} == {"json", "pickle", "pickle_compat"}


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_what_sqs_workers_writes_is_read(case: dict[str, Any]) -> None:
    """Arguments and context arrive as they were sent, for every codec that the registry names."""
    jobs, queue, seen = Jobs(accepts=["json", "pickle"]), MemoryQueue(wait=0), []
    jobs.connect(case["job"], lambda **arguments: seen.append((arguments, jobs.context.to_dict())))
    message = case["message"]
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    queue.fill([MemoryMessage("1", message["MessageBody"], attributes)])
    assert Consumer(queue, jobs).run_once().succeeded == 1
    assert seen == [(case["kwargs"], case.get("context", {}))]


class Recorder:
    """A client of SQS that keeps what was sent."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.sent: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def send_message(self, **message: Any) -> Any:
        self.sent.append(message)
        return {"MessageId": "id"}


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_what_we_write_is_what_sqs_workers_writes(case: dict[str, Any]) -> None:
    """Body, attributes and options are the same; of a pickle, what it says is, and not each of its bytes."""
    client = Recorder(MemorySQS().client())
    account = SQS(client=client)
    jobs = Jobs(account.queue(account.create("golden")), codec=case["codec"])
    given: dict[str, Any] = case.get("options", {})
    options = {OPTIONS.get(name, name): value for name, value in given.items()}
    with jobs.context(**case.get("context", {})):
        jobs.send(case["job"], **options, **case["kwargs"])
    (ours,) = client.sent
    theirs = case["message"]
    codec = jobs.roster.codecs.default
    if case["codec"] != "json":
        for message in (ours, theirs := json.loads(json.dumps(theirs))):
            context = message["MessageAttributes"]["JobContext"]
            read = codec.decode(case["job"], case["codec"], message["MessageBody"], context["StringValue"])
            message["MessageBody"], context["StringValue"] = read
    assert {name: value for name, value in ours.items() if name != "QueueUrl"} == theirs


def test_arguments_by_place_do_not_hurt_an_older_reader() -> None:
    """What goes by its place is under one name that no parameter has, so that who does not know it drops it."""
    jobs, queue = Jobs(), MemoryQueue()

    @jobs.task(queue=queue)
    def total(first: int, *more: int) -> None: ...

    total.delay(1)
    total.delay(1, 2, 3)
    assert [message.body for message in queue.get()] == ['{"first": 1}', '{"*": [1, 2, 3]}']
