"""A shop's cart events, published to a topic, through SNS and SQS to three subscribers.

    python examples/cart_events.py             # on a local server, which `tools/servers.sh ministack` installs
    python examples/cart_events.py aws         # on AWS, with the credentials and the region that boto3 finds

The shop publishes what happens to a cart as MEGA events, to a FIFO topic, which sends them to a FIFO queue in order.
There three subscribers wait: one reserves what was added, one looks out for large carts, one prints the receipt, and is
not ready at first. An event that nobody takes comes along, and a plain text.

It prints:

    reserved 5 of 61fc
    a large cart: 377.37
    reserved 1 of 3c7f
    the printer is busy
    printed the receipt of cart 18a3
    done with 3 messages, and nobody wanted 2; one came twice
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from queue_consumer import Constant, MaxItems
from queue_consumer.subscribers import (
    EventSubscriber,
    ProcessStatus,
    and_,
    empty,
    event_subscriber,
    gt,
    mega,
    not_,
    one_of,
)
from queue_consumer_sqs import SNS, SQS, PublishEntry, SnsPublisher, SqsListener, queue_policy


class Reserve(EventSubscriber):
    """Takes what was added to a cart off the shelf."""

    domain = "shopping_cart"
    name = "item.added"
    version = one_of(1, 2)
    attributes: ClassVar[Any] = {"item_id": not_(empty()), "quantity": and_(gt(0), not_(gt(1_000)))}

    def process(self, payload: mega.Payload) -> ProcessStatus:
        print(f"reserved {payload.event.quantity} of {payload.event.item_id}")
        return ProcessStatus.DONE


class LargeCarts(EventSubscriber):
    """Looks out for carts that have just become large; numbers in text are numbers."""

    domain = "shopping_cart"
    object_current: ClassVar[Any] = {"value": gt(300)}
    object_previous: ClassVar[Any] = {"value": not_(gt(300))}

    def process(self, payload: mega.Payload) -> None:
        current = payload.object and payload.object.current
        print(f"a large cart: {current and current['value']}")


@event_subscriber(domain="shopping_cart", name="checkout")
def print_receipt(payload: mega.Payload) -> ProcessStatus:
    """Prints the receipt, when the printer is free."""
    if printer_is_busy.pop():
        print("the printer is busy")
        return ProcessStatus.RETRY_LATER
    print("printed the receipt of cart", payload.event.subject)
    return ProcessStatus.DONE


printer_is_busy = [False, True]  # the last one first


def event(name: str, value: str, before: str, **attributes: Any) -> PublishEntry:
    """What has happened to the cart; each is published once."""
    payload = (
        mega.PayloadBuilder()
        .with_event(domain="shopping_cart", name=name, subject="18a3", publisher="cart-service", **attributes)
        .with_object(type="shopping_cart", id="18a3", current={"value": value}, previous={"value": before})
        .build()
    )
    return PublishEntry(payload=payload, deduplication_id=uuid.uuid4().hex)


def run(access: dict[str, Any]) -> None:
    name = f"cart-events-{uuid.uuid4().hex[:8]}.fifo"
    sns, sqs = SNS(**access), SQS(**access)
    topic = sns.create(name)
    queue_arn = topic.replace(":sns:", ":sqs:", 1)  # they have one name, and one account
    url = sqs.create(name, attributes={"Policy": queue_policy(queue_arn, topic)})
    try:
        sns.subscribe(topic, queue_arn)
        publish(access, topic)
        listen(access, url)
    finally:
        sns.delete(topic)
        sqs.delete(name)
        sns.close()
        sqs.close()


def publish(access: dict[str, Any], topic: str) -> None:
    publisher = SnsPublisher(topic_arn=topic, **as_sqs_mega_has_them(access))
    publisher.publish_many(
        [
            event("item.added", "377.37", "277.42", item_id="61fc", quantity=5),
            event("item.added", "400.00", "377.37", item_id="3c7f", quantity=1),
            event("item.removed", "377.37", "400.00", item_id="3c7f"),
            PublishEntry(payload="closing time", deduplication_id=uuid.uuid4().hex),
            event("checkout", "377.37", "377.37"),
        ],
        group="18a3",
    )
    publisher.close()


def listen(access: dict[str, Any], url: str) -> None:
    listener = SqsListener(
        queue_url=url, stop_when=MaxItems(5), backoff=Constant(0), wait_time_seconds=1, **as_sqs_mega_has_them(access)
    )
    for subscriber in (Reserve, LargeCarts, print_receipt):
        listener.register_subscriber(subscriber)
    stats = listener.listen().stats
    again = {1: "one came twice"}.get(stats.released, f"{stats.released} came again")
    print(f"done with {stats.cleaned} messages, and nobody wanted {stats.dropped}; {again}")


def as_sqs_mega_has_them(access: dict[str, Any]) -> dict[str, Any]:
    """The names that the publishers and the listener have from there."""
    keys = {name: f"aws_{name}" for name in ("access_key_id", "secret_access_key")}
    return {{"region": "region_name", **keys}.get(name, name): value for name, value in access.items()}


@contextmanager
def local_server() -> Generator[dict[str, Any]]:
    """A server on this machine, and how it is reached."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
    servers: Any = importlib.import_module("support.sqs_servers")
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"  # a proxy does not lead to this machine
    with tempfile.TemporaryDirectory() as folder:
        server = servers.Server("ministack", Path(folder))
        try:
            keys = {"access_key_id": "demo", "secret_access_key": "demo", "region": "eu-west-1"}
            yield {"endpoint_url": server.endpoint_url, **keys}
        finally:
            server.kill()  # there is nothing on it to keep


def main() -> None:
    if sys.argv[1:] == ["aws"]:
        run({})
    else:
        with local_server() as access:
            run(access)


if __name__ == "__main__":
    main()
