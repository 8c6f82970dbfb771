"""What the SQS tests run against: a real server, or the one in memory; and queues on it.

`SQS_SERVER` says which: ministack (the default), fauxqs, localstack or memory. `SQS_ENDPOINT_URL` names one that runs
already; with `SQS_SERVER` it is taken for one of that kind. Each process of pytest-xdist starts a server of its own.
`SQS_TRANSPORT` says what carries the calls of queues that do not say it themselves: boto3 or lean.
"""

from __future__ import annotations

import importlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from queue_consumer_sqs import SQSQueue
from support.sqs_servers import PROGRAMS, MakeQueue, Server

KINDS = (*PROGRAMS, "memory")
GIVEN = os.environ.get("SQS_ENDPOINT_URL", "")
KIND = os.environ.get("SQS_SERVER") or ("an endpoint of its own" if GIVEN else "ministack")
if os.environ.get("SQS_SERVER") and KIND not in KINDS:
    raise pytest.UsageError(f"SQS_SERVER must be one of {', '.join(KINDS)}; got {KIND!r}")
TRANSPORT = os.environ.get("SQS_TRANSPORT", "")
if TRANSPORT not in ("", "boto3", "lean"):
    raise pytest.UsageError(f"SQS_TRANSPORT must be boto3 or lean; got {TRANSPORT!r}")
REGION = "us-east-1"


class Endpoint:
    """A server that somebody else runs."""

    def __init__(self, name: str, endpoint_url: str) -> None:
        self.name = name
        self.endpoint_url = endpoint_url


class InMemory:
    """The server that needs no process, and has no endpoint."""

    name = "memory"
    endpoint_url = ""

    def __init__(self) -> None:
        self.sqs: Any = importlib.import_module("queue_consumer_sqs.testing").MemorySQS()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where the server is known to do otherwise than AWS, the test must fail, and says so when it no longer does."""
    for item in items:
        for mark in item.iter_markers("gap"):
            reason = mark.kwargs.get("reason")
            unknown = [name for name in mark.args if name not in KINDS]
            if not reason or not mark.args or unknown or set(mark.kwargs) != {"reason"}:
                raise pytest.UsageError(
                    f"{item.nodeid}: a gap names servers ({', '.join(KINDS)}) and gives a reason; got {mark}"
                )
            if KIND in mark.args:
                item.add_marker(pytest.mark.xfail(strict=True, reason=f"{KIND} {reason}"))


@pytest.fixture(scope="session", autouse=True)
def keys() -> Iterator[None]:
    """No test uses the keys, the region or the settings of this machine: there are only these."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_") and name != "AWS_CA_BUNDLE":
                patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        if not GIVEN:
            # A proxy of this machine does not lead to this machine.
            patch.setenv("NO_PROXY", "127.0.0.1")
            patch.setenv("no_proxy", "127.0.0.1")
        yield


@pytest.fixture(scope="session", autouse=True)
def transport() -> Iterator[None]:
    """What carries the calls of queues that do not say it themselves."""
    with pytest.MonkeyPatch.context() as patch:
        if TRANSPORT:
            patch.setattr("queue_consumer_sqs._aws.DEFAULT", TRANSPORT)
        yield


@pytest.fixture(scope="session")
def sqs_server(keys: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server | Endpoint | InMemory]:
    """The SQS server of this process: its `name`, and its `endpoint_url` (empty in memory).

    All tests share it: a test that kills a server starts one of its own.
    """
    if GIVEN:
        yield Endpoint(KIND, GIVEN)
    elif KIND == "memory":
        yield InMemory()
    else:
        server = Server(KIND, tmp_path_factory.mktemp("sqs"))
        yield server
        server.stop()


@pytest.fixture(scope="session")
def open_client(keys: None) -> Iterator[Callable[[str], Any]]:
    """Opens boto3 clients of an endpoint that say at once what went wrong, with connections for many threads.

    All of them are closed after the tests.
    """
    boto3, config = (importlib.import_module(name) for name in ("boto3", "botocore.config"))
    settings = config.Config(retries={"total_max_attempts": 1}, max_pool_connections=50, read_timeout=60)
    with ExitStack() as opened:

        def open_client(endpoint_url: str) -> Any:
            client = boto3.Session().client("sqs", endpoint_url=endpoint_url, region_name=REGION, config=settings)
            opened.callback(client.close)
            return client

        yield open_client


@pytest.fixture(scope="session")
def client(sqs_server: Server | Endpoint | InMemory, open_client: Callable[[str], Any]) -> Any:
    """A client of the server, to look behind the queue under test; threads may share it."""
    if isinstance(sqs_server, InMemory):
        return sqs_server.sqs.client()
    return open_client(sqs_server.endpoint_url)


@pytest.fixture
def make_queue(client: Any) -> Iterator[MakeQueue]:
    """Makes queues for one test, each with a name that no other has."""
    made: list[str] = []

    def make(name: str | None = None, *, fifo: bool = False, **attributes: object) -> str:
        name = name or f"test-{uuid.uuid4().hex}"
        if fifo or attributes.get("FifoQueue"):
            name = name.removesuffix(".fifo") + ".fifo"
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = True
        url: str = client.create_queue(
            QueueName=name, Attributes={name: as_attribute(value) for name, value in attributes.items()}
        )["QueueUrl"]
        made.append(url)
        return url

    yield make
    for url in made:
        try:
            client.delete_queue(QueueUrl=url)
        except Exception as error:
            # A test may have deleted its queue itself.
            if "NonExistentQueue" not in getattr(error, "response", {}).get("Error", {}).get("Code", ""):
                raise


def as_attribute(value: object) -> str:
    """Attributes of queues are strings: numbers, true and false, and policies in JSON."""
    return value if isinstance(value, str) else json.dumps(value)


@pytest.fixture
def queue_url(make_queue: MakeQueue) -> str:
    """The URL of a standard queue of its own."""
    return make_queue()


@pytest.fixture
def open_queue(sqs_server: Server | Endpoint | InMemory, client: Any) -> Iterator[Callable[..., SQSQueue]]:
    """Opens queues as users do, with connections of their own; in memory, where there are none, with the client."""
    access: dict[str, Any] = (
        {"client": client} if isinstance(sqs_server, InMemory) else {"endpoint_url": sqs_server.endpoint_url}
    )
    with ExitStack() as opened:

        def open_queue(url: str, **options: Any) -> SQSQueue:
            queue = SQSQueue(url.rpartition("/")[2], **{**access, **options})
            opened.callback(queue.close)
            return queue

        yield open_queue
