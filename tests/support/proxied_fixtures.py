"""Fixtures of what is `Proxied`, for test modules: `pytest_plugins = ["support.proxied_fixtures"]`.

Where the tests run in memory, where there is nothing to stand between, these run on a server of their own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.proxied import Proxied
from support.sqs_servers import Server


@pytest.fixture(scope="session")
def http_endpoint(sqs_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server is that speaks plain HTTP."""
    if sqs_server.endpoint_url.startswith("http://"):
        yield sqs_server.endpoint_url
    else:
        server = Server("ministack", tmp_path_factory.mktemp("behind-the-proxy"))
        yield server.endpoint_url
        server.stop()


@pytest.fixture(scope="session")
def http_client(http_endpoint: str, open_client: Callable[[str], Any]) -> Any:
    """A client of that server, past any proxy; threads may share it."""
    return open_client(http_endpoint)


@pytest.fixture(scope="session")
def session(keys: None) -> Any:
    """A boto3 session for all, since each reads the description of SQS anew."""
    return importlib.import_module("boto3").session.Session()


@pytest.fixture
def proxied(http_endpoint: str, http_client: Any, session: Any) -> Iterator[Proxied]:
    """Queues behind a proxy of this test's own."""
    with Proxied(http_endpoint, http_client, session) as proxied:
        yield proxied
