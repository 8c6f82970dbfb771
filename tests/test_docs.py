"""The documents tell the truth: snippets run and print what is shown, links lead somewhere, tables match the code."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import queue_consumer
import queue_consumer.jobs
import queue_consumer.jobs.testing
import queue_consumer.subscribers
import queue_consumer_sqs.aio
import queue_consumer_sqs.testing
from queue_consumer import Consumer, Supervision, observers, telemetry, testing
from queue_consumer.telemetry import otel, prometheus

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "benchmarks" / "README.md", ROOT / "adapters" / "README.md"]
)

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
    """A Python block, the line it begins on, the output that is shown right below it, if any is, and what it can
    import: the files that the blocks above it make."""

    document: str
    line: int
    code: str
    output: str | None
    name: str
    beside: Mapping[str, str]

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def snippets(path: Path) -> Iterator[Snippet]:
    """The programs of a document, and its files of tests.

    A block whose first line is a comment that names a file is a part of that file, and parts follow one another.
    """
    text = text_of(path)
    pattern = r"^```python\n(?P<code>.*?)^```$(\n\n```text\n(?P<output>.*?)^```$)?"
    files: dict[str, str] = {}
    for found in re.finditer(pattern, text, flags=re.MULTILINE | re.DOTALL):
        code, name = found["code"], "snippet.py"
        part = re.match(r" *# (\w+\.py)\n", code)
        if part is not None:
            name = part[1]
            files[name] = code = files.get(name, "") + code
            if not name.startswith("test_"):
                continue
        line = text.count("\n", 0, found.start()) + 1
        yield Snippet(str(path.relative_to(ROOT)), line, code, found["output"], name, dict(files))


SNIPPETS = [snippet for path in DOCUMENTS for snippet in snippets(path)]


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
def test_snippet_runs(snippet: Snippet, tmp_path: Path) -> None:
    """Every Python block is a program, or part of a file for one; if a text block follows at once, that is what it
    prints. A file of tests passes."""
    for name, code in {**snippet.beside, snippet.name: snippet.code}.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if snippet.name.startswith("test_") else []
    done = subprocess.run(
        [sys.executable, *tests, snippet.name], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    if snippet.output is not None:
        assert done.stdout == snippet.output


def test_readme_begins_with_an_example() -> None:
    """The first thing to see is a program of at most 15 lines, and what it prints."""
    first = next(snippet for snippet in SNIPPETS if snippet.document == "README.md")
    assert len(first.code.splitlines()) <= 15
    assert first.output


def test_readme_is_short() -> None:
    """Somebody has to read it: 320 lines at most, and the way in no longer than 260."""
    assert len(text_of(ROOT / "README.md").splitlines()) <= 320
    assert len(text_of(ROOT / "ARCHITECTURE.md").splitlines()) <= 260


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
    folders = "adapters|docs|examples|recipes|tests|tools|benchmarks|requirements|queue_consumer"
    named = re.findall(rf"`((?:{folders})/[\w/]*\.[a-z]+)`", text_of(path))
    assert [name for name in named if not (ROOT / name).exists() and not re.search(r"_[xX]\.", name)] == []


# Names


def inline_code(path: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose_of(path))


def public_names() -> set[str]:
    names = {*queue_consumer.__all__, *observers.__all__, *testing.__all__}
    names |= {*queue_consumer.subscribers.__all__, *queue_consumer.subscribers.mega.__all__}
    names |= {*queue_consumer_sqs.__all__, *queue_consumer_sqs.testing.__all__, *queue_consumer_sqs.aio.__all__}
    names |= {*telemetry.__all__, *otel.__all__, *prometheus.__all__}
    names |= {*queue_consumer.jobs.__all__, *queue_consumer.jobs.testing.__all__}
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
        "cleanup_linger",
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


SERVERS = {"ministack": "ministack", "fauxqs": "fauxqs", "localstack": "LocalStack"}


def gaps(path: Path) -> Iterator[str]:
    """What a file of tests says that servers do otherwise than AWS, each as the row of a table."""
    for node in ast.parse(text_of(path)).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        told: list[str] = []
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.gap":
                servers = ", ".join(SERVERS[ast.literal_eval(argument)] for argument in mark.args)
                told.append(f"{servers}: {ast.literal_eval(mark.keywords[0].value)}")
        if told:
            yield f"| {' '.join((ast.get_docstring(node) or '').split())} | {'; '.join(told)} |"


def test_gaps_of_servers_are_those_that_tests_have_found() -> None:
    """The table of what local servers do otherwise than AWS has just what the tests of the service are marked with."""
    table = text_of(ROOT / "docs" / "local-development.md").partition("| AWS | otherwise on |\n|---|---|\n")[2]
    rows = list(gaps(ROOT / "tests" / "adapters" / "sqs" / "test_service.py"))
    assert table.partition("\n\n")[0].splitlines() == rows
