"""A script in blocking mode, on a terminal of its own: ctrl_c_script.py TERMINAL POOL MODE FOLDER."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from support.lifecycle import ProbeQueue, consumer_of
from support.lifecycle_handlers import Gate


def main(terminal: str, pool: str, mode: str, folder: str) -> None:
    os.login_tty(int(terminal))
    queue = ProbeQueue([Gate(Path(folder)).item, "ok-1", "ok-2", "ok-3"], bulk=4)
    consumer, _ = consumer_of(pool, queue, prefetch=10)
    if mode == "run":
        consumer.run()
    elif mode == "supervise":
        consumer.supervise(blocking=True)
    else:
        with consumer:
            consumer.wait_idle()
    report = consumer.shutdown()
    stats, own = report.stats, queue.stats()
    print("balanced", report.balanced, own["got"] == stats.received, own["cleaned"] == stats.cleaned)
    print(f"cleaned {stats.cleaned} released {stats.released} abandoned {stats.abandoned} failed {stats.failed}")
    print("left", [left.where for left in report.leftovers])
    print("restored", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    print("restored", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)


if __name__ == "__main__":
    main(*sys.argv[1:])
