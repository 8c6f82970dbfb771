"""What the judge of `make fire` reads off a proxy's log is what was done, and what clients were told of it."""

from __future__ import annotations

import pytest

from fire.evidence import SENDER, Evidence, gather
from fire.plan import Task
from queue_consumer import CleanupError
from queue_consumer_sqs import SQSMessage, SQSQueue
from support.proxied import Proxied
from support.sqs_faults import DONE_BUT_500, LOST, TRUNCATED

pytest_plugins = ["support.proxied_fixtures"]

ONCE = {"total_max_attempts": 1}


def test_evidence_is_read_off_the_log(proxied: Proxied) -> None:
    """What the server did is told apart from what clients were told, whatever happened on the way."""
    url = proxied.make()
    queue = proxied.open(url, session=None, access_key_id="a1-1", secret_access_key="s", cleanup_linger=0, retries=ONCE)
    sender = proxied.open(url, session=None, access_key_id=SENDER, secret_access_key="s")
    tasks = [Task(number=number, group="g") for number in range(3)]
    ids = sender.put_many([{"body": task.body} for task in tasks])
    messages = received(queue, 3)
    proxied.proxy.plan("DeleteMessageBatch", LOST, TRUNCATED, DONE_BUT_500)
    for message in messages:
        with pytest.raises(CleanupError):
            queue.cleanup([message])
    evidence = gather(Evidence(numbers=frozenset(range(3))), proxied.proxy.calls(), [])
    assert {(sent.id, sent.number) for sent in evidence.sent} == set(zip(ids, range(3), strict=True))
    assert {delivery.id for delivery in evidence.deliveries} == set(ids)
    assert {delivery.consumer for delivery in evidence.deliveries} == {"a1"}
    assert [wish.done for wish in evidence.deletions] == [True, True, True]
    assert [wish.told for wish in evidence.deletions] == [False, False, False]
    assert [wish.trouble for wish in evidence.deletions] == [LOST.name, TRUNCATED.name, DONE_BUT_500.name]


def received(queue: SQSQueue, count: int) -> list[SQSMessage]:
    """So many messages, however many receives that takes."""
    found: list[SQSMessage] = []
    while len(found) < count:
        found += queue.receive()
    return found
