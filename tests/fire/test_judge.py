"""The judge of the fire is shown forged evidence: it must find what is wrong with it, and nothing where nothing is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fire.causes import Cause
from fire.evidence import Delivery, Evidence, Handling, Kill, Sent, Wish, gather
from fire.journal import Journal, Reader
from fire.judge import ORPHAN, Verdict, judge
from fire.plan import LEASE
from queue_consumer_sqs import SQSMessage


class Story:
    """Evidence as it is forged: one line of it after the other. Moments are seconds.

    Each message is sent by `sends`, which takes its number; its group is `g`. A delivery's handle is the name that it
    is given by.
    """

    def __init__(self, messages: int = 1) -> None:
        self.evidence = Evidence(numbers=frozenset(range(messages)))
        for number in range(messages):
            self.evidence.sent.append(Sent(id=f"id{number}", number=number, group="g"))
        self._ids: dict[str, str] = {}

    def gives(
        self, handle: str, at: float, *, number: int = 0, to: str = "a1", journey: float = 0.0, **more: Any
    ) -> None:
        self._ids[handle] = f"id{number}"
        delivery = Delivery(
            id=f"id{number}", handle=handle, consumer=to, asked=at, at=at, lease=LEASE, arrived=at + journey
        )
        self.evidence.deliveries.append(replace(delivery, **more))

    def handles(self, handle: str, start: float, end: float = math.inf, *, done: bool = True, **more: Any) -> None:
        given = next(delivery for delivery in self.evidence.deliveries if delivery.handle == handle)
        handling = Handling(
            id=given.id,
            handle=handle,
            number=int(given.id.removeprefix("id")),
            group="g",
            consumer=given.consumer,
            pid=1 if given.consumer.startswith("a") else 2,
            call=int(start * 1000),
            start=start,
            end=end,
            over=end,
            done=None if end == math.inf else done,
        )
        self.evidence.handlings.append(replace(handling, **more))

    def deletes(self, handle: str, asked: float, *, done: bool | None = True, **more: Any) -> None:
        self.evidence.deletions.append(replace(self._wish(handle, asked, done), **more))

    def hides(
        self, handle: str, asked: float, *, done: bool | None = True, seconds: float = LEASE, **more: Any
    ) -> None:
        self.evidence.changes.append(replace(self._wish(handle, asked, done), seconds=seconds, **more))

    def kills(self, who: str, at: float, **more: Any) -> None:
        self.evidence.kills.append(Kill(who=who, at=at, **more))

    def _wish(self, handle: str, asked: float, done: bool | None) -> Wish:
        given = next(delivery for delivery in self.evidence.deliveries if delivery.handle == handle)
        at = 0.0 if done is None else asked + 0.01
        return Wish(handle=handle, consumer=given.consumer, asked=asked, at=at, done=done, told=bool(done))

    @property
    def verdict(self) -> Verdict:
        return judge(self.evidence)

    @property
    def findings(self) -> str:
        return "\n".join(self.verdict.findings)


def peaceful(messages: int = 1) -> Story:
    """Each is given, handled and deleted, in order."""
    story = Story(messages)
    for number in range(messages):
        handle, at = f"h{number}", float(number)
        story.gives(handle, at, number=number)
        story.handles(handle, at + 0.1, at + 0.2)
        story.deletes(handle, at + 0.3)
    return story


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    """What was sent, given, handled, and deleted afterwards, is fine."""
    verdict = peaceful(3).verdict
    assert not verdict.findings
    assert (verdict.sent, verdict.handled, verdict.handlings, verdict.again.total()) == (3, 3, 3, 0)


# ---------------------------------------------------------------------- findings


def never_given(story: Story) -> None:
    story.evidence.sent.append(Sent(id="id9", number=9, group="other"))


def never_done(story: Story) -> None:
    never_given(story)
    story.gives("h9", 9.0, number=9)
    story.handles("h9", 9.1, 9.2, done=False, group="other")


def never_ended(story: Story) -> None:
    never_given(story)
    story.gives("h9", 9.0, number=9)
    story.handles("h9", 9.1, group="other")


def never_sent(story: Story) -> None:
    story.evidence.numbers |= {7, 8}


def never_seen(story: Story) -> None:
    story.evidence.numbers |= {7}
    story.evidence.unknown |= {7}


def never_deleted(story: Story) -> None:
    story.evidence.deletions.pop()


def refused_for_ever(story: Story) -> None:
    story.evidence.deletions[-1] = replace(story.evidence.deletions[-1], done=False)


def still_there(story: Story) -> None:
    story.evidence.left = 2


def deleted_too_soon(story: Story) -> None:
    story.evidence.deletions[1] = replace(story.evidence.deletions[1], asked=1.15)


def deleted_unseen(story: Story) -> None:
    story.gives("again", 8.0, to="b1")
    story.deletes("again", 8.1)


def deleted_though_it_failed(story: Story) -> None:
    story.evidence.handlings[2] = replace(story.evidence.handlings[2], done=False)


def deleted_by_the_other(story: Story) -> None:
    story.evidence.deletions[1] = replace(story.evidence.deletions[1], consumer="b1")


def deleted_without_a_receipt(story: Story) -> None:
    story.evidence.deletions.append(replace(story.evidence.deletions[0], handle="who knows"))


def overtaken(story: Story) -> None:
    early, late = story.evidence.handlings[:2]
    story.evidence.handlings[:2] = [replace(early, start=1.1, end=1.2), replace(late, start=0.1, end=0.2)]
    story.evidence.deletions[0] = replace(story.evidence.deletions[0], asked=1.3, at=1.31)


def overtaken_while_it_failed(story: Story) -> None:
    """The first of a group fails, and comes again when the second is done."""
    story.gives("h0 again", 1.6)
    story.handles("h0 again", 1.7, 1.8)
    story.evidence.handlings[0] = replace(story.evidence.handlings[0], done=False)
    story.evidence.deletions[0] = replace(story.evidence.deletions[0], handle="h0 again", asked=1.9, at=1.91)


def two_at_once(story: Story) -> None:
    story.evidence.handlings[1] = replace(story.evidence.handlings[1], start=0.15)


def a_stranger(story: Story) -> None:
    story.gives("h9", 9.0, number=9)
    story.handles("h9", 9.1, 9.2, group="other")
    story.deletes("h9", 9.3)


def never_received(story: Story) -> None:
    story.evidence.deliveries.pop(0)


def of_somebody_else(story: Story) -> None:
    story.evidence.deliveries[0] = replace(story.evidence.deliveries[0], consumer="b1")


def an_orphan(story: Story) -> None:
    story.kills("a1", 2.1 - ORPHAN - 0.1)


def forgotten(story: Story) -> None:
    story.evidence.deliveries.append(replace(story.evidence.deliveries[0], handle="forgotten", at=-6.0, arrived=-6.0))


def said(story: Story) -> None:
    story.evidence.said.append("a1 ended by itself, with 1: …")


WRONGS: list[tuple[Callable[[Story], None], str]] = [
    (never_given, "message 9 (id9) is lost: it was given 0 times, and never done"),
    (never_done, "message 9 (id9) is lost: it was given 1 times, and never done"),
    (never_ended, "message 9 (id9) is lost: it was given 1 times, and never done"),
    (never_sent, "2 messages were never sent, 7 the first of them"),
    (never_seen, "message 7 is lost: it may have been sent, and was never given"),
    (never_deleted, "message 2 (id2) was done, and never deleted"),
    (refused_for_ever, "message 2 (id2) was done, and never deleted"),
    (still_there, "2 messages are still there"),
    (deleted_too_soon, "a1 wanted message id1 deleted unconsumed, 0.050 s before it was done"),
    (deleted_unseen, "b1 wanted message id0 deleted unconsumed, which it never did"),
    (deleted_though_it_failed, "a1 wanted message id2 deleted unconsumed, which it never did"),
    (deleted_by_the_other, "b1 wanted message id1 deleted unconsumed, which it never did"),
    (deleted_without_a_receipt, "a1 wanted a receipt deleted that nobody has: who knows"),
    (overtaken, "of group g, message 1 was begun before message 0 was done"),
    (overtaken_while_it_failed, "of group g, message 1 was begun before message 0 was done"),
    (two_at_once, "of group g, a1 had 0 and 1 at once"),
    (a_stranger, "id9 was given by the server 1 times, and nobody has sent it"),
    (never_received, "message 0 was handled by a1 at 0.100 (done), and was not given so"),
    (of_somebody_else, "message 0 was handled by a1 at 0.100 (done), and was given to b1"),
    (an_orphan, "message 2 was begun by a1 at 2.100 (done), whose consumer had been killed"),
    (forgotten, "message id0 came to a1 at -6.000, and was forgotten"),
    (said, "a1 ended by itself"),
]


@pytest.mark.parametrize(("spoil", "sentence"), WRONGS, ids=lambda it: getattr(it, "__name__", ""))
def test_what_is_wrong_is_found(spoil: Callable[[Story], None], sentence: str) -> None:
    """Each thing that may not be is found, and told in a sentence."""
    story = peaceful(3)
    spoil(story)
    assert sentence in story.findings


def test_a_standard_queue_has_no_order() -> None:
    """What overtakes on a queue that is not FIFO is nobody's fault."""
    story = peaceful(3)
    overtaken(story)
    story.evidence.fifo = False
    assert not story.findings


def test_what_may_have_been_sent_may_come() -> None:
    """The server died over a call: what was in it may be there, and then it is like any other."""
    story = peaceful(3)
    a_stranger(story)
    story.evidence.unknown |= {9}
    assert not story.findings


# ---------------------------------------------------------------------- what comes again

AGAIN = 0.2 + LEASE  # when a lease of what was given at 0.2 has run out


def twice(end: float = 0.5, *, to: str = "b1", at: float = AGAIN, done: bool = True) -> Story:
    """Given at 0.2 to a1, and once more to another, or to itself, who does it and deletes it."""
    story = Story()
    story.gives("first", 0.2)
    story.handles("first", 0.3, end, done=done)
    story.gives("second", at, to=to)
    story.handles("second", at + 0.1, at + 0.2, pid=3)
    story.deletes("second", at + 0.3)
    return story


def failed() -> Story:
    story = twice(done=False, to="a1", at=1.6)
    story.hides("first", 0.6, seconds=1)
    return story


def consumer_killed() -> Story:
    story = twice(math.inf)
    story.kills("a1", 0.4)
    return story


def consumer_killed_when_it_was_done() -> Story:
    story = twice()
    story.kills("a1", 0.6)
    return story


def child_killed() -> Story:
    story = twice(math.inf, to="a1")
    story.kills("a1", 0.4, pid=1)
    return story


def child_killed_when_it_was_done() -> Story:
    story = twice(to="a1")
    story.kills("a1", 0.55, pid=1)
    return story


def child_killed_after_the_last_of_a_call() -> Story:
    """It has asked past the end, and not yet returned."""
    story = twice(to="a1")
    story.evidence.sent.append(Sent(id="id1", number=1, group="g"))
    story.gives("other", 0.2, number=1)
    story.handles("other", 0.6, 0.7, call=story.evidence.handlings[0].call)
    story.gives("other again", AGAIN, number=1)
    story.handles("other again", AGAIN + 0.3, AGAIN + 0.4, pid=3)
    story.deletes("other again", AGAIN + 0.5)
    story.kills("a1", 0.75, pid=1)
    return story


def delete_cut() -> Story:
    story = twice()
    story.deletes("first", 0.7, done=False, at=0.0, trouble="cut")
    return story


def server_killed_at_the_delete() -> Story:
    story = twice()
    story.deletes("first", 0.7, done=None)
    return story


def delete_delayed() -> Story:
    story = twice()
    story.deletes("first", 0.7, at=AGAIN + 0.1, trouble="late")
    return story


def delete_delayed_and_given_to_itself() -> Story:
    """It was told that its delete was done, and so it has forgotten the message."""
    story = twice(to="a1")
    story.deletes("first", 0.7, at=AGAIN + 0.1, trouble="late")
    return story


def not_renewed_in_an_outage() -> Story:
    story = twice(AGAIN + 0.5)
    story.kills("server", 1.0, over=5.0)
    return story


def renewals_refused() -> Story:
    story = twice(AGAIN + 0.5)
    story.hides("first", 2.2, done=False, trouble="internal failure")
    return story


def answer_overdue() -> Story:
    """The first to be given it gets it when its lease is over, and the other has done it."""
    story = Story()
    story.gives("first", 0.2, journey=LEASE + 0.5)
    story.gives("second", AGAIN, to="b1")
    story.handles("second", AGAIN + 0.1, AGAIN + 0.2)
    story.deletes("second", AGAIN + 0.3)
    story.handles("first", AGAIN + 0.6, AGAIN + 0.7)
    story.deletes("first", AGAIN + 0.8)
    return story


EXPLAINED: list[tuple[Callable[[], Story], Cause, int]] = [
    (failed, Cause.FAILED, 1),
    (consumer_killed, Cause.CONSUMER_KILLED, 1),
    (consumer_killed_when_it_was_done, Cause.CONSUMER_KILLED, 1),
    (child_killed, Cause.CHILD_KILLED, 1),
    (child_killed_when_it_was_done, Cause.CHILD_KILLED, 1),
    (child_killed_after_the_last_of_a_call, Cause.CHILD_KILLED, 2),
    (delete_cut, Cause.DELETE_FAILED, 1),
    (server_killed_at_the_delete, Cause.DELETE_UNKNOWN, 1),
    (delete_delayed, Cause.DELETE_LATE, 1),
    (delete_delayed_and_given_to_itself, Cause.DELETE_LATE, 1),
    (not_renewed_in_an_outage, Cause.LEASE_LOST, 1),
    (renewals_refused, Cause.LEASE_LOST, 1),
    (answer_overdue, Cause.ANSWER_LATE, 1),
]


@pytest.mark.parametrize(("forge", "cause", "count"), EXPLAINED, ids=lambda it: getattr(it, "__name__", ""))
def test_what_comes_again_has_a_cause(forge: Callable[[], Story], cause: Cause, count: int) -> None:
    """It is found in the evidence, and counted."""
    verdict = forge().verdict
    assert not verdict.findings
    assert verdict.again == {cause: count}


def for_no_reason() -> Story:
    return twice()


def by_the_same() -> Story:
    return twice(to="a1")


def by_the_same_though_another_had_it() -> Story:
    story = twice()
    story.deletes("first", 0.7, done=False)
    story.evidence.deletions[0] = replace(story.evidence.deletions[0], done=False, told=False)
    story.gives("third", 2 * AGAIN)
    story.handles("third", 2 * AGAIN + 0.1, 2 * AGAIN + 0.2)
    story.deletes("third", 2 * AGAIN + 0.3)
    return story


def by_the_same_at_once() -> Story:
    return twice(AGAIN + 1.0, to="a1")


def by_two_at_once() -> Story:
    return twice(2.0, at=1.0)


def not_renewed() -> Story:
    return twice(AGAIN + 1.0)


def after_its_delete() -> Story:
    story = twice()
    story.deletes("first", 0.7)
    return story


def after_its_lease() -> Story:
    story = answer_overdue()
    story.evidence.deliveries[0] = replace(story.evidence.deliveries[0], arrived=0.2)
    return story


def from_one_delivery() -> Story:
    story = peaceful()
    story.handles("h0", 0.4, 0.5)
    return story


def killed_much_later() -> Story:
    story = twice()
    story.kills("a1", 0.5 + LEASE + 0.1)
    return story


def child_killed_with_another_in_hand() -> Story:
    """What stood before it in the call was consumed, and the line knows."""
    story = twice(to="a1")
    story.evidence.sent.append(Sent(id="id1", number=1, group="g"))
    story.gives("other", 0.2, number=1)
    story.handles("other", 0.6, call=story.evidence.handlings[0].call)
    story.gives("other again", AGAIN, number=1)
    story.handles("other again", AGAIN + 0.3, AGAIN + 0.4, pid=3)
    story.deletes("other again", AGAIN + 0.5)
    story.kills("a1", 0.75, pid=1)
    return story


def another_was_killed() -> Story:
    story = twice()
    story.kills("b7", 0.4)
    return story


UNEXPLAINED: list[tuple[Callable[[], Story], str]] = [
    (for_no_reason, "nothing kept it from being renewed"),
    (by_the_same, "the same consumer had done it"),
    (by_the_same_though_another_had_it, "the same consumer had done it"),
    (by_the_same_at_once, "the same consumer has it twice at once"),
    (by_two_at_once, "it was given to two at once"),
    (not_renewed, "nothing kept it from being renewed"),
    (after_its_delete, "after it was deleted"),
    (after_its_lease, "after its lease had run out"),
    (from_one_delivery, "it is the same delivery"),
    (killed_much_later, "nothing kept it from being renewed"),
    (child_killed_with_another_in_hand, "the same consumer had done it"),
    (another_was_killed, "nothing kept it from being renewed"),
]


@pytest.mark.parametrize(("forge", "sentence"), UNEXPLAINED, ids=lambda it: getattr(it, "__name__", ""))
def test_what_comes_again_without_a_cause_is_found(forge: Callable[[], Story], sentence: str) -> None:
    """Nothing is handled once more just so."""
    assert sentence in forge().findings


# ---------------------------------------------------------------------- how evidence is gathered


def test_handlings_are_read_off_the_journals(tmp_path: Path) -> None:
    """A line that was not finished was not written; what has no end never ended."""
    journal, message = Journal(tmp_path, "a1"), SQSMessage("id", "body", "handle")
    journal.write("start", message, 1, 7, "g")
    journal.write("end", message, 1, 7, "g")
    journal.write("start", message, 2, 7, "g")
    (path,) = tmp_path.glob("*.journal")
    whole = path.read_bytes()
    journal.write("failed", message, 2, 7, "g")
    path.write_bytes(path.read_bytes()[:-5])
    reader = Reader(tmp_path)
    reader.look()
    assert reader.done == {7}
    first, second = gather(Evidence(numbers=frozenset({7})), [], reader.lines).handlings
    assert (first.done, first.over) == (True, first.end)
    assert (second.done, second.end, second.over) == (None, math.inf, math.inf)
    path.write_bytes(whole)
