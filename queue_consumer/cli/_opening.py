"""A queue by its URL, opened for one command; whatever goes wrong becomes a sentence and an exit code."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from queue_consumer import BackendError, UsageError

from ._exits import CommandError, Exit
from ._options import Option
from .schemes import QueueTools, address_of, scheme_of

__all__ = ["DRY_RUN", "QUEUE", "YES", "depth_of", "opened"]

QUEUE = Option("queue", "its URL: sqs://orders, sqs://orders?region=eu-west-1, memory://module:object", required=True)
DRY_RUN = Option("--dry-run", "say what would be done, and do nothing", None, False)
YES = Option("--yes", "do not ask", None, False)


@contextmanager
def opened(url: str) -> Generator[QueueTools]:
    try:
        address = address_of(url)
        tools = scheme_of(address.scheme).open(address)
    except (BackendError, OSError) as error:
        raise CommandError(f"{url}: {error}", Exit.UNREACHABLE) from error
    except (ValueError, UsageError) as error:
        raise CommandError(str(error)) from error
    try:
        yield tools
    except (ValueError, UsageError) as error:
        raise CommandError(str(error)) from error
    except (BackendError, OSError) as error:
        raise CommandError(f"{url}: {error}", Exit.UNEXPECTED) from error
    finally:
        tools.close()


def depth_of(tools: QueueTools) -> tuple[int, str]:
    """How many messages there are, about, and that in words."""
    depth = tools.depth()
    return sum(depth.values()), ", ".join(f"{count:,} {word}" for word, count in depth.items())
