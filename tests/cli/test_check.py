"""`queue-consumer check`: each finding says what it is, why it matters and what to do; and nothing is consumed."""

from __future__ import annotations

import pytest

from queue_consumer.cli import main

SHOP = "support.cli_checked"


def check(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    return main(["check", *arguments]), capsys.readouterr().out


def test_nothing_wrong_is_said_to_be_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A consumer without a fault ends with 0, and that is said."""
    assert check(f"{SHOP}:good", capsys=capsys) == (0, f"{SHOP}:good: nothing was found that would go wrong\n")


@pytest.mark.parametrize(
    ("target", "what", "do"),
    [
        ("no_such_thing", "has no 'no_such_thing'", "Run it from the folder"),
        ("unpicklable", "handler must be importable by a child process", "Change what the sentence names"),
        ("not_there", "there is no queue orders", "Create the queue"),
        ("not_importable", "A child process cannot import the handler", "Define it at the top of a module"),
        ("short_lease", "Items are leased for 30 s, a handler may take 60 s", "Make the lease longer"),
    ],
)
def test_problems_are_found(target: str, what: str, do: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What would go wrong is a problem, with its reason and remedy, and the exit code is 1."""
    code, said = check(f"{SHOP}:{target}", capsys=capsys)
    assert code == 1
    assert "PROBLEM: " in said
    assert what in said
    assert "Why: " in said
    assert f"Do:  {do}" in said


def test_advice_does_not_fail_unless_it_is_to(capsys: pytest.CaptureFixture[str]) -> None:
    """What could go wrong is advice: the exit code is 0, and 1 with --strict."""
    code, said = check(f"{SHOP}:bare", capsys=capsys)
    assert code == 0
    assert "time_limit=5 is only said aloud" in said
    assert "has no cleanup(items)" in said
    assert check(f"{SHOP}:bare", "--strict", capsys=capsys)[0] == 1


def test_one_bad_target_does_not_hide_another(capsys: pytest.CaptureFixture[str]) -> None:
    """All targets are checked, whatever the first one has."""
    code, said = check(f"{SHOP}:not_there", f"{SHOP}:good", capsys=capsys)
    assert code == 1
    assert f"{SHOP}:good: nothing was found" in said
