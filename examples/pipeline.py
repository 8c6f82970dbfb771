"""Two consumers in a row, over queues of the standard library.

The first puts what it makes into the queue of the second, before it asks for its next item; so whatever
happens, nothing is lost in between. `put` blocks while the second queue is full, which holds the first one
back.

It prints:

    words: 450, letters: 1800
    stopped: received=90 cleaned=90 in_flight=0
    stopped: received=450 cleaned=450 in_flight=0
"""

from __future__ import annotations

import queue
from collections import Counter
from collections.abc import Iterator

from queue_consumer import Consumer

lines: queue.Queue[str] = queue.Queue()
words: queue.Queue[str] = queue.Queue(maxsize=50)
letters = Counter[str]()


def split(texts: Iterator[str]) -> None:
    for text in texts:
        for word in text.split():
            words.put(word)


def count(texts: Iterator[str]) -> None:
    for word in texts:
        letters.update(word)


def main() -> None:
    for number in range(90):
        lines.put(f"line number {number:02} of ninety")
    with Consumer(words, count, max_handlers=1, messages_bulk_size=10) as counting:
        with Consumer(lines, split) as splitting:
            lines.join()  # `cleanup` calls `task_done`, so this is the end of the last line
        words.join()
    total = counting.stats().cleaned
    print(f"words: {total}, letters: {letters.total()}")
    print(splitting.shutdown())
    print(counting.shutdown())


if __name__ == "__main__":
    main()
