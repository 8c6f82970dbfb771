"""What a service manager is told: that we run, that we stop, that we are alive. By the protocol of `sd_notify`."""

from __future__ import annotations

import logging
import os
import socket
import time

__all__ = ["Service"]

log = logging.getLogger("queue_consumer.cli")


class Service:
    """Tells the socket in `$NOTIFY_SOCKET`, and nobody where there is none.

    With `$WATCHDOG_USEC`, `beat` says twice in that time that we are alive; once it is not called for so long, systemd
    kills and restarts us.
    """

    def __init__(self) -> None:
        # A child of ours is not who systemd waits for.
        self._path = os.environ.pop("NOTIFY_SOCKET", "")
        self._every = int(os.environ.pop("WATCHDOG_USEC", "0") or 0) / 1e6 / 2
        self._beaten = 0.0

    @property
    def beats(self) -> bool:
        return bool(self._path and self._every)

    def tell(self, *facts: str) -> None:
        """`READY=1`, `STOPPING=1`, `STATUS=…`"""
        if not self._path:
            return
        path = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.sendto("\n".join(facts).encode(), path)
        except OSError as error:
            log.warning("the service manager at %s was not told: %s", self._path, error)
            self._path = ""

    def beat(self, alive: bool) -> None:
        """Say that we are alive, if it is time to and we are."""
        if self.beats and alive and time.monotonic() - self._beaten >= self._every:
            self._beaten = time.monotonic()
            self.tell("WATCHDOG=1")
