"""Handlers in processes: long-lived children, each with its own socket, so that one death costs one chunk.

Each place is a thread of the parent that drives one child. It takes chunks off the belt as a thread handler does, sends
them, and settles them by what the child's words in shared memory say; when the child dies it settles what the dead one held,
and ends, and the supervisor puts a new thread with a new child into its place.

When handlers are fast several chunks travel at once, as many as take a few milliseconds, and the next run is sent while
the child is busy with the last. If such a run then meets a slow item, and another handler has nothing to do, what the
child has not begun is called back.
"""

from __future__ import annotations

import marshal
import multiprocessing
import multiprocessing.context
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from .._bells import Bell, Latch
from .._chunk import Chunk, Ending, Failure, Fate, Receipt
from .._errors import UsageError
from .._events import ChunkStarted, log
from .._line import Line, now
from .._settling import Settling
from .._supervision import Supervision
from . import _wire as wire
from ._births import Birth, Process
from ._workers import Handler, Pool

START_TIME = 60.0  # seconds for a child to say that it is ready
TICK = 0.02  # seconds between two looks at a child that says nothing
RUN_TIME = 0.005  # seconds that one run of chunks should take
MOST = 256  # chunks in one run
BYTES = 1 << 16  # of items in one run, more or less
PARTING = 1.0  # seconds for a child to end by itself


def context(chosen: Any) -> multiprocessing.context.BaseContext:
    """The multiprocessing context that was asked for."""
    methods = multiprocessing.get_all_start_methods()
    if chosen is None:
        return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if isinstance(chosen, multiprocessing.context.BaseContext):
        return chosen
    if chosen not in methods:
        raise ValueError(f"mp_context must be one of {', '.join(map(repr, sorted(methods)))}, or None; got {chosen!r}")
    return multiprocessing.get_context(chosen)


def check_sendable(handler: Any, initializer: Any, context: multiprocessing.context.BaseContext) -> None:
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


class ProcessHandler(Handler):
    """The parent's side of one child."""

    def __init__(self, pool: ProcessPool, name: str) -> None:
        super().__init__(pool.line, name, pool.settling)
        self._pool = pool
        self.ready = Latch()
        self.refusal = ""
        self._forced = ""
        self._child: Child | None = None
        self._where: str | None = None
        self._told = Bell()

    def run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by the child, until it ignores it
        while not (self.retired or self.line.belt.closed):
            child = Child(self._pool, self)
            self._child = child
            try:
                child.wait_until_ready()
                self.ready.open()
                child.serve()
            except EOFError:
                child.end(0)
                child.bury(self._forced)
                raise Dead(self._forced or child.epitaph()) from None
            finally:
                child.end(PARTING)
                self._child = None
                child.forget()
                self.ready.open()

    def death(self) -> str:
        return str(self.error)

    @property
    def busy(self) -> Any:
        try:
            return None if (child := self._child) is None else child.busy()
        except ValueError:
            return None  # its words are gone, and it with them

    def item(self) -> Any:
        try:
            return None if (child := self._child) is None else child.item()
        except ValueError:
            return None

    def stack(self) -> str:
        """Asked of the child; one that is stopped, or holds its interpreter in C code, cannot answer."""
        child = self._child
        if child is None or not child.tell(wire.STACK):
            return super().stack()
        self._told.wait(0.5)
        where, self._where = self._where, None
        return where or "the process does not answer: it is stopped, or in code that does not let go of its interpreter"

    def told(self, where: str) -> None:
        self._where = where
        self._told.ring()

    def halt(self) -> None:
        if self._child is not None:
            self._child.tell(wire.HALT + wire.RECALL)

    def force(self, reason: str) -> None:
        self._forced = reason
        if self._child is not None:
            self._child.kill()

    def abandon(self) -> list[Any]:
        self.retire()
        child = self._child
        return [] if child is None else [item for chunk in child.take_over() for item in chunk.items]

    def bury(self) -> None:
        if self._child is not None:
            self._child.bury(self._forced)

    def holds(self) -> list[Any]:
        child = self._child
        return [] if child is None else [chunk.items for chunk in list(child.hand.values())]


class Dead(Exception):
    """A child has died."""


class Child:
    """One child process and what is in its hands."""

    def __init__(self, pool: ProcessPool, handler: ProcessHandler) -> None:
        self._pool = pool
        self._handler = handler
        self.hand: dict[int, Chunk] = {}  # by slot, in the order in which the child handles them
        self._slot = 0
        self._chunk_took = 1.0  # seconds, of late
        self._turned = now()  # when the child was last known to turn to something new
        self._memory = wire.Memory(pool.marks)
        ours, theirs = socket.socketpair()
        hears, self._tells = os.pipe()
        os.set_blocking(self._tells, False)
        try:
            self._process: Process = pool.birth.bear(theirs.fileno(), hears, self._memory.fd, pool.marks)
        except (OSError, EOFError) as error:
            ours.close()
            os.close(self._tells)
            self._memory.close()
            raise UsageError(f"{UNGUARDED} ({type(error).__name__}: {error})") from error
        finally:
            theirs.close()
            os.close(hears)
        self._channel = wire.Channel(ours)
        self._recalled = False
        self._ended = False
        self._peak = 0

    # ------------------------------------------------------------------ life

    def wait_until_ready(self) -> None:
        """The handshake; a child that cannot begin says why."""
        until = now() + START_TIME
        while now() < until and not self._handler.retired:
            try:
                messages = self._channel.pump(0.1)
            except EOFError:
                self._process.join(PARTING)
                raise UsageError(
                    f"a child process ended before it was ready ({self.epitaph()}). {UNGUARDED}"
                ) from None
            for message in messages:
                kind, text, *rest = pickle.loads(message)
                if kind == wire.REFUSED:
                    log.debug("%s", rest)
                    raise UsageError(text)
                return
        raise UsageError(f"a child process was not ready within {START_TIME:.0f} s")

    def serve(self) -> None:
        """Send chunks and settle them until it is time to end, or for another child.

        Raises:
            EOFError: the child has died.
        """
        handler, line = self._handler, self._handler.line
        served = 0
        while True:
            if not self.hand:
                chunk = handler.take()
                if chunk is None or self._worn(served):
                    if chunk is not None:
                        line.belt.put_back([chunk])
                    return
                self._send_run([handler.chunk_of(chunk)])
            if self._hungry():
                self._send_run([])
            before = len(self.hand)
            self._hear(self._channel.pump(TICK))
            served += before - len(self.hand)

    def end(self, patience: float) -> None:
        """Let the child go, by force if it does not go by itself."""
        if self._ended:
            return
        self._ended = True
        self._channel.close()
        if not self._process.join(patience):
            self._process.kill()
            self._process.join(PARTING)
        os.close(self._tells)
        self._process.close()

    def forget(self) -> None:
        """Nobody looks at its words any more."""
        self._memory.close()

    def kill(self) -> None:
        if not self._ended:
            self._process.kill()

    def epitaph(self) -> str:
        return self._process.epitaph()

    def tell(self, letters: bytes) -> bool:
        """Say something to the child's listening thread; False if it is gone or does not listen."""
        try:
            return not self._ended and os.write(self._tells, letters) == len(letters)
        except OSError:
            return False

    def _worn(self, served: int) -> bool:
        policy = self._pool.policy
        return (policy.recycle_after is not None and served >= policy.recycle_after) or (
            policy.recycle_memory is not None and self._peak > policy.recycle_memory
        )

    # ------------------------------------------------------------------ sending

    def _hungry(self) -> bool:
        """True if the child should have its next run already while it is busy with this one."""
        return (
            len(self.hand) <= MOST
            and self._chunk_took * len(self.hand) < RUN_TIME
            and bool(self._handler.line.belt.waiting)
            and not self._channel.unsent
        )

    def _send_run(self, run: list[Chunk]) -> None:
        """Take more chunks to go with these, no more than our share of what waits, and send them."""
        handler, line = self._handler, self._handler.line
        belt = line.belt
        most = min(MOST, int(RUN_TIME / self._chunk_took), len(belt.waiting) // self._pool.count + 1)
        while len(run) < most:
            try:
                run.append(handler.chunk_of(belt.next()))
            except IndexError:
                break
        if belt.dry:
            belt.let_in()
        if not run:
            return
        first, words = self._slot, self._memory.words
        if not self.hand:
            self._turned = now()
        bodies: list[list[bytes]] = []
        attempts: list[Any] | None = None if line.lane.port.attempt is None else []
        size, slot = 0, first
        while run:
            chunk = run.pop(0)
            self.hand[slot] = chunk
            words[slot] = 0
            try:
                frames = [pickle.dumps(item, 5) for item in chunk.items]
                if attempts is not None:
                    attempts.append([line.lane.attempt_of(item) for item in chunk.items])
            except Exception as error:
                del self.hand[slot]
                self._unsendable(chunk, error)
                continue
            bodies.append(frames)
            size += sum(map(len, frames))
            slot = (slot + 1) % wire.SLOTS
            if line.observers:
                on_belt = now() - chunk.at
                line.observers.tell(ChunkStarted(worker=handler.name, items=tuple(chunk.items), on_belt=on_belt))
            if size > BYTES and run:
                belt.put_back(run)
                break
        self._slot = slot
        if bodies:
            self._channel.send_bytes(marshal.dumps((first, bodies, attempts)))

    def _unsendable(self, chunk: Chunk, error: Exception) -> None:
        """An item that cannot be pickled fails alone."""
        for index, item in enumerate(chunk.items):
            try:
                pickle.dumps(item, 5)
            except Exception as cause:
                why = Failure(type(cause).__qualname__, f"the item cannot be pickled for a child process: {cause}")
                self._settle(chunk, Ending("unopened", why, None, {index: Fate("failed", None, why)}))
                return
        raise error

    # ------------------------------------------------------------------ hearing

    def _hear(self, messages: list[bytes]) -> None:
        for message in messages:
            kind, *rest = pickle.loads(message)
            match kind:
                case wire.OUTCOME:
                    self._settle_until(rest[0])
                    slot, taken, exhausted, ending = rest
                    chunk = self.hand.pop(slot, None)
                    if chunk is not None:
                        chunk.taken, chunk.exhausted = taken, exhausted
                        self._settle(chunk, ending)
                case wire.BACK:
                    back = [self.hand.pop(slot) for slot in rest[0] if slot in self.hand]
                    self._recalled = False
                    if back:
                        self._handler.line.belt.put_back(back)
                case wire.DONE:
                    self._peak = rest[0]
                case wire.WHERE:
                    self._handler.told(rest[0])
        self._settle_until(None)
        if not messages and len(self.hand) > 1 and not self._recalled:
            # It said nothing for a while and has more than it can do.
            belt = self._handler.line.belt
            if belt.idle and not belt.waiting:
                self._recalled = self.tell(wire.RECALL)

    def _settle_until(self, slot: int | None) -> None:
        """Settle those chunks, in order, whose handler returned and had nothing to add."""
        words, hand = self._memory.words, self.hand
        settled = 0
        tally, cleaner = self._handler.tally, self._handler.settling.cleaner
        quick = self._handler.line.lane.port.cleanup is not None and not self._handler.line.observers
        for number in list(hand):
            word = words[number]
            if not word & wire.RETURNED or number == slot:
                break
            try:
                chunk = hand.pop(number)
            except KeyError:
                return  # somebody else has accounted for it
            settled += 1
            count = len(chunk.items)
            if quick and word & wire.TAKEN == count:
                tally.freed += count
                cleaner.done.append(chunk.items)
            else:
                self._read(chunk, word)
                self._settle(chunk, Ending("returned"))
        if settled:
            if cleaner.asleep:
                cleaner.wake()
            took = (now() - self._turned) / settled
            self._turned = now()
            self._chunk_took += (min(took, 2 * self._chunk_took) - self._chunk_took) / 2

    def _settle(self, chunk: Chunk, ending: Ending) -> None:
        handler = self._handler
        handler.settling.settle(chunk, ending, handler.tally, handler.name, max(0.0, now() - self._turned))
        self._turned = now()

    def _read(self, chunk: Chunk, word: int) -> None:
        chunk.taken = word & wire.TAKEN
        chunk.exhausted = bool(word & wire.EXHAUSTED)

    def bury(self, reason: str) -> None:
        """The child is dead: settle what it held. What it had not begun goes to another, and none of it is to blame."""
        self._settle_until(None)
        unbegun: list[Chunk] = []
        for slot in list(self.hand):
            word = self._memory.words[slot]
            try:
                chunk = self.hand.pop(slot)
            except KeyError:
                continue  # somebody else has accounted for it
            if not word & wire.BEGUN:
                unbegun.append(chunk)
                continue
            self._read(chunk, word)
            decided: dict[int, Fate] = {}
            failure = Failure("ProcessDied", reason or self.epitaph())
            if self._pool.marks:
                for index, mark in enumerate(bytes(self._memory.marks(slot)[: len(chunk.items)])):
                    if mark:
                        name = wire.NAMES[mark]
                        decided[index] = Fate(name, None, failure if name == "failed" else None)  # type: ignore[arg-type]
            self._settle(chunk, Ending("died", failure, None, decided))
        if unbegun:
            self._handler.line.belt.put_back(unbegun)

    def take_over(self) -> list[Chunk]:
        """All that the child holds, for somebody else to account for."""
        chunks: list[Chunk] = []
        for slot in list(self.hand):
            chunk = self.hand.pop(slot, None)
            if chunk is not None:
                chunks.append(chunk)
        return chunks

    # ------------------------------------------------------------------ looking, from the supervisor's thread

    def busy(self) -> Any:
        """Tells the child's present item from the next."""
        for slot in list(self.hand):
            word = self._memory.words[slot]
            if not word & (wire.RETURNED | wire.REPORTED):
                return (self._handler.tally.freed, id(self.hand.get(slot)), word) if word & wire.BEGUN else None
        return None

    def item(self) -> Any:
        for slot, chunk in list(self.hand.items()):
            word = self._memory.words[slot]
            if not word & (wire.RETURNED | wire.REPORTED):
                taken = word & wire.TAKEN
                return chunk.items[taken - 1] if taken else None
        return None


class ProcessPool(Pool):
    """Places whose workers are children."""

    name = "processes"

    def __init__(
        self,
        line: Line,
        settling: Settling,
        handler: Callable[[Any], object],
        receipt: Receipt,
        initializer: Callable[[], object] | None,
        *,
        count: int,
        size: int,
        context: Any,
        policy: Supervision,
    ) -> None:
        super().__init__(lambda name: ProcessHandler(self, name), count)
        self.line = line
        self.settling = settling
        self.count = count
        self.marks = size if receipt == "explicit" else 0
        self.policy = policy
        self.birth = Birth(context, handler, initializer, receipt)

    def start(self) -> None:
        """Returns when every child is ready.

        Raises:
            UsageError: one could not start, and why.
        """
        if getattr(multiprocessing.process.current_process(), "_inheriting", False):
            print(f"queue_consumer: {UNGUARDED}", file=sys.stderr, flush=True)
            os._exit(1)  # we are a child that reads the script again; a traceback for each would hide the sentence
        self.birth.prepare()
        super().start()
        for handler in self.handlers:
            assert isinstance(handler, ProcessHandler)
            handler.ready.wait(START_TIME)
        failed = next((handler.error for handler in self.handlers if handler.error is not None), None)
        if failed is not None:
            for handler in self.handlers:
                handler.retire()
            self.line.belt.closed = True
            self.line.belt.wake_all()
            for handler in self.handlers:
                handler.thread.join(2 * PARTING)
            self.close()
            raise failed if isinstance(failed, UsageError) else UsageError(f"a child process could not start: {failed}")

    def close(self) -> None:
        self.birth.close()


UNGUARDED = (
    "A script that has handlers in processes must start its consumer under `if __name__ == \"__main__\":`, "
    "because each child reads the script again"
)
