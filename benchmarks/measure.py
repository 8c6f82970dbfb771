"""Measures one contender once, in this process, and prints what it gave as one line of JSON.

The command line: `python benchmarks/measure.py TOPIC NAME ITEMS`.
"""

from __future__ import annotations

import json
import os
import sys

from contender import NotInstalled


def main(topic: str, name: str, items: str) -> None:
    # Imported here and not above: a child process imports this file, and needs none of it.
    import catalogue

    contender = catalogue.find(topic, name)
    try:
        answer: object = dict(contender.measure(int(items)))
    except NotInstalled as missing:
        answer = {"not installed": str(missing)}
    print(json.dumps(answer), flush=True)
    # A peer's threads may not be of the kind that ends by itself; what was to be measured is printed.
    if contender.kind == "peer":
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
