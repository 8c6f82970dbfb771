"""A receive that can be cut: what it shares with the connection that it goes through."""

from __future__ import annotations

import socket
import ssl
import threading
from typing import Any

__all__ = ["Cut", "Poll", "no_poll"]


class Cut(Exception):
    """The poll was cut."""


_changing_hands = threading.Lock()  # connections, from one poll to the next


class Poll:
    """One receive that may be cut, from any thread, whenever."""

    def __init__(self) -> None:
        self.is_cut = False
        self._connection: Any = None

    def begins(self, connection: Any) -> None:
        """Called by the connection that the call goes through, before anything is sent."""
        with _changing_hands:
            if self.is_cut:
                raise Cut
            self._connection, connection.poll = connection, self

    def cut(self) -> None:
        with _changing_hands:
            self.is_cut = True
            line = getattr(self._connection, "sock", None)
            if line is None or self._connection.poll is not self:  # it may have served another poll since
                return
            try:
                if isinstance(line, ssl.SSLSocket):
                    # Its own shutdown ends the encryption first, and its user may be about to write.
                    socket.socket.shutdown(line, socket.SHUT_RDWR)
                else:
                    line.shutdown(socket.SHUT_RDWR)
            except (OSError, ValueError):
                pass  # it is closed already, or not yet open: then `connected` will see to it

    def connected(self) -> None:
        if self.is_cut:
            raise Cut


def no_poll(connection: Any) -> None:
    """Called by a connection that is used for something else."""
    with _changing_hands:
        connection.poll = None
