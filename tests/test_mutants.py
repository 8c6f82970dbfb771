"""The mutants themselves: every patch says what it breaks, fits the code, and names tests that there are.

Whether those tests notice is for `make mutants`, which takes minutes.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mutants import run

PATCHES = run.paths()
SECTIONS = {
    "3",
    "4",
    "5",
    "6",
    "7",
    "8",
    "9",
    "10",
    "11",
}  # of the contract, those that make promises that tests can hold

every_patch = pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def package(root: Path) -> dict[str, str]:
    """The source files of the packages, by their paths from the top."""
    files = [path for folder in run.PACKAGES.values() for path in (root / folder).rglob("*.py")]
    return {path.relative_to(root).as_posix(): path.read_text() for path in files}


@every_patch
def test_patch_applies(path: Path, package: dict[str, str]) -> None:
    """Every patch fits the code as it is, in one place each, and leaves it Python."""
    mutant = run.read(path)
    broken: dict[str, str] = {}
    for hunk in mutant.hunks:
        assert hunk.file in package, f"there is no {hunk.file}"
        broken[hunk.file] = hunk.apply(broken.get(hunk.file, package[hunk.file]))
    for name, text in broken.items():
        compile(text, name, "exec", dont_inherit=True)


@every_patch
def test_patch_says_what_it_breaks(path: Path) -> None:
    """Every patch has a sentence that says which promise it breaks, of which section of the contract or adapter."""
    promise = run.read(path).promise
    assert re.fullmatch(r".{12,} \((?:SQS|[\d, a-z]+)\)", promise), promise
    assert len(promise) < 160


def test_every_section_has_mutants() -> None:
    """No section of the contract that makes promises is without mutants."""
    sections = {number for path in PATCHES for number in re.findall(r"\d+", run.read(path).promise.rpartition("(")[2])}
    assert sections >= SECTIONS


def test_patches_name_tests_that_there_are(root: Path) -> None:
    """Every named test is found by pytest."""
    tests = sorted({test for path in PATCHES for test in run.read(path).tests})
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", *tests]
    found = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=100, check=False)
    assert found.returncode == 0, found.stdout[-2000:] + found.stderr[-2000:]


# ---------------------------------------------------------------------------- the applier

TEXT = "one\ntwo\nthree\n\ntwo\nfour\n"


def patched(folder: Path, patch: str, head: str = "Promise: it holds (4)\nTest: tests/test_x.py::test_y\n\n") -> str:
    """What the text is with this patch."""
    path = folder / "some.patch"
    path.write_text(head + "--- a/queue_consumer/x.py\n+++ b/queue_consumer/x.py\n" + patch)
    text = TEXT
    for hunk in run.read(path).hunks:
        text = hunk.apply(text)
    return text


def test_hunks_are_found_by_their_lines(tmp_path: Path) -> None:
    """The numbers of a hunk mean nothing; its lines do, blank ones included, though an editor took their blank."""
    assert patched(tmp_path, "@@ -77,3 +1,3 @@\n three\n\n-two\n+TWO\n") == "one\ntwo\nthree\n\nTWO\nfour\n"
    assert patched(tmp_path, "@@ @@\n one\n+new\n@@ @@\n-four\n") == "one\nnew\ntwo\nthree\n\ntwo\n"


@pytest.mark.parametrize(
    ("patch", "sentence"),
    [
        ("@@ @@\n-five\n+six\n", "are not found in queue_consumer/x.py"),
        ("@@ @@\n-two\n+TWO\n", "are found 2 times"),
        ("@@ @@\n one\n-TWO\n+two\n", "are not found"),
    ],
)
def test_hunks_that_do_not_fit_are_refused(tmp_path: Path, patch: str, sentence: str) -> None:
    """A hunk whose lines are not there, or more than once, is no mutant: it says which lines, and in which file."""
    with pytest.raises(run.BadPatch, match=sentence):
        patched(tmp_path, patch)


@pytest.mark.parametrize(
    ("patch", "head", "sentence"),
    [
        ("", "Promise: it holds (4)\nTest: t\n", "no hunk"),
        ("@@ @@\n-two\n+TWO\n", "Test: t\n", "no Promise:"),
        ("@@ @@\n-two\n+TWO\n", "Promise: it holds (4)\n", "no Test:"),
        ("@@ @@\n two\n", "Promise: it holds (4)\nTest: t\n", "changes nothing"),
        ("@@ @@\n two\n*three\n", "Promise: it holds (4)\nTest: t\n", "neither context nor change"),
        ("@@ @@\n-two\n", "Promise: it holds (4)\nTest: t\nPerhaps: more\n", "neither Promise: nor Test: nor a diff"),
    ],
)
def test_patches_that_say_too_little_are_refused(tmp_path: Path, patch: str, head: str, sentence: str) -> None:
    """A patch without a promise, a test or a change is refused in a sentence."""
    with pytest.raises(run.BadPatch, match=sentence):
        patched(tmp_path, patch, head)


def test_only_packages_are_broken(tmp_path: Path) -> None:
    """A patch of anything else than the packages, of a test for instance, proves nothing."""
    path = tmp_path / "some.patch"
    path.write_text("Promise: it holds (4)\nTest: t\n--- a/tests/x.py\n+++ b/tests/x.py\n@@ @@\n-a\n+b\n")
    with pytest.raises(run.BadPatch, match=r"only queue_consumer, adapters/\S+ are to be broken"):
        run.read(path)


# ---------------------------------------------------------------------------- the verdict

GREEN = "def test_it() -> None:\n    from queue_consumer import Drop\n    assert Drop('why').reason == 'why'\n"
RED = "def test_it() -> None:\n    raise AssertionError\n"
HANGS = "def test_it() -> None:\n    import threading\n    threading.Event().wait()\n"
NO_TEST = "import nothing_of_this_name\n"


@pytest.mark.parametrize(("code", "how"), [(GREEN, "green"), (RED, "red"), (HANGS, "hung"), (NO_TEST, "broken")])
def test_only_a_test_that_fails_is_red(tmp_path: Path, root: Path, code: str, how: str) -> None:
    """A mutant is killed by a test that fails or hangs; one that cannot even be collected has noticed nothing."""
    copy = a_project(tmp_path, root, code)
    ran = run.run_tests(copy, ["tests/test_it.py::test_it"], "--timeout=2", limit=60)
    assert ran.how == how, ran.output
    assert ran.red == (["tests/test_it.py::test_it"] if how == "red" else []), ran.output


def test_the_copy_is_what_is_tested(tmp_path: Path, root: Path) -> None:
    """The tests of a mutant import the mutated package, in child processes too, wherever they run."""
    child = "import queue_consumer as q; print(q.__file__)"
    code = (
        "def test_it(tmp_path):\n"
        "    import pathlib, queue_consumer, subprocess, sys\n"
        f"    told = subprocess.run([sys.executable, '-c', {child!r}], cwd=tmp_path, capture_output=True, text=True)\n"
        "    for file in (queue_consumer.__file__, told.stdout):\n"
        "        assert pathlib.Path(file.strip()).parents[1] == pathlib.Path(__file__).parents[1], told\n"
    )
    copy = a_project(tmp_path, root, code)
    ran = run.run_tests(copy, ["tests/test_it.py"], limit=60)
    assert ran.how == "green", ran.output


def test_nothing_of_a_run_is_left_behind(tmp_path: Path, root: Path) -> None:
    """What a test has started and left, in a session of its own, ends with the run, and nobody waits for it."""
    started = tmp_path / "pid"
    command = [sys.executable, "-c", "import threading; threading.Event().wait()"]
    code = (
        "import os, pathlib\n"
        "def test_it():\n"
        f"    pid = os.posix_spawn({sys.executable!r}, {command!r}, os.environ, setsid=True)\n"
        f"    pathlib.Path({str(started)!r}).write_text(str(pid))\n"
    )
    ran = run.run_tests(a_project(tmp_path, root, code), ["tests/test_it.py"], limit=60)
    assert ran.how == "green", ran.output
    with contextlib.suppress(psutil.NoSuchProcess):
        assert psutil.Process(int(started.read_text())).status() == psutil.STATUS_ZOMBIE  # if nobody has buried it yet


def a_project(folder: Path, root: Path, code: str) -> Path:
    """A copy of the packages with one test, as the runner makes copies of the whole."""
    copy = folder.resolve() / "project"
    for package in run.PACKAGES.values():
        shutil.copytree(root / package, copy / package, ignore=shutil.ignore_patterns(*run.NOT_COPIED))
    shutil.copy(root / "pyproject.toml", copy)
    (copy / "tests").mkdir()
    (copy / "tests" / "test_it.py").write_text(code)
    run.guard(copy)
    return copy
