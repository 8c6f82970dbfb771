"""How the service is reached: what the user said of it, checked; all else is found as boto3 finds it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict
from urllib.parse import urlsplit

from ._transport import TransportName

__all__ = ["Access", "AccessOptions", "ReachOptions"]

REGION = re.compile(r"(?<![a-z0-9-])[a-z]{2}(?:-[a-z]+)+-[0-9]+(?=\.)")  # in the name of a host of AWS
OF_ITS_OWN = re.compile(r"\.vpce\.|^sqs-fips\.")  # endpoints that boto3 would not choose by the region


class ReachOptions(TypedDict, total=False):
    """What `Access` takes, but for what sqs-mega has names of its own for, and what queues have alone."""

    profile: str | None
    session_token: str | None
    endpoint_url: str | None
    retries: Mapping[str, Any] | None
    session: Any
    client: Any


class AccessOptions(ReachOptions, total=False):
    """What `Access` takes, for whoever passes it on."""

    region: str | None
    account_id: str | None
    access_key_id: str | None
    secret_access_key: str | None
    prefix: str
    transport: TransportName | None


@dataclass(frozen=True, kw_only=True)
class Access:
    """How a queue is reached; what is None is found as boto3 finds it.

    Args:
        region: the AWS region; there is no default of our own.
        profile: a profile of the AWS configuration files.
        account_id: the account that owns the queue, if it is another one.
        access_key_id, secret_access_key, session_token: credentials.
        endpoint_url: another server than AWS's.
        retries: botocore's retry configuration, for all calls but polls, which have their own.
        session: a `boto3.Session` to make clients of.
        client: a client to use as it is; of all else only `account_id` and `prefix` count then.
        prefix: put before every queue name.
        transport: what carries the calls, `"boto3"` or `"lean"`; None: boto3.
    """

    region: str | None = None
    profile: str | None = None
    account_id: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    endpoint_url: str | None = None
    retries: Mapping[str, Any] | None = None
    session: Any = None
    client: Any = None
    prefix: str = ""
    transport: TransportName | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("session", "client") or value is None:
                continue
            if field.name == "transport":
                if value not in ("boto3", "lean"):
                    raise ValueError(f"transport must be 'boto3' or 'lean'; got {value!r}")
                continue
            if field.name == "retries":
                if not isinstance(value, Mapping):
                    raise TypeError(f"retries must be a mapping, as botocore's Config has it; got {value!r}")
            elif not isinstance(value, str):
                shown = type(value).__name__ if field.name.startswith(("secret", "session_t")) else repr(value)
                raise TypeError(f"{field.name} must be a str; got {shown}")
        if bool(self.access_key_id) != bool(self.secret_access_key):
            raise ValueError("access_key_id and secret_access_key must be given together, or neither")

    @classmethod
    def of(
        cls, whose: str, options: AccessOptions | ReachOptions, known: type[Any] = AccessOptions, **named: str | None
    ) -> Access:
        """What was passed on by whoever takes `AccessOptions`, or others that are `known`.

        Args:
            named: what has other names there.

        Raises:
            TypeError: it has no such parameter.
        """
        names = known.__annotations__
        for name in options:
            if name not in names:
                raise TypeError(f"{whose} has no parameter {name!r}; how it is reached is said by {', '.join(names)}")
        given: Any = {**options, **named}
        return cls(**given)

    def __repr__(self) -> str:
        shown = ("region", "profile", "account_id", "endpoint_url", "prefix")  # no secrets
        return f"Access({', '.join(f'{name}={value!r}' for name in shown if (value := getattr(self, name)))})"

    def at(self, queue: str) -> Access:
        """What the URL of a queue says of where it is, for whatever is not given."""
        url = urlsplit(queue) if "://" in queue else None
        if url is None or url.hostname is None or self.client is not None:
            return self
        on_aws = url.hostname.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws"))
        found = REGION.search(url.hostname) if on_aws else None
        public = on_aws and not OF_ITS_OWN.search(url.hostname)
        return replace(
            self,
            region=self.region or (found[0] if found else None),
            endpoint_url=self.endpoint_url or (None if public else f"{url.scheme}://{url.netloc}"),
        )
