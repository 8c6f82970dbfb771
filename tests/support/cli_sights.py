"""What a socket answers about a consumer that there is none of."""

from __future__ import annotations

from typing import Any


def answer(**stats: Any) -> dict[str, Any]:
    """What a socket answers, of a consumer with these figures."""
    names = "received cleaned dropped released left tombstoned lost abandoned in_flight failed duplicates revived stuck"
    figures: dict[str, Any] = {
        **dict.fromkeys(names.split(), 0),
        "state": "running",
        "fetching": "yes",
        "queue": {},
        **stats,
    }
    lanes = [{"name": "urgent", "priority": 5.0, "waiting": 2, "fetching": "yes"}]
    consumer: dict[str, Any] = {
        "name": "orders",
        "pool": "threads",
        "max_handlers": 1,
        "stats": figures,
        "lanes": lanes,
        "workers": [],
    }
    return {"pid": 7, "consumers": [consumer]}
