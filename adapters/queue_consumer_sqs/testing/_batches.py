"""Calls for up to ten messages: what must hold of the batch, and each entry on its own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ._refusals import PREFIXED, Refused

__all__ = ["Entry", "check_batch", "each"]

Entry = Mapping[str, Any]

MOST = 10
ID = re.compile(r"[A-Za-z0-9_-]{1,80}")


def check_batch(
    entries: Sequence[Entry], operation: str, *, required: Sequence[str], optional: Sequence[str] = ()
) -> None:
    """A batch has 1 to 10 entries, each with an id of its own and with fields that there are."""
    for entry in entries:
        absent = [name for name in ("Id", *required) if not isinstance(entry.get(name), str)]
        unknown = [name for name in entry if name not in ("Id", *required, *optional)]
        if absent or unknown:
            wrong = f"without a str as {absent[0]}" if absent else f"with the unknown {unknown[0]}"
            raise TypeError(f"{operation}: an entry {wrong}: {dict(entry)!r}")
    if not entries:
        raise Refused(
            f"{PREFIXED}EmptyBatchRequest", f"There should be at least one {operation}RequestEntry in the request."
        )
    if len(entries) > MOST:
        sent = f"Maximum number of entries per request are {MOST}. You have sent {len(entries)}."
        raise Refused(f"{PREFIXED}TooManyEntriesInBatchRequest", sent)
    for entry in entries:
        if not ID.fullmatch(entry["Id"]):
            raise Refused(
                f"{PREFIXED}InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
                "It can be at most 80 letters long.",
            )
    for name, count in Counter(entry["Id"] for entry in entries).items():
        if count > 1:
            raise Refused(f"{PREFIXED}BatchEntryIdsNotDistinct", f"Id {name} repeated.")


def each(entries: Sequence[Entry], do: Callable[[Entry], Mapping[str, Any] | None]) -> dict[str, Any]:
    """Do it for each entry; what came of those that could be done, and why the others could not."""
    successful: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for entry in entries:
        try:
            successful.append({"Id": entry["Id"], **(do(entry) or {})})
        except Refused as refused:
            failed.append({"Id": entry["Id"], "SenderFault": True, "Code": refused.code, "Message": refused.message})
    return {"Successful": successful, "Failed": failed}
