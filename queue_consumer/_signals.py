"""SIGINT and SIGTERM for a consumer that blocks the main thread: the first drains, the second stops now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def taken(on_signal: Callable[[int], None]) -> Generator[None]:
    """While inside, signals call `on_signal` with how many came so far; the old handlers are put back afterwards.

    Only the main thread may set handlers, so elsewhere this does nothing. `on_signal` runs in the middle of
    whatever the main thread is doing, and so must take no lock.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    count = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        on_signal(count)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None: it was set by something other than Python, and Python cannot put it back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
