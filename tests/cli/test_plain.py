"""What others wrote cannot give orders to a terminal: in log lines, in `peek`, in `top`, in sentences about errors."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from queue_consumer.cli import main
from queue_consumer.cli._logs import JsonFormatter, TextFormatter
from queue_consumer.cli._plain import json_of, plain
from queue_consumer.cli._sights import lines_of, sights_of
from support import cli_queues
from support.cli_sights import answer

HARM = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2028\x7f\r\n\ud800"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, 1 €, ü, 漢字, 🙂", "plain words, 1 €, ü, 漢字, 🙂"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\rb\nc\td", "a\\x0db\\x0ac\\x09d"),
        ("\x00\x07\x7f\x9b", "\\x00\\x07\\x7f\\x9b"),
        ("\u202eexe.\u2066", "\\u202eexe.\\u2066"),
        ("\ud800", "\\ud800"),
    ],
)
def test_controls_are_shown_and_not_obeyed(text: str, shown: str) -> None:
    """Control characters of both sets, changes of direction and broken characters are shown as escapes."""
    assert plain(text) == shown


def test_lines_may_be_kept() -> None:
    """Where lines are meant they stay."""
    assert plain("a\n\tb\r", keep="\n\t") == "a\n\tb\\x0d"


def test_json_stays_json() -> None:
    """Harmful characters are escaped as JSON has it, so that what is read back is what was there."""
    value = {"body": HARM, "ü": "🙂"}
    text = json_of(value)
    assert json.loads(text) == value
    assert is_harmless(text)
    assert "🙂" in text


def is_harmless(text: str) -> bool:
    return all(character.isprintable() for character in text)


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()], ids=["text", "json"])
def test_log_lines_are_harmless(formatter: logging.Formatter) -> None:
    """Whatever stands in a message, in an error, or in an id, a log line gives no orders."""
    try:
        raise ValueError(HARM)
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.getLogger("x").makeRecord(
        "x", logging.ERROR, "f", 1, "failed: %s", (HARM,), info, extra={"items": [HARM]}
    )
    text = formatter.format(record)
    assert "owned" in text
    assert is_harmless(text.replace("\n", ""))


@pytest.fixture
def harmful() -> Iterator[str]:
    """A queue with a message that is no friend of ours."""
    cli_queues.orders.put(HARM)
    yield "memory://support.cli_queues:orders"
    while items := cli_queues.orders.get():
        cli_queues.orders.cleanup(items)


def test_peek_is_harmless(harmful: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`peek` shows a body and does nothing of what it says; as JSON it is the body, to the letter."""
    assert main(["peek", harmful]) == 0
    said = capsys.readouterr().out
    assert "\\x1b]0;owned" in said
    assert is_harmless(said.replace("\n", ""))
    assert main(["peek", harmful, "--json"]) == 0
    said = capsys.readouterr().out
    assert is_harmless(said.replace("\n", ""))
    assert json.loads(said)["body"] == HARM


def test_top_is_harmless() -> None:
    """Ids, names and stacks of others are shown by `top`, as lines and as a picture, and give no orders."""
    from rich.console import Console

    from queue_consumer.cli._panels import picture

    worker = {"name": "handler-1", "kind": "handler", "doing": "stuck", "item": HARM, "seconds": 1.0}
    worker["stack"] = f'  File "shop.py", line 1, in pack\n    {HARM}\n'
    given: Any = answer(fetching=HARM)
    (consumer,) = given["consumers"]
    consumer["workers"] = [worker]
    consumer["lanes"][0]["name"] = HARM
    (sight,) = sights_of("x", given, {}, 0.0)
    lines = list(lines_of(sight))
    assert all(map(is_harmless, lines))
    assert "owned" in "".join(lines)
    screen = io.StringIO()
    Console(file=screen, width=120, color_system=None).print(picture([sight], sight, "", 120))
    assert "owned" in screen.getvalue()
    assert is_harmless(screen.getvalue().replace("\n", ""))


def test_sentences_are_harmless(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the user's code or of a broker is told in its words, and gives no orders."""

    def fail() -> None:
        raise RuntimeError(HARM)

    monkeypatch.setattr("support.cli_shop.quick", fail)
    assert main(["run", "support.cli_shop:quick"]) == 2
    assert main(["check", "support.cli_shop:quick"]) == 1
    captured = capsys.readouterr()
    assert "owned" in captured.out
    assert "owned" in captured.err
    assert is_harmless((captured.out + captured.err).replace("\n", ""))
