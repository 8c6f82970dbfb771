"""What this adapter raises: AWS's errors, each as a kind that says who must act. The original is the `__cause__`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from queue_consumer import BackendError

__all__ = [
    "AccessDenied",
    "BadCredentials",
    "FailedEntry",
    "InvalidRequest",
    "NotInstalled",
    "QueueNotFound",
    "SQSError",
    "SendError",
    "Throttled",
    "Unreachable",
]


class SQSError(BackendError):
    """The service refused or failed a call.

    Attributes:
        code: AWS's error code, or the name of the exception if the service was not reached.
    """

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message, code)
        self.message, self.code = message, code

    def __str__(self) -> str:
        return self.message


class QueueNotFound(SQSError):
    """There is no such queue, in this region and account, or none that these credentials may see."""


class AccessDenied(SQSError):
    """The credentials are good, and do not allow this."""


class BadCredentials(SQSError):
    """There are no credentials, or they are wrong or have expired; or no region was given."""


class Throttled(SQSError):
    """The service wants fewer calls."""


class Unreachable(SQSError):
    """The service was not reached, did not answer in time, or had an error of its own."""


class InvalidRequest(SQSError):
    """The service did not like the arguments."""


class NotInstalled(SQSError):
    """A library that this needs is not installed."""


class FailedEntry(NamedTuple):
    """One entry of a batch that the service did not take.

    Attributes:
        entry: what was to be sent, as it was given; of a receipt, the message.
        code: AWS's error code.
        message: its words.
        sender_fault: trying again is of no use.
    """

    entry: Any
    code: str
    message: str
    sender_fault: bool


class SendError(SQSError):
    """Some entries were not sent; the others were.

    Attributes:
        failed: those that were not, with AWS's reasons.
        sent: the message ids of those that were, in their order.
    """

    def __init__(self, failed: Sequence[FailedEntry], sent: Sequence[str] = ()) -> None:
        self.failed, self.sent = list(failed), list(sent)
        first = self.failed[0] if self.failed else None
        why = f"; the first because of {first.code}: {first.message}" if first else ""
        super().__init__(
            f"{len(self.failed)} of {len(self.failed) + len(self.sent)} messages were not sent{why}",
            first.code if first else "",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.failed, self.sent)
