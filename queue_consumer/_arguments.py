"""What the arguments of a consumer mean: each checked, and refused in a sentence that says what is allowed."""

from __future__ import annotations

import inspect
import os
import pickle
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ._chunk import RECEIPTS, Failure, Receipt
from ._events import Observer
from ._lanes import Aging, LanePolicy, Strict
from ._ledger import Stats
from ._port import Port, binds, call_of, is_async, is_asyncio_queue
from ._supervision import check_seconds, check_whole

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

PoolName: TypeAlias = Literal["threads", "processes", "coroutines"]
POOLS: tuple[PoolName, ...] = ("threads", "processes", "coroutines")


class Unset(float):
    """A default that says what is in force when nothing was passed, and can be told from the same number passed."""


POLLING_TIME, STUCK_TIME = Unset(1), Unset(60)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments, checked, and the defaults put in."""

    handler: Callable[[Any], object]
    pool: PoolName
    receipt: Receipt
    getters: int
    handlers: int
    size: int
    pause: float
    initializer: Callable[[], object] | None
    prefetch: int | None
    backoff: Callable[[int], float] | None
    time_limit: float | None
    max_attempts: int | None
    dead_letter: Callable[[Any, Failure], object] | None
    stop_when: Callable[[Stats], bool] | None
    observers: tuple[Observer, ...]
    mp_context: Any
    owns_queue: bool
    key: Callable[[Any], Hashable] | None
    lane_policy: LanePolicy


def checked(
    queue: Any,
    ports: Sequence[Port],
    *,
    handler: Any,
    max_workers: Any,
    max_handlers: Any,
    messages_bulk_size: Any,
    worker_polling_time: Any,
    pool_initializer: Any,
    with_thread_executor: Any,
    pool: Any,
    receipt: Any,
    prefetch: Any,
    backoff: Any,
    time_limit: Any,
    max_attempts: Any,
    dead_letter: Any,
    stop_when: Any,
    observers: Any,
    mp_context: Any,
    owns_queue: Any,
    key: Any,
    lane_policy: Any,
) -> Options:
    """Check everything, so that a mistake shows where it was made and not in some thread later."""
    check_whole("max_workers", max_workers, least=1, optional=True)
    check_whole("max_handlers", max_handlers, least=1, optional=True)
    check_whole("messages_bulk_size", messages_bulk_size, least=1)
    check_whole("prefetch", prefetch, least=0, optional=True)
    check_whole("max_attempts", max_attempts, least=1, optional=True)
    check_seconds("worker_polling_time", worker_polling_time, zero=True)
    check_seconds("time_limit", time_limit, optional=True)
    check_callable("pool_initializer", pool_initializer, "without arguments")
    check_callable("backoff", backoff, "with the number of the attempt", 1)
    check_callable("dead_letter", dead_letter, "with an item and its failure", None, None)
    check_callable("stop_when", stop_when, "with Stats", None)
    check_is("with_thread_executor", with_thread_executor, bool)
    check_is("owns_queue", owns_queue, bool)
    listening = checked_observers(observers)
    if (max_attempts is None) != (dead_letter is None):
        raise ValueError(
            f"max_attempts and dead_letter go together; got max_attempts={max_attempts!r}, dead_letter={dead_letter!r}"
        )
    if max_attempts is not None and any(port.attempt is None for port in ports):
        raise ValueError(f"max_attempts needs a queue with attempt(item); {queue!r} has none")
    handler = getattr(queue, "handler", None) if handler is None else handler
    if pool == "coroutines":
        handler = getattr(handler, "asynchronous", handler)
    handler = checked_handler(handler)
    name = chosen_pool(handler, pool, with_thread_executor)
    if name == "processes":
        mp_context = context_of(mp_context)
        check_sendable(handler, pool_initializer, mp_context)
    elif mp_context is not None:
        raise ValueError(f"mp_context is for pool='processes'; got {mp_context!r} with pool={name!r}")
    return Options(
        handler=handler,
        pool=name,
        receipt=chosen_receipt(handler, receipt),
        getters=cpus() if max_workers is None else max_workers,
        handlers=cpus() if max_handlers is None else max_handlers,
        size=messages_bulk_size,
        pause=worker_polling_time,
        initializer=pool_initializer,
        prefetch=prefetch,
        backoff=backoff,
        time_limit=time_limit,
        max_attempts=max_attempts,
        dead_letter=dead_letter,
        stop_when=stop_when,
        observers=listening,
        mp_context=mp_context,
        owns_queue=owns_queue,
        key=chosen_key(handler, key),
        lane_policy=chosen_policy(lane_policy, len(ports)),
    )


def chosen_key(handler: Any, key: Any) -> Callable[[Any], Hashable] | None:
    chosen = key if key is not None else getattr(handler, "key", None)
    check_callable("key", chosen, "with an item", None)
    if is_async(chosen):
        raise TypeError(f"key must be callable with an item, and no async def; got {chosen!r}")
    checked: Callable[[Any], Hashable] | None = chosen
    return checked


def chosen_policy(policy: Any, lanes: int) -> LanePolicy:
    if policy is None or policy == "strict":
        return Strict()
    if not isinstance(policy, (Strict, Aging)):
        wrong = ValueError if isinstance(policy, str) else TypeError
        raise wrong(f"lane_policy must be 'strict', Strict(...), Aging(every=...), or None; got {policy!r}")
    if isinstance(policy, Aging) and policy.every < lanes:
        raise ValueError(f"lane_policy: every must be at least {lanes}, a turn for each lane; got {policy!r}")
    return policy


def changes_of(polling_time: Any, stuck_time: Any, stuck_limit: Any) -> dict[str, Any]:
    """What `supervise` was actually told to change."""
    changes: dict[str, Any] = {}
    if not isinstance(polling_time, Unset):
        check_seconds("polling_time", polling_time)
        changes["polling_time"] = polling_time
    if not isinstance(stuck_time, Unset):
        check_seconds("stuck_time", stuck_time)
        changes["stuck_time"] = stuck_time
    if stuck_limit is not None:
        check_whole("stuck_limit", stuck_limit, least=0)
        changes["stuck_limit"] = stuck_limit
    return changes


def check_loop(queue: Any, loop: Any) -> None:
    if loop is not None and not callable(getattr(loop, "call_soon_threadsafe", None)):
        raise TypeError(f"loop must be an asyncio event loop, or None; got {loop!r}")
    if loop is None and is_asyncio_queue(queue):
        raise ValueError("loop must be the loop of the producers when the queue is an asyncio.Queue; got None")


def cpus() -> int:
    """The CPUs that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def check_is(name: str, value: Any, kind: type, *, optional: bool = False) -> None:
    if not (isinstance(value, kind) or (optional and value is None)):
        allowed = kind.__name__ + (", or None" if optional else "")
        article = "an" if allowed[0] in "AEIOU" else "a"
        raise TypeError(f"{name} must be {article} {allowed}; got {value!r}")


def checked_observers(observers: Any) -> tuple[Observer, ...]:
    listening: tuple[Any, ...] = tuple(observers) if hasattr(observers, "__iter__") else (observers,)
    for observer in listening:
        if not callable(observer) or not binds(observer, None):
            raise TypeError(f"observers must be callables of one event; got {observer!r}")
    return listening


def check_callable(name: str, value: Any, how: str, *arguments: Any) -> None:
    if value is not None and not (callable(value) and binds(value, *arguments)):
        raise TypeError(f"{name} must be callable {how}, or None; got {value!r}")


def checked_handler(handler: Any) -> Callable[[Any], object]:
    if handler is None:
        raise TypeError(
            "handler must be a function of an iterator of items, here or as an attribute of the queue; got None"
        )
    if not callable(handler):
        raise TypeError(f"handler must be a function of an iterator of items; got {handler!r}")
    call = call_of(handler)
    if any(map(inspect.isgeneratorfunction, (handler, call))) or any(map(inspect.isasyncgenfunction, (handler, call))):
        raise TypeError(
            f"handler must not be a generator function, of which a call runs nothing; got {handler!r}: "
            "remove the yield and do the work in the loop"
        )
    if not binds(handler, iter(())):
        raise TypeError(
            f"handler must take one argument, an iterator of items; got {handler!r}: "
            "for a function of something else wrap it, as in each(function) for one item"
        )
    checked: Callable[[Any], object] = handler
    return checked


def chosen_pool(handler: Any, pool: Any, with_thread_executor: bool) -> PoolName:
    if pool is not None and pool not in POOLS:
        raise ValueError(f"pool must be one of {', '.join(map(repr, POOLS))}, or None; got {pool!r}")
    if is_async(handler):
        if pool not in (None, "coroutines") or not with_thread_executor:
            raise ValueError(f"pool must be 'coroutines' for an async handler; got {pool or 'processes'!r}")
        return "coroutines"
    if pool == "coroutines":
        raise ValueError(f"pool='coroutines' needs a handler that is an async def; got {handler!r}")
    return pool or ("threads" if with_thread_executor else "processes")


def chosen_receipt(handler: Any, receipt: Any) -> Receipt:
    chosen = receipt if receipt is not None else getattr(handler, "receipt", "advance")
    if chosen not in RECEIPTS:
        raise ValueError(f"receipt must be one of {', '.join(map(repr, RECEIPTS))}; got {chosen!r}")
    return chosen


def context_of(chosen: Any) -> BaseContext:
    """The multiprocessing context that was asked for."""
    import multiprocessing  # only here: it takes long to load, and most consumers do without
    import multiprocessing.context

    methods = multiprocessing.get_all_start_methods()
    if chosen is None:
        return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if isinstance(chosen, multiprocessing.context.BaseContext):
        return chosen
    if chosen not in methods:
        raise ValueError(f"mp_context must be one of {', '.join(map(repr, sorted(methods)))}, or None; got {chosen!r}")
    context: BaseContext = multiprocessing.get_context(str(chosen))
    return context


def check_sendable(handler: Any, initializer: Any, context: BaseContext) -> None:
    """Refuse what a child process could not import, in a sentence."""
    if context.get_start_method() == "fork":
        return
    for name, function in (("handler", handler), ("pool_initializer", initializer)):
        try:
            pickled = pickle.dumps(function)
        except Exception as error:
            raise TypeError(
                f"{name} must be importable by a child process, as functions and classes of a module are and lambdas, "
                f"closures and bound locks are not; got {function!r}: {error}"
            ) from error
        main = getattr(sys.modules.get("__main__"), "__file__", None)
        if b"__main__" in pickled and (main is None or not os.path.exists(main)):
            raise TypeError(
                f"{name} must be importable by a child process, and what is typed into an interpreter or read from "
                f"standard input is not: put it into a file; got {function!r}"
            )
