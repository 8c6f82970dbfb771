"""Writes bodies.json: what sqs-workers 0.7.3 puts on the wire for the calls below. Run by the environment that has it:

    tools/servers.sh sqs_workers && .venv/servers/sqs_workers/bin/python tests/jobs/golden/make.py

Each case has what was sent, and the message as the service is given it. The pickles are those of the Python that ran
this; any Python reads them.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

CALLS: list[dict[str, Any]] = [
    {"job": "send_email", "kwargs": {"to": "ada@example.org", "subject": "Hello", "body": "é\u0000\n\"'"}},
    {"job": "numbers", "kwargs": {"whole": 1, "large": 2**70, "half": 0.5, "no": None, "yes": True}},
    {"job": "nested", "kwargs": {"list": [1, [2, {"a": []}]], "map": {"x": {"y": "z"}}}},
    {"job": "nothing", "kwargs": {}},
    {"job": "with_context", "kwargs": {"username": "Foo"}, "context": {"remote_addr": "127.0.0.1", "trace": [1, "a"]}},
    {
        "job": "with_options",
        "kwargs": {"x": 1},
        "options": {"_delay_seconds": 5, "_deduplication_id": "d-1", "_group_id": "g-1"},
    },
]
CODECS = ("json", "pickle", "pickle_compat")


def main() -> None:
    package: Any = importlib.import_module("sqs_workers")
    memory: Any = importlib.import_module("sqs_workers.memory_sqs")
    cases: list[dict[str, Any]] = []
    for codec in CODECS:
        environment = package.SQSEnv(session=memory.MemorySession(), codec=codec)
        sent: list[dict[str, Any]] = []

        class Recorded:
            """In the place of the service's queue."""

            def send_message(self, *, into: list[dict[str, Any]] = sent, **message: Any) -> dict[str, str]:
                into.append(message)
                return {"MessageId": "id"}

        queue = environment.queue("golden")
        queue._queue = Recorded()
        for call in CALLS:
            with environment.context(**call.get("context", {})):
                queue.add_job(call["job"], **call.get("options", {}), **call["kwargs"])
            cases.append({"codec": codec, **call, "message": sent[-1]})
    made = {
        "sqs-workers": importlib.metadata.version("sqs-workers"),
        "python": sys.version.split()[0],
        "cases": cases,
    }
    path = Path(__file__).with_name("bodies.json")
    path.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(f"Wrote {len(cases)} cases to {path}")


if __name__ == "__main__":
    main()
