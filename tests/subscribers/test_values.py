"""The table of values: what equality, matching and order come to, by the types on both sides."""

# Patterns are lambdas and values of every type, in tables; that these are of unknown types is what is meant.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import enum
import math
import operator
import sys
from collections import OrderedDict, deque
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_consumer.subscribers import (
    DateTime,
    LeftHandSideTypeError,
    Number,
    RightHandSideTypeError,
    and_,
    any_,
    compile_pattern,
    empty,
    eq,
    evaluate,
    gt,
    gte,
    in_,
    lt,
    lte,
    match,
    matches,
    neq,
    not_,
    one_of,
)

NAN, INF = float("nan"), float("inf")
WEST = timezone(timedelta(hours=-3))


def answer(pattern: Any, value: Any) -> bool | str:
    """What the strict API says: True, False, or "error"; the lenient one must agree, and `not_` must turn it round."""
    try:
        strict: bool | str = evaluate(pattern, value)
    except LeftHandSideTypeError:
        strict = "error"
    assert matches(pattern, value) is (strict is True)
    assert matches(not_(pattern), value) is (strict is False)
    return strict


E = "error"

# ---------------------------------------------------------------------- null


@pytest.mark.parametrize(
    ("value", "equal", "matching"),
    [
        (None, True, True),
        (0, False, True),
        ("", False, True),
        ([], False, True),
        ({}, False, True),
        ("x", False, False),
    ],
)
def test_null(value: Any, equal: bool, matching: bool) -> None:
    """Null equals null alone, and matches all that is nothing."""
    assert answer(eq(None), value) is equal
    assert answer(None, value) is equal
    assert answer(match(None), value) is matching


# ---------------------------------------------------------------------- text


class Colour(enum.Enum):
    RED = "red"


class Word(str):
    """Text of a kind of its own."""


@pytest.mark.parametrize(
    ("rhs", "lhs", "expected"),
    [
        *[(text, text, True) for text in (" ", "123", "foo.bar", "FooBar", "João César")],
        ("", "", True),
        ("", None, True),
        ("foo", None, False),
        ("foo", "", False),
        ("foo.bar", "Foo.bar", False),
        ("FooBar", "123", False),
        ("João César", "Joao Cesar", False),
        ("x", Word("x"), True),
        (Word("x"), "x", True),
        (Colour.RED, "red", True),
        *[("x", value, E) for value in (1, 1.5, True, [], ["x"], {}, b"x", date(2020, 1, 1), object())],
    ],
)
def test_text_equals(rhs: Any, lhs: Any, expected: Any) -> None:
    """Text equals itself, to the letter; none and the empty one are the same; other types make no sense."""
    assert answer(eq(rhs), lhs) == expected
    assert answer(rhs, lhs) == expected


@pytest.mark.parametrize(
    ("rhs", "lhs", "expected"),
    [
        ("foobar123", "foobar123", True),
        (r"foo.(.*)", "foo.bar", True),
        (r"foo:(.*)", "foo:bar:boo", True),
        (r"[Ff]oo[Bb]ar", "foobar", True),
        (r"João Vinícius(.*)", "João Vinícius Pereira", True),
        ("Wayne", "Wayne Enterprises", True),
        ("Enterprises", "Wayne Enterprises", False),
        ("Wayne$", "Wayne Enterprises", False),
        ("", None, True),
        ("x?", None, True),
        ("x", None, False),
        ("x", 1, E),
        ("x", ["x"], E),
    ],
)
def test_text_matches(rhs: str, lhs: Any, expected: Any) -> None:
    """A regular expression is matched from the start of the text, and need not reach its end."""
    assert answer(match(rhs), lhs) == expected


# ---------------------------------------------------------------------- booleans


NO_BOOLEANS: list[Any] = [1, 0, "true", "", [], {}]


@pytest.mark.parametrize(
    ("rhs", "lhs", "expected"),
    [
        (True, True, True),
        (True, False, False),
        (False, True, False),
        (False, False, True),
        (True, None, False),
        (False, None, True),
        *[(rhs, lhs, E) for rhs in (True, False) for lhs in NO_BOOLEANS],
    ],
)
def test_booleans_equal(rhs: bool, lhs: Any, expected: Any) -> None:
    """True is not 1, and none is False."""
    assert answer(eq(rhs), lhs) == expected


TRUE = [True, 1, 42, "true", "True", "abc", "0", [False], [1, 2], {4, 5}, date(2020, 5, 15), object()]
FALSE: list[Any] = [False, None, 0, "", "false", "False", "FALSE", [], (), {}]


@pytest.mark.parametrize(("lhs", "truth"), [*[(v, True) for v in TRUE], *[(v, False) for v in FALSE]])
def test_booleans_match_by_truth(lhs: Any, truth: bool) -> None:
    """Truth is Python's, but for the text 'false'."""
    assert answer(match(True), lhs) is truth
    assert answer(match(False), lhs) is not truth


# ---------------------------------------------------------------------- numbers


@pytest.mark.parametrize("one", [1, 1.0, Decimal("1.0"), "1", "1.0", "+1", "1e0", "01"])
@pytest.mark.parametrize("rhs", [1, 1.0, Decimal("1")])
def test_numbers_are_equal_in_value(rhs: Any, one: Any) -> None:
    """It does not matter how a number is written, nor of which type it is; numeric text is its number."""
    assert answer(eq(rhs), one) is True
    assert answer(match(rhs), one) is True
    assert answer(gte(rhs), one) is answer(lte(rhs), one) is True
    assert answer(gt(rhs), one) is answer(lt(rhs), one) is False


@pytest.mark.parametrize(("one", "other"), [(0.1, Decimal("0.1")), ("0.1", 0.1), (0.12345678, "0.12345678")])
def test_a_tenth_is_a_tenth(one: Any, other: Any) -> None:
    """A float is what it is written as, on both sides."""
    assert answer(eq(Number(other)), one) is True
    assert answer(eq(Number(one)), other) is True


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (0, 1),
        (1, 1.01),
        (Decimal("4.9999999999"), 5),
        ("4", 5),
        ("5.009", 5.01),
        (1, sys.maxsize),
        (-(10**400), -INF * -1),
        (2**53, 2**53 + 1),
        (float(2**53), 2**53 + 1),
        (-INF, "-1e99999"),
        ("9" * 900, "1e901"),
    ],
)
def test_numbers_have_an_order(less: Any, more: Any) -> None:
    """Greater, at least, less, at most: of ints, floats, Decimals and numeric text, however large."""
    for rhs, lhs, expected in ((more, less, True), (less, more, False)):
        if isinstance(rhs, str):
            rhs = Number(rhs)
        assert answer(lt(rhs), lhs) is expected
        assert answer(lte(rhs), lhs) is expected
        assert answer(gt(rhs), lhs) is not expected
        assert answer(gte(rhs), lhs) is not expected
        assert answer(eq(rhs), lhs) is False


NO_NUMBERS = [
    "foobar",
    "!@#$",
    "",
    " 1",
    "1 ",
    "1_000",
    "٣",
    "0x10",
    "NaN",
    "inf",
    "1e999999",
    "1" * 2000,
    True,
    [1],
    {},
]


@pytest.mark.parametrize("lhs", [*NO_NUMBERS, True, [1], {}])
@pytest.mark.parametrize("function", [eq, match, gt, gte, lt, lte])
def test_what_is_no_number_makes_no_sense(function: Any, lhs: Any) -> None:
    """Text is numeric or it is not; booleans are no numbers; none equals no number, and has no order."""
    assert answer(function(5), lhs) == E
    assert answer(function(5), None) == (False if function in (eq, match) else E)


@pytest.mark.parametrize("nan", [NAN, Decimal("NaN"), Decimal("sNaN")])
def test_nan_is_beside_everything(nan: Any) -> None:
    """NaN is neither equal to anything, nor before or after it."""
    for function in (eq, gt, gte, lt, lte):
        assert answer(function(5), nan) is False
        assert answer(function(Decimal(5)), nan) is False


NUMBERS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20),
    st.sampled_from([0, -0.0, 2**53, 2**53 + 1, float(2**53), 0.1, Decimal("0.1"), 1e308, 5e-324]),
)


@given(NUMBERS, NUMBERS)
def test_the_order_of_numbers_is_one(one: Any, other: Any) -> None:
    """Of two numbers one is less, or they are equal; and it does not matter which of them is the pattern."""
    relations = [matches(function(other), one) for function in (lt, eq, gt)]
    assert sorted(relations) == [False, False, True]
    assert relations == [matches(function(one), other) for function in (gt, eq, lt)]
    assert matches(lte(other), one) is (relations[0] or relations[1])
    assert matches(gte(other), one) is (relations[2] or relations[1])


@given(st.lists(NUMBERS, min_size=3, max_size=3))
def test_equality_of_numbers_is_transitive(three: list[Any]) -> None:
    """What equals the same number is equal, in whatever types."""
    one, two, three_ = three
    if matches(eq(one), two) and matches(eq(two), three_):
        assert matches(eq(one), three_)


# ---------------------------------------------------------------------- moments

INSTANT = [
    "2020-05-15T16:45:20.123456",
    "2020-05-15T16:45:20.123456+00:00",
    "2020-05-15T16:45:20.123456Z",
    "2020-05-15 16:45:20.123456",
    "2020-05-15T11:45:20.123456-05:00",
    "2020-05-15T19:45:20,123456+03",
    datetime(2020, 5, 15, 16, 45, 20, 123456),
    datetime(2020, 5, 15, 16, 45, 20, 123456, tzinfo=UTC),
    datetime(2020, 5, 15, 13, 45, 20, 123456, tzinfo=WEST),
]


def moment(value: Any) -> date:
    return DateTime(value) if isinstance(value, str) else value


@pytest.mark.parametrize("rhs", INSTANT)
@pytest.mark.parametrize("lhs", INSTANT)
def test_the_same_instant_in_any_zone(lhs: Any, rhs: Any) -> None:
    """Zones count, and what has none is in UTC."""
    for function in (eq, match, gte, lte):
        assert answer(function(moment(rhs)), lhs) is True
    for function in (gt, lt, neq):
        assert answer(function(moment(rhs)), lhs) is False


@pytest.mark.parametrize(
    ("lhs", "rhs"),
    [
        ("2020-05-15T16:45:59", "2020-05-15T16:45:59.999999+00:00"),
        ("2020-05-15T16:45:59.999999+00:00", "2020-05-15T16:45:59"),
        ("2020-05-15T02:00:00.123+00:00", datetime(2020, 5, 14, 23, 0, 0, 999, tzinfo=WEST)),
    ],
)
def test_equality_is_to_the_second_and_order_is_not(lhs: Any, rhs: Any) -> None:
    """Equality leaves fractions of seconds out, as sqs-mega does; one of the two is earlier all the same."""
    assert answer(eq(moment(rhs)), lhs) is True
    assert answer(lt(moment(rhs)), lhs) is not answer(gt(moment(rhs)), lhs)


DATES = [
    ("2020-05-15", "2020-05-15", operator.eq),
    (date(2020, 5, 15), "2020-05-15", operator.eq),
    ("2020-05-15T15:45:59.123", date(2020, 5, 15), operator.eq),
    (datetime(2020, 5, 15, 23, 59, 59, 999999, tzinfo=UTC), date(2020, 5, 15), operator.eq),
    ("2020-05-15", datetime(2020, 5, 15, 15, 45, 59, tzinfo=WEST), operator.eq),
    ("2020-05-03", "2020-05-03T00:00:00+03:00", operator.eq),
    ("2020-05-02T23:59:59+03:00", "2020-05-03", operator.lt),
    ("2020-05-14", "2020-05-15T16:45:23+00:00", operator.lt),
    ("2019-12-31", "2020-05-15T16:45:23+00:00", operator.lt),
    ("2021-05-14", "2020-05-15T16:45:23+00:00", operator.gt),
    ("2020-05-16T16:45:22", date(2020, 5, 15), operator.gt),
]


@pytest.mark.parametrize(("lhs", "rhs", "relation"), DATES)
def test_dates_are_compared_as_they_are_written(lhs: Any, rhs: Any, relation: Any) -> None:
    """With a date on one side only dates count, each in its own zone."""
    for function, own in ((eq, operator.eq), (lt, operator.lt), (gt, operator.gt)):
        assert answer(function(moment(rhs)), lhs) is (own is relation)
    assert answer(gte(moment(rhs)), lhs) is (relation is not operator.lt)
    assert answer(lte(moment(rhs)), lhs) is (relation is not operator.gt)


@pytest.mark.parametrize(
    ("lhs", "rhs"),
    [
        ("2020-05-15T16:45:22", "2020-05-15T16:45:23"),
        ("2020-05-15T16:00:00", "2020-05-15T13:45:23-03:00"),
        ("2020-05-15T16:45:23+03:00", "2020-05-15T16:45:23+01:00"),
        ("2020-05-15T16:45:22.1", "2020-05-15T16:45:22.9"),
    ],
)
def test_moments_have_an_order(lhs: Any, rhs: Any) -> None:
    """Earlier is less, to the fraction of a second."""
    assert answer(lt(moment(rhs)), lhs) is answer(lte(moment(rhs)), lhs) is answer(gt(moment(lhs)), rhs) is True
    assert answer(gt(moment(rhs)), lhs) is answer(gte(moment(rhs)), lhs) is answer(lt(moment(lhs)), rhs) is False


NO_MOMENTS = [
    "",
    "15",
    "May",
    "2020",
    "2020-5-3",
    "2020-05-15#!",
    "2020-05-15T",
    "2020-13-01",
    "2020-05-15T25:00",
    "20200515",
]


@pytest.mark.parametrize("lhs", [*NO_MOMENTS, "20200515", "2020-05-15x16:45", "2020-W20-5", True, 2020, object()])
@pytest.mark.parametrize("rhs", [date(2020, 5, 15), datetime(2020, 5, 15, 10)])
def test_only_iso_8601_is_a_moment(rhs: date, lhs: Any) -> None:
    """Nothing is guessed: '15' and 'May' are no moments of 2020-05-15. None equals none of them."""
    for function in (eq, match, gt, gte, lt, lte):
        assert answer(function(rhs), lhs) == E
        assert answer(function(rhs), None) == (False if function in (eq, match) else E)


# ---------------------------------------------------------------------- bytes and UUIDs


def test_bytes_and_uuids() -> None:
    """Bytes equal bytes; a UUID equals its text, in any case."""
    id = UUID("61fcc874-624e-40f8-8fd7-0e663c7837e8")
    assert answer(b"x", b"x") is answer(b"x", bytearray(b"x")) is answer(b"", None) is True
    assert answer(b"x", b"y") is answer(b"x", None) is False
    assert answer(b"x", "x") == E
    assert answer(id, id) is answer(id, str(id)) is answer(id, str(id).upper()) is True
    assert answer(id, "x") is answer(id, None) is False
    assert answer(id, 5) == E


# ---------------------------------------------------------------------- collections

FOO = one_of("foo", "FOO", "Foo", "_foo_")
TURTLES = ["Raphael", "Leonardo", "Donatello", "Venus de Milo", "Michelangelo"]
NAMES = ["Leonardo", match(r"[Dd]onatel.*"), "Raphael", "Michelangelo", match(r"Venus [Dd]e Milo")]


@pytest.mark.parametrize(
    ("lhs", "rhs", "expected"),
    [
        (None, [], True),
        (None, [1, 2], False),
        ([1], [1], True),
        ([None], [None], True),
        ([1, 2, 3], (1, 2, 3), True),
        ([1, 2, 3], {1, 2, 3}, True),
        ([1, 2, 3], [3, 2, 1], True),
        ([1, 2, 3], [eq(2), 3, 1], True),
        ([1, 2, 3], [3, gt(1), not_(5)], True),
        (["999", "998", "997"], [997, 998, 999], True),
        (("a", "b", "b", "c", "d"), {"c", "b", "d", "a"}, True),
        (["foo", "bar"], ["bar", FOO], True),
        (["foo", "bar", "barz"], ["bar", match(r"bar[zZ]"), eq("foo")], True),
        (["bar", "barz"], ["bar", match("bar.*")], True),
        (["barz", "bar"], ["bar", match("bar.*")], True),
        (TURTLES, NAMES, True),
        ([{"a": 1}, {"a": 2}], [{"a": 2}, {"a": 1}], True),
        ([{"a": 1, "b": 2}], [{"a": 1}], True),
        ([[1], [2]], [[2], [1]], True),
        (deque([1, 2]), [1, 2], True),
        (frozenset([1, 2]), [1, 2], True),
        (range(3), [0, 1, 2], True),
        ([1, 1, 2], [1, 2, 2], True),
        ([], ["a"], False),
        (["five"], [], False),
        ([1], [2], False),
        ([None], ["foo", "bar"], False),
        ([1, 2, 3], (1, 2, 3, 4), False),
        ([1, 2, 3], [3, 5, 1], False),
        (["foo", "bar"], ["bar"], False),
        (["foo", "bar"], ["bar", not_(FOO)], False),
        ([{"a": 1}], [{"b": 1}], False),
        ([True], [1], E),
        ([1, 2, 3], ["a", "b"], E),
        ([True], ["a", "b", "c"], E),
        *[(value, ["a", "b"], E) for value in (0, 1, "a", True, {"foo": "bar"}, object())],
    ],
)
def test_collections_equal(lhs: Any, rhs: Any, expected: Any) -> None:
    """Each side has a match for each item of the other; order and multiplicity do not count."""
    assert answer(eq(rhs), lhs) == expected


@pytest.mark.parametrize(
    ("lhs", "rhs", "expected"),
    [
        (None, [], True),
        (None, [5], False),
        (None, [None], True),
        ([1, 2, 3], [1, 2, 3], True),
        ([1, 2, 3, 4, 5], [3, 4, gte(5)], True),
        (["bar", "foo", "barz"], ["foo", "bar"], True),
        (TURTLES, [match(r"[Dd]onatel.*"), "Michelangelo"], True),
        ([{"a": 1}, {"b": 2}], [{"b": 2}], True),
        ([1, 2, 3], [1, 2, 3, 4], False),
        ([1, 2, 3, 4, 5], [3, 4, gt(5)], False),
        (["foo"], ["bar", FOO], False),
        (TURTLES, ["Dante", "Michelangelo"], False),
        (1, [1, 2, 3], True),
        ("bar", ["foo", match(r"[Bb]ar.*"), "barz"], True),
        (42, [1, 2, 3], False),
        ("FooBar", ["foo", match(r"[Bb]ar.*"), "barz"], False),
        ({"foo": "bar"}, ["foo", "bar"], E),
        (True, ["a", "b"], E),
        ("one", [1, 2, 3], E),
        (object(), [1, 2], E),
    ],
)
def test_collections_match(lhs: Any, rhs: Any, expected: Any) -> None:
    """What the pattern asks for is there, whatever else is; what is no collection is one of it."""
    assert answer(match(rhs), lhs) == expected


@pytest.mark.parametrize(
    ("lhs", "rhs", "expected"),
    [
        (None, [None], True),
        ("a", ["b", "c", "a"], True),
        (1, [1, 2, gt(3)], True),
        (100, [1, 2, gt(3)], True),
        ("bar", {"foo", "bar"}, True),
        ({"a": 1, "b": 2}, [{"a": 2}, {"a": 1}], True),
        (5, ["a", 5], True),
        ("a", ["a", 5], True),
        (None, [42], False),
        ("foobar", ["b", "c", "a"], False),
        (1_000_000, [1, 2, and_(gte(3), lt(100))], False),
        ("x", ["a", 1], False),
        ("one", [1, 2, 3], E),
        (True, ["a", "b"], E),
        ([1], ["a", "b"], E),
    ],
)
def test_membership(lhs: Any, rhs: Any, expected: Any) -> None:
    """One of them matches; a literal of another type is merely not it, unless all of them are of another type."""
    assert answer(in_(rhs), lhs) == expected
    assert answer(one_of(*rhs), lhs) == expected
    assert answer(list(rhs), lhs) == expected or isinstance(lhs, list)


def test_a_bare_list_is_a_set_of_choices_for_a_single_value() -> None:
    """`['test', 'synthetic']` stands for a list of these, or for one of them; `eq` of it for the list alone."""
    for value, expected in (("test", True), ("x", False), (["synthetic", "test"], True), (["test"], False)):
        assert answer(["test", "synthetic"], value) is expected
    assert answer(eq(["test"]), "test") == E


# ---------------------------------------------------------------------- mappings


@pytest.mark.parametrize(
    ("lhs", "rhs", "expected"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {}, True),
        ({}, {}, True),
        (None, {}, True),
        ({"a": {"b": {"c": 5, "d": 6}}}, {"a": {"b": {"c": gt(4)}}}, True),
        (OrderedDict(a=1), {"a": 1}, True),
        ({"a": 1}, OrderedDict(a=1), True),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {"a": {}}, True),
        ({"a": 1}, {"a": 2}, False),
        ({"a": 1}, {"b": 2}, False),
        ({"a": 1}, {"a": 1, "b": any_()}, False),
        ({}, {"a": None}, False),
        (None, {"a": 1}, False),
        ({"a": 1}, {"a": empty()}, False),
        ({"user": "bob"}, {"user": {"id": 1}}, E),
        ([("a", 1)], {"a": 1}, E),
        ("a", {"a": 1}, E),
        (5, {}, E),
    ],
)
def test_mappings(lhs: Any, rhs: Any, expected: Any) -> None:
    """Every key that is asked for is there, and its value matches; others do not count. A key that is not there is no
    match, whatever is asked of it."""
    assert answer(rhs, lhs) == expected
    assert answer(eq(rhs), lhs) == expected
    assert answer(match(rhs), lhs) == expected


# ---------------------------------------------------------------------- empty, any, and what has no order


NOTHING: list[Any] = [None, "", b"", [], (), set(), {}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [*[(nothing, True) for nothing in NOTHING], *[(v, False) for v in (0, False, 0.0, " ", [None])]],
)
def test_empty(value: Any, expected: bool) -> None:
    """Empty is what has a length, of none, and null; 0 and False are something."""
    assert answer(empty(), value) is expected
    assert answer(any_(), value) is True


@pytest.mark.parametrize("rhs", [None, True, "x", "2020-01-01", b"x", [1], {"a": 1}, len, object()])
@pytest.mark.parametrize("function", [gt, gte, lt, lte])
def test_what_has_no_order_is_refused(function: Any, rhs: Any) -> None:
    """More and less are for numbers and moments; a text is said how to become one."""
    with pytest.raises(RightHandSideTypeError, match="takes a number, a date or a datetime"):
        compile_pattern({"a": function(rhs)})
    if isinstance(rhs, str):
        with pytest.raises(RightHandSideTypeError, match=r"Number\('1.5'\), DateTime\('2020-01-01'\)"):
            compile_pattern(function(rhs))


@pytest.mark.parametrize("text", ["", "x", "NaN", "1,5"])
def test_number_and_datetime_say_what_they_take(text: str) -> None:
    """What stands for no number or moment is refused in a sentence."""
    with pytest.raises(ValueError, match="Number: text must stand for a number"):
        Number(text)
    with pytest.raises(ValueError, match="DateTime: text must be a date"):
        DateTime(text)
    assert math.isinf(Number(INF))
