"""The page of messages tells the truth: what it quotes is in the code, and its index has just what is below it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "troubleshooting.md"
PACKAGES = [ROOT / "queue_consumer", ROOT / "adapters" / "queue_consumer_sqs"]

GAP = "\0"
"""Stands where a message has what differs from case to case."""

OWN_WORDS = 12
"""So many characters of a message are at least its own: less would be found anywhere."""


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose_of(path: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(path), flags=re.MULTILINE | re.DOTALL)


# What the code says


def docstrings(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            match node.body:
                case [ast.Expr(value=ast.Constant(value=str()) as found), *_]:
                    yield found
                case _:
                    pass


def said(node: ast.expr) -> str:
    """What an expression says, with a gap for what is not known before it runs."""
    match node:
        case ast.Constant(value=str(text)):
            return re.sub(r"%[-.\d]*[a-z]", GAP, text)
        case ast.JoinedStr(values=values):
            return "".join(map(said, values))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return said(left) + said(right)
        case _:
            return GAP


@cache
def sentences() -> str:
    """All that the packages can say, a line for each string in their code that is no docstring."""
    found: list[str] = []
    for path in (path for package in PACKAGES for path in package.rglob("*.py")):
        tree = ast.parse(text_of(path))
        skipped = {id(node) for node in docstrings(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp) and id(node) not in skipped:
                found.append(said(node).replace("\n", " "))
    return "\n".join(found)


# What the page says


def messages() -> list[str]:
    """The headings that are messages: those in the type of code."""
    return re.findall(r"^### `(.+)`$", prose_of(PAGE), flags=re.MULTILINE)


def headings(path: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose_of(path), flags=re.MULTILINE)


def anchor(heading: str) -> str:
    """What a link to a heading ends in, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def first_word(message: str) -> str:
    """What a message is looked up by: its own words, whatever stands before them."""
    return re.sub(r"[^a-z0-9 ]", "", message.lower()).strip()


def parts(message: str) -> list[str]:
    return [part for part in re.split(r" ?… ?", message) if part]


@pytest.mark.parametrize("message", messages())
def test_message_is_in_the_code(message: str) -> None:
    """What is quoted, each part between two `…` to the letter and in this order, stands in one string of the code."""
    assert max(map(len, parts(message))) >= OWN_WORDS or message in SHORT, "too little to be found by"
    wanted = "[^\n]*?".join(map(re.escape, parts(message)))
    assert re.search(wanted, sentences()), "the code does not say so (any more)"


SHORT = {"giving up: …"}


def test_message_that_nothing_says_is_found_out() -> None:
    """A sentence that the code does not have is not found, so that the check above is one."""
    assert not re.search(re.escape("handler must be a poem"), sentences())


def test_index_has_all_messages_in_order() -> None:
    """The index is alphabetical by the messages' own words, and links to each of them, once."""
    listed = re.findall(r"^- \[`(.+)`\]\(#(.+)\)$", text_of(PAGE), flags=re.MULTILINE)
    right = [(message, anchor(message)) for message in sorted(messages(), key=first_word)]
    assert listed == right, "it should be:\n" + "\n".join(f"- [`{message}`](#{to})" for message, to in right)


@pytest.mark.parametrize("name", ["troubleshooting.md", "migration.md", "comparison.md"])
def test_links_lead_to_headings(name: str) -> None:
    """A link into a page, this one or another one, names one of its headings; and no two of them have one name."""
    page = ROOT / "docs" / name
    for target, place in re.findall(r"\]\(((?![a-z]+:)[^)#]*)#([^)]+)\)", prose_of(page)):
        there = [anchor(heading) for heading in headings((page.parent / target) if target else page)]
        assert there.count(place) == 1, f"{target}#{place}"
