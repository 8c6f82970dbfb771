"""Runs a program that must not outlive its parent: `python leash.py PARENT PROGRAM ARGUMENTS…`.

Prints the process id of the program, and returns what it returns. When PARENT, who must be our parent, is gone, however
it went, the program is killed. What the program prints goes where our errors go.

It asks who our parent is, over and over, since that works on every system and from every thread of the parent. (Linux
has a signal for the death of a parent, but it comes when the thread that started us ends.)
"""

from __future__ import annotations

import os
import subprocess
import sys


def main(parent: int, command: list[str]) -> int:
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    print(program.pid, flush=True)
    while os.getppid() == parent:
        try:
            return program.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            pass
    program.kill()
    return program.wait()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
