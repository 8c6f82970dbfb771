"""`make mutants`: break one promise of the contract after another, and see that a test notices each.

Every `*.patch` beside this file breaks one promise, and says which, and which tests must turn red with it:

    Promise: what holds no longer (section of the contract, or the adapter)
    Test: tests/test_x.py::test_y[parameters]

    --- a/queue_consumer/z.py
    +++ b/queue_consumer/z.py
    @@ @@
    …

Each is applied to a copy of the project, and its tests are run there. Hunks are found by their lines and not by their
numbers, so that a patch stays good while code around it changes; where its lines are not found, or more than once, the
patch has to be made anew. First the named tests are run as they are: one that is red by itself proves nothing.

    tests/mutants/run.py                all of them
    tests/mutants/run.py NAME … -j 4    some of them, four at a time
    tests/mutants/run.py --list         what there is
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PACKAGES = {"queue_consumer": "queue_consumer", "queue_consumer_sqs": "adapters/queue_consumer_sqs"}
TIME = 15.0  # seconds for one test of a mutant, which takes a fraction of it without; a hang is a failure, too
LONGEST = 120.0  # seconds for all the tests of one mutant
NOT_COPIED = (".*", "__pycache__", "*.egg-info", "results", "build", "dist")
RED = re.compile(r"^(?:FAILED|ERROR) (tests/\S+?\.py::[^\[\n]+?(?:\[[^\n]*?\])?)(?: - .*)?$", re.MULTILINE)
GUARD = "mutant_guard"  # a plugin of pytest's, written into each copy


class BadPatch(Exception):
    """A patch that cannot be read or applied; the sentence says why."""


@dataclass
class Hunk:
    """Lines of one file to be replaced by others."""

    file: str
    before: list[str] = field(default_factory=list[str])
    after: list[str] = field(default_factory=list[str])

    def apply(self, text: str) -> str:
        """The text with the hunk applied.

        Raises:
            BadPatch: its lines are not in the text, or more than once.
        """
        lines, size = text.split("\n"), len(self.before)
        found = [at for at in range(len(lines) - size + 1) if lines[at : at + size] == self.before]
        if len(found) != 1:
            times = "are not found" if not found else f"are found {len(found)} times"
            raise BadPatch(f"these lines {times} in {self.file}:\n" + "\n".join(f"    |{line}" for line in self.before))
        (at,) = found
        return "\n".join([*lines[:at], *self.after, *lines[at + size :]])


@dataclass
class Mutant:
    """One patch: what it breaks, and who must notice."""

    name: str
    promise: str
    tests: list[str]
    hunks: list[Hunk]

    def apply(self, root: Path) -> None:
        """Break the promise in this copy of the project.

        Raises:
            BadPatch: the patch does not fit, or makes no Python of it.
        """
        for hunk in self.hunks:
            path = root / hunk.file
            if not path.is_file():
                raise BadPatch(f"there is no {hunk.file}")
            path.write_text(hunk.apply(path.read_text()))
        for name in {hunk.file for hunk in self.hunks}:
            try:
                compile((root / name).read_text(), name, "exec", dont_inherit=True)
            except SyntaxError as error:
                raise BadPatch(f"with it {name} is no Python: {error}") from None


def read(path: Path) -> Mutant:
    """The mutant in a file.

    Raises:
        BadPatch: it has no promise, no test or no hunk, or is no unified diff of the package.
    """
    mutant = Mutant(path.stem, "", [], [])
    file = ""
    hunk: Hunk | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("--- "):
            file, hunk = "", None
        elif line.startswith("+++ ") and not file:
            file = line.removeprefix("+++ ").removeprefix("b/").strip()
            if not file.startswith(tuple(f"{folder}/" for folder in PACKAGES.values())):
                raise BadPatch(f"line {number}: only {', '.join(PACKAGES.values())} are to be broken, and not {file}")
        elif line.startswith("@@") and file:
            hunk = Hunk(file)
            mutant.hunks.append(hunk)
        elif hunk is not None:
            kind, rest = line[:1] or " ", line[1:]  # an editor may have taken the blank of an empty line
            if kind not in " -+":
                raise BadPatch(f"line {number}: neither context nor change: {line!r}")
            if kind != "+":
                hunk.before.append(rest)
            if kind != "-":
                hunk.after.append(rest)
        elif line.startswith("Promise:"):
            mutant.promise = line.removeprefix("Promise:").strip()
        elif line.startswith("Test:"):
            mutant.tests.append(line.removeprefix("Test:").strip())
        elif line.strip():
            raise BadPatch(f"line {number}: neither Promise: nor Test: nor a diff: {line!r}")
    for what, there in (("Promise:", mutant.promise), ("Test:", mutant.tests), ("hunk", mutant.hunks)):
        if not there:
            raise BadPatch(f"it has no {what}")
    if any(hunk.before == hunk.after for hunk in mutant.hunks):
        raise BadPatch("it changes nothing")
    return mutant


def paths() -> list[Path]:
    """All patches that there are."""
    return sorted(HERE.glob("*.patch"))


class Ran(NamedTuple):
    """How a run of tests ended. `red`: the tests that failed, as pytest named them."""

    how: Literal["green", "red", "hung", "broken"]
    red: list[str]
    output: str
    seconds: float


class Outcome(NamedTuple):
    """What became of one mutant. `said`: in a line; `details`: for whoever has to mend it."""

    name: str
    killed: bool
    said: str
    details: str = ""


def copied(to: Path) -> Path:
    """A copy of the project, without what can be made anew."""
    copy = to / "project"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
    guard(copy)
    return copy


def guard(copy: Path) -> None:
    """Have pytest refuse to run in this copy if what its tests would import is not the copy."""
    (copy / f"{GUARD}.py").write_text(GUARD_CODE.format(packages=", ".join(PACKAGES), copy=str(copy)))


# Of a mutant that is not what the tests import, nothing would turn red.
GUARD_CODE = """
import pathlib, {packages}

for package in ({packages}):
    found = pathlib.Path(package.__file__).resolve()
    if pathlib.Path({copy!r}).resolve() not in found.parents:
        raise ImportError(f"the tests would import {{found}} and not the copy")
"""


def run_tests(copy: Path, tests: Sequence[str], *options: str, limit: float) -> Ran:
    """Run these tests in a copy of the project, child processes included, for `limit` seconds at most."""
    command = [sys.executable, "-m", "pytest", "-p", GUARD, "-p", "no:cacheprovider", "-q", "--tb=short", *options]
    sources = os.pathsep.join([str(copy), str(copy / "adapters")])
    environment = {**os.environ, "PYTHONPATH": sources, "PYTHONDONTWRITEBYTECODE": "1"}
    began = time.monotonic()
    with tempfile.TemporaryFile() as file:  # and not a pipe, whose end would wait for whoever was left behind
        process = subprocess.Popen(
            [*command, *tests],
            cwd=copy,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(limit)
            hung = False
        except subprocess.TimeoutExpired:
            hung = True
        finally:
            end(copy)
            process.wait()
        file.seek(0)
        output = file.read().decode(errors="replace")
    seconds = time.monotonic() - began
    red = list(dict.fromkeys(RED.findall(output)))
    if hung or "+++ Timeout +++" in output:  # as pytest-timeout says it
        return Ran("hung", red, output, seconds)
    # 1 is all that says "tests failed"; others are a wrong name, an import that fails, a pytest that stumbles.
    how: dict[int, Literal["green", "red"]] = {0: "green", 1: "red"}
    return Ran(how.get(process.returncode, "broken"), red, output, seconds)


def end(copy: Path) -> None:
    """Whatever still runs of this copy, in whatever session: they are known by their environment."""
    while left := [process for process in psutil.process_iter() if runs_in(process, copy)]:
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=1)


def runs_in(process: psutil.Process, copy: Path) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and str(copy) in process.environ().get("PYTHONPATH", "")
    except psutil.Error:
        return False  # gone, or somebody else's


def judge(mutant: Mutant) -> Outcome:
    """Apply one mutant to a copy, and say whether its tests notice."""
    with tempfile.TemporaryDirectory(prefix=f"mutant-{mutant.name}-", ignore_cleanup_errors=True) as folder:
        copy = copied(Path(folder))
        try:
            mutant.apply(copy)
        except BadPatch as error:
            return Outcome(mutant.name, False, "does not apply", str(error))
        ran = run_tests(copy, mutant.tests, "-x", f"--timeout={TIME:g}", limit=LONGEST)
    match ran.how:
        case "red":
            return Outcome(mutant.name, True, f"killed by {', '.join(ran.red or mutant.tests)} ({ran.seconds:.1f} s)")
        case "hung":
            return Outcome(mutant.name, True, f"killed: it hangs in {' or '.join(mutant.tests)}")
        case "green":
            details = [f"though this holds no longer: {mutant.promise}", *mutant.tests]
            return Outcome(mutant.name, False, "SURVIVED", "\n".join(details))
        case "broken":
            return Outcome(mutant.name, False, "its tests do not run", ran.output)


def verify(mutants: Sequence[Mutant]) -> str:
    """Run all named tests without any mutant; what is wrong, empty if they are green."""
    tests = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    with tempfile.TemporaryDirectory(prefix="mutant-none-", ignore_cleanup_errors=True) as folder:
        ran = run_tests(copied(Path(folder)), tests, limit=LONGEST + 10 * len(tests))
    if ran.how == "green":
        print(f"{len(tests)} named tests are green without any mutant ({ran.seconds:.0f} s)", flush=True)
        return ""
    return f"{ran.output}\nnot all of the {len(tests)} named tests are green without any mutant: {ran.how}"


def chosen(names: Sequence[str]) -> Iterator[Path]:
    """The patches of these names, all if there are none."""
    there = {path.stem: path for path in paths()}
    for name in names or there:
        name = Path(name).name.removesuffix(".patch")
        if name not in there:
            raise SystemExit(f"there is no mutant {name!r}; --list shows what there is")
        yield there[name]


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every mutant was killed, 1 if not."""
    parser = argparse.ArgumentParser(description="Breaks promises of the contract, one by one; tests must notice.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these mutants")
    parser.add_argument("-j", "--jobs", type=int, default=2, metavar="N", help="so many at a time (2)")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    options = parser.parse_args(arguments)
    mutants: list[Mutant] = []
    bad: list[Outcome] = []
    for path in chosen(options.names):
        try:
            mutants.append(read(path))
        except BadPatch as error:
            bad.append(Outcome(path.stem, False, "cannot be read", str(error)))
    if options.list:
        for mutant in mutants:
            print(f"{mutant.name}: {mutant.promise}", *(f"    {test}" for test in mutant.tests), sep="\n")
    elif mutants:
        wrong = verify(mutants)
        if wrong:
            print(wrong)
            return 1
    outcomes = list(bad)
    for outcome in bad:
        tell(outcome)
    if not options.list:
        with ThreadPoolExecutor(max(1, options.jobs)) as workers:
            for outcome in workers.map(judge, mutants):
                tell(outcome)
                outcomes.append(outcome)
        killed = sum(outcome.killed for outcome in outcomes)
        print(f"{killed} of {len(outcomes)} mutants killed")
        for outcome in outcomes:
            if not outcome.killed:
                print(f"  {outcome.name}: {outcome.said}")
    return 0 if all(outcome.killed for outcome in outcomes) else 1


def tell(outcome: Outcome) -> None:
    print(f"{outcome.name}: {outcome.said}", flush=True)
    if outcome.details:
        print(*(f"    {line}" for line in outcome.details.splitlines()[-40:]), sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
