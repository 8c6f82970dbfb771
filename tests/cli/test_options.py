"""Every option is in the help with its environment variable, and means the same from there."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import queue_consumer
from queue_consumer import State, Stats
from queue_consumer.cli import main
from queue_consumer.cli._exits import EXIT_CODES, CommandError
from queue_consumer.cli._logs import JsonFormatter
from queue_consumer.cli._main import COMMANDS, parser
from queue_consumer.cli._options import Option, fill_in, seconds, variable_of
from queue_consumer.cli._run import StopAfter

MODULES: dict[str, Any] = {name: importlib.import_module(f"queue_consumer.cli._{name}") for name in COMMANDS}
ALL = [(name, option) for name, module in MODULES.items() for option in module.options()]
Out = pytest.CaptureFixture[str]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_options_examples_and_exit_codes(name: str, capsys: Out) -> None:
    """`COMMAND --help` has every option with its variable, worked examples, and all exit codes."""
    assert main([name, "--help"]) == 0
    said = re.sub(r"\s+", "", capsys.readouterr().out)
    for option in MODULES[name].options():
        assert option.flag in said or option.dest.upper() in said
        assert f"[${variable_of(option)}" in said
    assert f"queue-consumer{name}" in said
    assert all(f"{code}{words}".replace(" ", "") in said for code, words in EXIT_CODES.items())


def test_examples_parse() -> None:
    """Each worked example is one that the command line takes."""
    top, _ = parser()
    for name, module in MODULES.items():
        lines = [line for line in module.EXAMPLES.splitlines() if "queue-consumer " in line]
        assert lines
        for line in lines:
            typed = line.partition("queue-consumer ")[2]
            words = re.sub(r"'[^']*'", "BODY", re.split(r" {2,}| [|&]", typed)[0]).split()
            given = top.parse_args(words)
            assert given.command in (name, "run")


@pytest.mark.parametrize(("name", "option"), ALL, ids=[f"{name} {option.flag}" for name, option in ALL])
def test_every_option_is_a_variable_too(name: str, option: Option, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the variable is as if it had been typed; what is typed wins."""
    top, _ = parser()
    text = sample_of(option)
    typed = [text] if option.positional else [option.flag] if option.convert is None else [option.flag, text]
    before = ["x"] if option.dest == "bodies" else []  # which come after the name of a queue
    by_hand = top.parse_args([name, *before, *typed])
    fill_in(by_hand, [option])
    monkeypatch.setenv(variable_of(option), text)
    by_variable = top.parse_args([name, *before])
    fill_in(by_variable, [option])
    assert repr(getattr(by_hand, option.dest)) == repr(getattr(by_variable, option.dest))
    assert repr(getattr(by_variable, option.dest)) != repr(option.default)
    monkeypatch.setenv(variable_of(option), "neither this nor that")
    again = top.parse_args([name, *before, *typed])
    fill_in(again, [option])
    assert repr(getattr(again, option.dest)) == repr(getattr(by_hand, option.dest))


def sample_of(option: Option) -> str:
    """Some value of an option that is not its default."""
    if option.convert is None:
        return "yes"
    if option.choices:
        return next(choice for choice in option.choices if choice != option.default)
    for text in ("7000", "a=b", "something"):
        try:
            option.convert(text)
        except ValueError:
            continue
        return text
    raise AssertionError(f"nothing is known to be right for {option.flag}")


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    """What is wrong in the environment is said to be there; empty variables count as none."""
    monkeypatch.setenv("QUEUE_CONSUMER_PROCESSES", "many")
    assert main(["run", "x:y"]) == 2
    assert "$QUEUE_CONSUMER_PROCESSES must be a whole number of at least 1; got 'many'" in capsys.readouterr().err
    monkeypatch.setenv("QUEUE_CONSUMER_PROCESSES", "")
    monkeypatch.setenv("QUEUE_CONSUMER_LOG_LEVEL", "loud")
    assert main(["run", "x:y"]) == 2
    assert "$QUEUE_CONSUMER_LOG_LEVEL must be one of debug, info, warning, error; got 'loud'" in capsys.readouterr().err
    monkeypatch.setenv("QUEUE_CONSUMER_LOG_LEVEL", "")
    monkeypatch.setenv("QUEUE_CONSUMER_RELOAD", "perhaps")
    assert main(["run", "x:y"]) == 2
    assert "$QUEUE_CONSUMER_RELOAD must be one of 1, true" in capsys.readouterr().err


def test_what_is_missing_is_named(capsys: Out) -> None:
    """An argument that has to be given is asked for, with its variable."""
    assert main(["run"]) == 2
    assert "targets must be given, here or as $QUEUE_CONSUMER_TARGETS" in capsys.readouterr().err
    assert main([]) == 2
    assert main(["no-such-command"]) == 2
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("queue-consumer ")


@pytest.mark.parametrize(("text", "value"), [("25", 25), ("0.5", 0.5), ("90s", 90), ("15m", 900), ("2h", 7200)])
def test_times_have_units(text: str, value: float) -> None:
    """A time is a number of seconds, or has its unit."""
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "-1", "nan", "inf", "1d", "soon"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """What is no time is refused in a sentence that says what is."""
    with pytest.raises(ValueError, match="must be a number of seconds, or a time such as 90s"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "stats", "lasted", "enough"),
    [
        ("10s", {}, 9.9, False),
        ("10s", {}, 10, True),
        ("3items", {"received": 3, "cleaned": 2, "released": 1}, 0, False),
        ("3items", {"received": 3, "cleaned": 3}, 0, True),
        ("idle:5s", {"idle": 4.0}, 99, False),
        ("idle:5s", {"idle": 5.0}, 0, True),
        ("1h,idle:5s", {"idle": 5.0}, 0, True),
    ],
)
def test_stop_after_says_when(text: str, stats: dict[str, Any], lasted: float, enough: bool) -> None:
    """`--stop-after` is a time, a number of items, or idleness; with commas, whichever comes first."""
    assert StopAfter(text)(Stats(state=State.RUNNING, **stats), lasted) is enough


def test_a_wrong_stop_after_is_refused() -> None:
    """What `--stop-after` does not understand is refused in a sentence."""
    for text in ("items", "idle:", "soon", "1s,2x"):
        with pytest.raises(ValueError, match="must be like 90s, 15m, 1000items or idle:30s"):
            StopAfter(text)


def test_errors_of_commands_carry_their_code() -> None:
    """A `CommandError` is its sentence, and says how the command ends."""
    error = CommandError("a sentence")
    assert (str(error), int(error.code)) == ("a sentence", 2)


def test_json_lines_have_the_facts(capsys: Out) -> None:
    """A JSON line has time, level, message, what the record has beside, and an exception as text."""
    import logging

    try:
        raise ValueError("a bad item")
    except ValueError:
        record = logging.getLogger("x").makeRecord(
            "x", logging.ERROR, "f", 1, "failed %d", (3,), sys.exc_info(), extra={"event": "Failed", "items": ["id-1"]}
        )
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "failed 3"
    assert (line["level"], line["event"], line["items"]) == ("error", "Failed", ["id-1"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert line["error"].endswith("ValueError: a bad item")


def test_bench_measures(capsys: Out) -> None:
    """`bench --json` measures every row, and says on what."""
    assert main(["bench", "--items", "1000", "--rounds", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["items_per_second"]) == 6
    assert all(rates[0] > 0 for rates in told["items_per_second"].values())


def test_the_demo_agrees() -> None:
    """`python -m queue_consumer demo` accounts for all that it planted."""
    command = [sys.executable, "-m", "queue_consumer", "demo", "--items", "600"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("everything agrees\n")
    assert "1 processes were to be killed, and so many replaced" in done.stdout


def test_the_program_is_installed() -> None:
    """The console script and `python -m` are the same program."""
    script = Path(sys.executable).parent / "queue-consumer"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=110, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert queue_consumer.__file__
