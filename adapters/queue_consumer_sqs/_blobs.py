"""Bytes in requests and answers, which are base64 in JSON; and what is null there, which boto3 leaves out."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, cast

__all__ = ["decode_blobs", "encode_blobs", "without_nulls"]

ATTRIBUTES = ("MessageAttributes", "MessageSystemAttributes")


def encode_blobs(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of a send, as they are written; those that are given stay as they are."""
    changed = {name: encoded_all(arguments[name]) for name in ATTRIBUTES if arguments.get(name)}
    entries = arguments.get("Entries")
    if entries and any(entry.get(name) for entry in entries for name in ATTRIBUTES):
        changed["Entries"] = [encode_blobs(entry) for entry in entries]
    return {**arguments, **changed} if changed else arguments


def encoded_all(attributes: Mapping[str, Mapping[str, Any]]) -> Any:
    return {name: encoded_one(value) for name, value in attributes.items()}


def encoded_one(value: Mapping[str, Any]) -> Any:
    if "BinaryValue" not in value and "BinaryListValues" not in value:
        return value
    value = dict(value)
    if "BinaryValue" in value:
        value["BinaryValue"] = encoded(value["BinaryValue"])
    if "BinaryListValues" in value:
        value["BinaryListValues"] = [encoded(blob) for blob in value["BinaryListValues"]]
    return value


def encoded(blob: Any) -> str:
    given: Any = blob.encode() if isinstance(blob, str) else blob.read() if hasattr(blob, "read") else blob
    return base64.b64encode(given).decode()


def decode_blobs(answer: Mapping[str, Any]) -> None:
    """Put bytes into the messages of an answer.

    Raises:
        ValueError: it is not base64.
    """
    messages: Iterable[Mapping[str, Any]] = answer.get("Messages") or ()
    for message in messages:
        attributes: Mapping[str, dict[str, Any]] = message.get("MessageAttributes") or {}
        for value in attributes.values():
            if "BinaryValue" in value:
                value["BinaryValue"] = base64.b64decode(value["BinaryValue"])
            if "BinaryListValues" in value:
                value["BinaryListValues"] = [base64.b64decode(blob) for blob in value["BinaryListValues"]]


def without_nulls(value: Any) -> Any:
    """The same, without what is null in objects, at any depth."""
    match value:
        case dict():
            members = cast("dict[str, Any]", value)
            return {name: without_nulls(member) for name, member in members.items() if member is not None}
        case list():
            return [without_nulls(item) for item in listed(value)]
        case _:
            return value


def listed(value: Any) -> Iterable[Any]:
    return cast("Iterable[Any]", value)
