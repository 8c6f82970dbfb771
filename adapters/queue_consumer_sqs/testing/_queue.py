"""One queue: its messages, and what happens to them as time goes by.

A message is visible, delayed, in flight or gone (`Place`). What cannot be seen stands in a heap by the time when it
can, and before anything else is done, `settle` does what was due until now. In which order visible messages are
received, the line knows (`_lines`). Everything here is called with the account's lock.
"""

from __future__ import annotations

import copy
import hashlib
import heapq
import math
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping

from ._deduplication import Recent
from ._lines import Groups, Line, Plain
from ._message import Draft, Message, Place, Receipt, Sent
from ._refusals import PREFIXED, Refused, value_of
from ._settings import Redrive, Settings

__all__ = ["Queue"]

IN_FLIGHT = 120_000  # messages of one queue
LONGEST_HIDDEN = 43_200.0  # seconds from a receive on, however often its visibility timeout is changed
PURGES_APART = 60.0  # seconds
FIRST_SEQUENCE = 10**19  # AWS's have 20 digits
SLACK = 1_000  # entries for messages that were deleted or hidden anew, before they are thrown away

Hidden = tuple[float, int, Message]  # until when it was to be hidden, and which time of hiding it that was


class Queue:
    """One queue.

    Args:
        name: its name.
        arn: its ARN.
        fifo: whether it is a FIFO queue.
        lock: the account's.
        now: when it was created.
        find: the queue that has an ARN, if there is one: for dead letters.
    """

    def __init__(
        self,
        name: str,
        arn: str,
        fifo: bool,
        lock: threading.RLock,
        now: float,
        find: Callable[[str], Queue | None],
    ) -> None:
        self.name, self.arn = name, arn
        self.settings = Settings(fifo)
        self.tags: dict[str, str] = {}
        self.created = self.modified = now
        self.deleted = False
        self.changed = threading.Condition(lock)  # something can be seen, or may be sooner than was thought
        self._find = find
        self._key = uuid.uuid4().hex  # in receipt handles: those of another queue are no good
        self._messages: dict[str, Message] = {}
        self._line: Line = Groups() if fifo else Plain()
        self._hidden: list[Hidden] = []
        self._count = Counter[Place]()
        self._recent = Recent[Sent]()
        self._attempts = Recent[list[tuple[Message, int]]]()  # to receive; each message with its hiding
        self._serial = 0
        self._purged = -math.inf
        self._oldest = math.inf  # nothing was sent before that

    # Time

    def settle(self, now: float) -> None:
        """Do what was due until now."""
        if self._oldest + self.settings.number("MessageRetentionPeriod") <= now:
            self._expire(now)
        while self._hidden and self._hidden[0][0] <= now:
            entry = heapq.heappop(self._hidden)
            if is_hidden(entry):
                self._show(entry[2])

    def next_due(self) -> float:
        """Nothing can be seen by itself before that."""
        return self._hidden[0][0] if self._hidden else math.inf

    def count(self, place: Place) -> int:
        return self._count[place]

    # What senders do

    def send(self, draft: Draft, now: float) -> Sent:
        """Take a message, unless it was sent before."""
        if not self.settings.fifo:
            return self._add(Message(str(uuid.uuid4()), self._next(), draft, now), now, draft.delay)
        if draft.deduplication_id is None:
            draft = draft._replace(deduplication_id=hashlib.sha256(draft.body.encode()).hexdigest())
        key: Hashable = (draft.group if self.settings.by_group else None, draft.deduplication_id)
        sent = self._recent.find(key, now)
        if sent is None:
            sent = self._add(Message(str(uuid.uuid4()), self._next(), draft, now), now, draft.delay)
            self._recent.note(key, sent, now)
        return sent

    def adopt(self, message: Message, sent: float, now: float, *, id: str, source: str | None) -> None:
        """Take a message of another queue, as one that was sent at that time; who sent it is not asked again."""
        draft = Draft(message.body, message.attributes, 0, message.group, message.deduplication_id, message.trace)
        own = Message(id, self._next(), draft, sent)
        own.source = source
        if id == message.id:
            own.receives, own.first_received = message.receives, message.first_received
        self._add(own, now, 0)

    # What consumers do

    def take(self, most: int, visibility: float, now: float, attempt: str | None = None) -> list[Message]:
        """Receive up to so many messages. Those that were received too often become dead letters instead.

        An attempt that is repeated receives the same once more, if nothing became of it in between.
        """
        same = self._attempts.find(attempt, now) if attempt else None
        if same and all(message.hidden == number and is_in_flight(message) for message, number in same):
            return self._given([message for message, _ in same], visibility, now, attempt)
        if self._count[Place.IN_FLIGHT] >= IN_FLIGHT:
            if self.settings.fifo:
                return []
            raise Refused("OverLimit", f"Too many messages in flight for queue {self.name}.")
        redrive = self.settings.redrive
        dead_letters = self._find(redrive.target) if redrive else None
        received: list[Message] = []
        while len(received) < most and (taken := self._line.take(most - len(received))):
            for message in taken:
                if redrive and dead_letters and message.tries >= redrive.most:
                    self._bury(message, dead_letters, now)
                else:
                    received.append(message)
        for message in received:
            message.receives += 1
            message.tries += 1
            message.receipt += 1
            message.received = now
            if message.first_received is None:
                message.first_received = now
        return self._given(received, visibility, now, attempt)

    def handle(self, message: Message) -> str:
        """The receipt handle of the latest receive."""
        return Receipt(self._key, message.id, message.receipt).handle()

    def delete(self, handle: str) -> None:
        """Delete a message. On a standard queue a handle that is not of the latest receive deletes nothing."""
        message, is_latest = self._of(handle)
        if message is None:
            return
        if self.settings.fifo and not (is_latest and message.place is Place.IN_FLIGHT):
            raise value_of("ReceiptHandle", handle, "The receipt handle has expired.")
        if is_latest:
            self._remove(message)

    def change_visibility(self, handle: str, seconds: int, now: float) -> None:
        """Let a message in flight be seen so many seconds from now."""
        message, is_latest = self._of(handle)
        if message is None or not is_latest:
            reason = "Message does not exist or is not available for visibility timeout change."
            raise value_of("ReceiptHandle", handle, reason)
        if message.place is not Place.IN_FLIGHT:
            raise Refused(f"{PREFIXED}MessageNotInflight", "The message referred to isn't in flight.")
        if now + seconds > message.received + LONGEST_HIDDEN:
            reason = f"Total VisibilityTimeout for the message is beyond the limit [{LONGEST_HIDDEN:.0f} seconds]"
            raise value_of("VisibilityTimeout", seconds, reason)
        self._hide(message, Place.IN_FLIGHT, now + seconds)
        self.settle(now)

    # What operators do

    def purge(self, now: float) -> None:
        """Remove all messages, those in flight too."""
        if now - self._purged < PURGES_APART:
            raise Refused(
                f"{PREFIXED}PurgeQueueInProgress",
                f"Only one PurgeQueue operation on {self.name} is allowed every {PURGES_APART:.0f} seconds.",
            )
        self._purged = now
        self._clear(list(self._messages.values()))

    def close(self) -> None:
        """The queue is deleted: whoever waits for a message waits no more."""
        self.deleted = True
        self._clear(list(self._messages.values()))
        self.changed.notify_all()

    def pull(self) -> Message | None:
        """Take out the next visible message for good, to be moved to another queue."""
        taken = self._line.take(1)
        for message in taken:
            self._remove(message)
        return taken[0] if taken else None

    def set(self, given: Mapping[str, str], now: float) -> None:
        """Change these attributes, all of them or, if one is wrong, none."""
        settings = copy.copy(self.settings)
        settings.change(given)
        if given.get("RedrivePolicy") and settings.redrive:
            self._check_redrive(given["RedrivePolicy"], settings.redrive)
        self.settings, self.modified = settings, now

    # How it is done

    def _next(self) -> int:
        self._serial += 1
        return self._serial

    def _add(self, message: Message, now: float, delay: float) -> Sent:
        if self.settings.fifo:
            message.sequence = str(FIRST_SEQUENCE + message.serial)
        self._messages[message.id] = message
        self._oldest = min(self._oldest, message.sent)
        self._line.join(message)
        if delay:
            self._hide(message, Place.DELAYED, now + delay)
        else:
            self._show(message)
        return Sent(message.id, message.sequence)

    def _show(self, message: Message) -> None:
        self._put(message, Place.VISIBLE)
        self._line.show(message)
        self.changed.notify_all()

    def _hide(self, message: Message, place: Place, until: float) -> None:
        self._put(message, place)
        message.hidden = self._next()
        heapq.heappush(self._hidden, (until, message.hidden, message))
        if len(self._hidden) > SLACK + 2 * (self._count[Place.DELAYED] + self._count[Place.IN_FLIGHT]):
            self._hidden = [entry for entry in self._hidden if is_hidden(entry)]
            heapq.heapify(self._hidden)
        self.changed.notify_all()  # they sleep no longer than until it is due

    def _given(self, messages: list[Message], visibility: float, now: float, attempt: str | None) -> list[Message]:
        """Hide what is given."""
        for message in messages:
            self._hide(message, Place.IN_FLIGHT, now + visibility)
        if attempt and messages:
            self._attempts.note(attempt, [(message, message.hidden) for message in messages], now)
        return messages

    def _put(self, message: Message, place: Place) -> None:
        self._count[message.place] -= 1
        self._count[place] += 1
        message.place = place

    def _remove(self, message: Message) -> None:
        self._put(message, Place.GONE)
        del self._messages[message.id]
        self._line.leave(message)
        self.changed.notify_all()  # those behind it in its group can be seen

    def _clear(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._remove(message)

    def _expire(self, now: float) -> None:
        """Remove what was kept for too long. Looked through only when the oldest may be."""
        kept = self.settings.number("MessageRetentionPeriod")
        self._clear([message for message in self._messages.values() if message.sent + kept <= now])
        self._oldest = min((message.sent for message in self._messages.values()), default=math.inf)

    def _bury(self, message: Message, dead_letters: Queue, now: float) -> None:
        """Move it to the dead letters, with its id. On standard queues it grows no younger by that."""
        self._remove(message)
        sent = now if self.settings.fifo else message.sent
        dead_letters.adopt(message, sent, now, id=message.id, source=self.arn)

    def _check_redrive(self, policy: str, redrive: Redrive) -> None:
        """That dead letters may go there."""
        target = self._find(redrive.target)
        if target is None:
            raise value_of("RedrivePolicy", policy, "Dead letter target does not exist.")
        if target.settings.fifo != self.settings.fifo:
            raise value_of("RedrivePolicy", policy, "Dead-letter queue must be same type of queue as the source.")
        if not target.settings.allows(self.arn):
            raise value_of(
                "RedrivePolicy", policy, f"Queue {target.name} does not allow it, by its RedriveAllowPolicy."
            )

    def _of(self, handle: str) -> tuple[Message | None, bool]:
        """The message of this handle, if it is there; and whether the handle is of its latest receive."""
        receipt = Receipt.of(handle, self._key)
        message = self._messages.get(receipt.message)
        return message, message is not None and message.receipt == receipt.number


def is_in_flight(message: Message) -> bool:
    return message.place is Place.IN_FLIGHT


def is_hidden(entry: Hidden) -> bool:
    """Whether this still says when the message can be seen."""
    _, number, message = entry
    return message.hidden == number and message.place in (Place.DELAYED, Place.IN_FLIGHT)
