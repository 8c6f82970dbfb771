"""Batches of receipts, to be deleted or hidden, and what became of each: the service judges every entry by itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from queue_consumer import CleanupError, LeaseLost

from ._errors import SQSError
from ._limits import BATCH_SIZE
from ._message import SQSMessage
from ._send import Fate
from ._steps import Call, Steps

__all__ = ["Judging"]

CALL = BATCH_SIZE.most  # entries of one call
IDS = [str(number) for number in range(CALL)]  # that entries are known by
LONGEST_HOLD = 43_200  # seconds since its receipt that a message can be hidden for, all in all
JOURNEY = 5  # seconds that the answer may have been on its way
GONE = {  # the lease is not ours any more
    "InvalidParameterValue",
    "InvalidReceiptHandle",
    "MessageNotInflight",
    "ReceiptHandleIsInvalid",
}


class Judging:
    """Of the messages of one queue."""

    def __init__(self, url: str) -> None:
        self._url = url

    def delete(self, items: Sequence[SQSMessage]) -> Steps[None]:
        """Delete these; `CleanupError` tells which were not, and why."""
        return self._judged("delete_message_batch", items)

    def hide(self, items: Sequence[SQSMessage], seconds: float) -> Steps[None]:
        """Hide these for so many seconds from now, or for what is left of the 12 hours that AWS allows."""
        return self._judged(
            "change_message_visibility_batch",
            items,
            lambda message: min(math.ceil(seconds), seconds_left(message)),
        )

    def extend(self, items: Sequence[SQSMessage], seconds: float) -> Steps[None]:
        """Hide these for longer; `LeaseLost` tells which are not ours any more."""
        over = [message for message in items if seconds_left(message) <= 0]
        try:
            yield from self.hide([message for message in items if not any(message is other for other in over)], seconds)
        except CleanupError as error:
            if error.failed or error.hopeless:
                raise SQSError(error.reason) from error  # once more, with those that are lost
            over += error.lost
        if over:
            raise LeaseLost(over)

    def _judged(
        self, operation: str, items: Sequence[SQSMessage], hidden: Callable[[SQSMessage], int] | None = None
    ) -> Steps[None]:
        """A call for every ten of these, and what became of each."""
        by_handle: dict[str, list[SQSMessage]] = {}
        for item in items:
            by_handle.setdefault(item.receipt_handle, []).append(item)
        handles = list(by_handle)
        failed: list[SQSMessage] = []
        lost: list[SQSMessage] = []
        hopeless: list[SQSMessage] = []
        why = ""
        cause: SQSError | None = None
        for start in range(0, len(handles), CALL):
            part = handles[start : start + CALL]
            entries: list[dict[str, Any]] = [
                {"Id": number, "ReceiptHandle": handle} for number, handle in zip(IDS, part, strict=False)
            ]
            if hidden is not None:
                for entry in entries:
                    entry["VisibilityTimeout"] = hidden(by_handle[entry["ReceiptHandle"]][0])
            try:
                answer = yield Call(operation, {"QueueUrl": self._url, "Entries": entries})
            except SQSError as error:
                cause, why = error, str(error)
                for handle in part:
                    failed += by_handle[handle]
                continue
            done = {entry.get("Id") for entry in answer.get("Successful") or ()}
            if not answer.get("Failed") and done.issuperset(IDS[: len(part)]):  # as nearly always
                continue
            fates = {entry.get("Id"): Fate.of(entry) for entry in answer.get("Failed") or ()}
            for number, handle in zip(IDS, part, strict=False):
                fate = fates.get(number)
                if fate is None and number in done:
                    continue
                if fate is None:
                    failed += by_handle[handle]
                elif fate.code.rpartition(".")[2] in GONE:
                    lost += by_handle[handle]
                else:
                    (hopeless if fate.sender_fault else failed).extend(by_handle[handle])
                why = why or (f"{fate.code}: {fate.message}" if fate else "the answer does not say")
        if failed or lost or hopeless:
            raise CleanupError(failed, why, lost, hopeless) from cause


def seconds_left(message: SQSMessage) -> int:
    """For how long it can still be hidden."""
    left = LONGEST_HOLD - JOURNEY - (time.time() - message.received_at)
    return max(0, min(math.floor(left), LONGEST_HOLD))
