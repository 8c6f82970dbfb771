"""The Unix socket of running consumers: what `top` asks, and what it may have done. Off unless asked for.

One JSON object a line, each answered by one. Whoever may open the file may ask; it is made for its owner alone. Ids of
items are told, and never bodies.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import socketserver
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from queue_consumer import Consumer, UsageError

from ._target import Target

__all__ = ["Refused", "Socket", "ask"]

PATIENCE = 10.0  # seconds for an answer: child processes may have to be asked where they stand
log = logging.getLogger("queue_consumer.cli")


class Refused(Exception):
    """The other side does not answer, or not with what was asked for; the sentence says why."""


def ask(path: Path, **request: Any) -> dict[str, Any]:
    """Ask the consumers at this socket.

    Raises:
        Refused: nobody is there, or they refuse.
    """
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(PATIENCE)
            line.connect(str(path))
            line.sendall(json.dumps(request).encode() + b"\n")
            with line.makefile("rb") as answers:
                answer = answers.readline()
    except OSError as error:
        raise Refused(f"nothing runs at {path}: {error.strerror or error}") from error
    if not answer:
        raise Refused(f"{path} has hung up")
    try:
        found: Any = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refused(f"{path} does not answer like a consumer")
    said = cast("dict[str, Any]", found)
    if "error" in said:
        raise Refused(str(said["error"]))
    return said


class Socket:
    """Answers at a path of the file system for these consumers."""

    def __init__(self, path: Path, targets: Sequence[Target]) -> None:
        self._path = path
        self._targets = targets
        self._server: socketserver.ThreadingUnixStreamServer | None = None

    def __str__(self) -> str:
        return f"the socket {self._path}"

    def open(self) -> None:
        self._clear()
        before = os.umask(0o177)
        try:
            self._server = socketserver.ThreadingUnixStreamServer(
                str(self._path), type("Handler", (Conversation,), {"socket_of": self})
            )
        finally:
            os.umask(before)
        self._server.daemon_threads = True
        threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="queue_consumer-socket", daemon=True
        ).start()
        log.info("queue-consumer top %s shows what is going on", self._path, extra={"event": "socket"})

    def _clear(self) -> None:
        """Take away what a run left that could not do so itself; and nothing else."""
        if not self._path.is_socket():
            return
        with socket.socket(socket.AF_UNIX) as line:
            try:
                line.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink(missing_ok=True)
                return
        raise FileExistsError(f"another process answers at {self._path}")

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._path.unlink(missing_ok=True)

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            targets = self._named(request.get("consumer"))
            match request.get("verb"):
                case "look":
                    stacks = bool(request.get("stacks"))
                    return {"pid": os.getpid(), "consumers": [look(target, stacks) for target in targets]}
                case "pause":
                    for target in targets:
                        target.consumer.pause()
                case "resume":
                    for target in targets:
                        target.consumer.resume()
                case "resize":
                    for target in targets:
                        target.consumer.resize(cast(int, request.get("handlers")))
                case other:
                    raise ValueError(f"there are look, pause, resume and resize; got {other!r}")
        except (ValueError, TypeError, UsageError) as error:
            return {"error": str(error)}
        words = ", ".join(target.name for target in targets)
        log.info("%s %s, as the socket was told", request["verb"], words, extra={"event": request["verb"]})
        return {"done": [target.name for target in targets]}

    def _named(self, name: Any) -> Sequence[Target]:
        found = [target for target in self._targets if name in (None, target.name)]
        if not found:
            raise ValueError(f"there is no consumer {name!r}; there are {', '.join(t.name for t in self._targets)}")
        return found


class Conversation(socketserver.StreamRequestHandler):
    """One connection, for as many requests as it lasts."""

    socket_of: Socket

    def handle(self) -> None:
        try:
            self._converse()
        except OSError:
            pass  # whoever asked has hung up

    def _converse(self) -> None:
        for line in self.rfile:
            try:
                request: Any = json.loads(line)
            except ValueError as error:
                answer = {"error": f"a request is a JSON object on a line of its own: {error}"}
            else:
                given = cast("dict[str, Any]", request) if isinstance(request, dict) else {}
                answer = self.socket_of.answer(given)
            self.wfile.write(json.dumps(answer, default=str).encode() + b"\n")


def look(target: Target, stacks: bool) -> dict[str, Any]:
    """One consumer, as plain data."""
    consumer: Consumer[Any] = target.consumer
    stats = asdict(consumer.stats())
    stats["state"] = consumer.state.value
    return {
        "name": target.name,
        "pool": consumer.options.pool,
        "max_handlers": consumer.options.handlers,
        "stats": stats,
        "lanes": [asdict(lane) for lane in consumer.lanes()],
        "workers": [
            {
                "name": worker.name,
                "kind": worker.kind,
                "doing": worker.doing,
                "item": id_of(worker.item),
                "seconds": worker.seconds,
                "stack": worker.stack,
            }
            for worker in consumer.workers(stacks)
        ],
    }


def id_of(item: Any) -> str:
    """The id of an item; of one that has none nothing, for it is its body."""
    found = getattr(item, "id", "")
    return str(found) if isinstance(found, (str, int)) else ""
