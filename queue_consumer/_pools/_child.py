"""A child of the process pool: takes runs of chunks, handles them in order, tells how they ended.

The main thread handles. Another thread listens to the control pipe, so that the parent is answered at once even
while a handler is
busy: it gives back what was not begun, ends iterators, tells stacks, and ends the process when the parent is gone.
"""

from __future__ import annotations

import contextvars
import marshal
import os
import pickle
import resource
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Container, Iterator
from typing import Any

from .._chunk import Chunk, Ending, Failure, Fate, Feed, Receipt, Receipts, raised, returned
from .._current import entered
from ._wire import (
    BACK,
    BEGUN,
    DONE,
    EXHAUSTED,
    HALT,
    MARKS,
    OUTCOME,
    READING,
    READY,
    RECALL,
    REFUSED,
    REPORTED,
    RETURNED,
    SLOTS,
    STACK,
    UNREADABLE,
    WHERE,
    Channel,
    Memory,
)


def main(
    data: int, control: int, memory: int, flags: int, handler: bytes, initializer: bytes, receipt: Receipt
) -> None:
    """Entry of a child that multiprocessing has started."""
    channel, opened = begin(data), Memory.opened(memory, flags)
    serve(channel, control, opened, lambda: (pickle.loads(handler), pickle.loads(initializer)), receipt)


def begin(data: int) -> Channel:
    """What a child does first: leave Ctrl-C to its parent, and be no daemon, which could have no children of its
    own.
    """
    import multiprocessing

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        multiprocessing.current_process().daemon = False
    except AssertionError:
        pass  # not a child of multiprocessing's, and no daemon either
    return Channel(socket.socket(fileno=data))


def serve(
    channel: Channel,
    control: int,
    memory: Memory,
    load: Callable[[], tuple[Callable[[Any], object], Callable[[], object] | None]],
    receipt: Receipt,
) -> None:
    """Serve until the parent closes the channel; `load` gives the handler and the initializer."""
    child = Child(channel, control, memory, receipt)
    # From the first, so that one which hangs while it imports or initializes does not outlive its parent either.
    threading.Thread(target=child.listen, name="queue_consumer-control", daemon=True).start()
    try:
        handler, initializer = load()
    except BaseException as error:  # told to the parent, whose start() raises it
        return child.refuse("the handler cannot be imported in a child process", error)
    try:
        if initializer is not None:
            initializer()
    except BaseException as error:
        return child.refuse("pool_initializer raised", error)
    child.run(handler)


class Child:
    """The state of one child."""

    def __init__(self, channel: Channel, control: int, memory: Memory, receipt: Receipt) -> None:
        self._channel = channel
        self._control = control
        self._memory = memory
        self._words = memory.words
        self._handler: Callable[[Any], object]
        self._explicit = receipt == "explicit"
        self._runs: deque[Any] = deque()  # as they came
        self._pending: deque[tuple[int, list[Any], bool, Origin, bool]] = deque()  # the open run's chunks
        self._held: deque[Chunk] = deque()
        self._reading = threading.Lock()
        self._main = threading.get_ident()
        self._halted = False

    def run(self, handler: Callable[[Any], object]) -> None:
        self._handler = handler
        self._context = entered(contextvars.copy_context(), self._held)  # with what the initializer has set
        self._send((READY, os.getpid()))
        while True:
            try:
                with self._reading:
                    self._queue(self._channel.pump(None))
            except EOFError:
                return
            while self._pending or self._runs:
                if self._halted:
                    self._give_back()
                else:
                    self._handle_pending()

    def refuse(self, what: str, error: BaseException) -> None:
        self._send((REFUSED, f"{what}: {type(error).__name__}: {error}", traceback.format_exc()))

    def _queue(self, messages: list[bytes]) -> None:
        self._runs.extend(map(marshal.loads, messages))

    def _open_run(self) -> None:
        """Unpickle a run of chunks; one that cannot be read whole is sent again item by item."""
        try:
            first, sizes, body, attempts, lane = self._runs.popleft()
        except IndexError:
            return  # recalled meanwhile
        if isinstance(body, bytes):
            self._words[first] = READING
            try:
                body = pickle.loads(body)
                if len(body) != sum(sizes):
                    raise ValueError("not as many items as were sent")
            except BaseException:  # it is sent again item by item, so that only the bad one fails
                self._words[first] = 0
                self._send((UNREADABLE, [(first + index) % SLOTS for index in range(len(sizes))]))
                return
            self._words[first] = 0
            pickled = False
        else:
            pickled = True
        start, memory = 0, self._memory
        origin = Origin(lane)
        for index, size in enumerate(sizes):
            stop, slot = start + size, (first + index) % SLOTS
            if attempts is not None or memory.flags:
                tries = None if attempts is None else attempts[start:stop]
                origin = Origin(lane, tries, memory.losses(slot) if memory.flags else None)
            last = index == len(sizes) - 1
            self._pending.append((slot, body[start:stop], pickled, origin, last))
            start = stop

    def _handle_pending(self) -> None:
        """Handle one chunk, and say so where the parent might want to send more."""
        if not self._pending:
            self._open_run()
        try:
            slot, items, pickled, origin, last = self._pending.popleft()
        except IndexError:
            return  # recalled meanwhile
        self._words[slot] = BEGUN
        if not pickled or self._unpickle(slot, items):
            self._handle(slot, items, origin)
        if last or not self._pending:
            self._send((DONE, peak_memory()))

    def _unpickle(self, slot: int, items: list[Any]) -> bool:
        """In place, one by one; False if one cannot be, which then fails alone, and the others are handed on."""
        for index, frame in enumerate(items):
            try:
                items[index] = pickle.loads(frame)
            except BaseException as error:
                failure = Failure.of(error)
                why = Failure(failure.kind, f"the item cannot be unpickled in a child process: {failure.message}")
                ending = Ending("unopened", why, None, {index: Fate("failed", None, why)})
                self._report(slot, Chunk([], None), ending)
                return False
        return True

    def _handle(self, slot: int, items: list[Any], origin: Origin) -> None:
        chunk = Chunk(items, origin)
        origin.items = items
        chunk.halted = self._halted
        decided: dict[int, Fate] = {}
        feed: Iterator[Any] | Feed[Any]
        if self._explicit:
            explicit = Marked(chunk, self._words, slot, self._memory.marks(slot), self._held)
            decided, feed = explicit.decided, explicit
        else:
            feed = self._feed(chunk, slot)
        self._held.append(chunk)
        try:
            result = self._context.copy().run(self._handler, feed)
        except BaseException as error:
            ending = raised(error, decided)
        else:
            if result is None and not decided:
                self._held.pop()
                chunk.halted = chunk.taken < len(items)  # the iterator dies with its call
                self._words[slot] |= RETURNED
                return
            ending = returned(result, items, decided)
        self._held.pop()
        chunk.halted = True
        self._report(slot, chunk, ending)

    def _feed(self, chunk: Chunk, slot: int) -> Iterator[Any]:
        """`Chunk.feed`, with the receipt in shared memory before the item is out of our hands."""
        words, taken = self._words, 0
        for item in chunk.items:
            if chunk.halted:
                break
            taken += 1
            chunk.taken = taken
            words[slot] = BEGUN | taken
            yield item
        if chunk in self._held:  # otherwise the call is over, and the word no longer ours
            chunk.exhausted = True
            words[slot] = BEGUN | EXHAUSTED | taken

    def _report(self, slot: int, chunk: Chunk, ending: Ending) -> None:
        self._send((OUTCOME, slot, chunk.taken, chunk.exhausted, ending))
        self._words[slot] |= REPORTED

    def _send(self, message: Any) -> None:
        self._channel.send(message)
        while self._channel.unsent:
            self._channel.pump_out()

    # ------------------------------------------------------------------ the listening thread

    def listen(self) -> None:
        while True:
            letters = os.read(self._control, 64)
            if not letters:
                os._exit(1)  # the parent is gone, and nobody would hear of what we did
            for letter in letters:
                self._obey(bytes([letter]))

    def _obey(self, letter: bytes) -> None:
        if letter == RECALL:
            self._recall()
        elif letter == HALT:
            self._halted = True
            for chunk in list(self._held):
                chunk.halted = True
        elif letter == STACK:
            frame = sys._current_frames().get(self._main)  # pyright: ignore[reportPrivateUsage]
            self._send((WHERE, "".join(traceback.format_stack(frame))))

    def _recall(self) -> None:
        # While the main thread waits for messages there are none to read; but without an answer we are not asked again.
        if self._reading.acquire(blocking=False):
            try:
                self._queue(self._channel.receive())
            except EOFError:
                pass  # the main thread will meet it too
            finally:
                self._reading.release()
        self._give_back()

    def _give_back(self) -> None:
        """Return every chunk that the main thread has not turned to."""
        slots: list[int] = []
        while True:
            try:
                first, sizes, *_ = self._runs.pop()
                slots += [(first + index) % SLOTS for index in reversed(range(len(sizes)))]
            except IndexError:
                break
        while True:
            try:
                slots.append(self._pending.pop()[0])
            except IndexError:
                break
        self._send((BACK, slots[::-1]))


class Marked(Receipts[Any]):
    """Explicit receipts that the parent can read even if this process dies."""

    __slots__ = ("_held", "_marks", "_slot", "_words")

    def __init__(self, chunk: Chunk, words: memoryview, slot: int, marks: memoryview, held: Container[Chunk]) -> None:
        super().__init__(chunk)
        self._words = words
        self._slot = slot
        self._marks = marks
        self._held = held

    def __next__(self) -> Any:
        chunk = self._chunk
        taken = chunk.taken + 1
        if not chunk.halted and taken <= len(chunk.items):
            self._words[self._slot] = BEGUN | taken
        try:
            return super().__next__()
        except StopIteration:
            if chunk in self._held:  # otherwise the call is over, and the word no longer ours
                self._words[self._slot] = BEGUN | EXHAUSTED | chunk.taken
            raise

    def _decide(self, item: Any, fate: Fate) -> None:
        if self._chunk not in self._held:
            raise ValueError("the handler call that this item was given to is over, and its fate decided")
        before = self.decided.keys() - ()
        super()._decide(item, fate)
        (index,) = self.decided.keys() - before
        self._marks[index] = MARKS[fate.name]


class Origin:
    """The lane of a chunk, as far as a child knows it."""

    __slots__ = ("_attempts", "_losses", "items", "name")

    def __init__(self, name: str, attempts: list[int] | None = None, losses: memoryview | None = None) -> None:
        self.name = name
        self.items: list[Any] = []
        self._attempts = attempts
        self._losses = losses

    def attempt_of(self, item: Any) -> int | None:
        return None if self._attempts is None else self._attempts[self._position(item)]

    def lost(self, item: Any) -> bool:
        return self._losses is not None and bool(self._losses[self._position(item)])

    def _position(self, item: Any) -> int:
        return next(index for index, own in enumerate(self.items) if own is item)


def peak_memory() -> int:
    """Bytes; the kernel counts in KiB, but for macOS."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
