"""The border to boto3: the only file that imports it, and only when a queue is opened.

Two things are done here that boto3 does not do. Each queue has two clients, one for polls and one for all the rest, so
that a delete never waits for a connection behind a long poll. And a long poll can be cut: boto3 offers no way to end
a call that waits for its answer, so connections of the poll client tell who is using them, and to cut a poll is to
shut down its socket. What that means for messages stands in `_polling`.
"""

from __future__ import annotations

import importlib
import os
import queue
import threading
from collections.abc import Mapping
from typing import Any

from ._access import Access
from ._cut import Cut, Poll, no_poll
from ._errors import NotInstalled
from ._limits import WAIT_TIME

__all__ = [
    "CONNECTIONS",
    "CONNECT_TIMEOUT",
    "ONE_ATTEMPT",
    "READ_TIMEOUT",
    "RETRIES",
    "Boto3",
    "Clients",
    "library",
    "make_cuttable",
    "service_error",
]

CONNECT_TIMEOUT = 2.0  # of which a cut must wait for the end
READ_TIMEOUT = 5.0  # of a poll, beyond what it waits for
CONNECTIONS = 50  # kept open, of each of the two clients
RETRIES = {"mode": "standard", "total_max_attempts": 3}  # of calls other than polls, which are never given up
ONE_ATTEMPT = {"mode": "standard", "total_max_attempts": 1}  # of polls

_running = threading.local()  # .poll: the one that this thread makes


class Clients:
    """The two boto3 clients of one access. Made when first needed, or of the one that the user gave."""

    def __init__(self, access: Access, service: str = "sqs") -> None:
        self.access = access
        self._service = service
        self._lock = threading.Lock()
        self._session: Any = access.session
        self._polls: Any = None
        self._work: Any = None
        self._process = os.getpid()
        if access.client is not None:
            refuse_parts(access.client, service)

    @property
    def session(self) -> Any:
        """The boto3 session that both are made of, so that credentials are looked for once."""
        if self._session is None:
            self._session = library("boto3").session.Session(profile_name=self.access.profile)
        return self._session

    def _leave_to_parent(self) -> None:
        """In a forked child: the connections are the parent's, and whoever shares them would mix up answers."""
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), threading.Lock()
            self._session, self._polls, self._work = self.access.session, None, None

    @property
    def work(self) -> Any:
        self._leave_to_parent()
        with self._lock:
            if self._work is None:
                self._work = self.access.client or make_client(
                    self.session, self.access, self.access.retries or RETRIES, READ_TIMEOUT, service=self._service
                )
            return self._work

    @property
    def polls(self) -> Any:
        self._leave_to_parent()
        with self._lock:
            if self._polls is None:
                given = self.access.client
                self._polls = given or make_client(
                    self.session, self.access, ONE_ATTEMPT, WAIT_TIME.most + READ_TIMEOUT, checks=False
                )
                make_cuttable(self._polls)
            return self._polls

    def close(self) -> None:
        """Close what is ours; a client that was given stays open."""
        with self._lock:
            clients, self._polls, self._work = (self._polls, self._work), None, None
        for client in clients:
            if client is not None and self.access.client is None:
                close_client(client)

    def renew(self) -> bool:
        """Look for credentials anew at the next call, since those that there are were refused; False if they stay."""
        access = self.access
        if access.client is not None or access.session is not None or access.access_key_id is not None:
            return False
        self.close()
        with self._lock:
            self._session = None
        return True


class Boto3:
    """Carries calls by boto3; see `SQSClient`."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = getattr(self._clients.work, operation)(**arguments)
        return answer

    def receive(self, poll: Poll, arguments: Mapping[str, Any]) -> dict[str, Any]:
        polls = self._clients.polls
        _running.poll = poll
        try:
            if poll.is_cut:
                raise Cut
            answer: dict[str, Any] = polls.receive_message(**arguments)
            return answer
        except Exception:  # which a cut connection may raise any of
            if poll.is_cut:
                raise Cut from None
            raise
        finally:
            _running.poll = None

    def interrupt(self) -> None:
        """Of a client that was given, and can do that by itself."""
        interrupt = getattr(self._clients.access.client, "interrupt", None)
        if callable(interrupt):
            interrupt()

    def close(self) -> None:
        self._clients.close()


def make_client(
    session: Any,
    access: Access,
    retries: Mapping[str, Any],
    read_timeout: float,
    *,
    service: str = "sqs",
    checks: bool = True,
) -> Any:
    """A client of this access.

    Args:
        checks: whether arguments are checked before they are sent; where they are all our own, that is for nothing.
    """
    config = library("botocore.config")
    client = session.client(
        service,
        region_name=access.region,
        endpoint_url=access.endpoint_url,
        aws_access_key_id=access.access_key_id,
        aws_secret_access_key=access.secret_access_key,
        aws_session_token=access.session_token,
        config=config.Config(
            retries=dict(retries),
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=read_timeout,
            max_pool_connections=CONNECTIONS,
            parameter_validation=checks,
            **named(session),
        ),
    )
    refuse_parts(client, service)
    return client


def named(session: Any) -> dict[str, str]:
    """The name that requests have of their program, made once; botocore makes it anew for each of them.

    Who has given a name of his own, or of his application, is named as botocore does it.
    """
    core: Any = getattr(session, "_session", None)
    if not all(hasattr(core, name) for name in ("user_agent", "get_config_variable", "get_default_client_config")):
        return {}
    given = core.get_default_client_config()
    if getattr(given, "user_agent", None) or getattr(given, "user_agent_appid", None):
        return {}
    try:
        if core.get_config_variable("user_agent_appid"):
            return {}
    except Exception:
        return {}  # whatever is wrong with the configuration is told by whoever needs it
    name = str(core.user_agent())
    added = getattr(core, "user_agent_extra", None)  # by botocore once more
    return {"user_agent": f"{name.removesuffix(f' {added}')} lib/queue_consumer_sqs"}


def close_client(client: Any) -> None:
    """Close it and its connections; botocore forgets them only, and leaves them to the garbage collector."""
    http = getattr(getattr(client, "_endpoint", None), "http_session", None)
    pools: Any = getattr(getattr(http, "_manager", None), "pools", {})
    for key in list(pools.keys()):
        idle: Any = getattr(pools.get(key), "pool", None)
        try:
            while idle is not None:
                connection = idle.get(block=False)
                if connection is not None:
                    connection.close()
        except queue.Empty:
            pass  # and the pool is as good as new, for whoever is in the middle of a call
    client.close()


def refuse_parts(client: Any, service: str) -> None:
    """Let an answer of which the end is missing be an error; botocore takes it for one that says nothing."""
    events = getattr(getattr(client, "meta", None), "events", None)
    if events is not None:
        events.register(f"before-parse.{service}", check_whole, unique_id="queue_consumer_sqs")


def check_whole(response_dict: Mapping[str, Any], **_: Any) -> None:
    expected, actual = response_dict["headers"].get("content-length"), len(response_dict["body"])
    if expected is not None and int(expected) != actual:
        broken: Any = library("botocore.exceptions")
        raise broken.IncompleteReadError(actual_bytes=actual, expected_bytes=expected)


def library(name: str, extras: str = "sqs") -> Any:
    """A module of what is installed by these extras of ours."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotInstalled(
            f"queue_consumer_sqs needs {name.partition('.')[0]}: pip install 'queue-consumer[{extras}]'"
        ) from error


def make_cuttable(client: Any) -> None:
    """Let the connections that a client makes from now on say who uses them, and a poll that was cut be over.

    botocore has no public door to its connections. Where its rooms look otherwise, polls cannot be cut, and stopping
    takes as long as they do.
    """
    http = getattr(getattr(client, "_endpoint", None), "http_session", None)
    classes: dict[str, Any] | None = getattr(http, "_pool_classes_by_scheme", None)
    manager: Any = getattr(http, "_manager", None)
    if classes is None or manager is None:
        return
    telling_ones = {scheme: telling(kind) for scheme, kind in classes.items()}
    if telling_ones == classes:
        return
    classes.update(telling_ones)
    manager.clear()  # the pools that there are have connections of the old kind
    client.meta.events.register_first("needs-retry.sqs.ReceiveMessage", give_up_if_cut)


def give_up_if_cut(response: Any = None, **_: Any) -> None:
    poll: Poll | None = getattr(_running, "poll", None)
    if response is None and poll is not None and poll.is_cut:  # what has arrived is not thrown away
        raise Cut


def telling(kind: Any) -> Any:
    """A connection pool as this one, whose connections tell the poll that uses them."""
    if hasattr(kind.ConnectionCls, "tells"):
        return kind

    plain: Any = kind.ConnectionCls

    class Connection(plain):  # type: ignore[misc]  # whatever class botocore uses
        tells = True

        def request(self, *args: Any, **kwargs: Any) -> Any:
            poll: Poll | None = getattr(_running, "poll", None)
            if poll is None:
                no_poll(self)
            else:
                poll.begins(self)
            return plain.request(self, *args, **kwargs)

        def connect(self) -> None:
            plain.connect(self)
            poll: Poll | None = getattr(_running, "poll", None)
            if poll is not None:
                poll.connected()

    class Pool(kind):  # type: ignore[misc]
        ConnectionCls = Connection

    return Pool


def service_error(code: str, message: str, operation: str, status: int = 400) -> Exception:
    """An error as the service gives it: botocore's, if that is installed."""
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    try:
        kind: Any = importlib.import_module("botocore.exceptions").ClientError
    except ImportError:
        kind = ServiceError
    error: Exception = kind(response, operation)
    return error


class ServiceError(Exception):
    """What botocore's ClientError is, without botocore."""

    def __init__(self, response: Mapping[str, Any], operation_name: str) -> None:
        error = response["Error"]
        super().__init__(f"An error occurred ({error['Code']}) when calling {operation_name}: {error['Message']}")
        self.response, self.operation_name = response, operation_name
