"""What the command line can do with a queue that is named by a URL, and where it finds who can.

`sqs://orders` is for whoever is installed under the entry point `sqs` of the group `queue_consumer.schemes`: a class
without arguments that has the verbs of `Scheme`. So an adapter brings its own, and the command line knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl

__all__ = ["Address", "Finding", "QueueTools", "Scheme", "address_of", "installed", "scheme_of"]

GROUP = "queue_consumer.schemes"
Told = Callable[[int], object]
"""Called with how many are done so far."""


@dataclass(frozen=True)
class Address:
    """A queue's URL, taken apart: `sqs://orders?region=eu-west-1`.

    Attributes:
        scheme: `sqs`.
        name: `orders`.
        options: what stands behind the question mark.
    """

    scheme: str
    name: str
    options: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that `check` has found.

    Attributes:
        kind: a "problem" would go wrong; an "advice" could.
        what: it is, in a sentence.
        why: it matters.
        do: what to do about it.
    """

    kind: Literal["problem", "advice"] = "problem"
    what: str
    why: str
    do: str


class QueueTools(Protocol):
    """One queue, opened to be looked at and worked on by hand.

    Attributes:
        name: what it is called in sentences.
        peek_cost: what looking does to the messages, in a sentence; empty if nothing.
    """

    name: str
    peek_cost: str

    def depth(self) -> Mapping[str, int]:
        """About how many messages there are: `visible`, and others by what keeps them."""
        ...

    def peek(self, limit: int) -> Sequence[Any]:
        """Up to so many messages (`id`, `body`, `attributes`), which stay in the queue."""
        ...

    def send(self, entries: Sequence[Mapping[str, Any]], told: Told) -> None:
        """Put these in; an entry maps `put`'s parameters to arguments."""
        ...

    def purge(self, told: Told) -> int:
        """Delete everything that is in it; how much that was, about."""
        ...

    def destination(self, to: str | None) -> str:
        """Where `redrive` would move messages, in words."""
        ...

    def redrive(self, to: str | None, *, limit: int | None, rate: int | None, told: Told) -> int:
        """Move messages back to where they came from, or to the queue `to`; how many were."""
        ...

    def close(self) -> None: ...


class Scheme(Protocol):
    """What an entry point of the group leads to."""

    def open(self, address: Address) -> QueueTools:
        """Raises ValueError for an address that is none, and BackendError if the queue cannot be used."""
        ...

    def check(self, queue: Any, *, time_limit: float | None, buried: bool) -> list[Finding] | None:
        """What would go wrong with a consumer's queue; None if it is none of ours. Nothing is received.

        Args:
            time_limit: of the consumer.
            buried: it has `dead_letter`, so that the queue needs none.
        """
        ...


def installed() -> dict[str, EntryPoint]:
    """The schemes that there are, by name."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def scheme_of(name: str) -> Scheme:
    """The scheme of this name.

    Raises:
        ValueError: there is none, or it cannot be used.
    """
    entry = installed().get(name)
    if entry is None:
        raise ValueError(f"no adapter for {name}:// is installed; there are {', '.join(sorted(installed()))}")
    try:
        made: Scheme = entry.load()()
    except ImportError as error:
        raise ValueError(f"{name}:// cannot be used: {error}") from error
    return made


def address_of(url: str) -> Address:
    """Take a queue's URL apart.

    Raises:
        ValueError: it is none.
    """
    scheme, separator, rest = url.partition("://")
    name, _, query = rest.partition("?")
    if not separator or not scheme:
        known = ", ".join(f"{name}://" for name in sorted(installed()))
        raise ValueError(f"a queue is named like sqs://orders; got {url!r} (there are {known})")
    return Address(scheme, name.rstrip("/"), dict(parse_qsl(query, strict_parsing=True)) if query else {})
