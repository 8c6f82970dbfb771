"""Functions of one item that a child process can import."""

from __future__ import annotations

from typing import Any

from queue_consumer import each


def plain(item: int) -> None:
    """Handle one item."""


class Keyed:
    """A function of one item that knows what its items are ordered by."""

    def __call__(self, item: Any) -> None:
        """Handle one item of a group."""

    @staticmethod
    def key(item: Any) -> Any:
        return item.group


keyed = Keyed()


@each
def decorated(item: int) -> None:
    """Handle one item."""


@each
async def decorated_async(item: int) -> None:
    """Handle one item."""
