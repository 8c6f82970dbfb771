"""What a subscriber asks of a payload: patterns of its declaration, compiled; and by which text it can be found.  Pure.

| attribute | alias | of the event | takes |
|---|---|---|---|
| `event_name` | `name` | `event.name` | text |
| `event_domain` | `domain` | `event.domain` | text |
| `event_version` | `version` | `event.version` | a number |
| `event_timestamp` | `timestamp` | `event.timestamp` | a moment |
| `event_subject` | `subject` | `event.subject` | text |
| `event_publisher` | `publisher` | `event.publisher` | text |
| `event_attributes` | `attributes` | `event.attributes` | a mapping |
| `object_type` | | `object.type` | text |
| `object_version` | | `object.version` | a number |
| `object_id` | | `object.id` | text |
| `object_current` | `current_object` | `object.current` | a mapping |
| `object_previous` | `previous_object` | `object.previous` | a mapping |

Where both names are used, the long one counts. `None` asks that there is none.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

from ._compiling import Node, PredicateRaised, Telling, compile_pattern
from ._errors import PatternError, RightHandSideTypeError, shown
from ._predicates import Pattern, Predicate, absent
from ._values import Verdict, is_mapping
from .mega import Payload
from .patterns import CompiledPattern, Explanation

__all__ = ["FIELDS", "Field", "Key", "Rules", "rules_of_data", "rules_of_event", "rules_of_nothing"]


class Field(NamedTuple):
    """A row of the table."""

    attribute: str
    alias: str
    path: str
    takes: str  # "text", "a number", "a moment", "a mapping"


FIELDS = (
    Field("event_name", "name", "event.name", "text"),
    Field("event_domain", "domain", "event.domain", "text"),
    Field("event_version", "version", "event.version", "a number"),
    Field("event_timestamp", "timestamp", "event.timestamp", "a moment"),
    Field("event_subject", "subject", "event.subject", "text"),
    Field("event_publisher", "publisher", "event.publisher", "text"),
    Field("event_attributes", "attributes", "event.attributes", "a mapping"),
    Field("object_type", "", "object.type", "text"),
    Field("object_version", "", "object.version", "a number"),
    Field("object_id", "", "object.id", "text"),
    Field("object_current", "current_object", "object.current", "a mapping"),
    Field("object_previous", "previous_object", "object.previous", "a mapping"),
)

NEVER: Mapping[str, tuple[type[Any], ...]] = {  # what a plain value of these types could never equal
    "text": (bool, date, bytes, Mapping),
    "a number": (bool, str, date, bytes, Mapping),
    "a moment": (bool, str, int, float, bytes, Mapping),
    "a mapping": (bool, str, int, float, date, bytes, list, tuple, set, frozenset),
}

Key = tuple[str, str]  # a key of the payload, and the text it must have


@dataclass(frozen=True, slots=True)
class Rules:
    """What a payload is asked.

    Attributes:
        matches: whether the payload matches; may raise for values that raise.
        explain: the same, in words.
        keys: only payloads with one of these can match; None: any may.
    """

    matches: Callable[[Any], bool]
    explain: Callable[[Any], Explanation]
    keys: tuple[Key, ...] | None = None


def always(payload: Any) -> bool:
    return True


def rules_of_nothing(what: str) -> Rules:
    """No rules: all payloads match."""
    return Rules(always, lambda payload: Explanation(True, (f"yes it has no rules, so {what} match",)))


# ---------------------------------------------------------------------- data


def rules_of_data(pattern: Pattern, where: str, raised: PredicateRaised | None = None) -> Rules:
    """The rules of a pattern for data; None is none.

    Raises:
        PatternError: it cannot work.
    """
    if pattern is None:
        return rules_of_nothing("all data")
    refuse_other_than_mapping(pattern, where)
    node = compile_pattern(pattern, where, raised)

    def matches(payload: Any) -> bool:
        return node.check(payload) is True

    return Rules(matches, CompiledPattern(pattern, node).explain, keys_of(pattern, where))


def refuse_other_than_mapping(pattern: Any, where: str) -> None:
    if not isinstance(pattern, (Mapping, Predicate, CompiledPattern)) and not callable(pattern):
        raise RightHandSideTypeError(f"it must be a mapping, since data has keys; got {shown(pattern)}", where)
    refuse_other_keys_than_text(pattern, where)


def refuse_other_keys_than_text(pattern: Any, where: str, levels: int = 20) -> None:
    """What comes over a wire has keys that are text."""
    if is_mapping(pattern) and levels:
        for key, part in pattern.items():
            if not isinstance(key, str):
                raise PatternError(f"the keys of a payload are text, so {shown(key)} could never be there", where)
            refuse_other_keys_than_text(part, f"{where}[{key!r}]", levels - 1)


def keys_of(pattern: Any, where: str) -> tuple[Key, ...] | None:
    """The texts that the first key must have for which only texts will do."""
    if is_mapping(pattern):
        for key, part in pattern.items():
            texts = compile_pattern(part, where).texts
            if texts is not None:
                return tuple((key, text) for text in texts)
    return None


# ---------------------------------------------------------------------- events


def rules_of_event(declared: Mapping[str, Pattern], owner: str, raised: PredicateRaised | None = None) -> Rules:
    """The rules of an event subscriber.

    Args:
        declared: attributes and aliases of the table, with their patterns.
        owner: what errors call it.
        raised: see `compile_pattern`.

    Raises:
        PatternError: one of them cannot work.
    """
    parts: list[tuple[Field, Node]] = []
    for row in FIELDS:
        name = row.attribute if row.attribute in declared else row.alias
        if name in declared:
            where = f"{owner}.{name}"
            pattern = declared[name]
            refuse_other_types(pattern, row, where)
            parts.append((row, compile_pattern(absent() if pattern is None else pattern, where, raised)))
    if not parts:
        return rules_of_nothing("all MEGA events")
    quick = [
        (row.path.startswith("event"), operator.attrgetter(row.path.partition(".")[2]), node.check, node.missing)
        for row, node in parts
    ]

    def matches(payload: Payload) -> bool:
        event, about = payload.event, payload.object
        for of_event, get, check, missing in quick:
            source = event if of_event else about
            value = None if source is None else get(source)
            if value is None:
                if not missing:
                    return False
            elif check(value) is not True:
                return False
        return True

    def explain(payload: Payload) -> Explanation:
        telling = Telling()
        matched = True
        for row, node in parts:
            section, _, name = row.path.partition(".")
            source = getattr(payload, section)
            value = None if source is None else getattr(source, name)
            if value is None:
                verdict: Verdict = node.missing
                telling.say(verdict, row.path, "there is none" + (", as it may be" if verdict else ""))
            else:
                verdict = node.tell(value, row.path, telling)
            matched = matched and verdict is True
        return Explanation(matched, tuple(telling.lines))

    texts = next((node.texts for row, node in parts if row.attribute == "event_name"), None)
    return Rules(matches, explain, None if texts is None else tuple(("event.name", text) for text in texts))


def refuse_other_types(pattern: Any, row: Field, where: str) -> None:
    """Refuse a plain value that what stands there could never equal."""
    value = pattern.arguments[0] if isinstance(pattern, Predicate) and pattern.function == "eq" else pattern
    if isinstance(value, NEVER[row.takes]):
        hint = ""
        if row.takes == "a moment" and isinstance(value, str):
            hint = f": write DateTime({shown(value)})"
        raise RightHandSideTypeError(f"{row.path} is {row.takes}, which never equals {shown(value)}{hint}", where)
    if row.takes == "a mapping":
        refuse_other_keys_than_text(value, where)
