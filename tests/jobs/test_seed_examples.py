"""The examples of sqs-workers' README run: as they stand there, with only imports and names changed.

Each test has the text of an example, and the names that it goes by here. They run on an SQS in memory, since they make
their own queues. Where the README was wrong about sqs-workers itself, it is said.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import queue_consumer_sqs
from queue_consumer import Constant, MaxItems, MemoryQueue
from queue_consumer.jobs import ExponentialBackoff, Jobs
from queue_consumer_sqs import SQS
from queue_consumer_sqs.testing import MemorySQS

QUICK: dict[str, Any] = {"wait_time": 0, "poll_interval": 0.05}


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> SQS:
    """What `SQS()` opens here: an account in memory."""
    client = MemorySQS().client()
    monkeypatch.setattr(queue_consumer_sqs, "SQS", functools.partial(SQS, client=client))
    monkeypatch.setattr(SQS, "queue", functools.partialmethod(SQS.queue, **QUICK))
    return SQS(client=client)


def changed(text: str, changes: Mapping[str, str]) -> str:
    """The text with each of these replaced, all of which are there."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the example"
        text = text.replace(old, new)
    return text


class Program:
    """A program that is written example by example."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "program"}

    def run(self, text: str) -> None:
        """Run an example, with what those before have made."""
        exec(text, self.names)

    def __getitem__(self, name: str) -> Any:
        return self.names[name]


@pytest.fixture
def program() -> Program:
    return Program()


IMPORTS = {
    "from sqs_workers import SQSEnv, create_standard_queue": (
        "from queue_consumer.jobs import Jobs\nfrom queue_consumer_sqs import SQS"
    ),
    "SQSEnv()": "SQS()",
}
SETUP = """
from sqs_workers import SQSEnv, create_standard_queue

# This environment will use AWS requisites from ~/.aws/ directory
sqs = SQSEnv()

# Create a new queue.
# Note that you can use AWS web interface for the same action as well, the
# web interface provides more options. You only need to do it once.
create_standard_queue(sqs, "emails")

# Get the queue object
queue = sqs.queue("emails")

# Register a queue processor
@queue.processor("send_email")
def send_email(to, subject, body):
    print(f"Sending email {subject} to {to}")
"""
OUR_SETUP = changed(
    SETUP,
    {
        **IMPORTS,
        'create_standard_queue(sqs, "emails")': 'sqs.create("emails")',
        'sqs.queue("emails")': 'Jobs(sqs.queue("emails"))',
        "queue.processor": "queue.task",
    },
)
ADD_JOB = """
queue.add_job("send_email", to="user@examile.com", subject="Hello world", body="hello world")
"""
DELAY = """
send_email.delay(to="user@examile.com", subject="Hello world", body="hello world")
"""
PROCESS_QUEUE = """
sqs.queue('emails').process_queue()
"""
PROCESS_QUEUES = """
sqs.process_queues()
"""


def test_how_to_start(program: Program, capsys: pytest.CaptureFixture[str]) -> None:
    """A queue, a task, both ways to send, and a worker, which is told when to stop so that the test ends."""
    program.run(OUR_SETUP)
    program.run(changed(ADD_JOB, {"queue.add_job": "queue.send"}))
    program.run(DELAY)
    program.names |= {"MaxItems": MaxItems}
    program.run(
        changed(PROCESS_QUEUE, {"sqs.queue('emails')": "queue", "process_queue()": "work(stop_when=MaxItems(2))"})
    )
    assert capsys.readouterr().out == "Sending email Hello world to user@examile.com\n" * 2


def test_several_queues(program: Program, account: SQS, capsys: pytest.CaptureFixture[str]) -> None:
    """All queues at once: those that are named, since nothing is guessed from the account's list."""
    program.run(OUR_SETUP)
    program.run(DELAY)
    account.create("others")
    others = program["sqs"].queue("others")
    program["send_email"].options(queue=others).delay("a", "b", "c")
    program.names |= {"MaxItems": MaxItems, "others": others}
    named = "queue.work(queue.queue, others, stop_when=MaxItems(2))"
    program.run(changed(PROCESS_QUEUES, {"sqs.process_queues()": named}))
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "Sending email Hello world to user@examile.com",
        "Sending email b to a",
    ]


BAKED = """
task = send_email.bake(to='user@examile.com', subject='Hello world', body='hello world')
task.delay()
"""


def test_baked_tasks(program: Program, account: SQS) -> None:
    """A baked task sends the same as `delay` does; nothing is changed."""
    program.run(OUR_SETUP)
    program.run(BAKED)
    program.run(DELAY)
    first, second = account.queue("emails").receive()
    assert (first.body, first.attributes) == (second.body, second.attributes)


FIFO = """
from sqs_workers import SQSEnv, create_fifo_queue
sqs = SQSEnv()

create_fifo_queue(sqs, 'emails_dead.fifo')
create_fifo_queue(sqs, 'emails.fifo',
    redrive_policy=sqs.redrive_policy('emails_dead.fifo', 3)
)
"""
FIFO_SEND = """
sqs.queue("emails.fifo").add_job(
    'send_email', _deduplication_id=subject, _group_id=email, **kwargs)
"""


def test_fifo_queues(program: Program, account: SQS) -> None:
    """FIFO queues with a redrive policy; a job with a deduplication id and a group."""
    program.run(
        changed(
            FIFO,
            {
                "from sqs_workers import SQSEnv, create_fifo_queue": (
                    "from queue_consumer.jobs import Jobs\nfrom queue_consumer_sqs import SQS"
                ),
                "SQSEnv()": "SQS()",
                "create_fifo_queue(sqs, ": "sqs.create(",
                "redrive_policy=sqs.redrive_policy('emails_dead.fifo', 3)": (
                    "dead_letter='emails_dead.fifo', max_receives=3"
                ),
            },
        )
    )
    program.names |= {"subject": "hello", "email": "ada@example.org", "kwargs": {"to": "ada"}}
    text = changed(
        FIFO_SEND,
        {
            'sqs.queue("emails.fifo")': 'Jobs(sqs.queue("emails.fifo"))',
            "add_job": "send",
            "_group_id": "_group",
        },
    )
    for _ in range(2):
        program.run(text)
    (message,) = account.queue("emails.fifo").receive()
    assert (message.group, message.deduplication_id) == ("ada@example.org", "hello")
    assert message.json() == {"to": "ada"}


PROCESSOR = """
from sqs_workers import SQSEnv
from sqs_workers.processors import Processor

class CustomProcessor(Processor):
    def process(self, job_kwargs):
        print(f'Processing {self.queue_name}.{self.job_name} with {job_kwargs}')
        super(CustomProcessor, self).process(job_kwargs)

sqs = SQSEnv(processor_maker=CustomProcessor)
"""
# In 0.7 a processor is given the context as well, and this example fails with sqs-workers itself.
OUR_PROCESSOR = {
    "from sqs_workers import SQSEnv\nfrom sqs_workers.processors import Processor": (
        "from queue_consumer.jobs import Jobs, Processor"
    ),
    "SQSEnv(processor_maker=CustomProcessor": "Jobs(processor=CustomProcessor",
}


def test_custom_processors(program: Program, account: SQS, capsys: pytest.CaptureFixture[str]) -> None:
    """A subclass of `Processor` does something before and after."""
    new = {"(self, job_kwargs)": "(self, job_kwargs, job_context)", "process(job_kwargs)": "process(job_kwargs, {})"}
    program.run(changed(PROCESSOR, {**OUR_PROCESSOR, **new}))
    account.create("emails")
    jobs: Jobs = program["sqs"]
    jobs.queue = account.queue("emails")
    jobs.connect("greet", lambda name: print("hello", name)).delay("ada")
    assert jobs.run_once().succeeded == 1
    assert capsys.readouterr().out == "Processing emails.greet with {'name': 'ada'}\nhello ada\n"


CONTEXT = """
queue = sqs.queue("q1")

@queue.processor('q1', 'hello_world', pass_context=True)
def hello_world(username=None, context=None):
    print(f'Hello {username} from {context["remote_addr"]}')

with sqs.context(remote_addr='127.0.0.1'):
    hello_world.delay(username='Foo')

queue.process_batch()
"""
CONTEXT_ITEM = """
sqs.context['remote_addr'] = '127.0.0.1'
hello_world.delay(username='Foo')
"""
CONTEXT_CLEAR = """
sqs.context.clear()
"""


def test_contexts(program: Program, account: SQS, capsys: pytest.CaptureFixture[str]) -> None:
    """Values that travel along, by a block and by items. (In 0.7 `processor` takes no name of a queue.)"""
    account.create("q1")
    program.names |= {"sqs": account, "Jobs": Jobs}
    text = changed(
        CONTEXT,
        {
            'sqs.queue("q1")': 'Jobs(sqs.queue("q1"))',
            "queue.processor('q1', 'hello_world'": "queue.task('hello_world'",
            "sqs.context": "queue.context",
            "queue.process_batch()": "queue.run_once()",
        },
    )
    program.run(text)
    program.run(changed(CONTEXT_ITEM, {"sqs.context": "queue.context"}))
    program.run(changed(CONTEXT_CLEAR, {"sqs.context": "queue.context"}))
    program["queue"].run_once()
    assert capsys.readouterr().out == "Hello Foo from 127.0.0.1\n" * 2
    assert not program["queue"].context


CONTEXT_PROCESSOR = """
import os
from sqs_workers import SQSEnv
from sqs_workers.processors import Processor

class CustomProcessor(Processor):
    def process(self, job_kwargs, job_context):
        os.environ['REMOTE_ADDR'] = job_context['remote_addr']
        super(CustomProcessor, self).process(job_kwargs, job_context)
        os.unsetenv('REMOTE_ADDR')

sqs = SQSEnv(
    processor_maker=CustomProcessor,
)
"""


@pytest.fixture
def clean_environment() -> Iterator[None]:
    yield
    os.environ.pop("REMOTE_ADDR", None)


@pytest.mark.usefixtures("clean_environment")
def test_contexts_in_processors(program: Program) -> None:
    """The context is applied for all tasks."""
    changes = {**OUR_PROCESSOR, "SQSEnv(\n    processor_maker=": "Jobs(\n    processor="}
    del changes["SQSEnv(processor_maker=CustomProcessor"]
    program.run(changed(CONTEXT_PROCESSOR, changes))
    jobs: Jobs = program["sqs"]
    jobs.queue = MemoryQueue()
    seen: list[str] = []
    task = jobs.connect("look", lambda: seen.append(os.environ["REMOTE_ADDR"]))
    with jobs.context(remote_addr="127.0.0.1"):
        task.delay()
    assert jobs.run_once().succeeded == 1
    assert seen == ["127.0.0.1"]


RAW = """
from sqs_workers import SQSEnv, create_standard_queue
sqs = SQSEnv()
create_standard_queue(sqs, 'cron')
"""
RAW_PROCESSOR = """
from sqs_workers import RawQueue

cron = sqs.queue('cron', RawQueue)

@cron.raw_processor()
def processor(message):
    print(message.body)
"""
RAW_PROCESS = """
cron.process_queue()
"""
RAW_SEND = """
cron.add_raw_job("Hello world")
"""
CLOUDWATCH = """
{
  "version": "0",
  "id": "a9a10406-9a1f-0ddc-51ae-08db551fac42",
  "detail-type": "Scheduled Event",
  "source": "aws.events",
  "account": "NNNNNNNNNN",
  "time": "2019-09-20T09:19:56Z",
  "region": "eu-west-1",
  "resources": [
    "arn:aws:events:eu-west-1:NNNNNNNNNN:rule/Playground"
  ],
  "detail": {}
}
"""
CLOUDWATCH_OWN = """
{"message": "Hello world"}
"""


def test_raw_queues(program: Program, account: SQS, capsys: pytest.CaptureFixture[str]) -> None:
    """One function for messages of others: of a schedule, or one's own. The decorated name stays the function."""
    program.run(changed(RAW, {**IMPORTS, "create_standard_queue(sqs, 'cron')": "sqs.create('cron')"}))
    program.run(
        changed(
            RAW_PROCESSOR,
            {
                "from sqs_workers import RawQueue": "from queue_consumer.jobs import Jobs",
                "sqs.queue('cron', RawQueue)": "Jobs(sqs.queue('cron'))",
                "@cron.raw_processor()": "@cron.raw()",
            },
        )
    )
    program.run(changed(RAW_SEND, {"cron.add_raw_job": "cron.queue.put"}))
    bodies = ["Hello world"]
    for body in (CLOUDWATCH.strip(), CLOUDWATCH_OWN.strip()):
        account.queue("cron").put(body)
        bodies.append(body)
    program.names |= {"MaxItems": MaxItems}
    program.run(changed(RAW_PROCESS, {"process_queue()": "work(max_handlers=1, stop_when=MaxItems(3))"}))
    printed = capsys.readouterr().out
    assert all(body in printed for body in bodies)
    assert json.loads(bodies[1])["source"] == "aws.events"
    assert callable(program["processor"])


REDRIVE = """
from sqs_workers import SQSEnv, create_standard_queue
sqs = SQSEnv()

create_standard_queue(sqs, 'emails_dead')
create_standard_queue(sqs, 'emails',
    redrive_policy=sqs.redrive_policy('emails_dead', 3)
)
"""
OUR_REDRIVE = changed(
    REDRIVE,
    {
        **IMPORTS,
        "create_standard_queue(sqs, ": "sqs.create(",
        "redrive_policy=sqs.redrive_policy('emails_dead', 3)": "dead_letter='emails_dead', max_receives=3",
    },
)


def test_redrive_policies(program: Program, account: SQS) -> None:
    """After three failed attempts a message is among the dead letters."""
    program.run(OUR_REDRIVE)
    jobs = Jobs(account.queue("emails"), backoff=Constant(0))
    jobs.connect("send_email", lambda: 1 / 0).delay()
    attempts = sum(jobs.run_once().failed for _ in range(5))
    assert attempts == 3
    assert len(account.queue("emails_dead").receive()) == 1


BACKOFF = """
queue = sqs.queue("emails", backoff_policy=DEFAULT_BACKOFF)

@queue.processor('send_email')
def send_email(to, subject, body):
    print(f"Sending email {subject} to {to}")
"""


@pytest.mark.parametrize("name", ["DEFAULT_BACKOFF", "IMMEDIATE_RETURN"])
def test_backoff_policies(name: str, program: Program, account: SQS) -> None:
    """The exponential default, and a return at once, under the same names."""
    account.create("emails")
    program.names["sqs"] = account
    text = BACKOFF.replace("DEFAULT_BACKOFF", name)  # the second example is the first with the other policy
    changes = {
        'sqs.queue("emails", backoff_policy=': 'Jobs(sqs.queue("emails"), backoff=',
        "queue.processor": "queue.task",
    }
    program.run(f"from queue_consumer.jobs import Jobs, {name}\n" + changed(text, changes))
    jobs: Jobs = program["queue"]
    jobs.send("unknown")
    assert jobs.run_once().failed == 1
    again = len(account.queue("emails").receive())
    assert again == (1 if name == "IMMEDIATE_RETURN" else 0)
    assert jobs.roster.backoff == (Constant(0) if name == "IMMEDIATE_RETURN" else ExponentialBackoff())


SHUTDOWN = """
from sqs_workers import SQSEnv
from sqs_workers.shutdown_policies import IdleShutdown

sqs = SQSEnv()
sqs.queue("foo").process_queue(shutdown_policy=IdleShutdown(idle_seconds=300))
"""


def test_shutdown_policies(program: Program, account: SQS) -> None:
    """`Idle` ends the work; the 300 seconds are a tenth of one here."""
    account.create("foo")
    program.names["Jobs"] = Jobs
    program.run(
        changed(
            SHUTDOWN,
            {
                "from sqs_workers import SQSEnv\n": "from queue_consumer_sqs import SQS\n",
                "from sqs_workers.shutdown_policies import IdleShutdown": "from queue_consumer import Idle",
                "SQSEnv()": "SQS()",
                'sqs.queue("foo").process_queue': 'Jobs(sqs.queue("foo")).work',
                "shutdown_policy=IdleShutdown(idle_seconds=300)": "stop_when=Idle(seconds=0.1)",
            },
        )
    )


PUSH_BACK = """
>>> from sqs_workers import JobQueue
>>> from sqs_workers.shutdown_policies IdleShutdown
>>> from sqs_workers.deadletter_queue import DeadLetterQueue
>>> env = SQSEnv()
>>> foo = env.queue("foo")
>>> foo_dead = env.queue("foo_dead", DeadLetterQueue.maker(foo))
>>> foo_dead.process_queue(shutdown_policy=IdleShutdown(10))
"""


def test_push_back(program: Program, account: SQS) -> None:
    """A dead-letter queue is pushed back until nothing has come for a while: ten seconds there, one here."""
    for name in ("foo", "foo_dead"):
        account.create(name)
    Jobs(account.queue("foo_dead")).send("send_email", to="ada")
    text = changed(
        PUSH_BACK,
        {
            ">>> ": "",
            "from sqs_workers import JobQueue": "from queue_consumer_sqs import SQS",
            "from sqs_workers.shutdown_policies IdleShutdown": "from queue_consumer import Consumer, Idle",
            "from sqs_workers.deadletter_queue import DeadLetterQueue": "from queue_consumer.jobs import PushBack",
            "SQSEnv()": "SQS()",
            'env.queue("foo_dead", DeadLetterQueue.maker(foo))': 'Consumer(env.queue("foo_dead"), PushBack(foo), '
            "stop_when=Idle(1))",
            "foo_dead.process_queue(shutdown_policy=IdleShutdown(10))": "foo_dead.run()",
        },
    )
    program.run(text)
    (message,) = account.queue("foo").receive()
    assert message.attributes["JobName"] == "send_email"
    assert account.queue("foo_dead").receive() == []


UNIT_TEST = """
from sqs_workers import SQSEnv
env = SQSEnv()

def test_task_creation_side_effects():
    create_task()
    env.process_batch('foo')
    ...
"""
UNIT_TEST_IN_MEMORY = """
from sqs_workers import SQSEnv, MemorySession
env = SQSEnv(MemorySession())
"""


def test_unit_tests_in_memory(program: Program) -> None:
    """Tests without AWS: a `MemoryQueue`, which knows redrives, FIFO, deduplication and delays."""
    program.run(
        changed(
            UNIT_TEST_IN_MEMORY,
            {
                "from sqs_workers import SQSEnv, MemorySession": (
                    "from queue_consumer import MemoryQueue\nfrom queue_consumer.jobs import Jobs"
                ),
                "SQSEnv(MemorySession())": "Jobs(MemoryQueue())",
            },
        )
    )
    jobs: Jobs = program["env"]
    done: list[int] = []
    program.names["create_task"] = jobs.connect("task", lambda: done.append(1)).delay
    program.run(
        changed(
            UNIT_TEST,
            {
                "from sqs_workers import SQSEnv\nenv = SQSEnv()\n": "",
                "env.process_batch('foo')": "env.run_once()",
            },
        )
    )
    program["test_task_creation_side_effects"]()
    assert done == [1]


def test_exceptions_return_the_task(caplog: pytest.LogCaptureFixture) -> None:
    """An error is logged, and the task goes back to the queue for a while."""
    queue = MemoryQueue(wait=0)
    jobs = Jobs(queue, backoff=Constant(60))
    jobs.connect("fails", lambda: 1 / 0).delay()
    with caplog.at_level(logging.ERROR):
        jobs.run_once()
    assert "ZeroDivisionError" in caplog.text
    assert queue.stats()["delayed"] == 1
