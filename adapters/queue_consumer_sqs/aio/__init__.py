"""SQS from one event loop, without threads that wait: `Consumer(AsyncSQSQueue("orders"), handler, loop=loop)`.

It stands on aiobotocore, which fits some versions of boto3 only. A resolver that is left to find them may take minutes;
`pip install 'queue-consumer[sqs,aio]' aiobotocore==3.10.0 boto3==1.43.117` takes none.
"""

from ._queue import AsyncSQSQueue

__all__ = ["AsyncSQSQueue"]
