"""AWS's limits: what is within them passes as it goes on the wire, what is beyond is refused in a sentence."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_consumer_sqs import _limits as limits
from queue_consumer_sqs._limits import (
    Limit,
    check_attribute_names,
    check_body,
    check_number,
    check_prefix,
    check_queue_name,
    check_text,
    check_token,
)

TABLE = {  # what AWS documents
    limits.BATCH_SIZE: (1, 10),
    limits.WAIT_TIME: (0, 20),
    limits.VISIBILITY_TIMEOUT: (0, 43_200),
    limits.DELAY: (0, 900),
    limits.RETENTION: (60, 1_209_600),
    limits.MESSAGE_SIZE: (1_024, 1_048_576),
    limits.MAX_RECEIVES: (1, 1_000),
    limits.KMS_REUSE: (60, 86_400),
    limits.MOVE_RATE: (1, 500),
}
every_limit = pytest.mark.parametrize("limit", TABLE, ids=lambda limit: limit.parameter)


@every_limit
def test_the_least_and_the_most_are_allowed(limit: Limit) -> None:
    """Each parameter takes AWS's least and most value, as they are."""
    assert tuple(limit.check(value) for value in TABLE[limit]) == TABLE[limit]


@every_limit
def test_what_is_beyond_is_refused_in_a_sentence(limit: Limit) -> None:
    """One less or one more is a ValueError that names the parameter, the value, and what is allowed."""
    least, most = TABLE[limit]
    for value in (least - 1, most + 1):
        with pytest.raises(ValueError, match=rf"^{limit.parameter} must be .* from {least} to {most}; got {value}$"):
            limit.check(value)


@every_limit
@pytest.mark.parametrize("value", [True, "5", None, [1]])
def test_what_is_no_number_is_refused(limit: Limit, value: Any) -> None:
    """Truths, text and None are a TypeError, however much they look like numbers."""
    with pytest.raises(TypeError, match=f"^{limit.parameter} must be"):
        limit.check(value)


@given(st.floats(0, 900))
def test_seconds_are_rounded_up(seconds: float) -> None:
    """SQS knows whole seconds: nothing comes earlier than asked for, and what is above 0 stays so."""
    wire = limits.DELAY.check(seconds)
    assert type(wire) is int
    assert wire - 1 < seconds <= wire


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_seconds_are_finite(value: float) -> None:
    """What is no moment is no duration."""
    with pytest.raises(ValueError, match="from 0 to 20; got"):
        limits.WAIT_TIME.check(value)


def test_counts_have_no_fractions() -> None:
    """A half of a message is refused, and not rounded."""
    with pytest.raises(TypeError, match=r"batch_size must be a whole number from 1 to 10; got 2\.5"):
        limits.BATCH_SIZE.check(2.5)


def test_a_check_can_say_whose_parameter_it_is() -> None:
    """The name in the sentence is that of the caller's parameter."""
    with pytest.raises(ValueError, match=r"^SQSQueue: wait must be a number of seconds from 0 to 20; got 21$"):
        limits.WAIT_TIME.check(21, "SQSQueue: wait")


def test_what_is_optional_says_so() -> None:
    """None stays None where it may be given, and the sentence offers it."""
    assert limits.DELAY.check_given(None) is None
    assert limits.DELAY.check_given(1.5) == 2
    with pytest.raises(ValueError, match="from 0 to 900, or None; got 901"):
        limits.DELAY.check_given(901)


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["a", "A_b-9", "a" * 80, "a.fifo", "a" * 75 + ".fifo"])
def test_names_of_queues(name: str) -> None:
    """1 to 80 letters, digits, underscores and hyphens, and .fifo at the end."""
    assert check_queue_name(name) == name


@pytest.mark.parametrize("name", ["", "a" * 81, "a" * 76 + ".fifo", ".fifo", "a.b", "é", "a b", "a\n", "a.fifo.fifo"])
def test_what_is_no_name_of_a_queue(name: str) -> None:
    """Anything else is refused, with what is allowed."""
    with pytest.raises(ValueError, match=r"name must have 1 to 80 characters.*\.fifo"):
        check_queue_name(name)
    with pytest.raises(TypeError, match="name must be the name of a queue"):
        check_queue_name(name.encode())


@pytest.mark.parametrize(("name", "fifo"), [("a", True), ("a.fifo", False)])
def test_a_name_says_whether_its_queue_is_fifo(name: str, fifo: bool) -> None:
    """What is asked for and what the name says must be the same."""
    with pytest.raises(ValueError, match=f"must {'' if fifo else 'not '}end in .fifo.*got '{name}'"):
        check_queue_name(name, fifo=fifo)
    assert check_queue_name(name, fifo=not fifo) == name


def test_prefixes() -> None:
    """A prefix has the characters of a name, and leaves room for one."""
    assert check_prefix("") == ""
    assert check_prefix("team-a_") == "team-a_"
    for bad in ("a.b", "a" * 80, "a/"):
        with pytest.raises(ValueError, match="prefix must have at most 79 characters"):
            check_prefix(bad)
    with pytest.raises(TypeError, match="prefix must be a str; got 5"):
        check_prefix(5)


def test_groups_and_deduplication_ids() -> None:
    """1 to 128 ASCII letters, digits and punctuation."""
    allowed = "".join(map(chr, range(33, 127)))
    assert check_token(allowed, "group") == allowed
    for bad in ("", "a" * 129, "a b", "é", "a\n"):
        with pytest.raises(ValueError, match=r"^group must have 1 to 128 characters"):
            check_token(bad, "group")
    with pytest.raises(TypeError, match=r"^group must be a str, or None; got 7"):
        check_token(7, "group")


# ---------------------------------------------------------------------- content


def test_a_body_is_text() -> None:
    """What is no str is refused, and the sentence says what to do, and does not show the body."""
    with pytest.raises(TypeError, match=r"^body must be a str; got dict\. Encode it, with json.dumps"):
        check_body({"secret": 1})


@pytest.mark.parametrize("text", ["\t\n\r ", "é€", "\U0001f600", "\ud7ff", "\ufffd"])
def test_text_that_sqs_carries(text: str) -> None:
    """All characters that XML has."""
    assert check_text(text, "body") == text


@pytest.mark.parametrize("character", ["\x00", "\x01", "\x0b", "\x1f", "\ufffe", "\uffff", "\ud800"])
def test_text_that_sqs_does_not_carry(character: str) -> None:
    """Others are refused, with where they are."""
    with pytest.raises(ValueError, match=r"^body must have only characters that XML has.* at position 2"):
        check_text(f"ab{character}c", "body")


def test_nothing_is_empty() -> None:
    """SQS has no empty messages."""
    with pytest.raises(ValueError, match=r"^body must not be empty"):
        check_body("")


@pytest.mark.parametrize("name", ["a", "a.b-c_9", "AWSome", "a" * 256])
def test_names_of_attributes(name: str) -> None:
    """Letters, digits, underscores, hyphens, and single periods inside."""
    assert check_attribute_names({name: 1}) == {name: 1}


@pytest.mark.parametrize("name", ["", "a..b", ".a", "a.", "AWS.x", "aws.x", "Amazon.x", "amazon.x", "é", "a" * 257])
def test_what_is_no_name_of_an_attribute(name: str) -> None:
    """Others are refused, those of AWS among them."""
    with pytest.raises(ValueError, match="attributes must have names of 1 to 256 characters"):
        check_attribute_names({name: 1})


def test_attributes_are_ten_named_values() -> None:
    """No more than 10, by names that are str."""
    ten = {f"a{number}": number for number in range(10)}
    assert check_attribute_names(ten) == ten
    with pytest.raises(ValueError, match="attributes must be at most 10; got 11"):
        check_attribute_names({**ten, "b": 1})
    with pytest.raises(TypeError, match="names that are str; got 1"):
        check_attribute_names({1: "a"})
    with pytest.raises(TypeError, match="attributes must be a mapping"):
        check_attribute_names(["a"])


@pytest.mark.parametrize(
    ("number", "wire"),
    [
        (0, "0"),
        (-7, "-7"),
        (1.5, "1.5"),
        (1e22, "10000000000000000000000"),
        (1e-7, "0.0000001"),
        (Decimal("0.10"), "0.10"),
        (10**126, "1" + "0" * 126),
        (int("9" * 38), "9" * 38),
    ],
)
def test_numbers_are_plain_digits(number: int | float | Decimal, wire: str) -> None:
    """A number goes as digits, without an exponent, and exactly as it is."""
    assert check_number(number, "n") == wire


@pytest.mark.parametrize(
    "number",
    [10**127, 10**5000, int("9" * 39), math.nan, math.inf, Decimal("1E-129")],
    ids=["large", "huge", "long", "nan", "infinite", "small"],
)
def test_numbers_that_sqs_does_not_have(number: int | float | Decimal) -> None:
    """Too many digits, too large, too small, or none: refused."""
    with pytest.raises(ValueError, match=r"^n must be a number with at most 38 digits"):
        check_number(number, "n")
