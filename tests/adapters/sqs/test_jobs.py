"""Jobs on SQS: on standard and FIFO queues, and beside sqs-workers, each of which reads what the other wrote."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queue_consumer import Constant, Consumer, Idle, MaxItems
from queue_consumer.jobs import BatchError, Jobs, Pickle, Retry
from queue_consumer_sqs import SQSMessage, SQSQueue
from support.lifecycle import PATIENCE
from support.sqs_servers import INSTALLED, MakeQueue

PEER = Path(__file__).resolve().parents[2] / "support" / "sqs_workers_peer.py"
OpenQueue = Callable[..., SQSQueue]
CALLS: list[dict[str, Any]] = [
    {"job": "send_email", "kwargs": {"to": "ada@example.org", "body": 'é\n"'}, "context": {}},
    {"job": "numbers", "kwargs": {"whole": 2**70, "half": 0.5, "no": None}, "context": {"remote_addr": "::1"}},
    {"job": "nested", "kwargs": {"map": {"x": [1, {"y": []}]}}, "context": {"trace": [1, "a"]}},
]
CODECS = ("json", "pickle", "pickle_compat")
no_endpoint = pytest.mark.gap("memory", reason="has no endpoint that another process could be given")


def by_job(ran: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(ran, key=lambda one: str(one["job"]))


@pytest.fixture
def peer(sqs_server: Any) -> Callable[..., str]:
    """Runs sqs-workers 0.7.3, told something, and returns what it prints."""
    assert sqs_server.endpoint_url, f"{sqs_server.name} is in this process only"
    place = INSTALLED / "sqs_workers"
    assert (place / ".made").exists(), "sqs-workers is not installed: tools/servers.sh sqs_workers does it"

    def run(*arguments: str, told: Any) -> str:
        done = subprocess.run(
            [place / "bin" / "python", str(PEER), *arguments],
            env={**os.environ, "AWS_ENDPOINT_URL": sqs_server.endpoint_url},
            input=json.dumps(told),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@no_endpoint
def test_we_read_what_sqs_workers_has_sent(peer: Callable[..., str], queue_url: str, open_queue: OpenQueue) -> None:
    """Jobs of sqs-workers 0.7.3, written by each of its codecs, run here, with their arguments and their contexts."""
    peer("send", queue_url.rpartition("/")[2], *CODECS, told=CALLS)
    jobs, ran = Jobs(accepts=["json", Pickle()]), []

    def runner(job: str) -> Callable[..., None]:
        return lambda **kwargs: ran.append({"job": job, "kwargs": kwargs, "context": jobs.context.to_dict()})

    for call in CALLS:
        jobs.connect(call["job"], runner(call["job"]))
    queue, count = open_queue(queue_url, wait_time=1), len(CALLS) * len(CODECS)
    report = Consumer(queue, jobs, max_handlers=1, stop_when=MaxItems(count) | Idle(PATIENCE)).run()
    assert by_job(ran) == by_job(CALLS * len(CODECS))
    assert report.stats.cleaned == count


@no_endpoint
def test_sqs_workers_reads_what_we_have_sent(peer: Callable[..., str], queue_url: str, open_queue: OpenQueue) -> None:
    """Our jobs, by each codec, run in workers of sqs-workers 0.7.3, with their arguments and their contexts."""
    jobs = Jobs(open_queue(queue_url), accepts=["json", "pickle", Pickle(compatible=True)])
    with jobs.batch():
        for codec in CODECS:
            for call in CALLS:
                with jobs.context(**call["context"]):
                    jobs.send(call["job"], _codec=codec, **call["kwargs"])
    count = len(CALLS) * len(CODECS)
    ran = json.loads(peer("work", queue_url.rpartition("/")[2], str(count), told=[call["job"] for call in CALLS]))
    assert by_job(ran) == by_job(CALLS * len(CODECS))


def test_a_fifo_queue_keeps_the_order_of_a_group(make_queue: MakeQueue, open_queue: OpenQueue) -> None:
    """After a job that is tried again, those of its group wait for it; other groups go on; duplicates are one."""
    queue = open_queue(make_queue(fifo=True), wait_time=0)
    jobs = Jobs(queue)
    seen: list[tuple[str, int]] = []

    @jobs.task
    def step(group: str, number: int) -> None:
        if (group, number) == ("a", 0) and seen.count(("a", 0)) == 0:
            seen.append((group, number))
            raise Retry(0)
        seen.append((group, number))

    with jobs.batch():
        for number in range(3):
            for group in "ab":
                for _ in range(2):
                    step.options(group=group, deduplication_id=f"{group}{number}").delay(group, number)
    Consumer(queue, jobs, max_handlers=4, stop_when=MaxItems(6) | Idle(PATIENCE)).run()
    assert [number for group, number in seen if group == "a"] == [0, 0, 1, 2]
    assert [number for group, number in seen if group == "b"] == [0, 1, 2]


def test_delay_and_limits_are_those_of_sqs(queue_url: str, make_queue: MakeQueue, open_queue: OpenQueue) -> None:
    """A delay goes to the service; what SQS does not take is a sentence of the adapter's, at `delay`."""
    queue, fifo = open_queue(queue_url, wait_time=0), open_queue(make_queue(fifo=True))
    jobs = Jobs(queue)
    task = jobs.connect("x", lambda: None)
    task.options(delay=60).delay()
    assert queue.receive() == []
    with pytest.raises(ValueError, match="delay must be a number of seconds from 0 to 900; got 901"):
        task.options(delay=901).delay()
    with pytest.raises(ValueError, match="delay must be 0 on a FIFO queue"):
        task.options(delay=1, queue=fifo).delay()
    with pytest.raises(BatchError, match="delay must be 0 on a FIFO queue"):
        with jobs.batch():
            task.options(delay=1, queue=fifo).delay()


def test_raw_messages_of_a_schedule(queue_url: str, open_queue: OpenQueue) -> None:
    """A body that comes from elsewhere goes to the raw function, with all that the service says of it."""
    queue = open_queue(queue_url, wait_time=0)
    jobs, seen = Jobs(), []

    @jobs.raw(backoff=Constant(0))
    def scheduled(message: SQSMessage) -> None:
        seen.append((message.json()["detail-type"], message.attempt, "SentTimestamp" in message.system))
        if message.attempt == 1:
            raise ValueError("not yet")

    queue.put(json.dumps({"detail-type": "Scheduled Event", "source": "aws.events", "detail": {}}))
    Consumer(queue, jobs, stop_when=MaxItems(1) | Idle(PATIENCE)).run()
    assert seen == [("Scheduled Event", 1, True), ("Scheduled Event", 2, True)]
