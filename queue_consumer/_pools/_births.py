"""How children come to be: by multiprocessing's forkserver or spawn, or forked from a template.

Forking a process that has threads copies their locks as they happen to be, held or not. So with "fork" one
template is forked when the consumer starts, before it has threads of its own; it has one thread for ever, and
every child, replacements included, is forked from it.
"""

from __future__ import annotations

import multiprocessing.connection
import multiprocessing.context
import multiprocessing.forkserver
import os
import pickle
import select
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from .._chunk import Receipt
from .._line import now
from . import _child
from ._wire import Handed, Memory, keep_from_forks

BIRTH = struct.Struct("=QQ")  # to the template: which one it is, and its flags; back: which, and its pid, or 0


class Process(Protocol):
    """What the pool needs of a child process."""

    def join(self, timeout: float) -> bool:
        """Wait for its end; True if it has ended."""
        ...

    def kill(self) -> None: ...

    def epitaph(self) -> str:
        """What it died of, in words."""
        ...

    def close(self) -> None: ...


class Birth:
    """Bears children."""

    def __init__(
        self,
        context: multiprocessing.context.BaseContext,
        handler: Callable[[Any], object],
        initializer: Callable[[], object] | None,
        receipt: Receipt,
    ) -> None:
        self._context = context
        self._handler = handler
        self._initializer = initializer
        self._receipt: Receipt = receipt
        self._template: Template | None = None

    def prepare(self) -> None:
        match self._context.get_start_method():
            case "fork":
                self._template = Template(self._handler, self._initializer, self._receipt)
            case "forkserver":
                # Imported once there, and not again by every child.
                server: Any = getattr(multiprocessing.forkserver, "_forkserver", None)
                loaded: list[str] = getattr(server, "_preload_modules", ["__main__"])
                if _child.__name__ not in loaded:
                    multiprocessing.forkserver.set_forkserver_preload([*loaded, _child.__name__])
                # From here: one that is started by a thread that keeps Ctrl-C to itself would pass that on to all
                # the children it will ever have, and not all of them are ours.
                multiprocessing.forkserver.ensure_running()
            case _:
                pass

    def bear(self, data: int, control: int, memory: int, flags: int) -> Process:
        if self._template is not None:
            return self._template.bear(data, control, memory, flags)
        context: Any = self._context  # of which the base class is not said to have a Process
        process = context.Process(
            target=_child.main,
            args=(
                Handed(data),
                Handed(control),
                Handed(memory),
                flags,
                pickle.dumps(self._handler),
                pickle.dumps(self._initializer),
                self._receipt,
            ),
            name="queue_consumer-child",
            daemon=True,
        )
        reaper.start(process)
        return Started(process)

    def close(self) -> None:
        if self._template is not None:
            self._template.close()


class Reaper:
    """Who may ask of a process that multiprocessing has started whether it has ended, and when it is closed.

    Of two threads that ask at once, one is told how it ended, and the other that it runs: so only one asks at a time,
    with `lock`. It is held for moments only: whoever else asks, as multiprocessing does, makes us ask once more.

    And none is closed while another is being started. For that, multiprocessing asks all that it knows whether they
    have ended: of one that is closed at that moment it reads the descriptor all the same, which by then may be that of
    the one that is being started; and what this was to say is waited for in vain, for ever.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._starts = 0
        self._ended: list[Any] = []

    def start(self, process: Any) -> None:
        with self.lock:
            self._starts += 1
        try:
            process.start()
        finally:
            with self.lock:
                self._starts -= 1
                self._bury()

    def bury(self, process: Any) -> None:
        """Close it as soon as may be."""
        with self.lock:
            self._ended.append(process)
            self._bury()

    def _bury(self) -> None:
        while self._ended and not self._starts:
            try:
                self._ended.pop().close()
            except ValueError:
                pass  # it still runs, in spite of SIGKILL: the kernel holds it


reaper = Reaper()


def _after_fork() -> None:
    """The thread that held its lock is not in this process."""
    global reaper
    reaper = Reaper()


os.register_at_fork(after_in_child=_after_fork)


class Started:
    """A child that multiprocessing has started."""

    def __init__(self, process: Any) -> None:
        self._process = process
        self._code: int | None = None

    def join(self, timeout: float) -> bool:
        until = now() + timeout
        try:
            while True:
                with reaper.lock:
                    self._process.join(0)
                    self._code = self._process.exitcode
                left = until - now()
                if self._code is not None or left <= 0:
                    return self._code is not None
                if multiprocessing.connection.wait([self._process.sentinel], left):
                    time.sleep(0.001)  # what it held is closed a moment before it can be buried, and nothing rings then
        except (ValueError, AttributeError, OSError):
            return True  # closed meanwhile, by somebody who knows that it has ended

    def kill(self) -> None:
        try:
            self._process.kill()
        except ValueError:
            pass  # closed: it has ended

    def epitaph(self) -> str:
        return epitaph(self._process.pid, self._code) if self._code is not None else "it is gone"

    def close(self) -> None:
        self._epitaph = self.epitaph()
        self.epitaph = lambda: self._epitaph  # type: ignore[method-assign]
        reaper.bury(self._process)


class Template:
    """A process with one thread, of which children are forked."""

    def __init__(
        self, handler: Callable[[Any], object], initializer: Callable[[], object] | None, receipt: Receipt
    ) -> None:
        self._lock = threading.Lock()
        self._births = 0
        ours, theirs = socket.socketpair()
        flush()  # or every child would have its own copy to write
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                ours.close()
                template_main(theirs, handler, initializer, receipt)
                code = 0
            finally:
                os._exit(code)
        theirs.close()
        self._sock = ours
        keep_from_forks(self)

    def bear(self, data: int, control: int, memory: int, flags: int) -> Process:
        with self._lock:
            self._sock.settimeout(10)
            self._births += 1
            socket.send_fds(self._sock, [BIRTH.pack(self._births, flags)], [data, control, memory])
            birth = pid = 0
            while birth != self._births:  # what it says too late, of an earlier one, is not of this
                reply = self._sock.recv(BIRTH.size, socket.MSG_WAITALL)
                if len(reply) < BIRTH.size:
                    raise EOFError("the template process is gone")
                birth, pid = BIRTH.unpack(reply)
        if not pid:
            raise OSError("the template process cannot fork")
        return Forked(pid)

    def let_go(self) -> None:
        self._sock.close()

    def close(self) -> None:
        self._sock.close()
        try:
            os.kill(self._pid, signal.SIGKILL)  # it has nothing to lose, and may be stopped
            os.waitpid(self._pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # it is dead, and the program buries all its children itself


def template_main(
    sock: socket.socket,
    handler: Callable[[Any], object],
    initializer: Callable[[], object] | None,
    receipt: Receipt,
) -> None:
    """The template: fork a child for each message, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries its children
    while True:
        message, fds, _, _ = socket.recv_fds(sock, BIRTH.size, 3)
        if not message:
            return
        birth, flags = BIRTH.unpack(message)
        try:
            pid = os.fork()
        except OSError:  # too many processes, for now
            pid = None
        if pid == 0:
            code = 1
            try:
                sock.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                data, control, memory = fds
                channel = _child.begin(data)
                opened = Memory.opened(memory, flags)
                _child.serve(channel, control, opened, lambda: (handler, initializer), receipt)
                code = 0
            finally:
                flush()
                os._exit(code)
        for fd in fds:
            os.close(fd)
        sock.sendall(BIRTH.pack(birth, pid or 0))


class Forked:
    """A child of the template's, which only the template could wait for; we hold on to it by a pidfd."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._fd: int | None = None
        self._gone = False
        try:
            self._fd = os.pidfd_open(pid)
        except (AttributeError, OSError):
            self._gone = not _exists(pid)

    def join(self, timeout: float) -> bool:
        fd = self._fd
        if self._gone:
            return True
        if fd is not None:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            self._gone = bool(poll.poll(timeout * 1000))
        else:
            self._gone = not _exists(self._pid)
        return self._gone

    def kill(self) -> None:
        try:
            if self._fd is not None:
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)
            elif not self._gone:
                os.kill(self._pid, signal.SIGKILL)
        except OSError:
            pass  # it is gone

    def epitaph(self) -> str:
        return f"process {self._pid} died"

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._gone = True


def flush() -> None:
    """Write what was printed and not yet written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # there is none, or it is closed, or nobody reads it


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def epitaph(pid: int | None, code: int) -> str:
    if code >= 0:
        return f"process {pid} exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"process {pid} was killed by {name}"
