"""What goes wrong with jobs, by whose fault it is: of what came, or of what could not be sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from queue_consumer import QueueConsumerError

__all__ = ["BadArguments", "BadMessage", "BatchError", "JobsError", "RefusedCodec", "UnknownJob", "Unsent"]


class JobsError(QueueConsumerError):
    """Whatever this package raises, but for the `ValueError` and `TypeError` of a bad argument."""


class BadMessage(JobsError):
    """What came is no job that could be run. It fails by itself, and stays in its queue."""


class UnknownJob(BadMessage):
    """What came names a job that the registry does not have."""


class RefusedCodec(BadMessage):
    """What came says that it was written by a codec that the registry does not accept."""


class BadArguments(BadMessage):
    """What came does not fit the signature of its function."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """An entry of a batch that was not sent.

    Attributes:
        entry: what was to be sent: the parameters of the queue's `put`.
        error: why it was not.
        hopeless: it would be refused again; otherwise the batch still has it.
    """

    entry: dict[str, Any]
    error: BaseException
    hopeless: bool = False

    def __repr__(self) -> str:  # without the body
        return f"Unsent({self.error!r}{', hopeless' if self.hopeless else ''})"


class BatchError(JobsError):
    """Some jobs of a batch were not sent; the others were.

    Attributes:
        failed: those that were not, each with its reason.
    """

    def __init__(self, failed: Sequence[Unsent]) -> None:
        self.failed = list(failed)
        super().__init__(self.failed)

    def __str__(self) -> str:
        why = self.failed[0].error if self.failed else ""
        return f"{len(self.failed)} jobs of a batch were not sent; the first because of {type(why).__name__}: {why}"
