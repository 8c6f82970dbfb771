"""The log of a command: lines for people, or a JSON object each; with the facts of each record, and never a body."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, TextIO

from ._plain import json_of, plain

__all__ = ["FORMATS", "LEVELS", "JsonFormatter", "set_up_logging"]

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `thread`, `message`, and whatever `extra` there is."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "process": record.process,
            "message": record.getMessage(),
        }
        line.update((name, value) for name, value in vars(record).items() if name not in PLAIN and name not in line)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json_of(line)


class TextFormatter(logging.Formatter):
    """Lines for people. What would have a terminal do more than show them is shown as an escape; tracebacks keep their
    lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record), keep="\n\t")


def set_up_logging(format: str, level: str, stream: TextIO | None = None) -> None:
    """Log to standard error, in this format, from this level on; what the program itself set up is left alone."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if getattr(handler, "of_queue_consumer", False):
            root.removeHandler(handler)
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.of_queue_consumer = True  # type: ignore[attr-defined]  # so that a second call does not log twice
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root.addHandler(handler)
    number = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(number, logging.INFO))  # other libraries say at "debug" what nobody asked for
    logging.getLogger("queue_consumer").setLevel(number)
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # what has changed we say ourselves
