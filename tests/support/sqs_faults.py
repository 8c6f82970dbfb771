"""What a proxy does to calls on their way: faults, one by one or at random."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from support.sqs_http import Json, response


class Gate:
    """Where calls are held up until it is opened."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._lock = threading.Lock()
        self._is_open = False
        self._held: list[Callable[[], object]] = []

    def open(self) -> None:
        """Let all pass, from now on."""
        with self._lock:
            self._is_open, held, self._held = True, self._held, []
        for go_on in held:
            go_on()

    def hold(self, go_on: Callable[[], object]) -> bool:
        """False if it is open; else `go_on` is called when it is, on whatever thread."""
        with self._lock:
            if not self._is_open:
                self._held.append(go_on)
            held = not self._is_open
        self.reached.set()
        return held


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one call on its way.

    Args:
        name: for the log.
        before, after: seconds until the call goes to the server, and until the answer goes to the client.
        gate: where the call is held up before it goes to the server.
        gate_after: where the answer is held up before it goes to the client.
        cut: hang up: "before" the server has heard of the call, "after" it has answered, or "within" the answer.
        status, code, words: an error, instead of the server's answer.
        served: the server does all the same what it was asked to do.
        fails: of an entry of a batch call, whether it fails; it then does not go to the server.
        sender_fault: what is said of such an entry.
    """

    name: str = ""
    before: float = 0.0
    after: float = 0.0
    gate: Gate | None = None
    gate_after: Gate | None = None
    cut: Literal["", "before", "after", "within"] = ""
    status: int = 0
    code: str = ""
    words: str = ""
    served: bool = False
    fails: Callable[[Json], object] | None = None
    sender_fault: bool = False

    @property
    def error(self) -> bytes:
        """The answer that says so; in HTML if it comes from some machine on the way, which knows no codes."""
        if not self.code:
            return response(self.status, b"<html><body>Sorry.</body></html>", kind=b"text/html")
        body = {"__type": f"com.amazonaws.sqs#{self.code}", "message": self.words or self.name}
        return response(self.status, json.dumps(body).encode(), self.code)


FINE = Fault()
CUT = Fault(name="cut", cut="before")
LOST = Fault(name="answer lost", cut="after")
TRUNCATED = Fault(name="answer truncated", cut="within")
INTERNAL = Fault(name="internal failure", status=500, code="InternalFailure")
UNAVAILABLE = Fault(name="unavailable", status=503, code="ServiceUnavailable")
BAD_GATEWAY = Fault(name="bad gateway", status=502)
THROTTLED = Fault(name="rate exceeded", status=400, code="ThrottlingException")
EXPIRED = Fault(name="the security token included in the request is expired", status=403, code="ExpiredToken")
DENIED = Fault(name="not authorized to perform this", status=403, code="AccessDenied")
GONE = Fault(
    name="the specified queue does not exist",
    status=400,
    code="AWS.SimpleQueueService.NonExistentQueue",
)
DONE_BUT_500 = replace(INTERNAL, name="done, and answered with a failure", served=True)


def failing(fails: Callable[[Json], object], code: str = "InternalError", *, sender_fault: bool = False) -> Fault:
    """Some entries of a batch call fail; the others are done."""
    return Fault(name=f"{code} for some", code=code, fails=fails, sender_fault=sender_fault)


@dataclass(frozen=True)
class Chaos:
    """A script by which calls fail at random, the same calls for the same seed, however they come to interleave.

    Args:
        seed: of the dice.
        share: of each fault, the share of calls that meet it.
        operations: those that do; none: all of them.
    """

    seed: int
    share: Mapping[Fault, float]
    operations: Collection[str] = ()

    def __call__(self, operation: str, number: int) -> Fault | None:
        """What the call of this operation with this number meets, 1 first."""
        if self.operations and operation not in self.operations:
            return None
        dice = random.Random(f"{self.seed}/{operation}/{number}").random()
        for fault, share in self.share.items():
            dice -= share
            if dice < 0:
                return fault
        return None


Script = Callable[[str, int], Fault | None]
