"""Signature version 4, for requests that differ in little: one host, one path, one service, and a body.

What does not change is prepared, and the key of a day is kept: of the seven hashes that a signature takes, four are the
same all day long. See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hmac
import time
from functools import lru_cache
from hashlib import sha256
from typing import Protocol
from urllib.parse import quote

__all__ = ["Credentials", "Signer", "canonical_path", "timestamp"]

CONTENT_TYPE = "application/x-amz-json-1.0"
SIGNED = "content-type;host;x-amz-date;x-amz-target;x-amzn-query-mode"
SIGNED_WITH_TOKEN = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target;x-amzn-query-mode"


class Credentials(Protocol):
    """In whose name a request is made, at one moment."""

    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...
    @property
    def token(self) -> str | None: ...


class Signer:
    """Signs requests to one endpoint.

    Args:
        host: as the request says it.
        path: as the request says it.
        region, service: what the signature is for.
    """

    def __init__(self, *, host: str, path: str, region: str, service: str) -> None:
        self._region = region
        self._service = service
        self._before = f"POST\n{canonical_path(path)}\n\ncontent-type:{CONTENT_TYPE}\nhost:{host}\nx-amz-date:"
        self._key: tuple[str, str, bytes] = "", "", b""  # of which day and secret

    def authorization(self, body: bytes, target: str, moment: str, credentials: Credentials) -> str:
        """The header of that name.

        Args:
            target: the operation, as the request says it.
            moment: as `timestamp` has it, and as the request says it.
        """
        token = credentials.token
        if token:
            signed, middle = SIGNED_WITH_TOKEN, f"\nx-amz-security-token:{' '.join(token.split())}"
        else:
            signed, middle = SIGNED, ""
        request = (
            f"{self._before}{moment}{middle}\nx-amz-target:{target}\nx-amzn-query-mode:true\n\n{signed}\n"
            f"{sha256(body).hexdigest()}"
        )
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        signature = hmac.digest(
            self._key_of(moment[:8], credentials.secret_key),
            f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{sha256(request.encode()).hexdigest()}".encode(),
            "sha256",
        ).hex()
        return (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={signed}, "
            f"Signature={signature}"
        )

    def _key_of(self, day: str, secret: str) -> bytes:
        kept_day, kept_secret, key = self._key  # one value, so that threads never see the key of another day
        if kept_day != day or kept_secret != secret:
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key = day, secret, key
        return key


def canonical_path(path: str) -> str:
    """The path as it is signed: without dots and double slashes, and quoted once more."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    end = "/" if path.endswith("/") and parts else ""
    return quote(f"/{'/'.join(parts)}{end}", safe="/~")


def timestamp(now: float) -> str:
    """A moment as signatures have it."""
    return of_second(int(now))


@lru_cache(maxsize=4)
def of_second(now: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
