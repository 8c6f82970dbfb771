"""The examples of the projects before this one run: as they stand in their documents, with our imports.

Each is a program in a process of its own, which finds the server as boto3 does, by `AWS_ENDPOINT_URL`, and is ended by
Ctrl-C. What was changed is said beside each: the import, the names of the queues, and how long things take.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from queue_consumer import Constant, Consumer, each
from queue_consumer_sqs import QueueNotFound, SQSMessage, SQSQueue
from support.lifecycle import PATIENCE
from support.sqs_servers import MakeQueue

no_endpoint = pytest.mark.gap("memory", reason="has no endpoint that another process could be given")


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def left_in(client: Any, url: str) -> int:
    """How many messages the queue has, visible or not."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    figures = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(figures[name]) for name in names)


def changed(text: str, changes: Mapping[str, str]) -> str:
    """The text with each of these replaced, all of which are there."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the example"
        text = text.replace(old, new)
    return text


class Program:
    """An example that runs in a process of its own."""

    def __init__(self, path: Path, text: str, environment: Mapping[str, str]) -> None:
        path.write_text(text)
        self.process = subprocess.Popen(
            [sys.executable, "-u", str(path)],
            cwd=path.parent,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._read_out = 0  # of its two streams
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=reader, daemon=True)
            for reader in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, lines: list[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._read_out += 1
            self._changed.notify_all()

    def wait_for_lines(self, count: int) -> list[str]:
        """Wait until it has printed so many."""
        self._wait_for(lambda: len(self.lines) >= count)
        return list(self.lines)

    def wait_for_error(self, words: str) -> None:
        """Wait until it has said this."""
        self._wait_for(lambda: any(words in line for line in self.errors))

    def _wait_for(self, fact: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: fact() or self._read_out == 2, PATIENCE)
            assert fact(), self.told()

    def press_ctrl_c(self) -> int:
        """End it; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.ended()

    def ended(self) -> int:
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end; {self.told()}") from None
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def told(self) -> str:
        return "\n".join(["it printed:", *self.lines, "and said:", *self.errors])


class Run(Protocol):
    def __call__(self, text: str, **changes: str) -> Program: ...


@pytest.fixture
def run(sqs_server: Any, tmp_path: Path) -> Iterator[Run]:
    """Runs a text as a program that finds the server by itself; none of them outlives the test."""
    assert sqs_server.endpoint_url, f"{sqs_server.name} is in this process only"
    programs: list[Program] = []

    def start(text: str, **environment: str) -> Program:
        path = tmp_path / f"example_{len(programs)}.py"
        program = Program(path, text, {"AWS_ENDPOINT_URL": sqs_server.endpoint_url, **environment})
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.process.kill()
        program.ended()


# ---------------------------------------------------------------------------- multi_sqs_listener

QUICK_EXAMPLE = """
from multi_sqs_listener import SQSListenerConfig, MultiSQSListener

class MyListener(MultiSQSListener):
    def handle_message(self, queue, bus, priority, message):
        print(message.body)

my_queue = SQSListenerConfig('name-of-my-queue')  # multiple default values used here, for instance polling type defaulting to long polling
my_listener = MyListener([my_queue])
my_listener.listen()
"""  # noqa: E501

LANES_SERVER = """
# Server code
# Assuming you have two SQS queues named 'low-priority-queue' and 'high-priority-queue'

import time
from multi_sqs_listener import SQSListenerConfig, MultiSQSListener


class MyListener(MultiSQSListener):

    def low_priority_job(self, message):
        print('Starting low priority, long job: {}'.format(message))
        time.sleep(5)
        print('Ended low priority job: {}'.format(message))

    def high_priority_job(self, message):
        print('Starting high priority, quick job: {}'.format(message))
        time.sleep(.2)
        print('Ended high priority job: {}'.format(message))

    def handle_message(self, queue, bus, priority, message):
        if bus == 'high-priority-bus':
            self.high_priority_job(message.body)
        else:
            self.low_priority_job(message.body)

low_prioriy_queue = SQSListenerConfig('low-priority-queue', priority_number=1)
high_prioriy_queue = SQSListenerConfig('high-priority-queue', priority_number=5, bus_name='high-priority-bus')
my_listener = MyListener([low_prioriy_queue, high_prioriy_queue])
my_listener.listen()
"""

LANES_SENDER = """
import boto3

sqs = boto3.resource('sqs')
low_q = sqs.get_queue_by_name(QueueName='low-priority-queue')
high_q = sqs.get_queue_by_name(QueueName='high-priority-queue')

for job_index in range(5):
    low_q.send_message(MessageBody='Job #{} with no priority'.format(job_index))

high_q.send_message(MessageBody='Priority message')
"""

OUR_LISTENER = {"from multi_sqs_listener import": "from queue_consumer_sqs import"}


@no_endpoint
def test_the_quick_example_of_multi_sqs_listener(client: Any, make_queue: MakeQueue, run: Run) -> None:
    """With our import it prints what is sent, deletes it, and ends by Ctrl-C in peace, which it could not before."""
    url = make_queue()
    program = run(changed(QUICK_EXAMPLE, {**OUR_LISTENER, "name-of-my-queue": name_of(url)}))
    client.send_message(QueueUrl=url, MessageBody="hello")
    assert program.wait_for_lines(1) == ["hello"]
    assert program.press_ctrl_c() == 0, program.told()
    assert (program.lines, left_in(client, url)) == (["hello"], 0)


@no_endpoint
def test_the_fast_and_slow_lane_of_multi_sqs_listener(client: Any, make_queue: MakeQueue, run: Run) -> None:
    """With our import, and long jobs of a second, the priority message goes before the jobs that are left.

    Their sender is run as it is, with boto3's resource. Which of its jobs comes first is SQS's best effort.
    """
    low, high = make_queue(), make_queue()
    names = {"low-priority-queue": name_of(low), "high-priority-queue": name_of(high)}
    server = run(changed(LANES_SERVER, {**OUR_LISTENER, **names, "time.sleep(5)": "time.sleep(1)"}))
    sender = run(changed(LANES_SENDER, names))
    assert sender.ended() == 0, sender.told()
    lines = server.wait_for_lines(12)
    assert server.press_ctrl_c() == 0, server.told()
    jobs = [line.partition(": ")[2] for line in lines]
    assert jobs[::2] == jobs[1::2]  # each ends before the next starts
    assert sorted(jobs[::2]) == [*(f"Job #{number} with no priority" for number in range(5)), "Priority message"]
    assert [line.split(" ")[0] for line in lines] == ["Starting", "Ended"] * 6
    assert jobs[-1] != "Priority message", lines
    assert left_in(client, low) == left_in(client, high) == 0


@no_endpoint
def test_a_missing_queue_ends_the_program(run: Run) -> None:
    """With a sentence that says which, instead of a thread that dies unheard."""
    program = run(changed(QUICK_EXAMPLE, {**OUR_LISTENER, "name-of-my-queue": "no-such-queue"}))
    assert program.ended() == 1
    assert program.errors[-1].startswith("queue_consumer_sqs._errors.QueueNotFound: "), program.told()


# ---------------------------------------------------------------------------- queue-consumer, the first of its name

FIRST_CONSUMER = """
import boto3
from queue_consumer import Consumer


class Queue:

    def __init__(self,
                 queue_name,
                 max_number_of_messages=10,
                 wait_time_seconds=20):
        self._max_number_of_messages = max_number_of_messages
        self._wait_time_seconds = wait_time_seconds
        self._sqs = boto3.resource("sqs").get_queue_by_name(
            QueueName=queue_name)

    def get(self):
        return self._sqs.receive_messages(
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
            MaxNumberOfMessages=self._max_number_of_messages,
            WaitTimeSeconds=self._wait_time_seconds,
        )

    def cleanup(self, messages):
        self._sqs.delete_messages(
            Entries=[
                {
                    "Id": message.message_id,
                    "ReceiptHandle": message.receipt_handle,
                }
                for message in messages
            ]
        )

    def handler(self, messages):
        for message in messages:
            do_some_stuff(message)


consumer = Consumer(Queue("my_queue"))
consumer.start()
consumer.supervise(blocking=True)
"""

OWN_HANDLER = """
def handler(messages):
    for message in messages:
        do_some_stuff(message)

consumer = Consumer(queue, handler=handler)
"""

SOME_STUFF = """
def do_some_stuff(message):
    print(message.body + "\\n", end="")  # as one, since several threads print

"""

SAYS_WHEN_IT_HEARS = """
import signal, sys, threading, time

def look():
    while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        time.sleep(0.01)  # nothing tells when that changes
    print("Ctrl-C is heard", file=sys.stderr)

threading.Thread(target=look, daemon=True).start()
"""


@no_endpoint
def test_the_example_of_the_first_queue_consumer(client: Any, make_queue: MakeQueue, run: Run) -> None:
    """As it is, with boto3's resource and a handler that is the queue's own; polls are cut to a second.

    Such a queue cannot be interrupted, so Ctrl-C waits for the polls that run.
    """
    url = make_queue()
    bodies = [f"message {number}" for number in range(25)]
    for body in bodies:
        client.send_message(QueueUrl=url, MessageBody=body)
    text = changed(FIRST_CONSUMER, {'"my_queue"': f'"{name_of(url)}"', "wait_time_seconds=20": "wait_time_seconds=1"})
    program = run(SAYS_WHEN_IT_HEARS + SOME_STUFF + text)
    program.wait_for_lines(25)
    program.wait_for_error("Ctrl-C is heard")  # all may be handled before it supervises
    assert program.press_ctrl_c() == 0, program.told()
    assert sorted(program.lines) == sorted(bodies)
    assert left_in(client, url) == 0


@no_endpoint
def test_a_handler_of_ones_own_for_the_first_queue_consumer(client: Any, make_queue: MakeQueue, run: Run) -> None:
    """Defined apart from the queue; and the queue of their example is one line of ours."""
    url = make_queue()
    for number in range(12):
        client.send_message(QueueUrl=url, MessageBody=str(number))
    program = run(
        "from queue_consumer import Consumer\nfrom queue_consumer_sqs import SQSQueue\n"
        f"{SOME_STUFF}queue = SQSQueue({name_of(url)!r})\n{OWN_HANDLER}consumer.run()\n"
    )
    program.wait_for_lines(12)
    assert program.press_ctrl_c() == 0, program.told()
    assert sorted(program.lines, key=int) == [str(number) for number in range(12)]
    assert left_in(client, url) == 0


@no_endpoint
def test_what_their_example_calls_wrong_loses_nothing(client: Any, make_queue: MakeQueue, run: Run) -> None:
    """`for message in list(messages)` takes all before it handles one: if one fails none of its call is deleted."""
    url = make_queue(VisibilityTimeout=600)
    for number in range(3):
        client.send_message(QueueUrl=url, MessageBody=str(number))
    wrong = OWN_HANDLER.replace("in messages:", "in list(messages):").replace(
        "handler=handler)", "handler=handler, messages_bulk_size=3)"
    )
    program = run(
        "from queue_consumer import Consumer\nfrom queue_consumer_sqs import SQSQueue\n\n"
        "def do_some_stuff(message):\n    print(message.body)\n    raise ValueError('no good')\n\n"
        f"queue = SQSQueue({name_of(url)!r})\n{wrong}consumer.run()\n"
    )
    program.wait_for_lines(1)
    assert program.press_ctrl_c() == 0, program.told()
    assert left_in(client, url) == 3


# ---------------------------------------------------------------------------- an asyncio consumer, from a blog

MESSAGE_PROCESSOR = """
async def message_processor(message_id: str, message_body: str) -> bool:
    logging.info("Starting MessageId processing", extra={"message_id": message_id})
    try:
        message_dict = json.loads(message_body)
        logging.info("pydantic model", extra={"sqs_message": message_dict})
    except pydantic.ValidationError as e:
        logging.error("Invalid message format", extra={"error": e})
        return False

    return await do_work(message_dict)


async def do_work(message) -> bool:
    logging.info("Started work", extra={"body": message})

    logging.info(
        "Completed work",
        extra={"body": message}
    )
    return True
"""

# What their consume_messages and main come to: 53 lines that are 9.
OUR_CONSUMER = """
import asyncio
import json
import logging
import signal

from queue_consumer import Consumer, each
from queue_consumer_sqs import SQSQueue


@each
async def handler(message):
    return await message_processor(message.id, message.body)


async def main():
    logging.basicConfig(level=logging.INFO)
    loop = asyncio.get_running_loop()
    shutdown_signal = asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, shutdown_signal.set)
    consumer = Consumer(SQSQueue("my-queue2", wait_time=2), handler, max_handlers=2, loop=loop)
    await consumer.arun(stop=shutdown_signal)
    logging.info("Finished")


if __name__ == "__main__":
    asyncio.run(main())
"""

# json.loads raises a ValueError, and no ValidationError, since they make no model of it.
PLAIN_JSON = {"pydantic.ValidationError": "ValueError"}


@no_endpoint
def test_the_asyncio_consumer_of_the_blog(client: Any, make_queue: MakeQueue, run: Run) -> None:
    """Their processor of messages on our consumer: what it says True to is deleted, what it says False to is kept.

    Ctrl-C sets the event, which theirs never did; what runs is finished, and the program ends well.
    """
    url = make_queue()
    for body in ('{"order": 1}', '{"order": 2}', "no JSON"):
        client.send_message(QueueUrl=url, MessageBody=body)
    text = changed(OUR_CONSUMER, {"\n\n@each": f"\n{changed(MESSAGE_PROCESSOR, PLAIN_JSON)}\n\n@each"})
    program = run(changed(text, {"my-queue2": name_of(url)}))
    program.wait_for_error("Invalid message format")
    while left_in(client, url) > 1:
        time.sleep(0.02)  # that a message is deleted is not announced to anybody
    assert program.press_ctrl_c() == 0, program.told()
    assert "INFO:root:Finished" in program.errors
    assert sum("Completed work" in line for line in program.errors) == 2
    assert left_in(client, url) == 1


async def message_processor(message_id: str, message_body: str) -> bool:
    """What an order comes to: done, not done, or an error."""
    order: dict[str, Any] = json.loads(message_body)
    if order.get("raises"):
        raise ValueError("no good")
    return bool(order["good"])


def test_true_is_deleted_and_false_and_errors_are_kept(
    client: Any, make_queue: MakeQueue, caplog: pytest.LogCaptureFixture
) -> None:
    """Of each message: what the coroutine returns says what becomes of it, and a bad body ends nobody."""
    url = make_queue()
    bodies = ['{"good": true}', '{"good": false}', '{"raises": true}', "no JSON"]
    for body in bodies:
        client.send_message(QueueUrl=url, MessageBody=body)
    outcomes: dict[str, Any] = {}

    @each
    async def handler(message: SQSMessage) -> bool:
        try:
            outcomes[message.body] = await message_processor(message.id, message.body)
        except ValueError as error:
            outcomes[message.body] = type(error)
            raise
        return bool(outcomes[message.body])

    async def main() -> None:
        stop = asyncio.Event()

        def stop_when(stats: Any) -> bool:
            return bool(stats.cleaned + stats.released >= 4)

        loop = asyncio.get_running_loop()
        consumer = Consumer(
            SQSQueue(name_of(url), client=client), handler, backoff=Constant(60), loop=loop, stop_when=stop_when
        )
        report = await consumer.arun(stop=stop)
        assert (report.stats.cleaned, report.stats.failed, report.stats.released) == (1, 3, 3)
        assert report.balanced

    asyncio.run(main())
    assert outcomes == dict(zip(bodies, [True, False, ValueError, json.JSONDecodeError], strict=True))
    assert left_in(client, url) == 3
    assert [record.levelno for record in caplog.records if "an item failed" in record.getMessage()] == [
        logging.ERROR
    ] * 3


def test_messages_are_handled_at_once_on_one_loop(client: Any, make_queue: MakeQueue) -> None:
    """Two consumers side by side were two messages at a time; ours is one with as many as are wanted."""
    url = make_queue()
    for number in range(20):
        client.send_message(QueueUrl=url, MessageBody=str(number))
    inside: set[str] = set()
    loops: set[object] = set()

    async def main() -> None:
        all_there = asyncio.Event()

        @each
        async def handler(message: SQSMessage) -> None:
            inside.add(message.id)
            loops.add(asyncio.get_running_loop())
            if len(inside) == 20:
                all_there.set()
            await asyncio.wait_for(all_there.wait(), PATIENCE)

        consumer = Consumer(
            SQSQueue(name_of(url), client=client), handler, max_handlers=20, loop=asyncio.get_running_loop()
        )
        async with consumer:
            await asyncio.wait_for(all_there.wait(), PATIENCE)
        assert loops == {asyncio.get_running_loop()}

    asyncio.run(main())
    assert left_in(client, url) == 0


def test_the_event_lets_what_runs_end(client: Any, make_queue: MakeQueue) -> None:
    """What is handled when the event is set is finished and deleted; what is not begun is visible again."""
    url = make_queue(VisibilityTimeout=600)
    for number in range(5):
        client.send_message(QueueUrl=url, MessageBody=str(number))
    finished: list[str] = []

    async def main() -> None:
        stop = asyncio.Event()

        @each
        async def handler(message: SQSMessage) -> bool:
            stop.set()
            await asyncio.sleep(0.1)  # the work
            finished.append(message.body)
            return True

        loop = asyncio.get_running_loop()
        queue = SQSQueue(name_of(url), client=client)
        # One getter: a second one's poll may be cut while its answer is on the way, and that is seen again later.
        report = await Consumer(queue, handler, max_workers=1, max_handlers=2, loop=loop).arun(stop=stop)
        assert report.stats.cleaned == len(finished)
        assert report.balanced

    asyncio.run(main())
    assert 1 <= len(finished) < 5
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    left = client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    assert left == {names[0]: str(5 - len(finished)), names[1]: "0"}


def test_a_cancellation_drains_and_goes_on(client: Any, make_queue: MakeQueue) -> None:
    """Theirs swallowed it; ours ends cleanly and lets it through, so that time limits and task groups work."""
    url = make_queue(VisibilityTimeout=600)
    client.send_message(QueueUrl=url, MessageBody="a")

    async def main() -> None:
        begun = asyncio.Event()

        @each
        async def handler(message: SQSMessage) -> None:
            begun.set()
            await asyncio.sleep(0.1)  # the work

        loop = asyncio.get_running_loop()
        consumer = Consumer(SQSQueue(name_of(url), client=client), handler, loop=loop)
        task = asyncio.create_task(consumer.arun())
        await asyncio.wait_for(begun.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert consumer.stats().in_flight == 0

    asyncio.run(main())
    assert left_in(client, url) in (0, 1)
    names = ["ApproximateNumberOfMessagesNotVisible"]
    assert client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"] == {names[0]: "0"}


def test_a_missing_queue_is_an_error_before_anything_runs(client: Any) -> None:
    """Theirs ended the program from inside a task; ours raises where the queue is opened, for the program to decide."""
    with pytest.raises(QueueNotFound, match="no-such-queue") as caught:
        SQSQueue("no-such-queue", client=client)
    assert caught.value.code.endswith(("NonExistentQueue", "QueueDoesNotExist"))
