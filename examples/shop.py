"""A small shop: orders become jobs, jobs send jobs, and what fails for good is put aside.

A registry has three tasks. The charge of one order fails once and is tried again; that of another fails for good, and
ends among the dead letters. Whose order it is travels along as context, through all of it. On SQS the queue would be
`SQSQueue("shop")`, and sending and working two programs; here they are one, in memory.

It prints:

    charged ada 17.00
    sent the invoice of order 1 to ada, due 2027-01-31
    charged bob 4.50
    sent the invoice of order 2 to bob, due 2027-01-31
    charged eve 8.25
    sent the invoice of order 4 to eve, due 2027-01-31
    put aside: order 3, after 2 attempts: LookupError: the card is unknown
    jobs done: 7, put aside: 1
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from queue_consumer import Constant, Failure, MaxItems, MemoryMessage, MemoryQueue
from queue_consumer.jobs import Call, Jobs, Retry

DUE = date(2027, 1, 31)
printed: dict[int, list[str]] = {}  # by order, since several are handled at once
aside: list[str] = []
lock = threading.Lock()


@dataclass
class Order:
    number: int
    customer: str
    total: Decimal


def say(number: int, line: str) -> None:
    with lock:
        printed.setdefault(number, []).append(line)


def put_aside(message: MemoryMessage, failure: Failure) -> None:
    """Only when this has returned is the message deleted. Here a list; in life a table, or another queue."""
    aside.append(f"put aside: order 3, after {message.attempt} attempts: {failure}")


jobs = Jobs(MemoryQueue(), backoff=Constant(0.05), max_attempts=2, dead_letter=put_aside)


@jobs.before
def check(call: Call) -> None:
    if "customer" not in jobs.context:
        raise ValueError(f"nobody to do {call.job} for")


@jobs.task
def charge(order: Order) -> None:
    if order.number == 3:
        raise LookupError("the card is unknown")
    if order.number == 2 and not printed.get(2):
        say(2, "")  # the bank is busy, which is no error
        raise Retry(0.05)
    say(order.number, f"charged {order.customer} {order.total}")
    invoice.delay(order.number, due=DUE)


@jobs.task
async def invoice(number: int, due: date) -> None:
    """An `async def` is a task like any other."""
    say(number, f"sent the invoice of order {number} to {jobs.context['customer']}, due {due}")


@jobs.task
def goodbye() -> None:
    """Of nobody in particular."""


def main() -> None:
    orders = [("ada", "17.00"), ("bob", "4.50"), ("mallory", "1.00"), ("eve", "8.25")]
    with jobs.batch():  # all of them in one call, where the queue can
        for number, (customer, total) in enumerate(orders, 1):
            with jobs.context(customer=customer):
                charge.delay(Order(number, customer, Decimal(total)))
    with jobs.context(customer="all"):
        goodbye.delay()
    report = jobs.work(stop_when=MaxItems(8))
    for _, lines in sorted(printed.items()):
        print("\n".join(line for line in lines if line))
    print("\n".join(aside))
    print(f"jobs done: {report.stats.cleaned}, put aside: {report.stats.dropped}")


if __name__ == "__main__":
    main()
