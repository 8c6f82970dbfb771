"""`{command-help}`: what the command line says of itself, asked when the page is made."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

COLUMNS = 96


def help_of(*command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUEUE_CONSUMER_")}
    done = subprocess.run(
        [sys.executable, "-m", "queue_consumer", *command, "--help"],
        env={**environment, "COLUMNS": str(COLUMNS), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


class CommandHelp(SphinxDirective):
    """The help of the program, and then of each of its commands, in the order in which it names them."""

    def run(self) -> list[nodes.Node]:
        top = help_of()
        exits = top[top.index("exit codes:") :].strip()
        result: list[nodes.Node] = [nodes.literal_block(top, top, language="text")]
        for name in re.findall(r"^    (\w+) ", top, flags=re.MULTILINE):
            text = help_of(name).replace(exits, "").rstrip() + "\n"
            section = nodes.section("", nodes.title("", name), ids=[f"command-{name}"])
            section += nodes.literal_block(text, text, language="text")
            self.state.document.note_explicit_target(section)
            result.append(section)
        return result


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
