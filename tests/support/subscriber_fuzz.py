"""Random and hostile bodies through decoding and dispatch, with a corpus of good ones between them.

    python tests/support/subscriber_fuzz.py [COUNT] [SEED]        # 100,000 by default

Nothing may raise, every message has a fate, and what is good comes out as what it is. The exit status says so.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NamedTuple

from queue_consumer.subscribers import (
    CONTENT_TYPES,
    DataSubscriber,
    Decoder,
    EventSubscriber,
    MessageSubscriber,
    PayloadType,
    Subscribers,
    and_,
    any_,
    empty,
    encode,
    gt,
    gte,
    match,
    mega,
    not_,
    one_of,
    optional,
)

# What made sqs-mega's receiver raise, and lose the whole bulk.
POISON: tuple[str, ...] = (
    *("123", "true", "3.14", "NaN", "[1]", "null", "test", "Hell", "AAAA", "user1234", "-Infinity", '"x"', ""),
    '{"protocol": "mega", "version": 1}',
    '{"protocol": "mega", "version": 1, "event": null}',
    '{"protocol": "mega", "version": 1, "event": {"name": ""}}',
    '{"protocol": "mega", "version": 1, "event": {"name": 5, "timestamp": "x"}}',
    '{"Type": "Notification", "MessageId": "m", "TopicArn": "t", "Timestamp": "2020-01-01T00:00:00Z", "Message": "x"}',
    '{"Type": "Surprise", "MessageId": "m", "TopicArn": "t", "Timestamp": "2020-01-01T00:00:00Z", "Message": "x"}',
    '{"Type": "Notification", "MessageId": 1, "TopicArn": [], "Timestamp": 5, "Message": {}}',
    '{"a": NaN}',
    '{"a": 1e999}',
    '{"a": ' + "9" * 5_000 + "}",
    '{"a": "' + "9" * 5_000 + '"}',
    '{"a":' * 100_000,
    '{"a":' * 5_000 + "1" + "}" * 5_000,
    "[" * 100_000,
    '{"a": "\ud800"}',
    "\x00\x01\x02",
    base64.b64encode(struct.pack("<i", 16) + b"\x02a\x00\xff\xff\xff\x7fxxx\x00\x00").decode(),
    base64.b64encode(struct.pack("<i", 5) + b"\x00").decode(),
    base64.b64encode(zlib.compress(b" " * 50_000_000)).decode(),
    base64.b64encode(zlib.compress(b"[" * 1_000_000)).decode(),
)


class Good(NamedTuple):
    """A body, what was sent beside it, and what it must come out as."""

    body: Any
    attributes: dict[str, Any]
    payload_type: PayloadType
    payload: Any


def event() -> mega.Payload:
    builder = mega.PayloadBuilder().with_event(name="item.added", domain="shop", quantity=5, price="19.99")
    return builder.with_object(type="cart", id="7", current={"items": [{"id": 1}]}).with_extra(channel="web").build()


def envelope(message: str, attributes: dict[str, Any] | None = None) -> str:
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": "m-1",
            "TopicArn": "arn:aws:sns:eu-west-1:1:shop",
            "Timestamp": "2020-05-04T15:53:23.123Z",
            "Message": message,
            **({"MessageAttributes": attributes} if attributes else {}),
        }
    )


def corpus() -> list[Good]:
    """Good bodies of every kind, with and without a content type, bare and in envelopes."""
    data: dict[str, Any] = {"type": "order", "total": 12.5, "items": ["tea", "milk"], "customer": {"name": "João"}}
    payload = event()
    good = [
        Good("hello", {}, PayloadType.PLAINTEXT, "hello"),
        Good("user1234", {}, PayloadType.PLAINTEXT, "user1234"),
        Good("[1, 2]", {}, PayloadType.PLAINTEXT, "[1, 2]"),
        Good('"quoted"', {}, PayloadType.PLAINTEXT, '"quoted"'),
        Good('{"a": 1}', {"Content-Type": "text/plain; charset=utf-8"}, PayloadType.PLAINTEXT, '{"a": 1}'),
        Good(data, {}, PayloadType.DATA, data),
        Good(payload, {}, PayloadType.MEGA, payload),
    ]
    for what, kind in ((data, PayloadType.DATA), (payload, PayloadType.MEGA)):
        for encoding in ("json", "zlib", "bson"):
            body, content_type = encode(what, encoding)
            told = {"Content-Type": {"Type": "String", "Value": content_type}}
            good += [
                Good(body, {}, kind, what),
                Good(body, {"content-type": content_type}, kind, what),
                Good(envelope(body), {}, kind, what),
                Good(envelope(body, told), {}, kind, what),
                Good(body.encode(), {}, kind, what),
            ]
    blob = bytes(range(256))
    body, content_type = encode(blob)
    good.append(Good(body, {"Content-Type": content_type}, PayloadType.BINARY, blob))
    good.append(Good(blob, {}, PayloadType.BINARY, blob))
    return good


def hostile(chance: random.Random) -> tuple[Any, dict[str, Any]]:
    """A body that nobody would send on purpose, or only on purpose; and attributes."""
    attributes: dict[str, Any] = {}
    if chance.random() < 0.2:
        attributes["Content-Type"] = chance.choice([*CONTENT_TYPES.values(), "image/png", "", 5, None, "a;b"])
    how: Callable[[random.Random], Any] = chance.choice(HOSTILE)
    return how(chance), attributes


def mutated(chance: random.Random) -> Any:
    """A good body, with a few characters changed."""
    body = chance.choice(TEXTS)
    characters = list(body)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(characters))
        match chance.randrange(3):
            case 0:
                characters[at] = chr(chance.choice([0, 10, 34, 44, 58, 92, 123, 125, 0x2028, 0xD800, 0x1F600]))
            case 1:
                del characters[at : at + chance.randint(1, 5)]
            case _:
                characters.insert(at, chance.choice('0123456789{}[]",:AZaz+/='))
        if not characters:
            break
    return "".join(characters)


def random_value(chance: random.Random, depth: int = 0) -> Any:
    kinds = 7 if depth > 3 else 9
    match chance.randrange(kinds):
        case 0:
            return None
        case 1:
            return chance.random() < 0.5
        case 2:
            return chance.choice([0, 1, -1, 5, 2**63, -(2**70), 10**30])
        case 3:
            return chance.choice([0.0, -0.0, 1.5, 1e308, 5e-324])
        case 4 | 5 | 6:
            return chance.choice(
                ["", "x", "item.added", "5", "1.0", "2020-01-01", "2020-13-45T99:00", "false", "user:login:x"]
            )
        case 7:
            return [random_value(chance, depth + 1) for _ in range(chance.randrange(4))]
        case _:
            return {chance.choice(KEYS): random_value(chance, depth + 1) for _ in range(chance.randrange(4))}


KEYS = (
    "type",
    "user",
    "id",
    "email",
    "event",
    "name",
    "version",
    "protocol",
    "object",
    "current",
    "attributes",
    "extra",
)


def random_event(chance: random.Random) -> Any:
    fields = ("name", "version", "timestamp", "domain", "subject", "publisher", "attributes", "quantity")
    made: dict[str, Any] = {"protocol": "mega", "version": chance.choice([1, "1", 1.0, True, 2])}
    made["event"] = {name: random_value(chance) for name in fields if chance.random() < 0.7}
    if chance.random() < 0.7:
        made["event"] |= {"name": "item.added", "timestamp": "2020-05-04T15:53:23.123", "version": 1}
    made["object"] = random_value(chance)
    return json.dumps(made)


def random_blob(chance: random.Random) -> Any:
    blob = chance.randbytes(chance.randrange(200))
    if chance.random() < 0.5:  # with a plausible length
        blob = struct.pack("<i", len(blob) + 5) + blob + b"\x00"
    return base64.b64encode(blob).decode() if chance.random() < 0.7 else blob


def random_text(chance: random.Random) -> Any:
    return "".join(chr(chance.randrange(chance.choice([128, 0x800, 0x10FFFF]))) for _ in range(chance.randrange(60)))


def random_json(chance: random.Random) -> Any:
    return json.dumps(random_value(chance))


class Loud:
    """Raises whatever it is asked."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    def __hash__(self) -> int:
        raise RuntimeError("hash")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class LoudMapping(dict[str, Any]):
    """A mapping that does not like to be read."""

    def get(self, *args: Any) -> Any:
        raise RuntimeError("get")


def odd_object(chance: random.Random) -> Any:
    cyclic: dict[str, Any] = {"type": "order"}
    cyclic["user"] = cyclic
    cyclic["items"] = [cyclic]
    number = chance.randrange(7)
    odd = (object(), Loud(), cyclic, {"user": Loud(), "type": Loud()}, LoudMapping(type="x"), 10**5000, [Loud()])
    return odd[number]


def poison(chance: random.Random) -> Any:
    # The largest are read now and then only: they take their time, as they should.
    return chance.choice(POISON) if chance.random() < 0.02 else chance.choice(SMALL_POISON)


TEXTS = [good.body for good in corpus() if isinstance(good.body, str)]
SMALL_POISON = [body for body in POISON if len(body) < 1_000]
HOSTILE = (mutated, mutated, random_json, random_event, random_blob, random_text, odd_object, poison)


def broken(value: Any) -> bool:
    raise ValueError("this predicate is broken")


class Everything(MessageSubscriber):
    payload_types = (PayloadType.PLAINTEXT, PayloadType.BINARY, PayloadType.NONE)

    def process(self, payload: Any) -> None:
        if isinstance(payload, str) and "z" in payload:
            raise ValueError("no z")


class Orders(DataSubscriber):
    pattern: ClassVar[Any] = {
        "type": one_of("order", match("x.*")),
        "user": optional({"id": gt(0), "email": not_(empty())}),
    }

    def process(self, payload: Any) -> None:
        if payload["total"]:
            return


class Users(DataSubscriber):
    pattern: ClassVar[Any] = {"user": and_(not_(["test", "synthetic"]), not_(broken)), "id": any_()}

    def process(self, payload: Any) -> Any:
        return payload


class ItemAdded(EventSubscriber):
    name = "item.added"
    attributes: ClassVar[Any] = {"quantity": gt(0), "price": optional(match(r"\d+"))}

    def process(self, payload: mega.Payload) -> None:
        str(payload.event.price)  # which may not be there


class Logins(EventSubscriber):
    name = match("user:login:(.*)")
    timestamp = gte(mega.event.PayloadBuilder().with_event(name="x").build().event.timestamp)
    object_current: ClassVar[Any] = {"id": any_()}

    def process(self, payload: mega.Payload) -> None:
        pass


class Item(NamedTuple):
    """What a queue gives."""

    id: Any
    body: Any
    attributes: Any


def items(count: int, chance: random.Random) -> Iterator[tuple[Item, Good | None]]:
    good = corpus()
    for number in range(count):
        if number % 10 == 0:
            one = good[number // 10 % len(good)]
            yield Item(number, one.body, one.attributes), one
        else:
            body, attributes = hostile(chance)
            yield Item(number, body, attributes), None


def run(count: int, seed: int) -> Counter[str]:
    """Send so many through; what became of them.

    Raises:
        AssertionError: something raised, or a good one did not come out as what it is.
    """
    decoder = Decoder()
    subscribers = Subscribers([Everything, Orders, Users, ItemAdded, Logins], remember=True)
    counts: Counter[str] = Counter()
    for item, good in items(count, random.Random(seed)):
        try:
            decoded = decoder.decode(item.body, item.attributes)
            outcome = subscribers.dispatch(item)
        except Exception as error:
            raise AssertionError(f"body {item.id} of seed {seed} raised {error!r}") from error
        if good is not None:
            told = f"{good.body!r:.80} came out as {decoded!r}"
            assert (decoded.payload_type, decoded.payload) == (good.payload_type, good.payload), told
        counts[decoded.payload_type.name] += 1
        counts[outcome.action] += 1
    return counts


def main(count: int = 100_000, seed: int | None = None) -> int:
    logging.getLogger("queue_consumer").addHandler(logging.NullHandler())
    logging.getLogger("queue_consumer").propagate = False
    seed = random.randrange(10**6) if seed is None else seed
    began = time.perf_counter()
    try:
        counts = run(count, seed)
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    took = time.perf_counter() - began
    print(f"{count:,} bodies of seed {seed} in {took:.0f} s: none raised, all {count // 10:,} good ones came out right")
    print(", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
