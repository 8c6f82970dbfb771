"""Whether SNS has signed an envelope: an option, for queues that others than SNS may send to.

`Decoder(verify=SnsSignatures(topics=[…]))`. Raw deliveries bring no envelope, and so no signature: there, the queue's
policy must say who may send.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from ._errors import NotInstalled, SignatureError, shown
from ._forms import from_base64

__all__ = ["CertificateUnavailable", "SnsSignatures"]

HOST = re.compile(r"sns\.[a-z0-9-]{3,40}\.amazonaws\.com(?:\.cn)?")
SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}
HASHES = {"1": "SHA1", "2": "SHA256"}
TIMEOUT = 5.0
LARGEST_CERTIFICATE = 64 * 1024
CERTIFICATES = 20  # that are kept


class CertificateUnavailable(SignatureError):
    """The certificate could not be fetched: nothing is known of the message, so it is kept, and tried again."""


def fetched(url: str) -> bytes:
    """The certificate, from AWS."""
    import urllib.request  # only here: it takes long to load, and few need it

    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        certificate: bytes = answer.read(LARGEST_CERTIFICATE)
    return certificate


class SnsSignatures:
    """Checks the signatures of SNS envelopes; needs the extra `signatures`.

    Args:
        topics: the ARNs of the topics that may send; None: any topic of anybody's, which proves little.
        fetch: gives the certificate for a URL; that is one of SNS's by then.
    """

    def __init__(self, topics: Iterable[str] | None = None, fetch: Callable[[str], bytes] = fetched) -> None:
        self._topics = None if topics is None else frozenset(topics)
        self._fetch = fetch
        self._keys: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return SnsSignatures, (self._topics, self._fetch)

    def __call__(self, envelope: Mapping[str, Any]) -> None:
        """Return if the envelope is signed.

        Raises:
            SignatureError: it is not, or not by a topic of ours; if that is `CertificateUnavailable`, who knows.
            NotInstalled: it needs the extra `signatures`.
        """
        topic = envelope.get("TopicArn")
        if self._topics is not None and topic not in self._topics:
            raise SignatureError(f"the topic {shown(topic)} is none of those that may send")
        keys = SIGNED.get(str(envelope.get("Type")), ())
        values = {key: envelope[key] for key in keys if envelope.get(key) is not None}
        hash_name = HASHES.get(str(envelope.get("SignatureVersion")))
        signature, url = envelope.get("Signature"), envelope.get("SigningCertURL")
        if not keys or hash_name is None or not all(isinstance(v, str) for v in (signature, url, *values.values())):
            raise SignatureError("the envelope is not signed as SNS signs")
        canonical = "".join(f"{key}\n{value}\n" for key, value in values.items()).encode("utf-8")
        key = self._key(str(url))
        library = importlib.import_module
        try:
            key.verify(
                from_base64(str(signature)),
                canonical,
                library("cryptography.hazmat.primitives.asymmetric.padding").PKCS1v15(),
                getattr(library("cryptography.hazmat.primitives.hashes"), hash_name)(),
            )
        except Exception as error:
            raise SignatureError("the signature of the envelope is wrong") from error

    def _key(self, url: str) -> Any:
        parts = urlsplit(url)
        if parts.scheme != "https" or not HOST.fullmatch(parts.netloc) or not parts.path.endswith(".pem"):
            raise SignatureError(f"the certificate is not SNS's: {shown(url)}")
        with self._lock:
            known = self._keys.get(url)
        if known is not None:
            return known
        try:
            x509: Any = importlib.import_module("cryptography.x509")
        except ImportError as error:
            raise NotInstalled("signatures need cryptography: pip install 'queue-consumer[signatures]'") from error
        try:
            text = self._fetch(url)
        except Exception as error:
            raise CertificateUnavailable(
                f"the certificate could not be fetched from {parts.netloc}: {error}"
            ) from error
        try:
            certificate = x509.load_pem_x509_certificate(text)
            now = datetime.now(UTC)
            if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
                raise SignatureError("the certificate is not valid at this time")
            key: Any = certificate.public_key()
        except ValueError as error:
            if isinstance(error, SignatureError):
                raise
            raise SignatureError(f"the certificate is none: {error}") from error
        with self._lock:
            if len(self._keys) >= CERTIFICATES:
                self._keys.clear()
            self._keys[url] = key
        return key
