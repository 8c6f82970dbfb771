"""Receiving by hand, as in sqs-mega: messages with their payloads decoded.

`Consumer(SQSQueue(…), Subscribers([…]))` receives, dispatches and deletes by itself; this is for scripts.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Unpack

from queue_consumer.subscribers import Decoder, DecodingError, EmbeddedMessage, PayloadType

from ._access import Access, ReachOptions
from ._aws import Client
from ._cut import Poll
from ._errors import InvalidRequest
from ._limits import BATCH_SIZE, VISIBILITY_TIMEOUT, WAIT_TIME
from ._message import value_of
from ._sqs_publisher import check_url

__all__ = ["MessageType", "ReceivedMessage", "SqsReceiver", "check_settings"]


class MessageType(enum.IntEnum):
    """Where a message came from; the numbers are sqs-mega's."""

    SQS = 1
    SNS = 2  # in an envelope


@dataclass(frozen=True, kw_only=True)
class ReceivedMessage:
    """One delivery of a message.

    Attributes:
        message_id: AWS's, the same at every delivery.
        receipt_handle: what the service knows this delivery by.
        message_type: whether it came in an SNS envelope.
        payload_type: what kind of payload it has; INVALID if that cannot be decoded.
        payload: bytes, text, a dict or a `mega.Payload`.
        embedded_message: what SNS wrapped around it, or None.
        attributes: what the sender said beside it.
        body: the text as it came.
        error: why it is INVALID.
    """

    message_id: str
    receipt_handle: str = field(repr=False)
    message_type: MessageType
    payload_type: PayloadType
    payload: Any = field(repr=False)
    embedded_message: EmbeddedMessage | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    body: str = field(default="", repr=False)
    error: Exception | None = None


class SqsReceiver:
    """Receives messages of one queue, or of any.

    Args:
        aws_access_key_id, aws_secret_access_key, region_name: None: as boto3 finds them; the region also from the URL.
        queue_url: where from, unless a call says otherwise.
        max_number_of_messages: the most of one receive, 1 to 10.
        wait_time_seconds: that a receive waits for a message, 0 to 20.
        visibility_timeout: seconds that a message is hidden from others once it was received.
        decoder: makes payloads of bodies.
        profile, session_token, endpoint_url, retries, session, client: see `Access`.

    Raises:
        TypeError, ValueError: for a wrong argument.
    """

    def __init__(
        self,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        region_name: str | None = None,
        queue_url: str | None = None,
        max_number_of_messages: int = 1,
        wait_time_seconds: float = 20,
        visibility_timeout: float = 30,
        *,
        decoder: Decoder | None = None,
        **reached_by: Unpack[ReachOptions],
    ) -> None:
        self._access = Access.of(
            "SqsReceiver",
            reached_by,
            ReachOptions,
            region=region_name,
            access_key_id=aws_access_key_id,
            secret_access_key=aws_secret_access_key,
        )
        check_settings(max_number_of_messages, wait_time_seconds, visibility_timeout)
        self.queue_url = None if queue_url is None else check_url(queue_url)
        self.max_number_of_messages = max_number_of_messages
        self.wait_time_seconds = wait_time_seconds
        self.visibility_timeout = visibility_timeout
        self._decoder = decoder or Decoder()
        self._clients: dict[Any, Client] = {}

    def receive_messages(
        self,
        queue_url: str | None = None,
        max_number_of_messages: int | None = None,
        wait_time_seconds: float | None = None,
        visibility_timeout: float | None = None,
    ) -> list[ReceivedMessage]:
        """One receive. What cannot be decoded comes as INVALID, beside the others.

        Args:
            queue_url, max_number_of_messages, wait_time_seconds, visibility_timeout: None: the receiver's.

        Raises:
            ValueError: there is no queue to receive from.
            SQSError: it failed.
        """
        url = self._source(queue_url)
        most = self.max_number_of_messages if max_number_of_messages is None else max_number_of_messages
        wait = self.wait_time_seconds if wait_time_seconds is None else wait_time_seconds
        hidden = self.visibility_timeout if visibility_timeout is None else visibility_timeout
        most, wait, hidden = check_settings(most, wait, hidden)
        answer = self._client(url).receive(
            Poll(),
            QueueUrl=url,
            MaxNumberOfMessages=most,
            WaitTimeSeconds=wait,
            VisibilityTimeout=hidden,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return [message_of(given, self._decoder) for given in answer.get("Messages") or ()]

    def delete_message(self, message: ReceivedMessage, queue_url: str | None = None) -> None:
        """Delete a message; no error if it is deleted already.

        Raises:
            SQSError: it failed.
        """
        url = self._source(queue_url)
        try:
            self._client(url).call("delete_message", QueueUrl=url, ReceiptHandle=message.receipt_handle)
        except InvalidRequest as error:
            if not error.code.endswith("ReceiptHandleIsInvalid"):  # some servers say so of what is deleted already
                raise

    def close(self) -> None:
        """Close the connections. If anything is called after that, new ones are opened."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _source(self, queue_url: str | None) -> str:
        url = self.queue_url if queue_url is None else check_url(queue_url)
        if url is None:
            raise ValueError("Missing Queue URL")
        return url

    def _client(self, url: str) -> Client:
        access = self._access.at(url)
        return self._clients.setdefault((access.region, access.endpoint_url), Client(access))


def check_settings(most: int, wait: float, hidden: float) -> tuple[int, int, int]:
    """As they go on the wire."""
    return (
        BATCH_SIZE.check(most, "max_number_of_messages"),
        WAIT_TIME.check(wait, "wait_time_seconds"),
        VISIBILITY_TIMEOUT.check(hidden),
    )


def message_of(given: Mapping[str, Any], decoder: Decoder) -> ReceivedMessage:
    """A message as the service gave it, decoded; one that lacks something is INVALID."""
    raw: Mapping[str, Any] = given.get("MessageAttributes") or {}
    attributes = {name: value_of(value) for name, value in raw.items()}
    body: Any = given.get("Body")
    decoded = decoder.decode(body, attributes)
    lacking = [name for name in ("MessageId", "ReceiptHandle", "Body") if not isinstance(given.get(name), str)]
    error = decoded.error
    if lacking:
        error = DecodingError(f"Could not deserialize SQS message: Missing data for required field {lacking[0]}.")
    return ReceivedMessage(
        message_id=given.get("MessageId") or "",
        receipt_handle=given.get("ReceiptHandle") or "",
        message_type=MessageType.SQS if decoded.embedded_message is None else MessageType.SNS,
        payload_type=PayloadType.INVALID if lacking else decoded.payload_type,
        payload=None if lacking else decoded.payload,
        embedded_message=decoded.embedded_message,
        attributes=attributes,
        body=body or "",
        error=error,
    )
