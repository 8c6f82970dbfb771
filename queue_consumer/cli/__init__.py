"""The command line: `queue-consumer`, or `python -m queue_consumer`. See docs/operating.md."""

from ._main import main

__all__ = ["main"]
