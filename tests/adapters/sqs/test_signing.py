"""Signatures: those that botocore makes, for whatever there is to sign."""

from __future__ import annotations

import importlib
import string
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from queue_consumer_sqs._signing import CONTENT_TYPE, Signer, canonical_path, timestamp

AUTH: Any = importlib.import_module("botocore.auth")
REQUEST: Any = importlib.import_module("botocore.awsrequest").AWSRequest
UTILS: Any = importlib.import_module("botocore.utils")


class Key(NamedTuple):
    access_key: str
    secret_key: str
    token: str | None


visible = st.text(string.ascii_letters + string.digits + "/+=_-.", min_size=1, max_size=60)
tokens = st.none() | st.text(string.ascii_letters + string.digits + "/+= \t", max_size=200).filter(
    lambda token: not token or token.strip()
)
keys = st.builds(Key, visible, st.text(min_size=1, max_size=60), tokens)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: timestamp(moment.timestamp())
)
hosts = st.sampled_from(["sqs.eu-west-1.amazonaws.com", "localhost:4566", "127.0.0.1:80", "[::1]:4566"])
paths = st.text(string.ascii_letters + string.digits + "/.~%-_ :@!$&'()*+,;=ä", max_size=30).map("/".__add__)


def by_botocore(host: str, path: str, region: str, body: bytes, target: str, moment: str, key: Key) -> str:
    """What botocore has as the header."""
    signer = AUTH.SigV4Auth(key, "sqs", region)
    headers = {
        "Host": host,
        "Content-Type": CONTENT_TYPE,
        "X-Amz-Target": target,
        "X-Amz-Date": moment,
        "x-amzn-query-mode": "true",
        "User-Agent": "is not signed",
        **({"X-Amz-Security-Token": key.token} if key.token else {}),
    }
    request = REQUEST(method="POST", url=f"https://{host}{path}", data=body, headers=headers)
    request.context["timestamp"] = moment
    asked = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, asked), request)
    names = signer.signed_headers(signer.headers_to_sign(request))
    return f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, SignedHeaders={names}, Signature={signature}"


@settings(max_examples=500)
@given(
    host=hosts,
    path=paths,
    region=visible,
    requests=st.lists(
        st.tuples(st.binary(max_size=300), st.sampled_from(["ReceiveMessage", "SendMessage"]), moments, keys),
        min_size=1,
        max_size=4,
    ),
)
@example(host="localhost", path="/", region="us-east-1", requests=[(b"", "x", "20261231T235959Z", Key("a", "b", ""))])
def test_as_botocore(host: str, path: str, region: str, requests: list[tuple[bytes, str, str, Key]]) -> None:
    """One signer signs many requests, of other days and with other keys, and each as botocore does."""
    signer = Signer(host=host, path=path, region=region, service="sqs")
    for body, operation, moment, key in [*requests, *requests]:
        target = f"AmazonSQS.{operation}"
        ours = signer.authorization(body, target, moment, key)
        assert ours == by_botocore(host, path, region, body, target, moment, key)


@given(paths)
def test_paths_as_botocore(path: str) -> None:
    """A path is made canonical as botocore does it."""
    assert canonical_path(path) == AUTH.quote(UTILS.normalize_url_path(path), safe="/~")


@pytest.mark.parametrize(
    ("path", "canonical"),
    [("", "/"), ("/", "/"), ("/a/./b/../c//d/", "/a/c/d/"), ("/..", "/"), ("/ä b", "/%C3%A4%20b")],
)
def test_paths(path: str, canonical: str) -> None:
    """Dots and double slashes are gone, and what is not plain is quoted."""
    assert canonical_path(path) == canonical


def test_the_key_of_a_day_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as day and secret stay, four of the five hashes with a key are not made again."""
    made: list[bytes] = []
    signing: Any = importlib.import_module("queue_consumer_sqs._signing")
    plain = signing.hmac.digest

    def counting(key: bytes, message: bytes, digest: Any) -> Any:
        made.append(message)
        return plain(key, message, digest)

    monkeypatch.setattr(signing.hmac, "digest", counting)
    signer = Signer(host="localhost", path="/", region="us-east-1", service="sqs")
    counts: list[int] = []
    for day, secret in (("20260101", "a"), ("20260101", "a"), ("20260102", "a"), ("20260102", "b"), ("20260102", "b")):
        before = len(made)
        signer.authorization(b"", "AmazonSQS.ReceiveMessage", f"{day}T000000Z", Key("key", secret, None))
        counts.append(len(made) - before)
    assert counts == [5, 1, 5, 5, 1]
