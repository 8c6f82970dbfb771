"""The web page of `run --dashboard`: one file, served on loopback, fed by server-sent events.

Anybody who can reach it may look. Who wants to pause or resize needs the token, which is new at every start and part of
the address that is logged. Requests under another host name, or from another page, are refused (`_http`), so that no
page from elsewhere can look through a browser of this machine.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from ._chronicle import Chronicle
from ._http import Page, Server, Where, url_of
from ._socket import Socket, look
from ._target import Target

__all__ = ["Dashboard"]

LOOK = 0.5  # seconds
LARGEST = 10_000  # bytes of an order
log = logging.getLogger("queue_consumer.cli")


class Dashboard:
    """Serves a picture of these consumers. Each is watched from before its start."""

    def __init__(self, where: Where, targets: Sequence[Target]) -> None:
        self._where = where
        self._targets = targets
        self._chronicles = [Chronicle(target) for target in targets]
        for chronicle in self._chronicles:
            chronicle.target.consumer.observe(chronicle)
        self._orders = Socket(Path(os.devnull), targets)  # what may be ordered is the same as there; it is not opened
        self._over = threading.Event()
        self._looked = threading.Condition()
        self._looks = 0
        self._server: Server | None = None
        self.token = secrets.token_urlsafe(16)

    def __str__(self) -> str:
        return url_of(self._where)

    @property
    def address(self) -> str:
        """Of the page, with the token: it stands behind a #, which browsers keep to themselves."""
        return f"{self}/#token={self.token}"

    def open(self) -> None:
        self._server = server = Server(self._where, type("Handler", (Answers,), {"dashboard": self}))
        self._where = server.where
        for work in (self._watch, lambda: server.serve_forever(0.1)):
            threading.Thread(target=work, name="queue_consumer-dashboard", daemon=True).start()
        log.info("the dashboard is at %s", self.address, extra={"event": "dashboard"})

    def close(self) -> None:
        self._over.set()
        with self._looked:
            self._looked.notify_all()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _watch(self) -> None:
        while not self._over.wait(LOOK):
            for chronicle in self._chronicles:
                chronicle.look()
            with self._looked:
                self._looks += 1
                self._looked.notify_all()

    def pictures(self) -> Iterator[dict[str, Any]]:
        """All that is known now, and then what is new, look by look."""
        whole = True
        while not self._over.is_set():
            seen = self._looks
            yield self.picture(whole)
            whole = False
            with self._looked:
                while self._looks == seen and not self._over.is_set():
                    self._looked.wait()

    def picture(self, whole: bool) -> dict[str, Any]:
        return {
            "consumers": [
                {
                    **look(chronicle.target, stacks=False),
                    "failures": list(chronicle.failures),
                    "points": list(chronicle.points) if whole else list(chronicle.points)[-1:],
                    "whole": whole,
                }
                for chronicle in self._chronicles
            ]
        }

    def order(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return self._orders.answer(given)


class Answers(Page):
    """Answers one request."""

    dashboard: Dashboard

    def do_GET(self) -> None:  # noqa: N802 - so it is called by name
        if not self.is_meant_for_us():
            return
        if self.path == "/":
            page = files("queue_consumer.cli").joinpath("dashboard.html").read_bytes()
            self.answer(200, page, "text/html; charset=utf-8", Content_Security_Policy=POLICY)
        elif self.path == "/events":
            self._stream()
        else:
            self.answer(404, b"there are / and /events\n")

    def do_POST(self) -> None:  # noqa: N802
        if not self.is_meant_for_us():
            return
        token = self.headers.get("X-Token", "").encode()
        if not secrets.compare_digest(token, self.dashboard.token.encode()):
            self._refuse(401, "the token is missing or wrong: take the address from the log")
            return
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or int(size) > LARGEST:
            self._refuse(400, f"an order is a JSON object of at most {LARGEST} bytes")
            return
        try:
            given: Any = json.loads(self.rfile.read(int(size)))
        except ValueError as error:
            self._refuse(400, f"an order is a JSON object: {error}")
            return
        order = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
        self.answer(200, json.dumps(self.dashboard.order(order), default=str).encode(), JSON)

    def _refuse(self, status: int, words: str) -> None:
        self.answer(status, json.dumps({"error": words}).encode(), JSON)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        try:
            for picture in self.dashboard.pictures():
                self.wfile.write(f"data: {json.dumps(picture, default=str)}\n\n".encode())
                self.wfile.flush()
        except OSError:
            return  # the page was closed


JSON = "application/json"
# Nothing from elsewhere, and nobody else's frame.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
