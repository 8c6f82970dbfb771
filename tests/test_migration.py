"""The page for those who come from another library names what there is: each name in a right-hand column resolves."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest

import queue_consumer
import queue_consumer_sqs
from queue_consumer import Consumer, MemoryQueue, Supervision
from queue_consumer.jobs import BatchError, Jobs, Options
from queue_consumer.subscribers import DataSubscriber, Subscribers
from queue_consumer_sqs import SQS, PriorityBuses, SqsPublisher, SQSQueue
from queue_consumer_sqs.testing import MemorySQS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "migration.md"

MODULES = [
    "queue_consumer",
    "queue_consumer.jobs",
    "queue_consumer.observers",
    "queue_consumer.subscribers",
    "queue_consumer_sqs",
    "queue_consumer_sqs.aio",
    "queue_consumer_sqs.testing",
]


class Told(NamedTuple):
    """Inline code of the right-hand column of a table, and the line it stands on."""

    line: int
    code: str

    def __str__(self) -> str:
        return f"{self.line}: {self.code}"


def told(text: str) -> Iterator[Told]:
    """The code of the last columns of all tables whose first column is what it is called there."""
    for number, line in enumerate(text.splitlines(), start=1):
        cells = re.split(r"(?<!\\)\|", line)
        if line.startswith("|") and len(cells) == 4:
            for code in re.findall(r"`([^`]+)`", cells[2]):
                yield Told(number, code.replace("\\|", "|"))


def names() -> dict[str, Any]:
    """What the code on the page may begin with: public names, and the variables that the documents use."""
    known: dict[str, Any] = dict(vars(builtins))
    for module in map(importlib.import_module, MODULES):
        known |= {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    jobs = Jobs(MemoryQueue())
    task = jobs.connect("name", print)
    client = MemorySQS().client()
    SQS(client=client).create("orders")
    queue = SQSQueue("orders", client=client)
    queue.put("a body")
    known |= {"queue_consumer": queue_consumer, "queue_consumer_sqs": queue_consumer_sqs}
    known |= {"jobs": jobs, "task": task, "baked": task.bake(), "other": jobs, "process": print, "value": 1}
    known |= {"error": BatchError([])}
    known |= {"queue": queue, "dead": queue, "message": queue.receive(1)[0], "client": client, "stop": None}
    known |= {"item": 1, "items": [], "pattern": 1, "handler": print}
    return known | {"consumer": Consumer(MemoryQueue(), print)}


PLACES = [Consumer, Supervision, SQSQueue, PriorityBuses, SqsPublisher, SqsPublisher.publish, Subscribers, Jobs]
"""Where an option that stands alone, `wait_time=20`, may belong; and a task's."""


def options_of(function: Any) -> set[str]:
    """The names that it takes arguments by, those that it passes on included."""
    taken = set(inspect.signature(function).parameters)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            continue
        hint = get_type_hints(inspect.getattr_static(function, "__init__") if isinstance(function, type) else function)[
            name
        ]
        if get_args(hint):  # Unpack[a TypedDict]
            taken |= get_type_hints(get_args(hint)[0]).keys()
        else:  # those of a consumer, as `work` takes them, or those of a sending, as `send` does
            taken |= inspect.signature(Consumer).parameters.keys()
            taken |= {f"_{option}" for option in Options.__annotations__}
    return taken


class Resolver(ast.NodeVisitor):
    """Raises where a name, an attribute or a keyword leads nowhere."""

    def __init__(self, known: dict[str, Any]) -> None:
        self.known = known

    def found(self, node: ast.expr) -> Any:
        """What the name, or the name behind dots, stands for; None if that takes a call to know."""
        match node:
            case ast.Name(id=name):
                assert name in self.known, f"there is no {name}"
                return self.known[name]
            case ast.Attribute(value=value, attr=attr):
                owner = self.found(value)
                if owner is None:
                    return None
                declared = getattr(owner, "__annotations__", {})
                assert hasattr(owner, attr) or attr in declared, f"{ast.unparse(value)} has no {attr}"
                return getattr(owner, attr, None)
            case _:
                self.visit(node)
                return None

    def visit_Name(self, node: ast.Name) -> None:
        self.found(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.found(node)

    def visit_Call(self, node: ast.Call) -> None:
        function = self.found(node.func)
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            self.visit(argument)
        if function is not None and node.keywords:
            strange = [keyword.arg for keyword in node.keywords if keyword.arg not in options_of(function)]
            assert not strange, f"{ast.unparse(node.func)} takes no {strange[0]}"


NAMES = names()
OPTIONS = {name for place in [*PLACES, Jobs.connect] for name in options_of(place)} | vars(DataSubscriber).keys()
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def resolve(code: str) -> None:
    """An option of the command line, an extra, an option with its equals sign, or else an expression."""
    if code.startswith("--"):
        sources = (path.read_text(encoding="utf-8") for path in ROOT.glob("queue_consumer/cli/*.py"))
        assert any(f'"{code}"' in source for source in sources), f"the command line has no {code}"
        return
    if extra := re.fullmatch(r"queue-consumer\[(\w+)\]", code):
        assert extra[1] in EXTRAS, f"there is no extra {extra[1]}"
        return
    if option := re.fullmatch(r"(\w+)=(.*)", code):
        assert option[1] in OPTIONS, f"nothing has an option {option[1]}"
        code = option[2]
    Resolver(NAMES).visit(ast.parse(code.removeprefix("@")))


@pytest.mark.parametrize("it", list(told(PAGE.read_text(encoding="utf-8"))), ids=str)
def test_name_on_the_right_exists(it: Told) -> None:
    """What the page says that something is called here can be imported, has that attribute, takes that option."""
    resolve(it.code)


@pytest.mark.parametrize(
    "code", ["Consumers(queue)", "consumer.begin()", "Consumer(queue, threads=2)", "wait=20", "--lag", "jobs.send.off"]
)
def test_name_that_there_is_not_is_found_out(code: str) -> None:
    """A name, an attribute or an option that does not exist is an error here, so that the check is one."""
    with pytest.raises(AssertionError):
        resolve(code)
