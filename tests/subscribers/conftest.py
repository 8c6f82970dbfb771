"""A server that speaks SQS and SNS, for the tests that send through both; started when the first of them needs it."""

from __future__ import annotations

import importlib
import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from queue_consumer_sqs import SNS, SQSQueue, queue_policy
from support.sqs_servers import Server

REGION = "us-east-1"
KIND = os.environ.get("SQS_SERVER") or "ministack"


@pytest.fixture(scope="session")
def no_keys_of_ours() -> Iterator[None]:
    """No test uses the keys, the region or the settings of this machine: there are only these."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("AWS_") and name != "AWS_CA_BUNDLE":
                patch.delenv(name)
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def endpoint(no_keys_of_ours: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the server is."""
    server = Server(KIND, tmp_path_factory.mktemp("sqs-and-sns"))
    yield server.endpoint_url
    server.stop()


@pytest.fixture(scope="session")
def client(endpoint: str) -> Iterator[Any]:
    """A client of SQS, to look behind what is tested."""
    boto3: Any = importlib.import_module("boto3")
    made = boto3.Session().client("sqs", endpoint_url=endpoint, region_name=REGION)
    yield made
    made.close()


class Place(NamedTuple):
    """A queue of its own for one test."""

    url: str
    arn: str


@pytest.fixture
def make_queue(client: Any) -> Iterator[Callable[..., Place]]:
    made: list[str] = []

    def make(*, fifo: bool = False, **attributes: str) -> Place:
        name = f"test-{uuid.uuid4().hex}" + (".fifo" if fifo else "")
        if fifo:
            attributes["FifoQueue"] = "true"
        url: str = client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        made.append(url)
        facts = client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
        return Place(url, facts["QueueArn"])

    yield make
    for url in made:
        client.delete_queue(QueueUrl=url)


@pytest.fixture
def sns(endpoint: str) -> Iterator[SNS]:
    made = SNS(endpoint_url=endpoint, region=REGION)
    yield made
    made.close()


@pytest.fixture
def make_topic(sns: SNS, client: Any) -> Iterator[Callable[..., str]]:
    """Makes a topic that sends to a queue, in envelopes or raw; its ARN."""
    made: list[str] = []

    def make(queue: Place | None = None, *, raw: bool = False) -> str:
        arn = sns.create(f"test-{uuid.uuid4().hex}")
        made.append(arn)
        if queue is not None:
            client.set_queue_attributes(QueueUrl=queue.url, Attributes={"Policy": queue_policy(queue.arn, arn)})
            sns.subscribe(arn, queue.arn, raw=raw)
        return arn

    yield make
    for arn in made:
        sns.delete(arn)


@pytest.fixture
def open_queue(endpoint: str) -> Iterator[Callable[[Place], SQSQueue]]:
    opened: list[SQSQueue] = []

    def open_queue(place: Place, **options: Any) -> SQSQueue:
        queue = SQSQueue(place.url, endpoint_url=endpoint, region=REGION, **options)
        opened.append(queue)
        return queue

    yield open_queue
    for queue in opened:
        queue.close()
