"""What is wrong with an event."""

from __future__ import annotations

from .._errors import DecodingError

__all__ = ["SchemaError"]


class SchemaError(DecodingError):
    """It is no MEGA event of version 1.

    Attributes:
        section: "payload" (the whole), "event", "object" or "extra".
        field: which one of it; "" if it is the section itself.
        problem: what is wrong with it.
    """

    def __init__(self, section: str, field: str, problem: str) -> None:
        super().__init__(section, field, problem)
        self.section, self.field, self.problem = section, field, problem

    def __str__(self) -> str:
        field = f"{self.field} " if self.field else ""
        return f"Invalid MEGA payload. There is an error in the {self.section!r} section: {field}{self.problem}"
