"""How the command line ends: a table of exit codes, and the error that carries one."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["EXIT_CODES", "CommandError", "Exit"]


class Exit(IntEnum):
    """What a shell, a process manager or an orchestrator is told. Never 0 after a crash."""

    CLEAN = 0
    UNEXPECTED = 1
    USAGE = 2
    UNREACHABLE = 3
    GAVE_UP = 4
    LATE = 5
    INTERRUPTED = 130
    TERMINATED = 143


EXIT_CODES = {
    Exit.CLEAN: "clean",
    Exit.UNEXPECTED: "unexpected: a bug, or a copy crashed, replaced or not; `check`: something would go wrong",
    Exit.USAGE: "wrong usage, or the target cannot be imported or made",
    Exit.UNREACHABLE: "the source cannot be reached, or not be used, at the start",
    Exit.GAVE_UP: "the supervisor gave up, as on a crash loop or too many stuck handlers",
    Exit.LATE: "the drain deadline was missed: what ran was ended by force, its items given back or abandoned",
    Exit.INTERRUPTED: "forced to stop by a second signal, and that was SIGINT",
    Exit.TERMINATED: "forced to stop by a second signal, and that was SIGTERM",
}


class CommandError(Exception):
    """The command ends here: a sentence for standard error, and an exit code."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message, code)
        self.message, self.code = message, code

    def __str__(self) -> str:
        return self.message
