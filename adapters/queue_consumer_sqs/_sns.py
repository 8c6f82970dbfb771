"""SNS: topics, their subscriptions, and the calls that publishing needs.

It is reached as SQS is (`Access`), by a boto3 client of its own, made when it is first needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Unpack

from queue_consumer.subscribers import SubscriptionConfirmation

from ._access import Access, ReachOptions
from ._boto import Clients
from ._errors import BadCredentials, SQSError, Throttled
from ._translation import translated

__all__ = ["SNS", "SnsCalls", "TopicNotFound", "check_topic", "queue_policy"]

TOPIC = re.compile(r"arn:[a-z-]+:sns:(?P<region>[a-z0-9-]*):[0-9]*:[A-Za-z0-9_-]{1,256}(?:\.fifo)?")


class TopicNotFound(SQSError):
    """There is no such topic, in this region and account, or none that these credentials may see."""


# Codes that SQS does not have.
KINDS: Mapping[str, type[SQSError]] = {
    **dict.fromkeys(("NotFound", "NotFoundException", "ResourceNotFoundException"), TopicNotFound),
    "Throttled": Throttled,
}


def check_topic(arn: Any, parameter: str = "topic_arn") -> str:
    """Refuse what cannot be the ARN of a topic."""
    if not isinstance(arn, str):
        raise TypeError(f"{parameter} must be the ARN of a topic, a str; got {arn!r}")
    if not TOPIC.fullmatch(arn):
        raise ValueError(
            f"{parameter} must be the ARN of a topic, as arn:aws:sns:eu-west-1:123456789012:orders; got {arn!r}"
        )
    return arn


class SnsCalls:
    """Calls of the service, and their errors as ours."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._clients = Clients(access, "sns")

    def at(self, topic_arn: str) -> SnsCalls:
        """The same, in the region that the topic says, if none was given."""
        found = TOPIC.fullmatch(topic_arn)
        if self._access.client is not None or self._access.region is not None or not found or not found["region"]:
            return self
        return SnsCalls(replace(self._access, region=found["region"]))

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """A method of the boto3 client, by its name.

        Raises:
            SQSError: of the kind that it is, `from` what boto3 raised.
        """
        try:
            answer: dict[str, Any] = getattr(self._clients.work, operation)(**arguments)
            return answer
        except SQSError:
            raise
        except Exception as error:
            ours = translated(error, operation.replace("_", " "))
            if isinstance(ours, BadCredentials):
                self._clients.renew()  # for the next call
            message = ours.message.replace("SQS would not", "SNS would not", 1)
            raise KINDS.get(ours.code, type(ours))(message, ours.code) from error

    def close(self) -> None:
        """Close what is ours; a client that was given stays open."""
        self._clients.close()


class SNS:
    """The topics that one access reaches.

    Args:
        access: region, profile, access_key_id, secret_access_key, session_token, endpoint_url, retries, session,
            client; as for `SQS`.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        **reached_by: Unpack[ReachOptions],
    ) -> None:
        access = Access.of(
            "SNS",
            reached_by,
            ReachOptions,
            region=region,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
        )
        self._calls = SnsCalls(access)

    def create(self, name: str) -> str:
        """The ARN of the topic of this name, made if it is not there. One that ends in `.fifo` is FIFO.

        Raises:
            SQSError: it was not made.
        """
        settings = {"FifoTopic": "true"} if name.endswith(".fifo") else {}
        return str(self._calls.call("create_topic", Name=name, Attributes=settings)["TopicArn"])

    def subscribe(
        self, topic_arn: str, queue_arn: str, *, raw: bool = False, only: Mapping[str, Any] | None = None
    ) -> str:
        """Let a topic send to a queue; the ARN of the subscription. The queue must allow it: see `queue_policy`.

        Args:
            topic_arn: the topic.
            queue_arn: the queue's; `SQSQueue.arn`.
            raw: send what was published as it is, and its attributes as the message's; else in an envelope.
            only: a filter policy, by the attributes of what is published.

        Raises:
            SQSError: it was not done.
        """
        settings = {"RawMessageDelivery": "true"} if raw else {}
        if only is not None:
            settings["FilterPolicy"] = json.dumps(only)
        answer = self._calls.call(
            "subscribe",
            TopicArn=check_topic(topic_arn),
            Protocol="sqs",
            Endpoint=queue_arn,
            Attributes=settings,
            ReturnSubscriptionArn=True,
        )
        return str(answer["SubscriptionArn"])

    def confirm(self, confirmation: SubscriptionConfirmation) -> str:
        """Say yes to a topic that asks whether a queue wants to be subscribed; the ARN of the subscription.

        Raises:
            SQSError: it was not done.
        """
        answer = self._calls.call(
            "confirm_subscription", TopicArn=check_topic(confirmation.topic_arn), Token=confirmation.token
        )
        return str(answer["SubscriptionArn"])

    def delete(self, topic_arn: str) -> None:
        """Delete a topic; no error if it is not there."""
        self._calls.call("delete_topic", TopicArn=check_topic(topic_arn))

    def close(self) -> None:
        """Close the connections. If anything is called after that, new ones are opened."""
        self._calls.close()


def queue_policy(queue_arn: str, *topic_arns: str) -> str:
    """What the attribute `Policy` of a queue must be, so that these topics may send to it."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": [check_topic(arn) for arn in topic_arns]}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
