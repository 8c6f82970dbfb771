"""SQS on the command line: its URLs, on a server; and what `check` finds, each of it planted."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from queue_consumer import CleanupError, Consumer, each
from queue_consumer.cli import main
from queue_consumer.cli.schemes import Finding
from queue_consumer_sqs import SQS, Bus, PriorityBuses, SQSMessage, SQSQueue, operating
from queue_consumer_sqs._boto import service_error
from queue_consumer_sqs._redrive import by_task
from queue_consumer_sqs.operating import SQSScheme
from queue_consumer_sqs.testing import MemorySQS
from support.sqs_servers import MakeQueue

Out = pytest.CaptureFixture[str]


@pytest.fixture
def url_of(sqs_server: Any, client: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The name of a queue for the command line, by its URL of AWS's kind."""
    if not sqs_server.endpoint_url:  # in memory there is nothing that a URL could lead to
        monkeypatch.setattr(operating, "SQS", functools.partial(SQS, client=client))
    query = f"?endpoint_url={sqs_server.endpoint_url}" if sqs_server.endpoint_url else ""
    return lambda url: f"sqs://{url.rpartition('/')[2]}{query}"


def test_the_commands_work_on_a_server(url_of: Callable[[str], str], make_queue: MakeQueue, capsys: Out) -> None:
    """What `send` puts in is shown by `peek`, moved by `redrive` and deleted by `purge`."""
    dead, orders = make_queue(), make_queue()
    assert main(["send", url_of(dead), *map(str, range(12)), "--attribute", "kind=test"]) == 0
    assert capsys.readouterr().out.startswith("sent 12 messages to sqs://test-")
    assert main(["peek", url_of(dead), "--limit", "20", "--json", "--yes"]) == 0
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {message["body"] for message in shown} == set(map(str, range(12)))
    assert shown[0]["attributes"] == {"kind": "test"}
    to = url_of(orders).partition("?")[0]
    assert main(["redrive", url_of(dead), "--to", to, "--limit", "5", "--yes"]) == 0
    assert capsys.readouterr().out.endswith(f"to {to}\n")
    assert main(["purge", url_of(orders), "--dry-run"]) == 0
    assert "would delete about 5 messages" in capsys.readouterr().out
    assert main(["purge", url_of(orders), "--yes"]) == 0
    capsys.readouterr()
    assert main(["peek", url_of(orders), "--yes"]) == 0
    assert capsys.readouterr().out.endswith(": 0 visible, 0 in flight, 0 delayed\n")


def test_check_asks_the_server(
    url_of: Callable[[str], str],
    make_queue: MakeQueue,
    open_queue: Callable[..., SQSQueue],
    monkeypatch: pytest.MonkeyPatch,
    capsys: Out,
) -> None:
    """`check` of a consumer on a server finds what it lacks, and brings no message of it."""
    queue = open_queue(make_queue(), wait_time=0)
    queue.put("precious")
    shop = ModuleType("shop")
    vars(shop)["consumer"] = Consumer(queue, each(print), owns_queue=False)
    monkeypatch.setitem(sys.modules, "shop", shop)
    assert main(["check", "shop:consumer"]) == 1
    said = capsys.readouterr().out
    assert "shop:consumer: 1 problem, 1 piece of advice" in said
    assert "has no dead-letter queue" in said
    assert "wait_time of" in said
    (message,) = queue.receive(wait_time=1)
    assert message.attempt == 1


def test_dead_letters_of_nowhere_are_not_moved(
    url_of: Callable[[str], str], make_queue: MakeQueue, capsys: Out
) -> None:
    """Where it is not known where messages came from, `redrive` says in a sentence what to do; so does `peek`, of what
    looking costs, where nobody can be asked."""
    dead = url_of(make_queue())
    main(["send", dead, "a"])
    capsys.readouterr()
    assert main(["redrive", dead, "--yes"]) != 0
    said = capsys.readouterr().err
    assert said.startswith("queue-consumer redrive: ")
    assert "Traceback" not in said
    assert main(["peek", dead]) == 2
    said = capsys.readouterr().err
    assert "each look counts as a delivery" in said
    assert said.endswith("say --yes if you mean it\n")


def test_a_queue_that_is_not_there_is_unreachable(url_of: Callable[[str], str], capsys: Out) -> None:
    """A URL of no queue is exit code 3, with a sentence."""
    assert main(["peek", url_of("x/no-such-queue"), "--yes"]) == 3
    assert "no-such-queue" in capsys.readouterr().err


class Forbidding:
    """A client that may not make some calls."""

    def __init__(self, client: Any, *forbidden: str) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._client = client
        self._forbidden = forbidden

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(**arguments: Any) -> Any:
            self.calls.append((name, arguments))
            if name in self._forbidden:
                raise service_error("AccessDenied", "not for you", name, 403)
            return method(**arguments)

        return call if callable(method) else method


def findings(
    *forbidden: str, time_limit: float | None = None, buried: bool = True, attributes: Any = None, **options: Any
) -> list[Finding]:
    """What is found of a queue in memory, of which some calls are not allowed once it is open."""
    sqs = MemorySQS()
    made = sqs.client()
    made.create_queue(QueueName="dead")
    made.create_queue(QueueName="orders", Attributes=attributes or {})
    made.send_message(QueueUrl=made.get_queue_url(QueueName="orders")["QueueUrl"], MessageBody="precious")
    client = Forbidding(made)
    queue = SQSQueue("orders", client=client, **options)
    client._forbidden = forbidden
    found = SQSScheme().check(queue, time_limit=time_limit, buried=buried)
    assert found is not None
    answer = made.receive_message(QueueUrl=queue.url, AttributeNames=["All"])
    assert [message["Attributes"]["ApproximateReceiveCount"] for message in answer["Messages"]] == ["1"]
    return found


def test_a_queue_in_order_has_no_findings() -> None:
    """Where nothing is wrong nothing is found; and a message that waits is not delivered by it."""
    assert findings() == []


@pytest.mark.parametrize(
    ("operation", "action"),
    [
        ("receive_message", "sqs:ReceiveMessage"),
        ("delete_message", "sqs:DeleteMessage"),
        ("change_message_visibility", "sqs:ChangeMessageVisibility"),
        ("get_queue_attributes", "sqs:GetQueueAttributes"),
    ],
)
def test_a_missing_permission_is_found(operation: str, action: str) -> None:
    """A call that is not allowed is found without anything being received, deleted or changed."""
    (found,) = findings(operation)
    assert found.kind == "problem"
    assert found.what.startswith(f"{action} is not allowed on orders")
    assert f"Allow {action} on arn:aws:sqs:" in found.do


def test_no_dead_letter_queue_is_found() -> None:
    """A queue without dead-letter queue is a problem, unless the consumer buries by itself; one delivery is advice."""
    (found,) = findings(buried=False)
    assert found.what == "Queue orders has no dead-letter queue."
    assert "for 4 days" in found.why
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead", "maxReceiveCount": "1"}
    (found,) = findings(buried=False, attributes={"RedrivePolicy": json.dumps(policy)})
    assert found.kind == "advice"
    assert found.what == "A message of orders goes to dead after a single delivery."


def test_a_short_visibility_timeout_is_found() -> None:
    """A visibility timeout below the time limit of the handler is advised against, with a better one."""
    (found,) = findings(time_limit=60)
    assert found.what == "Messages of orders are hidden for 30 s, and a handler may take 60 s."
    assert "visibility_timeout=90" in found.do
    assert findings(time_limit=30) == []


def test_the_price_of_short_polls_is_told() -> None:
    """wait_time=0 is advised against, with what it costs a month."""
    (found,) = findings(wait_time=0)
    assert "about 2.6 million requests a month, $1.04 for each process" in found.why
    assert "($0.05 with a wait_time of 20)" in found.why


def test_buses_are_checked_queue_by_queue() -> None:
    """Of priority buses every queue is checked; another's queue is none of ours."""
    sqs = MemorySQS()
    for name in ("urgent", "usual"):
        sqs.client().create_queue(QueueName=name)
    buses = PriorityBuses([Bus("a", 2, ["urgent"]), Bus("b", 1, ["usual"])], client=sqs.client())
    found = SQSScheme().check(buses, time_limit=None, buried=False)
    assert found is not None
    assert [finding.what for finding in found] == [
        "Queue urgent has no dead-letter queue.",
        "Queue usual has no dead-letter queue.",
    ]
    assert SQSScheme().check(object(), time_limit=None, buried=False) is None


class Fleeting:
    """A queue that hides nothing: what was received comes again at once."""

    name, url = "orders", ""

    def __init__(self) -> None:
        self.receives = self.released = 0

    def receive(self, limit: int, wait_time: float) -> list[SQSMessage]:
        self.receives += 1
        return [SQSMessage("id", "body", f"receipt-{self.receives}")]

    def release(self, messages: list[SQSMessage]) -> None:
        raise CleanupError([], "their time is over", messages)


def test_peek_ends_where_messages_come_again() -> None:
    """What is hidden for a moment only is shown once, and not received until it is a dead letter."""
    tools = operating.SQSTools.__new__(operating.SQSTools)
    queue = Fleeting()
    tools._queue = queue  # type: ignore[assignment]
    assert [message.id for message in tools.peek(10)] == ["id"]
    assert queue.receives == 2


def test_ctrl_c_cancels_the_task_that_moves_messages() -> None:
    """The service does not go on by itself when whoever looks on has gone."""
    calls: list[str] = []

    def call(operation: str, **_: object) -> dict[str, Any]:
        calls.append(operation)
        return {"TaskHandle": "task", "Results": [{"Status": "RUNNING"}]}

    def interrupted(moved: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        by_task(call, "arn", None, on_progress=interrupted)
    assert calls == ["start_message_move_task", "list_message_move_tasks", "cancel_message_move_task"]
