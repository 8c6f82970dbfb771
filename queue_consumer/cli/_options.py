"""Options, each of which is an environment variable too: `--drain-timeout` and `QUEUE_CONSUMER_DRAIN_TIMEOUT`.

What is typed wins over the variable, and that over the default. The help shows all three.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ._exits import EXIT_CODES, CommandError

__all__ = ["Command", "Option", "add_options", "address", "count", "fill_in", "number", "seconds", "variable_of"]

LOOPBACK = "127.0.0.1"
PREFIX = "QUEUE_CONSUMER_"
TRUTHS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


class Command(Protocol):
    """One verb of the command line: a module with these names."""

    NAME: str
    SUMMARY: str
    EXAMPLES: str

    def options(self) -> Sequence[Option]: ...
    def run(self, arguments: argparse.Namespace) -> int: ...


@dataclass(frozen=True)
class Option:
    """One option, or argument, of a command.

    Args:
        flag: `--drain-timeout`; without dashes it is an argument.
        help: what it does, in a sentence.
        convert: makes a value of a text, or raises ValueError with a sentence. None: it is a switch.
        default: if neither typed nor in the environment. Arguments without a default must be given.
        shown: how the value is called in the help.
        many: any number of them.
        choices: what is allowed.
    """

    flag: str
    help: str
    convert: Callable[[str], Any] | None = str
    default: Any = None
    shown: str = ""
    many: bool = False
    choices: tuple[str, ...] = ()
    required: bool = False

    @property
    def dest(self) -> str:
        return self.flag.lstrip("-").replace("-", "_")

    @property
    def positional(self) -> bool:
        return not self.flag.startswith("-")


def variable_of(option: Option) -> str:
    return PREFIX + option.dest.upper()


def add_options(parser: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    for option in options:
        default = "" if option.default in (None, False, (), "") else f"; by default {option.default}"
        words = f"{option.help} [${variable_of(option)}{default}]".replace("%", "%%")
        settings: dict[str, Any] = {"help": words, "default": None}
        if option.convert is None:
            parser.add_argument(option.flag, action=argparse.BooleanOptionalAction, **settings)
            continue
        settings["metavar"] = option.shown or option.dest.upper()
        if option.choices:
            settings["metavar"] = "{" + ",".join(option.choices) + "}"
        if option.positional:
            settings["nargs"] = "*" if option.many else "?"
        elif option.many:
            settings["action"] = "append"
        parser.add_argument(option.flag, **settings)


def fill_in(arguments: argparse.Namespace, options: Sequence[Option]) -> None:
    """Put in what stands in the environment, and the defaults; and make values of all texts.

    Raises:
        CommandError: a value is wrong, or one is missing; the sentence says where it stands.
    """
    for option in options:
        given = getattr(arguments, option.dest)
        where = option.flag
        if given is None or given == []:
            given = os.environ.get(variable_of(option))
            where = f"${variable_of(option)}"
            if given == "":
                given = None
            if given is not None and option.many:
                given = given.split()
        setattr(arguments, option.dest, value_of(option, given, where))


def value_of(option: Option, given: Any, where: str) -> Any:
    if given is None:
        if option.required:
            raise CommandError(f"{option.flag} must be given, here or as ${variable_of(option)}; see --help")
        return option.default
    if option.convert is None:
        if isinstance(given, bool):
            return given
        if str(given).lower() not in TRUTHS:
            raise CommandError(f"{where} must be one of {', '.join(TRUTHS)}; got {given!r}")
        return TRUTHS[str(given).lower()]
    try:
        values = [checked(option, text) for text in (given if option.many else [given])]
    except ValueError as error:
        raise CommandError(f"{where} {error}") from None
    return values if option.many else values[0]


def checked(option: Option, text: str) -> Any:
    if option.choices and text.lower() not in option.choices:
        raise ValueError(f"must be one of {', '.join(option.choices)}; got {text!r}")
    assert option.convert is not None
    return option.convert(text.lower() if option.choices else text)


# What options are made of


def seconds(text: str) -> float:
    """`25`, `25s`, `2m` or `1h`, as seconds."""
    units = {"s": 1, "m": 60, "h": 3600}
    number = text[:-1] if text[-1:] in units else text
    try:
        value = float(number) * units.get(text[-1:], 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError(f"must be a number of seconds, or a time such as 90s, 15m or 2h; got {text!r}")
    return value


def count(least: int = 1) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < least:
            raise ValueError(f"must be a whole number of at least {least}; got {text!r}")
        return int(text)

    return convert


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"must be a number; got {text!r}") from None


def address(text: str) -> tuple[str, int]:
    """`9464`, `:9464`, `0.0.0.0:9464` or `[::1]:9464`; loopback unless a host is named; port 0 takes any."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"must be PORT or HOST:PORT; got {text!r}")
    return host.strip("[]") or LOOPBACK, int(port)


def exit_codes() -> str:
    return "exit codes:\n" + "\n".join(f"  {code:<4} {words}" for code, words in EXIT_CODES.items())
