"""The second act: priority buses on an SQS server, and beside them multi_sqs_listener, where they come from.

    python examples/demo_sqs.py [--alone]        # `make demo` sets up what it needs

An SQS server is started on this machine, and a small proxy before it makes it 120 ms away and counts the calls. Two
processes run the same program one after the other (`demo_sqs_listener.py`), the first with multi_sqs_listener 1.0.1 in
an environment of its own, the second with ours. Nine messages wait on the queue `low`; while the fourth is handled,
five arrive on the queue `high`. The README of multi_sqs_listener names what then happens there as a known issue: low
messages go in between. Both fetch one message ahead of each queue. (Before ours goes on with low messages, it hears
from the service that there are no more urgent ones.)

Then each handles a number of messages with nothing to do, and no distance; ours with `look_ahead="bulk"`, which
fetches ten at once. All figures of multi_sqs_listener are only shown. Of ours it is checked that the order is right,
that each message was handled, once, and none is left, that the ledgers balance, and that the meters counted the calls
that the proxy saw. If anything differs, it says so and the exit status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Protocol

try:
    from demo import say
    from queue_consumer_sqs import SQS
except KeyboardInterrupt:  # it takes a moment, and there is nothing to put away yet
    sys.exit(130)

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "demo_sqs_listener.py"
LOOPBACK = "127.0.0.1"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "demo",
    "AWS_SECRET_ACCESS_KEY": "demo",
    "AWS_DEFAULT_REGION": "eu-west-1",  # where multi_sqs_listener looks unless it is told otherwise
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": LOOPBACK,  # a proxy of this machine does not lead to this machine
    "no_proxy": LOOPBACK,
}

PRIORITIES = {"low": 1, "high": 5}
DISTANCE = 0.12  # seconds there and back
TAKES = {"low": 0.3, "high": 0.1}  # seconds to handle one
LOWS, URGENT, GATE = 9, 5, 4  # so many low messages wait, so many urgent ones arrive, during this low one
ARRIVAL = 1.0  # seconds that this one still takes after the urgent ones were sent
RIGHT = "L" * GATE + "H" * URGENT + "L" * (LOWS - GATE)
PATIENCE = 60.0  # seconds for a listener to handle its messages
STOPS = 10.0  # seconds after Ctrl-C until it is killed


# ---------------------------------------------------------------------- who listens


@dataclass(frozen=True)
class Party:
    """A listener, and the Python that has it."""

    python: str
    package: str
    burst: int  # messages with nothing to do

    @property
    def ours(self) -> bool:
        return self.package == "queue_consumer_sqs"


OURS = Party(sys.executable, "queue_consumer_sqs", 400)


def the_original() -> Party | None:
    """multi_sqs_listener in its own environment, if `tools/servers.sh` could install it."""
    place = servers().INSTALLED / "multi_sqs_listener"
    if not (place / ".made").exists():
        return None
    return Party(str(place / "bin" / "python"), "multi_sqs_listener", 50)


# ---------------------------------------------------------------------- the server, and the way to it


class Server(Protocol):
    port: int

    @property
    def endpoint_url(self) -> str: ...

    def kill(self) -> None: ...


def servers() -> Any:
    """What the tests start their SQS servers with; none of them outlives who started it."""
    tests = str(HERE.parent / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    return importlib.import_module("support.sqs_servers")


@contextmanager
def server_running(folder: Path) -> Generator[Server]:
    server: Server = servers().Server("ministack", folder)
    try:
        yield server
    finally:
        server.kill()  # it would wait for polls, and there is nothing on it to keep


class Proxy:
    """The way to a server: so long, and with somebody who counts what goes along."""

    def __init__(self, server_port: int, distance: float) -> None:
        self.calls = Counter[str]()
        self.port = 0
        self._server_port = server_port
        self._each_way = distance / 2
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._carry, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry calls and answers until one side hangs up. The server is not told if it was the client."""
        try:
            while True:
                call = await whole_message(reader)
                operation = re.search(rb"x-amz-target: *AmazonSQS\.(\w+)", call, re.IGNORECASE)
                self.calls[snake(operation[1].decode()) if operation else "unknown"] += 1
                await asyncio.sleep(self._each_way)
                # A connection that is kept may be closed by the server just when it is used.
                answering, asking = await asyncio.open_connection(LOOPBACK, self._server_port)
                try:
                    asking.write(call)
                    answer = await whole_message(answering)
                finally:
                    asking.close()
                await asyncio.sleep(self._each_way)
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # cancelled is what is still on its way when the run is over
        finally:
            writer.close()


async def whole_message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP request or response."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


def snake(operation: str) -> str:
    """`ReceiveMessage` as boto3 has it."""
    return re.sub(r"(?<=.)(?=[A-Z])", "_", operation).lower()


# ---------------------------------------------------------------------- one run


class Broke(Exception):
    """A listener did not handle all of its messages."""

    def __init__(self, party: Party, words: str) -> None:
        said = words.strip()[-1000:] or "nothing"
        super().__init__(f"{party.package} did not handle all of its messages. It said: {said}")


@dataclass
class Run:
    """What one listener did with some messages."""

    sent: list[str] = field(default_factory=list[str])
    begun: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])  # bodies, and when
    done: int = 0
    urgent_at: float = 0.0
    calls: Counter[str] = field(default_factory=Counter[str])  # that the proxy saw
    left: int = 0  # messages in the queues, when it had ended
    stopped: float | None = None  # seconds after Ctrl-C; None: it had to be killed
    report: dict[str, Any] = field(default_factory=dict[str, Any])  # of ours
    version: str = ""

    @property
    def letters(self) -> str:
        return "".join(body[0].upper() for body, _ in self.begun)

    @property
    def times(self) -> list[float]:
        """Seconds since the first message was begun."""
        return [at - self.begun[0][1] for _, at in self.begun]

    @property
    def speed(self) -> float:
        """Messages a second."""
        return (len(self.begun) - 1) / max(self.times[-1], 0.001) if len(self.begun) > 1 else 0.0

    @property
    def calls_per_message(self) -> float:
        """What finds the queues at the beginning is left out."""
        working = [count for name, count in self.calls.items() if not name.startswith("get_queue")]
        return sum(working) / max(self.done, 1)

    @property
    def overtaken(self) -> int:
        """Low messages that went first although an urgent one was there."""
        return self.letters[GATE : self.letters.rfind("H") + 1].count("L")

    @property
    def waited(self) -> float:
        """Seconds until the last urgent message was begun."""
        return max((at - self.urgent_at for body, at in self.begun if body.startswith("high")), default=0.0)

    @property
    def handled_once(self) -> int:
        """Fewer than there are if one is missing, or was there twice."""
        bodies = [body for body, _ in self.begun]
        return 2 * len(set(bodies) & set(self.sent)) - len(bodies)

    @property
    def cleaned(self) -> int:
        """Messages that the ledger has as received and cleaned up, if it balances."""
        report = self.report
        return report["cleaned"] if report and report["balanced"] and report["received"] == report["cleaned"] else 0

    @property
    def metered(self) -> Counter[str]:
        """The calls that were made, by the meters of the queues."""
        meter = Counter[str]()
        for calls in self.report.get("calls", {}).values():
            meter.update(calls)
        # A poll that is cut as it begins is counted, and not on its way: one of each queue at most.
        meter["receive_message"] -= min(
            max(0, meter["receive_message"] - self.calls["receive_message"]), len(PRIORITIES)
        )
        return +meter


class Show(NamedTuple):
    """What a listener did with the two buses, and with nothing to do."""

    party: Party
    order: Run
    burst: Run


class Stage:
    """The two queues, for one run after the other."""

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._log = folder / "listener.log"
        self._account = SQS(endpoint_url=server.endpoint_url)

    def close(self) -> None:
        self._account.close()

    def show(self, party: Party) -> Show:
        order = self.play(party, Score(), lows=LOWS, urgent=URGENT)
        return Show(party, order, self.play(party, Progress(), lows=party.burst))

    def play(self, party: Party, show: Score | Progress, *, lows: int, urgent: int = 0) -> Run:
        """Have a listener handle so many messages, `urgent` more that arrive in the middle, and end it by Ctrl-C.

        Without urgent ones, there is nothing to do for each, and no distance to the server.

        Raises:
            Broke: it did not handle them all.
        """
        run = Run()
        urls = {name: self._account.create(name) for name in PRIORITIES}
        self._send("low", lows, run)
        task = {
            "priorities": PRIORITIES,
            "takes": TAKES if urgent else dict.fromkeys(PRIORITIES, 0),
            "gate": f"low {GATE}" if urgent else "",
            "arrival": ARRIVAL,
            "options": {} if urgent else {"look_ahead": "bulk"},
        }
        try:
            with (
                Proxy(self._server.port, DISTANCE if urgent else 0) as proxy,
                listening(party, task, proxy.port, self._log) as process,
            ):
                for note in notes(process):
                    self._follow(process, note, run, urgent)
                    show.show(party, run)
                    if run.done == lows + urgent:
                        break
                show.show(party, run, last=True)
                if run.done < lows + urgent:
                    raise Broke(party, self._log.read_text(errors="replace"))
                self._empty(urls.values(), STOPS)
                if urgent or party.ours:  # ours has a report to give
                    meanwhile(f"{title(party, run)} was told to end")
                    stop(process, run)
                    meanwhile("")
                run.calls = Counter(proxy.calls)
            run.left = self._empty(urls.values(), 0)
        finally:
            for name in urls:
                self._account.delete(name)
        return run

    def _follow(self, process: subprocess.Popen[str], note: Mapping[str, Any], run: Run, urgent: int) -> None:
        if note["what"] == "begun":
            run.begun.append((note["body"], note["at"]))
            if urgent and note["body"] == f"low {GATE}":
                self._send("high", urgent, run)
                run.urgent_at = time.monotonic()
                go_on(process)
        elif note["what"] == "done":
            run.done += 1
        elif note["what"] == "version":
            run.version = note["version"]

    def _send(self, name: str, count: int, run: Run) -> None:
        bodies = [f"{name} {number}" for number in range(1, count + 1)]
        queue = self._account.queue(name)
        queue.put_many({"body": body} for body in bodies)
        queue.close()
        run.sent += bodies

    def _empty(self, urls: Iterable[str], patience: float) -> int:
        """Messages that are left, hidden ones too, as soon as there are none, or after so long."""
        until = time.monotonic() + patience
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        while True:
            answers = [self._account.client.get_queue_attributes(QueueUrl=url, AttributeNames=names) for url in urls]
            left = sum(int(answer["Attributes"][name]) for answer in answers for name in names)
            if not left or time.monotonic() >= until:
                return left
            time.sleep(0.02)


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write("go on\n")
        process.stdin.flush()
    except (OSError, ValueError):
        pass  # it is over


@contextmanager
def listening(party: Party, task: Mapping[str, Any], port: int, log: Path) -> Generator[subprocess.Popen[str]]:
    """A process that listens; it is gone at the end."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [party.python, str(PROGRAM), party.package, json.dumps(task)],
            env={**os.environ, "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{port}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo, which ends it
        )
    try:
        with process:
            try:
                yield process
            finally:
                process.kill()
    finally:
        process.wait()


def notes(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """What it says; nothing more after so long."""
    assert process.stdout is not None
    deadline = threading.Timer(PATIENCE, process.kill)
    deadline.daemon = True
    deadline.start()
    try:
        for line in process.stdout:
            yield json.loads(line)
    finally:
        deadline.cancel()


def stop(process: subprocess.Popen[str], run: Run) -> None:
    """Ctrl-C; and after so long, SIGKILL."""
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOPS)
        run.stopped = time.monotonic() - began
    except subprocess.TimeoutExpired:
        process.kill()
    assert process.stdout is not None
    for line in process.stdout:
        note = json.loads(line)
        if note["what"] == "report":
            run.report = note


# ---------------------------------------------------------------------- what is shown


class Score:
    """Two rows that grow: letters, and the seconds at which they were begun."""

    def __init__(self) -> None:
        self._live = sys.stdout.isatty()
        self._titled = False

    def show(self, party: Party, run: Run, last: bool = False) -> None:
        if not (self._live or last):
            return
        if not self._titled:
            say(f"{title(party, run):<26}L: low, H: urgent; and the second when each began")
            self._titled = True
        say("".join(f"{letter:>5}" for letter in run.letters), again=self._live)
        say("".join(f"{at:5.1f}" for at in run.times), again=self._live, end="\n" if last else "\x1b[A")


class Progress:
    """A line that says how far it is, and is gone at the end."""

    def __init__(self) -> None:
        self._next = 0.0

    def show(self, party: Party, run: Run, last: bool = False) -> None:
        now = time.monotonic()
        if last or now >= self._next:
            self._next = now + 0.1
            meanwhile("" if last else f"{title(party, run)}: {run.done} of {len(run.sent)} with nothing to do")


def meanwhile(text: str) -> None:
    """Say something that is gone again soon, if anybody watches."""
    if sys.stdout.isatty():
        say(text, end="", again=True)


def title(party: Party, run: Run) -> str:
    return f"{party.package} {run.version}".rstrip()


def show_facts(shows: Sequence[Show]) -> None:
    """The figures of all, side by side."""

    def row(what: str, found: Callable[[Show], str]) -> None:
        say(f"{what:<33}" + "".join(f"{found(show):>{22 if show.party.ours else 24}}" for show in shows))

    def stopped(show: Show) -> str:
        seconds = show.order.stopped
        return f"killed after {STOPS:.0f} s" if seconds is None else f"{seconds:.1f} s"

    def bulk(show: Show) -> str:
        return " in bulk" if show.party.ours else ""

    def speed(show: Show) -> str:
        return f"{show.burst.speed:,.{0 if show.burst.speed >= 100 else 1}f}{bulk(show)}"

    say()
    row("", lambda show: title(show.party, show.order))
    row("low ones before an urgent one", lambda show: str(show.order.overtaken))
    row("until the last urgent one began", lambda show: f"{show.order.waited:.1f} s")
    row("messages a second, local, no work", speed)
    row("calls for each of these", lambda show: f"{show.burst.calls_per_message:.2f}{bulk(show)}")
    row("from Ctrl-C to its end", stopped)


class Row(NamedTuple):
    """A line of the proof: what was to be, and what was."""

    what: str
    expected: str | int
    found: str | int


def prove(show: Show) -> list[Row]:
    """Hold what ours did against what it was to do."""
    runs = (show.order, show.burst)
    sent = sum(len(run.sent) for run in runs)
    metered, seen = sum((run.metered for run in runs), Counter[str]()), sum((run.calls for run in runs), Counter[str]())
    return [
        Row("order", RIGHT, show.order.letters),
        Row("messages handled, each once", sent, sum(run.handled_once for run in runs)),
        Row("messages left in the queues", 0, sum(run.left for run in runs)),
        Row("cleaned up, by balanced ledgers", sent, sum(run.cleaned for run in runs)),
        Row("calls that meters and proxy dispute", 0, ((seen - metered) + (metered - seen)).total()),
    ]


def show_proof(rows: Sequence[Row]) -> bool:
    """True if everything is as it was to be."""
    say(f"\n{'proof, of ours':<38}{'expected':>18}{'found':>18}")
    for what, expected, found in rows:
        say(f"  {what:<36}{expected:>18}{found:>18}{'' if expected == found else '  DIFFERS'}")
    return all(row.expected == row.found for row in rows)


# ---------------------------------------------------------------------- the demo


def demo(folder: Path, original: Party | None) -> bool:
    """True if ours did all it should."""
    began = time.monotonic()
    say(f"Nine low messages wait on an SQS server {DISTANCE * 1000:.0f} ms away; during the fourth, five")
    say("urgent ones arrive. Priority buses come from multi_sqs_listener (Fabien Vinas).")
    shows: list[Show] = []
    with server_running(folder) as server, closing(Stage(server, folder)) as stage:
        if original is not None:
            try:
                shows.append(stage.show(original))
            except Broke as error:
                say(str(error))
        shows.append(stage.show(OURS))
    show_facts(shows)
    proven = show_proof(prove(shows[-1]))
    took = f"after {time.monotonic() - began:.1f} s"
    say(f"everything agrees, {took}" if proven else f"NOT EVERYTHING AGREES, {took}")
    return proven


def interrupt_once(signum: int, frame: FrameType | None) -> None:
    """What is running is put away in peace; another Ctrl-C does not disturb that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description="Priority buses on an SQS server of this machine.")
    parser.add_argument("--alone", action="store_true", help="without multi_sqs_listener")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, interrupt_once)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)
    try:
        with tempfile.TemporaryDirectory(prefix="queue_consumer-demo-") as folder:
            original = None if options.alone else the_original()
            if original is None and not options.alone:
                say("multi_sqs_listener is not installed (tools/servers.sh multi_sqs_listener), so ours is alone.")
            return 0 if demo(Path(folder), original) else 1
    except (Broke, servers().ServerError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:  # by now the server and the listener are gone
        say("\n\x1b[Jinterrupted" if sys.stdout.isatty() else "\ninterrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
