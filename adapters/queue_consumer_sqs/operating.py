"""SQS for the command line: `sqs://orders?region=eu-west-1`, and what `check` can tell before anything is received."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from queue_consumer import CleanupError
from queue_consumer.cli.schemes import Address, Finding, QueueTools

from ._account import SQS
from ._buses import PriorityBuses
from ._errors import AccessDenied, BadCredentials, SQSError, Unreachable
from ._meter import PRICE, PRICE_FIFO
from ._queue import SQSQueue
from ._redrive import is_unknown, queue_name_of

__all__ = ["SQSScheme", "SQSTools"]

OPTIONS = ("region", "profile", "account_id", "endpoint_url", "prefix")
MONTH = 30 * 24 * 3600
BATCH = 100  # messages between two reports of progress
NO_HANDLE = "queue-consumer-check"  # a receipt handle that is none


class SQSTools:
    """One SQS queue, by name."""

    peek_cost = (
        "SQS cannot show a message without delivering it: each look counts as a delivery, and takes a message that "
        "much nearer to the dead-letter queue."
    )

    def __init__(self, name: str, account: SQS) -> None:
        self.name = f"sqs://{name}"
        self._account = account
        self._queue = account.queue(name)

    def _attributes(self, *names: str) -> dict[str, str]:
        answer = self._queue.client.call("get_queue_attributes", QueueUrl=self._queue.url, AttributeNames=list(names))
        found: dict[str, str] = answer.get("Attributes", {})
        return found

    def depth(self) -> Mapping[str, int]:
        names = {"": "visible", "NotVisible": "in flight", "Delayed": "delayed"}
        found = self._attributes(*(f"ApproximateNumberOfMessages{suffix}" for suffix in names))
        return {word: int(found.get(f"ApproximateNumberOfMessages{suffix}", 0)) for suffix, word in names.items()}

    def peek(self, limit: int) -> Sequence[Any]:
        found: dict[str, Any] = {}
        try:
            while len(found) < limit:
                came = self._queue.receive(min(10, limit - len(found)), wait_time=1)
                fresh = any(message.id not in found for message in came)
                found.update((message.id, message) for message in came)
                if not fresh:  # none is left, or they are hidden for so short a time that they come again
                    break
        finally:
            if found:
                self._give_back(list(found.values()))
        return list(found.values())

    def _give_back(self, messages: list[Any]) -> None:
        try:
            self._queue.release(messages)
        except CleanupError as error:
            if error.failed or error.hopeless:
                raise
            # The others are to be seen again already.

    def send(self, entries: Sequence[Mapping[str, Any]], told: Any) -> None:
        for start in range(0, len(entries), BATCH):
            self._queue.put_many(entries[start : start + BATCH])
            told(min(start + BATCH, len(entries)))

    def purge(self, told: Any) -> int:
        count = sum(self.depth().values())
        self._account.purge(self._queue.name)
        told(count)
        return count

    def destination(self, to: str | None) -> str:
        if to is not None:
            self._account.find(to_name(to))
            return to
        try:
            answer = self._queue.client.call("list_dead_letter_source_queues", QueueUrl=self._queue.url)
        except SQSError as error:
            if is_unknown(error):
                return "where each came from"
            raise
        names = [str(url).rpartition("/")[2] for url in answer.get("queueUrls") or ()]
        return " and ".join(f"sqs://{name}" for name in names) or "where each came from"

    def redrive(self, to: str | None, *, limit: int | None, rate: int | None, told: Any) -> int:
        return self._account.redrive(
            self._queue.name,
            None if to is None else to_name(to),
            limit=limit,
            rate=rate,
            on_progress=lambda moved, total: told(moved),
        )

    def close(self) -> None:
        self._queue.close()
        self._account.close()


def to_name(url: str) -> str:
    """The queue of an `sqs://` URL, or what is a name already."""
    return url.removeprefix("sqs://").partition("?")[0]


class SQSScheme:
    """See `queue_consumer.cli.schemes.Scheme`."""

    def open(self, address: Address) -> QueueTools:
        wrong = sorted(set(address.options) - set(OPTIONS))
        if wrong:
            raise ValueError(f"sqs:// knows {', '.join(OPTIONS)}; got {', '.join(wrong)}")
        if not address.name:
            raise ValueError("sqs:// needs the name of a queue, as in sqs://orders")
        return SQSTools(address.name, SQS(**cast("dict[str, Any]", dict(address.options))))

    def check(self, queue: Any, *, time_limit: float | None, buried: bool) -> list[Finding] | None:
        if isinstance(queue, PriorityBuses):
            given = [one for one in cast("dict[str, Any]", queue.queues).values() if isinstance(one, SQSQueue)]
        elif isinstance(queue, SQSQueue):
            given = [queue]
        else:
            return None
        return [finding for one in given for finding in findings_of(one, time_limit, buried)]


def findings_of(queue: SQSQueue, time_limit: float | None, buried: bool) -> Iterable[Finding]:
    """What would go wrong with one queue."""
    try:
        facts = queue.client.call("get_queue_attributes", QueueUrl=queue.url, AttributeNames=["All"])
    except (BadCredentials, Unreachable) as error:
        yield Finding(
            what=f"Queue {queue.name} cannot be asked: {error}",
            why="No message can be received as it is.",
            do="See that credentials, region and endpoint_url are right, and that the network lets you through.",
        )
        return
    except SQSError as error:
        yield missing(queue, "GetQueueAttributes", error)
        facts = {}
    attributes: dict[str, str] = facts.get("Attributes", {})
    yield from permissions(queue)
    if attributes:
        yield from dead_letters(queue, attributes, buried)
    if time_limit is not None and queue.lease < time_limit:
        yield Finding(
            kind="advice",
            what=f"Messages of {queue.name} are hidden for {queue.lease:g} s, and a handler may take {time_limit:g} s.",
            why="They are renewed while they are held, but if that fails once (an outage, a paused machine) the "
            "message is delivered a second time while the first is still being handled.",
            do=f"Pass visibility_timeout={time_limit * 1.5:g} or more to SQSQueue, or set it on the queue.",
        )
    if not queue.wait_time:
        polls = MONTH / max(queue.poll_interval, 0.02)
        cost = polls * (PRICE_FIFO if queue.fifo else PRICE)
        long = MONTH / 20 * (PRICE_FIFO if queue.fifo else PRICE)
        yield Finding(
            kind="advice",
            what=f"wait_time of {queue.name} is 0, so it is asked every {queue.poll_interval:g} s even if it is empty.",
            why=f"That is about {polls / 1e6:.1f} million requests a month, ${cost:.2f} for each process while nothing "
            f"happens (${long:.2f} with a wait_time of 20), and messages come up to {queue.poll_interval:g} s late.",
            do="Leave wait_time at 20, its default: a poll that waits ends at once when a message comes or you stop.",
        )


def permissions(queue: SQSQueue) -> Iterable[Finding]:
    """Calls that the service must refuse for what they ask, and refuses earlier for who asks if it does.

    Nothing is received, deleted or changed by them: eleven messages are more than there can be in an answer, and the
    receipt handle is none.
    """
    # Should a server not mind eleven, what it gives is visible again at once.
    receive = {"MaxNumberOfMessages": 11, "VisibilityTimeout": 0, "WaitTimeSeconds": 0}
    handle = {"ReceiptHandle": NO_HANDLE}
    for action, operation, arguments in (
        ("ReceiveMessage", "receive_message", receive),
        ("DeleteMessage", "delete_message", handle),
        ("ChangeMessageVisibility", "change_message_visibility", {**handle, "VisibilityTimeout": 0}),
    ):
        try:
            queue.client.call(operation, QueueUrl=queue.url, **arguments)
        except AccessDenied as error:
            yield missing(queue, action, error)
        except SQSError:
            pass  # it may be called: what was refused is what we asked for


NEEDED_FOR = {
    "GetQueueAttributes": "The visibility timeout cannot be read, and so not be renewed in time.",
    "ReceiveMessage": "No message can be received.",
    "DeleteMessage": "Messages that are done cannot be deleted, and come again and again.",
    "ChangeMessageVisibility": "Messages can neither be renewed while they are held nor given back early.",
}


def missing(queue: SQSQueue, action: str, error: SQSError) -> Finding:
    return Finding(
        what=f"sqs:{action} is not allowed on {queue.name} ({error.code or error}).",
        why=NEEDED_FOR[action],
        do=f"Allow sqs:{action} on {queue.arn or queue.url} in the policy of who runs this; docs/iam.md has the whole "
        "policy.",
    )


def dead_letters(queue: SQSQueue, attributes: Mapping[str, str], buried: bool) -> Iterable[Finding]:
    policy: dict[str, Any] = json.loads(attributes.get("RedrivePolicy") or "{}")
    target = policy.get("deadLetterTargetArn")
    if target is None:
        if not buried:
            days = int(attributes.get("MessageRetentionPeriod", 345_600)) / 86_400
            yield Finding(
                what=f"Queue {queue.name} has no dead-letter queue.",
                why=f"A message that no handler can cope with comes again and again for {days:g} days, is paid for "
                "each time, and is then deleted without a word.",
                do="Give it one: SQS().create(name, dead_letter=...), or a RedrivePolicy; or pass max_attempts and "
                "dead_letter to the Consumer.",
            )
        return
    receives = int(policy.get("maxReceiveCount", 0))
    if receives == 1:
        yield Finding(
            kind="advice",
            what=f"A message of {queue.name} goes to {queue_name_of(target)[0]} after a single delivery.",
            why="A process that is killed, or a deployment, then buries what it held.",
            do="Set maxReceiveCount to 3 or more.",
        )
