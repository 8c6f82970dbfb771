"""Calls of the service, as the rest of the adapter makes them: counted, and with errors of ours.

What carries them, boto3 or something leaner, is chosen here, at the first call.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from ._access import Access
from ._borrowed import Unsupported, borrow
from ._boto import CONNECT_TIMEOUT, READ_TIMEOUT, Boto3, Clients
from ._cut import Cut, Poll
from ._errors import BadCredentials, SQSError
from ._lean import Lean
from ._meter import Meter
from ._translation import translated, translating
from ._transport import SQSClient, TransportName

__all__ = ["Client"]

log = logging.getLogger("queue_consumer.sqs")

DEFAULT: TransportName = "boto3"


class Client:
    """Calls of the service, counted, and their errors as ours."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.meter = Meter()
        self._clients = Clients(access)
        self._boto3 = Boto3(self._clients)
        self._lock = threading.Lock()
        self._lean: Lean | None = None
        self._process = os.getpid()
        self._is_lean = (access.transport or DEFAULT) == "lean"
        if access.client is not None and self._is_lean:
            self._is_lean = False
            if access.transport is not None:
                without_lean("a client that is given")

    @property
    def raw(self) -> Any:
        """The boto3 client."""
        with translating("make a client"):
            return self._clients.work

    @property
    def session(self) -> Any:
        """The boto3 session."""
        with translating("make a client"):
            return self._clients.session

    @property
    def transport(self) -> TransportName:
        """What carries the calls."""
        with translating("make a client"):
            return "boto3" if self._transport is self._boto3 else "lean"

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """A method of a boto3 client, by its name: `call("send_message", QueueUrl=...)`.

        Raises:
            SQSError: of the kind that it is, `from` what boto3 raises.
        """
        try:
            transport = self._transport
            try:
                return transport.call(operation, arguments)
            finally:
                self.meter.count(operation, arguments)
        except (SQSError, Cut):
            raise
        except Exception as error:
            raise self._ours(error, operation.replace("_", " ")) from error

    def receive(self, poll: Poll, **arguments: Any) -> dict[str, Any]:
        """`receive_message`, which may be cut.

        Raises:
            Cut: it was.
        """
        try:
            transport = self._transport
            try:
                answer = transport.receive(poll, arguments)
            finally:
                self.meter.count("receive_message", arguments)
        except (SQSError, Cut):
            raise
        except Exception as error:
            raise self._ours(error, "receive messages") from error
        self.meter.received(answer.get("Messages") or ())
        return answer

    def _ours(self, error: Exception, doing: str) -> SQSError:
        """What went wrong; if it was the credentials, others are looked for at the next call."""
        ours = translated(error, doing)
        if isinstance(ours, BadCredentials):
            self.renew()
        return ours

    @property
    def _transport(self) -> SQSClient:
        if not self._is_lean:
            return self._boto3
        if self._process != os.getpid():  # the connections are the parent's, and so is whoever holds the lock
            self._process, self._lock, self._lean = os.getpid(), threading.Lock(), None
        return self._lean or self._chosen()

    def _chosen(self) -> SQSClient:
        """The lean one, or boto3 where that must do."""
        with self._lock:
            if self._lean is None and self._is_lean:
                clients = self._clients
                try:
                    borrowed = borrow(clients.work, clients.session, self.access)
                    self._lean = Lean(borrowed, connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT)
                except Unsupported as what:
                    self._is_lean = False
                    without_lean(str(what))
            return self._lean or self._boto3

    def renew(self) -> bool:
        """Look for credentials anew at the next call; False if they are those that the user gave."""
        if not self._clients.renew():
            return False
        self._leave()
        return True

    def interrupt(self) -> None:
        """Let calls return that wait in a client which can do that by itself."""
        self._boto3.interrupt()

    def close(self) -> None:
        self._boto3.close()
        self._leave()

    def _leave(self) -> None:
        """Close the lean one, if there is one; the next call makes another."""
        if self._process == os.getpid():
            with self._lock:
                lean, self._lean = self._lean, None
            if lean is not None:
                lean.close()


def without_lean(what: str) -> None:
    log.warning("the lean transport does not support %s; boto3 is used instead", what)
