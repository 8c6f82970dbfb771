"""Named tasks, on any queue that has `put`: a registry that sends, and is a handler for the line."""

from ._batch import Entered
from ._call import Call
from ._codec import Codec
from ._dead_letters import PushBack, push_back
from ._errors import BadArguments, BadMessage, BatchError, JobsError, RefusedCodec, UnknownJob, Unsent
from ._json import Json
from ._layers import Processor
from ._options import Options
from ._pickle import Pickle
from ._registry import Jobs
from ._retries import DEFAULT_BACKOFF, IMMEDIATE_RETURN, ExponentialBackoff, Retry
from ._task import Baked, Sending, Task

__all__ = [
    "DEFAULT_BACKOFF",
    "IMMEDIATE_RETURN",
    "BadArguments",
    "BadMessage",
    "Baked",
    "BatchError",
    "Call",
    "Codec",
    "Entered",
    "ExponentialBackoff",
    "Jobs",
    "JobsError",
    "Json",
    "Options",
    "Pickle",
    "Processor",
    "PushBack",
    "RefusedCodec",
    "Retry",
    "Sending",
    "Task",
    "UnknownJob",
    "Unsent",
    "push_back",
]
