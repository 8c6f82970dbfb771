"""Whether anything was lost, deleted unconsumed, overtaken, or handled again for no reason.  Pure.

The judge believes the proxy's log and the handlers' journals. What consumers count of themselves it does not ask.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fire.causes import CLOSE, PROMPT, Case, Cause, explain
from fire.evidence import Delivery, Evidence, Handling

ORPHAN = 3.0  # seconds that a process may take to find out that its parent is gone


@dataclass(kw_only=True)
class Verdict:
    """What the judge has found.

    Attributes:
        findings: what is wrong, each in a sentence; none is as it should be.
        again: how often something was handled once more, by cause.
        sent, handled: messages; `handlings` of them.
    """

    findings: list[str] = field(default_factory=list[str])
    again: Counter[Cause] = field(default_factory=Counter[Cause])
    sent: int = 0
    handled: int = 0
    handlings: int = 0


def judge(evidence: Evidence) -> Verdict:
    """All that the evidence says against those who made it."""
    case = Case(evidence)
    there = {sent.id for sent in evidence.sent} | case.given.keys()
    verdict = Verdict(sent=len(there), handlings=len(evidence.handlings))
    verdict.handled = len({handling.id for handling in evidence.handlings if handling.done})
    verdict.findings += evidence.said
    for check in (strangers, lost, deleted_unconsumed, overtaken, two_at_once, orphans, forgotten):
        verdict.findings += check(case)
    verdict.findings += duplicates(case, verdict.again)
    return verdict


def strangers(case: Case) -> Iterator[str]:
    """Nothing is handled that was not sent and given."""
    known = {sent.id for sent in case.evidence.sent}
    for id, given in case.given.items():
        numbers = {handling.number for handling in case.handlings.get(id, ())}
        if id not in known and not numbers <= case.evidence.unknown:
            yield f"{id} was given by the server {len(given)} times, and nobody has sent it"
    for handling in case.evidence.handlings:
        delivery = case.deliveries.get(handling.handle)
        if delivery is None or delivery.id != handling.id:
            yield f"message {handling.number} was handled by {handling}, and was not given so"
        elif delivery.consumer != handling.consumer:
            yield f"message {handling.number} was handled by {handling}, and was given to {delivery.consumer}"


def lost(case: Case) -> Iterator[str]:
    """Every message that was sent was done at least once, and is gone."""
    evidence = case.evidence
    numbers = {sent.id: sent.number for sent in evidence.sent}
    done = {handling.id for handling in evidence.handlings if handling.done}
    there = {*numbers.values(), *(handling.number for handling in evidence.handlings)}
    if unsent := evidence.numbers - there - evidence.unknown:
        yield f"{len(unsent)} messages were never sent, {min(unsent)} the first of them"
    for number in sorted(evidence.unknown - there):
        yield f"message {number} is lost: it may have been sent, and was never given"
    for id in sorted((numbers | case.given).keys() - done):
        given = len(case.given.get(id, ()))
        yield f"message {numbers.get(id, '')} ({id}) is lost: it was given {given} times, and never done"
    for id in sorted(done):
        if not any(wish.done or wish.done is None for wish in case.deletions.get(id, ())):
            yield f"message {numbers.get(id, '')} ({id}) was done, and never deleted"
    if evidence.left:
        yield f"{evidence.left} messages are still there"


def deleted_unconsumed(case: Case) -> Iterator[str]:
    """Nothing is asked to be deleted that he who asks has not done, even if it did not come about."""
    first: dict[tuple[str, str], float] = {}  # when a consumer had first done a message
    for handling in case.evidence.handlings:
        if handling.done:
            mine = (handling.id, handling.consumer)
            first[mine] = min(handling.end, first.get(mine, math.inf))
    for wish in case.evidence.deletions:
        delivery = case.deliveries.get(wish.handle)
        if delivery is None:
            yield f"{wish.consumer} wanted a receipt deleted that nobody has: {wish.handle}"
        elif (done := first.get((delivery.id, wish.consumer), math.inf)) > wish.asked:
            when = "which it never did" if done == math.inf else f"{done - wish.asked:.3f} s before it was done"
            yield f"{wish.consumer} wanted message {delivery.id} deleted unconsumed, {when}"


def overtaken(case: Case) -> Iterator[str]:
    """Of a group none is begun before all those before it are done."""
    if not case.evidence.fifo:
        return
    groups: dict[str, dict[int, list[Handling]]] = {}
    for handling in case.evidence.handlings:
        groups.setdefault(handling.group, {}).setdefault(handling.number, []).append(handling)
    for group, numbers in groups.items():
        free, last = -math.inf, -1
        for number in sorted(numbers):
            start = min(handling.start for handling in numbers[number])
            if start < free:
                yield f"of group {group}, message {number} was begun before message {last} was done"
            done = min((handling.end for handling in numbers[number] if handling.done), default=math.inf)
            if done > free:
                free, last = done, number


def two_at_once(case: Case) -> Iterator[str]:
    """One consumer has one message of a group at a time."""
    if not case.evidence.fifo:
        return
    running: dict[tuple[str, str], Handling] = {}
    for handling in sorted(case.evidence.handlings, key=lambda handling: handling.start):
        other = running.get((handling.consumer, handling.group))
        if other is not None and handling.start < ended(case, other):
            yield f"of group {handling.group}, {handling.consumer} had {other.number} and {handling.number} at once"
        running[handling.consumer, handling.group] = handling


def ended(case: Case, handling: Handling) -> float:
    """When a handling was over, if only since its process was."""
    return min(handling.end, case.killed(handling.consumer), max(handling.start, case.child_killed(handling.pid)))


def orphans(case: Case) -> Iterator[str]:
    """The processes of a consumer that was killed die with it."""
    for handling in case.evidence.handlings:
        if handling.start > case.killed(handling.consumer) + ORPHAN:
            yield f"message {handling.number} was begun by {handling}, whose consumer had been killed"


def forgotten(case: Case) -> Iterator[str]:
    """What has come to a consumer is handled, or deleted, or given back, unless something has come between."""
    evidence = case.evidence
    touched = {handling.handle for handling in evidence.handlings} | set(case.changes)
    touched |= {wish.handle for wish in evidence.deletions}
    for delivery in evidence.deliveries:
        over = case.hidden_until(delivery)
        if delivery.handle in touched or delivery.arrived == math.inf or case.killed(delivery.consumer) <= over:
            continue
        if case.could_not_renew(delivery) or is_replaced(case, delivery):
            continue
        yield f"message {delivery.id} came to {delivery.consumer} at {delivery.arrived:.3f}, and was forgotten"


def is_replaced(case: Case, delivery: Delivery) -> bool:
    """A consumer that still has a message when it comes again goes on with the newer receipt."""
    over = case.hidden_until(delivery)
    return any(
        other.handle != delivery.handle
        and other.consumer == delivery.consumer
        and delivery.at - CLOSE < other.at
        and other.at < over + PROMPT
        for other in case.given[delivery.id]
    )


def duplicates(case: Case, again: Counter[Cause]) -> Iterator[str]:
    """Whatever is handled once more has a cause; they are counted in `again`."""
    for id, handlings in case.handlings.items():
        for before, handling in itertools.pairwise(handlings):
            cause = explain(case, handling, before)
            if isinstance(cause, Cause):
                again[cause] += 1
            else:
                yield f"message {handling.number} ({id}) was handled by {before}, and again by {handling}: {cause}"
        yield from done_before(case, handlings)


def done_before(case: Case, handlings: Sequence[Handling]) -> Iterator[str]:
    """Whoever has done something does not do it again, whoever had it in between."""
    for position, handling in enumerate(handlings):
        for earlier in handlings[: max(0, position - 1)]:  # the last one is explained already
            if earlier.consumer != handling.consumer or not earlier.done or earlier.end > handling.start:
                continue
            cause = explain(case, handling, earlier)
            if not isinstance(cause, Cause):
                yield f"message {handling.number} was handled by {earlier}, and again by {handling}: {cause}"
