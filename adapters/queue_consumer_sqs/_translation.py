"""From what boto3 raises to what we raise: by AWS's error code, by the HTTP status, or by the name of the exception."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from ._cut import Cut
from ._errors import (
    AccessDenied,
    BadCredentials,
    InvalidRequest,
    QueueNotFound,
    SQSError,
    Throttled,
    Unreachable,
)

__all__ = ["error_kind", "translated", "translating"]

KINDS: Mapping[str, type[SQSError]] = {
    code: kind
    for kind, codes in {
        QueueNotFound: ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "NonExistentQueue"),
        AccessDenied: (
            "AccessDenied",
            "AccessDeniedException",
            "AuthorizationError",
            "UnauthorizedOperation",
            "KmsAccessDenied",
            "KMS.AccessDeniedException",
            "KmsDisabled",
            "KmsNotFound",
            "KmsInvalidState",
            "KmsInvalidKeyUsage",
            "KmsOptInRequired",
            "OptInRequired",
        ),
        BadCredentials: (
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "InvalidAccessKeyId",
            "InvalidClientTokenId",
            "InvalidSecurity",
            "MissingAuthenticationToken",
            "RequestExpired",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
            "NoCredentialsError",
            "PartialCredentialsError",
            "CredentialRetrievalError",
            "TokenRetrievalError",
            "UnauthorizedSSOTokenError",
            "SSOTokenLoadError",
            "ProfileNotFound",
            "NoRegionError",
            "LoginRefreshRequired",
        ),
        Throttled: (
            "KMS.ThrottlingException",
            "KmsThrottled",
            "OverLimit",
            "PriorRequestNotComplete",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "SlowDown",
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "TooManyRequestsException",
        ),
        Unreachable: (
            "InternalError",
            "InternalFailure",
            "InternalServerError",
            "RequestTimeout",
            "RequestTimeoutException",
            "ServiceUnavailable",
            "500",
            "502",
            "503",
            "504",
        ),
    }.items()
    for code in codes
}
ADVICE: Mapping[str, str] = {
    "NoRegionError": "pass region=, or set AWS_DEFAULT_REGION",
    "NoCredentialsError": "pass access_key_id= and secret_access_key=, a profile=, or set up any of boto3's other ways",
    "ProfileNotFound": "see the profiles in the AWS configuration files",
}


def error_kind(code: str) -> type[SQSError] | None:
    """What kind of error AWS means by this code; some servers put a prefix before all of them."""
    return KINDS.get(code) or KINDS.get(code.removeprefix("AWS.SimpleQueueService."))


def translated(error: BaseException, doing: str) -> SQSError:
    """What went wrong, as one of ours."""
    response: Any = getattr(error, "response", None)
    answer: Mapping[str, Any] = cast("Mapping[str, Any]", response) if isinstance(response, Mapping) else {}
    if isinstance(answer.get("Error"), Mapping):
        code = str(answer["Error"].get("Code", ""))
        words = str(answer["Error"].get("Message") or code)
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        kind = error_kind(code) or (Unreachable if status >= 500 else InvalidRequest)
        if status == 429:
            kind = Throttled
        elif status == 403 and kind is InvalidRequest:
            kind = AccessDenied
        return kind(f"SQS would not {doing}: {words} ({code})", code)
    code = type(error).__name__
    for base in type(error).__mro__:
        if base.__name__ in KINDS:
            advice = ADVICE.get(base.__name__)
            return KINDS[base.__name__](f"could not {doing}: {error}" + (f"; {advice}" if advice else ""), code)
    names = {base.__name__ for base in type(error).__mro__}
    if names & {"ParamValidationError", "ValidationError", "InvalidRegionError", "UnknownEndpointError"}:
        return InvalidRequest(f"could not {doing}: {error}", code)
    if names & {"HTTPClientError", "ConnectionError", "OSError", "BotoCoreError", "ResponseParserError"}:
        return Unreachable(f"could not {doing}: {error}", code)
    return SQSError(f"could not {doing}: {error!r}", code)


@contextmanager
def translating(doing: str) -> Generator[None]:
    try:
        yield
    except (SQSError, Cut):
        raise
    except Exception as error:
        raise translated(error, doing) from error
