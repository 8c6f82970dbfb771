"""What `module:object` leads to: consumers that are made and not yet started."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from typing_extensions import TypeIs

from queue_consumer import BackendError, Consumer

from ._exits import CommandError, Exit

__all__ = ["Target", "load", "load_all", "thing_at"]

SHAPE = "module:object, as in shop.orders:consumer"
AWAY = (BackendError, ConnectionError, TimeoutError)


class Target:
    """A consumer, and the name that it is called by in logs, metrics and `top`."""

    def __init__(self, name: str, consumer: Consumer[Any]) -> None:
        self.name = name
        self.consumer = consumer


def load_all(specs: Sequence[str]) -> list[Target]:
    """The consumers of several targets, each under a name that no other has."""
    targets = [target for spec in specs for target in load(spec)]
    seen: dict[int, str] = {}
    for target in targets:
        before = seen.setdefault(id(target.consumer), target.name)
        if before != target.name:
            raise CommandError(f"{before} and {target.name} are one and the same consumer: name it once")
    names = [target.name for target in targets]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise CommandError(f"{', '.join(sorted(twice))} is named twice: name it once")
    return targets


def load(spec: str) -> list[Target]:
    """What a target is: a consumer, several of them, or a function that makes them.

    Raises:
        CommandError: it cannot be imported or made (2), or its source cannot be reached (3).
    """
    found = given = thing_at(spec)
    if not is_consumer(found) and callable(found):
        if needs_arguments(found):
            raise CommandError(
                f"{spec} must be a Consumer, a list of them, or a function without arguments that returns one; this "
                "needs arguments. Is it a handler? Then name the Consumer that it belongs to"
            )
        try:
            found = found()
        except AWAY as error:
            raise unreachable(spec, error) from error
        except (Exception, SystemExit) as error:  # an exit of the target's own would say that all went well
            raise CommandError(f"{spec} was called to make a consumer, and raised {told(error)}") from error
    if is_consumer(found):
        return [Target(spec, found)]
    if is_several(found):
        several = list(found)
        if several and all(map(is_consumer, several)):
            return [Target(f"{spec}[{number}]", one) for number, one in enumerate(several)]
    raise CommandError(
        f"{spec} must be a Consumer, a list of them, or a function without arguments that returns one; "
        f"it is {type(given).__name__!r}"
    )


def needs_arguments(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return False  # it does not say
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(one.default is inspect.Parameter.empty and one.kind not in optional for one in parameters)


def is_consumer(found: object) -> TypeIs[Consumer[Any]]:
    return isinstance(found, Consumer)


def is_several(found: object) -> TypeIs[Iterable[Any]]:
    return isinstance(found, Iterable) and not isinstance(found, (str, bytes))


def thing_at(spec: str) -> Any:
    """The object that a `module:object` names. The current folder can be imported from, as with `python -m`."""
    module, _, path = spec.partition(":")
    if not module or not path:
        raise CommandError(f"a target looks like {SHAPE}; got {spec!r}")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise CommandError(
                f"there is no module {error.name!r}; modules are looked for in {here} and where Python finds its own"
            ) from error
        raise CommandError(f"{module} cannot be imported, since it raised {told(error)}") from error
    except AWAY as error:
        raise unreachable(module, error) from error
    except (Exception, SystemExit) as error:
        raise CommandError(f"{module} cannot be imported, since it raised {told(error)}") from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise CommandError(f"{module} has no {path!r}{near(found, name)}") from None
    return found


def near(thing: Any, name: str) -> str:
    """What may have been meant."""
    import difflib

    known = {other.lower(): other for other in dir(thing) if not other.startswith("_")}
    close = [known[other] for other in difflib.get_close_matches(name.lower(), list(known), 3)]
    return f"; did you mean {' or '.join(close)}?" if close else ""


def unreachable(what: str, error: BaseException) -> CommandError:
    return CommandError(f"{what}: its source cannot be used: {type(error).__name__}: {error}", Exit.UNREACHABLE)


def told(error: BaseException) -> str:
    """An exception of the user's code, and the line that it comes from."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = f" ({last.filename}, line {last.lineno})" if last is not None else ""
    return f"{type(error).__name__}: {error}{where}"
