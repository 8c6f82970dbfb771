"""SQS in asyncio programs: on boto3's threads, and on aiobotocore, which has an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queue_consumer_sqs import NotInstalled, SQSQueue
from queue_consumer_sqs.aio import AsyncSQSQueue
from support.async_programs import AsyncPrograms
from support.sqs_servers import INSTALLED, ROOT

HERE = Path(__file__).parent
PYTHON = INSTALLED / "aio" / "bin" / "python"
ENDS_WITHIN = 280  # seconds, for a session of its own
SHOWN = 20_000  # characters of what it said


@pytest.fixture
def opener(open_queue: Callable[..., SQSQueue]) -> Callable[..., SQSQueue]:
    """Queues that wait in threads."""
    return open_queue


class TestOnThreads(AsyncPrograms):
    """`SQSQueue`: polls and deletes are made by threads, and handlers run on the loop."""


LONG = ["contract.py::TestStandardQueue", "contract.py::TestFifoQueue"]  # each takes a minute
PARTS = ["programs.py", "rules.py", *(LONG if "SQS_SERVER" in os.environ else [])]  # it is set by make conformance


@pytest.mark.gap("memory", reason="has no endpoint that another process could be given")
@pytest.mark.timeout(ENDS_WITHIN + 20)
@pytest.mark.parametrize("part", PARTS)
def test_on_aiobotocore(part: str, sqs_server: Any) -> None:
    """`AsyncSQSQueue` keeps to the contract, serves asyncio programs, and has rules of its own: all of its tests pass.

    They are in `aio/`, and run in the environment that has aiobotocore, against the server of this session.
    """
    if not sqs_server.endpoint_url:
        pytest.fail("the server in memory is in this process only", pytrace=False)
    if not PYTHON.exists():
        pytest.fail(
            f"There is no environment with aiobotocore in {INSTALLED / 'aio'}: make test installs it, and "
            "tools/servers.sh aio does nothing else.",
            pytrace=False,
        )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    places = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "adapters")))}
    server = {"SQS_ENDPOINT_URL": sqs_server.endpoint_url}
    if "SQS_SERVER" in os.environ or "SQS_ENDPOINT_URL" not in os.environ:
        server["SQS_SERVER"] = sqs_server.name
    try:
        done = subprocess.run(
            [str(PYTHON), "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", str(HERE / "aio" / part)],
            cwd=ROOT,
            env={**inherited, **places, **server},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=ENDS_WITHIN,
        )
    except subprocess.TimeoutExpired as error:
        said = (error.stdout or b"").decode(errors="replace")
        pytest.fail(f"on aiobotocore, {part} does not end:\n{said[-SHOWN:]}", pytrace=False)
    if done.returncode != 0 or " skipped" in done.stdout.splitlines()[-1]:
        pytest.fail(f"on aiobotocore, {part} fails:\n{done.stdout[-SHOWN:]}", pytrace=False)


def test_without_aiobotocore_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but opening an `AsyncSQSQueue` needs aiobotocore; who has none is told how to get it."""
    monkeypatch.setitem(sys.modules, "aiobotocore.session", None)
    with pytest.raises(NotInstalled, match=r"pip install 'queue-consumer\[sqs,aio\]'"):
        AsyncSQSQueue("orders")
