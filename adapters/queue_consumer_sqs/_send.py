"""Sending: entries checked, packed into as few calls as AWS allows, and each one's fate told.

Nothing is sent before everything is checked. What SQS fails through no fault of ours is tried again; what it fails
for good does not keep the others back, but for what follows it in its message group.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple, Protocol, cast

from ._errors import (
    AccessDenied,
    BadCredentials,
    FailedEntry,
    InvalidRequest,
    NotInstalled,
    QueueNotFound,
    SendError,
    SQSError,
    Throttled,
    Unreachable,
)
from ._limits import (
    BATCH_BYTES,
    BATCH_SIZE,
    DATA_TYPE,
    DELAY,
    MESSAGE_BYTES,
    check_attribute_names,
    check_body,
    check_number,
    check_text,
    check_token,
)
from ._translation import error_kind

__all__ = ["Calls", "Caller", "Fate", "Outcome", "Sender", "batches", "entry_of", "size_of"]

GROUP = "default"  # of what is put into a FIFO queue without one
RETRIES = (0.1, 0.2, 0.4)  # seconds before each further attempt at entries that failed through no fault of ours
HOPELESS = (AccessDenied, BadCredentials, NotInstalled, QueueNotFound)  # the next call would fail too
GIVEN_UP_AFTER = 2  # calls in a row that did not reach the service: each takes its time
OURS = {"InvalidMessageContents", "InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid"}  # whatever
#   the answer says: not every server that speaks SQS says whose fault it was
HELD_BACK = "HeldBack"  # our own code, of an entry whose message group an earlier entry has stopped
PARAMETERS = {"attributes", "body", "deduplication_id", "delay", "group"}

Entry = Mapping[str, Any]


class Caller(Protocol):
    """A method of a boto3 client, called by its name; errors are `SQSError`s."""

    def __call__(self, operation: str, **arguments: Any) -> dict[str, Any]: ...


# ---------------------------------------------------------------------- entries


def entry_of(
    body: str,
    delay: float = 0,
    group: str | None = None,
    deduplication_id: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    *,
    fifo: bool,
) -> dict[str, Any]:
    """What these arguments of `put` are on the wire.

    Args:
        body: the text.
        delay: seconds before it is seen, up to 900. A FIFO queue has no delays of messages, only one of its own.
        group: the message group; `default` on a FIFO queue unless given. On a standard queue it makes it a fair one.
        deduplication_id: passed on if given.
        attributes: up to 10. A str is a String, a number a Number, bytes are Binary; a mapping with a DataType is
            taken as it is.

    Raises:
        TypeError, ValueError: SQS would not take it.
    """
    entry: dict[str, Any] = {"MessageBody": check_body(body)}
    seconds = DELAY.check(delay)
    if seconds and fifo:
        raise ValueError(
            f"delay must be 0 on a FIFO queue, which delays all of its messages or none (create it with a delay); "
            f"got {delay!r}"
        )
    if seconds:
        entry["DelaySeconds"] = seconds
    if group is None and fifo:
        group = GROUP
    if group is not None:
        entry["MessageGroupId"] = check_token(group, "group")
    if deduplication_id is not None:
        entry["MessageDeduplicationId"] = check_token(deduplication_id, "deduplication_id")
    if attributes:
        named = check_attribute_names(attributes)
        entry["MessageAttributes"] = {name: typed(value, f"attributes: {name}") for name, value in named.items()}
    size = size_of(entry)
    if size > MESSAGE_BYTES:
        raise ValueError(
            f"body and attributes must have at most {MESSAGE_BYTES} bytes together, names and types included; "
            f"got {size}"
        )
    return entry


def typed(value: Any, parameter: str) -> dict[str, Any]:
    """An attribute as SQS types it."""
    if isinstance(value, Mapping):
        return typed_already(cast("Mapping[str, Any]", value), parameter)
    if isinstance(value, str):
        return {"DataType": "String", "StringValue": check_text(value, parameter)}
    if isinstance(value, (bytes, bytearray)):
        return {"DataType": "Binary", "BinaryValue": check_bytes(bytes(value), parameter)}
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        return {"DataType": "Number", "StringValue": check_number(value, parameter)}
    raise TypeError(
        f"{parameter} must be a str, a number, bytes, or a mapping with a DataType and a StringValue or BinaryValue; "
        f"got {value!r}"
    )


def typed_already(value: Mapping[str, Any], parameter: str) -> dict[str, Any]:
    kind = value.get("DataType")
    if not isinstance(kind, str) or not DATA_TYPE.fullmatch(kind) or len(kind) > 256:
        raise ValueError(
            f"{parameter} must have a DataType of String, Number or Binary, alone or with a period and a label of its "
            f"own, up to 256 characters; got {kind!r}"
        )
    key = "BinaryValue" if kind.startswith("Binary") else "StringValue"
    content = value.get(key)
    if key == "BinaryValue" and isinstance(content, (bytes, bytearray)):
        return {"DataType": kind, key: check_bytes(bytes(content), parameter)}
    if key == "StringValue" and isinstance(content, str):
        return {"DataType": kind, key: check_text(content, parameter)}
    raise TypeError(
        f"{parameter} must have a {key} that is {'bytes' if key == 'BinaryValue' else 'a str'}, since its DataType is "
        f"{kind}; got {content!r}"
    )


def check_bytes(value: bytes, parameter: str) -> bytes:
    if not value:
        raise ValueError(f"{parameter} must not be empty: SQS has no empty attributes")
    return value


def size_of(entry: Entry) -> int:
    """The bytes of an entry as AWS counts them: of its body, and of the names, types and values of its attributes."""
    size = len(entry["MessageBody"].encode())
    for name, value in entry.get("MessageAttributes", {}).items():
        content = value["BinaryValue"] if "BinaryValue" in value else value["StringValue"].encode()
        size += len(name.encode()) + len(value["DataType"].encode()) + len(content)
    return size


def batches(entries: Iterable[Entry]) -> Iterator[list[dict[str, Any]]]:
    """The entries in as few calls as may be, in their order: 10, or 1 MiB, whichever is first.

    The `Id` of each is its position among all of them.
    """
    batch: list[dict[str, Any]] = []
    room = BATCH_BYTES
    for position, entry in enumerate(entries):
        size = size_of(entry)
        if batch and (len(batch) == BATCH_SIZE.most or size > room):
            yield batch
            batch, room = [], BATCH_BYTES
        batch.append({"Id": str(position), **entry})
        room -= size
    if batch:
        yield batch


# ---------------------------------------------------------------------- calls

Batch = Sequence[dict[str, Any]]  # what goes into one call; each entry has an Id, unique among all batches


class Fate(NamedTuple):
    """Why an entry was not taken; the last three of a `FailedEntry`."""

    code: str
    message: str
    sender_fault: bool

    @classmethod
    def of(cls, failure: Mapping[str, Any]) -> Fate:
        code = str(failure.get("Code", ""))
        ours = bool(failure.get("SenderFault")) or code.rpartition(".")[2] in OURS
        ours = ours and error_kind(code) not in (Throttled, Unreachable)  # which are nobody's fault, whatever is said
        return cls(code, str(failure.get("Message") or code), ours)


UNTOLD = Fate("NotConfirmed", "SQS said neither that it took this entry nor that it did not", False)


@dataclass
class Outcome:
    """What became of the entries, by their Ids.

    Attributes:
        done: what SQS answered for each that it took.
        failed: why it did not take the others.
        error: the last that failed a whole call.
        over: why no more calls are made.
    """

    done: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    failed: dict[str, Fate] = field(default_factory=dict[str, Fate])
    error: SQSError | None = None
    over: SQSError | None = None


class Calls:
    """A call for every batch, come what may of the others, and a record of what became of each entry.

    Entries that failed through no fault of ours are tried again a few times. A call that failed as a whole has been
    tried again by boto3; its entries are then tried one by one if SQS did not like it, since that may be because of
    one of them. Where the next call would fail too, as without permission, no more are made.

    Args:
        ordered: after an entry has failed for good, what is yet to be sent of its message group is held back.
        pause: called with the seconds before another attempt.
    """

    def __init__(
        self,
        call: Caller,
        operation: str,
        url: str,
        *,
        ordered: bool = False,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self.outcome = Outcome()
        self._call = call
        self._operation = operation
        self._url = url
        self._ordered = ordered
        self._pause = pause
        self._stopped: set[str] = set()  # message groups
        self._unreached = 0  # calls in a row

    def make(self, packed: Iterable[Batch]) -> Outcome:
        for batch in packed:
            self._batch(batch)
        return self.outcome

    def _batch(self, batch: Batch) -> None:
        left = [entry for entry in batch if not self._held_back(entry)]
        fates: dict[str, Fate] = {}
        for wait in (*RETRIES, None):
            if not left:
                return
            try:
                answer = self._call(self._operation, QueueUrl=self._url, Entries=left)
            except SQSError as error:
                self._failed_whole(left, error)
                return
            self._unreached = 0
            left, fates = self._judged(left, answer)
            if left and wait is not None:
                self._pause(wait)
        for entry in left:
            self._fail(entry, fates[entry["Id"]])

    def _held_back(self, entry: dict[str, Any]) -> bool:
        """Whether it is not to be sent, which is noted."""
        over, group = self.outcome.over, entry.get("MessageGroupId")
        if over is not None:
            self._fail(entry, Fate(over.code, f"not tried, since before it {over}", False))
        elif group in self._stopped:
            words = f"not tried, since an earlier entry of message group {group!r} was not sent"
            self._fail(entry, Fate(HELD_BACK, words, False))
        else:
            return False
        return True

    def _judged(self, sent: Batch, answer: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Fate]]:
        """Note what was taken and what failed for good; return what to try again, and why that failed."""
        done = {entry["Id"]: entry for entry in answer.get("Successful") or ()}
        fates = {entry["Id"]: Fate.of(entry) for entry in answer.get("Failed") or ()}
        again: list[dict[str, Any]] = []
        for entry in sent:
            if entry["Id"] in done:
                self.outcome.done[entry["Id"]] = done[entry["Id"]]
            elif fates.setdefault(entry["Id"], UNTOLD).sender_fault:
                self._fail(entry, fates[entry["Id"]])
            else:
                again.append(entry)
        return again, fates

    def _failed_whole(self, batch: Batch, error: SQSError) -> None:
        self.outcome.error = error
        if isinstance(error, InvalidRequest) and len(batch) > 1:
            for entry in batch:
                self._batch([entry])
            return
        self._unreached = self._unreached + 1 if isinstance(error, Unreachable) else 0
        if isinstance(error, HOPELESS) or self._unreached == GIVEN_UP_AFTER:
            self.outcome.over = error
        for entry in batch:
            self._fail(entry, Fate(error.code, str(error), isinstance(error, InvalidRequest)))

    def _fail(self, entry: dict[str, Any], fate: Fate) -> None:
        self.outcome.failed[entry["Id"]] = fate
        if self._ordered:
            self._stopped.add(entry["MessageGroupId"])


class Sender:
    """Puts messages into one queue.

    Args:
        call: see `Caller`.
        url: of the queue.
        fifo: whether it is a FIFO queue.
        pause: called with the seconds before another attempt.
    """

    def __init__(self, call: Caller, url: str, fifo: bool, *, pause: Callable[[float], object] = time.sleep) -> None:
        self.url = url
        self.fifo = fifo
        self._call = call
        self._pause = pause

    def put(
        self,
        body: str,
        *,
        delay: float = 0,
        group: str | None = None,
        deduplication_id: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """Put one message in, and return its id; see `entry_of` for what may be passed.

        Raises:
            SQSError: it was not sent, or, if `Unreachable`, perhaps not.
        """
        entry = entry_of(body, delay, group, deduplication_id, attributes, fifo=self.fifo)
        return str(self._call("send_message", QueueUrl=self.url, **entry)["MessageId"])

    def put_many(self, entries: Iterable[Mapping[str, Any]]) -> list[str]:
        """Put many in, in as few calls as may be, and return their ids in order.

        Everything is checked before anything is sent. On a FIFO queue an entry that failed stops its message group,
        so that what was sent of it is in order; this holds between calls, and not for the up to 10 of one call.

        Args:
            entries: each maps `put`'s parameters to its arguments.

        Raises:
            TypeError, ValueError: an entry that SQS would not take; nothing was sent.
            SendError: some were not sent, each with its reason; the others were.
            SQSError: nothing was sent, for one and the same reason, as without permission.
        """
        given = list(entries)
        packed = batches([self._checked(position, entry) for position, entry in enumerate(given)])
        calls = Calls(self._call, "send_message_batch", self.url, ordered=self.fifo, pause=self._pause)
        outcome = calls.make(packed)
        if outcome.over is not None and not outcome.done:
            raise outcome.over
        ids = {int(id): str(answer["MessageId"]) for id, answer in outcome.done.items()}
        sent = [ids[position] for position in sorted(ids)]
        if outcome.failed:
            failed = [FailedEntry(given[int(id)], *outcome.failed[id]) for id in sorted(outcome.failed, key=int)]
            raise SendError(failed, sent) from outcome.error
        return sent

    def _checked(self, position: int, entry: Any) -> dict[str, Any]:
        if not isinstance(entry, Mapping) or "body" not in entry:
            raise TypeError(
                f"put_many: entry {position} must map put's parameters to its arguments, body among them; got {entry!r}"
            )
        arguments = dict(cast("Mapping[str, Any]", entry))
        unknown = sorted(set(arguments) - PARAMETERS, key=str)
        if unknown:
            raise TypeError(
                f"put_many: entry {position} must have no keys but {', '.join(sorted(PARAMETERS))}; got {unknown[0]!r}"
            )
        try:
            return entry_of(**arguments, fifo=self.fifo)
        except (TypeError, ValueError) as error:
            raise type(error)(f"put_many: entry {position}: {error}") from None
