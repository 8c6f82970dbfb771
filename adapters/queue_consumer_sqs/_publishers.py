"""Publishers: any payload to a queue or to a topic, with the content type that says what it is.

The first parameters are sqs-mega's. Nothing is looked up when a publisher is made, and what is sent is checked before
anything is; a parameter that there is not is a `TypeError`. Ids are logged, and bodies only if that is asked for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from queue_consumer.subscribers import Encoded, SubscriptionConfirmation, encode

from ._access import Access
from ._aws import Client
from ._errors import FailedEntry, SendError
from ._limits import BATCH_BYTES, BATCH_SIZE
from ._send import Calls, entry_of, size_of
from ._sns import SnsCalls, check_topic

__all__ = ["BinaryEncoding", "PublishEntry", "SnsPublisher", "SqsPublisher"]

log = logging.getLogger("queue_consumer.sqs.publish")

BinaryEncoding: TypeAlias = bool | Literal["bson", "zlib"]
"""False: JSON. True, as in sqs-mega, or "bson": BSON in base64. "zlib": compressed JSON in base64, which is shorter."""

CONTENT_TYPE = "Content-Type"
SNS_BYTES = 256 * 1024  # of one message, and of all messages of one call
SUBJECT = 100  # characters


@dataclass(frozen=True, kw_only=True)
class PublishEntry:
    """One of many, with parameters of its own; those that are None are the call's."""

    payload: Any
    group: str | None = None
    deduplication_id: str | None = None
    attributes: Mapping[str, Any] | None = None


class Publisher:
    """What both have in common."""

    _said: str  # what the log says of one that was sent

    def __init__(
        self,
        aws_access_key_id: str | None,
        aws_secret_access_key: str | None,
        region_name: str | None,
        profile: str | None,
        session_token: str | None,
        endpoint_url: str | None,
        retries: Mapping[str, Any] | None,
        session: Any,
        client: Any,
        content_type: bool,
        log_bodies: bool,
    ) -> None:
        for name, flag in (("content_type", content_type), ("log_bodies", log_bodies)):
            given: Any = flag
            if not isinstance(given, bool):
                raise TypeError(f"{name} must be True or False; got {given!r}")
        self._access = Access(
            region=region_name,
            profile=profile,
            access_key_id=aws_access_key_id,
            secret_access_key=aws_secret_access_key,
            session_token=session_token,
            endpoint_url=endpoint_url,
            retries=retries,
            session=session,
            client=client,
        )
        self._content_type = content_type
        self._log_bodies = log_bodies
        self._lock = threading.Lock()

    def _entry(
        self,
        encoded: Encoded,
        destination: str,
        group: str | None,
        deduplication_id: str | None,
        attributes: Mapping[str, Any] | None,
        delay: float = 0,
        *,
        raw: bool = False,
    ) -> dict[str, Any]:
        """On the wire; with the content type, unless there is one, or the body goes as it is."""
        named: Any = attributes
        if self._content_type and not raw and (attributes is None or isinstance(named, Mapping)):
            given = dict(attributes or {})
            if not any(str(name).lower() == CONTENT_TYPE.lower() for name in given):
                given[CONTENT_TYPE] = encoded.content_type
            attributes = given
        fifo = destination.endswith(".fifo")
        return entry_of(encoded.body, delay, group, deduplication_id, attributes, fifo=fifo)

    def _log(self, destination: str, message_id: str, entry: Mapping[str, Any]) -> None:
        log.info("[%s][%s] %s", destination, message_id, self._said)
        if self._log_bodies:
            log.debug("[%s][%s] %s", destination, message_id, entry["MessageBody"])

    def _send_many(
        self, calls: Calls, given: list[Any], entries: list[dict[str, Any]], where: str, most: int
    ) -> list[str]:
        """All of them, in as few calls as may be; their ids, in order."""
        outcome = calls.make(packed(entries, most))
        if outcome.over is not None and not outcome.done:
            raise outcome.over
        ids = {int(id): str(answer["MessageId"]) for id, answer in outcome.done.items()}
        for position in sorted(ids):
            self._log(where, ids[position], entries[position])
        sent = [ids[position] for position in sorted(ids)]
        if outcome.failed:
            failed = [FailedEntry(given[int(id)], *outcome.failed[id]) for id in sorted(outcome.failed, key=int)]
            raise SendError(failed, sent) from outcome.error
        return sent


def encoding_of(binary_encoding: Any) -> Literal["json", "bson", "zlib"]:
    match binary_encoding:
        case False:
            return "json"
        case True | "bson":
            return "bson"
        case "zlib":
            return "zlib"
        case _:
            raise ValueError(f"binary_encoding must be True, False, 'bson' or 'zlib'; got {binary_encoding!r}")


def raw_of(message: Any) -> Encoded:
    if not isinstance(message, str):
        raise TypeError(f"message must be a str, which is sent as it is; got a {type(message).__name__}")
    return Encoded(message, "")


def as_entry(given: Any) -> PublishEntry:
    return given if isinstance(given, PublishEntry) else PublishEntry(payload=given)


def packed(entries: Iterable[dict[str, Any]], most: int) -> Iterator[list[dict[str, Any]]]:
    """The entries in as few calls as may be: 10, or so many bytes, whichever is first."""
    batch: list[dict[str, Any]] = []
    room = most
    for position, entry in enumerate(entries):
        size = size_of(entry)
        if batch and (len(batch) == BATCH_SIZE.most or size > room):
            yield batch
            batch, room = [], most
        batch.append({"Id": str(position), **entry})
        room -= size
    if batch:
        yield batch


class SqsPublisher(Publisher):
    """Sends payloads to SQS queues.

    Args:
        aws_access_key_id, aws_secret_access_key, region_name: None: as boto3 finds them; the region also from the URL.
        queue_url: where to, unless a call says otherwise.
        profile, session_token, endpoint_url, retries, session, client: see `Access`.
        content_type: say what the body is in an attribute `Content-Type`, so that the receiver need not guess.
        log_bodies: log bodies, at level DEBUG.

    Raises:
        TypeError, ValueError: for a wrong argument.
    """

    _said = "Sent SQS message"

    def __init__(
        self,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        region_name: str | None = None,
        queue_url: str | None = None,
        *,
        profile: str | None = None,
        session_token: str | None = None,
        endpoint_url: str | None = None,
        retries: Mapping[str, Any] | None = None,
        session: Any = None,
        client: Any = None,
        content_type: bool = True,
        log_bodies: bool = False,
    ) -> None:
        super().__init__(
            aws_access_key_id,
            aws_secret_access_key,
            region_name,
            profile,
            session_token,
            endpoint_url,
            retries,
            session,
            client,
            content_type,
            log_bodies,
        )
        self.queue_url = None if queue_url is None else check_url(queue_url)
        self._clients: dict[Any, Client] = {}

    def __repr__(self) -> str:
        return f"<SqsPublisher to {self.queue_url or 'no queue of its own'}>"

    def publish(
        self,
        payload: Any,
        binary_encoding: BinaryEncoding = False,
        queue_url: str | None = None,
        *,
        delay: float = 0,
        group: str | None = None,
        deduplication_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """Send one payload; the id of its message.

        Args:
            payload: text, bytes, a mapping or a `mega.Payload`.
            binary_encoding: see `BinaryEncoding`.
            queue_url: another queue than the publisher's.
            delay, group, deduplication_id, attributes: as for `SQSQueue.put`; with a content type up to 9 attributes.

        Raises:
            ValueError: there is no queue to send it to; or SQS would not take it.
            EncodingError: it cannot be written so.
            SQSError: it was not sent.
        """
        url = self._destination(queue_url)
        encoded = encode(payload, encoding_of(binary_encoding))
        return self._send(url, self._entry(encoded, url, group, deduplication_id, attributes, delay))

    def publish_raw_message(
        self,
        message: str,
        queue_url: str | None = None,
        *,
        delay: float = 0,
        group: str | None = None,
        deduplication_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """Send text as it is, with no content type; the id of its message."""
        url = self._destination(queue_url)
        entry = self._entry(raw_of(message), url, group, deduplication_id, attributes, delay, raw=True)
        return self._send(url, entry)

    def publish_many(
        self,
        payloads: Iterable[Any],
        binary_encoding: BinaryEncoding = False,
        queue_url: str | None = None,
        *,
        delay: float = 0,
        group: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Send many, in calls of ten and of 1 MiB at most; their ids, in order.

        Args:
            payloads: payloads, or `PublishEntry`s, for a group, a deduplication id or attributes of their own.

        Raises:
            SendError: some were not sent, which it tells; the others were.
            SQSError: none was, for one and the same reason.
        """
        url = self._destination(queue_url)
        encoding, given = encoding_of(binary_encoding), list(payloads)
        entries = [
            self._entry(
                encode(one.payload, encoding),
                url,
                one.group or group,
                one.deduplication_id,
                attributes if one.attributes is None else one.attributes,
                delay,
            )
            for one in map(as_entry, given)
        ]
        calls = Calls(self._client(url).call, "send_message_batch", url, ordered=url.endswith(".fifo"))
        return self._send_many(calls, given, entries, url, BATCH_BYTES)

    def close(self) -> None:
        """Close the connections. If anything is sent after that, new ones are opened."""
        with self._lock:
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _destination(self, queue_url: str | None) -> str:
        url = self.queue_url if queue_url is None else check_url(queue_url)
        if url is None:
            raise ValueError("Missing Queue URL")
        return url

    def _client(self, url: str) -> Client:
        access = self._access.at(url)
        with self._lock:
            place = (access.region, access.endpoint_url)
            if place not in self._clients:
                self._clients[place] = Client(access)
            return self._clients[place]

    def _send(self, url: str, entry: dict[str, Any]) -> str:
        message_id = str(self._client(url).call("send_message", QueueUrl=url, **entry)["MessageId"])
        self._log(url, message_id, entry)
        return message_id


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
        profile: str | None = None,
        session_token: str | None = None,
        endpoint_url: str | None = None,
        retries: Mapping[str, Any] | None = None,
        session: Any = None,
        client: Any = None,
        content_type: bool = True,
        log_bodies: bool = False,
    ) -> None:
        super().__init__(
            aws_access_key_id,
            aws_secret_access_key,
            region_name,
            profile,
            session_token,
            endpoint_url,
            retries,
            session,
            client,
            content_type,
            log_bodies,
        )
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
        return self._send_many(calls, given, entries, arn, SNS_BYTES)

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
        if size > SNS_BYTES:
            raise ValueError(f"a message of SNS must have at most {SNS_BYTES} bytes with its attributes; got {size}")
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


def check_url(url: Any) -> str:
    if not isinstance(url, str) or "://" not in url:
        raise ValueError(f"queue_url must be the URL of a queue; got {url!r}")
    return url
