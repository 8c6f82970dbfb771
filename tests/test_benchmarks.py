"""The benchmarks run, keep what they measured, and judge it as they say. No test here asserts a time."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


class Modules:
    """The benchmarks' modules, by name; they are scripts beside each other and not a package."""

    def __getattr__(self, name: str) -> ModuleType:
        return importlib.import_module(name)


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    before = set(sys.modules)
    yield Modules()
    # Their names are too common to be left to other tests.
    for name in set(sys.modules) - before:
        if (BENCHMARKS / f"{name}.py").exists():
            del sys.modules[name]


def rates(*values: float) -> list[dict[str, float]]:
    return [{"rate": value} for value in values]


@pytest.mark.timeout(400)
def test_a_quick_run_measures_each_topic_and_writes_json_and_plot(tmp_path: Path, benchmarks: Modules) -> None:
    """`run.py --quick` measures the first and the last of each topic once, fails for none, and keeps it all."""
    all_of_them = [c for c in benchmarks.catalogue.ALL if c.kind != "peer" and not c.topic.startswith("SQS ")]
    topics: dict[str, list[str]] = {}
    for contender in all_of_them:
        topics.setdefault(contender.topic, []).append(contender.full_name)
    some = [name for names in topics.values() for name in {names[0], names[-1]}]
    only = [option for name in some for option in ("--only", name)]
    options = ["--quick", "--no-peers", "--no-sqs", "--out", str(tmp_path), *only]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "run.py"), *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

    kept = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    expected = {c.full_name for c in all_of_them if any(name in c.full_name for name in some)}
    assert set(kept["rounds"]) == expected
    assert all(len(samples) == 1 for samples in kept["rounds"].values())
    assert kept["failed"] == {}
    assert {bar["verdict"] for bar in kept["bars"]} <= {"meets", "misses", "not measured"}
    assert "Bars (judged on the median of the rounds)" in done.stdout
    if importlib.util.find_spec("matplotlib"):
        assert (tmp_path / "throughput.png").read_bytes().startswith(b"\x89PNG")
    else:
        assert "No plot: matplotlib is not installed." in done.stdout


ONE_OF_EACH = (
    "SQS cost: queue_consumer, lean transport",
    "SQS calls: calls per message",
    "SQS idle: an empty queue",
    "SQS priorities: urgent ones without a pause",
    "SQS leases: a keeper that cannot keep up",
    "SQS stop: memory",
)


@pytest.mark.timeout(400)
def test_a_quick_run_of_sqs_measures_each_kind_and_writes_tables_and_plot(tmp_path: Path, benchmarks: Modules) -> None:
    """Whatever is measured of SQS runs at a small size, on a server, and ends up in the tables and the picture."""
    assert {c.topic for c in benchmarks.catalogue.ALL if c.topic.startswith("SQS ")} == {
        name.partition(": ")[0] for name in ONE_OF_EACH
    }
    only = [option for name in ONE_OF_EACH for option in ("--only", name)]
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--quick", *only, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    kept = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert set(kept["rounds"]) == set(ONE_OF_EACH)
    assert kept["failed"] == {}
    told = (tmp_path / "sqs.md").read_text(encoding="utf-8")
    assert all(table.markdown in told for table in benchmarks.sqs_report.tables(kept["rounds"]))
    if importlib.util.find_spec("matplotlib"):
        assert (tmp_path / "sqs.png").read_bytes().startswith(b"\x89PNG")


def test_contenders_that_take_long_have_fewer_rounds(benchmarks: Modules) -> None:
    """One that looks five times within a round has one, and the others go on."""
    contender = benchmarks.contender.Contender
    short = contender(topic="one", name="a", kind="ours", measure=dict, items=1, few=1)
    long = contender(topic="one", name="b", kind="ours", measure=dict, items=1, few=1, rounds=1)
    assert list(benchmarks.run.schedule([short, long], 3)) == [(0, short), (0, long), (1, short), (2, short)]


def seen(benchmarks: Modules, operation: str, *, began: float, ended: float, count: int) -> object:
    return benchmarks.sqs_stand.Seen(operation, "q", began, ended, 200, count, ())


def test_calls_per_message_are_receives_of_what_came_and_deletes_of_what_went(benchmarks: Modules) -> None:
    """In a stretch of time more messages may come than go, so each kind of call is held against its own."""
    calls = [
        seen(benchmarks, "ReceiveMessage", began=0, ended=1, count=10),
        seen(benchmarks, "ReceiveMessage", began=1, ended=2, count=10),
        seen(benchmarks, "DeleteMessageBatch", began=2, ended=3, count=5),
    ]
    assert benchmarks.sqs_batches.per_message(calls) == 2 / 20 + 1 / 5


def test_polls_are_counted_by_how_long_they_are_open(benchmarks: Modules) -> None:
    """Two side by side for half of the time are one and a half; what is outside of the stretch does not count."""
    polls = [
        seen(benchmarks, "ReceiveMessage", began=-5, ended=5, count=0),
        seen(benchmarks, "ReceiveMessage", began=5, ended=0, count=0),  # not answered yet
        seen(benchmarks, "ReceiveMessage", began=2, ended=7, count=0),
    ]
    assert benchmarks.sqs_idle.open_at_a_time(polls, 0, 10) == 1.5


def test_polls_after_the_last_message_are_not_its_cost(benchmarks: Modules) -> None:
    """That a queue is empty is found out by a call that no message has caused."""
    useful = [
        seen(benchmarks, "ReceiveMessage", began=1, ended=2, count=10),
        seen(benchmarks, "DeleteMessageBatch", began=3, ended=4, count=10),
    ]
    empty = seen(benchmarks, "ReceiveMessage", began=2, ended=3, count=0)
    assert benchmarks.sqs_cpu.trimmed([*useful, empty]) == useful


def test_only_what_was_measured_is_replaced_in_a_document(benchmarks: Modules) -> None:
    """What stands before and behind the marks stays, and a document without them is refused."""
    report = benchmarks.sqs_report
    document = f"before {report.BEGIN} old {report.END} behind"
    assert report.replaced(document, "new") == "before new behind"
    with pytest.raises(ValueError, match="the document has no"):
        report.replaced("no marks", "new")


def test_documents_are_written_of_whole_runs_only(benchmarks: Modules, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers of a quick look do not get into the documents."""
    assert benchmarks.run.main(["--only", "SQS", "--quick", "--docs"]) == 2
    assert "--docs wants a whole run" in capsys.readouterr().err


def test_contenders_take_turns(benchmarks: Modules) -> None:
    """Within a topic everybody is measured once before anybody is measured again."""

    def made(topic: str, name: str) -> object:
        contender = benchmarks.contender.Contender
        return contender(topic=topic, name=name, kind="ours", measure=dict, items=1, few=1)

    a, b, other = made("one", "a"), made("one", "b"), made("two", "c")
    order = list(benchmarks.run.schedule([a, other, b], 2))
    assert order == [(0, a), (0, b), (1, a), (1, b), (0, other), (1, other)]


def test_a_bar_is_judged_on_the_median_of_the_ratios_of_each_round(benchmarks: Modules) -> None:
    """A machine that slows down in mid-run slows both sides, so each round is compared with itself."""
    bar = benchmarks.bars.Bar(subject="ours", metric="rate", limit=10, against="theirs")
    rounds = {"ours": rates(100, 11, 120), "theirs": rates(10, 1, 20)}
    (verdict,) = benchmarks.bars.judge(rounds, peers=[], bars=[bar])
    assert verdict.values == (10, 11, 6)
    assert (verdict.value, verdict.word) == (10, "meets")


@pytest.mark.parametrize(
    ("value", "word"), [(0.04, "meets"), (0.05, "meets"), (0.06, "misses"), (None, "not measured")]
)
def test_a_bar_without_an_opponent_is_an_upper_limit(benchmarks: Modules, value: float | None, word: str) -> None:
    """What may take so long at most is judged by itself; what was not measured is not judged."""
    bar = benchmarks.bars.Bar(subject="ours", metric="stop", limit=0.05, at_most=True, unit="s")
    rounds = {} if value is None else {"ours": [{"stop": value}]}
    (verdict,) = benchmarks.bars.judge(rounds, peers=[], bars=[bar])
    assert verdict.word == word


def test_the_opponent_is_the_fastest_peer_of_the_run(benchmarks: Modules) -> None:
    """Nobody chooses whom to be compared with: the peer of the topic with the highest median rate is it."""
    bar = benchmarks.bars.Bar(subject="t: ours", metric="rate", limit=7, against=benchmarks.bars.FASTEST_PEER)
    rounds = {
        "t: ours": rates(80, 80, 80),
        "t: slow": rates(1, 99, 1),
        "t: fast": rates(10, 10, 10),
        "other: faster": rates(99, 99, 99),
    }
    (verdict,) = benchmarks.bars.judge(rounds, peers=["t: slow", "t: fast", "t: absent", "other: faster"], bars=[bar])
    assert (verdict.against, verdict.value, verdict.word) == ("t: fast", 8, "meets")


def test_every_bar_names_a_contender_that_exists(benchmarks: Modules) -> None:
    """A bar whose subject was renamed would silently never be judged again."""
    names = {contender.full_name for contender in benchmarks.catalogue.ALL}
    several = benchmarks.bars.FASTEST_PEER, benchmarks.bars.PROCESS_SUBMIT, benchmarks.bars.SQS_WORKERS
    for bar in benchmarks.catalogue.BARS:
        assert bar.subject in names
        assert bar.against in {None, *several, *names}


def test_a_peer_that_is_not_installed_is_named_in_the_table(benchmarks: Modules) -> None:
    """What could not be measured is said where its numbers would stand."""
    with pytest.raises(benchmarks.contender.NotInstalled, match="no_such_peer is not installed"):
        benchmarks.peers.peer("no_such_peer")
    missing = {"throughput: ghost": "ghost is not installed"}
    text = benchmarks.report.throughput({"throughput: ours": rates(5)}, ["throughput: ours"], [], missing)
    assert "Not measured: ghost: ghost is not installed" in text


@pytest.mark.parametrize(
    ("answer", "flags", "code"),
    [
        ({"failed": "boom"}, [], 1),
        ({"import": 1.0}, [], 0),
        ({"import": 1.0}, ["--strict"], 1),
        ({"import": 0.01}, ["--strict"], 0),
    ],
)
def test_the_exit_code_tells_of_failures_and_only_when_strict_of_bars(
    benchmarks: Modules,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    answer: dict[str, float | str],
    flags: list[str],
    code: int,
) -> None:
    """A measurement that fails is an error; a missed bar is news, and an error only with --strict."""

    def measure(contender: object, items: int) -> dict[str, float | str]:
        return answer

    monkeypatch.setattr(benchmarks.run, "measure", measure)
    only = ["--only", "import queue_consumer", "--rounds", "1", "--out", str(tmp_path)]
    assert benchmarks.run.main([*only, *flags]) == code
    said = capsys.readouterr()
    assert ("boom" in said.err) == ("failed" in answer)
    assert (tmp_path / "results.json").exists()


def test_without_matplotlib_there_is_no_plot_and_no_error(
    benchmarks: Modules, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The numbers do not depend on a drawing library."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert benchmarks.plot.draw({}, [], tmp_path / "plot.png", footnote="") is False
    assert not (tmp_path / "plot.png").exists()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1_240_000, "", "1.24 M"),
        (83e-6, "s", "83 µs"),
        (0.0123, "s", "12.3 ms"),
        (412, "B", "412 B"),
        (3 * 2**20, "B", "3 MiB"),
        (0.981, "%", "98.1 %"),
        (12.34, "×", "12.3×"),
        (1234, "×", "1,234×"),
    ],
)
def test_quantities_are_written_as_people_read_them(benchmarks: Modules, value: float, unit: str, text: str) -> None:
    """Three significant digits and the unit that keeps them short."""
    assert benchmarks.report.quantity(value, unit) == text


def test_the_page_shows_the_results_that_there_are(benchmarks: Modules) -> None:
    """The tables in docs/benchmarks.md are those of results.json; if not: python benchmarks/page.py."""
    results = json.loads((BENCHMARKS / "results" / "results.json").read_text(encoding="utf-8"))
    assert benchmarks.page.block(results) in benchmarks.page.PAGE.read_text(encoding="utf-8")
