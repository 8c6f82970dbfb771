"""What parent and child of the process pool say to each other, and how.

Three ways lead to each child. A stream socket carries runs of chunks there, and outcomes back. A pipe carries
single letters to a thread of the child that never handles anything, so that it answers at once; its end of file
means that the parent is gone. And one aligned word of shared memory for each chunk in the child's hands says how
far it has come, written before an item is handed out, so that the parent knows it exactly whatever kills the
child.

All of it is between a parent and a child it made: nothing here reads from anybody else.
"""

from __future__ import annotations

import mmap
import os
import pickle
import select
import socket
import struct
import tempfile
import threading
import weakref
from multiprocessing import reduction
from typing import Any, Protocol

SLOTS = 1024  # chunks that may be in a child's hands

# A chunk's word: how many items were taken, and what else is known.
TAKEN = (1 << 32) - 1
BEGUN = 1 << 32  # the child has turned to it
EXHAUSTED = 1 << 33  # the handler asked past the end
RETURNED = 1 << 34  # the handler returned, and there is no more to say
READING = 1 << 36  # the child is unpickling the run that begins with this chunk
ALL = BEGUN | EXHAUSTED | RETURNED
REPORTED = 1 << 35  # how it ended was sent as an Outcome

# Letters of the control pipe.
RECALL = b"R"  # give back what you have not begun
HALT = b"H"  # let the iterator end
STACK = b"S"  # say where the handler stands

# Kinds of messages of the child.
READY, REFUSED, OUTCOME, UNREADABLE, DONE, BACK, WHERE = range(7)

# Marks of explicit receipts.
MARKS = {"consumed": 1, "failed": 2, "dropped": 3}
NAMES = {mark: name for name, mark in MARKS.items()}

_LENGTH = struct.Struct("=Q")


class End(Protocol):
    """The parent's end of a connection."""

    def let_go(self) -> None: ...


# Of this process alone: a child sees that its parent is gone when the last copy of the parent's end is closed, so a
# process that is forked off the parent, by us or by anybody, must not keep one.
_ends: weakref.WeakSet[End] = weakref.WeakSet()


def keep_from_forks(end: End) -> None:
    """Have it let go of in every process that is forked off this one from now on."""
    _ends.add(end)


def _let_go() -> None:
    for end in list(_ends):
        end.let_go()
    _ends.clear()


os.register_at_fork(after_in_child=_let_go)


class Memory:
    """The shared words; and where they are asked for two bytes for every item: what an explicit receipt says of it,
    written by the child, and whether its lease is lost, written by the parent.

    Made by the parent, opened by the child. `flags`: items of a chunk that have these bytes.
    """

    def __init__(self, flags: int) -> None:
        self._size = SLOTS * (8 + 2 * flags)
        self.flags = flags
        if hasattr(os, "memfd_create"):
            self._fd = os.memfd_create("queue_consumer")
        else:
            self._fd, path = tempfile.mkstemp()
            os.unlink(path)
        os.ftruncate(self._fd, self._size)
        self._open()

    @classmethod
    def opened(cls, fd: int, flags: int) -> Memory:
        memory = cls.__new__(cls)
        memory._fd, memory.flags, memory._size = fd, flags, SLOTS * (8 + 2 * flags)
        memory._open()
        return memory

    def _open(self) -> None:
        self._map = mmap.mmap(self._fd, self._size)
        self._view = memoryview(self._map)
        self.words = self._view[: SLOTS * 8].cast("Q")

    @property
    def fd(self) -> int:
        return self._fd

    def marks(self, slot: int) -> memoryview:
        start = SLOTS * 8 + 2 * slot * self.flags
        return self._view[start : start + self.flags]

    def losses(self, slot: int) -> memoryview:
        start = SLOTS * 8 + (2 * slot + 1) * self.flags
        return self._view[start : start + self.flags]

    def clear(self, first: int, count: int) -> None:
        """For the parent, before it gives these slots to other chunks."""
        for slot in range(first, first + count):
            self.words[slot % SLOTS] = 0
            if self.flags:
                self.marks(slot % SLOTS)[:] = self.losses(slot % SLOTS)[:] = bytes(self.flags)

    def close(self) -> None:
        self.words.release()
        self._view.release()
        self._map.close()
        os.close(self._fd)


class Handed:
    """A file descriptor on its way into a child that multiprocessing starts."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> Any:
        return _received, (reduction.DupFd(self._fd),)


def _received(dup: Any) -> int:
    fd: int = dup.detach()
    return fd


class Channel:
    """Messages over a stream socket, one reader a side. Never waits without a deadline."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._out = bytearray()
        self._in = bytearray()
        self._poll = select.poll()
        self._sending = threading.Lock()

    def send(self, message: Any) -> None:
        """Send, or keep what does not fit into the socket now; `pump` sends the rest."""
        self.send_bytes(pickle.dumps(message, 5))

    def send_bytes(self, payload: bytes) -> None:
        with self._sending:
            self._out += _LENGTH.pack(len(payload))
            self._out += payload
        self._flush()

    def _flush(self) -> None:
        with self._sending:  # a child sends from two threads
            while self._out:
                try:
                    sent = self._sock.send(self._out)
                except BlockingIOError:
                    return
                except OSError:
                    self._out.clear()  # the other side is gone, which the reader will notice
                    return
                del self._out[:sent]

    @property
    def unsent(self) -> int:
        return len(self._out)

    def pump_out(self) -> None:
        """Wait until more of what is unsent can be sent, and send it."""
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        poll.poll(1000)
        self._flush()

    def pump(self, timeout: float | None) -> list[bytes]:
        """Send what is waiting, and wait for messages; none if the time was up.

        Raises:
            EOFError: the other side is gone, and all that it sent has been given.
        """
        events = select.POLLIN | (select.POLLOUT if self._out else 0)
        self._poll.register(self._sock, events)
        ready = self._poll.poll(None if timeout is None else timeout * 1000)
        for _, event in ready:
            if event & select.POLLOUT:
                self._flush()
            if event & ~select.POLLOUT:
                return self.receive()
        return []

    def receive(self) -> list[bytes]:
        """The messages that are there now."""
        gone = False
        while True:
            try:
                data = self._sock.recv(1 << 18)
            except BlockingIOError:
                break
            except OSError:  # reset: it died with something of ours unread
                gone = True
                break
            if not data:
                gone = True
                break
            self._in += data
            if len(data) < 1 << 18:
                break
        messages = self._split()
        if gone and not messages:
            raise EOFError
        return messages

    def _split(self) -> list[bytes]:
        messages: list[bytes] = []
        start, buffer = 0, self._in
        while len(buffer) - start >= 8:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if len(buffer) - start - 8 < length:
                break
            messages.append(bytes(buffer[start + 8 : start + 8 + length]))
            start += 8 + length
        if start:
            del buffer[:start]
        return messages

    def close(self) -> None:
        self._sock.close()
