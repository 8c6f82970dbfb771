"""Values that travel with jobs without being among their arguments: who asked, from where, in what trace.

They are the `contextvars` of the registry: each thread and each task has its own, and nobody sees another's. A value
is never changed in place, so what a task was given at its start stays.
"""

from __future__ import annotations

import contextvars
from collections.abc import Generator, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Self

__all__ = ["NOTHING", "Ambient"]

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Ambient(MutableMapping[str, Any]):
    """What `jobs.context` is: a mapping of the values that jobs sent from here take along.

    While a job runs it has those that the job came with, and so has whatever that job sends.

        with jobs.context(remote_addr="127.0.0.1"):
            hello.delay(username="Foo")
    """

    def __init__(self, name: str) -> None:
        self.variable: contextvars.ContextVar[Mapping[str, Any]] = contextvars.ContextVar(name, default=NOTHING)

    @contextmanager
    def __call__(self, /, **values: Any) -> Generator[Self]:
        """Add these until the block ends, and then have again what was before."""
        before = self.variable.get()
        self.variable.set({**before, **values})
        try:
            yield self
        finally:
            self.variable.set(before)

    def set(self, /, **values: Any) -> None:
        """Have these, and no others."""
        self.variable.set(values)

    def clear(self) -> None:
        """Have none."""
        self.variable.set(NOTHING)

    def to_dict(self) -> dict[str, Any]:
        """A copy of them."""
        return dict(self.variable.get())

    def __getitem__(self, name: str) -> Any:
        return self.variable.get()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.variable.set({**self.variable.get(), name: value})

    def __delitem__(self, name: str) -> None:
        left = dict(self.variable.get())
        del left[name]
        self.variable.set(left)

    def __iter__(self) -> Iterator[str]:
        return iter(self.variable.get())

    def __len__(self) -> int:
        return len(self.variable.get())

    def __repr__(self) -> str:  # the names and not the values, which may be anything
        return f"<context with {', '.join(self) or 'nothing'}>"
