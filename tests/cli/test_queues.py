"""`send`, `peek`, `purge` and `redrive`: what they do, what they would do, and whom they ask before."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from queue_consumer.cli import main
from queue_consumer.cli.schemes import address_of, installed, scheme_of
from support import cli_queues
from support.cli_program import Program

ORDERS, DEAD = "memory://support.cli_queues:orders", "memory://support.cli_queues:dead"
Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def empty() -> None:
    """Each test finds the queues empty."""
    for queue in (cli_queues.orders, cli_queues.dead):
        while items := queue.get():
            queue.cleanup(items)


def bodies(capsys: Out, url: str) -> list[object]:
    assert main(["peek", url, "--json", "--limit", "100"]) == 0
    return [json.loads(line)["body"] for line in capsys.readouterr().out.splitlines()]


def test_what_is_sent_can_be_looked_at(capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`send` takes bodies, files and standard input, with attributes; `peek` shows them, and they stay."""
    (tmp_path / "more").write_text("c\n\nd\n")
    assert main(["send", ORDERS, "a", "b", "--from", str(tmp_path / "more"), "--attribute", "kind=test"]) == 0
    assert capsys.readouterr().out == f"sent 4 messages to {ORDERS}\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("e\n"))
    assert main(["send", ORDERS, "--from", "-"]) == 0
    capsys.readouterr()
    assert bodies(capsys, ORDERS) == bodies(capsys, ORDERS) == ["a", "b", "c", "d", "e"]
    main(["peek", ORDERS, "--limit", "1"])
    said = capsys.readouterr().out
    assert "5 visible" in said
    assert "attempt 3  a" in said


def test_a_dry_run_does_nothing(capsys: Out) -> None:
    """With --dry-run it is said what would be done, and nothing is."""
    main(["send", ORDERS, "a"])
    main(["send", DEAD, "b"])
    capsys.readouterr()
    assert main(["send", ORDERS, "c", "--dry-run"]) == 0
    assert main(["purge", ORDERS, "--dry-run"]) == 0
    assert main(["redrive", DEAD, "--to", ORDERS, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"would send 1 message to {ORDERS}",
        f"would delete about 1 message of {ORDERS} (1 visible, 0 delayed, 0 in flight)",
        f"would move about 1 message from {DEAD} (1 visible, 0 delayed, 0 in flight) to {ORDERS}",
    ]
    assert (bodies(capsys, ORDERS), bodies(capsys, DEAD)) == (["a"], ["b"])


@pytest.mark.parametrize("command", [["purge", ORDERS], ["redrive", ORDERS, "--to", DEAD]])
def test_harm_is_asked_for(command: list[str], capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --yes and without a terminal nothing is done, and it is said what to say; with --yes it is done."""
    main(["send", ORDERS, "a"])
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    capsys.readouterr()
    assert main(command) == 2
    assert "say --yes if you mean it, or --dry-run to look first" in capsys.readouterr().err
    assert bodies(capsys, ORDERS) == ["a"]
    assert main([*command, "--yes"]) == 0
    capsys.readouterr()
    assert bodies(capsys, ORDERS) == []


@pytest.mark.parametrize(("answer", "code", "words"), [("y", 0, "deleted about 0"), ("n", 2, "nothing was done")])
def test_the_question_is_answered_at_a_terminal(answer: str, code: int, words: str) -> None:
    """At a terminal the question is asked, and only a yes goes on."""
    with Program("purge", ORDERS, terminal=True) as program:
        program.wait_for(r"for ever\. Go on\? \[y/N\]")
        program.press(f"{answer}\n")
        assert program.end() == code
    assert words in program.text


def test_dead_letters_go_back(capsys: Out) -> None:
    """`redrive` moves what there is, or `--limit` of it, and says how many."""
    main(["send", DEAD, "a", "b", "c"])
    capsys.readouterr()
    assert main(["redrive", DEAD, "--to", ORDERS, "--limit", "2", "--yes"]) == 0
    assert capsys.readouterr().out == f"moved 2 messages from {DEAD} to {ORDERS}\n"
    assert (bodies(capsys, ORDERS), bodies(capsys, DEAD)) == (["a", "b"], ["c"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["peek", "orders"], "a queue is named like sqs://orders"),
        (["peek", "rabbit://orders"], "no adapter for rabbit:// is installed; there are memory, sqs"),
        (["peek", "memory://support.cli_queues:nothing"], "has no 'nothing'"),
        (["peek", "memory://support.cli_queues:ORDERS"], "did you mean orders?"),
        (["peek", "sqs://"], "sqs:// needs the name of a queue"),
        (["peek", "sqs://orders?regoin=x"], "sqs:// knows region"),
        (["send", ORDERS], "there is nothing to send"),
        (["send", ORDERS, "a", "--attribute", "kind"], "--attribute must be NAME=VALUE; got 'kind'"),
        (["send", ORDERS, "--from", "/nonexistent/file"], "cannot be read"),
        (["redrive", DEAD, "--yes"], "--to must say where to"),
        (["peek", ORDERS, "--limit", "0"], "--limit must be a whole number of at least 1; got '0'"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], words: str, capsys: Out) -> None:
    """A wrong name or value is a sentence, and exit code 2."""
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_schemes_are_found_by_entry_points() -> None:
    """The command line knows no adapter: the schemes are those that are installed."""
    assert {"memory", "sqs"} <= set(installed())
    assert type(scheme_of("sqs")).__module__ == "queue_consumer_sqs.operating"
    address = address_of("sqs://orders?region=eu-west-1&prefix=test-")
    assert (address.scheme, address.name) == ("sqs", "orders")
    assert dict(address.options) == {"region": "eu-west-1", "prefix": "test-"}
