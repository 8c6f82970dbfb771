"""The far side of an SQS measurement: the server and the proxies before it, on a core that the client does not use.

The command line: `python benchmarks/sqs_far_side.py SERVER CORE LATENCY…`. It starts the server and a proxy for each
latency, prints where they are as a line of JSON, and then answers each line of JSON that it is told. At the end of
standard input it is over.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from cores import pin

TESTS = Path(__file__).resolve().parents[1] / "tests"


def support(name: str) -> Any:
    """A module of what the tests have for SQS: their servers, and their proxy."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    return importlib.import_module(f"support.{name}")


def seen(call: Any) -> dict[str, Any]:
    """What a client of the stand is told of one call."""
    return {
        "operation": call.operation,
        "queue": call.queue,
        "began": call.began,
        "ended": call.ended,
        "status": call.status,
        "count": len(call.messages or call.done),
        "bodies": call.bodies,
    }


class FarSide:
    """Answers what it is told: each key of `told` is a method, its value the arguments."""

    def __init__(self, proxies: list[Any]) -> None:
        self._proxies = proxies
        self._fault: Any = support("sqs_faults").Fault

    def calls(self, proxy: int) -> list[dict[str, Any]]:
        return [seen(call) for call in self._proxies[proxy].calls()]

    def opened(self, proxy: int) -> int:
        """How many receives wait for an answer."""
        return len(self._proxies[proxy].calls("ReceiveMessage", where=lambda call: call.sent and not call.ended))

    def slow_down(self, proxy: int, operation: str, seconds: float) -> None:
        self._proxies[proxy].always(self._fault(name="slow", before=seconds), operation)


def main(server_name: str, core: str, *latencies: str) -> None:
    pin(int(core))
    servers, proxy = support("sqs_servers"), support("sqs_proxy").Proxy
    with tempfile.TemporaryDirectory(prefix="queue_consumer-bench-") as folder:
        try:
            server = servers.Server(server_name, Path(folder))
        except servers.ServerError as error:
            print(json.dumps({"missing": str(error)}), flush=True)
            return
        try:
            url = server.endpoint_url
            proxies = [proxy(url, latency=(float(seconds), float(seconds))) for seconds in latencies]
            side = FarSide(proxies)
            print(json.dumps({"server": url, "proxies": [each.endpoint_url for each in proxies]}), flush=True)
            for line in sys.stdin:
                (name, told), *_ = json.loads(line).items()
                print(json.dumps(getattr(side, name)(**told)), flush=True)
        finally:
            server.kill()  # in peace it would wait for its polls


if __name__ == "__main__":
    main(*sys.argv[1:])
