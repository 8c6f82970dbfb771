"""What a queue's calls come to: how many of each kind, per message, in vain, and about how much money."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Meter"]

PRICE, PRICE_FIFO = 0.40e-6, 0.50e-6  # US dollars per request, in us-east-1, after the free million
CHUNK = 64 * 1024  # bytes of a payload that are billed as one request


class Meter:
    """Counts the calls made for one queue, by whatever thread."""

    def __init__(self, *, fifo: bool = False) -> None:
        self.fifo = fifo
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._requests = 0  # as they are billed
        self._messages = self._empty = 0

    def count(self, operation: str, arguments: Mapping[str, Any]) -> None:
        """One call was made, whether or not it succeeded."""
        size = sum(map(size_of, arguments.get("Entries", (arguments,)))) if operation.startswith("send_") else 0
        with self._lock:
            self._calls[operation] += 1
            self._requests += max(1, -(-size // CHUNK))

    def received(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """One receive was answered."""
        size = sum([len(message.get("Body", "")) for message in messages])
        with self._lock:
            self._messages += len(messages)
            self._empty += not messages
            self._requests += max(0, -(-size // CHUNK) - 1)

    def stats(self) -> dict[str, Any]:
        """The figures.

        `calls` by kind; `received` messages; `calls_per_message`; `empty_receives`, the share of receives that brought
        nothing; `dollars`, an estimate at AWS's list price, free tier and data transfer left out.
        """
        with self._lock:
            calls, messages, receives = dict(self._calls), self._messages, self._calls["receive_message"]
            empty, requests = self._empty, self._requests
        total = sum(calls.values())
        return {
            "calls": calls,
            "received": messages,
            "calls_per_message": total / messages if messages else None,
            "empty_receives": empty / receives if receives else None,
            "dollars": requests * (PRICE_FIFO if self.fifo else PRICE),
        }


def size_of(entry: Mapping[str, Any]) -> int:
    """Of a message to be sent."""
    body = entry.get("MessageBody")
    return len(body) if isinstance(body, str) else 0  # others are refused by whoever sends it
