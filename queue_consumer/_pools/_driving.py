"""One child of the process pool as its parent sees it: what is in its hands, what is sent there, what comes back.

When handlers are fast several chunks travel at once, as many as take a few milliseconds, and the next run is sent
while the child is busy with the last. If such a run then meets a slow item, and another handler has nothing to do,
what the child has not begun is called back.
"""

from __future__ import annotations

import marshal
import os
import pickle
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from .._belt import Parcel
from .._chunk import Chunk, Ending, Failure, Fate
from .._errors import UsageError
from .._events import ChunkStarted, log
from .._line import now
from .._supervision import Supervision
from . import _wire as wire
from ._births import Birth, Process
from ._workers import Handler

START_TIME = 60.0  # seconds for a child to say that it is ready
LOOK = 0.1  # seconds between two looks whether the start is still wanted
TICK = 0.02  # seconds between two looks at a child that says nothing
RUN_TIME = 0.005  # seconds that one run of chunks should take
MOST = 256  # chunks in one run
BYTES = 1 << 16  # of items in one run, more or less
PARTING = 1.0  # seconds for a child to end by itself

UNGUARDED = (
    'A script that has handlers in processes must start its consumer under `if __name__ == "__main__":`, '
    "because each child reads the script again"
)


class Singly(Exception):
    """Not all at once."""


class Terms(NamedTuple):
    """What the children of a pool have in common."""

    birth: Birth
    children: Callable[[], int]
    marks: bool  # receipts are explicit
    flags: int  # items of a chunk of which there is more to say than its word does
    policy: Supervision


class Child:
    """One child process and what is in its hands."""

    def __init__(self, terms: Terms, handler: Handler, told: Callable[[str], None]) -> None:
        self._terms = terms
        self._told = told
        self._handler = handler
        self.hand: dict[int, Parcel] = {}  # by slot, in the order in which the child handles them
        self._packing: deque[list[Parcel]] = (
            deque()
        )  # the run that is on its way there; who takes it out accounts for it
        self._slot = 0
        self._chunk_took = 1.0  # seconds, of late
        self._chunk_bytes = 1.0  # of late
        self._turned = now()  # when the child was last known to turn to something new
        self._tells = -1
        self._memory = wire.Memory(terms.flags)
        try:
            ours, theirs = socket.socketpair()
            hears, self._tells = os.pipe()
        except BaseException:  # no more descriptors to be had
            self._memory.close()
            raise
        os.set_blocking(self._tells, False)
        self._channel = wire.Channel(ours)
        self._telling = threading.Lock()  # what was told must not go to whoever has that descriptor next
        self._recalled = False
        self._losses = 0  # so many leases were lost when last looked at
        self._look_at = 0.0
        self._ended = False
        self._peak = 0
        self._sent = 0  # items, but for those that it gave back
        self.halted = False  # it was told to take no more
        self.lost = False  # it was found dead by somebody who looked
        wire.keep_from_forks(self)
        try:
            self._process: Process = terms.birth.bear(theirs.fileno(), hears, self._memory.fd, terms.flags)
        except BaseException as error:
            self.let_go()
            self._memory.close()
            if isinstance(error, (EOFError, ConnectionError)):
                raise UsageError(f"{UNGUARDED} ({type(error).__name__}: {error})") from error
            raise
        finally:
            theirs.close()
            os.close(hears)

    # ------------------------------------------------------------------ life

    def wait_until_ready(self) -> bool:
        """The handshake; False if it is time to end. A child that cannot begin says why."""
        until = now() + START_TIME
        while now() < until:
            if self._handler.retired or self._handler.line.belt.closed:
                return False
            try:
                messages = self._channel.pump(0.1)
            except EOFError:
                self._process.join(PARTING)
                raise UsageError(f"a child process ended before it was ready ({self.epitaph()}). {UNGUARDED}") from None
            for message in messages:
                kind, text, *rest = pickle.loads(message)
                if kind == wire.REFUSED:
                    log.debug("%s", rest)
                    raise UsageError(text)
                if kind == wire.READY:
                    return True
        raise UsageError(f"a child process was not ready within {START_TIME:.0f} s")

    def serve(self) -> None:
        """Send chunks and settle them until it is time to end, or for another child.

        Raises:
            EOFError: the child has died.
        """
        handler = self._handler
        while True:
            if not self.hand:
                if self._worn():
                    return
                chunk = handler.take()
                if chunk is None:
                    if self.lost:
                        raise EOFError
                    return
                if not handler.settling.admit(chunk, handler.tally):
                    continue
                self._send_run([chunk])
            if self._hungry() and not self._worn():
                self._send_run([])
            messages = self._channel.pump(TICK)
            self._hear(messages)
            self._pass_losses_on()
            if not messages and self.gone():
                self._hear(self._channel.receive())  # its last words, said after we had listened
                raise EOFError  # though somebody that it started holds on to its end of the channel

    def end(self, patience: float) -> None:
        """Let the child go, by force if it does not go by itself."""
        if self._ended:
            return
        self._ended = True
        self._channel.close()
        if not self._process.join(patience):
            self._process.kill()
            self._process.join(PARTING)
        with self._telling:
            self.let_go()
        self._process.close()

    def let_go(self) -> None:
        """Close our ends. In a forked process, too, where a lock may be held by nobody for ever."""
        self._channel.close()
        if self._tells >= 0:
            os.close(self._tells)
        self._tells = -1

    def gone(self) -> bool:
        """True if the process has ended by itself."""
        return not self._ended and self._process.join(0)

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
            with self._telling:
                return self._tells >= 0 and os.write(self._tells, letters) == len(letters)
        except OSError:
            return False

    def _worn(self) -> bool:
        policy = self._terms.policy
        return (policy.recycle_after is not None and self._sent >= policy.recycle_after) or (
            policy.recycle_memory is not None and self._peak > policy.recycle_memory
        )

    # ------------------------------------------------------------------ sending

    def _hungry(self) -> bool:
        """True if the child should have its next run already while it is busy with this one."""
        return (
            len(self.hand) <= MOST
            and not self._handler.retired
            and self._handler.line.belt.sorter is None  # or it would hold what is not its turn
            and self._chunk_took * len(self.hand) < RUN_TIME
            and bool(self._handler.line.belt.waiting)
            and not self._channel.unsent
            and now() - self._turned < RUN_TIME  # or it would take again what was called back from it
        )

    def _send_run(self, run: list[Parcel]) -> None:
        """Take more chunks to go with these, no more than our share of what waits, and send them."""
        belt = self._handler.line.belt
        most = 1 if belt.sorter is not None else self._most(len(belt.waiting) // self._terms.children() + 1)
        while len(run) < most:
            try:
                parcel = belt.waiting.popleft()
            except IndexError:
                break
            if not self._handler.line.leased or self._handler.settling.admit(parcel, self._handler.tally):
                run.append(parcel)
        if belt.dry:
            belt.let_in()
        if not run:
            return
        if not self.hand:
            self._turned = now()
        body: bytes | list[bytes]
        plain = Chunk not in map(type, run)
        self._packing.append(run)
        try:
            if not plain and any(belt.chunk_of(parcel).singly for parcel in run):
                raise Singly
            body = pickle.dumps(belt.items_of(run, plain), 5)
            self._chunk_bytes += (len(body) / len(run) - self._chunk_bytes) / 2
        except BaseException:  # whatever an item's own code may raise: we look which it is
            body = self._singly(run)
        self._send_body(run, body)

    def _send_body(self, run: list[Parcel], body: bytes | list[bytes]) -> None:
        handler, line, hand, slot = self._handler, self._handler.line, self.hand, self._slot
        first, belt = slot, line.belt
        sizes = belt.sizes_of(run)
        attempts: list[int] | None = None
        lane = belt.chunk_of(run[0]).lane if run else line.lanes[0]  # several only where a run is of one chunk
        if lane.port.attempt is not None:
            attempts = [handler.settling.attempt_of(item, lane) for item in belt.items_of(run, False)]
        self._memory.clear(first, len(run))
        try:
            self._packing.pop()
        except IndexError:
            return  # somebody else has accounted for it
        if not run:
            return
        for parcel in run:
            hand[slot] = parcel
            slot = (slot + 1) % wire.SLOTS
        if line.observed:
            for chunk in map(belt.chunk_of, run):
                on_belt = now() - chunk.at
                line.observers.tell(ChunkStarted(worker=handler.name, items=tuple(chunk.items), on_belt=on_belt))
        self._slot = slot
        self._sent += sum(sizes)
        self._channel.send_bytes(marshal.dumps((first, sizes, body, attempts, lane.name)))

    def _most(self, share: int) -> int:
        """Chunks of a run: as many as take a few milliseconds and a few pages, and no more than our share."""
        most = min(MOST, share, int(RUN_TIME / self._chunk_took), int(BYTES / self._chunk_bytes))
        worn = self._terms.policy.recycle_after
        if worn is not None:
            most = min(most, (worn - self._sent) // self._handler.line.belt.size)
        return max(1, most)

    def _singly(self, run: list[Parcel]) -> list[bytes]:
        """Pickle item by item; a chunk with one that cannot be is settled, and the others remain."""
        body: list[bytes] = []
        run[:] = map(self._handler.line.belt.chunk_of, run)
        for chunk in list(run):
            frames: list[bytes] = []
            try:
                for item in chunk.items:
                    frames.append(pickle.dumps(item, 5))
            except BaseException as error:  # it fails alone
                run.remove(chunk)
                self._unsendable(chunk, len(frames), error)
                continue
            body += frames
        return body

    def _unsendable(self, chunk: Chunk, index: int, error: BaseException) -> None:
        failure = Failure.of(error)
        why = Failure(failure.kind, f"the item cannot be pickled for a child process: {failure.message}")
        self._settle(chunk, Ending("unopened", why, None, {index: Fate("failed", None, why)}))

    # ------------------------------------------------------------------ hearing

    def _hear(self, messages: list[bytes]) -> None:
        for message in messages:
            kind, *rest = pickle.loads(message)
            match kind:
                case wire.OUTCOME:
                    self._settle_until(rest[0])
                    slot, taken, exhausted, ending = rest
                    for chunk in self._out_of_hand([slot]):
                        chunk.taken, chunk.exhausted = taken, exhausted
                        turned = self._turned
                        self._settle(chunk, ending)
                        self._pace(1, turned)
                case wire.BACK:
                    self._recalled = False
                    back = self._out_of_hand(rest[0])
                    self._sent -= sum(len(chunk.items) for chunk in back)
                    self._handler.put_back(back)
                case wire.UNREADABLE:
                    again = self._out_of_hand(rest[0])
                    for chunk in again:
                        chunk.singly = True
                    self._handler.put_back(again)
                case wire.DONE:
                    self._peak = rest[0]
                case wire.WHERE:
                    self._told(rest[0])
                case _:
                    raise AssertionError(f"a child said what no child says: {kind!r}")
        self._settle_until(None)
        if not messages and len(self.hand) > 1 and not self._recalled:
            # It said nothing for a while and has more than it can do.
            belt = self._handler.line.belt
            if belt.idle and not belt.waiting:
                self._recalled = self.tell(wire.RECALL)

    def _settle_until(self, slot: int | None) -> None:
        """Settle those chunks, in order, whose handler returned and had nothing to add."""
        words, hand, belt = self._memory.words, self.hand, self._handler.line.belt
        settled, turned = 0, self._turned
        tally, cleaner = self._handler.tally, self._handler.settling.cleaner
        line = cleaner.line
        done = cleaner.done[line.lanes[0]]
        quick = not self._terms.marks and line.simple and line.lanes[0].port.cleanup is not None
        one = wire.ALL | 1 if quick and belt.size == 1 else -1  # the word of a chunk of one that was simply handled
        for number in list(hand):
            word = words[number]
            if not word & wire.RETURNED or number == slot:
                break
            try:
                parcel = hand.pop(number)
            except KeyError:
                return  # somebody else has accounted for it
            settled += 1
            if word == one and type(parcel) is not Chunk:
                tally.freed += 1
                done.append(parcel)
                continue
            chunk = belt.chunk_of(parcel)
            count = len(chunk.items)
            if quick and word & wire.TAKEN == count:
                tally.freed += count
                done.extend(chunk.items)
            else:
                self._read(chunk, word)
                self._settle(chunk, Ending("returned"))
        if settled:
            if cleaner.asleep:
                cleaner.wake()
            self._pace(settled, turned)

    def _pace(self, settled: int, turned: float) -> None:
        """So many chunks have ended since it turned to the first of them."""
        took = (now() - turned) / settled
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
        """The child is dead: settle what it held.

        What it had not begun goes to another, and none of it is to blame.
        """
        self._settle_until(None)
        unbegun = self._unpack()
        reading = False  # it died while it read a run of chunks
        for slot in list(self.hand):
            word = self._memory.words[slot]
            found = self._out_of_hand([slot])
            if not found:
                continue  # somebody else has accounted for it
            chunk = found[0]
            reading = reading or bool(word & wire.READING)
            if not word & wire.BEGUN:
                chunk.singly = reading  # so that if it dies of one again, we know of which
                unbegun.append(chunk)
                continue
            self._read(chunk, word)
            decided: dict[int, Fate] = {}
            failure = Failure("ProcessDied", reason or self.epitaph())
            if self._terms.marks:
                for index, mark in enumerate(bytes(self._memory.marks(slot)[: len(chunk.items)])):
                    if mark:
                        name = wire.NAMES[mark]
                        decided[index] = Fate(name, None, failure if name == "failed" else None)  # type: ignore[arg-type]
            self._settle(chunk, Ending("died", failure, None, decided))
        if unbegun:
            self._handler.put_back(unbegun)

    def take_over(self) -> list[Chunk]:
        """All that the child holds, for somebody else to account for."""
        chunks = self._unpack()
        for slot in list(self.hand):
            word = self._memory.words[slot]
            for chunk in self._out_of_hand([slot]):
                self._read(chunk, word)
                chunks.append(chunk)
        return chunks

    def _unpack(self) -> list[Chunk]:
        """Take out what was on its way into the child's hand."""
        try:
            return list(map(self._handler.line.belt.chunk_of, self._packing.pop()))
        except IndexError:
            return []

    def _out_of_hand(self, slots: list[int]) -> list[Chunk]:
        """Take these out of the child's hand; those that somebody else has accounted for are not there."""
        chunks: list[Chunk] = []
        for slot in slots:
            try:
                parcel = self.hand.pop(slot)
            except KeyError:
                continue
            chunks.append(self._handler.line.belt.chunk_of(parcel))
        return chunks

    def _pass_losses_on(self) -> None:
        """Let the child's handler see which of its items have lost their lease."""
        line = self._handler.line
        if not line.leased:
            return
        losses = sum(lane.custody.losses for lane in line.lanes if lane.custody is not None)
        time = now()
        if losses == self._losses and time < self._look_at:
            return
        self._losses, self._look_at = losses, time + LOOK
        for slot, parcel in list(self.hand.items()):
            chunk = line.belt.chunk_of(parcel)
            for index, item in enumerate(chunk.items):
                self._memory.losses(slot)[index] = chunk.lane.lost(item)

    def holds(self) -> list[list[Any]]:
        parcels = list(self.hand.values()) + [parcel for run in list(self._packing) for parcel in list(run)]
        return [self._handler.line.belt.chunk_of(parcel).items for parcel in parcels]

    # ------------------------------------------------------------------ looking, from the supervisor's thread

    def busy(self) -> Any:
        """Tells the child's present item from the next."""
        for slot in list(self.hand):
            word = self._memory.words[slot]
            if not word & (wire.RETURNED | wire.REPORTED):
                # Begun or not: one that does not turn to what it was given is stuck, too.
                return (self._handler.tally.freed, id(self.hand.get(slot)), word)
        return None

    def item(self) -> Any:
        for slot, parcel in list(self.hand.items()):
            chunk = self._handler.line.belt.chunk_of(parcel)
            word = self._memory.words[slot]
            if not word & (wire.RETURNED | wire.REPORTED):
                taken = word & wire.TAKEN
                return chunk.items[taken - 1] if taken else None
        return None
