"""The examples run as they are, and print what they say they print."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import textwrap
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from queue_consumer.testing import QueueContract

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SCRIPTS = sorted(path for path in EXAMPLES.glob("*.py") if not path.name.startswith("demo"))  # it has a test of its own


def promised(path: Path) -> str:
    """What the script's docstring says that it prints."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    _, found, output = text.partition("It prints:\n\n")
    assert found, f"the docstring of {path.name} should end with 'It prints:' and the output, indented"
    return textwrap.dedent(output).strip()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_example_prints_what_it_says(path: Path, tmp_path: Path) -> None:
    """Each example is a program: started as it is, it prints its output to the letter, and ends well."""
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == promised(path)
    assert (done.returncode, done.stderr) == (0, "")


class TestOwnQueue(QueueContract):
    """The queue that the examples show off keeps the promises of a queue."""

    verbs: ClassVar[Collection[str] | None] = {"cleanup", "release"}

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self._folder = tmp_path

    def make_queue(self) -> Any:
        spec = importlib.util.spec_from_file_location("own_queue", EXAMPLES / "own_queue.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self._bodies: dict[str, str] = {}
        return module.Folder(self._folder)

    def fill(self, queue: Any, bodies: Sequence[str]) -> None:
        for body in bodies:
            name = f"{len(self._bodies):03}"
            self._bodies[name] = body
            queue.add(name, body)

    def body_of(self, item: Path) -> str:
        return self._bodies[item.name]
