"""`run`: consumers in the foreground, as a service is run; or supervised copies of that."""

from __future__ import annotations

import argparse
import logging
import os
import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from queue_consumer import Idle, MaxItems, Stats
from queue_consumer.observers import LogObserver

from ._copies import Copies
from ._exits import CommandError, Exit
from ._logs import FORMATS, LEVELS, set_up_logging
from ._options import Option, address, count, seconds
from ._running import Running
from ._signals import Signals
from ._socket import Socket
from ._target import Target, load_all

log = logging.getLogger("queue_consumer.cli")
NAME = "run"
SUMMARY = "run consumers until they end or a signal comes"
EXAMPLES = """\
  queue-consumer run shop.orders:consumer                 one consumer, in this process
  queue-consumer run shop:orders shop:returns             two of them, side by side
  queue-consumer run shop:make --processes 4              four supervised copies of what make() returns
  queue-consumer run shop:orders --reload --log-level debug            while you work on it
  queue-consumer run shop:orders --stop-after idle:30s                 until there is nothing to do
  queue-consumer run shop:orders --dashboard 8080          a web page; its address is logged
  queue-consumer run shop:orders --metrics 9464 --socket /run/orders.sock --log-format json

The first SIGINT (Ctrl-C) or SIGTERM lets what runs finish, for at most --drain-timeout; the second stops now.
SIGUSR1 logs where every running handler stands."""


class StopAfter:
    """What `--stop-after` says: `90s`, `1000items`, `idle:30s`, or several with commas, of which the first counts."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._seconds = float("inf")
        self._conditions: list[Any] = []
        for part in text.split(","):
            part = part.strip()
            try:
                if part.startswith("idle:"):
                    self._conditions.append(Idle(seconds(part.removeprefix("idle:"))))
                elif part.endswith("items"):
                    self._conditions.append(MaxItems(count()(part.removesuffix("items").strip())))
                else:
                    self._seconds = min(self._seconds, seconds(part))
            except ValueError:
                raise ValueError(f"must be like 90s, 15m, 1000items or idle:30s; got {text!r}") from None

    def __call__(self, stats: Stats, lasted: float) -> bool:
        return lasted >= self._seconds or any(condition(stats) for condition in self._conditions)

    def __repr__(self) -> str:
        return self.text


def options() -> Sequence[Option]:
    return (
        Option("targets", "module:object, a Consumer or a function that makes one", many=True, required=True),
        Option("--processes", "so many supervised copies; one that dies is replaced", count(), 1, shown="N"),
        Option("--reload", "begin anew when a Python file changes", None, False),
        Option("--reload-dir", "the folder to watch", Path, Path("."), shown="DIR"),
        Option(
            "--stop-after",
            "stop after 90s, 15m, 1000items or idle:30s; or several, with commas",
            StopAfter,
            shown="WHEN",
        ),
        Option(
            "--drain-timeout", "seconds that what runs may take when it is time to stop", seconds, 25.0, shown="SECONDS"
        ),
        Option("--max-handlers", "so many handlers at once, whatever the program says", count(), shown="N"),
        Option(
            "--metrics",
            "serve /metrics, /healthz and /readyz on this port, of loopback unless said",
            address,
            shown="[HOST:]PORT",
        ),
        Option("--dashboard", "serve a web page on this port, of loopback unless said", address, shown="[HOST:]PORT"),
        Option("--socket", "a Unix socket for `top`; copies add .1, .2, …", Path, shown="PATH"),
        Option("--log-format", "how log lines look", default="text", choices=FORMATS),
        Option("--log-level", "the least that is logged", default="info", choices=LEVELS),
    )


def run(arguments: argparse.Namespace) -> int:
    set_up_logging(arguments.log_format, arguments.log_level)
    if (arguments.processes > 1 or arguments.reload) and "QUEUE_CONSUMER_COPY" not in os.environ:
        watch = arguments.reload_dir if arguments.reload else None
        if watch is not None and not watch.is_dir():
            raise CommandError(f"--reload-dir must be a folder; got {str(watch)!r}")
        commands = [command_of(arguments, number) for number in range(arguments.processes)]
        return Copies(commands, drain_timeout=arguments.drain_timeout, watch=watch).run()
    return run_here(arguments)


class NotBegun(BaseException):
    """A signal came while the targets were being made. No Exception, so that nobody's import takes it for an error."""


def run_here(arguments: argparse.Namespace) -> int:
    """In this process."""
    begun = False

    def give_up(number: int) -> None:
        if number != signal.SIGUSR1 and not begun:
            raise NotBegun

    try:
        with Signals(give_up):  # or process 1 of a container would not hear them
            with opened(arguments) as running:
                begun = True
                return int(running.run())
    except NotBegun:
        log.warning("stopped before it had begun", extra={"event": "stopped"})
        return int(Exit.CLEAN)


@contextmanager
def opened(arguments: argparse.Namespace) -> Generator[Running]:
    """The consumers, ready to be started; and while they are there, what is served about them."""
    targets = load_all(arguments.targets)
    for target in targets:
        prepare(target, arguments)
    services = services_of(arguments, targets)
    served: list[Serving] = []
    try:
        for service in services:
            try:
                service.open()
            except OSError as error:
                raise CommandError(f"{service} cannot be opened: {error}") from error
            served.append(service)
        yield Running(targets, drain_timeout=arguments.drain_timeout, stop_after=arguments.stop_after)
    finally:
        for service in served:
            service.close()


class Serving(Protocol):
    """What tells others about the consumers, for as long as they are there."""

    def open(self) -> None: ...
    def close(self) -> None: ...


def services_of(arguments: argparse.Namespace, targets: Sequence[Target]) -> list[Serving]:
    """What is asked for. Web servers are imported only then: most runs have none."""
    services: list[Serving] = []
    if arguments.metrics is not None:
        from ._web import Web

        services.append(Web(arguments.metrics, targets))
    if arguments.dashboard is not None:
        from ._dashboard import Dashboard

        services.append(Dashboard(arguments.dashboard, targets))
    if arguments.socket is not None:
        services.append(Socket(arguments.socket, targets))
    return services


def prepare(target: Target, arguments: argparse.Namespace) -> None:
    if arguments.max_handlers is not None:
        target.consumer.resize(arguments.max_handlers)
    if logging.getLogger("queue_consumer").isEnabledFor(logging.DEBUG):
        target.consumer.observe(LogObserver(level=logging.DEBUG, troubles=False))


def command_of(arguments: argparse.Namespace, number: int) -> list[str]:
    """What one copy is told, in full, so that neither the environment nor a default can say otherwise."""
    command = ["run", *arguments.targets, "--processes", "1", "--no-reload"]
    command += ["--drain-timeout", str(arguments.drain_timeout)]
    command += ["--log-format", arguments.log_format, "--log-level", arguments.log_level]
    if arguments.stop_after is not None:
        command += ["--stop-after", arguments.stop_after.text]
    if arguments.max_handlers is not None:
        command += ["--max-handlers", str(arguments.max_handlers)]
    alone = arguments.processes == 1
    if arguments.metrics is not None:
        host, port = arguments.metrics
        command += ["--metrics", f"{host}:{port + number if port else 0}"]
    if arguments.dashboard is not None:
        host, port = arguments.dashboard
        command += ["--dashboard", f"{host}:{port + number if port else 0}"]
    if arguments.socket is not None:
        command += ["--socket", str(arguments.socket) + ("" if alone else f".{number + 1}")]
    return command
