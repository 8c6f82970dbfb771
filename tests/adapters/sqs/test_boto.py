"""The clients of boto3 that the adapter makes: their name, and what they check."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from queue_consumer_sqs import InvalidRequest
from queue_consumer_sqs._access import Access
from queue_consumer_sqs._aws import Client
from queue_consumer_sqs._boto import named
from queue_consumer_sqs._cut import Poll
from support.sqs_raw import RawServer

boto3: Any = importlib.import_module("boto3")
botocore: Any = importlib.import_module("botocore")


def session_with(**config: Any) -> Any:
    """A session whose clients are all made like this."""
    core = importlib.import_module("botocore.session").Session()
    core.set_default_client_config(importlib.import_module("botocore.config").Config(**config))
    return boto3.session.Session(botocore_session=core)


def names(server: RawServer, session: Any) -> str:
    """The name that a request has."""
    client = Client(Access(endpoint_url=server.endpoint_url, session=session, transport="boto3"))
    client.call("list_queues")
    client.close()
    return server.asked[-1].header("user-agent")


def test_the_name_of_requests() -> None:
    """Requests say that they are ours, by which boto3 and which botocore, and say it once for all."""
    with RawServer() as server:
        name = names(server, boto3.session.Session())
    assert name.startswith(f"Boto3/{boto3.__version__} ")
    assert name.split().count(f"Botocore/{botocore.__version__}") == 1
    assert name.split().count("lib/queue_consumer_sqs") == 1


def test_names_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has given his requests a name, his application an id, or more to add, finds it there."""
    with RawServer() as server:
        assert names(server, session_with(user_agent="mine")).split()[0] == "mine"
        assert names(server, session_with(user_agent_appid="shop")).count("app/shop") == 1
        added = names(server, session_with(user_agent_extra="more"))
        assert "more" in added.split()
        assert "lib/queue_consumer_sqs" in added.split()
        monkeypatch.setenv("AWS_SDK_UA_APP_ID", "shop")
        assert names(server, boto3.session.Session()).count("app/shop") == 1


def test_sessions_of_another_kind() -> None:
    """What is a session only as far as it makes clients, makes them."""
    assert named(object()) == {}


def test_what_is_checked() -> None:
    """What a user may have said wrongly is checked before it is sent; polls, whose arguments are ours, are not."""
    with RawServer() as server:
        client = Client(Access(endpoint_url=server.endpoint_url, transport="boto3"))
        with pytest.raises(InvalidRequest, match="Parameter validation failed"):
            client.call("send_message", QueueUrl="a", MessageBody="b", Nonsense=True)
        assert not server.asked
        client.receive(Poll(), QueueUrl="a", MaxNumberOfMessages="of another kind")
        assert server.asked[0].body["MaxNumberOfMessages"] == "of another kind"
        client.close()
