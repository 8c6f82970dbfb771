"""`check`: what would go wrong, in plain sentences, before anything is consumed."""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from queue_consumer import Consumer

from ._exits import CommandError, Exit
from ._options import Option
from ._plain import plain
from ._progress import many
from ._target import Target, load
from .schemes import Finding, installed, scheme_of

NAME = "check"
SUMMARY = "say what would go wrong, before anything is consumed"
EXAMPLES = """\
  queue-consumer check shop.orders:consumer
  queue-consumer check shop.orders:consumer --strict && deploy       advice counts as well

Each finding says what it is, why it matters, and what to do. With a problem the exit code is 1."""

UNPICKLED = 20.0  # seconds for a child to import the handler


def options() -> Sequence[Option]:
    return (
        Option("targets", "module:object, a Consumer or a function that makes one", many=True, required=True),
        Option("--strict", "advice counts as a problem", None, False),
    )


def run(arguments: argparse.Namespace) -> int:
    bad = 0
    for spec in arguments.targets:
        try:
            targets = load(spec)
        except CommandError as error:
            bad += tell(spec, [of_loading(error)], strict=arguments.strict)
            continue
        for target in targets:
            bad += tell(target.name, list(findings_of(target)), strict=arguments.strict)
            target.consumer.shutdown(0)
    return int(Exit.UNEXPECTED if bad else Exit.CLEAN)


def tell(name: str, findings: Sequence[Finding], *, strict: bool) -> int:
    """Print them, problems first; how many count."""
    problems = [finding for finding in findings if finding.kind == "problem"]
    advice = [finding for finding in findings if finding.kind == "advice"]
    if not findings:
        print(f"{name}: nothing was found that would go wrong")
        return 0
    print(f"{name}: {many(len(problems), 'problem')}, {many(len(advice), 'piece of advice', 'pieces of advice')}")
    for finding in (*problems, *advice):
        text = f"\n  {finding.kind.upper()}: {finding.what}\n    Why: {finding.why}\n    Do:  {finding.do}"
        print(plain(text, keep="\n"))
    print()
    return len(findings) if strict else len(problems)


def of_loading(error: CommandError) -> Finding:
    """Why there is no consumer at all."""
    if error.code is Exit.UNREACHABLE:
        cause = type(error.__cause__).__name__
        todo = {
            "QueueNotFound": "Create the queue, or see that its name, region and account are right.",
            "AccessDenied": "Allow what the sentence names, to who runs this.",
            "BadCredentials": "Give credentials and a region: by the environment, a profile or a role.",
            "NotInstalled": "Install what the sentence names.",
        }
        return Finding(
            what=error.message,
            why="Nothing can be received.",
            do=todo.get(cause, "See that the broker runs, and that its address is right."),
        )
    if isinstance(error.__cause__, (TypeError, ValueError)):
        return Finding(
            what=error.message,
            why="The consumer cannot be made as it is.",
            do="Change what the sentence names; it says what is allowed.",
        )
    return Finding(
        what=error.message,
        why="Without it there is nothing to run.",
        do="Run it from the folder that `import` needs, with all that the module imports installed.",
    )


def findings_of(target: Target) -> Iterable[Finding]:
    consumer = target.consumer
    yield from of_handler(consumer)
    yield from of_line(consumer)
    limit, buried = consumer.options.time_limit, consumer.options.dead_letter is not None
    for queue in queues_of(consumer.queue):
        for name in installed():
            try:
                found = scheme_of(name).check(queue, time_limit=limit, buried=buried)
            except ValueError:
                continue  # its library is not installed, so the queue is not one of its own
            yield from found or ()


def queues_of(queue: Any) -> list[Any]:
    """The queue, and those that it is made of where it has nothing to be asked for itself."""
    if hasattr(queue, "queues"):
        return [queue]
    return [lane.queue for lane in getattr(queue, "lanes", ())] or [queue]


def of_handler(consumer: Consumer[Any]) -> Iterable[Finding]:
    """Whether a child process can import what it is to run; that it can be pickled the constructor has seen."""
    if consumer.options.pool != "processes":
        return
    script = "import pickle, sys; sys.path[:] = sys.argv[1:]; pickle.load(sys.stdin.buffer)"
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, *sys.path],
            input=pickle.dumps((consumer.options.handler, consumer.options.initializer)),
            capture_output=True,
            timeout=UNPICKLED,
            check=False,
        )
        why = done.stderr.decode(errors="replace").strip().splitlines()[-1:] if done.returncode else []
    except subprocess.TimeoutExpired:
        why = [f"it took longer than {UNPICKLED:g} s"]
    if why:
        yield Finding(
            what=f"A child process cannot import the handler {consumer.options.handler!r}: {why[0]}",
            why="With pool='processes' each child imports it anew; none would start.",
            do="Define it at the top of a module that can be imported from the folder you start in.",
        )


def of_line(consumer: Consumer[Any]) -> Iterable[Finding]:
    """What the options say, whatever the queue."""
    options, queue = consumer.options, consumer.queue
    if options.time_limit is not None and options.pool == "threads":
        yield Finding(
            kind="advice",
            what=f"time_limit={options.time_limit:g} is only said aloud, since handlers run in threads.",
            why="A thread cannot be ended from outside: one that hangs keeps its item and its place.",
            do="Use pool='processes' or an async handler, or a timeout of whatever the handler waits for.",
        )
    lease = getattr(queue, "lease", None)
    extend = getattr(queue, "extend", None)
    if (
        isinstance(lease, (int, float))
        and not callable(extend)
        and options.time_limit is not None
        and lease < options.time_limit
    ):
        yield Finding(
            what=f"Items are leased for {lease:g} s, a handler may take {options.time_limit:g} s, and the queue cannot "
            "renew.",
            why="An item is given to somebody else while it is still being handled.",
            do="Make the lease longer than the time limit, or give the queue an extend(items, seconds).",
        )
    if not callable(getattr(queue, "cleanup", None)) and not hasattr(queue, "lanes") and not is_standard(queue):
        yield Finding(
            kind="advice",
            what=f"The queue {queue!r} has no cleanup(items).",
            why="It is never told what is done, so it has to forget items when it gives them: a crash loses them.",
            do="Give it a cleanup(items) that deletes or acknowledges them.",
        )


def is_standard(queue: Any) -> bool:
    return type(queue).__module__.partition(".")[0] in ("queue", "_queue", "multiprocessing", "asyncio")
