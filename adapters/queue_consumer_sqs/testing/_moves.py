"""Message move tasks: dead letters on their way back, at once or at a rate.

A task has no thread. What it should have moved until now is moved whenever somebody looks.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from ._message import Place
from ._queue import Queue
from ._refusals import Refused, invalid, unsupported

__all__ = ["Move", "Moves", "Status"]


class Status(StrEnum):
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"


class Move:
    """One task."""

    def __init__(self, source: Queue, target: Queue | None, rate: int | None, now: float, to_move: int) -> None:
        self.handle = uuid.uuid4().hex
        self.source, self.target, self.rate, self.started = source, target, rate, now
        self.to_move = to_move
        self.moved = 0
        self.status = Status.RUNNING
        self.reason: str | None = None

    def next_due(self) -> float:
        """When the next message is to be moved."""
        if self.status is not Status.RUNNING:
            return math.inf
        return self.started + (self.moved + 1) / self.rate if self.rate else -math.inf

    def go_on(self, now: float, find: Callable[[str], Queue | None]) -> None:
        """Move what should have been moved until now."""
        self.source.settle(now)
        while self.moved < self.to_move and self.next_due() <= now:
            if self.source.deleted or (self.target and self.target.deleted):
                self._end(Status.FAILED, "AWS.SimpleQueueService.NonExistentQueue")
            else:
                self._move(now, find)
        if self.moved == self.to_move and self.status is Status.RUNNING:
            self._end(Status.COMPLETED)

    def shown(self, milliseconds: Callable[[float], str]) -> dict[str, Any]:
        """What is told of it."""
        answer: dict[str, Any] = {
            "TaskHandle": self.handle if self.status is Status.RUNNING else None,
            "Status": str(self.status),
            "SourceArn": self.source.arn,
            "DestinationArn": self.target.arn if self.target else None,
            "MaxNumberOfMessagesPerSecond": self.rate,
            "ApproximateNumberOfMessagesMoved": self.moved,
            "ApproximateNumberOfMessagesToMove": self.to_move,
            "FailureReason": self.reason,
            "StartedTimestamp": int(milliseconds(self.started)),
        }
        return {name: value for name, value in answer.items() if value is not None}

    def cancel(self) -> None:
        self._end(Status.CANCELLED)

    def _move(self, now: float, find: Callable[[str], Queue | None]) -> None:
        message = self.source.pull()
        if message is None:  # others have received them
            self._end(Status.COMPLETED)
            return
        target = self.target or (find(message.source) if message.source else None)
        if target is None:
            self.source.adopt(message, message.sent, now, id=message.id, source=message.source)
            self._end(Status.FAILED, "CouldNotDetermineMessageSource")
            return
        # For the queue that it comes to, it is a new one.
        target.adopt(message, now, now, id=str(uuid.uuid4()), source=None)
        self.moved += 1

    def _end(self, status: Status, reason: str | None = None) -> None:
        self.status, self.reason = status, reason


class Moves:
    """All tasks of an account."""

    def __init__(self, find: Callable[[str], Queue | None]) -> None:
        self._find = find
        self._moves: list[Move] = []  # the latest last

    def next_due(self) -> float:
        return min((move.next_due() for move in self._moves), default=math.inf)

    def settle(self, now: float) -> None:
        """Do what was due until now."""
        for move in self._moves:
            if move.next_due() <= now:
                move.go_on(now, self._find)

    def start(self, source: Queue, target: Queue | None, rate: int | None, now: float) -> Move:
        """Begin to move all that can be seen in the source now."""
        if any(move.source is source and move.status is Status.RUNNING for move in self._moves):
            raise unsupported(
                "There is already a task running. Only one active task is allowed for a source queue arn."
            )
        if target is not None and target.settings.fifo != source.settings.fifo:
            raise invalid("Source queue and destination queue must be of the same type.")
        if target is source:
            raise invalid("Source queue arn and destination queue arn cannot be the same.")
        move = Move(source, target, rate, now, source.count(Place.VISIBLE))
        self._moves.append(move)
        move.go_on(now, self._find)
        return move

    def of(self, source: Queue) -> list[Move]:
        """The tasks of this queue, the latest first."""
        return [move for move in reversed(self._moves) if move.source is source]

    def cancel(self, handle: str) -> int:
        """Move no more; how many were moved."""
        move = next((move for move in self._moves if move.handle == handle), None)
        if move is None:
            raise Refused("ResourceNotFoundException", "Task does not exist.")
        if move.status is not Status.RUNNING:
            raise unsupported("Only active tasks can be cancelled.")
        move.cancel()
        return move.moved
