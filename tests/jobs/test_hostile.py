"""Messages that mean harm, or are broken: each fails by itself, in a sentence, and what is good runs beside it.

Every test has a corpus of good messages in the same run, all of which must run.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import json
import logging
import random
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queue_consumer import ChunkHandled, Constant, Consumer, MemoryMessage, MemoryQueue
from queue_consumer.jobs import Jobs, Pickle
from queue_consumer.testing import RecordingObserver

GOOD = {"JobName": "good", "ContentType": "json", "JobContext": "{}"}
DEEP = "[" * 100_000 + "]" * 100_000
DIGITS = "9" * 100_000

HOSTILE: list[tuple[str, Any, Any, str]] = [
    ("nothing", "", GOOD, "cannot be read as JSON at position 0"),
    ("no JSON", "{'a': 1}", GOOD, "cannot be read as JSON at position 1"),
    ("cut off", '{"a": ', GOOD, "cannot be read as JSON"),
    ("two values", "{} {}", GOOD, "cannot be read as JSON at position 3: Extra data"),
    ("a list", "[1]", GOOD, "must be an object with names; got a list"),
    ("null", "null", GOOD, "must be an object with names; got a NoneType"),
    ("deep lists", f'{{"a": {DEEP}}}', GOOD, "more than 100 levels"),
    ("deep objects", '{"a":' * 5_000 + "1" + "}" * 5_000, GOOD, "more than 100 levels"),
    ("just too deep", '{"a": ' + "[" * 100 + "]" * 100 + "}", GOOD, "more than 100 levels"),
    ("a huge number", f'{{"a": {DIGITS}}}', GOOD, "4300"),
    ("a huge fraction", f'{{"a": 0.{DIGITS}}}', GOOD, "a number of 100002 digits"),
    ("beyond floats", '{"a": 1e999}', GOOD, "too large for a float"),
    ("NaN", '{"a": NaN}', GOOD, "has the number NaN"),
    ("infinity", '{"a": -Infinity}', GOOD, "has the number -Infinity"),
    ("equal names", '{"a": 1, "a": 2}', GOOD, "two equal names"),
    ("equal names inside", '{"a": [{"b": 1, "b": 2}]}', GOOD, "two equal names"),
    ("no UTF-8", b'{"a": "\xff"}', GOOD, "must be text in UTF-8"),
    ("a body of another kind", {"a": 1}, GOOD, "must be text; got a value of type dict"),
    ("no body", None, GOOD, "must be text; got a value of type NoneType"),
    ("no name", '{"a": 1}', {"ContentType": "json"}, "names no job"),
    ("no attributes", '{"a": 1}', None, "names no job"),
    ("a number for a name", "{}", {**GOOD, "JobName": 5}, "must be the name of a job; got a value of type int"),
    ("bytes for a name", "{}", {**GOOD, "JobName": b"good"}, "must be the name of a job"),
    ("an unknown job", "{}", {**GOOD, "JobName": "__class__"}, "there is no job '__class__' here"),
    ("an unhashable name", "{}", {**GOOD, "JobName": []}, "must be the name of a job"),
    ("an unhashable type", "{}", {**GOOD, "ContentType": []}, "its content type is \\[\\]"),
    ("a number for a type", "{}", {**GOOD, "ContentType": 5}, "its content type is 5"),
    ("a forged pickle", Pickle().encode("good", {"a": 1}, {}).body, {**GOOD, "ContentType": "pickle"}, "accepts"),
    ("a context that is a list", '{"a": 1}', {**GOOD, "JobContext": "[]"}, "must be an object with names; got a list"),
    ("a context that is none", '{"a": 1}', {**GOOD, "JobContext": "{"}, "cannot be read as JSON"),
    ("a context of another kind", '{"a": 1}', {**GOOD, "JobContext": 5}, "must be text; got a value of type int"),
    ("a deep context", '{"a": 1}', {**GOOD, "JobContext": f'{{"a": {DEEP}}}'}, "more than 100 levels"),
    ("an unknown tag", '{"a": {"$object": 1}}', {**GOOD, "ContentType": "json-tagged"}, "the tag '\\$object'"),
    ("a bad date", '{"a": {"$date": "x"}}', {**GOOD, "ContentType": "json-tagged"}, "a tagged value .* cannot be read"),
    ("a bad set", '{"a": {"$set": [[1]]}}', {**GOOD, "ContentType": "json-tagged"}, "a tagged value"),
    ("a bad escape", '{"a": {"$is": 1}}', {**GOOD, "ContentType": "json-tagged"}, "a tagged value"),
    ("a bad decimal", '{"a": {"$decimal": "x"}}', {**GOOD, "ContentType": "json-tagged"}, "a tagged value"),
    ("endless time", '{"a": {"$timedelta": [1e300]}}', {**GOOD, "ContentType": "json-tagged"}, "a tagged value"),
    ("missing arguments", "{}", GOOD, "job 'good' came without 'a'"),
    ("a star that is none", '{"*": {"a": 1}}', GOOD, "must be a list of arguments; got dict"),
    ("twice", '{"*": [1], "a": 1}', GOOD, "'a' twice"),
    ("half an envelope", '{"JobName": "good"', None, "begins like an envelope of a job, and is no JSON"),
    ("a false envelope", '{"JobName": ["good"]}', None, "has values that are not text"),
    ("a deep envelope", f'{{"JobName": {DEEP}}}', None, "is no JSON"),
]


def good_messages() -> Iterator[tuple[Any, Mapping[str, Any] | None, Any]]:
    """Bodies and attributes, and the argument that arrives."""
    yield '{"a": 1}', GOOD, 1
    yield ' {"a" : 2}\n', GOOD, 2
    yield b'{"a": 3}', GOOD, 3
    yield '{"a": 4}', {"JobName": "good"}, 4
    yield '{"*": [5]}', GOOD, 5
    yield '{"a": 6, "other": {"x": [1, {"y": null}]}}', {**GOOD, "JobContext": '{"trace": "1"}'}, 6
    yield '{"a": "' + "[{" * 1_000 + '"}', GOOD, "[{" * 1_000
    yield '{"a": ' + "[" * 99 + "]" * 99 + "}", GOOD, json.loads("[" * 99 + "]" * 99)
    yield '{"a": ' + "9" * 4_000 + "}", GOOD, int("9" * 4_000)
    yield '{"a": {"$set": [8]}}', {**GOOD, "ContentType": "json-tagged"}, {8}
    yield '{"a": {"$set": [9]}}', GOOD, {"$set": [9]}
    yield '{"JobName": "good", "ContentType": "json", "JobContext": "{}", "JobBody": "{\\"a\\": 10}"}', None, 10
    yield '{"a": [' + ",".join(["{}"] * 500) + "]}", GOOD, [{}] * 500


def registry() -> tuple[Jobs, MemoryQueue[MemoryMessage], list[Any]]:
    queue = MemoryQueue(wait=0, bulk=1_000)
    jobs, seen = Jobs(queue), []

    @jobs.task
    def good(a: Any) -> None:
        seen.append(a)

    return jobs, queue, seen


@pytest.fixture(params=[True, False], ids=["guarded", "unguarded"])
def digits(request: pytest.FixtureRequest) -> Iterator[None]:
    """Python's own guard against huge numbers, as it is and as a program may have lifted it."""
    before = sys.get_int_max_str_digits()
    if not request.param:
        sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(before)


@pytest.mark.parametrize(
    ("body", "attributes", "sentence"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
@pytest.mark.usefixtures("digits")
def test_what_is_hostile_fails_by_itself(body: Any, attributes: Any, sentence: str) -> None:
    """Each says in a sentence what is wrong, stays in the queue, and keeps nobody from running."""
    jobs, queue, seen = registry()
    good = list(good_messages())
    for other, with_these, _ in good[:2]:
        queue.put(other, attributes=with_these)
    queue.put(body, attributes=attributes)
    for other, with_these, _ in good[2:]:
        queue.put(other, attributes=with_these)
    events = RecordingObserver()
    consumer = Consumer(
        queue, jobs, max_handlers=1, messages_bulk_size=1_000, backoff=Constant(600), observers=[events]
    )
    result = consumer.run_once()
    assert (result.succeeded, result.failed) == (len(good), 1)
    assert seen == [argument for _, _, argument in good]
    assert queue.stats()["delayed"] == 1
    for item in [item for event in events.of(ChunkHandled) for item in event.failed]:
        with pytest.raises(Exception, match=sentence):
            jobs.perform(item)


def test_errors_do_not_show_what_was_in_a_message(caplog: pytest.LogCaptureFixture) -> None:
    """A log has the kind of what was wrong, and where; not the values."""
    jobs, queue, _ = registry()
    for body in ('{"a": "secret"', '{"secret": 1}', '["secret"]', '{"*": "secret"}'):
        queue.put(body, attributes=GOOD)
    with caplog.at_level(logging.ERROR):
        Consumer(queue, jobs, max_handlers=1, messages_bulk_size=10, backoff=Constant(600)).run_once()
    assert len(caplog.records) == 4
    assert "secret" not in caplog.text


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "*", "$is", "$set", "$date", "$decimal", "JobName", "b"]), inner)
    ),
    max_leaves=6,
)
texts = st.text(max_size=20) | json_like.map(json.dumps) | st.binary(max_size=10) | st.integers()
odd_attributes = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "JobName": st.sampled_from(["good", "good", "good", "other", "", 3]),
        "ContentType": st.sampled_from(["json", "json-tagged", "pickle", "pickle-signed", "", None, 3]),
        "JobContext": texts,
    },
)


@settings(max_examples=40)
@given(st.lists(st.tuples(texts, odd_attributes), max_size=8), st.randoms(use_true_random=False))
def test_nothing_that_comes_gets_out_of_its_message(junk: list[tuple[Any, Any]], chance: random.Random) -> None:
    """Whatever is among them, all good messages run, once each, in their order; each item has one fate."""
    jobs, queue, seen = registry()
    good = list(good_messages())
    mixed: list[tuple[Any, Any]] = [(body, attributes) for body, attributes, _ in good]
    for piece in junk:
        mixed.insert(chance.randrange(len(mixed) + 1), piece)
    for body, attributes in mixed:
        queue.put(body, attributes=attributes)
    logging.disable(logging.CRITICAL)
    try:
        result = Consumer(queue, jobs, max_handlers=1, messages_bulk_size=1_000, backoff=Constant(600)).run_once()
    finally:
        logging.disable(logging.NOTSET)
    assert result.succeeded + result.failed == len(mixed)
    assert result.succeeded >= len(good)
    wanted = [argument for _, _, argument in good]
    left = iter(seen)
    assert all(any(same(value, one) for one in left) for value in wanted), "in their order"


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def test_mutated_messages_of_ours_fail_or_run() -> None:
    """Of 300 messages with some bytes changed each one runs or fails; the untouched ones beside them all run."""
    chance = random.Random(6)
    jobs, queue, seen = registry()
    body, context = '{"a": {"x": [1, 2.5, "y"]}}', '{"trace": "1-5"}'
    for number in range(300):
        texts = [list(body), list(context), list("json"), list("good")]
        for _ in range(chance.randrange(1, 4)):
            text = chance.choice(texts)
            text[chance.randrange(len(text))] = chr(chance.choice([chance.randrange(128), chance.randrange(0x3000)]))
        broken, values, kind, name = map("".join, texts)
        queue.put(broken, attributes={"JobName": name, "ContentType": kind, "JobContext": values})
        if number % 10 == 0:
            queue.put('{"a": "untouched"}', attributes=GOOD)
    logging.disable(logging.CRITICAL)
    try:
        Consumer(queue, jobs, max_handlers=1, messages_bulk_size=1_000, backoff=Constant(600)).run_once()
    finally:
        logging.disable(logging.NOTSET)
    assert seen.count("untouched") == 30
    assert queue.stats()["waiting"] == 0
    assert queue.stats()["delayed"] + queue.stats()["cleaned"] == 330
