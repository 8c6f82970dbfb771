"""Subscribers: who wants this message? Patterns, MEGA events, and a registry that is a handler.

    queue ─▶ Consumer ─▶ Subscribers ─┬─▶ EventSubscriber    MEGA events that match its attributes
                                      ├─▶ DataSubscriber     data that matches its pattern
                                      └─▶ MessageSubscriber  text, bytes, anything

`_values` is what two values come to; `_predicates`, `_leaves` and `_compiling` make checks of patterns, and `patterns`
is matching by itself. `_decoding` makes payloads of bodies, `_sns` opens envelopes, `mega` is the event protocol.
`_subscribers` is what users write, `_statuses` what their answers come to, and `_registry` puts it together.
"""

from . import mega
from ._decoding import CONTENT_TYPES, Decoded, Decoder, PayloadType
from ._encoding import Encoded, encode
from ._errors import (
    DecodingError,
    EncodingError,
    LeftHandSideTypeError,
    NotInstalled,
    PatternError,
    PredicateError,
    RightHandSideTypeError,
    SignatureError,
    SnsSchemaError,
)
from ._events import FatalHandled, MessageUnmatched, PredicateFailed, SubscriberFailed
from ._received import Received, received
from ._registry import AsyncSubscribers, RetriableError, Subscribers, Transform
from ._remembering import Memory, Remembered
from ._signatures import CertificateUnavailable, SnsSignatures
from ._sinks import DeadLetters, FatalFailure, FatalSink, ToFile
from ._sns import EmbeddedMessage, SnsNotification, SubscriptionConfirmation, UnsubscribeConfirmation
from ._statuses import Answer, Outcome, ProcessStatus
from ._subscribers import (
    DataSubscriber,
    EventSubscriber,
    FunctionSubscriber,
    MessageSubscriber,
    data_subscriber,
    event_subscriber,
    message_subscriber,
)
from .patterns import (
    CompiledPattern,
    DateTime,
    Explanation,
    Number,
    Pattern,
    absent,
    and_,
    any_,
    compile_pattern,
    empty,
    eq,
    evaluate,
    explain,
    gt,
    gte,
    in_,
    lt,
    lte,
    match,
    matches,
    neq,
    not_,
    one_of,
    optional,
    or_,
)

__all__ = [
    # subscribers
    "AsyncSubscribers",
    "DataSubscriber",
    "EventSubscriber",
    "FunctionSubscriber",
    "MessageSubscriber",
    "ProcessStatus",
    "Subscribers",
    "data_subscriber",
    "event_subscriber",
    "message_subscriber",
    # what becomes of messages
    "Answer",
    "DeadLetters",
    "FatalFailure",
    "FatalSink",
    "Memory",
    "Outcome",
    "Received",
    "Remembered",
    "RetriableError",
    "ToFile",
    "Transform",
    # patterns
    "CompiledPattern",
    "DateTime",
    "Explanation",
    "Number",
    "Pattern",
    "absent",
    "and_",
    "any_",
    "compile_pattern",
    "empty",
    "eq",
    "evaluate",
    "explain",
    "gt",
    "gte",
    "in_",
    "lt",
    "lte",
    "match",
    "matches",
    "neq",
    "not_",
    "one_of",
    "optional",
    "or_",
    # payloads
    "CONTENT_TYPES",
    "Decoded",
    "Decoder",
    "EmbeddedMessage",
    "Encoded",
    "PayloadType",
    "SnsNotification",
    "SnsSignatures",
    "SubscriptionConfirmation",
    "UnsubscribeConfirmation",
    "encode",
    "mega",
    "received",
    # events
    "FatalHandled",
    "MessageUnmatched",
    "PredicateFailed",
    "SubscriberFailed",
    # errors
    "CertificateUnavailable",
    "DecodingError",
    "EncodingError",
    "LeftHandSideTypeError",
    "NotInstalled",
    "PatternError",
    "PredicateError",
    "RightHandSideTypeError",
    "SignatureError",
    "SnsSchemaError",
]
