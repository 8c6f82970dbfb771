"""Jobs that take longer than the queue waits for them, and one whose lease is lost in the middle.

The queue hides what it gave for a second, and then gives it to somebody else. While a job is at work the line
renews that lease, so the first job may take as long as it likes. The second job's lease is lost. A job looks at
`current().lost` between its steps and stops then, since somebody else may be at it by now. It says that it is
not done: had it simply returned, the line would remember a success, and clean the message up when it comes
again.

It prints:

    film: done, after 15 steps
    report: the lease is lost, so somebody else will do it
    report: done, after 15 steps
    the lease of the film was renewed meanwhile: True
    cleaned up: 2, lost: 1
"""

from __future__ import annotations

import time

from queue_consumer import Consumer, Idle, MemoryMessage, MemoryQueue, Retry, current, each

queue = MemoryQueue(lease=1.0, journal=True)


@each
def work(message: MemoryMessage) -> None:
    for step in range(15):
        if current().lost:
            print(f"{message.body}: the lease is lost, so somebody else will do it")
            raise Retry(0)
        if message.body == "report" and message.attempt == 1 and step == 3:
            queue.expire([message])  # as if this program had stood still for too long
        time.sleep(0.1)  # a step of the work
    print(f"{message.body}: done, after 15 steps")


def main() -> None:
    queue.put("film")
    queue.put("report")
    # One at a time, and none fetched ahead: what waits here is hidden from others, and its lease runs as well.
    stats = Consumer(queue, work, 1, 1, prefetch=0, stop_when=Idle(0.5)).run().stats
    renewed = [note.item.body for note in queue.journal or () if note.deed == "extended"]
    print("the lease of the film was renewed meanwhile:", "film" in renewed)
    print(f"cleaned up: {stats.cleaned}, lost: {stats.lost}")


if __name__ == "__main__":
    main()
