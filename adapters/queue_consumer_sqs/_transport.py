"""What the adapter needs of whatever carries its calls to the service; there are two of them, `_boto` and `_lean`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypeAlias

from ._cut import Poll

__all__ = ["SQSClient", "TransportName"]

TransportName: TypeAlias = Literal["lean", "boto3"]


class SQSClient(Protocol):
    """Carries calls to the service, from many threads at once. What it raises is what boto3 raises."""

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Make the call of this name, such as `send_message`, as often as the rules for retries have it."""
        ...

    def receive(self, poll: Poll, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """`receive_message`, once; it never waits for a connection behind another call.

        Raises:
            Cut: the poll was cut before its answer was here.
        """
        ...

    def interrupt(self) -> None:
        """Let calls return that wait, where that can be done without cutting them."""
        ...

    def close(self) -> None:
        """Close the connections that no call needs now, and the others as soon as their calls are over."""
        ...
