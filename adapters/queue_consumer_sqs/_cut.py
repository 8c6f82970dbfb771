"""A receive that can be cut: what it shares with the connection that it goes through."""

from __future__ import annotations

import socket
import threading
from typing import Any

__all__ = ["Cut", "Poll"]


class Cut(Exception):
    """The poll was cut."""


class Poll:
    """One receive that may be cut, from any thread, whenever."""

    def __init__(self) -> None:
        self.is_cut = False
        self._connection: Any = None
        self._lock = threading.Lock()

    def begins(self, connection: Any) -> None:
        """Called by the connection that the call goes through, before anything is sent."""
        with self._lock:
            self._connection = connection
            if self.is_cut:
                raise Cut

    def cut(self) -> None:
        with self._lock:
            self.is_cut = True
            line = getattr(self._connection, "sock", None)
        if line is not None:
            try:
                line.shutdown(socket.SHUT_RDWR)
            except (OSError, ValueError):
                pass  # it is closed already, or not yet open: then `begins` or `connected` will see to it

    def connected(self) -> None:
        if self.is_cut:
            raise Cut
