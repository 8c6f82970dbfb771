"""The examples of sqs-mega's README run, as they stand there, against a real SQS and SNS on this machine.

Changed are the imports (`OURS` says which stands for which), the addresses and the region, which are the server's, and
two places that are no Python: `queue_url=…, ...)`, which no parser takes, and a pattern that stands alone. What the
examples call and do not have (`Inventory`, `TemplateRepository`, `DatabaseLock`, …) is made here.
"""

from __future__ import annotations

import base64
import importlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from queue_consumer import Report
from queue_consumer.subscribers import (
    DataSubscriber,
    EventSubscriber,
    PayloadType,
    ProcessStatus,
    Subscribers,
    explain,
    matches,
    mega,
)
from queue_consumer_sqs import MessageType, ReceivedMessage, SqsListener, SqsReceiver

PATIENCE = 30.0
QUEUE_URL = "https://sqs.us-east-2.amazonaws.com/424566909325/sqs-mega-test"
TOPIC_ARN = "arn:aws:sns:us-east-2:424566909325:sqs-mega-test"
OURS = {
    "from mega.aws.sqs.publish import SqsPublisher": "from queue_consumer_sqs import SqsPublisher",
    "from mega.aws.sns import SnsPublisher": "from queue_consumer_sqs import SnsPublisher",
    "from mega.event import PayloadBuilder": "from queue_consumer.subscribers.mega.event import PayloadBuilder",
    "from mega.event import Payload\n": "from queue_consumer.subscribers.mega.event import Payload\n",
    "import mega.event\n": "from queue_consumer.subscribers import mega\n",
    "from mega.aws.sqs.subscribe import SqsListener": "from queue_consumer_sqs import SqsListener",
    "from mega.aws.sqs.subscribe import": "from queue_consumer.subscribers import",
    "from mega.match.functions import": "from queue_consumer.subscribers import",
}


def run(text: str, changes: Mapping[str, str] | None = None, **names: Any) -> dict[str, Any]:
    """Run an example; the names that it has made."""
    for old, new in {**OURS, **(changes or {})}.items():
        text = text.replace(old, new)
    assert "mega.aws" not in text
    assert "mega.match" not in text
    space: dict[str, Any] = {"__name__": "example", **names}
    exec(compile(text, "README of sqs-mega", "exec"), space)
    return space


# ---------------------------------------------------------------------- the text

SQS_PUBLISHER = """
from mega.aws.sqs.publish import SqsPublisher

publisher = SqsPublisher(
    aws_access_key_id='AKIAIOSFODNN7EXAMPLE',
    aws_secret_access_key='wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    region_name='us-west-2',
    queue_url='https://sqs.us-east-2.amazonaws.com/424566909325/sqs-mega-test'
)
"""

SNS_PUBLISHER = """
from mega.aws.sns import SnsPublisher

publisher = SnsPublisher(
    aws_access_key_id='AKIAIOSFODNN7EXAMPLE',
    aws_secret_access_key='wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    region_name='us-west-2',
    topic_arn='arn:aws:sns:us-east-2:424566909325:sqs-mega-test'
)
"""

DATA = """
payload = {
    'type': 'user_notification',
    'notification_type': 'email',
    'user': {
        'id': 987650,
        'email': 'johndoe_86@example.com'
    }
}

publisher.publish(payload)
"""

BINARY = """
publisher.publish(payload, binary_encoding=True)
"""

SIMPLE_EVENT = """
from mega.event import PayloadBuilder


builder = PayloadBuilder()
payload = (
    builder.with_event(
        name='user.created',
        subject='987650',
        email='johndoe_86@example.com'
    ).with_object(
        current={
            'id': 987650,
            'full_name': 'John Doe',
            'username': 'john.doe',
            'email': 'johndoe_86@example.com',
            'ssn': '497279436',
            'birthdate': '1986-02-15'
        }
    ).build()
)

publisher.publish(payload)
"""

RICH_EVENT = """
from mega.event import PayloadBuilder


builder = PayloadBuilder()

builder.with_event(
    domain='shopping_cart',
    name='item.added',
    version=1,
    subject='987650',
    publisher='shopping-cart-service',
    item_id='61fcc874-624e-40f8-8fd7-0e663c7837e8',
    quantity=5,
    price='19.99'
)

builder.with_object(
    type='shopping_cart',
    id='18a3f92e-1fbf-45eb-8769-d836d0a1be55',
    version=2,
    current={
        'id': '18a3f92e-1fbf-45eb-8769-d836d0a1be55',
        'user_id': 987650,
        'items': [
            {
                'id': '61fcc874-624e-40f8-8fd7-0e663c7837e8',
                'price': '19.99',
                'quantity': 10
            },
            {
                'id': '3c7f8798-1d3d-47de-82dd-c6c5e0de74ee',
                'price': '102.50',
                'quantity': 1
            },
            {
                'id': 'bba76edc-8afc-4fde-b4c4-ea58a230c5d6',
                'price': '24.99',
                'quantity': 3
            }
        ],
        'currency': 'USD',
        'value': '377.37',
        'discount': '20.19',
        'subtotal': '357.18',
        'estimated_shipping': '10.00',
        'estimated_tax': '33.05',
        'estimated_total': '400.23',
        'created_at': '2020-05-03T12:20:23.000',
        'updated_at': '2020-05-04T15:52:01.000'
    },
    previous={
        'id': '18a3f92e-1fbf-45eb-8769-d836d0a1be55',
        'user_id': 987650,
        'items': [
            {
                'id': '61fcc874-624e-40f8-8fd7-0e663c7837e8',
                'price': '19.99',
                'quantity': 5
            },
            {
                'id': '3c7f8798-1d3d-47de-82dd-c6c5e0de74ee',
                'price': '102.50',
                'quantity': 1
            },
            {
                'id': 'bba76edc-8afc-4fde-b4c4-ea58a230c5d6',
                'price': '24.99',
                'quantity': 3
            }
        ],
        'currency': 'USD',
        'value': '277.42',
        'discount': '10.09',
        'subtotal': '267.33',
        'estimated_shipping': '10.00',
        'estimated_tax': '24.96',
        'estimated_total': '302.29',
        'created_at': '2020-05-03T12:20:23.000',
        'updated_at': '2020-05-04T13:47:08.000'
    }
)

builder.with_extra(
    channel='web/desktop',
    user_agent='Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_4) AppleWebKit/605.1.15 (KHTML, like Gecko) \
Version/13.1 Safari/605.1.15',
    user_ip_address='177.182.205.103'
)

payload = builder.build()
publisher.publish(payload, binary_encoding=True)
"""

IN_BSON = (
    "cwAAAAJ0eXBlABIAAAB1c2VyX25vdGlmaWNhdGlvbgACbm90aWZpY2F0aW9uX3R5cGUABgAAAGVtYWlsAAN1c2VyAC8AAAAQaWQAAhIPAAJlbWFpbAAX"
    "AAAAam9obmRvZV84NkBleGFtcGxlLmNvbQAAAA=="
)

ITEM_ADDED_EVENT = """
{
    "protocol": "mega",
    "version": 1,
    "event": {
        "domain": "shopping_cart",
        "name": "item.added",
        "version": 2,
        "timestamp": "2020-05-04T15:53:23.123",
        "subject": "987650",
        "publisher": "shopping-cart-service",
        "item_id": "61fcc874-624e-40f8-8fd7-0e663c7837e8",
        "quantity": 5
    }
}
"""

ITEM_ADDED = """
from mega.aws.sqs.subscribe import EventSubscriber, ProcessStatus
from mega.event import Payload
from mega.match.functions import one_of, gt, not_, empty


class ShoppingCartItemAdded(EventSubscriber):
    domain = 'shopping_cart'
    name = 'item.added'
    version = one_of(1, 2)
    attributes = dict(
        item_id=not_(empty()),
        quantity=gt(0)
    )

    def process(self, payload: Payload) -> ProcessStatus:
        item_id = payload.event.item_id
        item = Inventory.get_item(item_id)
        ...

        return ProcessStatus.DONE


class ShoppingCartItemRemoved(EventSubscriber):
    domain = 'shopping_cart'
    name = 'item.removed'

    def process(self, payload: Payload) -> ProcessStatus:
        ...


class ShoppingCartCheckout(EventSubscriber):
    domain = 'shopping_cart'
    name = 'checkout'

    def process(self, payload: Payload) -> ProcessStatus:
        ...
"""

LISTENER = """
from mega.aws.sqs.subscribe import SqsListener
...


listener = SqsListener(
    queue_url='https://sqs.us-east-2.amazonaws.com/424566909325/sqs-mega-test',
    ...
)

listener.register_subscriber(ShoppingCartItemAdded)
listener.register_subscriber(ShoppingCartItemRemoved)
listener.register_subscriber(ShoppingCartCheckout)

listener.listen()
"""

USER_NOTIFICATION = r"""
from mega.aws.sqs.subscribe import DataSubscriber, ProcessStatus
from mega.match.functions import match, one_of, gt, not_

from datetime import date


class UserNotification(DataSubscriber):
    pattern = dict(
        type=match(r'user:notification:(.*)'),
        notification_type=one_of('email', 'sms', 'push'),
        user=dict(
            id=gt(0),
            email=not_(match(r'test@(.*)')),
            template=lambda lhs: lhs and bool(TemplateRepository.get(lhs))
        )
    )

    def process(self, payload: dict) -> ProcessStatus:
        user_id = payload['user']['id']
        ...

        return ProcessStatus.DONE
"""

NOTIFICATION_THAT_MATCHES = """
{
    "type": "user:notification:email",
    "notification_type": "email",
    "ts": 1592163068,
    "user": {
        "id": 987650,
        "first_name": "John",
        "email": "johndoe_86@example.com",
        "template": "password_changed"
    },
    "meta": {
        "generated_by": "user_service",
        "ip_address": "177.182.215.204"
    }
}
"""

NOTIFICATION_THAT_DOES_NOT = """
{
    "type": "user:notification:email",
    "notification_type": "email"
}
"""

USER_LOGIN = r"""
import mega.event
from mega.aws.sqs.subscribe import EventSubscriber, ProcessStatus
from mega.match.functions import match, any_, not_, empty, gt, gte, one_of

from datetime import date


class UserLogin(EventSubscriber):
    domain = 'user'
    name = match(r'user:login:(.*)')
    version = any_()
    subject = match(r'^\d+$')
    attributes = dict(
        success=True,
        attempts=gt(2)
    )

    object_type = 'user'
    object_version = one_of(1, 2, 3)
    object_current = dict(
        email=not_(empty()),
        username=not_(['test', 'synthetic']),
        created_at=gte(date(2020, 1, 1))
    )

    def process(self, payload: mega.event.Payload) -> ProcessStatus:
        user_id = payload.event.subject
        ...

        return ProcessStatus.DONE
"""

LOGIN = """
{
    "protocol": "mega",
    "version": "1",
    "event": {
        "domain": "user",
        "name": "user:login:web",
        "version": 1,
        "timestamp": "2020-06-12T17:29:58.000",
        "subject": "987650",
        "publisher": "login-api",
        "attributes": {
            "email": "johndoe_86@example.com",
            "success": true,
            "attempts": 4
        }
    },
    "object": {
        "type": "user",
        "id": "987650",
        "version": 2,
        "current": {
            "id": 987650,
            "username": "john-doe",
            "email": "johndoe_86@example.com",
            "created_at": "2020-03-28T15:23:01",
            "updated_at": "2020-05-18T16:12:59",
            "last_login": "2020-06-02T05:38:43"
        }
    },
    "extra": {
        "ip_address": "2804:14c:5ba9:b067:70cc:9baa:5287:19b3",
        "fingerprint": "MmRkMDczMmItMWJlOS00ZjRmLThlYjEtNmJhNjhjMmY1OWMzCg=="
    }
}
"""

CHECKOUT = """
import mega.event
from mega.aws.sqs.subscribe import EventSubscriber, ProcessStatus


class ShoppingCartCheckout(EventSubscriber):
    ...

    def process(payload: mega.event.Payload) -> ProcessStatus:
        lock_name = 'shopping_cart.checkout:' + str(payload.object.id)

        try:
            with DatabaseLock(lock_name):
                ...

                return ProcessStatus.DONE

        except DatabaseLockAlreadyAcquired:
            return ProcessStatus.RETRY_LATER
"""

QUANTITY = """
from mega.match.functions import and_, gt, not_

pattern = {
    'quantity': and_(gt(5), not_(gt(10))),
}
"""

SUBJECT = r"""
from mega.match.functions import and_, match, not_

subject = and_(
    match(r'\d+'),
    lambda lhs: User.exists(lhs),
    not_(has_been_blocked)
)
"""

WHOLE_LISTENER = """
from mega.aws.sqs.subscribe import SqsListener

listener = SqsListener(
    aws_access_key_id='AKIAIOSFODNN7EXAMPLE',
    aws_secret_access_key='wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
    region_name='us-west-2',
    queue_url='https://sqs.us-east-2.amazonaws.com/424566909325/sqs-mega-test',
    max_number_of_messages=1,
    wait_time_seconds=20,
    visibility_timeout=30
)
"""

# ---------------------------------------------------------------------- publishing


@pytest.fixture
def found(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples find the server as boto3 does."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)


class Way:
    """A publisher, and the receiver at the other end."""

    def __init__(self, publisher: Any, receiver: SqsReceiver, message_type: MessageType) -> None:
        self.publisher = publisher
        self.receiver = receiver
        self.message_type = message_type

    def arrived(self) -> ReceivedMessage:
        """The one message that has come, which is deleted then."""
        (message,) = self.receiver.receive_messages(wait_time_seconds=5)
        self.receiver.delete_message(message)
        assert message.message_type is self.message_type
        assert message.error is None
        return message


@pytest.fixture(params=["SQS", "SNS in envelopes", "SNS raw"])
def way(
    request: pytest.FixtureRequest, found: None, make_queue: Callable[..., Any], make_topic: Callable[..., str]
) -> Iterator[Way]:
    queue = make_queue()
    changes = {"us-west-2": "us-east-1", QUEUE_URL: queue.url}
    example = SQS_PUBLISHER
    if request.param != "SQS":
        changes[TOPIC_ARN] = make_topic(queue, raw=request.param == "SNS raw")
        example = SNS_PUBLISHER
    publisher = run(example, changes)["publisher"]
    receiver = SqsReceiver(queue_url=queue.url)
    yield Way(publisher, receiver, MessageType.SNS if request.param == "SNS in envelopes" else MessageType.SQS)
    publisher.close()
    receiver.close()


def test_data_objects_are_published(way: Way) -> None:
    """A dict is sent as JSON, and with `binary_encoding` as BSON in base64; it comes as data both times."""
    payload = run(DATA, publisher=way.publisher)["payload"]
    message = way.arrived()
    assert (message.payload_type, message.payload) == (PayloadType.DATA, payload)
    run(BINARY, publisher=way.publisher, payload=payload)
    message = way.arrived()
    assert (message.payload_type, message.payload) == (PayloadType.DATA, payload)
    assert (message.body == IN_BSON) == (way.message_type is MessageType.SQS)


def test_events_are_published(way: Way) -> None:
    """A simple event, and a rich one in BSON: both come as the payloads that were sent."""
    for example in (SIMPLE_EVENT, RICH_EVENT):
        payload = run(example, publisher=way.publisher)["payload"]
        message = way.arrived()
        assert (message.payload_type, message.payload) == (PayloadType.MEGA, payload)


def test_bson_as_it_stands_in_the_readme() -> None:
    """The base64 that the README shows is BSON of the data that it shows; `bson.loads` is `bson.decode` of pymongo."""
    bson: Any = importlib.import_module("bson")

    payload = run(DATA, publisher=Listening())["payload"]
    assert bson.decode(base64.b64decode(IN_BSON)) == payload
    assert matches(payload, bson.decode(base64.b64decode(IN_BSON)))


class Listening:
    """A publisher that keeps what it is given."""

    def publish(self, payload: Any, **options: Any) -> str:
        return "id"


# ---------------------------------------------------------------------- subscribers


class Inventory:
    """What the example calls."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_item(self, item_id: str) -> object:
        self.asked.append(item_id)
        return object()


class Repository:
    """The templates that there are."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def get(self, name: str) -> Any:
        return name in self.names


def listen_until(listener: SqsListener, done: Callable[[], bool]) -> Report:
    """Listen in a thread until that is so."""
    reports: list[Report] = []
    thread = threading.Thread(target=lambda: reports.append(listener.listen()))
    thread.start()
    deadline = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if done():
            break
        deadline.wait(0.02)
    listener.stop()
    thread.join(PATIENCE)
    (report,) = reports
    return report


def test_the_first_example(found: None, make_queue: Callable[..., Any], client: Any) -> None:
    """Three subscribers, and a listener: the event goes to the one that it matches, and is deleted."""
    queue = make_queue()
    inventory = Inventory()
    space = run(ITEM_ADDED, Inventory=inventory)
    changes = {QUEUE_URL: queue.url, ",\n    ...\n": "\n", "\nlistener.listen()\n": ""}
    listener = run(LISTENER, changes, **{name: thing for name, thing in space.items() if name != "__name__"})[
        "listener"
    ]
    client.send_message(QueueUrl=queue.url, MessageBody=ITEM_ADDED_EVENT)
    client.send_message(QueueUrl=queue.url, MessageBody=ITEM_ADDED_EVENT.replace("added", "removed"))
    client.send_message(QueueUrl=queue.url, MessageBody=ITEM_ADDED_EVENT.replace('"quantity": 5', '"quantity": 0'))
    report = listen_until(listener, lambda: bool((stats := listener.stats()) and stats.cleaned + stats.dropped == 3))
    assert inventory.asked == ["61fcc874-624e-40f8-8fd7-0e663c7837e8"]
    assert report.balanced
    assert (report.stats.cleaned, report.stats.dropped) == (2, 1)  # the last one matches nobody


def test_the_listener_with_all_its_parameters(found: None, make_queue: Callable[..., Any]) -> None:
    """All that the README passes is taken, and `listen` ends when it is told to."""
    changes = {QUEUE_URL: make_queue().url, "us-west-2": "us-east-1"}
    listener = run(WHOLE_LISTENER, changes)["listener"]
    report = listen_until(listener, lambda: listener.stats() is not None)
    assert (report.balanced, report.stats.received) == (True, 0)


def test_the_example_of_data() -> None:
    """The object that the README says will match does, and the one that it says will not does not."""
    subscriber = run(USER_NOTIFICATION, TemplateRepository=Repository("password_changed"))["UserNotification"]
    registry = Subscribers([subscriber])
    matching, other = json.loads(NOTIFICATION_THAT_MATCHES), json.loads(NOTIFICATION_THAT_DOES_NOT)
    assert registry.matching(matching) == ["example.UserNotification"]
    assert registry.matching(other) == []
    assert matches(subscriber.pattern, matching)
    assert str(explain(subscriber.pattern, other)).splitlines()[-1] == "  no  user: the key is missing"
    assert registry.dispatch(matching).action == "delete"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"password_changed"', '"no_such_template"'),
        ('"password_changed"', "null"),
        ('"johndoe_86@example.com"', '"test@example.com"'),
        ("987650", "0"),
        ('"notification_type": "email"', '"notification_type": "fax"'),
        ('"user:notification:email"', '"order:notification:email"'),
        ('"user": {', '"person": {'),
    ],
)
def test_each_rule_of_the_example_of_data_counts(old: str, new: str) -> None:
    """Whatever the README's pattern asks for, the object without it does not match."""
    assert issubclass(DataSubscriber, object)
    subscriber = run(USER_NOTIFICATION, TemplateRepository=Repository("password_changed"))["UserNotification"]
    assert old in NOTIFICATION_THAT_MATCHES
    assert Subscribers([subscriber]).matching(NOTIFICATION_THAT_MATCHES.replace(old, new)) == []


def test_the_example_of_an_event() -> None:
    """The login matches, with its version in quotes and its attributes in their section, and is processed."""
    subscriber = run(USER_LOGIN)["UserLogin"]
    registry = Subscribers([subscriber])
    assert registry.matching(LOGIN) == ["example.UserLogin"]
    assert explain(subscriber, LOGIN).matched
    outcome = registry.dispatch(LOGIN)
    assert [answer.status for answer in outcome.answers] == [ProcessStatus.DONE]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"domain": "user"', '"domain": "users"'),
        ('"domain": "user",', ""),
        ("user:login:web", "user:logout:web"),
        ('"subject": "987650"', '"subject": "x987650"'),
        ('"success": true', '"success": false'),
        ('"attempts": 4', '"attempts": 2'),
        ('"attempts": 4', '"attempts": "many"'),
        ('"type": "user"', '"type": "person"'),
        ('"version": 2', '"version": 4'),
        ('"email": "johndoe_86@example.com",\n            "created_at"', '"email": "",\n            "created_at"'),
        ('"email": "johndoe_86@example.com",\n            "created_at"', '"created_at"'),
        ('"john-doe"', '"synthetic"'),
        ("2020-03-28T15:23:01", "2019-12-31T23:59:59"),
        ("2020-03-28T15:23:01", "yesterday"),
    ],
)
def test_each_rule_of_the_example_of_an_event_counts(old: str, new: str) -> None:
    """Whatever the README's subscriber asks for, the event without it does not match."""
    assert old in LOGIN
    assert Subscribers([run(USER_LOGIN)["UserLogin"]]).matching(LOGIN.replace(old, new)) == []


class Busy(Exception):
    """The lock is taken."""


class Locks:
    """A lock that somebody else has or has not."""

    def __init__(self, taken: bool) -> None:
        self.taken = taken
        self.names: list[str] = []

    def __call__(self, name: str) -> Locks:
        self.names.append(name)
        return self

    def __enter__(self) -> None:
        if self.taken:
            raise Busy

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("taken", "action", "status"), [(False, "delete", ProcessStatus.DONE), (True, "keep", ProcessStatus.RETRY_LATER)]
)
def test_the_example_of_statuses(taken: bool, action: str, status: ProcessStatus) -> None:
    """A `process` without `self`, as it stands there, is called; with the lock taken the message is kept, quietly."""
    locks = Locks(taken)
    subscriber = run(CHECKOUT, DatabaseLock=locks, DatabaseLockAlreadyAcquired=Busy)["ShoppingCartCheckout"]
    assert issubclass(subscriber, EventSubscriber)
    payload = mega.PayloadBuilder().with_event(name="checkout").with_object(id="7", current={"id": "7"}).build()
    outcome = Subscribers([subscriber]).dispatch(payload)
    assert (outcome.action, outcome.error, [answer.status for answer in outcome.answers]) == (action, None, [status])
    assert locks.names == ["shopping_cart.checkout:7"]


@pytest.mark.parametrize(("quantity", "expected"), [(7, True), (2, False), (13, False), (10, True), (5, False)])
def test_the_example_of_functions_within_functions(quantity: int, expected: bool) -> None:
    """Seven matches, two and thirteen do not, as the README says."""
    assert matches(run(QUANTITY)["pattern"], {"quantity": quantity}) is expected


class User:
    """What the example asks; `blocked` are those that have been."""

    known = ("1", "2")
    blocked = ("2",)

    @classmethod
    def exists(cls, id: str) -> bool:
        return id in cls.known

    @classmethod
    def is_blocked(cls, id: str) -> bool:
        return id in cls.blocked


@pytest.mark.parametrize(("id", "expected"), [("1", True), ("2", False), ("3", False), ("x", False)])
def test_the_example_of_functions_of_the_users(id: str, expected: bool) -> None:
    """A regular expression, a lambda and a negated function, all of which must hold."""
    space = run(SUBJECT, User=User, has_been_blocked=User.is_blocked)
    assert matches(space["subject"], id) is expected
