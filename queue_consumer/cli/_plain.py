"""Texts that others wrote, made harmless for a terminal: what would move its cursor, colour it, or turn the reading
direction round is shown as an escape, as `\\x1b`."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["json_of", "plain"]

# Controls of both sets, line separators, directions of writing, and halves of surrogate pairs, which cannot be printed.
HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str, keep: str = "") -> str:
    """The text with every control character but those of `keep` shown as an escape."""
    return HARMFUL.sub(lambda found: found[0] if found[0] in keep else escape_of(found[0]), text)


def escape_of(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def json_of(value: Any) -> str:
    """The value as JSON in one line, readable, and harmless for a terminal too."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
