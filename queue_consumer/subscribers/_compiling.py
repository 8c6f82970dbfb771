"""From a pattern to a check: once, when it is declared; and what cannot work is refused then.  Pure.

A pattern is compiled to closures, one for each of its parts, which answer True, False, or None for a question that
makes no sense (see `_values`). None spreads as false does: the whole is no match, and `not_` of it is none either. So a
predicate that raises, because a database is down for instance, never makes a match of `not_(has_been_blocked)`.

| of parts that answer | True | False | None |
|---|---|---|---|
| `and_`, the keys of a dict | all do | the first that is not true does | the first that is not true does |
| `or_` | one does | all do | none is true, and one makes no sense |
| `in_`, `one_of`, a list | one does | none is true | no literal can be compared, or a pattern made no sense |

Each part can also tell in words what it makes of a value (`Telling`): explanations come from the very checks that
decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._errors import LeftHandSideTypeError, PatternError, RightHandSideTypeError, kind_of, shown
from ._leaves import (
    MISSING,
    Node,
    PredicateRaised,
    Telling,
    equality,
    is_expression,
    leaf,
    order,
    predicate,
    regular_expression,
)
from ._predicates import Pattern, Predicate
from ._values import Check, Verdict, is_collection, is_empty, is_mapping, is_true

__all__ = ["Node", "PredicateRaised", "Telling", "compile_pattern"]

DEEPEST = 50  # levels of a pattern
LONGEST = 100_000  # items of a collection in a pattern


def compile_pattern(pattern: Pattern, where: str = "pattern", raised: PredicateRaised | None = None) -> Node:
    """The pattern as a check.

    Args:
        pattern: see `Pattern`.
        where: what errors call it.
        raised: is called when a callable in it raised, in checks.

    Raises:
        PatternError: it, or a part of it, cannot work; the sentence says which, and why.
    """
    return Compiler(raised).node(pattern, where, 0)


class Compiler:
    """Compiles one pattern."""

    def __init__(self, raised: PredicateRaised | None) -> None:
        self._raised = raised

    def node(self, pattern: Pattern, where: str, depth: int) -> Node:
        """Any pattern: a bare value asks for equality, but a bare collection also takes one of its items."""
        if depth > DEEPEST:
            raise PatternError(f"a pattern has at most {DEEPEST} levels; does this one hold itself?", where)
        if isinstance(pattern, Predicate):
            return self._predicate(pattern, where, depth)
        within: Any = getattr(pattern, "node", None)
        if isinstance(within, Node):  # compiled already
            return within
        found = equality(pattern, where)
        if found is not None:
            return found
        if is_mapping(pattern):
            return self._mapping(pattern, where, depth)
        if is_expression(pattern):
            return regular_expression(pattern, where)
        if is_collection(pattern):
            return self._collection(pattern, where, depth, "bare")
        if callable(pattern):
            return predicate(pattern, where, self._raised)
        raise RightHandSideTypeError(
            "a pattern is None, a str, a bool, a number, a date or datetime, bytes, a UUID, a collection, a mapping, a "
            f"regular expression or a callable; got {shown(pattern)}",
            where,
        )

    def _predicate(self, pattern: Predicate, where: str, depth: int) -> Node:
        function, arguments = pattern.function, pattern.arguments
        match function:
            case "eq" | "neq":
                node = self._equal(arguments[0], where, depth)
                return node if function == "eq" else negation(node)
            case "match":
                return self._match(arguments[0], where, depth)
            case "gt" | "gte" | "lt" | "lte":
                return order(function, arguments[0], where)
            case "in_":
                return self._member(arguments[0], where, depth)
            case "not_":
                return negation(self.node(arguments[0], where, depth + 1))
            case "and_":
                return conjunction([self.node(part, where, depth + 1) for part in arguments])
            case "or_":
                return disjunction([self.node(part, where, depth + 1) for part in arguments])
            case "any_":
                return leaf(lambda lhs: True, function, None, ("is there", ""))
            case "empty":
                return leaf(is_empty, function, None, ("is empty", "is not empty"))
            case "absent":
                return replaced(leaf(lambda lhs: False, function, None, ("", "is there")), missing=True)
            case "optional":
                return replaced(self.node(arguments[0], where, depth + 1), missing=True)
            case _:
                raise PatternError(f"there is no function {function!r} of patterns", where)

    def _equal(self, value: Any, where: str, depth: int) -> Node:
        if is_collection(value):
            return self._collection(value, where, depth, "eq")
        return self.node(value, where, depth + 1)

    def _match(self, value: Any, where: str, depth: int) -> Node:
        if value is None:
            return leaf(lambda lhs: not lhs, "match", value, ("is null, or nothing", "is something"))
        if isinstance(value, bool):
            words = ("counts as true", "counts as false") if value else ("counts as false", "counts as true")
            return leaf(lambda lhs: is_true(lhs) is value, "match", value, words)
        if isinstance(value, str) or is_expression(value):
            return regular_expression(value, where)
        if is_collection(value):
            return self._collection(value, where, depth, "match")
        return self.node(value, where, depth + 1)

    def _items(self, values: Any, where: str, depth: int) -> list[Node]:
        if len(values) > LONGEST:
            raise PatternError(f"a collection in a pattern has at most {LONGEST:,} items; got {len(values):,}", where)
        nodes = [self.node(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(values)]
        for index, node in enumerate(nodes):
            if node.missing:
                raise PatternError("absent() and optional() are for the values of keys", f"{where}[{index}]")
        return nodes

    def _member(self, values: Any, where: str, depth: int) -> Node:
        if not is_collection(values):
            raise RightHandSideTypeError(
                f"in_ takes a list, a tuple or a set of values or patterns; got {shown(values)}", where
            )
        nodes = self._items(values, where, depth)
        if not nodes:
            raise PatternError("in_ takes at least one value or pattern; got none, so it could never match", where)
        return membership(nodes, values)

    def _collection(self, values: Any, where: str, depth: int, function: str) -> Node:
        return collection(self._items(values, where, depth), values, function)

    def _mapping(self, pattern: Mapping[Any, Any], where: str, depth: int) -> Node:
        rules: list[tuple[Any, Node]] = []
        for key, part in pattern.items():
            rules.append((key, self.node(part, f"{where}[{key!r}]", depth + 1)))
        return mapping(rules, pattern)


def replaced(node: Node, *, missing: bool) -> Node:
    return Node(node.check, node.tell, missing)


def negation(node: Node) -> Node:
    inner = node.check

    def check(lhs: Any) -> Verdict:
        verdict = inner(lhs)
        return None if verdict is None else not verdict

    def tell(lhs: Any, path: str, telling: Telling) -> Verdict:
        within = Telling()
        verdict = node.tell(lhs, path, within)
        telling.troubles += within.troubles
        if verdict is None:  # the same words: it makes no sense, with not_ or without
            telling.lines += within.lines
            return None
        telling.say(not verdict, path, "not_ of what follows")
        telling.lines += ["  " + line for line in within.lines]
        return not verdict

    # Only absent() and optional() say anything of a key that is not there, and not_ of them is that it is.
    return Node(check, tell)


def conjunction(nodes: list[Node]) -> Node:
    checks = [node.check for node in nodes]

    def check(lhs: Any) -> Verdict:
        for part in checks:
            verdict = part(lhs)
            if verdict is not True:
                return verdict
        return True

    def tell(lhs: Any, path: str, telling: Telling) -> Verdict:
        for node in nodes:  # no further than the check: what stands behind a guard is not asked
            verdict = node.tell(lhs, path, telling)
            if verdict is not True:
                return verdict
        return True

    texts = next((node.texts for node in nodes if node.texts is not None), None)
    return Node(check, tell, missing=all(node.missing for node in nodes), texts=texts)


def disjunction(nodes: list[Node]) -> Node:
    checks = [node.check for node in nodes]

    def check(lhs: Any) -> Verdict:
        answer: Verdict = False
        for part in checks:
            verdict = part(lhs)
            if verdict is True:
                return True
            if verdict is None:
                answer = None
        return answer

    def tell(lhs: Any, path: str, telling: Telling) -> Verdict:
        within = Telling()
        answer: Verdict = False
        for node in nodes:
            verdict = node.tell(lhs, path, within)
            if verdict is True:
                answer = True
                break
            if verdict is None:
                answer = None
        telling.say(answer, path, "or_: one of what follows")
        telling.lines += ["  " + line for line in within.lines]
        if answer is None:
            telling.troubles += within.troubles
        return answer

    return Node(check, tell, missing=any(node.missing for node in nodes), texts=texts_of(nodes))


def texts_of(nodes: Iterable[Node]) -> tuple[str, ...] | None:
    """All texts that one of these can match; None if one can match another thing."""
    texts: list[str] = []
    for node in nodes:
        if node.texts is None:
            return None
        texts += node.texts
    return tuple(dict.fromkeys(texts))


def among(nodes: list[Node]) -> Check:
    """Whether a value matches one of these. A literal of another type is merely not it, unless all are."""
    plain = [node.check for node in nodes if node.literal]
    others = [node.check for node in nodes if not node.literal]

    def check(lhs: Any) -> Verdict:
        comparable, trouble = False, False
        for part in plain:
            verdict = part(lhs)
            if verdict is True:
                return True
            comparable = comparable or verdict is False
        for part in others:
            verdict = part(lhs)
            if verdict is True:
                return True
            comparable = comparable or verdict is False
            trouble = trouble or verdict is None
        return None if trouble or not comparable else False

    return check


def membership(nodes: list[Node], values: Any) -> Node:
    text = ", ".join(map(shown, list(values)[:10])) + (", …" if len(values) > 10 else "")
    words = (f"is one of {text}", f"is none of {text}")
    texts = texts_of(nodes)
    if texts is not None and all(node.literal for node in nodes):
        quick = frozenset(texts)
        slow = among(nodes)

        def check(lhs: Any) -> Verdict:
            return lhs in quick if type(lhs) is str else slow(lhs)

        return leaf(check, "in_", values, words, "values of the same types", texts=texts)
    return leaf(among(nodes), "in_", values, words, "values of the same types", texts=texts)


def collection(nodes: list[Node], values: Any, function: str) -> Node:
    """`eq`: each side has a match for each item of the other. `match`: the left has all of the right.

    `bare`: as `eq`, and for what is no collection whether it is one of the items. Order and multiplicity do not
    count.
    """
    within = among(nodes)
    checks = [node.check for node in nodes]

    def has_all(items: list[Any]) -> Verdict:
        """Whether each part of the pattern has an item that matches it."""
        answer: Verdict = True
        for part in checks:
            comparable = False
            for item in items:
                verdict = part(item)
                if verdict is True:
                    break
                comparable = comparable or verdict is False
            else:
                if comparable or not items:
                    return False
                answer = None
        return answer

    def equal(items: list[Any]) -> Verdict:
        answer = has_all(items)
        if answer is False:
            return False
        for item in items:
            verdict = within(item) if nodes else False
            if verdict is False:
                return False
            if verdict is None:
                answer = None
        return answer

    def check(lhs: Any) -> Verdict:
        if is_collection(lhs):
            return has_all(list(lhs)) if function == "match" else equal(list(lhs))
        if lhs is None:
            if not nodes:
                return True
            return within(lhs) is True if function != "eq" else False
        if function == "eq" or not nodes or (function == "match" and isinstance(lhs, Mapping)):
            return None
        return within(lhs)

    text = shown(values)
    if function == "match":
        words = (f"has, or is, what {text} asks for", f"has not all of {text}")
    elif function == "eq":
        words = (f"has the items of {text}, in any order", f"has not just the items of {text}")
    else:
        words = (f"has the items of {text}, or is one of them", f"has not just the items of {text}, nor is it one")
    # What may be a list as well is in no index, so it says nothing of texts.
    return leaf(check, "match" if function == "match" else "eq", values, words, "collections of the same types")


def mapping(rules: list[tuple[Any, Node]], pattern: Mapping[Any, Any]) -> Node:
    quick = [(key, node.check, node.missing) for key, node in rules]

    def check(lhs: Any) -> Verdict:
        if kind_of(lhs) is not dict and not is_mapping(lhs):
            if lhs is not None:
                return None
            lhs = {}
        get: Any = lhs.get
        for key, part, missing in quick:
            value = get(key, MISSING)
            if value is MISSING:
                if missing:
                    continue
                return False
            verdict = part(value)
            if verdict is not True:
                return verdict
        return True

    def tell(lhs: Any, path: str, telling: Telling) -> Verdict:
        if lhs is not None and not is_mapping(lhs):
            telling.troubles.append(LeftHandSideTypeError(lhs, pattern, "eq", path, "mappings"))
            telling.say(None, path, f"{shown(lhs)} is a {type(lhs).__name__}, and an object with keys is asked for")
            return None
        answer: Verdict = True
        for key, node in rules:
            place = f"{path}.{key}" if path else str(key)
            value: Any = MISSING if lhs is None else lhs.get(key, MISSING)
            if value is MISSING:
                verdict: Verdict = node.missing
                telling.say(verdict, place, "the key is missing" + (", as it may be" if verdict else ""))
            else:
                verdict = node.tell(value, place, telling)
            if answer is True:
                answer = verdict
        return answer

    return Node(check, tell)
