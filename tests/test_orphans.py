"""Programs with children: what stays when the program is killed, what Ctrl-C does, and which scripts are refused."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from support import orphanage
from support.deaths import PATIENCE, Diary, gate
from support.line_pools import PoolKind, every_process_pool

# Where children read the script again.
re_reading = pytest.mark.parametrize("context", ["forkserver", "spawn"])


class Program:
    """`orphanage.py`, in a process group of its own."""

    def __init__(self, folder: Path, context: str | None, what: str) -> None:
        self.notes = Diary(folder / "notes")
        self.process = subprocess.Popen(
            [sys.executable, orphanage.__file__, str(context), what],
            env=environment(ORPHANAGE=str(folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for_notes(self, word: str, count: int) -> None:
        """Wait until there are so many notes with this word."""
        self.notes.wait_for(lambda lines: sum(word in line.name for line in lines) >= count)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


def environment(**more: str) -> dict[str, str]:
    """Ours, with buffers where there are usually some."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | more


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    """Whatever a failing test leaves of these is killed."""
    started: list[Program] = []
    yield started
    for program in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.process.pid, signal.SIGKILL)
        program.process.communicate()


# ------------------------------------------------------------------ orphans


@pytest.mark.parametrize("what", ["busy", "initializing"])
@every_process_pool
def test_no_orphans(pool: PoolKind, what: str, tmp_path: Path, programs: list[Program]) -> None:
    """When the parent is killed with SIGKILL every child ends by itself, be it asleep or busy or not yet ready."""
    program = Program(tmp_path, pool.mp_context, what)
    programs.append(program)
    program.wait_for_notes("has" if what == "busy" else "initializes", 2)
    family = program.family()
    assert len(family) >= 2
    program.process.kill()
    program.process.communicate()
    _, alive = psutil.wait_procs(family, timeout=PATIENCE)
    assert not alive, f"they outlived their parent: {[process.cmdline() for process in alive]}"


# ------------------------------------------------------------------ Ctrl-C


@every_process_pool
def test_ctrl_c_for_the_whole_group_drains(pool: PoolKind, tmp_path: Path, programs: list[Program]) -> None:
    """SIGINT to parent and children at once: the children finish what they hold, the parent drains and exits with 0."""
    with gate(tmp_path / "gate") as open_gate:
        program = Program(tmp_path, pool.mp_context, "run")
        programs.append(program)
        program.wait_for_notes("has", 2)
        os.killpg(program.process.pid, signal.SIGINT)
        assert program.process.stderr is not None
        assert program.process.stderr.readline().startswith("draining "), "the parent has heard it"
        open_gate()
        code, out, err = program.end()
    assert code == 0, err
    assert "cleaned 2, released 2, failed 0" in out
    assert "Traceback" not in err, err


# ------------------------------------------------------------------ output


@every_process_pool
def test_what_children_print_is_printed_once(pool: PoolKind, tmp_path: Path, programs: list[Program]) -> None:
    """What stands in a child's buffer is written when it ends, and what stood in its parent's is not written again."""
    program = Program(tmp_path, pool.mp_context, "print")
    programs.append(program)
    code, out, err = program.end()
    assert code == 0, err
    assert sorted(out.splitlines()) == ["before", "said 0", "said 1", "said 2", "said 3"]


# ------------------------------------------------------------------ scripts that are refused

SCRIPT = """
from queue_consumer import Consumer, MemoryQueue

def handler(items):
    for item in items:
        print(f"handled {{item}}\\n", end="")

{guard}with Consumer(MemoryQueue([1, 2, 3]), handler, pool="processes", mp_context={context!r}) as consumer:
    consumer.wait_idle(30)
"""


def run(*arguments: Any, script: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        input=script,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@re_reading
def test_an_unguarded_script_is_refused(context: str, tmp_path: Path) -> None:
    """A script that would start a consumer in each of its children, and so on, is told what to write."""
    path = tmp_path / "unguarded.py"
    path.write_text(SCRIPT.format(guard="", context=context))
    done = run(path)
    assert done.returncode != 0
    assert 'must start its consumer under `if __name__ == "__main__":`' in done.stderr
    assert "handled" not in done.stdout


@every_process_pool
def test_a_guarded_script_runs(pool: PoolKind, tmp_path: Path) -> None:
    """The same script with the guard handles its items, in children that have its handler from `__main__`."""
    path = tmp_path / "guarded.py"
    path.write_text(SCRIPT.format(guard='if __name__ == "__main__":\n  ', context=pool.mp_context))
    done = run(path)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["handled 1", "handled 2", "handled 3"]
    assert not done.stderr


def test_with_fork_a_script_needs_no_guard(tmp_path: Path) -> None:
    """A forked child does not read the script again."""
    path = tmp_path / "unguarded.py"
    path.write_text(SCRIPT.format(guard="", context="fork"))
    done = run(path)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["handled 1", "handled 2", "handled 3"]


@re_reading
@pytest.mark.parametrize("how", ["standard input", "-c"])
def test_a_handler_that_is_in_no_file_is_refused(context: str, how: str) -> None:
    """A child could not read it again, so the constructor says so."""
    script = SCRIPT.format(guard="", context=context)
    done = run("-", script=script) if how == "standard input" else run("-c", script)
    assert done.returncode != 0
    assert "handler must be importable by a child process" in done.stderr
    assert "put it into a file" in done.stderr


FORKING = """
import os, sys, time
from queue_consumer import Consumer, MemoryQueue
from support.orphanage import busy, note

if __name__ == "__main__":
    with Consumer(MemoryQueue(range(2)), busy, pool="processes", mp_context={context!r}, max_handlers=2):
        if os.fork() == 0:
            os.setsid()
            note(f"{{os.getpid()}} is a bystander")
            time.sleep(3600)
        time.sleep(3600)
"""


@every_process_pool
def test_no_orphans_though_the_program_has_forked(pool: PoolKind, tmp_path: Path) -> None:
    """A process that the program forked, and that lives on, does not keep up the appearance of a parent."""
    path = tmp_path / "forking.py"
    path.write_text(textwrap.dedent(FORKING.format(context=pool.mp_context)))
    notes = Diary(tmp_path / "notes")
    tests = Path(orphanage.__file__).parent.parent
    search = os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")])
    program = subprocess.Popen([sys.executable, str(path)], env=environment(ORPHANAGE=str(tmp_path), PYTHONPATH=search))
    bystanders: list[int] = []
    try:
        lines = notes.wait_for(lambda lines: len(lines) == 3)
        bystanders = [line.pid for line in lines if "bystander" in line.name]
        # What Python keeps for itself does live as long as a copy of its program.
        family = [psutil.Process(line.pid) for line in lines if "has" in line.name]
        program.kill()
        program.wait()
        _, alive = psutil.wait_procs(family, timeout=PATIENCE)
        assert not alive, f"they outlived their parent: {[process.cmdline() for process in alive]}"
    finally:
        program.kill()
        program.wait()
        for bystander in bystanders:
            os.kill(bystander, signal.SIGKILL)
