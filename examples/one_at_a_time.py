"""A function of one item, and three ways for it to say no: not now, never, and alas.

`each` makes a handler of it: the loop, and the receipts. Whatever becomes of one item, the next one goes on.

It prints:

    ada: welcome
    bob: the mailbox is full, later
    nobody: unknown, forget it
    cyd: it bounced
    bob: welcome
    cyd: welcome
    stopped: received=6 cleaned=3 dropped=1 released=2 in_flight=0 (failed=1)
"""

from __future__ import annotations

from queue_consumer import Constant, Consumer, Drop, Idle, MemoryQueue, Retry, current, each


@each
def welcome(name: str) -> None:
    first = current().attempt == 1
    if name == "bob" and first:
        print(f"{name}: the mailbox is full, later")
        raise Retry(delay=0.1)  # not now: given back, and no error
    if name == "nobody":
        print(f"{name}: unknown, forget it")
        raise Drop("no such user")  # never: cleaned up, and counted apart
    if name == "cyd" and first:
        print(f"{name}: it bounced")
        raise ConnectionError("the other side hung up")  # alas: logged, and given back after the back-off
    print(f"{name}: welcome")


def main() -> None:
    queue = MemoryQueue(["ada", "bob", "nobody", "cyd"])
    consumer = Consumer(queue, welcome, 1, 1, backoff=Constant(0.3), stop_when=Idle(1))
    print(consumer.run())


if __name__ == "__main__":
    main()
