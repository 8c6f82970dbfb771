"""A publisher to queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from queue_consumer.subscribers import encode

from ._access import ReachOptions
from ._aws import Client
from ._limits import BATCH_BYTES
from ._publishing import BinaryEncoding, Publisher, as_entry, encoding_of, raw_of
from ._send import Calls

__all__ = ["SqsPublisher", "check_url"]


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
        content_type: bool = True,
        log_bodies: bool = False,
        **reached_by: Unpack[ReachOptions],
    ) -> None:
        super().__init__(aws_access_key_id, aws_secret_access_key, region_name, content_type, log_bodies, reached_by)
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


def check_url(url: Any) -> str:
    if not isinstance(url, str) or "://" not in url:
        raise ValueError(f"queue_url must be the URL of a queue; got {url!r}")
    return url
