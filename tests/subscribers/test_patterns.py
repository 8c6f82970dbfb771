"""Patterns: what they are made of, what is refused when they are declared, and the answer in words."""

# Patterns are lambdas and values of every type, in tables; that these are of unknown types is what is meant.
# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import functools
import operator
import pickle
import re
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queue_consumer.subscribers import (
    LeftHandSideTypeError,
    PatternError,
    PredicateError,
    absent,
    and_,
    any_,
    compile_pattern,
    empty,
    eq,
    evaluate,
    explain,
    gt,
    gte,
    in_,
    lt,
    match,
    matches,
    neq,
    not_,
    one_of,
    optional,
    or_,
)


def is_even(value: Any) -> bool:
    return bool(value % 2 == 0)


class Between:
    """A callable object."""

    def __init__(self, least: float, most: float) -> None:
        self.least, self.most = least, most

    def __call__(self, value: Any) -> bool:
        return bool(self.least <= value <= self.most)


# ---------------------------------------------------------------------- what patterns are made of


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (is_even, 2, 3),
        (lambda value: value > 5, 6, 5),
        (Between(1, 3), 2, 4),
        (functools.partial(operator.lt, 2), 3, 1),
        (str.isdigit, "12", "x"),
        (callable, len, 5),
        ("abc".count, "b", "x"),
        (re.compile("a+"), "aab", "b"),
        (re.compile(b"a+"), b"aab", b"b"),
        ([is_even, 3], [2, 3], [3]),
        ({gt(5), "x"}, "x", 4),
        ({"a": {"b": is_even}}, {"a": {"b": 2}}, {"a": {"b": 3}}),
        ({"a": [lambda value: value]}, {"a": ["x"]}, {"a": [0]}),
        (and_(gt(5), not_(gt(10))), 7, 13),
        (and_(2, is_even, lt(5)), 2, 4),
        (or_(1, 2), 2, 3),
        (or_("x", gt(5)), 6, 5),
        (or_("x", gt(5)), "x", "y"),
        (not_(one_of(1, 2)), 3, 2),
        (not_(not_(5)), 5, 6),
        (neq(5), 6, 5),
        (neq(["a"]), ["b"], ["a"]),
        (compile_pattern(gt(5)), 6, 5),
        ({"a": compile_pattern(gt(5))}, {"a": 6}, {"a": 5}),
    ],
)
def test_patterns_are_values_callables_and_functions_nested(pattern: Any, yes: Any, no: Any) -> None:
    """Values, any callable, compiled expressions and all functions, in dicts, lists and sets, at will."""
    assert matches(pattern, yes)
    assert not matches(pattern, no)


class Engine:
    """An expression of another engine."""

    pattern = "x"

    def match(self, text: str) -> bool:
        return text.startswith("x")


def test_another_engine_for_regular_expressions() -> None:
    """Anything with a `pattern` and a `match` is a regular expression: an engine without backtracking, for instance."""
    assert matches(Engine(), "xy")
    assert not matches({"a": match(Engine())}, {"a": "yx"})


# ---------------------------------------------------------------------- keys that are not there


@pytest.mark.parametrize(
    ("pattern", "there", "missing"),
    [
        (any_(), True, False),
        (5, True, False),
        (not_(6), True, False),
        (not_(empty()), True, False),
        (lambda value: True, True, False),
        (absent(), False, True),
        (optional(5), True, True),
        (optional(6), False, True),
        (not_(absent()), True, False),
        (not_(optional(6)), True, False),
        (or_(absent(), 5), True, True),
        (or_(absent(), 6), False, True),
        (and_(optional(5), optional(any_())), True, True),
        (and_(optional(5), any_()), True, False),
        (and_(absent(), any_()), False, False),
    ],
)
def test_a_key_that_is_not_there(pattern: Any, there: bool, missing: bool) -> None:
    """No pattern matches what is not there but `absent` and `optional`, and what is made of them."""
    assert matches({"a": pattern}, {"a": 5, "b": 6}) is there
    assert matches({"a": pattern}, {"b": 6}) is missing
    assert explain({"a": pattern}, {"b": 6}).matched is missing


def test_null_is_something() -> None:
    """A key whose value is null is there."""
    assert not matches({"a": absent()}, {"a": None})
    assert matches({"a": any_()}, {"a": None})
    assert matches({"a": None}, {"a": None})
    assert not matches({"a": optional(5)}, {"a": None})


# ---------------------------------------------------------------------- what makes no sense


class Broken(Exception):
    """Of a predicate."""


def broken(value: Any) -> bool:
    raise Broken("the database is down")


class Numb:
    """Has no truth."""

    def __bool__(self) -> bool:
        raise Broken("neither")


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (gt(5), "x"),
        (broken, 5),
        (not_(broken), 5),
        (not_(gt(5)), "x"),
        (neq("x"), 5),
        (and_(any_(), broken), 5),
        (or_(6, broken), 5),
        (not_(or_(6, broken)), 5),
        (not_(and_(any_(), broken)), 5),
        (not_(one_of("a", broken)), "x"),
        (not_([broken]), "x"),
        (lambda value: Numb(), 5),
        ({"a": broken, "b": any_()}, {"a": 1, "b": 2}),
        (not_({"a": broken}), {"a": 1}),
        (not_({"a": gt(5)}), {"a": "x"}),
    ],
)
def test_what_makes_no_sense_is_no_match_either_way(pattern: Any, value: Any) -> None:
    """Neither what cannot be compared nor a predicate that raises makes a match, and `not_` does not make one of it."""
    assert not matches(pattern, value)
    assert not matches(not_(pattern), value)
    assert not explain(pattern, value).matched
    with pytest.raises((LeftHandSideTypeError, PredicateError)):
        evaluate(pattern, value)


@pytest.mark.parametrize(
    ("pattern", "value"),
    [(or_(gt(5), "x"), "x"), (or_(broken, 5), 5), (one_of("a", 5), 5), (one_of(broken, 5), 5)],
)
def test_what_matches_otherwise_matches(pattern: Any, value: Any) -> None:
    """Of several, it is enough that one matches, whatever becomes of the others."""
    assert matches(pattern, value)
    assert evaluate(pattern, value)


def test_nothing_is_asked_behind_a_guard() -> None:
    """`and_` ends with the first that does not match, so a guard protects what stands behind it."""
    asked: list[Any] = []

    def ask(value: Any) -> bool:
        asked.append(value)
        return True

    guarded = and_(match(r"\d+"), ask)
    for value in ("x", 5, None):
        assert not matches(guarded, value)
        assert not explain(guarded, value)
    assert asked == []
    assert matches(guarded, "12")


def test_the_errors_of_the_strict_api() -> None:
    """They say where, what, and with what, and have the facts as attributes."""
    with pytest.raises(LeftHandSideTypeError) as caught:
        evaluate({"user": {"id": gt(5)}}, {"user": {"id": "bob"}})
    error = caught.value
    assert (error.lhs, error.rhs, error.function_type, error.where) == ("bob", 5, "gt", "user.id")
    assert str(error) == (
        "user.id: [gt] Could not apply left-hand side <str> ('bob') to right-hand side <int> (5): "
        "numbers and numeric text"
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    with pytest.raises(PredicateError, match="a: broken raised Broken: the database is down") as failed:
        evaluate({"a": broken}, {"a": 1})
    assert isinstance(failed.value.__cause__, Broken)


def test_a_predicate_that_raised_is_told() -> None:
    """Whoever compiles a pattern can be told where a callable raised, and what."""
    told: list[tuple[str, str]] = []
    compiled = compile_pattern({"a": [broken]}, "rule", raised=lambda where, error: told.append((where, str(error))))
    assert not compiled.matches({"a": [1]})
    assert told[0] == ("rule['a'][0]", "the database is down")


# ---------------------------------------------------------------------- what is refused


def two(one: Any, other: Any) -> bool:
    return True


async def asynchronous(value: Any) -> bool:
    return True


def generator(value: Any) -> Any:
    yield value


def deep(levels: int) -> Any:
    pattern: Any = 5
    for _ in range(levels):
        pattern = {"a": pattern}
    return pattern


def itself() -> Any:
    pattern: dict[str, Any] = {}
    pattern["a"] = [pattern]
    return pattern


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: {"a": {"b": gt(None)}}, r"pattern\['a'\]\['b'\]: gt takes a number, a date or a datetime"),
        (lambda: {"a": [1, lt("x")]}, r"pattern\['a'\]\[1\]: lt takes a number"),
        (lambda: and_(gt(1)), "and_ takes at least two values or patterns; got 1"),
        (lambda: or_(), "or_ takes at least two values or patterns; got 0"),
        (lambda: one_of(), "one_of takes at least one value or pattern; got none"),
        (lambda: in_([]), "in_ takes at least one value or pattern; got none"),
        (lambda: in_("abc"), "in_ takes a list, a tuple or a set of values or patterns; got 'abc'"),
        (lambda: in_(5), "in_ takes a list"),
        (lambda: {"a": match("(")}, r"pattern\['a'\]: '\(' is no regular expression: missing \)"),
        (lambda: match("(a+)+"), r"the regular expression '\(a\+\)\+' repeats what does nothing but repeat"),
        (lambda: float("nan"), "NaN equals nothing"),
        (lambda: gte(float("nan")), r"gte\(NaN\) could never match"),
        (lambda: {"a": object()}, r"pattern\['a'\]: a pattern is None, a str, a bool"),
        (lambda: [absent()], r"pattern\[0\]: absent\(\) and optional\(\) are for the values of keys"),
        (lambda: one_of(1, optional(2)), "are for the values of keys"),
        (lambda: {"a": empty}, r"pattern\['a'\]: empty must be called: write empty\(\)"),
        (lambda: {"a": gt}, r"gt must be called: write gt\(…\)"),
        (lambda: not_(match), "match must be called"),
        (lambda: {"a": lambda: True}, r"a callable is called with one value, which the lambda\(\) cannot be"),
        (lambda: two, r"which two\(one: 'Any', other: 'Any'\) -> 'bool' cannot be"),
        (lambda: asynchronous, "asynchronous is async, and what it returns at once is always true"),
        (lambda: generator, "generator is a generator function"),
        (lambda: deep(60), "at most 50 levels"),
        (itself, "at most 50 levels; does this one hold itself"),
        (lambda: in_(range(200_000)), "at most 100,000 items; got 200,000"),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_declared(make: Callable[[], Any], sentence: str) -> None:
    """A pattern that cannot work is a `PatternError`, which is a ValueError, and says where and why."""
    with pytest.raises(PatternError, match=sentence) as caught:
        compile_pattern(make())
    assert isinstance(caught.value, ValueError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


CATASTROPHES = (r"(a+)+", r"(.*)*x", r"^(\w+)*$", r"([a-z]+)+", r"(?:x*)+", r"(?P<n>\d+)*", r"(a+){2,}", r"([)]+)+")
ALL_RIGHT = (r"(a+b)+", r"(\w+\.)+com", r"(a+)", r"(.*)", r"(ab)+", r"(a+){2}", r"[(a+)+]", r"\(a+\)+")


@pytest.mark.parametrize(
    ("expression", "good"), [*[(text, False) for text in CATASTROPHES], *[(text, True) for text in ALL_RIGHT]]
)
def test_the_plainest_catastrophes_are_refused(expression: str, good: bool) -> None:
    """What repeats nothing but a repetition takes exponential time, and says no more than without; the rest is fine."""
    if good:
        compile_pattern(match(expression))
    else:
        with pytest.raises(PatternError, match="can take exponential time"):
            compile_pattern(match(expression))


# ---------------------------------------------------------------------- in words


def test_an_explanation_of_a_match() -> None:
    """It says of each part what it asked, and the answer."""
    explanation = explain(
        {"type": match("order:.*"), "total": gt(10), "note": optional("x"), "tags": ["a"], "to": not_(["x", "y"])},
        {"type": "order:new", "total": "12.50", "tags": ["a"], "to": "z"},
    )
    assert explanation
    assert str(explanation) == "\n".join(
        [
            "match",
            "  yes type: 'order:new' matches 'order:.*'",
            "  yes total: '12.50' is greater than 10",
            "  yes note: the key is missing, as it may be",
            "  yes tags: ['a'] has the items of ['a'], or is one of them",
            "  yes to: not_ of what follows",
            "    no  to: 'z' has not just the items of ['x', 'y'], nor is it one",
        ]
    )


def test_an_explanation_of_no_match() -> None:
    """It names everything that is wrong, and not just the first thing."""
    explanation = explain(
        {"type": "order", "total": gt(10), "user": {"id": 5, "on": gte(date(2020, 1, 1))}, "paid": True, "by": is_even},
        {"type": "return", "total": "much", "user": {"on": "2019-12-31"}, "paid": None, "by": 3},
    )
    assert not explanation
    assert str(explanation) == "\n".join(
        [
            "no match",
            "  no  type: 'return' does not equal 'order'",
            "  no  total: 'much' is a str, so that it is greater than 10 is no question: that is for numbers and "
            "numeric text",
            "  no  user.id: the key is missing",
            "  no  user.on: '2019-12-31' is less than datetime.date(2020, 1, 1)",
            "  no  paid: None does not equal True",
            "  no  by: is_even says False of 3",
        ]
    )


def test_an_explanation_of_choices_and_errors() -> None:
    """Of `or_` it shows what was tried; of a callable that raised, what it raised; of an object that is none, that."""
    assert explain(or_("x", gt(5)), 3).lines == (
        "no  or_: one of what follows",
        "  no  3 is a int, so that it equals 'x' is no question: that is for text",
        "  no  3 is not greater than 5",
    )
    assert explain({"a": broken}, {"a": 1}).lines == ("no  a: broken raised Broken: the database is down for 1",)
    assert explain({"a": 1}, [1]).lines == ("no  [1] is a list, and an object with keys is asked for",)


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

    def __bool__(self) -> bool:
        raise RuntimeError("bool")


class LoudText(str):
    """Text that raises when it is compared."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    __hash__ = str.__hash__


PATTERNS = [None, True, 5, "x", date(2020, 1, 1), ["x"], {"x": 1}, match("x"), match(True), match(None), gt(5), empty(),
            not_("x"), one_of("x", 5), or_("x", 5), and_(any_(), "x"), is_even]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_hostile_objects_do_no_harm(pattern: Any) -> None:
    """Objects that raise when they are looked at, that hold themselves, or that are huge, match or not, and no more."""
    cyclic: dict[str, Any] = {}
    cyclic["x"] = cyclic
    nested: Any = []
    for _ in range(5_000):
        nested = [nested]
    for value in (Loud(), {"x": Loud()}, [Loud()], LoudText("x"), cyclic, [cyclic], nested, 10**5000, "9" * 10**6):
        for asked in (pattern, {"x": pattern}, [pattern], not_(pattern)):
            assert matches(asked, value) in (True, False)
            assert isinstance(str(explain(asked, value)), str)


# ---------------------------------------------------------------------- the words are the decision

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "x", "xy", "1", "2020-01-01", 1.5, float("nan")])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=6,
)
LEAVES = st.one_of(
    SCALARS.filter(lambda value: value == value),
    st.sampled_from([gt(0), lt(2), gte(date(2020, 1, 1)), match("x"), match(True), empty(), any_(), broken, is_even]),
    st.builds(lambda values: in_(values), st.lists(SCALARS.filter(lambda v: v == v), min_size=1, max_size=3)),
)


def bigger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    two = st.lists(inner, min_size=2, max_size=3)
    keyed = st.one_of(inner, st.builds(optional, inner), st.builds(absent))
    return st.one_of(
        st.builds(not_, inner),
        st.builds(lambda parts: and_(*parts), two),
        st.builds(lambda parts: or_(*parts), two),
        st.builds(lambda parts: one_of(*parts), two),
        st.lists(inner, max_size=3),
        st.builds(lambda parts: match(parts), st.lists(inner, max_size=3)),
        st.builds(eq, inner),
        st.dictionaries(st.sampled_from("abc"), keyed, max_size=3),
    )


ALL_PATTERNS = st.recursive(LEAVES, bigger, max_leaves=6)


@settings(max_examples=150, deadline=None)
@given(ALL_PATTERNS, VALUES)
def test_words_and_decision_agree(pattern: Any, value: Any) -> None:
    """Whatever the pattern and the value: matching, explaining and the strict API say the same, and none raises more
    than it may."""
    compiled = compile_pattern(pattern)
    lenient = compiled.matches(value)
    assert compiled.explain(value).matched is lenient
    try:
        strict = compiled.evaluate(value)
    except (LeftHandSideTypeError, PredicateError):
        assert not lenient
        assert not matches(not_(pattern), value)
    else:
        assert strict is lenient
        assert matches(not_(pattern), value) is not strict


def test_what_is_compiled_can_be_pickled() -> None:
    """A compiled pattern goes to another process as what it was made of."""
    compiled = pickle.loads(pickle.dumps(compile_pattern({"a": and_(gt(5), not_(one_of(7, 8)))})))
    assert [compiled.matches({"a": number}) for number in (5, 6, 7)] == [False, True, False]
    assert repr(compiled) == "compile_pattern({'a': and_(gt(5), not_(in_([7, 8])))})"
