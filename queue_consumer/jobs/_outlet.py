"""A queue as senders see it: what its `put` takes is looked up once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from queue_consumer import UsageError

from ._errors import Unsent
from ._letter import Letter
from ._options import Options

__all__ = ["Deed", "Entry", "Outlet", "carried_out", "carried_out_async"]

Entry: TypeAlias = dict[str, Any]
OPTIONAL = ("delay", "group", "deduplication_id", "attributes")
R = TypeVar("R")


class Deed(NamedTuple):
    """A call of the queue's, to be made by whoever carries out the steps; what it raises is thrown into them."""

    verb: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]


Steps: TypeAlias = Generator[Deed, Any, R]


class Outlet:
    """Puts jobs into one queue.

    Args:
        queue: any object with `put`. Where that takes no `attributes`, a job goes in an envelope.

    Attributes:
        queue: that.
        is_async: its `put` is a coroutine function.

    Raises:
        UsageError: nothing can be put there.
    """

    def __init__(self, queue: Any) -> None:
        put = getattr(queue, "put", None)
        if not callable(put):
            raise UsageError(
                f"jobs cannot be sent to {queue!r}, which has no put(): give Jobs(queue=...), or options(queue=...), "
                "a queue that things can be put into"
            )
        self.queue = queue
        self.is_async = inspect.iscoroutinefunction(put)
        self._put: Callable[..., Any] = put
        many = getattr(queue, "put_many", None)
        self._put_many: Callable[..., Any] | None = many if callable(many) else None
        try:
            parameters = dict(inspect.signature(put).parameters)
        except (TypeError, ValueError):  # it does not tell, so it is given the body alone
            parameters = {}
        anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        self._takes = frozenset(OPTIONAL if anything else [name for name in OPTIONAL if name in parameters])

    def entry(self, letter: Letter, options: Options) -> Entry:
        """What is to be put: parameters of `put`, with the body among them."""
        plain = "attributes" not in self._takes
        entry: Entry = {"body": letter.envelope() if plain else letter.body}
        if not plain:
            entry["attributes"] = letter.attributes()
        for name in ("delay", "group", "deduplication_id"):
            value = getattr(options, name)
            if value:
                if name not in self._takes:
                    raise UsageError(
                        f"{name}={value!r} cannot be said to {self.queue!r}: its put() takes no {name}; "
                        f"it takes {', '.join(sorted(self._takes)) or 'the body alone'}"
                    )
                entry[name] = value
        return entry

    def fitting(self, entry: Entry) -> Entry:
        """The entry without what `put` does not take."""
        return {name: value for name, value in entry.items() if name == "body" or name in self._takes}

    def putting(self, entry: Entry) -> Steps[str | None]:
        """Put one; its id, if the queue tells."""
        given = yield Deed(self._put, (entry["body"],), {name: entry[name] for name in entry if name != "body"})
        return None if given is None else str(given)

    def putting_many(self, entries: Sequence[Entry]) -> Steps[list[Unsent]]:
        """Put all of these, in order, in as few calls as may be; those that were not, and why."""
        if self._put_many is None or len(entries) == 1:
            return (yield from self._one_by_one(entries))
        try:
            yield Deed(self._put_many, (list(entries),), {})
        except (TypeError, ValueError):  # one of them is refused, and nothing was sent
            return (yield from self._one_by_one(entries))
        except Exception as error:
            return failed_of(error, entries)
        return []

    def _one_by_one(self, entries: Sequence[Entry]) -> Steps[list[Unsent]]:
        unsent: list[Unsent] = []
        stopped: dict[str, Unsent] = {}  # message groups, of which nothing more may go
        for entry in entries:
            group = entry.get("group")
            if group in stopped:
                unsent.append(Unsent(entry, stopped[group].error))
                continue
            try:
                yield from self.putting(entry)
            except Exception as error:
                unsent.append(Unsent(entry, error, isinstance(error, (TypeError, ValueError))))
                if group is not None and not unsent[-1].hopeless:
                    stopped[group] = unsent[-1]
        return unsent


def failed_of(error: Exception, entries: Sequence[Entry]) -> list[Unsent]:
    """Those of the entries that an error of `put_many` names; all, if it names none."""
    named: Iterable[Any] = getattr(error, "failed", None) or ()
    failed = {id(getattr(one, "entry", None)): one for one in named}
    unsent = [
        Unsent(entry, error, bool(getattr(failed[id(entry)], "sender_fault", False)))
        for entry in entries
        if id(entry) in failed
    ]
    return unsent or [Unsent(entry, error) for entry in entries]


def carried_out(steps: Steps[R]) -> R:
    """Take the steps, in this thread."""
    try:
        deed = next(steps)
        while True:
            try:
                result = deed.verb(*deed.arguments, **deed.options)
            except Exception as error:
                deed = steps.throw(error)
            else:
                if inspect.iscoroutine(result):
                    result.close()
                    deed = steps.throw(UsageError("this queue can only be sent to by a coroutine: await adelay(...)"))
                else:
                    deed = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def carried_out_async(steps: Steps[R]) -> R:
    """Take the steps: what blocks, in a thread, so that the loop goes on."""
    try:
        deed = next(steps)
        while True:
            try:
                if inspect.iscoroutinefunction(deed.verb):
                    result = await deed.verb(*deed.arguments, **deed.options)
                else:
                    result = await asyncio.to_thread(deed.verb, *deed.arguments, **deed.options)
            except Exception as error:
                deed = steps.throw(error)
            else:
                deed = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()
