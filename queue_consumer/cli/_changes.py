"""Tells when Python files of a folder change: by watchfiles where it is installed, else by looking twice a second."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["Changes"]

LOOK = 0.5  # seconds
LEFT_OUT = {"__pycache__", "node_modules", "site-packages"}


class Changes:
    """Calls `told` with the paths that have changed, from a thread of its own, until it is closed."""

    def __init__(self, folder: Path, told: Callable[[list[str]], object]) -> None:
        self._folder = folder
        self._told = told
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="queue_consumer-reload", daemon=True)
        self.ready = threading.Event()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join(2)

    def _watch(self) -> None:
        try:
            watchfiles: Any = importlib.import_module("watchfiles")
        except ImportError:
            self._look()
            return
        self.ready.set()
        changes = watchfiles.watch(
            self._folder, watch_filter=watchfiles.PythonFilter(), stop_event=self._over, raise_interrupt=False
        )
        for batch in changes:
            self._told(sorted(path for _, path in batch))

    def _look(self) -> None:
        before = dict(times(self._folder))
        self.ready.set()
        while not self._over.wait(LOOK):
            after = dict(times(self._folder))
            changed = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
            before = after
            if changed:
                self._told(changed)


def times(folder: Path) -> Iterator[tuple[str, int]]:
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in LEFT_OUT and not name.startswith(".")]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(root, name)
                try:
                    yield path, os.stat(path).st_mtime_ns
                except OSError:
                    continue  # it was deleted meanwhile
