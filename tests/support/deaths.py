"""Handlers that die, or are to be killed, with a diary that survives them; and a look at what is left behind.

Child processes import the handlers from here. What a handler did is told by its diary alone: a file to which every
item is appended, and synced, when it is done with.
"""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import faulthandler
import multiprocessing
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import resource
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn

import psutil

from queue_consumer import current

PATIENCE = 60.0  # seconds after which a test that waits has failed; never waited for in one that passes


class Mortal(NamedTuple):
    """An item, and what its handler is to die of when it holds it."""

    name: str
    death: str = ""


class Line(NamedTuple):
    """What a handler wrote down when it was done with an item."""

    pid: int
    name: str


class Diary:
    """A file of `Line`s, written by any number of processes and read by the test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def write(self, name: object) -> None:
        """One line, whole and on the disk when this returns: appending is atomic, and nothing is buffered."""
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, f"{os.getpid()} {name}\n".encode())
            os.fsync(fd)
        finally:
            os.close(fd)

    def lines(self) -> list[Line]:
        lines = (line.split(" ", 1) for line in self.path.read_text().splitlines())
        return [Line(int(pid), name) for pid, name in lines]

    def names(self) -> list[str]:
        return [line.name for line in self.lines()]

    def wait_for(self, fact: Callable[[list[Line]], object]) -> list[Line]:
        """Wait until something is true of the lines; they are written by other processes, which ring no bell here."""
        pause = threading.Event()
        for _ in range(int(PATIENCE / 0.005)):
            if fact(lines := self.lines()):
                return lines
            pause.wait(0.005)
        raise AssertionError(f"never came to be of {self.names()[-10:]}")


# Ways to die.


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> NoReturn:
    os._exit(3)


def segfault() -> None:
    faulthandler.disable()  # a child forked from a test run would show a stack that nobody wants to see
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def freeze() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


DEATHS: dict[str, Callable[[], object]] = {
    "SIGKILL": kill,
    "os._exit": leave,
    "segfault": segfault,
    "SIGSTOP": freeze,
}


# Handlers.


class Dying:
    """Writes down every item it is done with, and dies as the items say; "after …": when it has asked past the end."""

    def __init__(self, diary: Diary, receipt: str) -> None:
        self.diary = diary
        self.receipt = receipt

    def __call__(self, items: Any) -> None:
        last = ""
        for item in items:
            self.die(item.death)
            self.diary.write(item.name)
            if self.receipt == "explicit":
                items.ack(item)
            last = item.death
        self.die(last.removeprefix("after "))

    def die(self, death: str) -> None:
        if death in DEATHS:
            DEATHS[death]()


class DiesFirst(Dying):
    """Dies in its first call, in whichever process, before it takes anything."""

    def __init__(self, diary: Diary, receipt: str, death: str) -> None:
        super().__init__(diary, receipt)
        self.death = death

    def __call__(self, items: Any) -> None:
        if is_first(self.diary.path.with_suffix(".called")):
            self.die(self.death)
        super().__call__(items)


def is_first(path: Path) -> bool:
    """True for one caller only, of all there are in any process."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class Noting:
    """Writes down each item, and does what the test wants done with it."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary

    def __call__(self, items: Iterator[Any]) -> None:
        for item in items:
            self.do(item)
            self.diary.write(item)

    def do(self, item: Any) -> None:
        """Nothing."""


class Waiting(Noting):
    """Writes "begun …" and then waits, with items that say "wait", until the test opens the gate."""

    def __init__(self, diary: Diary, gate: Path) -> None:
        super().__init__(diary)
        self.gate = gate

    def do(self, item: Any) -> None:
        if str(item).startswith("wait"):
            self.diary.write(f"begun {item}")
            self.gate.read_bytes()  # of a pipe: returns when whoever has it open for writing lets go of it


@contextlib.contextmanager
def gate(path: Path) -> Generator[Callable[[], None]]:
    """A pipe at which handlers wait until the function is called."""
    os.mkfifo(path)
    fd: list[int] = [os.open(path, os.O_RDWR)]  # both ways, so as not to wait for a reader

    def open_it() -> None:
        path.rename(path.with_suffix(".open"))  # who comes from now on finds a file, and nothing to wait for
        path.touch()
        while fd:
            os.close(fd.pop())

    try:
        yield open_it
    finally:
        while fd:
            os.close(fd.pop())


class Interrupting(Noting):
    """Presses Ctrl-C on its own process."""

    def do(self, item: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)


class Parenting(Noting):
    """Has a child process of its own for each item; with the item "orphan" it dies while that lives on."""

    def do(self, item: Any) -> None:
        ours, theirs = multiprocessing.get_context("fork").Pipe()
        child = multiprocessing.get_context("fork").Process(target=answer, args=(theirs, item))
        child.start()
        if item == "orphan":
            self.diary.write(f"grandchild {child.pid}")
            kill()
        ours.send(item)
        assert ours.recv() == ["answer to", item]
        child.join()


def answer(connection: Any, item: Any) -> None:
    if item == "orphan":
        threading.Event().wait()
    connection.send(["answer to", connection.recv()])


class Keeping(Noting):
    """Takes three and does not ask for more, until the next call: then it asks all the iterators that it has had."""

    kept: ClassVar[list[Any]] = []

    def __call__(self, items: Iterator[Any]) -> None:
        for old in self.kept:
            for item in old:
                self.diary.write(f"late {item}")
        self.kept.append(items)
        super().__call__(islice(items, 3))


class Locked:
    """Cannot be sent to another process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()

    def handle(self, items: Iterator[Any]) -> None:
        """Nothing."""


class Taking:
    """Takes all, and acknowledges none."""

    def __call__(self, items: Iterator[Any]) -> None:
        for _ in items:
            pass


def acknowledge(items: Any) -> None:
    """All of them, at once."""
    for item in items:
        items.ack(item)


class Seeing(Noting):
    """Writes down what `current()` and the context of the call say."""

    def do(self, item: Any) -> None:
        now = current()
        self.diary.write(f"{now.item is item} {now.attempt} {IMAGINED.get()} {CALLS.get()}")
        CALLS.set(CALLS.get() + 1)


IMAGINED: contextvars.ContextVar[str] = contextvars.ContextVar("imagined", default="nothing")
CALLS: contextvars.ContextVar[int] = contextvars.ContextVar("calls", default=0)


def imagine() -> None:
    """An initializer that leaves something in the context."""
    IMAGINED.set("something")


class Weighing(Noting):
    """Writes down how much each item weighs."""

    def __call__(self, items: Iterator[Any]) -> None:
        for item in items:
            self.diary.write(len(item))
            if item[0]:
                raise ValueError("heavy " + "words " * 1_000_000)


# Items that are trouble on their way.


class Unpicklable:
    """Raises when it is pickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> NoReturn:
        raise self.error


class Poisonous:
    """Raises when it is unpickled."""

    def __reduce__(self) -> Any:
        return swallow, ()


def swallow() -> NoReturn:
    raise SystemExit("it cannot be unpickled")


class Deadly:
    """Kills whoever unpickles it."""

    def __reduce__(self) -> Any:
        return kill, ()


# Initializers.


def refuse() -> NoReturn:
    raise LookupError("no database")


class RefusesReplacements:
    """An initializer that raises in the processes from the third to the fifth."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> None:
        with self.path.open("ab") as file:
            file.write(b".")
        if 3 <= self.path.stat().st_size <= 5:
            raise LookupError("no database")


# What is left behind.


def family() -> list[psutil.Process]:
    """Our children and theirs, but for the servers that other tests of this process have on a leash."""
    found = psutil.Process().children(recursive=True)
    leashes: set[int] = set()
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(part.endswith("leash.py") for part in process.cmdline()):
                leashes.add(process.pid)
    others: list[psutil.Process] = []
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.pid not in leashes and process.ppid() not in leashes:
                others.append(process)
    return others


def children() -> dict[int, str]:
    """Our children and theirs, but for those that Python keeps for itself."""
    own: set[int | None] = {
        multiprocessing.forkserver._forkserver._forkserver_pid,  # type: ignore[attr-defined]
        multiprocessing.resource_tracker._resource_tracker._pid,  # type: ignore[attr-defined]
    }
    found: dict[int, str] = {}
    for process in family():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.pid not in own:
                found[process.pid] = f"{process.status()} {process.cmdline()}"
    return found


def descriptors() -> dict[int, str]:
    """What is open in this process."""
    found: dict[int, str] = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def threads() -> set[threading.Thread]:
    """The threads of consumers."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("queue_consumer")}


def wake_pythons_own() -> None:
    """Start those processes that Python keeps for itself, so that they are there before and after."""
    multiprocessing.forkserver.ensure_running()
    multiprocessing.resource_tracker.ensure_running()


@contextlib.contextmanager
def nothing_left_behind() -> Generator[None]:
    """Fail if there is a thread, a child or a file descriptor afterwards that was not there before."""
    wake_pythons_own()
    before, old, running = descriptors(), children(), threads()
    yield
    for pid in children().keys() - old.keys():
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(1)  # the kernel may be about to bury it
    left = {pid: what for pid, what in children().items() if pid not in old and not what.startswith("zombie")}
    assert not left, f"processes left behind: {left}"
    assert threads() <= running, f"threads left behind: {threads() - running}"
    more = {fd: what for fd, what in descriptors().items() if before.get(fd) != what}
    assert not more, f"file descriptors left behind: {more}"
