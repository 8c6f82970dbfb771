"""What the line costs, beside bare loops, executors and other projects.

Contenders take turns (A B C, A B C, …), each measurement in a fresh process; every round is kept. Prints
tables of ratios and whether each bar is met, and writes results.json and throughput.png.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import bars
import catalogue
import cost
import keys
import page
import plot
import report
import sqs_plot
import sqs_report
import subscribing
import surroundings
from contender import Contender, Sample

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DOCS = HERE.parent / "docs"
ROUNDS = 5
LONGEST_MEASUREMENT = 180.0


@dataclass
class Run:
    """What one run has brought so far, by the full names of the contenders."""

    rounds: dict[str, list[Sample]] = field(default_factory=dict[str, list[Sample]])
    missing: dict[str, str] = field(default_factory=dict[str, str])
    failed: dict[str, str] = field(default_factory=dict[str, str])


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of few items: does everything run?")
    parser.add_argument("--rounds", type=int, help=f"rounds per contender ({ROUNDS}; with --quick 1)")
    parser.add_argument(
        "--only",
        action="append",
        metavar="TEXT",
        help='only contenders with TEXT in their "topic: name"; may be repeated',
    )
    parser.add_argument("--no-peers", action="store_true", help="leave the other projects out")
    parser.add_argument("--no-sqs", action="store_true", help="leave SQS out, which needs a server")
    parser.add_argument("--out", type=Path, help="where the results go (benchmarks/results, or its partial/)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a bar is missed")
    parser.add_argument("--docs", action="store_true", help="put what was measured of SQS into docs/cost.md")
    parser.add_argument("--list", action="store_true", help="name the contenders and exit")
    return parser.parse_args(argv)


def chosen(only: Sequence[str] | None, *, with_peers: bool, with_sqs: bool) -> list[Contender]:
    return [
        contender
        for contender in catalogue.ALL
        if (with_peers or contender.kind != "peer")
        and (with_sqs or not contender.topic.startswith(sqs_report.SQS))
        and (not only or any(text in contender.full_name for text in only))
    ]


def schedule(contenders: Sequence[Contender], rounds: int) -> Iterable[tuple[int, Contender]]:
    """Topic by topic, and within a topic round by round: those who are compared stay neighbours in time."""
    for topic in dict.fromkeys(contender.topic for contender in contenders):
        members = [contender for contender in contenders if contender.topic == topic]
        for number in range(rounds):
            yield from ((number, contender) for contender in members if number < (contender.rounds or rounds))


def measure(contender: Contender, items: int) -> dict[str, Any]:
    """One measurement in a process of its own; what went wrong is said under the key `failed`."""
    command = [sys.executable, str(HERE / "measure.py"), contender.topic, contender.name, str(items)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_MEASUREMENT)
    except subprocess.TimeoutExpired:
        return {"failed": f"no answer within {LONGEST_MEASUREMENT:.0f} s"}
    if done.returncode:
        return {"failed": done.stderr.strip() or f"exit code {done.returncode}"}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def carry_out(contenders: Sequence[Contender], rounds: int, *, quick: bool) -> Run:
    run = Run()
    for number, contender in schedule(contenders, rounds):
        name = contender.full_name
        if name in run.missing or name in run.failed:
            continue
        _progress(f"  round {number + 1} of {rounds}  {name}")
        answer = measure(contender, contender.few if quick else contender.items)
        if "not installed" in answer:
            run.missing[name] = answer["not installed"]
        elif "failed" in answer:
            run.failed[name] = answer["failed"]
        else:
            run.rounds.setdefault(name, []).append(answer)
    _progress("")
    return run


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def tables(run: Run, contenders: Sequence[Contender]) -> Iterable[str]:
    """The tables of those topics of which something was measured."""
    rounds = run.rounds
    names: dict[str, list[str]] = {}
    for contender in contenders:
        if contender.full_name in rounds:
            names.setdefault(contender.topic, []).append(contender.full_name)
    for topic, members in names.items():
        if topic.startswith(sqs_report.SQS):
            continue
        match topic:
            case "throughput":
                yield report.throughput(
                    rounds, members, peers_of(c for c in contenders if c.topic == topic), run.missing
                )
            case "cost":
                title = f"What options cost, chunks of {cost.CHUNK}"
                yield report.metrics(title, rounds, members, [("rate", "")], cost.compared_with)
            case "keys":
                title = (
                    f"Items per second in the order of so many keys, each of them 0 to 5 ms, {keys.HANDLERS} handlers"
                )
                yield report.metrics(title, rounds, members, [("rate", "")], lambda name: keys.NO_KEYS)
            case subscribing.MATCHING | subscribing.DISPATCH:
                title = subscribing.TITLES[topic]
                yield report.metrics(title, rounds, members, [("rate", "")], subscribing.compared_with)
            case _:
                title, columns = _COLUMNS[topic]
                yield report.metrics(title, rounds, members, columns)
    yield from (table.text for table in sqs_report.tables(rounds))


_COLUMNS = {
    "latency": ("From put() to an idle handler", [("p50", "s"), ("p99", "s"), ("max", "s")]),
    "jobs": ("Jobs per second: a task that does nothing, by name and with JSON", [("rate", "")]),
    "utilisation": ("Items per second, each of them a sleep of 10 ms", [("rate", "")]),
    "memory": ("Memory", [("items", ""), ("growth", "B"), ("per_item", "B")]),
    "start and stop": ("Import, start and stop", [("import", "s"), ("start", "s"), ("stop", "s")]),
}


def peers_of(contenders: Iterable[Contender]) -> list[str]:
    return [contender.full_name for contender in contenders if contender.kind == "peer"]


def as_json(run: Run, verdicts: Sequence[bars.Verdict], seen: dict[str, Any], **settings: object) -> str:
    judged = [
        {
            "subject": verdict.bar.subject,
            "metric": verdict.bar.metric,
            "against": verdict.against,
            "at_most" if verdict.bar.at_most else "at_least": verdict.bar.limit,
            "rounds": verdict.values,
            "median": verdict.value,
            "verdict": verdict.word,
        }
        for verdict in verdicts
    ]
    everything = {
        "measured": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **seen,
        "settings": settings,
        "bars": judged,
        "rounds": run.rounds,
        "not installed": run.missing,
        "failed": run.failed,
    }
    return json.dumps(everything, indent=1, ensure_ascii=False) + "\n"


def keep_sqs(
    run: Run, verdicts: Sequence[bars.Verdict], seen: dict[str, Any], out: Path, rounds: int, *, docs: bool
) -> None:
    """Writes the tables of SQS as Markdown, and their picture; `docs`: into the documents too."""
    where = f"{seen['python']}, {seen['cpus']} cores, boto3 {seen['versions']['boto3']}, server: fauxqs"
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    mine = [verdict for verdict in verdicts if verdict.bar.subject.startswith(sqs_report.SQS)]
    block = sqs_report.block(run.rounds, mine, run.missing, where=where, date=today, count=rounds)
    (out / "sqs.md").write_text(block + "\n", encoding="utf-8")
    print(f"Wrote {out / 'sqs.md'}")
    drawn = sqs_plot.draw(run.rounds, out / "sqs.png", footnote=f"{where}; medians of {rounds} rounds, {today}")
    print(f"Wrote {out / 'sqs.png'}" if drawn else "No plot of SQS: not enough was measured, or no matplotlib.")
    if docs:
        page = DOCS / "cost.md"
        page.write_text(sqs_report.replaced(page.read_text(encoding="utf-8"), block), encoding="utf-8")
        if drawn:
            shutil.copyfile(out / "sqs.png", DOCS / "cost.png")
        print(f"Wrote {page}")


def main(argv: Sequence[str] | None = None) -> int:
    """1 if a measurement of ours failed or, with --strict, a bar was missed; 2 for wrong usage; else 0."""
    options = arguments(argv)
    contenders = chosen(options.only, with_peers=not options.no_peers, with_sqs=not options.no_sqs)
    if options.list:
        print("\n".join(contender.full_name for contender in contenders))
        return 0
    if not contenders:
        print("No contender has that in its name; --list names them all.", file=sys.stderr)
        return 2
    rounds: int = options.rounds or (1 if options.quick else ROUNDS)
    if options.docs and (options.quick or rounds < ROUNDS):
        print("--docs wants a whole run: without --quick, of five rounds.", file=sys.stderr)
        return 2
    partial = bool(options.quick or options.only or options.no_peers or options.no_sqs or rounds < ROUNDS)
    out: Path = options.out or (RESULTS / "partial" if partial else RESULTS)
    seen = surroundings.look()
    print(surroundings.sentence(seen), end="\n\n", flush=True)

    started = perf_counter()
    run = carry_out(contenders, rounds, quick=options.quick)
    settings = {"rounds": rounds, "quick": options.quick, "seconds": round(perf_counter() - started)}
    verdicts = bars.judge(run.rounds, peers=peers_of(contenders), bars=catalogue.BARS)
    for text in tables(run, contenders):
        print(text, end="\n\n")
    judged = [verdict for verdict in verdicts if verdict.value is not None or not partial]
    if judged:
        print(report.bars(judged), end="\n\n")
    if options.quick:
        print("A quick run shows that everything runs; its numbers mean nothing.\n")

    out.mkdir(parents=True, exist_ok=True)
    results = as_json(run, verdicts, seen, **settings)
    (out / "results.json").write_text(results, encoding="utf-8")
    print(f"Wrote {out / 'results.json'}")
    if out == RESULTS:
        page.write(json.loads(results))
        print(f"Wrote {page.PAGE}")
    if any(name.startswith("throughput: ") for name in run.rounds):
        where = f"{seen['python']}, {seen['cpus']} CPUs"
        footnote = f"{where}; bars: median, dark lines: all of {rounds} interleaved rounds"
        drawn = plot.draw(run.rounds, contenders, out / "throughput.png", footnote=footnote)
        print(f"Wrote {out / 'throughput.png'}" if drawn else "No plot: matplotlib is not installed.")
    if any(name.startswith(sqs_report.SQS) for name in run.rounds):
        keep_sqs(run, verdicts, seen, out, rounds, docs=options.docs)
    for name, why in run.failed.items():
        print(f"\nFAILED  {name}\n{why}", file=sys.stderr)
    ours = {contender.full_name for contender in contenders if contender.kind == "ours"}
    missed = options.strict and any(verdict.meets is False for verdict in verdicts)
    return 1 if missed or ours & run.failed.keys() else 0


if __name__ == "__main__":
    sys.exit(main())
