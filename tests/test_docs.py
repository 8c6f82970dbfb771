"""The documents tell the truth: snippets run and print what is shown, links lead somewhere, tables match the code."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import queue_consumer
from queue_consumer import Consumer, Supervision, observers, testing

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), ROOT / "benchmarks" / "README.md", ROOT / "adapters" / "README.md"])

every_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)).removesuffix(".md")
)


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose_of(path: Path) -> str:
    """The document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(path), flags=re.MULTILINE | re.DOTALL)


# Snippets


class Snippet(NamedTuple):
    """A Python block, the line it begins on, and the output that is shown right below it, if any is."""

    document: str
    line: int
    code: str
    output: str | None

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def snippets(path: Path) -> Iterator[Snippet]:
    text = text_of(path)
    pattern = r"^```python\n(?P<code>.*?)^```$(\n\n```text\n(?P<output>.*?)^```$)?"
    for found in re.finditer(pattern, text, flags=re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, found.start()) + 1
        yield Snippet(path.name, line, found["code"], found["output"])


SNIPPETS = [snippet for path in DOCUMENTS for snippet in snippets(path)]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
def test_snippet_runs(snippet: Snippet, tmp_path: Path) -> None:
    """Every Python block is a program; if a text block follows at once, that is what it prints."""
    script = tmp_path / "snippet.py"
    script.write_text(snippet.code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    if snippet.output is not None:
        assert done.stdout == snippet.output


def test_readme_begins_with_an_example() -> None:
    """The first thing to see is a program of at most 15 lines, and what it prints."""
    first = next(snippet for snippet in SNIPPETS if snippet.document == "README.md")
    assert len(first.code.splitlines()) <= 15
    assert first.output


def test_readme_is_short() -> None:
    """Somebody has to read it: 260 lines at most, and the way in no longer than 220."""
    assert len(text_of(ROOT / "README.md").splitlines()) <= 260
    assert len(text_of(ROOT / "ARCHITECTURE.md").splitlines()) <= 220


# Links and commands


@every_document
def test_links_lead_somewhere(path: Path) -> None:
    """A relative link names a file that is there."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose_of(path))
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not (path.parent / target).exists()] == []


@every_document
def test_commands_exist(path: Path) -> None:
    """Whatever `make` command a document tells you to type, the Makefile has."""
    targets = set(re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), flags=re.MULTILINE))
    named = re.findall(r"(?:`|^\$ |^ +)make ([a-z]+(?: [a-z]+)*)", text_of(path), flags=re.MULTILINE)
    assert {target for command in named for target in command.split()} <= targets


@every_document
def test_files_exist(path: Path) -> None:
    """A file that is named with its folder is there; `x` stands for any."""
    folders = "examples|tests|tools|benchmarks|requirements|queue_consumer"
    named = re.findall(rf"`((?:{folders})/[\w/]*\.[a-z]+)`", text_of(path))
    assert [name for name in named if not (ROOT / name).exists() and not re.search(r"_[xX]\.", name)] == []


# Names


def inline_code(path: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose_of(path))


def public_names() -> set[str]:
    names = {*queue_consumer.__all__, *observers.__all__, *testing.__all__}
    return names | {"MemoryMessage", "StopCondition"}


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_names_are_public(name: str) -> None:
    """Each class that a user is told of can be imported from where users import."""
    known = public_names() | set(dir(builtins)) | {"T"}
    named = {
        word for code in inline_code(ROOT / name) for word in re.findall(r"(?<![\w.])([A-Z][a-z]\w*)(?!\w*\.)", code)
    }
    assert named - known == set()


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "ARCHITECTURE.md"])
def test_options_exist(name: str) -> None:
    """Each option that is written with its equals sign is one of the consumer's, or of its supervision's."""
    options = {*inspect.signature(Consumer).parameters, *inspect.signature(Supervision).parameters}
    named = {
        option
        for code in inline_code(ROOT / name)
        for option in re.findall(r"\b([a-z_]+)=", re.sub(r"\(.*\)", "", code))
    }
    assert named - options == set()


def test_readme_lists_the_verbs() -> None:
    """The table of verbs is complete: it has every verb that the line looks for, and no other."""
    section = prose_of(ROOT / "README.md").partition("\n## Queues\n")[2].partition("\n## ")[0]
    table = re.findall(r"^\| `(\w+)", section, flags=re.MULTILINE)
    looked_for = set(re.findall(r'_(?:verb|limit)\("(\w+)"', text_of(ROOT / "queue_consumer" / "_port.py"))) | {
        "get",
        "lease",
        "lanes",
    }
    assert set(table) == looked_for


def test_predecessors_parameters_come_first() -> None:
    """What the changelog promises to those who come from the predecessor: eight parameters, in their order."""
    first = list(inspect.signature(Consumer).parameters)[:8]
    assert ", ".join(f"`{name}`" for name in first) in re.sub(r"\s+", " ", text_of(ROOT / "CHANGELOG.md"))


# The house


def literal(path: Path, name: str) -> Any:
    """A constant of a module, read off its source."""
    for node in ast.parse(text_of(path)).body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=found), value=ast.expr() as value) if found == name:
                return ast.literal_eval(value)
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                return ast.literal_eval(value)
            case _:
                pass
    raise AssertionError(f"{path} has no {name}")


def test_architecture_draws_the_floors() -> None:
    """The floors in ARCHITECTURE.md are those that the house rules keep, from the top down."""
    floors = literal(ROOT / "tests" / "test_house_rules.py", "FLOORS")
    rows = re.findall(r"^ *(\d+) {2,}(\S.*)$", text_of(ROOT / "ARCHITECTURE.md"), flags=re.MULTILINE)
    drawn = {int(number): sorted(places.split()) for number, places in rows}
    kept = {number: sorted(places) for number, places in enumerate(floors)}
    assert drawn == kept, "they are:\n" + "\n".join(
        f"{number:2}  {'  '.join(places)}" for number, places in reversed(kept.items())
    )


def test_changelog_begins_with_this_version() -> None:
    """The newest entry of the changelog is about the version that this is."""
    version = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]["version"]
    first = re.search(r"^## (\S+)", text_of(ROOT / "CHANGELOG.md"), flags=re.MULTILINE)
    assert first is not None
    assert first[1] == version


def test_package_is_described_by_the_readme() -> None:
    """What the registry shows of the package is the README."""
    assert tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]["readme"] == "README.md"
