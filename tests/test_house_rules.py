"""The laws of the house, read off the source: which file may import which, and what a public name is.

A new file in `queue_consumer/` needs a place in `FLOORS`. The files of one row do not import each other;
whoever needs to look up has found something that wants to be a value or a callable.
"""

from __future__ import annotations

import ast
import importlib
import io
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

FLOORS: tuple[tuple[str, ...], ...] = (
    ("_bells", "_errors", "_lifecycle", "_queues", "_signals", "_status"),
    ("_chunk", "_custody", "_ledger", "_loops", "_standard_queues", "_supervision"),
    ("_current", "_events", "_keys", "_port", "policies"),
    ("_lanes",),
    ("_arguments", "_belt"),
    ("_line",),
    ("_cleaner",),
    ("_settling",),
    ("_getter", "_keeper"),
    ("_pools",),  # a package is one place: its own files may import each other
    ("_stations",),
    ("_drain", "_once"),
    ("_supervisor",),
    ("_consumer",),
    ("handlers", "memory", "observers"),
    ("__init__",),
)
ROOMS = ("__main__", "cli", "jobs", "subscribers", "telemetry", "testing")
PURE = ("_chunk", "_supervision", "_lifecycle", "policies")
IMPURE = {"threading", "time", "queue", "concurrent", "asyncio", "logging"}

ROOT = Path(__file__).resolve().parent.parent
CORE = "queue_consumer"
ADAPTERS = sorted(path for path in (ROOT / "adapters").glob("queue_consumer_*") if path.is_dir())


class Import(NamedTuple):
    """One module that a file imports, and the name it takes from it, if it takes one."""

    module: str
    name: str | None
    line: int

    def __str__(self) -> str:
        return f"line {self.line}: {self.module}" + (f".{self.name}" if self.name else "")

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def place(self) -> str | None:
        """The place in the core that this leads to, `__init__` for the package itself; None if outside."""
        if self.top != CORE:
            return None
        path = self.module.split(".")[1:]
        if not path and self.name and is_module(f"{CORE}.{self.name}"):
            path = [self.name]
        return path[0] if path else "__init__"


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def module_name(path: Path) -> str:
    """The dotted name of a file, as it is imported."""
    base = ROOT / "adapters" if (ROOT / "adapters") in path.parents else ROOT
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def imports(path: Path) -> tuple[Import, ...]:
    """All imports of a file, those inside functions and under TYPE_CHECKING too, relative ones resolved."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]

    def found() -> Iterator[Import]:
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Import):
                yield from (Import(alias.name, None, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) + 1 - node.level] if node.level else []
                module = ".".join([*above, *([node.module] if node.module else [])])
                yield from (Import(module, alias.name, node.lineno) for alias in node.names)

    return tuple(found())


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def place_of(path: Path) -> str:
    """The row entry that a file of the core falls under: its own name, or that of its package."""
    first = path.relative_to(ROOT / CORE).parts[0]
    return first.removesuffix(".py")


def floor_of(place: str) -> int | None:
    return next((number for number, places in enumerate(FLOORS) if place in places), None)


def in_room(path: Path) -> bool:
    return (ROOT / CORE) in path.parents and place_of(path) in ROOMS


CORE_FILES = [path for path in sources(CORE) if not in_room(path)]
ROOM_FILES = [path for path in sources(CORE) if in_room(path)]
TENANTS = [*ROOM_FILES, *sources("adapters", "examples", "benchmarks")]  # all who live by public names alone
TEST_FILES = sources("tests")


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


every_core_file = pytest.mark.parametrize("path", CORE_FILES, ids=label)
every_tenant = pytest.mark.parametrize("path", TENANTS, ids=label)
every_test_file = pytest.mark.parametrize("path", TEST_FILES, ids=label)


# Floors


@every_core_file
def test_every_file_has_a_floor(path: Path) -> None:
    """A file of the core stands in FLOORS or in ROOMS, and what stands there exists."""
    assert floor_of(place_of(path)) is not None, f"give {label(path)} a floor in {label(Path(__file__))}"


def test_floors_name_only_what_exists() -> None:
    """The table of floors is the table of contents: no row entry without its file."""
    names = [place for places in (*FLOORS, ROOMS, PURE) for place in places]
    assert [name for name in names if not is_module(f"{CORE}.{name}")] == []


@every_core_file
def test_imports_run_downhill(path: Path) -> None:
    """A file imports only from floors below its own, so there is no cycle; rooms stand on no floor."""
    own_place, own_floor = place_of(path), floor_of(place_of(path))
    assert own_floor is not None
    uphill: list[str] = []
    for imported in imports(path):
        place = imported.place
        if place is None or (place == own_place and path.parent != ROOT / CORE):
            continue
        floor = floor_of(place)
        if floor is None or floor >= own_floor:
            uphill.append(str(imported))
    assert uphill == []


def test_no_import_cycles() -> None:
    """No file of the package reaches itself by imports, within `_pools` and within a room neither."""
    graph: dict[str, set[str]] = {}
    for path in sources(CORE):
        targets = graph.setdefault(module_name(path), set())
        for imported in imports(path):
            deeper = f"{imported.module}.{imported.name}"
            targets.add(deeper if imported.name and is_module(deeper) else imported.module)

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += graph.get(module, ())
        return seen

    assert [module for module in graph if module in reach(module)] == []


# Who may import what


@every_core_file
def test_core_imports_no_third_party(path: Path) -> None:
    """The core imports the standard library and typing-extensions, nothing else."""
    allowed = {*sys.stdlib_module_names, "typing_extensions", CORE}
    assert [str(imported) for imported in imports(path) if imported.top not in allowed] == []


@pytest.mark.parametrize("place", PURE)
def test_pure_files_know_no_clock_and_no_thread(place: str) -> None:
    """What decides touches nothing: no threads, no clock, no queue, no loop, no log."""
    path = ROOT / CORE / f"{place}.py"
    assert [str(imported) for imported in imports(path) if imported.top in IMPURE] == []


def test_boto3_is_imported_in_one_file() -> None:
    """What talks to AWS is one file, whatever else there is: the rest can be tested and typed without it."""
    users = {
        label(path)
        for path in sources(CORE, "adapters")
        for imported in imports(path)
        if imported.top in ("boto3", "botocore")
    }
    assert len(users) <= 1, sorted(users)


@every_tenant
def test_rooms_and_adapters_use_public_names(path: Path) -> None:
    """Rooms, adapters, examples and benchmarks have of the core what a user has: what `__all__` lists."""
    private = [
        str(imported)
        for imported in imports(path)
        if imported.top == CORE
        and not (in_room(path) and imported.place == place_of(path))  # a room may have rooms of its own
        and not is_public(imported)
    ]
    reached = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Attribute)
        and is_private(node.attr)
        and ast.unparse(node.value).partition(".")[0] == CORE
    ]
    assert private + reached == []


@pytest.mark.parametrize("path", ROOM_FILES, ids=label)
def test_rooms_do_not_use_each_other_nor_adapters(path: Path) -> None:
    """A room can be taken away without another noticing; only the command line may use all of them."""
    others = {*ROOMS, *(adapter.name for adapter in ADAPTERS)} - {place_of(path)}
    assert [
        str(imported)
        for imported in imports(path)
        if place_of(path) not in ("cli", "__main__") and (imported.place in others or imported.top in others)
    ] == []


def test_importing_the_package_loads_no_third_party() -> None:
    """`import queue_consumer` loads the standard library and typing_extensions, as the interpreter tells."""
    script = (
        "import sys; before = set(sys.modules); import queue_consumer\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    # multiprocessing gives __main__ a second name when it is imported.
    loaded = set(done.stdout.split()) - set(sys.stdlib_module_names) - {"__mp_main__"}
    assert loaded <= {CORE, "typing_extensions"}


# Adapters


def test_adapters_is_a_source_root_and_not_a_package() -> None:
    """`adapters/` holds packages named queue_consumer_…, and is not one: the name is taken."""
    inside = {path.name for path in (ROOT / "adapters").iterdir()} - {"__pycache__"}
    assert inside == {"README.md", *(adapter.name for adapter in ADAPTERS)}


def test_every_adapter_ships_typed() -> None:
    """The wheel lists the core and each folder of `adapters/`, and each of them says that it is typed."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(shipped) == sorted([CORE, *(f"adapters/{adapter.name}" for adapter in ADAPTERS)])
    assert [folder for folder in shipped if not (ROOT / folder / "py.typed").exists()] == []


# Public names


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def is_public(imported: Import) -> bool:
    """Whether a user may write this import: no private module on the way, and a name that `__all__` lists."""
    if any(map(is_private, imported.module.split("."))):
        return False
    if imported.name is None or is_module(f"{imported.module}.{imported.name}"):
        return not is_private(imported.name or "")
    return imported.name in importlib.import_module(imported.module).__all__


PUBLIC_MODULES = [
    module_name(path)
    for path in sources(CORE, "adapters")
    if not any(part.startswith("_") for part in module_name(path).split(".")) and path.name != "__main__.py"
]


def gathered(path: Path) -> set[str]:
    """What the front door of a package takes in from its files, which it can only do to offer it."""
    if path.name != "__init__.py":
        return set()
    return {
        alias.asname or alias.name
        for node in parse(path).body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
        if not alias.name.startswith("_")
    }


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_all_is_honest(name: str) -> None:
    """`__all__` names what exists, once, nothing private, all that is offered; sorted, or in groups."""
    module = importlib.import_module(name)
    assert module.__file__ is not None
    path = Path(module.__file__)
    listed: list[str] = list(module.__all__)
    assert len(listed) == len(set(listed)), "a name is listed twice"
    assert [entry for entry in listed if not hasattr(module, entry)] == [], "listed, but not there"
    assert [entry for entry in listed if is_private(entry)] == [], "listed, but private"
    assert sorted(gathered(path) - set(listed)) == [], "offered, but not listed"
    assert listed == sorted(listed) or has_groups(path), "neither sorted nor grouped under comments"


def has_groups(path: Path) -> bool:
    """Whether comments stand between the names of `__all__`."""
    (listing,) = (node for node in parse(path).body if ast.unparse(node).startswith("__all__"))
    assert listing.end_lineno is not None
    return any(listing.lineno <= line <= listing.end_lineno for line in comments(path))


# Tests


@cache
def comments(path: Path) -> frozenset[int]:
    """The lines of a file that carry a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    return frozenset(token.start[0] for token in tokens if token.type == tokenize.COMMENT)


@every_test_file
def test_every_test_states_its_rule(path: Path) -> None:
    """A test is named like its rule and has the rule as its docstring."""
    silent = [
        f"line {node.lineno}: {node.name}"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and path.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


@every_test_file
def test_skips_say_why(path: Path) -> None:
    """No test is skipped or expected to fail without a reason in its mark."""
    unexplained: list[str] = []
    for node in ast.walk(parse(path)):
        match node:
            case ast.Call(func=ast.Attribute(attr="skip" | "skipif" | "xfail") as mark):
                texts = [keyword.value for keyword in node.keywords if keyword.arg == "reason"]
                if mark.attr != "skipif":
                    texts += node.args
                if not any(not isinstance(text, ast.Constant) or text.value for text in texts):
                    unexplained.append(f"line {node.lineno}: {ast.unparse(node)}")
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                unexplained += [
                    f"line {decorator.lineno}: {ast.unparse(decorator)}"
                    for decorator in node.decorator_list
                    if ast.unparse(decorator).endswith((".skip", ".skipif", ".xfail"))
                ]
            case _:
                pass
    assert unexplained == []


@every_test_file
def test_sleeps_say_what_they_wait_for(path: Path) -> None:
    """A sleep in a test has a comment, on its line or just above: what cannot be waited for otherwise."""
    bare = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("time.sleep", "sleep", "asyncio.sleep")
        and [ast.unparse(argument) for argument in node.args] != ["0"]
        and not {node.lineno, node.lineno - 1} & comments(path)
    ]
    assert bare == []
