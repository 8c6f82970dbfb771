"""What matching costs: a pattern beside the `if`s that a person would write, and many subscribers of which few match.

All decide the same, of the same payloads, which are decoded already; what a match leads to is counted, so that nobody
can leave it out. Of those `if`s none minds a payload that is not as it should be: the patterns mind, and a chain that
does is longer and slower.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import date
from time import perf_counter
from typing import Any, ClassVar

from contender import Contender, Sample, rate
from queue_consumer.subscribers import (
    EventSubscriber,
    Subscribers,
    any_,
    compile_pattern,
    empty,
    gt,
    gte,
    match,
    mega,
    not_,
    one_of,
)

MATCHING, DISPATCH = "matching", "subscribers"
MATCHED = 3
COUNTS = (10, 100, 1_000)
TITLES = {
    MATCHING: "Matching one event with ten rules, an event that matches (a second; % of the if chain)",
    DISPATCH: f"Events dispatched among so many subscribers, of which {MATCHED} match (a second; % of the if chain)",
}

# ---------------------------------------------------------------------- one pattern

RULES: dict[str, Any] = {
    "domain": "user",
    "name": match(r"user:login:(.*)"),
    "version": any_(),
    "subject": match(r"^\d+$"),
    "attributes": {"success": True, "attempts": gt(2)},
    "object_type": "user",
    "object_version": one_of(1, 2, 3),
    "object_current": {
        "email": not_(empty()),
        "username": not_(["test", "synthetic"]),
        "created_at": gte(date(2020, 1, 1)),
    },
}
PATTERN = {
    "event": {name: RULES[name] for name in ("domain", "name", "version", "subject", "attributes")},
    "object": {name: RULES[f"object_{name}"] for name in ("type", "version", "current")},
}
LOGIN = (
    mega.PayloadBuilder()
    .with_event(domain="user", name="user:login:web", subject="987650", publisher="login-api")
    .with_event(email="johndoe_86@example.com", success=True, attempts=4)
    .with_object(
        type="user",
        id="987650",
        version=2,
        current={
            "id": 987650,
            "username": "john-doe",
            "email": "johndoe_86@example.com",
            "created_at": "2020-03-28T15:23:01",
            "updated_at": "2020-05-18T16:12:59",
            "last_login": "2020-06-02T05:38:43",
        },
    )
    .build()
)
NAME, DIGITS, SINCE = re.compile(r"user:login:(.*)"), re.compile(r"^\d+$"), date(2020, 1, 1)


def by_hand(data: Any) -> bool:
    """What a person would write."""
    event, about = data["event"], data["object"]
    if event["domain"] != "user" or not NAME.match(event["name"]) or "version" not in event:
        return False
    if not DIGITS.match(event["subject"]):
        return False
    attributes = event["attributes"]
    if attributes["success"] is not True or attributes["attempts"] <= 2:
        return False
    if about["type"] != "user" or about["version"] not in (1, 2, 3):
        return False
    current = about["current"]
    if not current["email"] or current["username"] in ("test", "synthetic"):
        return False
    return date.fromisoformat(current["created_at"][:10]) >= SINCE


class UserLogin(EventSubscriber):
    """The rules as a subscriber's."""

    domain = RULES["domain"]
    name = RULES["name"]
    version = RULES["version"]
    subject = RULES["subject"]
    attributes: ClassVar[Any] = RULES["attributes"]
    object_type = RULES["object_type"]
    object_version = RULES["object_version"]
    object_current: ClassVar[Any] = RULES["object_current"]

    def process(self, payload: mega.Payload) -> None:
        calls[0] += 1


calls = [0]


def timed(items: int, decide: Callable[[Any], object], value: Any) -> Sample:
    if not decide(value):
        raise AssertionError("it should match")
    began = perf_counter()
    for _ in range(items):
        decide(value)
    return rate(items, perf_counter() - began)


def matching(items: int, *, how: str) -> Sample:
    wire = mega.serialize_payload(LOGIN)
    match how:
        case "hand":
            return timed(items, by_hand, wire)
        case "pattern":
            return timed(items, compile_pattern(PATTERN).matches, wire)
        case _:
            return timed(items, Subscribers([UserLogin]).dispatch, LOGIN)


# ---------------------------------------------------------------------- many subscribers

EVENT = mega.PayloadBuilder().with_event(domain="shop", name="event.1", quantity=5).build()


def ignore(self: Any, payload: mega.Payload) -> None:
    calls[0] += 1


def subscriber(index: int, name: Any) -> Any:
    rules = {"domain": "shop", "name": name, "attributes": {"quantity": gt(0)}, "process": ignore}
    return type(f"Subscriber{index}", (EventSubscriber,), rules)


def names(count: int) -> list[str]:
    """Of so many subscribers: `MATCHED` of them, spread among the others, ask for the name that comes."""
    wanted = {index * (count - 1) // (MATCHED - 1) for index in range(MATCHED)}
    return ["event.1" if index in wanted else f"other.{index}" for index in range(count)]


def chain(count: int) -> Callable[[mega.Payload], None]:
    """A function with an `if` for each subscriber."""
    lines = ["def chain(payload):", "    event = payload.event"]
    for name in names(count):
        lines += [
            f"    if event.domain == 'shop' and event.name == {name!r} and event.attributes.get('quantity', 0) > 0:",
            "        ignore(None, payload)",
        ]
    space: dict[str, Any] = {"ignore": ignore}
    exec("\n".join(lines), space)
    made: Callable[[mega.Payload], None] = space["chain"]
    return made


def dispatching(items: int, *, count: int, how: str) -> Sample:
    if how == "chain":
        dispatch: Callable[[mega.Payload], object] = chain(count)
    else:
        wants = (match(name) if how == "expressions" else name for name in names(count))
        dispatch = Subscribers([subscriber(index, name) for index, name in enumerate(wants)]).dispatch
    calls[0] = 0
    began = perf_counter()
    for _ in range(items):
        dispatch(EVENT)
    seconds = perf_counter() - began
    if calls[0] != items * MATCHED:
        raise AssertionError(f"{MATCHED} should match each of {items} events; {calls[0]} calls were made")
    return rate(items, seconds)


def _contender(topic: str, name: str, measure: Callable[[int], Sample], items: int) -> Contender:
    return Contender(topic=topic, kind="ours", name=name, measure=measure, items=items, few=200)


HAND = "if chain"
CONTENDERS = [
    _contender(MATCHING, HAND, functools.partial(matching, how="hand"), 300_000),
    _contender(MATCHING, "the same as a pattern", functools.partial(matching, how="pattern"), 100_000),
    _contender(MATCHING, "decoded, matched, processed", functools.partial(matching, how="dispatch"), 50_000),
    *(
        contender
        for count in COUNTS
        for contender in (
            _contender(
                DISPATCH,
                f"{HAND}, {count:,}",
                functools.partial(dispatching, count=count, how="chain"),
                3_000_000 // (count + 20),
            ),
            _contender(DISPATCH, f"{count:,}", functools.partial(dispatching, count=count, how="names"), 50_000),
        )
    ),
    _contender(
        DISPATCH, "1,000, by expressions", functools.partial(dispatching, count=1_000, how="expressions"), 1_000
    ),
]


def compared_with(name: str) -> str:
    """The full name of the chain of `if`s that decides the same."""
    topic, _, own = name.partition(": ")
    if topic == MATCHING:
        return f"{MATCHING}: {HAND}"
    count = "1,000" if "1,000" in own else own.rpartition(" ")[2]
    return f"{DISPATCH}: {HAND}, {count}"
