"""Where SQS is measured: the server and a proxy that counts on one core, and the client, this process, on another."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from contender import NotInstalled
from cores import ANY, client_core, pin, server_core
from peers import peer

FAR_SIDE = Path(__file__).resolve().parent / "sqs_far_side.py"
CALL = 10  # messages
LOOPBACK = "127.0.0.1"
REGION = "us-east-1"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": LOOPBACK,  # a proxy of this machine does not lead to this machine
    "no_proxy": LOOPBACK,
}
BODY = "x" * 200


@dataclass(frozen=True)
class Seen:
    """A call as the proxy saw it, in seconds of the monotonic clock; `ended` is 0 if it has no answer.

    `count` is how many messages it gave, or how many of its entries were done.
    """

    operation: str
    queue: str
    began: float
    ended: float
    status: int
    count: int
    bodies: Sequence[str]


class Plain:
    """Calls of a server without a library, and without a signature, which local servers do not look at.

    For what surrounds a measurement: it costs a tenth of what boto3 does.
    """

    HEADERS: ClassVar = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Date": "20260101T000000Z",
        "Authorization": f"AWS4-HMAC-SHA256 Credential=bench/20260101/{REGION}/sqs/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature=0",
    }

    def __init__(self, endpoint_url: str) -> None:
        where = urlsplit(endpoint_url)
        self._connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=60)

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        headers = {**self.HEADERS, "X-Amz-Target": f"AmazonSQS.{operation}"}
        self._connection.request("POST", "/", json.dumps(arguments), headers)
        response = self._connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read() or b"{}")
        if response.status != http.client.OK:
            raise AssertionError(f"{operation} was answered with {response.status}: {answer}")
        return answer

    def make(self, name: str, **attributes: str) -> str:
        """The URL of a new queue."""
        url: str = self.ask("CreateQueue", QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def send(self, url: str, bodies: Iterable[str]) -> None:
        waiting = list(bodies)
        for start in range(0, len(waiting), CALL):
            part = enumerate(waiting[start : start + CALL])
            entries = [{"Id": str(number), "MessageBody": body} for number, body in part]
            self.ask("SendMessageBatch", QueueUrl=url, Entries=entries)

    def receive(self, url: str, *, wait: int = 0) -> list[str]:
        """The bodies of what another consumer is given; it is hidden by that."""
        answer = self.ask("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=CALL, WaitTimeSeconds=wait)
        return [message["Body"] for message in answer.get("Messages") or ()]

    def close(self) -> None:
        self._connection.close()


class Stand:
    """A server, with one proxy for each latency; while it stands, this process has a core for itself.

    Args:
        server: one of those that `tools/servers.sh` installs.
        latencies: seconds that a call takes longer by each of the proxies.
        pinned: whether each side keeps to a core.

    Attributes:
        endpoints: of the proxies.
        plain: goes to the server itself.
    """

    def __init__(self, server: str = "fauxqs", latencies: Sequence[float] = (0.0,), *, pinned: bool = True) -> None:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(ENVIRONMENT)
        core = server_core() if pinned else ANY
        command = [sys.executable, str(FAR_SIDE), server, str(core), *map(str, latencies)]
        if pinned:
            pin(client_core())
        # What it says is shown if the measurement fails.
        self._side = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            where = self._hear()
            if "missing" in where:
                raise NotInstalled(where["missing"])
            self.server: str = where["server"]
            self.endpoints: list[str] = where["proxies"]
            self.plain = Plain(self.server)
            self._urls: dict[str, str] = {}
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.plain.close()
        self._end()

    def queue(self, count: int = 0, *, name: str = "", **attributes: str) -> str:
        """The name of a new queue with so many messages in it."""
        name = name or f"bench-{uuid.uuid4().hex[:12]}"
        self._urls[name] = self.plain.make(name, **attributes)
        self.fill(name, count)
        return name

    def fill(self, name: str, count: int) -> None:
        self.plain.send(self._urls[name], [BODY] * count)

    def url(self, name: str) -> str:
        return self._urls[name]

    def calls(self, *operations: str, proxy: int = 0, queue: str = "", since: float = 0.0) -> list[Seen]:
        """What a proxy has seen since then, of these operations, or of all that come back again and again."""
        wanted = operations or ("ReceiveMessage", "DeleteMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch")
        found = [Seen(**call) for call in self._tell("calls", proxy=proxy)]
        return [
            call for call in found if call.operation in wanted and queue in ("", call.queue) and call.began >= since
        ]

    def open_polls(self, proxy: int = 0) -> int:
        opened: int = self._tell("opened", proxy=proxy)
        return opened

    def slow_down(self, operation: str, seconds: float, proxy: int = 0) -> None:
        """Let calls of this operation take so much longer from now on."""
        self._tell("slow_down", proxy=proxy, operation=operation, seconds=seconds)

    def _tell(self, name: str, **told: Any) -> Any:
        assert self._side.stdin is not None
        self._side.stdin.write(json.dumps({name: told}) + "\n")
        self._side.stdin.flush()
        return self._hear()

    def _hear(self) -> Any:
        assert self._side.stdout is not None
        line = self._side.stdout.readline()
        if not line:
            raise AssertionError("the far side has ended")
        return json.loads(line)

    def _end(self) -> None:
        assert self._side.stdin is not None
        assert self._side.stdout is not None
        self._side.stdin.close()
        self._side.stdout.close()
        try:
            self._side.wait(10)
        except subprocess.TimeoutExpired:
            self._side.kill()
            self._side.wait()


def client_of(endpoint_url: str) -> Any:
    """boto3's client with its default configuration."""
    return peer("boto3").client("sqs", endpoint_url=endpoint_url, region_name=REGION)


def counted(calls: Sequence[Seen]) -> int:
    """How many messages these calls deleted."""
    return sum(call.count for call in calls if call.operation.startswith("DeleteMessage"))
