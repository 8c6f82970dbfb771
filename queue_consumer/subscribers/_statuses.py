"""What subscribers answer, and what the answers of several come to.  Pure.

| one of them says | the message |
|---|---|
| `RETRY_LATER`, or raises `Retry` | is kept, whatever the others say; that is no error |
| `RETRIABLE_ERROR`, or raises what is mapped as retriable | is kept, whatever the others say |
| `FATAL_ERROR`, or raises anything else | is handed to `on_fatal`, then deleted; with `fatal="keep"` it is kept |
| `DONE`, or returns None, or raises `Drop` | is deleted |
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Action", "Answer", "Outcome", "ProcessStatus", "outcome_of"]

Action: TypeAlias = Literal["delete", "drop", "keep"]


class ProcessStatus(enum.Enum):
    """What a subscriber says of a payload."""

    DONE = "done"
    RETRY_LATER = "retry later"
    FATAL_ERROR = "fatal error"
    RETRIABLE_ERROR = "retriable error"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one subscriber said: by what it returned or raised.

    Attributes:
        subscriber: its name.
        status: what it comes to.
        error: why, for an error.
        delay: seconds that it asked for before the next try; None: it did not.
        dropped: it raised `Drop`.
        skipped: it had succeeded with this message before.
    """

    subscriber: str
    status: ProcessStatus
    error: BaseException | None = None
    delay: float | None = None
    dropped: bool = False
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a message.

    Attributes:
        action: "delete" it; "drop" it, which deletes it and counts it apart; "keep" it.
        delay: seconds before it is seen again, if a subscriber asked for so many.
        error: why it is kept; None if that is no error.
        answers: of all subscribers that were asked.
        reason: in words.
    """

    action: Action
    delay: float | None = None
    error: BaseException | None = None
    answers: tuple[Answer, ...] = field(default=())
    reason: str = ""


def outcome_of(answers: Iterable[Answer], *, keep_fatal: bool) -> Outcome:
    """What several answers come to."""
    given = tuple(answers)
    if all(answer.status is ProcessStatus.DONE and not answer.dropped for answer in given):
        return Outcome("delete", None, None, given, "done")
    by_status: dict[ProcessStatus, list[Answer]] = {}
    for answer in given:
        by_status.setdefault(answer.status, []).append(answer)
    retriable = by_status.get(ProcessStatus.RETRIABLE_ERROR, [])
    fatal = by_status.get(ProcessStatus.FATAL_ERROR, [])
    later = by_status.get(ProcessStatus.RETRY_LATER, [])
    if retriable:
        return Outcome("keep", None, retriable[0].error, given, "retriable error")
    if later:
        delays = [answer.delay for answer in later if answer.delay is not None]
        return Outcome("keep", min(delays, default=None), None, given, "retry later")
    if fatal:
        return Outcome("keep" if keep_fatal else "drop", None, fatal[0].error, given, "fatal error")
    return Outcome("drop", None, None, given, "done")
