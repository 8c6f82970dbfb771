"""From a call to the arguments on the wire, and back: what a function's signature says of both.

On the wire arguments have names, as that is what survives a change of the function. Only what has no name goes by its
place, under the name `*`, which no parameter can have.

    def f(a, b=2, *rest, c=3):      f(1)           {"a": 1}
                                    f(1, 5, 6)     {"*": [1, 5, 6]}

The sender is strict, since whoever calls it is there to hear of a mistake. The receiver is not: what a newer sender
adds is dropped, and what an older one does not know has its default.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any, cast

from ._errors import BadArguments
from ._typed import Mismatch, converters_of

__all__ = ["STAR", "Signature"]

STAR = "*"
BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

log = logging.getLogger("queue_consumer.jobs")


class Signature:
    """What a job's function takes.

    Args:
        job: the name of the job, for sentences.
        function: whose signature it is.
        given: the name of a parameter that is given here and not by senders; None if there is none.
    """

    def __init__(self, job: str, function: Callable[..., object], given: str | None = None) -> None:
        self.job = job
        self.function = function
        self.given = given
        self._converters: Mapping[str, Callable[[Any], Any]] | None = None
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # some built-in functions keep theirs to themselves
            signature = inspect.signature(anything)
        parameters = signature.parameters
        kinds = {parameter.kind for parameter in parameters.values()}
        if given is not None and (given not in parameters or parameters[given].kind not in BY_NAME):
            raise TypeError(
                f"task {job!r}: its function must have a parameter {given!r}, to be given by name; it is "
                f"{getattr(function, '__qualname__', function)}{signature}"
            )
        self.signature = signature.replace(parameters=[p for name, p in parameters.items() if name != given])
        self._parameters = dict(self.signature.parameters)
        self._places = [name for name, parameter in self._parameters.items() if parameter.kind in BY_PLACE]
        self._only = {n for n, p in self._parameters.items() if p.kind is inspect.Parameter.POSITIONAL_ONLY}
        self._named = {name for name, parameter in self._parameters.items() if parameter.kind in BY_NAME}
        self._any_place = inspect.Parameter.VAR_POSITIONAL in kinds
        self._any_name = inspect.Parameter.VAR_KEYWORD in kinds
        self._required = {
            name
            for name, parameter in self._parameters.items()
            if parameter.default is parameter.empty and parameter.kind in (*BY_PLACE, *BY_NAME)
        }
        # Most functions: all of their parameters have names, and there are so many.
        self._simple = not (self._only or self._any_place or self._any_name)
        self._plain = False  # simple, and nothing is to be converted, as is known once it was looked up

    def __str__(self) -> str:
        return f"{self.job}{self.signature}"

    # ------------------------------------------------------------------ what senders do

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The arguments of this call, as they go on the wire.

        Raises:
            TypeError: the function cannot be called so.
        """
        if not args and self._simple and kwargs.keys() <= self._named and self._required <= kwargs.keys():
            return dict(kwargs)
        if STAR in kwargs:
            raise TypeError(f"task {self.job!r}: no argument can be named {STAR!r}")
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            given = self.given is not None and self.given in kwargs
            why = f"{self.given!r} is given where the job runs, and cannot be sent" if given else error
            raise TypeError(f"task {self.job!r}: {why}; it takes {self.signature}") from None
        rest = any(self._parameters[n].kind is inspect.Parameter.VAR_POSITIONAL for n in bound.arguments)
        if rest or (self._only and self._any_name):
            return {STAR: list(bound.args), **bound.kwargs} if bound.args else dict(bound.kwargs)
        arguments = dict(bound.arguments)
        for name in bound.arguments:
            if self._parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                arguments |= arguments.pop(name)
        return arguments

    # ------------------------------------------------------------------ what receivers do

    def fit(self, arguments: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the function is to be called with, by place and by name; what is too much is dropped.

        Raises:
            BadArguments: something is missing, or cannot be made what its annotation says.
        """
        kind = cast(Any, type(arguments))
        if kind is dict and self._plain and arguments.keys() == self._named:
            return (), arguments
        if kind is not dict:
            raise BadArguments(f"the arguments of job {self.job!r} must be an object with names; got a {kind.__name__}")
        if self._simple and arguments.keys() <= self._named and self._required <= arguments.keys():
            return (), self.converted(arguments)
        named = {name if isinstance(name, str) else text_of(name): value for name, value in arguments.items()}
        named.pop(self.given or STAR, None) if self.given else None
        places = self._places_of(named)
        if not self._any_name:
            extra = len(named)
            named = {name: value for name, value in named.items() if name in self._named}
            if extra > len(named):
                log.debug("job %s: dropped %d arguments that it does not take", self.job, extra - len(named))
        missing = [n for n in self._parameters if n in self._required and n not in named and n not in places]
        if missing:
            raise BadArguments(f"job {self.job!r} came without {' and '.join(map(repr, missing))}; it takes {self}")
        extras = places.pop(STAR, ())
        return (*self.converted(places).values(), *extras), self.converted(named)

    def arrived(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """What the function would make of these arguments, by name, as far as it names them."""
        return self.converted({name: value for name, value in arguments.items() if name != STAR})

    def _places_of(self, named: dict[str, Any]) -> dict[str, Any]:
        """What goes by its place, taken out of `named`: by the names of the parameters, and the rest under `*`."""
        star: Any = named.pop(STAR, [])
        if not isinstance(star, (list, tuple)):
            raise BadArguments(f"{STAR!r} of job {self.job!r} must be a list of arguments; got {type(star).__name__}")
        given = list(cast("list[Any]", star))
        places: dict[str, Any] = dict(zip(self._places, given, strict=False))
        rest = given[len(self._places) :]
        for name in places:
            if name in named and not (name in self._only and self._any_name):
                raise BadArguments(f"job {self.job!r} came with {name!r} twice, by place and by name")
        # What can only be given by place may have come by name, up to the first that is not there.
        for name in self._places[len(places) :]:
            if name not in self._only:
                break
            if name in named:
                places[name] = named.pop(name)
            elif any(later in named for later in self._only) and name not in self._required:
                places[name] = self._parameters[name].default
            else:
                break
        if self._any_place:
            places[STAR] = rest
        elif rest:
            log.debug("job %s: dropped %d arguments by place that it does not take", self.job, len(rest))
        return places

    def converted(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as their annotations have them, where these say more than JSON can."""
        converters = self._converters
        if converters is None:
            converters = self._converters = converters_of(self.function, self._parameters)
            self._plain = self._simple and not converters
        if not converters:
            return arguments
        arguments = dict(arguments)
        for name, convert in converters.items():
            if name in arguments:
                try:
                    arguments[name] = convert(arguments[name])
                except Mismatch as error:
                    raise BadArguments(f"argument {name!r} of job {self.job!r} {error}") from error
        return arguments


def anything(*args: Any, **kwargs: Any) -> None:
    """The signature of what does not tell its own."""


def text_of(name: object) -> str:
    """The name of an argument, which old pickles have as bytes."""
    if isinstance(name, bytes):
        return name.decode("utf-8", "replace")
    return str(name)
