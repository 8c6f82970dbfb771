"""Where a plan is carried out: a server, a proxy before it, two consumers, somebody who sends, and a hand that kills.

Consumers and the server are programs of their own; the proxy and the sender are threads of ours, and the hand is us.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fire.evidence import Evidence, Kill, gather
from fire.journal import Reader
from fire.plan import SLOTS, Deed, Plan
from fire.sender import Sender, transported
from fire.slots import REGION, Slot
from queue_consumer_sqs import SQS
from support.proxied import Running
from support.sqs_faults import EXPIRED
from support.sqs_proxy import Proxy
from support.sqs_servers import Server

LOOK = 0.02  # seconds between two looks at the journals
BUSY_WITHIN = 2.0  # seconds that a child to be killed is waited for
STANDSTILL = 60.0  # seconds: if nothing is done for so long, nothing will be any more


class Halted(Exception):
    """Somebody wanted it to end."""


@dataclass
class Played:
    """What a run has come to.

    Attributes:
        faults: that calls met, by name.
        acts: deeds that were done.
        calls: how many there were.
    """

    evidence: Evidence
    faults: Counter[str] = field(default_factory=Counter[str])
    acts: Counter[str] = field(default_factory=Counter[str])
    calls: int = 0
    seconds: float = 0.0


class Stage:
    """One combination of a run.

    Args:
        folder: for all that is written.
        transport: of the queues, if not their own choice.
        progress: is called with how many are done, and how many there are.
        halt: when it is set, `play` ends by `Halted`.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        *,
        transport: str = "",
        progress: Callable[[int, int], object] = lambda done, of: None,
        halt: threading.Event | None = None,
    ) -> None:
        self.plan = plan
        self.folder = folder
        self._evidence = Evidence(numbers=frozenset(task.number for task in plan.tasks), fifo=plan.combination.fifo)
        self._played = Played(self._evidence)
        self._journal = Reader(folder)
        self._transport = transport
        self._progress = progress
        self._halt = halt or threading.Event()
        self._deeds = list(plan.deeds)
        self._renewals: list[tuple[float, Slot, str]] = []  # when a consumer gets new keys

    def play(self) -> Played:
        """Do it all, until every message is done and gone, or nothing happens any more."""
        began, played = time.monotonic(), self._played
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened:
            self._open(opened)
            self._run()
            self._leave()
            calls = self._proxy.calls()
        gather(self._evidence, calls, self._journal.lines)
        self._evidence.kills += [kill for slot in self._slots for kill in slot.kills]
        played.faults.update(call.fault.name for call in calls if call.fault.name)
        played.calls, played.seconds = len(calls), time.monotonic() - began
        return played

    def _open(self, opened: contextlib.ExitStack) -> None:
        combination = self.plan.combination
        self._server = Server(combination.server, self.folder / "server", durable=combination.server == "fauxqs")
        opened.callback(self._server.stop)
        self._account = SQS(
            endpoint_url=self._server.endpoint_url, region=REGION, access_key_id="stage", secret_access_key="secret"
        )
        name = "fire.fifo" if combination.fifo else "fire"
        self._url = self._account.create(name)
        self._proxy = opened.enter_context(Proxy(self._server.endpoint_url, script=self.plan.befalls))
        self._sender = Sender(
            name,
            str(self.plan.seed),
            endpoint_url=self._proxy.endpoint_url,
            region=REGION,
            **transported(self._transport),
        )
        opened.callback(self._sender.close)
        self._slots = [
            Slot(
                slot,
                queue=name,
                endpoint_url=self._proxy.endpoint_url,
                pool=combination.pool,
                folder=self.folder,
                transport=self._transport,
            )
            for slot in SLOTS
        ]
        for slot in self._slots:
            opened.callback(slot.kill, 0.0)

    # ------------------------------------------------------------------ while it burns

    def _run(self) -> None:
        waves, sent = list(self.plan.waves), 0
        sending: Running | None = None
        done, moved = 0, time.monotonic()
        while True:
            self._journal.look()
            if len(self._journal.done) > done:
                done, moved = len(self._journal.done), time.monotonic()
                self._progress(done, len(self._evidence.numbers))
            if sending is not None and not sending.is_alive():
                sending.result()
                sending = None
            if sending is None and waves and done >= sent - (0 if len(waves) == 1 else sent // 20):
                sent += len(waves[0])
                sending = Running(self._sender.send, waves.pop(0))
            for slot in self._slots:
                self._say(slot.mind())
            self._do_what_is_due(done)
            if sending is None and not waves and not self._deeds and done == sent and not self._left():
                return
            if time.monotonic() - moved > STANDSTILL:
                self._say(f"nothing is done any more, for {STANDSTILL:g} s, after {done} messages of {sent}")
                return
            if self._halt.wait(LOOK):  # others write to their journals, and ring no bell here
                raise Halted

    def _leave(self) -> None:
        """End the consumers in peace, and see what is left."""
        for slot in self._slots:
            slot.ask_to_end()
        for slot in self._slots:
            self._say(slot.end())
        self._journal.look()
        self._evidence.left = self._left()

    def _left(self) -> int:
        """How many messages the queue has, visible or not."""
        names = [f"ApproximateNumberOfMessages{which}" for which in ("", "NotVisible", "Delayed")]
        answer = self._account.client.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)
        return sum(map(int, answer["Attributes"].values()))

    def _say(self, words: str) -> None:
        if words:
            self._evidence.said.append(words)

    # ------------------------------------------------------------------ deeds

    def _do_what_is_due(self, done: int) -> None:
        for renewal in [renewal for renewal in self._renewals if renewal[0] <= time.monotonic()]:
            self._renewals.remove(renewal)
            _, slot, consumer = renewal
            if slot.consumer == consumer:
                slot.give_keys()
        while self._deeds and self._deeds[0].at <= done:
            deed = self._deeds.pop(0)
            time.sleep(deed.delay)  # a moment drawn at random is what it is about
            if self._do(deed):
                self._played.acts[deed.act] += 1

    def _do(self, deed: Deed) -> bool:
        """Do it; False if there was nobody to do it to."""
        slot = next(slot for slot in self._slots if slot.name == deed.slot)
        match deed.act:
            case "kill the server":
                at = time.monotonic()
                self._server.kill()
                self._server.restart()
                self._evidence.kills.append(Kill(who="server", at=at, over=time.monotonic()))
            case "kill the consumer":
                return slot.kill(deed.delay)
            case "kill a child":
                return self._kill_child_of(slot)
            case "hang up":
                self._proxy.hang_up()
            case "expire the keys":
                self._proxy.refuse(slot.key, EXPIRED)
                self._renewals.append((time.monotonic() + 3 * deed.delay, slot, slot.consumer))
        return True

    def _kill_child_of(self, slot: Slot) -> bool:
        """One that has something in hand, if there comes to be one; else whichever there is."""
        until = time.monotonic() + BUSY_WITHIN
        while time.monotonic() < until:
            self._journal.look()
            if any(slot.kill_child(pid) for pid in self._journal.busy(slot.consumer)):
                return True
            time.sleep(LOOK / 4)  # handlers write, and ring no bell here
        return any(slot.kill_child(pid) for pid in self._journal.pids(slot.consumer))
