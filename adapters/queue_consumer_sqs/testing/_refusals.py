"""What the service says when it refuses: AWS's codes and, as far as they are known, its words."""

from __future__ import annotations

__all__ = ["PREFIXED", "Refused", "invalid", "missing", "unsupported", "value_of", "whole_of"]

PREFIXED = "AWS.SimpleQueueService."  # many codes begin with it, others do not; there is no rule


class Refused(Exception):
    """The service does not do this. The client makes boto3's error of it, and a batch call a failed entry."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message


def invalid(message: str) -> Refused:
    return Refused("InvalidParameterValue", message)


def value_of(parameter: str, value: object, reason: str) -> Refused:
    """This value of this parameter is refused."""
    return invalid(f"Value {value} for parameter {parameter} is invalid. Reason: {reason}")


def missing(parameter: str) -> Refused:
    return Refused("MissingParameter", f"The request must contain the parameter {parameter}.")


def unsupported(message: str) -> Refused:
    return Refused(f"{PREFIXED}UnsupportedOperation", message)


def whole_of(parameter: str, value: object, least: int, most: int) -> int:
    """The value if it is a whole number in this range.

    Raises:
        TypeError: it is no whole number; boto3 does not even ask the service then.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{parameter} must be an int; got {value!r}")
    if not least <= value <= most:
        raise value_of(parameter, value, f"Must be between {least} and {most}, if provided.")
    return value
