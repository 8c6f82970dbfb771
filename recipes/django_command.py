"""`python manage.py consume`: put this file into an application, as `management/commands/consume.py`.

Django's connections belong to threads, and get old: around each item those that are are closed, as around a request.

Not run: Django itself. The test stands in for the two names of it that are used here.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.db import close_old_connections

from queue_consumer import Consumer, MemoryMessage, MemoryQueue, each

orders = MemoryQueue()  # yours: SQSQueue(settings.ORDERS_QUEUE)


@each
def pack(message: MemoryMessage) -> None:
    close_old_connections()
    try:
        print("packed", message.body)  # Order.objects.filter(...).update(...)
    finally:
        close_old_connections()


class Command(BaseCommand):
    help = "Handles orders until it is told to stop: Ctrl-C or SIGTERM drains, twice stops now."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--max-handlers", type=int, default=4)

    def handle(self, *args: Any, **options: Any) -> None:
        consumer = Consumer(orders, pack, max_handlers=options["max_handlers"])
        report = consumer.run()
        self.stdout.write(str(report))
