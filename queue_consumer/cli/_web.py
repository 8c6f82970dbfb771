"""A small web server on loopback: `/metrics`, `/healthz`, `/readyz`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

from queue_consumer.telemetry import Health

from ._http import Page, Server, Where, url_of
from ._target import Target

__all__ = ["Web"]

PLAIN = "text/plain; charset=utf-8"
log = logging.getLogger("queue_consumer.cli")


class Web:
    """Serves what is known of these consumers. Each is watched from before its start."""

    def __init__(self, where: Where, targets: Sequence[Target]) -> None:
        self._where = where
        self._health = {target.name: Health() for target in targets}
        self._server: Server | None = None
        self._exposition: Any = None
        try:
            from queue_consumer.telemetry.prometheus import PrometheusObserver, exposition
        except ImportError as error:
            self._missing = str(error)
            log.warning("/metrics has nothing to show: %s", error)
        else:
            self._missing = ""
            self._exposition = exposition
            for target in targets:
                system, destination = system_of(target.consumer.queue)
                target.consumer.observe(PrometheusObserver(target.name, system=system, destination=destination))
        for target in targets:
            target.consumer.observe(self._health[target.name])

    def __str__(self) -> str:
        return url_of(self._where)

    def open(self) -> None:
        self._server = server = Server(self._where, type("Handler", (Answers,), {"web": self}))
        self._where = server.where
        threading.Thread(target=server.serve_forever, name="queue_consumer-web", daemon=True).start()
        log.info("%s has /metrics, /healthz and /readyz", self, extra={"event": "web", "port": self._where[1]})

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def answer(self, path: str) -> tuple[int, bytes, str]:
        """Status, body and type of a page."""
        match path.partition("?")[0]:
            case "/metrics" if self._exposition is None:
                return 501, f"{self._missing}\n".encode(), PLAIN
            case "/metrics":
                body, kind = self._exposition()
                return 200, body, kind
            case "/healthz":
                return self._judged({name: health.alive() for name, health in self._health.items()})
            case "/readyz":
                return self._judged({name: health.ready() for name, health in self._health.items()})
            case _:
                return 404, b"there are /metrics, /healthz and /readyz\n", PLAIN

    def _judged(self, found: dict[str, tuple[bool, str]]) -> tuple[int, bytes, str]:
        lines = "".join(f"{name}: {words}\n" for name, (_, words) in found.items())
        return 200 if all(good for good, _ in found.values()) else 503, lines.encode(), PLAIN


class Answers(Page):
    """Answers one request."""

    web: Web

    def do_GET(self) -> None:  # noqa: N802 - so it is called by name
        if self.is_meant_for_us():
            self.answer(*self.web.answer(self.path))

    do_HEAD = do_GET  # noqa: N815 - as some probes ask


SYSTEMS = {"queue_consumer_sqs": "aws_sqs"}


def system_of(queue: Any) -> tuple[str, str]:
    """What kind of broker a queue is of, as the conventions name it, and the queue's name."""
    package = type(queue).__module__.partition(".")[0]
    name = getattr(queue, "name", "")
    return SYSTEMS.get(package, package), name if isinstance(name, str) else ""
