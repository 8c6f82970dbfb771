"""Where messages go that failed for good, before they are deleted: a queue, a file, or any callable of your own."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from queue_consumer import Failure

from ._received import Received

__all__ = ["DeadLetters", "FatalFailure", "FatalSink", "ToFile"]


@dataclass(frozen=True, slots=True)
class FatalFailure:
    """What one subscriber failed of. Of a message that cannot be decoded, `subscriber` is "decoding"."""

    subscriber: str
    failure: Failure


class FatalSink(Protocol):
    """What `on_fatal` is: when it has returned, the message is deleted; when it raises, the message is kept."""

    def __call__(self, message: Received, failures: Sequence[FatalFailure], /) -> object: ...


class SupportsPut(Protocol):
    def put(self, body: Any, *, attributes: Mapping[str, Any] | None = None) -> Any: ...


class DeadLetters:
    """Puts the message, with its attributes, into another queue; what it failed of goes along where there is room.

    Args:
        queue: anything with the verb `put`.
        reason: the name of the attribute that says why; None: none is added.
        most: attributes that a message may have there.
    """

    def __init__(self, queue: SupportsPut, *, reason: str | None = "Failure", most: int = 10) -> None:
        if not callable(getattr(queue, "put", None)):
            raise TypeError(f"DeadLetters: queue must have put(body, attributes=…); got {queue!r}")
        self.queue = queue
        self.reason = reason
        self.most = most

    def __call__(self, message: Received, failures: Sequence[FatalFailure], /) -> None:
        # In an SNS envelope the attributes are those of the publisher, and travel in the body.
        attributes = {} if message.embedded_message is not None else dict(message.attributes)
        if self.reason is not None and failures and len(attributes) < self.most:
            why = f"{failures[0].subscriber}: {failures[0].failure.kind}"
            attributes[self.reason] = why.encode("ascii", "replace").decode("ascii")[:250]
        self.queue.put(message.body, attributes=attributes or None)


class ToFile:
    """Appends a line of JSON for each message to a file, and sees that it is on the disk.

    Threads take turns; processes append to the same file.

    Args:
        path: of the file; it need not be there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return ToFile, (self.path,)

    def __call__(self, message: Received, failures: Sequence[FatalFailure], /) -> None:
        record = {
            "at": datetime.now(UTC).isoformat(),
            "id": message.message_id,
            "body": message.body,
            "attributes": dict(message.attributes),
            "failures": [{"subscriber": one.subscriber, **failure_of(one.failure)} for one in failures],
        }
        line = (json.dumps(record, default=in_words) + "\n").encode("utf-8")
        with self._lock:
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(file, line)
                os.fsync(file)
            finally:
                os.close(file)


def failure_of(failure: Failure) -> dict[str, str]:
    return {"kind": failure.kind, "message": failure.message, "traceback": failure.traceback}


def in_words(value: Any) -> Any:
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return repr(value)
