"""The way back from a dead-letter queue, message by message, for any queue.

(Where the queue is SQS, the service can do it by itself: `SQS.redrive`. To handle dead letters where they are, give
their queue to a consumer, with the same registry.)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from queue_consumer import Consumer, Idle, Receipts, Report, Retry, Stats

from ._options import Options
from ._outlet import Entry, Outlet, carried_out

__all__ = ["PushBack", "push_back"]

BULK = 10
log = logging.getLogger("queue_consumer.jobs")


class PushBack:
    """A handler that puts what it gets into another queue: body, attributes, message group.

    Each message gets a deduplication id of its own where its queue is FIFO, made of its id: that of the first sending
    would make the service take it for one that it has had, within five minutes, and lose it. If the same dead letter
    is pushed back twice, since its deletion failed, the second is taken for the first.

    Args:
        upstream: where to: any object with `put`.
        delay: seconds before they can be seen there. FIFO queues know no delay.
        progress: called with how many have gone back so far, after each group.

    Attributes:
        moved: how many have gone back.
    """

    receipt = "explicit"

    def __init__(self, upstream: Any, *, delay: float = 0, progress: Callable[[int], object] | None = None) -> None:
        Options(delay)  # a mistake shows here
        if progress is not None and not callable(progress):
            raise TypeError(f"PushBack: progress must be callable with a number, or None; got {progress!r}")
        self.moved = 0
        self._outlet = Outlet(upstream)
        self._delay = delay
        self._progress = progress

    def __call__(self, items: Receipts[Any]) -> None:
        group: list[tuple[Any, Entry]] = []
        for item in items:
            group.append((item, self._entry(item)))
            if len(group) == BULK:
                self._send(items, group)
                group = []
        if group:
            self._send(items, group)

    def _entry(self, item: Any) -> Entry:
        entry: Entry = {"body": getattr(item, "body", item)}
        attributes: Mapping[str, Any] | None = getattr(item, "raw_attributes", None) or getattr(
            item, "attributes", None
        )
        if attributes:
            entry["attributes"] = dict(attributes)
        if self._delay:
            entry["delay"] = self._delay
        group = getattr(item, "group", None)
        if group is not None:
            entry["group"] = group
            entry["deduplication_id"] = f"again-{item.id}"
        return self._outlet.fitting(entry)

    def _send(self, items: Receipts[Any], group: list[tuple[Any, Entry]]) -> None:
        unsent = carried_out(self._outlet.putting_many([entry for _, entry in group]))
        failed = {id(one.entry): one.error for one in unsent}
        for item, entry in group:
            if id(entry) in failed:
                about = f"message {getattr(item, 'id', '?')} is not back"
                items.fail(item, error=Retry(error=failed[id(entry)], about=about))
            else:
                items.ack(item)
        self.moved += len(group) - len(unsent)
        if self._progress is not None:
            self._progress(self.moved)


def push_back(
    dead: Any,
    upstream: Any,
    *,
    delay: float = 0,
    progress: Callable[[int], object] | None = None,
    stop_when: Callable[[Stats], bool] | None = None,
    **options: Any,
) -> Report:
    """Put every message of a dead-letter queue back into the queue that it came from, and return when none is left.

    Args:
        dead: the queue of dead letters.
        upstream: where to.
        delay, progress: see `PushBack`.
        stop_when: None: when nothing has come for a second.
        options: of the `Consumer` that does it.
    """
    handler = PushBack(upstream, delay=delay, progress=progress)
    settings: dict[str, Any] = {"max_handlers": 1, "messages_bulk_size": BULK, "owns_queue": False, **options}
    return Consumer(dead, handler, stop_when=Idle(1) if stop_when is None else stop_when, **settings).run()
