"""What a user installs: the wheel holds the package and nothing else, and each way to install it works.

Nothing here needs the network: the build back end is the one of the test group, and the one dependency is
taken from the environment that runs the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import typing_extensions

PROGRAM = """
import queue, queue_consumer
from queue_consumer import Consumer

seen = []
def handler(numbers):
    for number in numbers:
        seen.append(number)

numbers = queue.Queue()
for number in range(100):
    numbers.put(number)
with Consumer(numbers, handler, 1, 2) as consumer:
    assert consumer.wait_idle(30)
report = consumer.shutdown()
assert sorted(seen) == list(range(100)) and report.balanced, (seen, report)
print(queue_consumer.__file__)
"""


def pip(*arguments: object) -> None:
    """Runs this environment's pip, which asks no registry and builds with the back end that is installed."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, arguments)]
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run([*command, *offline], capture_output=True, text=True, env=without_python_settings())
    assert done.returncode == 0, done.stdout + done.stderr


def without_python_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


class Fresh:
    """A virtual environment that has never seen the project."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True)
        paths = {"base": str(folder), "platbase": str(folder)}
        self.folder = folder
        self.python = Path(sysconfig.get_path("scripts", "venv", paths)) / "python"
        self.packages = Path(sysconfig.get_path("purelib", "venv", paths))

    def install(self, *what: object) -> None:
        # The running pip sees its own, editable copy and would take that for an older one to remove.
        pip("install", "--ignore-installed", "--prefix", self.folder, *what)
        dependency = Path(typing_extensions.__file__)
        (self.packages / dependency.name).write_bytes(dependency.read_bytes())

    def run(self, program: str) -> str:
        done = subprocess.run([self.python, "-I", "-c", program], cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


@pytest.fixture
def fresh(tmp_path: Path) -> Fresh:
    return Fresh(tmp_path / "fresh")


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--wheel-dir", folder, root)
    (built,) = folder.glob("*.whl")
    return built


def shipped_folders(root: Path) -> list[Path]:
    return [root / "queue_consumer", *(root / "adapters").glob("queue_consumer_*")]


def test_wheel_holds_the_packages_and_nothing_else(root: Path, wheel: Path) -> None:
    """The wheel is the files of `queue_consumer` and of the adapters, each by its own name, and metadata."""
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == {
        path.relative_to(folder.parent).as_posix()
        for folder in shipped_folders(root)
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_is_typed_and_licensed(wheel: Path) -> None:
    """The wheel says that it is typed, runs on any platform, and brings its licence along."""
    held = zipfile.ZipFile(wheel).namelist()
    assert "queue_consumer/py.typed" in held
    assert wheel.name.endswith("-py3-none-any.whl")
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in held)


def test_wheel_needs_only_typing_extensions(wheel: Path) -> None:
    """A plain install brings one dependency; all others are extras."""
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    required = [
        line.removeprefix("Requires-Dist: ")
        for line in archive.read(metadata).decode().splitlines()
        if line.startswith("Requires-Dist: ") and "extra ==" not in line
    ]
    assert [line.partition(">")[0] for line in required] == ["typing-extensions"]


def test_the_wheel_works(wheel: Path, fresh: Fresh) -> None:
    """The built wheel, installed where nothing else is, consumes a queue."""
    fresh.install(wheel)
    assert Path(fresh.run(PROGRAM)).is_relative_to(fresh.packages)


def test_install_from_the_folder_works(root: Path, fresh: Fresh) -> None:
    """`pip install .` gives a package that consumes a queue, and is not the folder."""
    fresh.install(root)
    assert Path(fresh.run(PROGRAM)).is_relative_to(fresh.packages)


def test_editable_install_works(root: Path, fresh: Fresh) -> None:
    """`pip install -e .` gives the folder itself."""
    fresh.install("-e", root)
    assert Path(fresh.run(PROGRAM)) == root / "queue_consumer" / "__init__.py"
