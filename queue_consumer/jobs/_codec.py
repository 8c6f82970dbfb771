"""What writes jobs and reads them again. Which of them may read is the receiver's choice, and never the sender's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from ._errors import RefusedCodec
from ._json import Json
from ._letter import Written
from ._pickle import Pickle

__all__ = ["Codec", "Codecs", "Decoded", "codec_of"]


class Decoded(NamedTuple):
    """What a letter says."""

    arguments: Any
    context: Any


@runtime_checkable
class Codec(Protocol):
    """A codec of one's own has these.

    Attributes:
        reads: the content types that it reads; the first is its name.
    """

    reads: tuple[str, ...]

    def encode(self, job: str, arguments: Any, context: Mapping[str, Any]) -> Written:
        """Write these.

        Raises:
            TypeError, ValueError: it has no form for them.
        """
        ...

    def decode(self, job: str, content_type: str, body: str, context: str) -> tuple[Any, Any]:
        """Read what another has written; whatever is raised fails that message alone. `context` may be empty."""
        ...


def codec_of(value: Any, parameter: str) -> Codec:
    """A codec, or the one of that name."""
    named = {"json": Json, "pickle": Pickle, "pickle_compat": Pickle}
    if isinstance(value, str) and value in named:
        return Pickle(compatible=True) if value == "pickle_compat" else named[value]()
    if isinstance(value, type) or not isinstance(value, Codec):
        raise TypeError(
            f"Jobs: {parameter} must be {', '.join(map(repr, named))}, or an object with reads, encode and decode, "
            f"as Json() and Pickle(key=...) are; got {value!r}"
        )
    return value


class Codecs:
    """The codecs of a registry: the one that it writes with, and those that it lets read.

    Args:
        codec: what jobs are written with, unless somebody says otherwise.
        accepts: what may read; None: that one, and JSON.
    """

    def __init__(self, codec: Any, accepts: Iterable[Any] | None) -> None:
        self.default = codec_of(codec, "codec")
        given: list[Any]
        if accepts is None:
            given = [self.default] if isinstance(self.default, Json) else [self.default, Json()]
        elif isinstance(accepts, str):
            given = [accepts]
        else:
            given = list(accepts)
        self.accepted = [codec_of(one, "accepts") for one in given]
        self.readers: dict[str, Codec] = {}
        for one in self.accepted:  # the first that reads a type does
            for content_type in one.reads:
                self.readers.setdefault(content_type, one)

    def reader(self, content_type: Any) -> Codec:
        """What reads this type.

        Raises:
            RefusedCodec: nothing that is allowed here does.
        """
        reader = self.readers.get(content_type) if isinstance(content_type, str) else None
        if reader is None:
            raise RefusedCodec(
                f"the message says that its content type is {content_type!r}, and this registry accepts "
                f"{', '.join(map(repr, self.readers)) or 'none'}: if the sender is to be trusted with it, name it in "
                "Jobs(accepts=...)"
            )
        return reader

    def writer(self, codec: Any) -> Codec:
        """The codec that is meant by a name or is given itself; None is the default."""
        if codec is None:
            return self.default
        if isinstance(codec, str):
            for one in (self.default, *self.accepted):
                if codec == one.reads[0]:
                    return one
            names = sorted({one.reads[0] for one in (self.default, *self.accepted)})
            raise ValueError(f"codec must be one of this registry's, {', '.join(map(repr, names))}; got {codec!r}")
        return codec_of(codec, "codec")
