"""Named tasks, on any queue: a registry that sends jobs, and is the handler that runs them.

    jobs = Jobs(queue)

    @jobs.task("send_email")
    def send_email(to, subject): ...

    send_email.delay("ada@example.org", subject="Hello")    # in one program
    Consumer(queue, jobs).run()                             # and in another

What happens to a job on its way, file by file:

    _registry    Jobs: which function runs under which name           _roster: what it knows
    _task        delay, run, bake                                     _binding: arguments and signatures
    _sender      written by a codec, put into a queue, or a batch     _json, _pickle, _codec, _outlet, _batch
    _letter      how it is laid out in a message
    _handling    read again, fitted to the function, run; and what became of it
                                                                      _typed: arguments by their annotations
    _context     values that travel along
    _layers      what stands around every job                         _call: what these are told
    _retries     when it is tried again                               _dead_letters: the way back
    _work        one queue, several, or a process for each            _fleet, _importing

For tests there are `queue_consumer.jobs.testing`, and `queue_consumer.jobs.pytest_plugin`.
"""

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
    # the registry, and what it makes
    "Baked",
    "Entered",
    "Jobs",
    "Options",
    "Sending",
    "Task",
    # around a job
    "Call",
    "Processor",
    # how they are written
    "Codec",
    "Json",
    "Pickle",
    # again
    "DEFAULT_BACKOFF",
    "IMMEDIATE_RETURN",
    "ExponentialBackoff",
    "PushBack",
    "Retry",
    "push_back",
    # what goes wrong
    "BadArguments",
    "BadMessage",
    "BatchError",
    "JobsError",
    "RefusedCodec",
    "UnknownJob",
    "Unsent",
]
