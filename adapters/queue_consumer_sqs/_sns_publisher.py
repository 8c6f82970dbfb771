"""A publisher to topics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from queue_consumer.subscribers import SubscriptionConfirmation, encode

from ._access import ReachOptions
from ._publishing import BinaryEncoding, Publisher, as_entry, encoding_of, raw_of
from ._send import Calls, size_of
from ._sns import SnsCalls, check_topic

__all__ = ["SnsPublisher"]

MESSAGE_BYTES = 256 * 1024  # of one message, and of all messages of one call
SUBJECT = 100  # characters


class SnsPublisher(Publisher):
    """Publishes payloads to SNS topics.

    Args:
        aws_access_key_id, aws_secret_access_key, region_name: None: as boto3 finds them; the region also from the ARN.
        topic_arn: where to, unless a call says otherwise.
        profile, session_token, endpoint_url, retries, session, client: see `Access`; a client must be one of SNS.
        content_type: say what the body is in an attribute `Content-Type`, so that the receiver need not guess.
        log_bodies: log bodies, at level DEBUG.

    Raises:
        TypeError, ValueError: for a wrong argument.
    """

    _said = "Published SNS message"

    def __init__(
        self,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        region_name: str | None = None,
        topic_arn: str | None = None,
        *,
        content_type: bool = True,
        log_bodies: bool = False,
        **reached_by: Unpack[ReachOptions],
    ) -> None:
        super().__init__(aws_access_key_id, aws_secret_access_key, region_name, content_type, log_bodies, reached_by)
        self.topic_arn = None if topic_arn is None else check_topic(topic_arn)
        self._any = SnsCalls(self._access)
        self._topics: dict[str, SnsCalls] = {}

    def __repr__(self) -> str:
        return f"<SnsPublisher to {self.topic_arn or 'no topic of its own'}>"

    def publish(
        self,
        payload: Any,
        binary_encoding: BinaryEncoding = False,
        topic_arn: str | None = None,
        *,
        subject: str | None = None,
        group: str | None = None,
        deduplication_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """Publish one payload; the id of its message.

        Args:
            payload: text, bytes, a mapping or a `mega.Payload`.
            binary_encoding: see `BinaryEncoding`.
            topic_arn: another topic than the publisher's.
            subject: for subscribers that show one, up to 100 characters of ASCII.
            group, deduplication_id: on a FIFO topic.
            attributes: as for `SQSQueue.put`. Subscriptions can be filtered by them.

        Raises:
            ValueError: there is no topic to publish it to; or SNS would not take it.
            EncodingError: it cannot be written so.
            SQSError: it was not published.
        """
        arn = self._destination(topic_arn)
        encoded = encode(payload, encoding_of(binary_encoding))
        return self._publish(arn, self._entry(encoded, arn, group, deduplication_id, attributes), subject)

    def publish_raw_message(
        self,
        message: str,
        topic_arn: str | None = None,
        *,
        subject: str | None = None,
        group: str | None = None,
        deduplication_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """Publish text as it is, with no content type; the id of its message."""
        arn = self._destination(topic_arn)
        entry = self._entry(raw_of(message), arn, group, deduplication_id, attributes, raw=True)
        return self._publish(arn, entry, subject)

    def publish_many(
        self,
        payloads: Iterable[Any],
        binary_encoding: BinaryEncoding = False,
        topic_arn: str | None = None,
        *,
        group: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Publish many, in calls of ten and of 256 KiB at most; their ids, in order.

        Args:
            payloads: payloads, or `PublishEntry`s, for a group, a deduplication id or attributes of their own.

        Raises:
            SendError: some were not published, which it tells; the others were.
            SQSError: none was, for one and the same reason.
        """
        arn = self._destination(topic_arn)
        encoding, given = encoding_of(binary_encoding), list(payloads)
        entries = [
            self._checked(
                self._entry(
                    encode(one.payload, encoding),
                    arn,
                    one.group or group,
                    one.deduplication_id,
                    attributes if one.attributes is None else one.attributes,
                )
            )
            for one in map(as_entry, given)
        ]
        calls_of_topic = self._calls(arn)

        def call(operation: str, **arguments: Any) -> dict[str, Any]:
            batch = [on_topic(entry) for entry in arguments["Entries"]]
            return calls_of_topic.call(operation, TopicArn=arn, PublishBatchRequestEntries=batch)

        calls = Calls(call, "publish_batch", arn, ordered=arn.endswith(".fifo"))
        return self._send_many(calls, given, entries, arn, MESSAGE_BYTES)

    def confirm(self, confirmation: SubscriptionConfirmation) -> str:
        """Say yes to a topic that asks whether a queue wants to be subscribed; the ARN of the subscription."""
        arn = check_topic(confirmation.topic_arn)
        answer = self._calls(arn).call("confirm_subscription", TopicArn=arn, Token=confirmation.token)
        return str(answer["SubscriptionArn"])

    def close(self) -> None:
        """Close the connections. If anything is published after that, new ones are opened."""
        with self._lock:
            topics, self._topics = self._topics, {}
        for calls in (self._any, *topics.values()):
            calls.close()

    def _destination(self, topic_arn: str | None) -> str:
        arn = self.topic_arn if topic_arn is None else check_topic(topic_arn)
        if arn is None:
            raise ValueError("Missing Topic ARN")
        return arn

    def _calls(self, arn: str) -> SnsCalls:
        with self._lock:
            if arn not in self._topics:
                self._topics[arn] = self._any.at(arn)
            return self._topics[arn]

    def _checked(self, entry: dict[str, Any]) -> dict[str, Any]:
        size = size_of(entry)
        if size > MESSAGE_BYTES:
            raise ValueError(
                f"a message of SNS must have at most {MESSAGE_BYTES} bytes with its attributes; got {size}"
            )
        return entry

    def _publish(self, arn: str, entry: dict[str, Any], subject: str | None) -> str:
        arguments = on_topic(self._checked(entry))
        if subject is not None:
            arguments["Subject"] = check_subject(subject)
        message_id = str(self._calls(arn).call("publish", TopicArn=arn, **arguments)["MessageId"])
        self._log(arn, message_id, entry)
        return message_id


def on_topic(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry by the names that SNS has."""
    return {("Message" if name == "MessageBody" else name): value for name, value in entry.items()}


def check_subject(subject: Any) -> str:
    if not isinstance(subject, str) or not subject.isascii() or not subject.isprintable() or not subject.strip():
        raise ValueError(f"subject must be a line of ASCII text; got {subject!r}")
    if len(subject) > SUBJECT:
        raise ValueError(f"subject must have at most {SUBJECT} characters; got {len(subject)}")
    return subject
