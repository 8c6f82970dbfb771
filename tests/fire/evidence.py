"""What is known of a run: facts, read off the proxy's log and the journals.  All moments are of one clock."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fire.journal import Line
from fire.plan import Task
from support.sqs_calls import Call
from support.sqs_faults import FINE

SENDER = "sender"  # the name that messages are sent in


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A message that the server has."""

    id: str
    number: int
    group: str


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A message that the server gave to somebody.

    Attributes:
        at: when it was given; hidden from then on for `lease` seconds.
        arrived: when the answer went to the client, inf if it did not, or not wholly.
    """

    id: str
    handle: str
    consumer: str
    asked: float
    at: float
    lease: float
    arrived: float


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a consumer wanted done about a delivery: to delete the message, or to have it hidden for longer, or less.

    Attributes:
        asked: when the call came.
        at: when the server had answered, 0 if it never did.
        done: whether the server did it; None: nobody knows, since it died meanwhile.
        told: whether the consumer was told that it is done.
        seconds: to hide it for; a deletion has none.
        trouble: what befell the call, if anything did.
    """

    handle: str
    consumer: str
    asked: float
    at: float
    done: bool | None
    told: bool
    seconds: float = 0.0
    trouble: str = ""


@dataclass(frozen=True, kw_only=True)
class Handling:
    """One time that a handler had a message.

    Attributes:
        call: of the handler, in its process.
        end: inf if it never ended.
        over: when the call was over that it was a part of, or had ended what it ever ended. What is done in a call of
            several is deleted with all that is.
        done: it was done; None if it never ended.
    """

    id: str
    handle: str
    number: int
    group: str
    consumer: str
    pid: int
    call: int
    start: float
    end: float = math.inf
    over: float = math.inf
    done: bool | None = None

    def __str__(self) -> str:
        how = {True: "done", False: "failed", None: "never ended"}[self.done]
        return f"{self.consumer} at {self.start:.3f} ({how})"


@dataclass(frozen=True, kw_only=True)
class Kill:
    """Somebody was killed: a consumer, by name; one of its processes, by its `pid`; the server, until `over`."""

    who: str
    at: float
    pid: int = 0
    over: float = 0.0


@dataclass(kw_only=True)
class Evidence:
    """Of one combination.

    Attributes:
        numbers: of the tasks that were to be sent.
        sent: what the server has confirmed.
        unknown: groups and numbers of what was sent and is not known to have come: the server died meanwhile.
        left: messages that were still there in the end.
        said: what went wrong without a doubt: a consumer ended by itself, or did not end.
    """

    numbers: frozenset[int]
    fifo: bool = True
    sent: list[Sent] = field(default_factory=list[Sent])
    unknown: set[int] = field(default_factory=set[int])
    deliveries: list[Delivery] = field(default_factory=list[Delivery])
    deletions: list[Wish] = field(default_factory=list[Wish])
    changes: list[Wish] = field(default_factory=list[Wish])
    handlings: list[Handling] = field(default_factory=list[Handling])
    kills: list[Kill] = field(default_factory=list[Kill])
    left: int = 0
    said: list[str] = field(default_factory=list[str])


def gather(evidence: Evidence, calls: Iterable[Call], lines: Sequence[Line]) -> Evidence:
    """Add what a log and journals say."""
    for call in calls:
        match call.operation:
            case "SendMessageBatch":
                add_sent(evidence, call)
            case "ReceiveMessage":
                evidence.deliveries += deliveries(call)
            case "DeleteMessageBatch":
                evidence.deletions += wishes(call)
            case "ChangeMessageVisibilityBatch":
                evidence.changes += wishes(call)
            case _:
                pass
    evidence.handlings += handlings(lines)
    return evidence


def consumer_of(call: Call) -> str:
    """Consumers sign with keys of their own; after a `-` stands which of them it is."""
    return call.key.rpartition("-")[0] or call.key


def trouble_of(call: Call) -> str:
    if call.fault is not FINE:
        return call.fault.name
    return "" if call.delivered else "the server was gone" if not call.answered else "the client was gone"


def add_sent(evidence: Evidence, call: Call) -> None:
    tasks = {str(entry["Id"]): Task.of(str(entry["MessageBody"])) for entry in call.entries}
    if call.sent and not call.answered:
        evidence.unknown |= {task.number for task in tasks.values()}
    for entry in call.answer.get("Successful") or ():
        task = tasks[str(entry["Id"])]
        evidence.sent.append(Sent(id=str(entry["MessageId"]), number=task.number, group=task.group))


def deliveries(call: Call) -> list[Delivery]:
    return [
        Delivery(
            id=str(message["MessageId"]),
            handle=str(message["ReceiptHandle"]),
            consumer=consumer_of(call),
            asked=call.began,
            at=call.answered,
            lease=float(call.arguments["VisibilityTimeout"]),
            arrived=call.ended if call.delivered and call.status == 200 else math.inf,
        )
        for message in call.messages
    ]


def wishes(call: Call) -> list[Wish]:
    done, told = set(call.done), call.delivered and call.status == 200
    nobody_knows = bool(call.sent) and not call.answered
    return [
        Wish(
            handle=handle,
            consumer=consumer_of(call),
            asked=call.began,
            at=call.answered,
            done=None if nobody_knows else handle in done,
            told=told and handle in done,
            seconds=float(entry.get("VisibilityTimeout", 0)),
            trouble=trouble_of(call),
        )
        for entry in call.entries
        for handle in [str(entry["ReceiptHandle"])]
    ]


def handlings(lines: Sequence[Line]) -> list[Handling]:
    """Of each line that says "start", with the next that says how it ended."""
    lines = sorted(lines, key=lambda line: line.at)
    ends: dict[tuple[int, int, str], list[Line]] = {}
    calls: dict[tuple[int, int], list[Line]] = {}
    for line in lines:
        calls.setdefault((line.pid, line.call), []).append(line)
        if line.word != "start":
            ends.setdefault((line.pid, line.call, line.handle), []).append(line)
    found: list[Handling] = []
    for line in lines:
        if line.word != "start":
            continue
        mine = ends.get((line.pid, line.call, line.handle))
        end, last = mine.pop(0) if mine else None, calls[line.pid, line.call][-1]
        found.append(
            Handling(
                id=line.id,
                handle=line.handle,
                number=line.number,
                group=line.group,
                consumer=line.consumer,
                pid=line.pid,
                call=line.call,
                start=line.at,
                end=end.at if end else math.inf,
                over=math.inf if last.word == "start" else last.at,
                done=end.word == "end" if end else None,
            )
        )
    return found
