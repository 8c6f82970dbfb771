"""Health: alive unless the line says that it is stalled; ready while it runs; a broker that is away changes neither."""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queue_consumer import Consumer, MemoryQueue, Stalled, Supervision
from queue_consumer.cli._options import address
from queue_consumer.cli._target import Target
from queue_consumer.cli._web import Web
from queue_consumer.telemetry import Health
from support.cli_program import Program
from support.lifecycle import until
from support.lifecycle_handlers import Gate


class Hanging(MemoryQueue[Any]):
    """Its cleanup does not return until it may."""

    def __init__(self) -> None:
        super().__init__(["a"], wait=0.02)
        self.may = threading.Event()

    def cleanup(self, items: Any) -> None:
        self.may.wait(20)
        super().cleanup(items)


def test_a_stall_fails_liveness_until_something_moves() -> None:
    """`Stalled` makes it dead for the probe, with the reason; when something moves it is alive again."""
    health, queue = Health(), Hanging()
    assert (health.alive()[0], health.ready()) == (True, (False, "new"))
    policy = Supervision(stall_time=0.1, polling_time=0.02)
    consumer = Consumer(queue, list, receipt="return", max_workers=1, supervision=policy, observers=[health])
    with consumer:
        assert health.ready() == (True, "running")
        until(lambda: not health.alive()[0], "the stall is seen")
        assert health.alive()[1].startswith("stalled: 1 items wait for a cleanup")
        assert health.ready()[0]
        queue.may.set()
        until(lambda: health.alive()[0], "it has moved")
    assert health.ready() == (False, "stopped")


def test_a_broker_that_is_away_fails_neither() -> None:
    """A `get` that raises again and again is no reason to be restarted."""

    class Away:
        def get(self) -> list[str]:
            raise ConnectionError("the broker is away")

    health = Health()
    policy = Supervision(restart_base=0.01, stall_time=0.05, polling_time=0.01)
    consumer = Consumer(Away(), list, max_workers=1, supervision=policy, observers=[health])
    with consumer:
        until(lambda: consumer.stats().revived > 3, "it has died some times")
        assert (health.alive()[0], health.ready()[0]) == (True, True)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=40) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def served() -> Iterator[tuple[Web, Consumer[Any]]]:
    """A consumer, not yet started, and its pages."""
    consumer = Consumer(MemoryQueue(["a"], wait=0.02), list, receipt="return", max_workers=1)
    web = Web(("127.0.0.1", 0), [Target("shop", consumer)])
    web.open()
    yield web, consumer
    consumer.shutdown()
    web.close()


def test_the_pages_tell_metrics_and_health(served: tuple[Web, Consumer[Any]]) -> None:
    """`/metrics`, `/healthz` and `/readyz` say what is; others say which there are."""
    web, consumer = served
    assert get(f"{web}/readyz") == (503, "shop: new\n")
    consumer.start()
    assert consumer.wait_idle(20)
    assert get(f"{web}/readyz") == (200, "shop: running\n")
    assert get(f"{web}/healthz") == (200, "shop: alive\n")
    status, text = get(f"{web}/metrics")
    assert status == 200
    assert 'queue_consumer_items_ended_total{messaging_destination_name="",messaging_system="queue_consumer"' in text
    assert get(f"{web}/nothing") == (404, "there are /metrics, /healthz and /readyz\n")
    consumer.shutdown()
    assert get(f"{web}/readyz") == (503, "shop: stopped\n")


def test_a_stall_is_seen_by_the_probe(served: tuple[Web, Consumer[Any]]) -> None:
    """What is stalled is 503 for a liveness probe, and ready all the same."""
    web, consumer = served
    consumer.start()
    assert consumer.wait_idle(20)
    web._health["shop"](Stalled(reason="nothing moves", seconds=30.0))
    assert get(f"{web}/healthz") == (503, "shop: stalled: nothing moves\n")
    assert get(f"{web}/readyz")[0] == 200


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_loopback_unless_said(text: str, where: tuple[str, int]) -> None:
    """A port alone is one of loopback: who wants more says so."""
    assert address(text) == where


@pytest.mark.parametrize("text", ["", "here", "host:", "1:99999"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """A wrong address is refused in a sentence."""
    with pytest.raises(ValueError, match="must be PORT or HOST:PORT"):
        address(text)


def has_ipv6() -> bool:
    """Whether this machine has the address that the next test is about."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_addresses_of_both_kinds_are_served() -> None:
    """An address of IPv6 is listened at like one of IPv4, and named as URLs have it."""
    web = Web(("::1", 0), [])
    if not has_ipv6():
        with pytest.raises(OSError, match=r"(?i)address"):
            web.open()
        return
    web.open()
    assert str(web).startswith("http://[::1]:")
    assert get(f"{web}/healthz")[0] == 200
    web.close()


def test_metrics_are_for_this_machine(served: tuple[Web, Consumer[Any]]) -> None:
    """On loopback a request for another name is refused, as on the dashboard; a probe may ask for heads alone."""
    web, _ = served
    for method, host, status in (("GET", "evil.example", 403), ("HEAD", "localhost", 200), ("GET", "localhost", 200)):
        line = http.client.HTTPConnection(str(web).removeprefix("http://"), timeout=40)
        line.request(method, "/healthz", headers={"Host": host})
        answer = line.getresponse()
        assert answer.status == status
        assert (answer.read() == b"") is (method == "HEAD")
        line.close()


def test_run_serves_its_metrics(tmp_path: Path) -> None:
    """`run --metrics 0` serves on a free port of loopback, which it names."""
    gate = Gate(tmp_path)
    with Program("run", "support.cli_shop:gated", "--metrics", 0, CLI_SHOP=tmp_path) as program:
        url = program.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        gate.wait_for()
        assert get(f"{url}/readyz")[0] == 200
        assert 'queue_consumer_items_in_flight{messaging_destination_name=""' in get(f"{url}/metrics")[1]
        program.process.terminate()
        gate.open()
        assert program.end() == 0
