"""Work that takes 0 to 5 ms an item, in the order of keys: what a number of keys allows to run side by side.

The same as Confluent's Parallel Consumer publishes of itself, but for the number of items.
"""

from __future__ import annotations

import functools

import workloads
from contender import Contender, Sample
from throughput import consume

TOPIC = "keys"
HANDLERS = 64
NO_KEYS = f"{TOPIC}: none"
MOST = 20_000


def keyed(items: int, *, count: int) -> Sample:
    key = (lambda item: item % count) if count else None
    return consume(items, handler=workloads.work, pool="threads", max_handlers=HANDLERS, key=key)


def _contender(name: str, count: int, items: int) -> Contender:
    return Contender(
        topic=TOPIC,
        kind="ours",
        name=name,
        measure=functools.partial(keyed, count=count),
        items=items,
        few=min(items, 200),
    )


CONTENDERS = [
    *(_contender(f"{count:,}", count, min(400 * count, MOST)) for count in (1, 10, 100, 1_000)),
    _contender("none", 0, MOST),
]
