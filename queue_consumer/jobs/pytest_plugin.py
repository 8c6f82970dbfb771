"""Fixtures for tests of jobs. Opt in, in a `conftest.py`: `pytest_plugins = ["queue_consumer.jobs.pytest_plugin"]`.

Each is a function of a registry, which holds until the end of the test:

    def test_sign_up(job_outbox):
        sent = job_outbox(jobs)
        sign_up("ada@example.org")
        sent.assert_sent("send_email", to="ada@example.org")
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import Any

import pytest

from ._registry import Jobs
from .testing import Outbox, eager, outbox, run_until_empty

__all__ = ["eager_jobs", "job_outbox", "run_jobs"]


@pytest.fixture
def eager_jobs() -> Generator[Callable[[Jobs], None]]:
    """`eager_jobs(jobs)`: from now on what is sent runs at once; see `testing.eager`."""
    with ExitStack() as stack:

        def begin(jobs: Jobs) -> None:
            stack.enter_context(eager(jobs))

        yield begin


@pytest.fixture
def job_outbox() -> Generator[Callable[[Jobs], Outbox]]:
    """`job_outbox(jobs)`: from now on what is sent is kept; see `testing.outbox`."""
    with ExitStack() as stack:

        def begin(jobs: Jobs) -> Outbox:
            return stack.enter_context(outbox(jobs))

        yield begin


@pytest.fixture
def run_jobs() -> Callable[..., int]:
    """`run_jobs(jobs, queue)`: handle what is in a queue; see `testing.run_until_empty`."""

    def run(jobs: Jobs, queue: Any = None, **options: Any) -> int:
        return run_until_empty(jobs, queue, **options)

    return run
