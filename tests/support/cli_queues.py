"""Queues in memory for the commands that look at queues."""

from queue_consumer import MemoryQueue

orders: MemoryQueue = MemoryQueue()
dead: MemoryQueue = MemoryQueue()
