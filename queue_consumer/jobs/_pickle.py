"""Jobs in pickles, for those who come from them. Whoever can write one can run anything where it is read.

So no registry reads pickles unless it names this codec; and with a key it reads only those that were signed with it,
each for the job that it was signed for.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import pickle
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from ._errors import BadMessage
from ._letter import Written

__all__ = ["Pickle"]

LEAST_KEY = 16  # bytes
MOST = 64 * 2**20  # bytes of one pickle: a few of a message may stand for gigabytes of zeros
PYTHON_2 = 2  # the protocol of `pickle_compat`


class Pickle:
    """The codec `pickle`: pickled, compressed, in base64, as sqs-workers has it.

    Args:
        key: bytes, 16 at least, that sign what is sent, so that only what was signed is read, content type
            `pickle-signed`; or several: the first signs, and what any of them has signed is read. None: not signed,
            which is for queues that nobody else can send to.
        compatible: write what Python 2 can read, content type `pickle_compat`.
    """

    def __init__(self, key: bytes | Sequence[bytes] | None = None, *, compatible: bool = False) -> None:
        given: Any = key
        keys: list[Any] = [] if given is None else [given] if isinstance(given, (bytes, str)) else list(given)
        for one in keys:
            if not isinstance(one, bytes) or len(one) < LEAST_KEY:
                raise ValueError(f"Pickle: key must be at least {LEAST_KEY} bytes, or None; got {len(one)} of them")
        if given is not None and not keys:
            raise ValueError("Pickle: key must be bytes, or several of them, or None; got an empty sequence")
        self._keys: list[bytes] = keys
        self._protocol = PYTHON_2 if compatible else pickle.DEFAULT_PROTOCOL
        plain = ("pickle_compat", "pickle") if compatible else ("pickle", "pickle_compat")
        self.reads: tuple[str, ...] = ("pickle-signed",) if keys else plain

    def __repr__(self) -> str:
        return "Pickle(key=...)" if self._keys else "Pickle()"

    def encode(self, job: str, arguments: Any, context: Mapping[str, Any]) -> Written:
        values = base64.urlsafe_b64encode(self._packed(job, "context", dict(context))).decode()
        packed = self._packed(job, "body", arguments)
        if self._keys:
            packed = signature_of(self._keys[0], job, values, packed) + packed
        return Written(self.reads[0], base64.urlsafe_b64encode(packed).decode(), values)

    def decode(self, job: str, content_type: str, body: str, context: str) -> tuple[Any, Any]:
        packed = decoded("body", body)
        if self._keys:
            size = hashlib.sha256().digest_size
            signed, packed = packed[:size], packed[size:]
            if not any(hmac.compare_digest(signed, signature_of(key, job, context, packed)) for key in self._keys):
                raise BadMessage(f"the message was not signed for job {job!r} with a key of this registry")
        return unpacked("body", packed), unpacked("context", decoded("context", context)) if context else {}

    def _packed(self, job: str, part: str, value: Any) -> bytes:
        try:
            return zlib.compress(pickle.dumps(value, protocol=self._protocol))
        except Exception as error:
            raise TypeError(f"the {part} of job {job!r} cannot be pickled: {error}") from error


def signature_of(key: bytes, job: str, context: Any, packed: bytes) -> bytes:
    """Of the arguments of one job, with the context that they were sent with: for another, it proves nothing."""
    about = f"queue_consumer.jobs {len(job)} {job} {len(str(context))} {context} ".encode()
    return hmac.digest(key, about + packed, "sha256")


def decoded(part: str, text: Any) -> bytes:
    try:
        return base64.urlsafe_b64decode(text)
    except (TypeError, ValueError):
        raise BadMessage(f"the {part} of the message must be a pickle in base64, and is none") from None


def unpacked(part: str, packed: bytes) -> Any:
    try:
        unpack = zlib.decompressobj()
        data = unpack.decompress(packed, MOST)
    except zlib.error:
        raise BadMessage(f"the {part} of the message must be compressed, and is not") from None
    if unpack.unconsumed_tail:
        raise BadMessage(f"the {part} of the message is more than {MOST} bytes when it is unpacked")
    try:
        return pickle.loads(data)
    except Exception as error:
        raise BadMessage(f"the {part} of the message cannot be unpickled: {type(error).__name__}: {error}") from error
