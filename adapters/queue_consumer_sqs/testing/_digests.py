"""The MD5 sums that SQS sends with a message, so that both sides can see that it arrived whole."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Any

__all__ = ["of_attributes", "of_body"]


def of_body(body: str) -> str:
    return hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()


def of_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> str:
    """The sum over all of these, sorted by name: of each its name, its type, its kind and its value."""
    digest = hashlib.md5(usedforsecurity=False)
    for name, attribute in sorted(attributes.items()):
        text: str | None = attribute.get("StringValue")
        value: bytes = attribute["BinaryValue"] if text is None else text.encode()
        digest.update(counted(name.encode()) + counted(attribute["DataType"].encode()))
        digest.update((b"\x02" if text is None else b"\x01") + counted(value))
    return digest.hexdigest()


def counted(data: bytes) -> bytes:
    """The length, then the data."""
    return struct.pack(">I", len(data)) + data
