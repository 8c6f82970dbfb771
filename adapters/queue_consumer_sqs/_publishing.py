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

from queue_consumer.subscribers import Encoded

from ._access import Access, ReachOptions
from ._errors import FailedEntry, SendError
from ._limits import BATCH_SIZE
from ._send import Calls, entry_of, size_of

__all__ = ["BinaryEncoding", "PublishEntry", "Publisher", "as_entry", "encoding_of", "raw_of"]

log = logging.getLogger("queue_consumer.sqs.publish")

BinaryEncoding: TypeAlias = bool | Literal["bson", "zlib"]
"""False: JSON. True, as in sqs-mega, or "bson": BSON in base64. "zlib": compressed JSON in base64, which is shorter."""

CONTENT_TYPE = "Content-Type"


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
        content_type: bool,
        log_bodies: bool,
        reached_by: ReachOptions,
    ) -> None:
        for name, flag in (("content_type", content_type), ("log_bodies", log_bodies)):
            given: Any = flag
            if not isinstance(given, bool):
                raise TypeError(f"{name} must be True or False; got {given!r}")
        self._access = Access.of(
            type(self).__name__,
            reached_by,
            ReachOptions,
            region=region_name,
            access_key_id=aws_access_key_id,
            secret_access_key=aws_secret_access_key,
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
