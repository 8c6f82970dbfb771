"""The lean transport: the same requests as boto3's, written and read with as little work as they take.

botocore says where to, in whose name, and by which rules (`_borrowed`); signatures, connections and HTTP are our own.
Most of what a call costs with boto3 is done once here, or not at all: requests differ in a body, a date and a
signature.
"""

from __future__ import annotations

import itertools
import json
import ssl
import time
import uuid
from collections.abc import Mapping
from typing import Any, cast

from ._blobs import decode_blobs, encode_blobs, without_nulls
from ._borrowed import Borrowed, Refusal
from ._connections import Connection, Connections, Place
from ._cut import Cut, Poll
from ._errors import BadCredentials
from ._http import Answer, Closed, Garbled, Truncated, read_answer
from ._limits import WAIT_TIME
from ._retries import Retries, is_throttling, is_worth_another
from ._signing import CONTENT_TYPE, Signer, timestamp

__all__ = ["Lean"]

OURS = {  # operations whose arguments are never the user's
    "ChangeMessageVisibilityBatch",
    "DeleteMessageBatch",
    "ReceiveMessage",
}


class Lean:
    """Carries calls to the service; see `SQSClient`.

    Args:
        borrowed: what botocore has found out.
        connect_timeout: seconds, for each address of the server.
        read_timeout: seconds that an answer may take, beyond what the service was asked to wait.
    """

    def __init__(self, borrowed: Borrowed, *, connect_timeout: float, read_timeout: float) -> None:
        self._borrowed = borrowed
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._retries = Retries(borrowed.attempts)
        self._signer = Signer(
            host=borrowed.host_header, path=borrowed.path, region=borrowed.region, service=borrowed.service
        )
        self._place = Place(borrowed.host, borrowed.port, borrowed.security, borrowed.keepalive)
        self._connections = Connections()
        self._ids, self._numbers = str(uuid.uuid4())[:24], itertools.count()
        self._head = (
            f"POST {borrowed.path} HTTP/1.1\r\nHost: {borrowed.host_header}\r\nContent-Type: {CONTENT_TYPE}\r\n"
            f"User-Agent: {borrowed.user_agent}\r\nx-amzn-query-mode: true\r\n"
        )

    def call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        name = self._borrowed.operation(operation)
        if name not in OURS:
            self._borrowed.check(name, arguments)
        return self._made(name, arguments, self._retries.attempts, None)

    def receive(self, poll: Poll, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return self._made("ReceiveMessage", arguments, 1, poll)

    def interrupt(self) -> None:
        """There is nothing here that waits and is not cut."""

    def close(self) -> None:
        """Keep no connection from now on; calls that are made all the same have one each."""
        self._connections.close()

    def _id(self) -> str:
        """What the service may know a call by, however often it is made: drawn once, and then counted on."""
        number = next(self._numbers)
        return f"{self._ids}{number & 0xFFFFFFFFFFFF:012x}"

    # ------------------------------------------------------------------ attempts

    def _made(self, name: str, arguments: Mapping[str, Any], attempts: int, poll: Poll | None) -> dict[str, Any]:
        """Make the call, and again while that may help."""
        body = written(name, arguments)
        timeout = self._read_timeout
        if name == "ReceiveMessage":
            timeout += arguments.get("WaitTimeSeconds", WAIT_TIME.most)
        call, attempt, cost = self._id(), 0, 0
        while True:
            attempt += 1
            throttling, asked = False, None
            try:
                answer = self._exchange(name, body, call, f"attempt={attempt}; max={attempts}", timeout, poll)
            except Refusal as refusal:
                error = refusal.error
                again = refusal.is_worth_another
            else:
                if answer.status < 300:
                    self._retries.succeeded(cost)
                    return self._read(answer, attempt, attempts)
                error, code = self._borrowed.error_of(answer, name, attempt, attempts)
                again = is_worth_another(answer.status, code)
                throttling, asked = is_throttling(answer.status, code), answer.headers.get("x-amz-retry-after")
            paid = self._retries.pause(attempt, throttling, asked) if again and attempt < attempts else None
            if paid is None:
                raise error
            pause, cost = paid
            time.sleep(pause)

    def _exchange(self, name: str, body: bytes, call: str, attempt: str, timeout: float, poll: Poll | None) -> Answer:
        """One request and its answer.

        Raises:
            Cut: the poll was cut before the answer was here.
            Refusal: there is no answer.
        """
        request = self._request(name, body, call, attempt)
        connection, used = self._connections.take()
        try:
            if poll is not None:
                poll.begins(connection)
            try:
                answer = self._sent(connection, used, request, timeout)
            except Exception as error:
                if poll is not None and poll.is_cut:
                    raise Cut from None
                raise self._refusal(error, connection) from error
        except BaseException:
            connection.close()
            raise
        if answer.keeps:
            self._connections.give_back(connection)
        else:
            connection.close()
        return answer

    def _sent(self, connection: Connection, used: bool, request: bytes, timeout: float) -> Answer:
        if not used:
            connection.open(self._place, self._connect_timeout)
        try:
            connection.send(request, timeout)
        except (ConnectionError, ssl.SSLError):
            if not used:
                raise
            # It was closed while it was idle. The service has not had the whole request, so that it goes once more.
            connection.close()
            connection.open(self._place, self._connect_timeout)
            connection.send(request, timeout)
        return read_answer(connection.receive)

    def _refusal(self, error: Exception, connection: Connection) -> Refusal:
        """What boto3 would raise."""
        borrowed = self._borrowed
        match error:
            case Truncated(actual=actual, expected=expected):
                return borrowed.refusal(
                    "IncompleteReadError", again=False, actual_bytes=actual, expected_bytes=expected
                )
            case Garbled():
                return borrowed.refusal("HTTPClientError", error=error)
            case Closed():
                return borrowed.refusal("ConnectionClosedError", error=error, endpoint_url=borrowed.url)
            case ssl.SSLError():
                return borrowed.refusal("SSLError", error=error, endpoint_url=borrowed.url)
            case TimeoutError() if connection.is_open:
                return borrowed.refusal("ReadTimeoutError", error=error, endpoint_url=borrowed.url)
            case TimeoutError():
                return borrowed.refusal("ConnectTimeoutError", error=error, endpoint_url=borrowed.url)
            case OSError() if connection.is_open:
                return borrowed.refusal("ConnectionClosedError", error=error, endpoint_url=borrowed.url)
            case OSError():
                return borrowed.refusal("EndpointConnectionError", error=error, endpoint_url=borrowed.url)
            case _:
                return Refusal(error, is_worth_another=False)

    # ------------------------------------------------------------------ what is written and read

    def _request(self, name: str, body: bytes, call: str, attempt: str) -> bytes:
        credentials = self._borrowed.credentials()
        moment = timestamp(time.time())
        target = f"AmazonSQS.{name}"
        check_header("the id of the access key", credentials.access_key)
        check_header("the session token", credentials.token or "")
        token = f"X-Amz-Security-Token: {credentials.token}\r\n" if credentials.token else ""
        head = (
            f"{self._head}X-Amz-Target: {target}\r\nX-Amz-Date: {moment}\r\n{token}"
            f"Authorization: {self._signer.authorization(body, target, moment, credentials)}\r\n"
            f"amz-sdk-invocation-id: {call}\r\namz-sdk-request: {attempt}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("latin-1") + body

    def _read(self, answer: Answer, attempt: int, attempts: int) -> dict[str, Any]:
        body, headers = answer.body, answer.headers
        try:
            found: Any = json.loads(body) if body else {}
        except ValueError as error:
            raise self._borrowed.unreadable(f"the answer, of {len(body)} bytes, is not JSON") from error
        if not isinstance(found, dict):
            raise self._borrowed.unreadable(f"the answer, of {len(body)} bytes, is not an object in JSON")
        result = cast("dict[str, Any]", found)
        if b"null" in body:
            result = without_nulls(result)
        if b'"Binary' in body:
            try:
                decode_blobs(result)
            except ValueError as error:
                raise self._borrowed.unreadable(f"the answer has bytes that are not in base64: {error}") from error
        told: dict[str, Any] = {"HTTPStatusCode": answer.status, "HTTPHeaders": headers, "RetryAttempts": attempt - 1}
        if attempt >= attempts:
            told["MaxAttemptsReached"] = True
        if "x-amzn-requestid" in headers:
            told["RequestId"] = headers["x-amzn-requestid"]
        result["ResponseMetadata"] = told
        return result


def written(name: str, arguments: Mapping[str, Any]) -> bytes:
    """The body of a request: JSON, with bytes in base64."""
    if name in ("SendMessage", "SendMessageBatch"):
        arguments = encode_blobs(arguments)
    return json.dumps(arguments).encode()


def check_header(what: str, value: str) -> None:
    """Refuse what would be more than the value of a header; without showing it."""
    if not (value.isascii() and value.isprintable()):
        raise BadCredentials(f"{what} must be of printable ASCII characters, in one line; one of its characters is not")
