"""What docs/operating.md and docs/metrics.md show is so: commands parse, outputs are printed, tables are complete."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from queue_consumer.cli._exits import Exit
from queue_consumer.cli._main import parser
from queue_consumer.telemetry import names

DOCS = Path(__file__).resolve().parents[2] / "docs"
OPERATING = (DOCS / "operating.md").read_text()
CONSOLES = re.findall(r"^```console\n(.*?)^```$", OPERATING, flags=re.MULTILINE | re.DOTALL)
SHOWN = [console for console in CONSOLES if console.count("$ ") == 1 and len(console.splitlines()) > 1]


def test_every_command_is_one() -> None:
    """Whatever the page tells you to type, the command line takes."""
    typed = [line for console in CONSOLES for line in console.splitlines() if line.startswith("$ queue-consumer")]
    assert len(typed) > 10
    top, _ = parser()
    for line in typed:
        words = re.split(r" +#", line.removeprefix("$ queue-consumer "))[0].split()
        if words != ["--help"]:
            top.parse_args(words)


@pytest.mark.parametrize("console", SHOWN, ids=lambda console: console.splitlines()[0])
def test_what_is_shown_is_printed(console: str, tmp_path: Path) -> None:
    """Where an output is shown below a command, it is what the command prints."""
    shop = re.search(r"^```python\n(# shop\.py\n.*?)^```$", OPERATING, flags=re.MULTILINE | re.DOTALL)
    assert shop is not None
    (tmp_path / "shop.py").write_text(shop[1])
    command, _, output = console.partition("\n")
    words = command.removeprefix("$ queue-consumer ").split()
    done = subprocess.run(
        [sys.executable, "-m", "queue_consumer", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert (done.stdout, done.stderr) == (output, "")


def test_every_exit_code_is_told() -> None:
    """The table of exit codes has all of them."""
    rows = re.findall(r"^\| (\d+(?:, \d+)*) \|", OPERATING, flags=re.MULTILINE)
    assert {int(code) for row in rows for code in row.split(", ")} == {int(code) for code in Exit}


def test_every_metric_is_told() -> None:
    """The table of metrics is the module that names them."""
    rows = re.findall(
        r"^\| `([\w.]+)` \| `(\w+)` \| (\w+) \| (.*) \|$", (DOCS / "metrics.md").read_text(), re.MULTILINE
    )
    assert rows == [
        (metric.name, metric.prometheus, metric.kind, ", ".join(f"`{name}`" for name in metric.attributes) or "–")
        for metric in names.ALL
    ]
