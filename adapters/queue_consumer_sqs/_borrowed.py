"""What the lean transport has of botocore: where the service is, in whose name and by which rules, and its errors.

How all of that is found is botocore's business: a client of boto3 is made, and asked for a request, which is not sent.
So variables, profiles, special endpoints and sources of credentials work as they do with boto3. The lean transport must
be able to write that very request itself, to the last byte of the signature; where it cannot, or where botocore would
do something else that it does not do, it is not used.
"""

from __future__ import annotations

import os
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from ._access import Access
from ._boto import library
from ._http import Answer
from ._signing import Credentials, Signer

__all__ = ["Borrowed", "Refusal", "Unsupported", "borrow"]

SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=([^,]+)/(\d{8})/([^/,]+)/([^/,]+)/aws4_request, ")
HEADERS = {  # that the lean transport writes as well
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "authorization",
    "content-length",
    "content-type",
    "user-agent",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-target",
    "x-amzn-query-mode",
}
CONTENT = {"content-type": "application/x-amz-json-1.0", "x-amzn-query-mode": "true"}
ATTEMPTS = {"legacy": 5, "standard": 3}  # of botocore, where nobody has said how many


class Unsupported(Exception):
    """The lean transport cannot do what boto3 would; the words say what."""


class Refusal(Exception):
    """There was no answer.

    Attributes:
        error: what boto3 would raise.
        is_worth_another: it may go better next time.
    """

    def __init__(self, error: Exception, *, is_worth_another: bool) -> None:
        super().__init__(error)
        self.error, self.is_worth_another = error, is_worth_another


class Key(NamedTuple):
    """Credentials that stay what they are."""

    access_key: str
    secret_key: str
    token: str | None


class Sent(NamedTuple):
    """The request that botocore would have sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class Borrowed:
    """What is known of the service.

    Attributes:
        url: where requests go to, as botocore's errors tell it.
        host, port, path, host_header: of it.
        region, service: what signatures are for.
        user_agent: what is sent as such.
        attempts: the most of a call.
        security: None for plain HTTP.
        keepalive: whether the system is to look if the server is still there.
        credentials: those to use now; they are renewed in time if they are of the kind that can be.
    """

    def __init__(self, client: Any, sent: Sent, scope: re.Match[str], credentials: Callable[[], Credentials]) -> None:
        url = urlsplit(sent.url)
        self.url = sent.url
        self.host = url.hostname or ""
        self.port = url.port or (443 if url.scheme == "https" else 80)
        self.path = url.path or "/"
        self.host_header = host_header(sent.url)
        self.region, self.service = scope[3], scope[4]
        self.user_agent = sent.headers["user-agent"]
        retries: Mapping[str, Any] = client.meta.config.retries or {}
        self.attempts = int(retries.get("total_max_attempts") or ATTEMPTS.get(retries.get("mode", ""), 3))
        self.keepalive = bool(client.meta.config.tcp_keepalive)
        self.security = security_of(client) if url.scheme == "https" else None
        self.credentials = credentials
        self._client = client
        self._operations: Mapping[str, str] = client.meta.method_to_api_mapping
        self._parser: Any = library("botocore.parsers").create_parser("json")
        self._validator: Any = library("botocore.validate").ParamValidator()

    def operation(self, method: str) -> str:
        """What the service calls what boto3's clients have as this method.

        Raises:
            AttributeError: there is no such method.
        """
        try:
            return self._operations[method]
        except KeyError:
            raise AttributeError(f"SQS has no operation {method!r}") from None

    def check(self, operation: str, arguments: Mapping[str, Any]) -> None:
        """Raise what boto3 raises of arguments that the operation does not have, or of another kind."""
        report = self._validator.validate(
            arguments, self._client.meta.service_model.operation_model(operation).input_shape
        )
        if report.has_errors():
            raise library("botocore.exceptions").ParamValidationError(report=report.generate_report())

    def error_of(self, answer: Answer, operation: str, attempt: int, attempts: int) -> tuple[Exception, str]:
        """What boto3 raises of such an answer, and the code in it."""
        response = {"status_code": answer.status, "headers": answer.headers, "body": answer.body}
        try:
            parsed: dict[str, Any] = self._parser.parse(response, None)
            error: Mapping[str, Any] = parsed.get("Error", {})
            code = str(error.get("Code", ""))
            shape = self._client.meta.service_model.shape_for_error_code(code)
            if shape is not None:
                parsed.update(self._parser.parse(response, shape))
        except Exception as unreadable:
            return self.unreadable(f"the answer is {answer.status}, and not to be read: {unreadable!r}"), ""
        parsed["ResponseMetadata"]["RetryAttempts"] = attempt - 1
        if attempt >= attempts:
            parsed["ResponseMetadata"]["MaxAttemptsReached"] = True
        kind = self._client.exceptions.from_code(error.get("QueryErrorCode") or code)
        return kind(parsed, operation), code

    def refusal(self, name: str, *, again: bool = True, **facts: Any) -> Refusal:
        """One of botocore's exceptions."""
        return Refusal(getattr(library("botocore.exceptions"), name)(**facts), is_worth_another=again)

    def unreadable(self, why: str) -> Exception:
        error: Exception = library("botocore.parsers").ResponseParserError(why)
        return error


def borrow(client: Any, session: Any, access: Access) -> Borrowed:
    """Ask botocore for all of it.

    Args:
        client: of boto3, for this access.
        session: of boto3, that it was made of.

    Raises:
        Unsupported: the lean transport cannot do the same.
    """
    config = getattr(getattr(client, "meta", None), "config", None)
    if config is None or not hasattr(client.meta, "events"):
        raise Unsupported("a session that makes other clients than boto3's")
    retries: Mapping[str, Any] = config.retries or {}
    if retries.get("mode") == "adaptive":
        raise Unsupported("retries in adaptive mode")
    if config.client_cert:
        raise Unsupported("a certificate of the client")
    sent = asked_for(client)
    url = urlsplit(sent.url)
    if url.scheme not in ("http", "https") or url.query or url.username is not None or not url.hostname:
        raise Unsupported("an endpoint with a query, a name or a password")
    if not re.fullmatch("[!-~]*", url.path + host_header(sent.url)):
        raise Unsupported("an endpoint whose address has other characters than those of ASCII, or blanks")
    agent = sent.headers.get("user-agent", "")
    if not (agent.isascii() and agent.isprintable()):
        raise Unsupported("a user agent that has other characters than those of ASCII")
    of_environment: Any = library("botocore.utils").get_environ_proxies
    proxies: Any = config.proxies or of_environment(sent.url)
    if url.scheme in proxies:
        raise Unsupported("a proxy, which the environment or the configuration has for this endpoint")
    extra = sorted(set(sent.headers) - HEADERS)
    if sent.method != "POST" or extra or any(sent.headers.get(name) != value for name, value in CONTENT.items()):
        raise Unsupported(f"requests as botocore makes them here ({', '.join(extra) or sent.method})")
    scope = SCOPE.match(sent.headers.get("authorization", ""))
    if scope is None:
        raise Unsupported("signatures of another kind than version 4")
    credentials = source_of(session, access)
    borrowed = Borrowed(client, sent, scope, credentials)
    check_signature(borrowed, sent)
    return borrowed


class Nothing:
    """The body of an answer that says nothing."""

    def stream(self) -> Iterator[bytes]:
        yield b"{}"


def asked_for(client: Any) -> Sent:
    """A request as botocore makes it, at the last moment before it is sent."""
    event, us, made = "before-send", threading.get_ident(), list[Any]()  # the event that comes after all others
    answer: Any = library("botocore.awsrequest").AWSResponse("", 200, {"x-made-up": "yes"}, Nothing())

    def keep(request: Any, **_: Any) -> Any:
        if threading.get_ident() != us:
            return None
        made.append(request)
        return answer

    client.meta.events.register_last(event, keep)
    try:
        told = client.list_queues()["ResponseMetadata"]["HTTPHeaders"]
    finally:
        client.meta.events.unregister(event, keep)
    if not made or "x-made-up" not in told:
        raise Unsupported("botocore with something else in the place of the service")
    request = made[0]
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
    }
    body = request.body or b""
    return Sent(request.method, request.url, headers, body.encode() if isinstance(body, str) else body)


def source_of(session: Any, access: Access) -> Callable[[], Credentials]:
    """What gives the credentials of each moment, as botocore asks for them before each request."""
    if access.access_key_id is not None and access.secret_access_key is not None:
        key = Key(access.access_key_id, access.secret_access_key, access.session_token)
        return lambda: key
    found = session.get_credentials() if hasattr(session, "get_credentials") else None
    if found is None:
        raise Unsupported("credentials that the session does not know of")
    return cast("Callable[[], Credentials]", found.get_frozen_credentials)


def check_signature(borrowed: Borrowed, sent: Sent) -> None:
    """See that ours is botocore's."""
    signer = Signer(host=borrowed.host_header, path=borrowed.path, region=borrowed.region, service=borrowed.service)
    ours = signer.authorization(
        sent.body, sent.headers["x-amz-target"], sent.headers["x-amz-date"], borrowed.credentials()
    )
    if ours != sent.headers["authorization"]:
        raise Unsupported("signatures as botocore makes them here")


def host_header(url: str) -> str:
    """What a request says of whom it is for."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    usual = {"http": 80, "https": 443}[parts.scheme]
    return host if parts.port in (None, usual) else f"{host}:{parts.port}"


def security_of(client: Any) -> ssl.SSLContext:
    """How certificates are checked: by those that boto3 trusts."""
    http = getattr(getattr(client, "_endpoint", None), "http_session", None)
    verify = getattr(http, "_verify", None)
    if verify is True:
        verify = library("botocore.httpsession").get_cert_path(True)
    if not isinstance(verify, (str, os.PathLike)):
        raise Unsupported("HTTPS whose certificates are not checked")
    where = os.fspath(cast("str", verify))
    folder = where if os.path.isdir(where) else None
    try:
        context = ssl.create_default_context(cafile=None if folder else where, capath=folder)
    except OSError as error:
        raise Unsupported(f"the certificates in {where}, which cannot be read ({error})") from error
    context.set_alpn_protocols(["http/1.1"])
    return context
