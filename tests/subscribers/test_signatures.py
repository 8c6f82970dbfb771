"""Signatures of SNS envelopes, with certificates made here: what is signed passes, and nothing else."""

from __future__ import annotations

import base64
import json
import pickle
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from queue_consumer.subscribers import (
    CertificateUnavailable,
    Decoder,
    NotInstalled,
    PayloadType,
    SignatureError,
    SnsSignatures,
)

URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem"
TOPIC = "arn:aws:sns:eu-west-1:1:shop"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CANONICAL = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def certificate(begins: int = -1, ends: int = 1) -> bytes:
    """One that is valid for these days from now."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(1).not_valid_before(now + timedelta(begins)).not_valid_after(now + timedelta(ends))
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


CERTIFICATE = certificate()


def signed(version: str = "2", **changes: Any) -> dict[str, Any]:
    """An envelope that SNS would sign so; changes are made before."""
    envelope: dict[str, Any] = {
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": TOPIC,
        "Message": "hello",
        "Timestamp": "2020-05-04T15:53:23.123Z",
        "SignatureVersion": version,
        "SigningCertURL": URL,
        **changes,
    }
    keys = CANONICAL[envelope["Type"]]
    text = "".join(f"{key}\n{envelope[key]}\n" for key in keys if key in envelope)
    how = hashes.SHA1() if version == "1" else hashes.SHA256()
    signature = KEY.sign(text.encode(), padding.PKCS1v15(), how)
    return {**envelope, "Signature": base64.b64encode(signature).decode()}


def check(fetch: Callable[[str], bytes] = lambda url: CERTIFICATE, **options: Any) -> SnsSignatures:
    return SnsSignatures(fetch=fetch, **options)


CONFIRMATION = {"Type": "SubscriptionConfirmation", "Token": "t", "SubscribeURL": "https://sns/subscribe"}


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("changes", [{}, {"Subject": "news"}, {"Message": "ação\n"}, CONFIRMATION])
def test_what_is_signed_passes(version: str, changes: dict[str, Any]) -> None:
    """Notifications and confirmations, with both versions of signatures."""
    check(topics=[TOPIC])(signed(version, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Message": "hello!"}, "the signature of the envelope is wrong"),
        ({"Subject": "added"}, "the signature of the envelope is wrong"),
        ({"TopicArn": "arn:aws:sns:eu-west-1:1:other"}, "none of those that may send"),
        ({"Signature": "AAAA"}, "the signature of the envelope is wrong"),
        ({"Signature": "not base64"}, "the signature of the envelope is wrong"),
        ({"Signature": None}, "not signed as SNS signs"),
        ({"SignatureVersion": "3"}, "not signed as SNS signs"),
        ({"Type": "Surprise"}, "not signed as SNS signs"),
        ({"Message": 5}, "not signed as SNS signs"),
        *[
            ({"SigningCertURL": url}, "the certificate is not SNS's")
            for url in (
                "http://sns.eu-west-1.amazonaws.com/x.pem",
                "https://sns.eu-west-1.amazonaws.com.evil.com/x.pem",
                "https://evil.com/sns.eu-west-1.amazonaws.com/x.pem",
                "https://sns.eu-west-1.amazonaws.com:8443/x.pem",
                "https://me@sns.eu-west-1.amazonaws.com/x.pem",
                "https://sns.eu-west-1.amazonaws.com/x.html",
                "https://s3.eu-west-1.amazonaws.com/x.pem",
            )
        ],
    ],
)
def test_what_is_not_signed_is_refused(changes: dict[str, Any], words: str) -> None:
    """Whatever was changed after it was signed; and no certificate is fetched from elsewhere."""
    with pytest.raises(SignatureError, match=words):
        check(topics=[TOPIC])({**signed(), **changes})


@pytest.mark.parametrize("days", [(-2, -1), (1, 2)])
def test_a_certificate_has_its_time(days: tuple[int, int]) -> None:
    """One that is not valid yet, or no longer, proves nothing."""
    with pytest.raises(SignatureError, match="not valid at this time"):
        check(lambda url: certificate(*days))(signed())


def test_what_is_no_certificate_is_none() -> None:
    """Whatever is answered in its place."""
    with pytest.raises(SignatureError, match="the certificate is none"):
        check(lambda url: b"<html>")(signed())


def test_a_certificate_is_fetched_once() -> None:
    """It is kept, and another process fetches its own."""
    fetched: list[str] = []

    def fetch(url: str) -> bytes:
        fetched.append(url)
        return CERTIFICATE

    signatures = check(fetch)
    for _ in range(3):
        signatures(signed())
    assert fetched == [URL]
    assert isinstance(pickle.loads(pickle.dumps(SnsSignatures([TOPIC]))), SnsSignatures)


def no_network(url: str) -> bytes:
    raise OSError("no network")


def test_what_could_not_be_checked_is_blameless() -> None:
    """Without the certificate, or the library, nothing is known of the message: it is invalid, and to be kept."""
    with pytest.raises(CertificateUnavailable, match="could not be fetched"):
        check(no_network)(signed())
    decoded = Decoder(verify=check(no_network)).decode(json.dumps(signed()))
    assert (decoded.payload_type, decoded.blameless) == (PayloadType.INVALID, True)
    forged = Decoder(verify=check()).decode(json.dumps({**signed(), "Message": "forged"}))
    assert (forged.payload_type, forged.blameless) == (PayloadType.INVALID, False)
    assert Decoder(verify=check()).decode(json.dumps(signed())).payload == "hello"


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sentence, at the first envelope."""
    monkeypatch.setitem(sys.modules, "cryptography.x509", None)
    with pytest.raises(NotInstalled, match=r"pip install 'queue-consumer\[signatures\]'"):
        check()(signed())
