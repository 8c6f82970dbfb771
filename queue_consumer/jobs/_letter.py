"""A job on its way: what it is called, and three texts. How it is laid out in a message, and found there again.

The layout is that of sqs-workers: arguments in the body, everything else in the message's attributes. Where a queue's
messages have no attributes, all of it is in the body, in an envelope, which is JSON whatever is in it.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ._errors import BadMessage

__all__ = ["CONTENT_TYPE", "JOB_CONTEXT", "JOB_NAME", "Letter", "Written", "body_of", "opened"]

JOB_NAME, CONTENT_TYPE, JOB_CONTEXT, JOB_BODY = "JobName", "ContentType", "JobContext", "JobBody"
ENVELOPE = '{"JobName": '  # how one begins
NOTHING: Any = {}


class Written(NamedTuple):
    """What a codec has written.

    Attributes:
        content_type: how it is to be read.
        body: the arguments.
        context: the values that travel along.
        typed: something in it comes back only by the annotations of the receiver.
    """

    content_type: str
    body: str
    context: str
    typed: bool = False


class Letter(NamedTuple):
    """A job as it came, unread. `content_type` may be missing, and `context` empty."""

    job: str
    content_type: Any
    body: Any
    context: Any

    def attributes(self) -> dict[str, str]:
        return {CONTENT_TYPE: self.content_type, JOB_CONTEXT: self.context, JOB_NAME: self.job}

    def envelope(self) -> str:
        return json.dumps(
            {
                JOB_NAME: self.job,
                CONTENT_TYPE: self.content_type,
                JOB_CONTEXT: self.context,
                JOB_BODY: self.body,
            }
        )


def body_of(item: Any) -> Any:
    """The payload of an item: its `body`, or itself where it has none."""
    return getattr(item, "body", item)


def opened(item: Any) -> Letter | None:
    """The job that an item brings; None if it brings none.

    Raises:
        BadMessage: it says that it is a job, and is none.
    """
    attributes = getattr(item, "attributes", None) or NOTHING
    name = attributes.get(JOB_NAME)
    if name is not None:
        if not isinstance(name, str):
            raise BadMessage(f"{JOB_NAME} must be the name of a job; got a value of type {type(name).__name__}")
        return Letter(name, attributes.get(CONTENT_TYPE), item.body, attributes.get(JOB_CONTEXT) or "")
    body = body_of(item)
    if isinstance(body, bytes) and body.startswith(ENVELOPE.encode()):
        body = text_of(body)
    if isinstance(body, str) and body.startswith(ENVELOPE):
        return unwrapped(body)
    return None


def unwrapped(text: str) -> Letter:
    try:
        parts: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise BadMessage("the message begins like an envelope of a job, and is no JSON") from None
    values = [parts.get(part, "") for part in (JOB_NAME, CONTENT_TYPE, JOB_BODY, JOB_CONTEXT)]
    if not all(isinstance(value, str) for value in values):
        raise BadMessage("the message begins like an envelope of a job, and has values that are not text")
    name, content_type, body, context = values
    return Letter(name, content_type or None, body, context)


def text_of(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadMessage("the body of the message must be text in UTF-8") from None
